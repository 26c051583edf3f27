"""Every chapter keeps the rules that papermill, nbval and a second machine need."""

from __future__ import annotations

import re

import nbformat
import pytest
import yaml

from bookkit.chapters import ROOT, Chapter, all_chapters, code_cells, parameters, read, toc_pages
from bookkit.lint import lost_tables, oversized
from bookkit.references import FOLDER, KEPT
from dvae.claims import CLAIMS

CHAPTERS = all_chapters()
REFERENCES = sorted((ROOT / FOLDER).glob("*.ipynb"))
each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.name)


def outputs_compared(reference: nbformat.NotebookNode) -> int:
    """Count the outputs that nbval compares."""
    return sum(
        1
        for cell in reference.cells
        if "nbval-ignore-output" not in cell.metadata.get("tags", [])
        for output in cell.outputs
        if output.get("name") == "stdout"
        or any(
            kind in KEPT and not str(text).startswith("<Figure")
            for kind, text in output.get("data", {}).items()
        )
    )


def test_every_page_of_the_toc_is_there():
    missing = [page for page in toc_pages() if not (ROOT / f"{page}.md").exists()]
    assert missing == []


def test_numbered_chapters_stand_in_the_order_of_their_prefixes():
    prefixes = [re.match(r"book/(\d\d[b-z]?)_", page) for page in toc_pages()]
    prefixes = [found[1] for found in prefixes if found]
    assert prefixes == sorted(set(prefixes))
    numbers = [int(prefix) for prefix in prefixes if prefix.isdigit()]
    assert numbers == list(range(len(numbers)))  # 00 is the primer, before chapter 1


def test_the_first_page_introduces_every_other_in_the_order_and_with_the_number_of_the_toc():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    first = (ROOT / f"{toc['root']}.md").read_text()
    introduced = re.findall(r"^(-|\d+\.) \{doc\}`(\w+)`", first, flags=re.MULTILINE)
    assert [f"book/{name}" for _, name in introduced] == toc_pages()[1:]
    numbered = [len(part["chapters"]) for part in toc["parts"] if part["numbered"]]
    numbers = [mark for mark, _ in introduced if mark != "-"]
    assert numbers == [f"{number}." for number in range(1, sum(numbered) + 1)]


@each_chapter
def test_a_numbered_chapter_starts_with_a_box_of_what_was_found_and_the_verdicts(chapter: Chapter):
    if not chapter.label.startswith("chapter-"):
        return
    start = chapter.path.read_text().partition(f"# {chapter.title}\n")[2]
    (box,) = re.findall(r"\A\n```\{admonition\} At a glance\n(.*?)```\n", start, flags=re.DOTALL)
    bold = re.findall(r"^\*\*(.+?)\.?\*\*", box, flags=re.MULTILINE)
    assert len(bold) == 2 and bold[0].startswith("What the paper ")
    own = [name for name, claim in CLAIMS.items() if claim.chapter == chapter.label]
    assert re.findall(r"^\{verdict\}`(\w+)`$", box, flags=re.MULTILINE) == own


@each_chapter
def test_parameters_cell(chapter: Chapter):
    assert parameters(read(chapter)) == {"profile": "smoke", "seed": 0, "device": "cpu"}


@each_chapter
def test_no_cell_hides_its_output_with_a_semicolon(chapter: Chapter):
    ends = [cell.source.rstrip()[-40:] for cell in code_cells(read(chapter))]
    assert [end for end in ends if end.endswith(";")] == []


@each_chapter
def test_no_cell_names_a_folder_of_one_machine(chapter: Chapter):
    code = "\n".join(cell.source for cell in code_cells(read(chapter)))
    assert re.findall(r"""["'](?:/home|/Users|/root|/tmp|\.\.?/|[A-Z]:\\)[^"']*""", code) == []


@each_chapter
def test_visible_cells_are_short_and_narrow(chapter: Chapter):
    problems = oversized(read(chapter))
    advice = "fold a cell with the tag hide-input, split it, or move its code to the library"
    assert problems == [], f"book/{chapter.path.name}: {advice}"


@each_chapter
def test_every_table_is_the_last_line_of_its_cell(chapter: Chapter):
    assert lost_tables(read(chapter)) == []


@each_chapter
def test_solutions_are_folded_cells_so_that_they_run_with_the_chapter(chapter: Chapter):
    """The primer and the chapters on the paper have three: "change one line and run"."""
    cells = code_cells(read(chapter))
    prompts = [str(cell.metadata.get("mystnb", {}).get("code_prompt_show", "")) for cell in cells]
    solutions = [k for k, prompt in enumerate(prompts) if prompt.startswith("Solution")]
    wanted = 3 if re.match(r"0[0-8]", chapter.name) else len(solutions)
    assert [prompts[k] for k in solutions] == [f"Solution {k + 1}" for k in range(wanted)]
    for k in solutions:
        assert cells[k].metadata["tags"] == ["hide-cell"]
        assert "print(" in cells[k].source  # for nbval to compare


@each_chapter
def test_reference_has_the_code_of_the_chapter(chapter: Chapter):
    path = ROOT / FOLDER / f"{chapter.name}.ipynb"
    advice = f"make references ONLY={chapter.name}"
    assert path.exists(), f"no nbval reference for {chapter.name}; write it with: {advice}"
    reference = nbformat.read(path, as_version=4)
    ours = [cell.source for cell in code_cells(read(chapter))]
    theirs = [cell.source for cell in reference.cells]
    assert theirs == ours, f"the chapter's code has changed; write its reference again: {advice}"


def test_no_reference_without_a_chapter():
    assert {path.stem for path in REFERENCES} <= {chapter.name for chapter in CHAPTERS}


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.stem)
def test_reference_checks_something(path):
    reference = nbformat.read(path, as_version=4)
    assert all(cell.execution_count for cell in reference.cells), "nbval skips cells without count"
    assert outputs_compared(reference) > 0, "no cell has text that nbval could compare"
    # a reference holds text alone, so that it stays small and its diff can be read
    kinds = {
        kind
        for cell in reference.cells
        for output in cell.outputs
        for kind in output.get("data", {})
    }
    assert kinds <= set(KEPT)
    assert path.stat().st_size < 100_000


def test_every_reference_is_compared(root):
    """The Makefile hands nbval the references and what it must replace before comparing."""
    rule = (root / "Makefile").read_text()
    assert "--nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/sanitize.cfg" in rule
    patterns = (root / FOLDER / "sanitize.cfg").read_text()
    regexes = re.findall(r"^regex: (.*)$\n^replace: (.*)$", patterns, flags=re.MULTILINE)
    text = "loss -9.42 after 12.5 s at 2026-01-02 10:11"
    for regex, replacement in regexes:
        text = re.sub(regex, replacement, text)
    assert text == "loss -9.42 after TIME at DATE"

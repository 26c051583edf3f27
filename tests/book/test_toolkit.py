"""The tools behind `make book`, on a small book of their own in a temporary folder."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import nbformat
import pandas as pd
import pytest

from bookkit import execute, front, generated, lint, look, measurements, pages, references, site
from bookkit.browser import MISSING, find_browser
from bookkit.chapters import ROOT, Chapter, parameters, read, select
from bookkit.execute import Run, run_chapters
from dvae.claims import VERDICTS, Results
from dvae.results.store import Store

CHAPTER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter of the test

```{code-cell} ipython3
:tags: [parameters]

profile = "smoke"
seed = 0
device = "cpu"
```

```{code-cell} ipython3
import sys

print(profile, seed + 1, device)
print("a bar", file=sys.stderr)
```

```{code-cell} ipython3
1 / 16
```
"""


@pytest.fixture
def book(tmp_path):
    """A book of one chapter, with the folders that the build looks at."""
    for folder in ("book", "src/dvae", "results", "tests/notebooks"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "book" / "01_one.md").write_text(CHAPTER)
    (tmp_path / "src" / "dvae" / "module.py").write_text("answer = 1\n")
    (tmp_path / "requirements.lock").write_text("")
    (tmp_path / "_toc.yml").write_text(
        "root: book/index\nparts:\n  - chapters:\n      - file: book/01_one\n"
    )
    return tmp_path


def printed(notebook: nbformat.NotebookNode) -> str:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.text for output in outputs if output.get("name") == "stdout")


def test_chapters_are_found_by_number_and_name(book):
    for words in ([], ["1"], ["01"], ["01_one"], ["01_one.md"]):
        assert [chapter.name for chapter in select(words, book)] == ["01_one"]
    with pytest.raises(SystemExit, match="01_one"):
        select(["7"], book)
    (chapter,) = select([], book)
    assert chapter.title == "A chapter of the test"
    assert chapter.label == ""
    chapter.path.write_text(CHAPTER.replace("# A chapter", "(chapter-one)=\n# A chapter"))
    assert chapter.label == "chapter-one"
    assert parameters(read(chapter)) == {"profile": "smoke", "seed": 0, "device": "cpu"}


def test_a_prefix_with_a_letter_is_a_chapter_of_its_own(book):
    (book / "book" / "01b_between.md").write_text(CHAPTER)
    for word, name in {
        "1": "01_one",
        "01": "01_one",
        "1b": "01b_between",
        "01b": "01b_between",
    }.items():
        assert [chapter.name for chapter in select([word], book)] == [name]


def test_a_chapter_is_executed_with_its_parameters_and_only_when_something_changed(book, capsys):
    (chapter,) = select([], book)
    run = Run("laptop", "cpu", 4)
    target = execute.executed(run, chapter, book)

    assert run_chapters(run, [chapter], root=book)
    assert target.parent == book / "_build" / "executed" / "laptop"
    assert printed(nbformat.read(target, as_version=4)) == "laptop 5 cpu\n"  # 4 + 1: a number
    noted = execute.record(run, chapter, book)
    assert noted["profile"] == "laptop"
    assert noted["cells"] == 4
    assert noted["hardware"]
    assert noted["versions"]["torch"] != "-"
    capsys.readouterr()

    written = target.stat().st_mtime_ns
    (book / "results" / ".parts").mkdir()
    for name in ("store.lock", ".parts/unfinished.nc"):  # neither is a result
        (book / "results" / name).write_text("")
    assert run_chapters(run, [chapter], root=book)
    assert "unchanged" in capsys.readouterr().out
    assert target.stat().st_mtime_ns == written


def test_what_a_chapter_depends_on(book):
    (chapter,) = select([], book)
    keys = {execute._key(Run(), chapter, execute.library_hash(book))}
    for run in (Run("laptop"), Run(device="cuda"), Run(seed=1)):
        keys.add(execute._key(run, chapter, execute.library_hash(book)))
    for path in ("src/dvae/module.py", "results/a.nc", "requirements.lock", "book/01_one.md"):
        with (book / path).open("a") as file:
            file.write("\n")
        keys.add(execute._key(Run(), chapter, execute.library_hash(book)))
    assert len(keys) == 8


def test_a_failing_chapter_says_where_and_leaves_nothing(book, capsys):
    path = book / "book" / "01_one.md"
    path.write_text(CHAPTER.replace("1 / 16", "1 / 0"))
    chapter = Chapter(path)
    target = execute.executed(Run(), chapter, book)
    target.parent.mkdir(parents=True)
    target.write_text("an older one")
    assert not run_chapters(Run(), [chapter], root=book)
    message = capsys.readouterr().err
    assert "book/01_one.md failed in code cell 3:" in message
    assert "| 1 / 0" in message
    assert "ZeroDivisionError: division by zero" in message
    assert list(target.parent.iterdir()) == []


def test_a_kernel_is_ended_without_an_interrupt(tmp_path):
    """The last cell leaves behind what would note an interrupt."""
    source = """
def note(*_):
    open("interrupted", "w").close()
get_ipython().kernel.saved_sigint_handler = note
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    execute.execute(notebook, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_half_a_notebook_is_not_taken_for_a_whole_one(book):
    (chapter,) = select([], book)
    target = execute.executed(Run(), chapter, book)
    execute.write_notebook(nbformat.v4.new_notebook(), target)
    content = target.read_bytes()
    sha256 = execute.hashlib.sha256(content).hexdigest()
    target.with_suffix(".json").write_text(json.dumps({"sha256": sha256}))
    assert execute.record(Run(), chapter, book) is not None
    target.write_bytes(content[: len(content) // 2])
    assert execute.record(Run(), chapter, book) is None


@pytest.mark.parametrize(("injected", "hidden"), [("smoke", "injected"), ("laptop", "default")])
def test_a_page_shows_the_parameters_that_were_used_once(injected, hidden):
    def cell(tag: str, profile: str):
        return nbformat.v4.new_code_cell(
            f'# Parameters\nprofile = "{profile}"\nseed = 0', metadata={"tags": [tag]}
        )

    cells = [cell("parameters", "smoke"), cell("injected-parameters", injected)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    site.show_parameters_once(notebook)
    names = ["default", "injected"]
    tags = [cell.metadata.tags for cell in notebook.cells]
    assert [n for n, t in zip(names, tags, strict=True) if "remove-cell" in t] == [hidden]


def test_built_pages_are_freed_of_what_nobody_asks_for_and_have_a_limit(tmp_path, monkeypatch):
    cell = nbformat.v4.new_code_cell("1 + 1", execution_count=3)
    cell.outputs = [nbformat.v4.new_output("execute_result", {"image/png": "A" * 10_000})]
    notebook = nbformat.v4.new_notebook(cells=[cell, nbformat.v4.new_markdown_cell("text")])
    kept, sources = tmp_path / "_static" / "a.js", tmp_path / "_sources" / "book"
    for path in (kept, kept.with_suffix(".js.map"), tmp_path / "_static" / "locales" / "de" / "b"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 1000)
    sources.mkdir(parents=True)
    nbformat.write(notebook, sources / "one.ipynb")
    assert site.slim(tmp_path) == []
    files = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {kept, sources / "one.ipynb"}
    first, second = nbformat.read(sources / "one.ipynb", as_version=4).cells
    assert (first.source, first.outputs, second.source) == ("1 + 1", [], "text")
    monkeypatch.setattr(site, "LARGEST_MB", 0.001)
    (fault,) = site.slim(tmp_path)
    assert fault == "the pages have 0.0 MB, at most 0.001"


def test_roles_of_references_are_left_out(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    from dvae_offline import plain_citations

    entry = '<div class="citation" id="id1"{}><span class="label">[1]</span></div>'
    other = '<div role="list" class="other"></div>'
    roles = ' role="doc-biblioentry"'
    given = f'<div role="list" class="citation-list">{entry.format(roles)}</div>{other}'
    context = {"body": given}
    plain_citations(None, "page", "page.html", context, None)
    assert context["body"] == f'<div class="citation-list">{entry.format("")}</div>{other}'


def test_pages_may_be_read_side_by_side_and_show_the_same_sources(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import dvae_offline

    names = ("sphinx_multitoc_numbering", "sphinx_jupyterbook_latex", "another")
    extensions = {name: SimpleNamespace(parallel_read_safe=None) for name in names}
    dvae_offline.read_in_parallel(SimpleNamespace(extensions=extensions), None)
    assert [extensions[name].parallel_read_safe for name in names] == [True, True, None]

    used = ("code", {}, {"fit": "book/api"}, "")
    modules = {"dvae.fit": used, "functools": ("code", {}, {}, ""), "torch": False}
    env = SimpleNamespace(_viewcode_modules=modules)
    dvae_offline.drop_unused_sources(None, env)
    assert env._viewcode_modules == {"dvae.fit": used, "torch": False}


def test_external_requests_and_dead_links_are_found(tmp_path):
    (tmp_path / "style.css").write_text("a { background: url('//css.example/a.png') }")
    (tmp_path / "page.html").write_text(
        """<a href="https://fine.example">a reader may click</a>
        <a href="style.css#part">fine</a> <a href="#part">fine</a> <a href="gone.html">dead</a>
        <link rel="canonical" href="https://fine.example">
        <link rel="stylesheet" href="https://one.example/a.css">
        <link rel="preconnect" href="https://two.example">
        <script src="//three.example/a.js"></script>
        <img src="data:image/png;base64,AA"> <img srcset="http://four.example/a.png 2x">
        <p style="background: url(http://five.example/a.png)"></p>
        <style>@import "https://six.example/a.css";</style>
        <script>require(["https://seven.example/a.js"]); const ns = "http://www.w3.org/svg"</script>
        """
    )
    found = pages.scan(tmp_path)
    names = ["one", "two", "three", "four", "five", "six", "seven", "css"]
    for name in names:
        assert sum(f"{name}.example" in line for line in found) == 1, name
    assert "page.html: nothing at gone.html" in found
    assert len(found) == len(names) + 1
    assert pages.report(tmp_path) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="make book"):
        pages.scan(tmp_path / "empty")


def test_links_that_hold_at_one_place_alone_are_found(tmp_path):
    """Pages can be moved and zipped: their links are relative and stay among them."""
    site_, beside = tmp_path / "site", tmp_path / "beside.html"
    (site_ / "book").mkdir(parents=True)
    beside.touch()
    (site_ / "index.html").write_text('<a href="book/page.html">fine</a>')
    (site_ / "book" / "page.html").write_text(
        f"""<a href="../index.html">fine</a> <a href="https://fine.example/">fine</a>
        <a href="{beside}">absolute</a> <img src="{beside.as_uri()}">
        <a href="/index.html">from the root of a server</a> <a href="../../beside.html">out</a>"""
    )
    assert pages.scan(site_) == [
        f"book/page.html: {beside.as_uri()} holds at one place alone",
        f"book/page.html: {beside} holds at one place alone",
        "book/page.html: /index.html holds at one place alone",
        "book/page.html: ../../beside.html leads out of the pages",
    ]
    moved = site_.rename(tmp_path / "moved")
    assert (moved / "book" / "page.html").exists() and len(pages.scan(moved)) == 4


def test_formatting_a_chapter_changes_its_cells_alone(book):
    path = book / "book" / "01_one.md"
    shutil.copy(ROOT / "pyproject.toml", book)
    assert lint.lint(root=book) == 0
    path.write_text(CHAPTER.replace("1 / 16", "1/16"))
    assert lint.lint(root=book) == 1
    assert lint.lint(fix=True, root=book) == 0
    assert path.read_text() == CHAPTER
    path.write_text(CHAPTER.replace("1 / 16", "missing_name"))
    assert lint.lint(fix=True, root=book) == 1


def test_nbval_sees_a_change_of_a_hundredth_of_a_percent(book):
    """A reference written by the tools passes, and fails where one number differs by 0.01 %."""
    assert references.write(root=book) == 0
    path = book / "tests" / "notebooks" / "01_one.ipynb"
    reference = nbformat.read(path, as_version=4)
    assert [cell.cell_type for cell in reference.cells] == ["code"] * 3
    outputs = [output for cell in reference.cells for output in cell.outputs]
    assert [output.output_type for output in outputs] == ["stream", "execute_result"]
    assert outputs[0].text == "smoke 1 cpu\n"  # what goes to stderr is left out
    shutil.copy(ROOT / "tests" / "conftest.py", book / "tests")

    changed = path.with_name("changed.ipynb")
    changed.write_text(path.read_text().replace('"0.0625"', '"0.06250625"'))
    assert changed.read_text() != path.read_text()

    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", book]
    command += ["--nbval", "--nbval-current-env", path, changed]
    said = subprocess.run(command, cwd=book, capture_output=True, text=True).stdout
    assert "1 failed, 5 passed" in said
    assert re.search(r"^FAILED .*changed\.ipynb::Cell 2", said, re.MULTILINE), said


def test_status_table_names_every_chapter():
    noted = {
        "title": "One",
        "profile": "smoke",
        "device": "cpu",
        "seed": 0,
        "seconds": 2.34,
        "finished": "2026-01-01 00:00",
        "commit": "abc",
        "hardware": "a machine",
        "python": "3.11.0",
        "versions": {"torch": "2"},
    }
    text = generated.status_table([noted, noted | {"title": "Two", "seconds": 3.0}])
    assert text.count("* - ") == 3
    assert "2.3" in text
    assert "5 s of run time" in text
    assert generated.status_table([]) == "No chapter has been executed in this build.\n"


def test_the_stored_measurements_are_shown():
    path = ROOT / "benchmarks" / "measured.json"
    text = measurements.measurements_table(path)
    for name, part in json.loads(path.read_text()).items():
        assert not part.get("quick"), name
        assert part["shown"], name
        assert f"`{part['commit']}`" in text, name


def test_measurements_name_both_sides_and_what_made_them(tmp_path):
    path = tmp_path / "measured.json"
    assert measurements.measurements_table(path) == measurements.MISSING
    made = {"threads": 2, "commit": "abc1234", "hardware": "a machine", "torch": "2.13.0"}
    both = {"what": "fifty members", "ours": "40.0 s", "alternative": "200 s", "ratio": 5.04}
    alone = {"what": "S_D", "ours": "1 ms", "alternative": "", "ratio": None}
    path.write_text(json.dumps({"pod": made | {"shown": [both, alone]}}))
    text = measurements.measurements_table(path)
    assert text.startswith(":::{table} Speed, memory")
    assert text.splitlines()[5:8] == [
        "| fifty members | 40.0 s | 200 s | 5 | a machine; 2 threads; `abc1234` |",
        "| S_D | 1 ms |  |  | a machine; 2 threads; `abc1234` |",
        ":::",
    ]
    path.write_text(json.dumps({"pod": made | {"shown": [both], "quick": True}}))
    assert measurements.measurements_table(path) == measurements.MISSING


def test_the_stored_kernels_are_shown(tmp_path):
    path = ROOT / "benchmarks" / "kernels.json"
    text = measurements.kernels_table(path)
    stored = json.loads(path.read_text())
    assert all(run["kernel"] in text for run in stored["kernels"])
    assert all(small["test"] in text for small in stored["small_margins"])
    assert sum(run.get("failed", 0) for run in stored["kernels"]) == 0
    assert "nothing is stored" in measurements.kernels_table(tmp_path / "missing.json")


def test_the_front_answers_from_stored_results_and_leaves_out_what_is_missing(tmp_path):
    text = front.answer(Results())
    assert text.count("\n- **") + 1 >= 5
    own = Results().condition("four-modes", "annealed", "standard")
    assert f"{own['disentangled']:.0f} of {own['runs']:.0f}" in text
    assert front.answer(Results(Store(tmp_path))) == "\n"


def test_verdicts_are_counted_in_words_and_drawn(tmp_path):
    table = pd.DataFrame({"verdict": ["partly", "undecided", "partly"]})
    assert front.draw_verdicts(table, tmp_path / "v.svg") == "2 partly, 1 undecided"
    assert (tmp_path / "v.svg").read_text().count("<svg") == 1
    assert set(front.LOOKS) == set(VERDICTS)


@pytest.mark.skipif(find_browser() is None, reason=MISSING)
def test_the_look_at_pages_counts_faults_and_keeps_pictures(tmp_path, capsys):
    text = '<html lang="en"><title>page</title><p style="color: #aaa; background: #fff">pale</p>'
    (tmp_path / "_static").mkdir()
    for name in ("page.html", "_static/not-a-page.html"):
        (tmp_path / name).write_text(text)
    onward = '<meta http-equiv="Refresh" content="0; url=page.html">'
    (tmp_path / "index.html").write_text(onward)
    assert look.report([tmp_path], tmp_path / "pictures") == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(r"1 page at 1280 and 390 pixels, .* s: 2 color-contrast", last)
    assert len(list((tmp_path / "pictures").glob("*-page-*.png"))) == 4


def test_where_no_book_is_built_the_look_says_so(tmp_path, capsys):
    assert look.report([tmp_path / "html"]) == 1
    assert "there is no such page; build the book with: make book" in capsys.readouterr().out


def test_without_a_browser_the_look_says_so(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert look.report([tmp_path]) == 0
    assert "not looked at: needs a browser called chromium" in capsys.readouterr().out


def test_table_of_verified_experiments_has_a_column_for_every_kernel(tmp_path):
    """What a kernel has not computed is an empty cell; what differs has its reason below."""
    made = {"profile": "laptop", "commit": "abc1234", "hardware": "one, 2 cores", "torch": "2"}
    same = made | {"variable": None, "reason": "every number is the same", "trials": 6}
    rows = [
        same
        | {"kernel": "own", "ran": ["A", "B"], "experiment": "darcy"}
        | {"outcome": "identical", "largest": 0.0},
        same
        | {"kernel": "prescott", "ran": ["C", "D"], "experiment": "darcy"}
        | {"outcome": "equal within rounding", "largest": 6.2e-8},
        same
        | {"kernel": "own", "ran": ["A", "B"], "experiment": "paths"}
        | {"outcome": "different", "largest": None, "reason": "verdicts change"},
    ]
    path = tmp_path / "verified.json"
    path.write_text(json.dumps(rows))
    text = measurements.verified_table(path)
    assert "| Experiment | Trials | A, B | C, D |" in text
    assert "| `darcy` | 6 | identical | equal within rounding, $6 \\cdot 10^{-8}$ |" in text
    assert "| `paths` | 6 | different |  |" in text
    assert "- `paths` differs: verdicts change." in text
    assert "none is stored" in measurements.verified_table(tmp_path / "missing.json")

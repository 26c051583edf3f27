"""Put the executed chapters and the plain pages together and let jupyter-book build the HTML."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import yaml
from nbformat import NotebookNode

from . import explorer, generated, pages
from .chapters import ROOT, Chapter, all_chapters, parameters, select, toc_pages
from .execute import Run, executed, record, run_chapters, worker_pool

__all__ = ["build", "show_parameters_once", "slim"]

DRAFT_ROOT = "book/draft"
LARGEST_MB = 32  # of the built pages, together
_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def show_parameters_once(notebook: NotebookNode) -> NotebookNode:
    """Hide one of the two parameter cells: the page shows the values that were used."""
    by_tag = {tag: cell for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    default, injected = by_tag.get("parameters"), by_tag.get("injected-parameters")
    if default is not None and injected is not None:
        used = parameters(notebook, "injected-parameters")
        same = used.items() <= parameters(notebook).items()
        (injected if same else default).metadata["tags"].append("remove-cell")
    return notebook


def _write_parts(folder: Path, root: Path) -> None:
    """Write the parts of pages that need no executed chapter."""
    shutil.rmtree(folder, ignore_errors=True)
    generated.write(folder / "_generated", root)
    explorer.write(folder)


def _stage(
    run: Run, folder: Path, toc: dict, names: list[str], parts: Path | None, root: Path
) -> None:
    """Fill the folder that Sphinx reads: notebooks for chapters, other pages as they are."""
    shutil.rmtree(folder, ignore_errors=True)
    book = folder / "book"
    shutil.copytree(
        root / "book", book, ignore=shutil.ignore_patterns("*.md", "_ext", "__pycache__", ".*")
    )
    with_code = {chapter.name: chapter for chapter in all_chapters(root)}
    records = []
    for name in names:
        chapter = with_code.get(name)
        noted = record(run, chapter, root) if chapter else None
        if noted:
            notebook = nbformat.read(executed(run, chapter, root), as_version=4)
            nbformat.write(show_parameters_once(notebook), book / f"{name}.ipynb")
            records.append(noted)
        else:
            shutil.copy2(root / "book" / f"{name}.md", book)
    if parts:
        shutil.copytree(parts, book, dirs_exist_ok=True)
        generated.write_runs(book / "_generated", records)
    else:
        (folder / f"{DRAFT_ROOT}.md").write_text("# Draft\n", encoding="utf-8")
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False), encoding="utf-8")


def _tree_hash(*roots: Path) -> str:
    digest = hashlib.sha256()
    for top in roots:
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and path.suffix != ".pyc":
                digest.update(path.relative_to(top.parent).as_posix().encode() + b"\0")
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


# its command line has no option for the number of processes, the function that it calls has
_JUPYTER_BOOK = """
from functools import partial
from jupyter_book import sphinx
from jupyter_book.cli.main import main
sphinx.build_sphinx = partial(sphinx.build_sphinx, jobs={jobs})
main()
"""


def _sphinx(stage: Path, output: Path, strict: bool, jobs: int, root: Path) -> bool:
    """Run jupyter-book on the stage; return whether it was content."""
    command = [
        *(sys.executable, "-c", _JUPYTER_BOOK.format(jobs=jobs), "build", stage),
        *("--config", root / "_config.yml", "--toc", stage / "_toc.yml"),
        *("--path-output", output, "--all", "-n", "--keep-going", "-q"),
    ]
    environment = os.environ | {"NO_COLOR": "1"}
    done = subprocess.run(
        command + ["-W"] * strict,
        cwd=root,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    log = _COLOUR.sub("", done.stdout).replace(f"{stage}/", "")
    (output / "sphinx.log").write_text(log, encoding="utf-8")
    faults = [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line]
    for line in dict.fromkeys(faults or ([log[-3000:]] if done.returncode else [])):
        print(line, flush=True)
    return done.returncode == 0


def slim(pages: Path) -> list[str]:
    """Drop from built pages what no reader asks for; return what is wrong with their size.

    Dropped are maps of minified scripts, translations of the theme, and the outputs of the
    notebooks that readers download: the pages show them.
    """
    for path in (pages / "_static").rglob("*.map"):
        path.unlink()
    shutil.rmtree(pages / "_static" / "locales", ignore_errors=True)
    for path in (pages / "_sources").rglob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        nbformat.write(notebook, path)
    size = sum(path.stat().st_size for path in pages.rglob("*") if path.is_file()) / 1e6
    return [f"the pages have {size:.1f} MB, at most {LARGEST_MB}"] * (size > LARGEST_MB)


def _toc(chosen: list[Chapter], root: Path) -> dict:
    """Return the table of contents: the book's own, or that of a draft of chosen chapters."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    if not chosen:
        toc["parts"] = [part for part in toc["parts"] if part.get("chapters")]
        return toc
    entries = [{"file": f"book/{chapter.name}"} for chapter in chosen]
    parts = [{"caption": "Draft", "numbered": True, "chapters": entries}]
    return {"format": "jb-book", "root": DRAFT_ROOT, "parts": parts}


def build(
    run: Run, only: list[str] = (), jobs: int = 2, force: bool = False, root: Path = ROOT
) -> int:
    """Execute what changed, build the pages with warnings as errors, check and publish them.

    With `only`, a draft of those chapters is built, in which warnings do not stop the build.
    Returns the exit status.
    """
    started = time.perf_counter()
    chosen = select(list(only), root)
    kind = "draft" if only else "book"
    work, html = root / "_build" / kind, root / "_build" / ("draft-html" if only else "html")
    parts = None if only else work / "parts"
    chapters = f"{len(chosen)} chapter{'s'[: len(chosen) != 1]}"
    print(f"executing {chapters}, profile {run.profile}, device {run.device}:")
    with worker_pool(jobs) as beside:
        written = beside.submit(_write_parts, parts, root) if parts else None
        if not run_chapters(run, chosen, jobs, force, root):
            print("\nno pages were built, because a chapter failed (see above)", file=sys.stderr)
            return 1
        if written:
            written.result()

    toc = _toc(chosen if only else [], root)
    names = [Path(page).name for page in toc_pages(root)]
    if only:
        names = [chapter.name for chapter in chosen]
    else:
        for chapter in all_chapters(root):
            if chapter.name not in names:
                print(f"book/{chapter.path.name} is not in _toc.yml and is left out")
    stage = work / "stage"
    _stage(run, stage, toc, names, parts, root)

    stamp = work / "built"
    inputs = _tree_hash(
        stage, root / "_config.yml", root / "book" / "_ext", root / "src", root / "tools"
    )
    page = html / "book" / f"{chosen[0].name if only else 'index'}.html"
    if not force and page.exists() and stamp.exists() and stamp.read_text() == inputs:
        print("the pages are up to date")
    else:
        stamp.unlink(missing_ok=True)
        good = _sphinx(stage, work, strict=not only, jobs=jobs, root=root)
        built = work / "_build" / "html"
        if good:
            problems = slim(built) + pages.scan(built)
            print("\n".join(problems), end="\n" if problems else "")
            good = not problems or bool(only)
        if not good:
            log = (work / "sphinx.log").relative_to(root)
            print(f"\nthe pages have the faults above; Sphinx's log: {log}", file=sys.stderr)
            return 1
        shutil.rmtree(html, ignore_errors=True)
        built.rename(html)
        stamp.write_text(inputs)
    if only:
        print("a draft: references to other chapters stay open (the warnings above), numbers begin")
        print("at 1; the whole book is what 'make book' builds without ONLY")
    print(f"{kind} built in {time.perf_counter() - started:.0f} s: {page.relative_to(root)}")
    return 0

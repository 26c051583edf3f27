"""Code cells of the chapters: ruff, which does not see them inside `.md` files; size; tables."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from markdown_it import MarkdownIt

from .chapters import ROOT, Chapter, all_chapters, code_cells, read

__all__ = [
    "MOST_COLUMNS",
    "MOST_LINES",
    "lint",
    "lost_tables",
    "oversized",
    "replace_cells",
    "wide_examples",
]

# What a page shows at 1280 pixels without cutting a line off, and what is read at one go.
MOST_COLUMNS, MOST_LINES = 79, 15
_NOT_SHOWN = {"hide-input", "remove-input", "remove-cell", "parameters"}


def oversized(notebook: nbformat.NotebookNode) -> list[str]:
    """Return a line for every visible code cell that is too long and every line too wide.

    Folded cells (`hide-input`) and the parameters may be longer; cells count from 1, as in the
    messages of a failing chapter.
    """
    problems = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        if _NOT_SHOWN.intersection(cell.metadata.get("tags", [])):
            continue
        lines = cell.source.splitlines()
        where = f"code cell {number} ({lines[0][:40]})"
        if len(lines) > MOST_LINES:
            problems.append(f"{where}: {len(lines)} lines, at most {MOST_LINES} are shown unfolded")
        problems += [
            f"{where}, line {row}: {len(line)} characters, at most {MOST_COLUMNS}"
            for row, line in enumerate(lines, start=1)
            if len(line) > MOST_COLUMNS
        ]
    return problems


def wide_examples(page: str) -> list[str]:
    """Return a line for every line too wide in the Python that a page's prose shows, unexecuted."""
    return [
        f"line {row}: {len(line)} characters of Python, at most {MOST_COLUMNS}"
        for fence in MarkdownIt().parse(page)
        if fence.type == "fence" and fence.info == "python" and fence.map
        for row, line in enumerate(fence.content.splitlines(), start=fence.map[0] + 2)
        if len(line) > MOST_COLUMNS
    ]


def lost_tables(notebook: nbformat.NotebookNode) -> list[str]:
    """Return a line for every cell with a call of `table` (`dvae.chapters`) that is not its end.

    A page shows the value of a cell's last line; a table made before it is lost without a word.
    """
    problems = []
    for number, cell in enumerate(code_cells(notebook), start=1):
        try:
            tree = ast.parse(cell.source)
        except SyntaxError:  # ruff says where
            continue
        last = tree.body[-1] if tree.body else None
        shown = last.value if isinstance(last, ast.Expr) else None
        problems += [
            f"code cell {number}, line {node.lineno}: a table is shown only as the last line"
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and node is not shown
            if isinstance(node.func, ast.Name) and node.func.id == "table"
        ]
    return problems


def _ruff(*words: str | Path, root: Path) -> bool:
    settings = ["--config", root / "pyproject.toml", "--line-length", str(MOST_COLUMNS)]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words, *settings],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        print((done.stdout + done.stderr).strip())
    return done.returncode == 0


def replace_cells(text: str, old: list[str], new: list[str]) -> str:
    """Return a chapter's text with the sources of its code cells, in order, replaced."""
    position = 0
    for before, after in zip(old, new, strict=True):
        start = text.index(f"\n{before}\n```", position) + 1
        text = text[:start] + after + text[start + len(before) :]
        position = start + len(after)
    return text


def _sources(notebook: nbformat.NotebookNode) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code" and cell.source]


def _repair(chapter: Chapter, path: Path) -> None:
    text = chapter.path.read_text(encoding="utf-8")
    new = _sources(nbformat.read(path, as_version=4))
    repaired = replace_cells(text, _sources(read(chapter)), new)
    if repaired != text:
        chapter.path.write_text(repaired, encoding="utf-8")
        print(f"book/{chapter.path.name} repaired")


def lint(fix: bool = False, root: Path = ROOT) -> int:
    """Check (or, with `fix`, repair) every chapter's code cells: lint, format, size, tables."""
    folder = root / "_build" / "lint"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    chapters = all_chapters(root)
    paths = [folder / f"{chapter.name}.ipynb" for chapter in chapters]
    for chapter, path in zip(chapters, paths, strict=True):
        nbformat.write(read(chapter), path)
    if not chapters:
        return 0
    if fix:
        good = _ruff("check", "--fix", *paths, root=root)
        good = _ruff("format", *paths, root=root) and good
        for chapter, path in zip(chapters, paths, strict=True):
            _repair(chapter, path)
    else:
        good = _ruff("check", *paths, root=root)
        good = _ruff("format", "--diff", *paths, root=root) and good
    for chapter in chapters:
        notebook = read(chapter)
        for problem in oversized(notebook) + lost_tables(notebook):
            good = False
            print(f"book/{chapter.path.name}, {problem}")
    for path in sorted((root / "book").glob("*.md")):
        for problem in wide_examples(path.read_text(encoding="utf-8")):
            good = False
            print(f"book/{path.name}, {problem}")
    print(f"code cells of {len(chapters)} chapters: {'clean' if good else 'see above'}")
    return int(not good)

"""ruff over the code cells of the chapters, which it does not see inside `.md` files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat

from .chapters import ROOT, Chapter, all_chapters, read

__all__ = ["lint", "replace_cells"]


def _ruff(*words: str | Path, root: Path) -> bool:
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *words, "--config", root / "pyproject.toml"],
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
    """Check (or, with `fix`, repair) the lint and the format of every chapter's code cells."""
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
    print(f"code cells of {len(chapters)} chapters: {'clean' if good else 'see above'}")
    return int(not good)

"""The chapters: which files they are, in which order, and what their code cells hold."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

import jupytext
import yaml
from nbformat import NotebookNode

__all__ = [
    "ROOT",
    "Chapter",
    "all_chapters",
    "code_cells",
    "parameters",
    "read",
    "select",
    "toc_pages",
]

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Chapter:
    """A page of the book with code: `book/NN_name.md` in the MyST form of jupytext.

    `NN` keeps the files in order and is short for the chapter on the command line. A chapter that
    came between two others has a letter after it (`06b_name`); the number that readers see is
    that of its place in `_toc.yml`.
    """

    path: Path

    @property
    def name(self) -> str:
        """The file's name without its ending, such as `02_darcy`."""
        return self.path.stem

    @property
    def title(self) -> str:
        """The first heading."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        return next((line[2:].strip() for line in lines if line.startswith("# ")), self.name)

    @property
    def label(self) -> str:
        """The label in front of the first heading, such as `chapter-darcy`; empty without one."""
        found = re.search(r"^\((.+)\)=\n# ", self.path.read_text(encoding="utf-8"), re.MULTILINE)
        return found[1] if found else ""

    @property
    def prefix(self) -> str:
        """What stands before the name proper without leading zeros, such as `2` or `6b`."""
        return self.name.partition("_")[0].lstrip("0")


def toc_pages(root: Path = ROOT) -> list[str]:
    """Return the pages that `_toc.yml` lists, in order, such as `book/02_darcy`."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    pages = [toc["root"]]
    for part in toc.get("parts", []) or [toc]:
        pages += [chapter["file"] for chapter in part.get("chapters") or []]
    return pages


def _has_code(path: Path) -> bool:
    text = path.read_text(encoding="utf-8")
    if not text.startswith("---\n"):
        return False
    return "kernelspec" in (yaml.safe_load(text[4:].split("\n---", 1)[0]) or {})


def all_chapters(root: Path = ROOT) -> list[Chapter]:
    """Return every page with code in `book/`: those of `_toc.yml` in its order, then others."""
    paths = sorted((root / "book").glob("*.md"))
    order = [Path(page).name for page in toc_pages(root)]
    paths.sort(key=lambda path: order.index(path.stem) if path.stem in order else len(order))
    return [Chapter(path) for path in paths if _has_code(path)]


def select(only: list[str], root: Path = ROOT) -> list[Chapter]:
    """Return the chapters named by prefix (`02`, `2`, `6b`) or name (`02_darcy`), or the toc's.

    Raises `SystemExit` with a list of what there is where a name fits no chapter.
    """
    chapters = all_chapters(root)
    if not only:
        pages = toc_pages(root)
        return [chapter for chapter in chapters if f"book/{chapter.name}" in pages]
    chosen = []
    for word in only:
        name = Path(word).stem
        fits = [c for c in chapters if name == c.name or name.lstrip("0") == c.prefix]
        if not fits:
            names = ", ".join(chapter.name for chapter in chapters) or "none"
            raise SystemExit(f"no chapter called {word!r} in book/; there are: {names}")
        chosen += fits
    return chosen


def read(chapter: Chapter) -> NotebookNode:
    """Return the chapter as a notebook, every cell with a list of tags."""
    notebook = jupytext.read(chapter.path)
    for cell in notebook.cells:
        cell.metadata.setdefault("tags", [])
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """Return the code cells that hold any code (nbval and papermill run these)."""
    return [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]


def parameters(notebook: NotebookNode, tag: str = "parameters") -> dict[str, object]:
    """Return the names and values that the first cell with this tag sets, empty without one."""
    for cell in notebook.cells:
        if cell.cell_type == "code" and tag in cell.metadata.get("tags", []):
            return {
                statement.targets[0].id: ast.literal_eval(statement.value)
                for statement in ast.parse(cell.source).body
                if isinstance(statement, ast.Assign)
            }
    return {}

"""Slim references for nbval: the chapters' code cells with the text that they must print again."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook, new_output

from .chapters import ROOT, Chapter, all_chapters, code_cells, read, select
from .execute import execute, failure, parallel, write_notebook

__all__ = ["FOLDER", "KEPT", "slim", "write"]

FOLDER = Path("tests") / "notebooks"
# Outputs that are compared. Pictures and HTML differ between machines; glued text
# (the numbers that stand in the prose) has a type of its own.
KEPT = ("text/plain", "text/markdown", "application/papermill.record/text/plain")
_NBVAL_TAGS = {"nbval-ignore-output", "nbval-skip", "raises-exception"}


def _slim_output(output: NotebookNode, count: int) -> NotebookNode | None:
    if output.get("name") == "stdout":
        return new_output("stream", name="stdout", text=output.text)
    data = {kind: text for kind, text in output.get("data", {}).items() if kind in KEPT}
    if not data:
        return None
    extra = {"execution_count": count} if output.output_type == "execute_result" else {}
    return new_output(output.output_type, data=data, **extra)


def slim(notebook: NotebookNode) -> NotebookNode:
    """Return only the code cells and of their outputs only the text that nbval compares."""
    cells = []
    for count, cell in enumerate(code_cells(notebook), start=1):
        outputs = [_slim_output(output, count) for output in cell.outputs]
        tags = [tag for tag in cell.metadata.get("tags", []) if tag in _NBVAL_TAGS]
        cells.append(
            new_code_cell(
                cell.source,
                id=f"cell-{count}",
                execution_count=count,
                outputs=[output for output in outputs if output],
                metadata={"tags": tags} if tags else {},
            )
        )
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


def _write_one(chapter: Chapter, root: Path) -> tuple[float, str]:
    started = time.perf_counter()
    try:
        notebook = execute(read(chapter), {}, root / FOLDER)
    except Exception as error:
        return time.perf_counter() - started, failure(chapter, error)
    write_notebook(slim(notebook), root / FOLDER / f"{chapter.name}.ipynb")
    return time.perf_counter() - started, ""


def write(only: list[str] = (), jobs: int = 2, root: Path = ROOT) -> int:
    """Execute chapters with their default parameters and write their references.

    Without `only`, all chapters of the toc are written and references without a chapter removed.
    """
    chapters = select(list(only), root)
    failed = False
    tasks = [(chapter, root) for chapter in chapters]
    for index, (seconds, problem) in parallel(_write_one, tasks, jobs) if tasks else []:
        word = "FAILED" if problem else "written"
        print(f"  {chapters[index].name:<22}{seconds:8.1f} s  {word}", flush=True)
        if problem:
            failed = True
            print("\n" + problem, file=sys.stderr, flush=True)
    if not only:
        names = {chapter.name for chapter in all_chapters(root)}
        for path in (root / FOLDER).glob("*.ipynb"):
            if path.stem not in names:
                path.unlink()
                print(f"  {path.stem:<22}{'':10}  removed, it has no chapter")
    print(f"references are in {FOLDER}/; look at what changed with: git diff {FOLDER}")
    return int(failed)

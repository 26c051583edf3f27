"""Execute chapters with papermill, several at a time, and only those whose inputs changed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode

from .chapters import ROOT, Chapter, code_cells, parameters, read
from .kernels import ChapterKernel

__all__ = [
    "Run",
    "execute",
    "failure",
    "parallel",
    "record",
    "run_chapters",
    "worker_pool",
    "write_notebook",
]

_COLOUR = re.compile("\x1b\\[[0-9;]*m")
# A smoke chapter takes seconds; one that hangs must not hang the whole build.
SMOKE_CELL_SECONDS = 900


@dataclass(frozen=True)
class Run:
    """What papermill passes to every chapter."""

    profile: str = "smoke"
    device: str = "cpu"
    seed: int = 0


def executed(run: Run, chapter: Chapter, root: Path = ROOT) -> Path:
    """Return where the executed notebook of a chapter lies."""
    return root / "_build" / "executed" / run.profile / f"{chapter.name}.ipynb"


def record(run: Run, chapter: Chapter, root: Path = ROOT) -> dict | None:
    """Return what was noted when the chapter was executed, or None if it is not there whole."""
    notebook = executed(run, chapter, root)
    try:
        noted = json.loads(notebook.with_suffix(".json").read_text(encoding="utf-8"))
        content = notebook.read_bytes()
    except (OSError, ValueError):
        return None
    return noted if noted.get("sha256") == hashlib.sha256(content).hexdigest() else None


def library_hash(root: Path = ROOT) -> str:
    """Return a hash of all that chapters depend on: library, stored results, environment."""
    digest = hashlib.sha256(sys.version.encode())
    files = [root / "requirements.lock", *sorted((root / "src").rglob("*.py"))]
    for path in sorted((root / "results").rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not hidden and path.suffix not in {".lock", ".tmp"}:
            files.append(path)
    for path in files:
        digest.update(path.relative_to(root).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _key(run: Run, chapter: Chapter, library: str) -> str:
    text = json.dumps([asdict(run), library, chapter.path.read_text(encoding="utf-8")])
    return hashlib.sha256(text.encode()).hexdigest()


def write_notebook(notebook: NotebookNode, path: Path) -> None:
    """Write under a temporary name and rename, so that the name never holds half a notebook."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def failure(chapter: Chapter, error: Exception, injected: bool = False) -> str:
    """Return a readable account of why a chapter failed, in its own count of code cells."""
    lines = [f"book/{chapter.path.name} failed"]
    source = getattr(error, "source", None)
    if source is not None:  # papermill's account of a cell that raised
        lines[0] += f" in code cell {error.exec_count - injected}:"
        lines += [textwrap.indent(source, "    | ", lambda line: True)]
        lines += [f"{error.ename}: {error.evalue}"]
        frames = [_COLOUR.sub("", line) for text in error.traceback for line in text.splitlines()]
        lines += textwrap.indent("\n".join(frames[-25:]), "    ").splitlines()
    else:
        lines += [f"{type(error).__name__}: {error}"]
    return "\n".join(lines)


def execute(
    notebook: NotebookNode, values: dict[str, object], cwd: Path, timeout: int | None = None
) -> NotebookNode:
    """Return the notebook executed by papermill in the folder `cwd`.

    Raises `papermill.PapermillExecutionError` where a cell raises.
    """
    import papermill

    return papermill.execute_notebook(
        notebook,
        None,
        parameters=values,
        kernel_name="python3",
        kernel_manager_class=ChapterKernel,
        cwd=cwd,
        progress_bar=False,
        start_timeout=180,
        execution_timeout=timeout,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=40"],
    )


def _run_one(chapter: Chapter, run: Run, key: str, root: Path) -> tuple[float, str]:
    """Execute one chapter in this process; return the seconds and the failure, if any."""
    target = executed(run, chapter, root)
    for old in (target.with_suffix(".json"), target):
        old.unlink(missing_ok=True)
    started = time.perf_counter()
    values = {}
    try:
        notebook = read(chapter)
        values = {k: v for k, v in asdict(run).items() if k in parameters(notebook)}
        timeout = SMOKE_CELL_SECONDS if run.profile == "smoke" else None
        notebook = execute(notebook, values, root / "book", timeout)
    except Exception as error:
        return time.perf_counter() - started, failure(chapter, error, bool(values))
    seconds = time.perf_counter() - started
    write_notebook(notebook, target)
    from dvae.provenance import provenance  # imports torch: only where a chapter has run

    made = provenance(run.device)
    noted = asdict(run) | {
        "chapter": chapter.name,
        "title": chapter.title,
        "cells": len(code_cells(notebook)),
        "seconds": round(seconds, 1),
        "finished": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "hardware": made["hardware"],
        "commit": made["commit"],
        "versions": {name: made[name] for name in ("python", "dvae", "torch")},
        "key": key,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
    }
    target.with_suffix(".json").write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
    return seconds, ""


def worker_pool(jobs: int) -> ProcessPoolExecutor:
    """Return processes that share the cores; papermill changes folder, so no threads."""
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, threads)
    os.environ.setdefault("PYTHONHASHSEED", "0")
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def parallel(function, tasks: list[tuple], jobs: int):
    """Yield `(index, result)` as processes finish."""
    with worker_pool(max(1, min(jobs, len(tasks)))) as pool:
        futures = {pool.submit(function, *task): index for index, task in enumerate(tasks)}
        for future in as_completed(futures):
            yield futures[future], future.result()


def run_chapters(
    run: Run, chapters: list[Chapter], jobs: int = 2, force: bool = False, root: Path = ROOT
) -> bool:
    """Execute the chapters whose text, library, results or parameters changed.

    Returns whether all of them are now executed; what failed is printed.
    """
    library = library_hash(root)
    started = time.perf_counter()
    tasks, unchanged = [], 0
    for chapter in chapters:
        key, noted = _key(run, chapter, library), record(run, chapter, root)
        if noted and noted["key"] == key and not force:
            print(f"  {chapter.name:<22}{noted['seconds']:8.1f} s  unchanged", flush=True)
            unchanged += 1
        else:
            tasks.append((chapter, run, key, root))
    tasks.reverse()  # the last page, on data of one's own, takes longest: no core waits for it
    failures = []
    for index, (seconds, failure) in parallel(_run_one, tasks, jobs) if tasks else []:
        word = "FAILED" if failure else "executed"
        print(f"  {tasks[index][0].name:<22}{seconds:8.1f} s  {word}", flush=True)
        failures += [failure] * bool(failure)
    done = len(tasks) - len(failures)
    print(
        f"{done} chapters executed, {unchanged} unchanged, {len(failures)} failed "
        f"in {time.perf_counter() - started:.0f} s",
        flush=True,
    )
    for failure in failures:
        print("\n" + failure, file=sys.stderr, flush=True)
    return not failures

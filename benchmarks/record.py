"""Measurements go into one JSON file, each under its own name with what made it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from pathlib import Path

from dvae.provenance import provenance
from dvae.storage import atomic_path

__all__ = ["add_options", "busy_processes", "load_now", "record", "row"]

STORED = Path(__file__).parent / "measured.json"


def add_options(parser: ArgumentParser) -> None:
    """Options that every script has."""
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of every alternative")
    parser.add_argument(
        "--json",
        type=Path,
        nargs="?",
        const=STORED,
        help=f"record the measurements in this file (without a path: {STORED.name}, which the "
        "book shows); what it holds of other scripts stays",
    )


def load_now() -> float | None:
    """Processes that want to run on this machine: above 0 before a start, times are too long."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


@contextlib.contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """Processes that compute without end, like those of others on a shared machine."""
    # should this process be killed, they end with it
    code = "import os; parent = os.getppid()\nwhile os.getppid() == parent: pass"
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
            process.wait()


def row(what: str, ours: str, alternative: str = "", ratio: float | None = None) -> dict:
    """One line of the book's table: what was measured, here and with the alternative."""
    return {"what": what, "ours": ours, "alternative": alternative, "ratio": ratio}


def _changed_files() -> set[Path]:
    """Files of this checkout that differ from its commit."""
    command = ["git", "-C", str(STORED.parent), "diff", "HEAD", "--name-only", "--no-relative"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return {STORED.parents[1] / name for name in done.stdout.splitlines()}


def record(
    path: Path | None,
    name: str,
    measured: dict,
    shown: Callable[[dict], list[dict]],
    *,
    threads: int,
    load: float | None,
    device: str = "cpu",
) -> None:
    """Put a measurement into a file; does nothing where no file is given.

    ``shown`` makes of the numbers the lines that the book's table shows (see :func:`row`).
    """
    if path is None:
        return
    content = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    made = {"threads": threads, "load_at_start": load, **provenance(device)}
    if _changed_files() <= {path.resolve()}:  # what another part has just recorded
        made["commit"] = made["commit"].removesuffix("-dirty")
    content[name] = made | measured | {"shown": shown(measured)}
    with atomic_path(path) as beside:
        beside.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"recorded as {name!r} in {path}")

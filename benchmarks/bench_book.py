"""Wall time and memory of the whole book at the smoke profile: every chapter, then the pages.

    python benchmarks/bench_book.py [--json [PATH]] [--jobs 2]

Memory is that of all processes of the build together, shared pages counted once where the system
tells (Linux), sampled twice a second.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import psutil

from record import add_options, load_now, record, row

ROOT = Path(__file__).resolve().parents[1]
TARGET_SECONDS = 360.0


def memory_mib(process: psutil.Process) -> tuple[float, float]:
    """Memory of a process with all its descendants, and of the largest of them."""
    sizes = [0.0]
    for one in (process, *process.children(recursive=True)):
        try:
            info = one.memory_full_info()
        except psutil.Error:  # it has just ended
            continue
        sizes.append(getattr(info, "pss", info.rss) / 2**20)
    return sum(sizes), max(sizes)


def measure(jobs: int) -> dict:
    """Build the book anew and watch it."""
    command = [sys.executable, "tools/book.py", "build", "--profile", "smoke", "--force"]
    start = time.perf_counter()
    build = subprocess.Popen([*command, "--jobs", str(jobs)], cwd=ROOT)
    watched = psutil.Process(build.pid)
    together = largest = 0.0
    while build.poll() is None:
        try:
            total, single = memory_mib(watched)
        except psutil.NoSuchProcess:
            break
        together, largest = max(together, total), max(largest, single)
        time.sleep(0.5)
    if build.wait():
        raise SystemExit("the book was not built; see above")
    return {
        "profile": "smoke",
        "jobs": jobs,
        "seconds": time.perf_counter() - start,
        "peak_mib": together,
        "largest_process_mib": largest,
    }


def shown(m: dict) -> list[dict]:
    """Line of the book's table."""
    ours = (
        f"{m['seconds']:.0f} s; {m['peak_mib']:,.0f} MiB in all processes, "
        f"{m['largest_process_mib']:,.0f} in the largest"
    )
    return [row(f"this book at the smoke profile, {m['jobs']} chapters at a time", ours)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--jobs", type=int, default=2, help="chapters executed at the same time")
    arguments = parser.parse_args()
    load = load_now()
    found = measure(arguments.jobs)
    word = "reached" if found["seconds"] <= TARGET_SECONDS else "MISSED"
    print(
        f"smoke book: {found['seconds']:.0f} s (target {TARGET_SECONDS:.0f} s: {word}), "
        f"at most {found['peak_mib']:.0f} MiB in all processes, "
        f"{found['largest_process_mib']:.0f} MiB in one"
    )
    record(arguments.json, "book", found, shown, threads=arguments.threads, load=load)


if __name__ == "__main__":
    main()

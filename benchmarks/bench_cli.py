"""Wall time of `dvae --help`, `import dvae` and `dvae claims`: quiet, and beside a busy process.

    python benchmarks/bench_cli.py [--json [PATH]] [--repeats 5]

Each is the median over new processes with one thread, and `import dvae` is set against
`import torch, xarray` of the same round. The busy process counts in Python; how much it takes from
the others depends on the number of cores. The first round, which fills the caches, is not counted;
"after a change" nothing is kept, and every claim is decided.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from record import add_options, busy_processes, load_now, record, row

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "import sys; sys.argv = ['dvae', {!r}]; from dvae.cli import main; main()"
EVERY_NAME = "import dvae; [getattr(dvae, name) for name in dvae.__all__]"
CODE = {
    "dvae --help": COMMAND.format("--help"),
    "import torch, xarray": "import torch, xarray",
    "import dvae": "import dvae",
    "import dvae, and every public name": EVERY_NAME,
    "dvae claims": COMMAND.format("claims"),
    "dvae claims, after a change": (
        "from dvae import storage, verdicts; verdicts._decide(storage.results_folder())"
    ),
}


def wall_seconds(code: str, threads: int) -> float:
    """Wall time of a new Python that runs some code."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    environment["PYTHONPATH"] = str(ROOT / "src")
    command = [sys.executable, "-c", code]
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def rounds(repeats: int, threads: int) -> dict[str, list[float]]:
    """Wall times of all codes, in rounds, so that other work on the machine meets all alike."""
    times: dict[str, list[float]] = {name: [] for name in CODE}
    for _ in range(repeats):
        for name, code in CODE.items():
            times[name].append(wall_seconds(code, threads))
    return times


def measure(repeats: int, threads: int) -> dict:
    """Medians quiet and beside a busy process, and ratios."""
    rounds(1, threads)
    times = {"quiet": rounds(repeats, threads)}
    with busy_processes(1):
        times["beside a busy process"] = rounds(repeats, threads)
    seconds = {
        state: {name: statistics.median(found) for name, found in own.items()}
        for state, own in times.items()
    }
    ratios = {
        state: own["import dvae, and every public name"] / own["import torch, xarray"]
        for state, own in seconds.items()
    }
    return {
        "cores": os.cpu_count(),
        "repeats": repeats,
        "seconds": seconds,
        "busy_over_quiet": {
            name: seconds["beside a busy process"][name] / seconds["quiet"][name] for name in CODE
        },
        "every_name_over_torch_and_xarray": ratios,
    }


def shown(m: dict) -> list[dict]:
    """Lines of the book's table."""
    rows = []
    for state, own in m["seconds"].items():
        for name in ("dvae --help", "dvae claims", "dvae claims, after a change"):
            rows.append(row(f"`{name}`, {state}", f"{own[name]:.1f} s"))
        every, torch = own["import dvae, and every public name"], own["import torch, xarray"]
        what = f"import of every public name, {state}"
        other = f"{torch:.1f} s, torch and xarray"
        rows.append(row(what, f"{every:.1f} s", other, torch / every))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="new processes of each kind")
    add_options(parser)
    parser.set_defaults(threads=1)
    arguments = parser.parse_args()
    load = load_now()
    measured = measure(arguments.repeats, arguments.threads)
    print(f"{'seconds':38s}{'quiet':>8s}{'busy':>8s}{'ratio':>8s}")
    for name in CODE:
        quiet, busy = (own[name] for own in measured["seconds"].values())
        print(f"{name:38s}{quiet:8.2f}{busy:8.2f}{measured['busy_over_quiet'][name]:8.2f}")
    for state, ratio in measured["every_name_over_torch_and_xarray"].items():
        print(f"every public name over torch and xarray, {state}: {ratio:.2f}")
    record(arguments.json, "cli", measured, shown, threads=arguments.threads, load=load)


if __name__ == "__main__":
    main()

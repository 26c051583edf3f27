"""The run sheet of half an hour on a GPU: what only a GPU shows, most important first.

1. The tests that need a CUDA device.
2. The benchmark of ensembles of DenseVAE (one batched program, one after the other, processes).
3. DenseVAEs on the paper's grid for rows M1 and M2, as many as the time allows: the experiment
   ``dense_runs`` at the profile ``paper``.
4. Shortened reconstruction phases (``dense_phases``, rows L3 and P3), a fifth of the time at most.
5. The published recipe on DenseVAE (``dense_vae``), in the time that is left.

Trials are stored one group at a time and not computed again; a run that was cut off goes on from
its checkpoint. All that came out lies in one folder, a few megabytes; copy its ``results`` over
the project's, and commit.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
GRACE = 30.0  # seconds that a step which ran out of time has to end by itself


def plan(folder: Path, device: str) -> list[tuple[str, list[str], float]]:
    """Steps: title, command, and the share of the whole time that it may take at most."""
    dvae = [PYTHON, "-c", "from dvae.cli import main; main()", "run"]
    store = ["--profile", "paper", "--device", device, "--workers", "1"]
    store += ["--store", str(folder / "results")]
    bench = [PYTHON, "benchmarks/bench_training.py", "--device", device, "--part", "dense"]
    return [
        (
            "tests that need a GPU",
            [PYTHON, "-m", "pytest", "-q", "-m", "cuda", "tests", "-p", "no:cacheprovider"],
            0.15,
        ),
        ("benchmark of ensembles", [*bench, "--json", str(folder / "measured.json")], 0.15),
        ("M1, M2: dense_runs", [*dvae, "dense_runs", *store], 0.4),
        ("L3, P3: dense_phases", [*dvae, "dense_phases", *store], 0.2),
        ("published recipe: dense_vae", [*dvae, "dense_vae", *store], 1.0),
    ]


def run(command: list[str], seconds: float) -> str:
    """Run a command for at most so many seconds; "done", "out of time" or its exit code."""
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return "out of time, goes on when called again"
    except KeyboardInterrupt:
        _end(process)
        raise
    return "done" if code == 0 else f"exit code {code}"


def _end(process: subprocess.Popen) -> None:
    """Ask a process and its children to end, and end them if they do not."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
            process.wait(GRACE)
        except subprocess.TimeoutExpired:
            continue
        except ProcessLookupError:
            pass
        return


def merge(folder: Path) -> None:
    """Put the groups of interrupted experiments into their files."""
    from dvae.experiments import EXPERIMENTS
    from dvae.results.store import Store

    store = Store(folder / "results")
    for name in ("dense_runs", "dense_phases", "dense_vae"):
        merged = store.merge(EXPERIMENTS[name], "paper")
        trials = 0 if merged is None else merged.sizes["trial"]
        print(f"{name}: {trials} trials in {store.path(name, 'paper')}")


def main() -> int:
    """Print the sheet, or work through it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=25.0, help="in all (default: 25)")
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "_build" / "gpu", help="what comes out"
    )
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu: to try it")
    parser.add_argument("--list", action="store_true", help="print the sheet and do nothing")
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes must be positive, got {options.minutes:g}")
    folder = options.folder.resolve()
    steps = plan(folder, options.device)
    if options.list:
        for number, (title, command, share) in enumerate(steps, 1):
            limit = share * options.minutes
            print(f"{number}. {title}, at most {limit:.0f} minutes:\n   {' '.join(command)}")
        return 0
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            print("gpu.py: torch finds no CUDA device; see what it would do with --list",
                  file=sys.stderr)  # fmt: skip
            return 2
    folder.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + 60 * options.minutes
    outcomes = {}
    for title, command, share in steps:
        seconds = min(60 * options.minutes * share, end - time.monotonic())
        print(f"== {title}, at most {seconds / 60:.1f} minutes", flush=True)
        outcomes[title] = run(command, seconds) if seconds > GRACE else "no time left"
    merge(folder)
    for title, outcome in outcomes.items():
        print(f"{title}: {outcome}")
    print(f"all of it lies in {folder}")
    return int(any(outcome.startswith("exit") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())

"""Compute a sample of every stored experiment again and keep what `dvae verify` says of it.

Another machine, or another linear-algebra kernel (see ``tools/kernels.py``), takes sums in another
order. One group of trials of each experiment is computed again, those that take least time first.
The table is written after each; the same call goes on where another one ended.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from tqdm import tqdm

from dvae.experiments import EXPERIMENTS
from dvae.provenance import provenance
from dvae.results.store import Store
from dvae.storage import atomic_path
from kernels import KERNELS, PROBE, ROOT, environment

OWN = "own"  # the kernel that the processor chooses
ONE_GROUP = "1e-9"  # of the stored groups; at least one is computed


def order(profile: str) -> list[str]:
    """Names of the stored experiments, those first whose groups of trials took least time."""
    store, seconds = Store.default(), {}
    for name, experiment in EXPERIMENTS.items():
        if store.stored(name, profile):
            whole = float(store.load(name, profile).attrs["seconds"])
            seconds[name] = whole / len(experiment.groups(profile))
    return sorted(seconds, key=seconds.__getitem__)


def _environment(kernel: str) -> dict[str, str]:
    return environment(None if kernel == OWN else kernel)


def verify(name: str, profile: str, kernel: str) -> list[dict]:
    """Rows of the report of `dvae verify`, which raises where it ends without one."""
    command = [sys.executable, "-c", "from dvae.cli import main; main()", "verify", name]
    command += ["--profile", profile, "--fraction", ONE_GROUP, "--json", "--quiet"]
    done = subprocess.run(command, env=_environment(kernel), capture_output=True, text=True)
    if done.returncode not in (0, 1) or not done.stdout:
        raise RuntimeError(f"dvae verify {name}: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)


def main() -> int:
    """Verify, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="experiment", help="all that are stored")
    parser.add_argument("--kernel", default=OWN, choices=[OWN, *KERNELS])
    parser.add_argument("--profile", default="laptop")
    parser.add_argument("--jobs", type=int, default=2, help="experiments at a time, a thread each")
    parser.add_argument("--json", type=Path, default=ROOT / "benchmarks" / "verified.json")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(EXPERIMENTS)):
        parser.error(f"unknown experiment {', '.join(unknown)}; 'dvae status' lists them")
    made = provenance("cpu")
    probe = [sys.executable, "-c", PROBE]
    ran = subprocess.run(probe, env=_environment(options.kernel), capture_output=True, check=True)
    head = {"kernel": options.kernel, "ran": json.loads(ran.stdout), "profile": options.profile}
    head |= {name: made[name] for name in ("commit", "hardware", "torch")}
    rows = json.loads(options.json.read_text()) if options.json.exists() else []
    kept = {row["experiment"] for row in rows if all(row[k] == v for k, v in head.items())}
    names = [n for n in order(options.profile) if n in (options.names or EXPERIMENTS)]
    failed = []
    with ThreadPoolExecutor(options.jobs) as pool:
        calls = (options.profile, options.kernel)
        tasks = {pool.submit(verify, n, *calls): n for n in names if n not in kept}
        for task in tqdm(as_completed(tasks), desc="verify", total=len(tasks)):
            name = tasks[task]
            try:
                report = task.result()
            except RuntimeError as error:
                failed.append(str(error))
                continue
            same = ("experiment", name), ("kernel", options.kernel)
            rows = [row for row in rows if any(row[key] != value for key, value in same)]
            rows += [{"experiment": name} | head | entry for entry in report]
            with atomic_path(options.json) as partial:
                partial.write_text(json.dumps(rows, indent=1) + "\n")
    for row in rows:
        if row["experiment"] in names and row["kernel"] == options.kernel:
            print("{experiment:<20}{trials:>4} trials: {outcome} ({reason})".format(**row))
    for line in failed:
        print(line, file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())

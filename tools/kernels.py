"""Run the numerical tests under several linear-algebra kernels and tell how close they came.

The same product or sum is rounded differently by the code that OpenBLAS (numpy, scipy), MKL and
ATen (torch) choose for a processor. Environment variables choose another one; they are harmless
where a library does not know them. See ``tools/margins.py`` for what a margin is.

What a kernel gave is kept in ``_build/kernels`` until it runs again. The same call with
``--resume`` goes on where another one ended, at the same commit; ``--combine`` makes the table of
what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from dvae.provenance import provenance

ROOT = Path(__file__).resolve().parents[1]
SCRATCH = ROOT / "_build" / "kernels"
NUMERICAL = ["physics", "analysis", "models", "training", "experiments", "test_workflow.py"]
NBVAL = ["--nbval", "--nbval-current-env", "--nbval-sanitize-with", "tests/notebooks/sanitize.cfg"]

ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
CHOICES = ("OPENBLAS_CORETYPE", "ATEN_CPU_CAPABILITY", "MKL_CBWR")
KERNELS = {
    "haswell": {"OPENBLAS_CORETYPE": "Haswell", "ATEN_CPU_CAPABILITY": "avx2"},
    "haswell-2-threads": {
        "OPENBLAS_CORETYPE": "Haswell",
        "ATEN_CPU_CAPABILITY": "avx2",
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "OPENBLAS_NUM_THREADS": "2",
    },
    "zen": {"OPENBLAS_CORETYPE": "Zen", "ATEN_CPU_CAPABILITY": "avx2"},
    "sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge", "ATEN_CPU_CAPABILITY": "default"},
    "nehalem": {
        "OPENBLAS_CORETYPE": "Nehalem",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_CBWR": "COMPATIBLE",
    },
    "prescott": {
        "OPENBLAS_CORETYPE": "Prescott",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_CBWR": "COMPATIBLE",
    },
    "skylakex": {"OPENBLAS_CORETYPE": "SkylakeX", "ATEN_CPU_CAPABILITY": "avx512"},
}
NOT_HERE = "not run, this processor lacks its instructions"
EVERYWHERE = ("haswell", "prescott")  # the furthest apart of what every x86 processor runs

# What the libraries say that they run. The product shows whether the processor can.
PROBE = """
import json, numpy, scipy.linalg, torch, threadpoolctl
numpy.ones((64, 64)) @ numpy.ones((64, 64)); scipy.linalg.eigh(numpy.eye(64))
blas = {i["architecture"] for i in threadpoolctl.threadpool_info() if "architecture" in i}
print(json.dumps(["OpenBLAS " + b for b in sorted(blas)]
    + ["ATen " + torch.backends.cpu.get_cpu_capability()]))
"""


def environment(kernel: str | None) -> dict[str, str]:
    """The variables that choose a kernel, among all others; None lets the processor choose."""
    others = {name: value for name, value in os.environ.items() if name not in CHOICES}
    paths = [str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")]
    others["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    return others | ONE_THREAD | (KERNELS[kernel] if kernel else {})


def heading(kernel: str, selection: list[str]) -> dict:
    """What the results of a kernel belong to."""
    return {
        "kernel": kernel,
        "environment": KERNELS[kernel],
        "selection": selection,
        "commit": provenance()["commit"],
    }


def kept(kernel: str, selection: list[str]) -> dict | None:
    """What a kernel gave for these tests at this commit, if all its tests came to an end."""
    path, head = SCRATCH / f"{kernel}.json", heading(kernel, selection)
    table = json.loads(path.read_text()) if path.exists() else {}
    same = all(table.get(key) == value for key, value in head.items())
    return table if same and not head["commit"].endswith("-dirty") else None


def run(kernel: str, jobs: str, selection: list[str]) -> int:
    """Run pytest under one kernel; the margins go to ``_build/kernels/<kernel>.json``."""
    path = SCRATCH / f"{kernel}.json"
    margins = path.with_suffix(".margins")
    for old in (path, margins):
        old.unlink(missing_ok=True)
    head = heading(kernel, selection)
    probe = subprocess.run(
        [sys.executable, "-c", PROBE], env=environment(kernel), capture_output=True, text=True
    )
    if probe.returncode == -signal.SIGILL:
        print(f"{kernel}: {NOT_HERE}", flush=True)
        path.write_text(json.dumps(head | {"ran": []}))
        return 0
    if probe.returncode:
        print(f"{kernel}: {probe.stderr}", flush=True)
        return 1
    ran = json.loads(probe.stdout)
    print(f"{kernel}: {', '.join(ran)}, as {KERNELS[kernel]}", flush=True)
    command = [sys.executable, "-m", "pytest", "-p", "margins", "--margins", str(margins)]
    command += ["-n", jobs, "--dist", "loadfile", "--jaxtyping-packages=", *selection]
    code = subprocess.run(command, env=environment(kernel), cwd=ROOT).returncode
    if code in (0, 1):  # all tests came to an end
        measured = json.loads(margins.read_text())
        path.write_text(json.dumps(head | {"ran": ran} | measured, indent=1))
    return code


def combine(tables: list[dict], below: float) -> dict:
    """One table: a row per kernel, and the comparisons of small margin that the kernel changes."""
    ran = [t for t in tables if t["ran"]]
    every: dict[str, dict[str, float]] = {}
    for table in ran:
        for where, margin in table["margins"].items():
            every.setdefault(where, {})[table["kernel"]] = margin
    # A margin that no kernel changes is that of a statistical error with fixed draws.
    moving = {
        where: margins
        for where, margins in every.items()
        if max(margins.values()) > (1 + 1e-6) * min(margins.values())
    }
    rows = []
    for table in tables:
        row = {
            key: table.get(key) for key in ("kernel", "environment", "ran", "selection", "commit")
        }
        if table["ran"]:
            own = {w: m for w, m in table["margins"].items() if w in moving}
            row |= {
                "passed": table["passed"],
                "failed": len(table["failed"]),
                "failures": table["failed"],
                "worst_margin": _short(min(own.values())) if own else None,
                "margins_below": sum(margin < below for margin in own.values()),
            }
        rows.append(row)
    small = [
        {
            "test": where,
            "margin": _short(min(margins.values())),
            "largest": _short(max(margins.values())),
            "kernel": min(margins, key=margins.get),
        }
        for where, margins in moving.items()
        if min(margins.values()) < below
    ]
    return {
        "below": below,
        "comparisons": len(every),
        "changed_by_the_kernel": len(moving),
        "kernels": rows,
        "small_margins": sorted(small, key=lambda row: row["margin"]),
    }


def _short(x: float) -> float:
    return float(f"{x:.4g}")


def main() -> int:
    """Run, combine, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kernels", nargs="*", default=EVERYWHERE, help="; ".join(KERNELS))
    parser.add_argument("--all", action="store_true", help="every kernel")
    parser.add_argument("--notebooks", action="store_true", help="the chapters' references too")
    parser.add_argument("--jobs", default="2", help="tests at a time")
    parser.add_argument("--pytest", default="", help="arguments for pytest in place of the folders")
    parser.add_argument("--below", type=float, default=3.0, help="which margins to list")
    parser.add_argument("--json", type=Path, help="where to write the table")
    parser.add_argument("--resume", action="store_true", help="keep what ran at this commit")
    parser.add_argument("--combine", action="store_true", help="run nothing, combine the last runs")
    options = parser.parse_args()
    kernels = list(KERNELS) if options.all else list(options.kernels)
    SCRATCH.mkdir(parents=True, exist_ok=True)
    selection = options.pytest.split() or [f"tests/{name}" for name in NUMERICAL]
    if options.notebooks:
        selection += [*NBVAL, "tests/notebooks"]
    codes = [0]
    for kernel in [] if options.combine else kernels:
        if options.resume and kept(kernel, selection):
            print(f"{kernel}: kept from an earlier call", flush=True)
        else:
            codes.append(run(kernel, options.jobs, selection))
    paths = {kernel: SCRATCH / f"{kernel}.json" for kernel in kernels}
    there = {kernel: json.loads(p.read_text()) for kernel, p in paths.items() if p.exists()}
    table = combine(list(there.values()), options.below)
    for row in table["small_margins"]:
        print("margin {margin:8.3g} ({kernel}; at most {largest:.3g}) {test}".format(**row))
    for row in table["kernels"]:
        end = "{passed} passed, {failed} failed" if row["ran"] else NOT_HERE
        print("{kernel} ({commit}): ".format(**row) + end.format(**row))
    for kernel in set(kernels) - set(there):
        print(f"{kernel}: NO RESULT, its tests did not come to an end")
    if options.json:
        options.json.write_text(json.dumps(table, indent=1) + "\n")
    return max(codes)


if __name__ == "__main__":
    sys.exit(main())

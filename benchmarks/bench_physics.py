"""Speed and memory of the Darcy solver and of the Karhunen-Loeve expansion against scipy.

    python benchmarks/bench_physics.py [--json [PATH]] [--threads 2] [--part NAME]

Two parts: ``alternatives`` compares speed and memory; ``threads`` measures the Darcy solver on
this machine as it is (wait until it is quiet) and beside one process that never rests, with
batches side by side, on one core, and with operations shared between threads.

Every alternative runs in a process of its own, one after the other, in one run; its peak memory is
that of the process less what the process held once libraries and input were in place. Every
alternative is called once to warm up, then several times, of which the best counts.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable

from record import add_options, busy_processes, load_now, record, row

N_NODES = 65
N_SAMPLES = 1024
N_DIRECT = 48  # samples that the sparse direct solver is timed on: its time per sample is constant
N_SHARED = 128  # and on which the solver is timed with shared operations
SLOWER_TARGET = 2.0  # at most, beside a busy process
DARCY_TARGET = KLE_TARGET = 10.0


def permeability(n_samples: int, n_modes: int = 2):
    """Permeabilities of a KLE set, the same in every process."""
    import numpy as np

    from dvae.physics import KarhunenLoeve

    theta = np.random.default_rng(0).standard_normal((n_samples, n_modes))
    return KarhunenLoeve(n_modes, N_NODES).permeability(theta)


def matrix(field):
    """The solver's own matrix for one permeability, one node held at 0 to make it regular."""
    import numpy as np
    import scipy.sparse as sp

    n = len(field)
    half = np.ones(n)
    half[[0, -1]] = 0.5
    index = np.arange(n * n).reshape(n, n)
    near = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
    far = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
    width = np.concatenate([np.tile(half, n - 1), np.repeat(half, n - 1)])
    value = np.sqrt(field.flat[near] * field.flat[far]) * width
    rows, columns = np.r_[near, far, near, far], np.r_[near, far, far, near]
    values = np.r_[value, value, -value, -value]
    return sp.csc_array((values, (rows, columns)), shape=(n * n, n * n))[1:, 1:]


def load_vector():
    """Right-hand side of that matrix."""
    import numpy as np

    from dvae.physics import well_source

    side = np.full(N_NODES, 1 / (N_NODES - 1))
    side[[0, -1]] /= 2
    return (well_source(N_NODES) * np.outer(side, side)).ravel()[1:]


def darcy_dvae(n_modes: int = 2, workers: int | None = None) -> tuple[Callable, int, int]:
    from dvae.physics import solve_darcy

    field = permeability(N_SAMPLES, n_modes)
    return lambda: solve_darcy(field, workers=workers), N_SAMPLES, 3


def darcy_shared() -> tuple[Callable, int, int]:
    """One batch after the other, every operation shared between all threads."""
    from dvae.physics import darcy

    darcy.map_batches = lambda function, batches, **_: [function(batch) for batch in batches]
    field = permeability(N_SHARED)
    return lambda: darcy.solve_darcy(field), N_SHARED, 2


def darcy_direct(ordering: str) -> tuple[Callable, int, int]:
    from scipy.sparse.linalg import spsolve

    matrices = [matrix(k) for k in permeability(N_SAMPLES)[:N_DIRECT]]
    load = load_vector()
    return lambda: [spsolve(a, load, permc_spec=ordering) for a in matrices], N_DIRECT, 2


def kle_dvae() -> tuple[Callable, int, int]:
    from dvae.physics import KarhunenLoeve

    return lambda: KarhunenLoeve(N_NODES**2, N_NODES), 1, 3


def kle_dense(driver: str) -> tuple[Callable, int, int]:
    import numpy as np
    import scipy.linalg

    x = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, N_NODES)], indexing="ij"), -1).reshape(-1, 2)
    r2 = (x[:, None, 0] - x[None, :, 0]) ** 2
    r2 += (x[:, None, 1] - x[None, :, 1]) ** 2
    covariance = np.exp(-np.sqrt(r2, out=r2) / 0.1, out=r2)
    return lambda: scipy.linalg.eigh(covariance, driver=driver), 1, 3


Alternatives = dict[str, tuple[str, Callable[[], tuple[Callable, int, int]]]]
DIRECT: Alternatives = {
    "darcy-colamd": ("scipy spsolve, COLAMD (default)", lambda: darcy_direct("COLAMD")),
    "darcy-mmd": ("scipy spsolve, MMD_AT_PLUS_A", lambda: darcy_direct("MMD_AT_PLUS_A")),
}
ALTERNATIVES: Alternatives = {
    "darcy": ("dvae.solve_darcy, KLE2", darcy_dvae),
    **DIRECT,
    "darcy-kle1000": ("dvae.solve_darcy, KLE1000", lambda: darcy_dvae(1000)),
    "kle": ("dvae.KarhunenLoeve, all 4225", kle_dvae),
    "kle-evr": ("scipy eigh, evr (default)", lambda: kle_dense("evr")),
    "kle-evd": ("scipy eigh, evd", lambda: kle_dense("evd")),
}
THREADS: Alternatives = {
    "darcy": ("dvae.solve_darcy, side by side", darcy_dvae),
    "darcy-one": ("dvae.solve_darcy, one worker", lambda: darcy_dvae(workers=1)),
    "darcy-shared": ("the same, shared operations", darcy_shared),
    **DIRECT,
}


def peak_mib() -> float:
    """Largest resident memory of this process so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def agreement() -> float:
    """Largest relative difference between the two solutions of the same equations."""
    import numpy as np
    from scipy.sparse.linalg import spsolve

    from dvae.physics import solve_darcy

    field = permeability(4)
    worst = 0.0
    for k, pressure in zip(field, solve_darcy(field).pressure, strict=True):
        direct = np.concatenate([[0.0], spsolve(matrix(k), load_vector())])
        shifted = pressure.ravel() - pressure[0, 0]
        worst = max(worst, float(np.abs(direct - shifted).max() / np.abs(pressure).max()))
    return worst


def child(name: str) -> None:
    """Measure one alternative and print it as JSON."""
    run, count, repetitions = (ALTERNATIVES | THREADS)[name][1]()
    before = peak_mib()
    run()
    seconds, processor = [], []
    for _ in range(repetitions):
        start, start_processor = time.perf_counter(), time.process_time()
        result = run()
        seconds.append(time.perf_counter() - start)
        processor.append(time.process_time() - start_processor)
        del result
    print(
        json.dumps(
            {
                "samples": count,
                "seconds": min(seconds),
                "all_seconds": seconds,
                "ms_per_sample": 1e3 * min(seconds) / count,
                "processor_ms_per_sample": 1e3 * min(processor) / count,
                "peak_mib": peak_mib(),
                "peak_above_input_mib": peak_mib() - before,
            }
        )
    )


def alternatives_rows(m: dict) -> list[dict]:
    """Lines of the book's table."""
    lines = []
    for what, ours, others in (
        ("Darcy flow, KLE2, per sample", "darcy", ("darcy-colamd", "darcy-mmd")),
        ("all 4225 Karhunen-Loève modes", "kle", ("kle-evr", "kle-evd")),
    ):
        own = m["alternatives"][ours]
        for name in others:
            other = m["alternatives"][name]
            mine, theirs = (
                f"{one['ms_per_sample']:.2f} ms, {one['peak_mib']:.0f} MiB" for one in (own, other)
            )
            ratio = other["ms_per_sample"] / own["ms_per_sample"]
            lines.append(row(what, mine, f"{theirs}, {other['label']}", ratio))
    return lines


def threads_rows(m: dict) -> list[dict]:
    """Lines of the book's table."""
    lines = []
    for name, where in (("quiet", "on a quiet machine"), ("busy", "beside a busy process")):
        own, shared = (m[name][key]["ms_per_sample"] for key in ("darcy", "darcy-shared"))
        what = (
            f"Darcy flow, per sample, {where}; {m['ratios'][name]:.1f} times faster than the best "
            "`spsolve`"
        )
        theirs = f"{shared:.2f} ms, operations shared between threads"
        lines.append(row(what, f"{own:.2f} ms, batches side by side", theirs, shared / own))
    return lines


def measure(alternatives: Alternatives, threads: int) -> dict[str, dict]:
    """Every alternative in a process of its own; printed as they come."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    measured = {}
    print(f"{'':34}{'calls':>7}{'time':>12}{'per sample':>14}{'processor':>14}{'peak':>12}"
          f"{'above input':>13}")  # fmt: skip
    for name, (label, _) in alternatives.items():
        command = [sys.executable, __file__, "--child", name]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
        row = measured[name] = {"label": label} | json.loads(done.stdout)
        print(
            f"{label:34}{row['samples']:7d}{row['seconds']:10.2f} s{row['ms_per_sample']:11.2f} ms"
            f"{row['processor_ms_per_sample']:11.2f} ms"
            f"{row['peak_mib']:8.0f} MiB{row['peak_above_input_mib']:9.0f} MiB",
            flush=True,
        )
    return measured


def faster(measured: dict[str, dict], ours: str, *theirs: str) -> float:
    """How many times less time a sample takes than by the best of the others."""
    best = min(measured[name]["ms_per_sample"] for name in theirs)
    return best / measured[ours]["ms_per_sample"]


def bench_alternatives(threads: int) -> dict:
    """Speed and memory of everything."""
    measured = measure(ALTERNATIVES, threads)
    ratios = {
        "darcy_vs_spsolve_default": faster(measured, "darcy", "darcy-colamd"),
        "darcy_vs_best_spsolve": faster(measured, "darcy", "darcy-colamd", "darcy-mmd"),
        "kle_vs_eigh_default": faster(measured, "kle", "kle-evr"),
        "kle_vs_best_eigh": faster(measured, "kle", "kle-evr", "kle-evd"),
    }
    print(f"spsolve is timed on {N_DIRECT} of the {N_SAMPLES} samples, without assembling them.")
    difference = agreement()
    print(f"largest relative difference between the two solutions: {difference:.1e}")
    for name, ratio in ratios.items():
        target = DARCY_TARGET if name.startswith("darcy") else KLE_TARGET
        verdict = "reached" if ratio >= target else "MISSED"
        print(f"{name:26}{ratio:7.1f} times (target {target:.0f}: {verdict})")
    return {
        "n_nodes": N_NODES,
        "alternatives": measured,
        "ratios": ratios,
        "largest_relative_difference": difference,
    }


def bench_threads(threads: int) -> dict:
    """The solver on this machine as it is, and beside a busy process."""
    measured = {}
    for name, count in (("quiet", 0), ("busy", 1)):
        print(f"beside {count} busy processes:")
        with busy_processes(count):
            measured[name] = measure(THREADS, threads)
    slower = {
        name: measured["busy"][name]["ms_per_sample"] / measured["quiet"][name]["ms_per_sample"]
        for name in THREADS
    }
    for name, ratio in slower.items():
        print(f"{THREADS[name][0]:34}{ratio:7.1f} times slower beside a busy process")
    verdict = "reached" if slower["darcy"] <= SLOWER_TARGET else "MISSED"
    print(f"target of the solver: at most {SLOWER_TARGET:g} times: {verdict}")
    ratios = {name: faster(measured[name], "darcy", *DIRECT) for name in measured}
    for name, ratio in ratios.items():
        print(f"{ratio:.1f} times faster than the best spsolve, {name}")
    return measured | {"slower": slower, "ratios": ratios}


PARTS = {
    "alternatives": ("physics", bench_alternatives, alternatives_rows),
    "threads": ("physics-threads", bench_threads, threads_rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--part", choices=PARTS, help="one part; by default both")
    parser.add_argument("--child", choices=ALTERNATIVES | THREADS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child)
        return
    print(f"{N_NODES} x {N_NODES} nodes, {arguments.threads} threads, {platform.machine()}")
    for part in [arguments.part] if arguments.part else PARTS:
        name, run, shown = PARTS[part]
        load = load_now()
        where = {"threads": arguments.threads, "load": load}
        record(arguments.json, name, run(arguments.threads), shown, **where)


if __name__ == "__main__":
    main()

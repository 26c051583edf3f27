"""Time of the scores, and bias and spread of the k-NN divergence, side by side.

python benchmarks/bench_scores.py             # all tables, about ten minutes
python benchmarks/bench_scores.py time        # one of: time, divergence, powers, shape
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from dvae.analysis import (
    all_scores,
    beta_vae_score,
    dci_scores,
    disentanglement_score,
    explicitness_score,
    factor_vae_score,
    kl_divergence_knn,
    mutual_information_gap,
    rotate,
    shape_score,
)
from dvae.analysis.divergence import _fixed_k_estimates, _weights
from record import add_options, load_now, record, row


def four_modes(n_samples: int, seed: int) -> np.ndarray:
    """Factors of section 5.3."""
    rng = np.random.default_rng(seed)
    return rng.choice([-1.0, 1.0], (n_samples, 2)) + 0.5 * rng.standard_normal((n_samples, 2))


def seconds(call: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """Median and slowest time of a call, after one call to warm up."""
    call()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times)), max(times)


def time_table() -> dict:
    theta = four_modes(512, 0)
    z = rotate(theta, 20)
    x, y = four_modes(5000, 1), four_modes(5000, 2)
    calls = {
        "S_D": lambda: disentanglement_score(z, theta),
        "S_KL": lambda: shape_score(z, theta),
        "S_KL, k = 1": lambda: shape_score(z, theta, k=1),
        "S_KL, fixed k": lambda: shape_score(z, theta, version="fixed-k"),
        "MIG": lambda: mutual_information_gap(z, theta),
        "DCI, boosting": lambda: dci_scores(z, theta),
        "DCI, forest": lambda: dci_scores(z, theta, "forest"),
        "DCI, lasso": lambda: dci_scores(z, theta, "lasso"),
        "explicitness": lambda: explicitness_score(z, theta),
        "FactorVAE": lambda: factor_vae_score(z, theta),
        "beta-VAE": lambda: beta_vae_score(z, theta),
        "all scores": lambda: all_scores(z, theta),
        "divergence of 5000 and 5000": lambda: kl_divergence_knn(x, y),
    }
    print("\nSeconds, 2 latents of 512 samples")
    measured = {}
    for name, call in calls.items():
        median, slowest = seconds(call)
        measured[name] = {"median_seconds": median, "slowest_seconds": slowest}
        print(f"{name:30s} median {median:8.4f}   slowest {slowest:8.4f}")
    return measured


# q of each panel; p = N(0, I). Shift and standard deviation are the same along every axis.
PANEL = {"wider": (1.0, 2.0), "slightly wider": (0.5, 1.5), "shifted": (1.0, 1.0)}


def divergence_table() -> dict:
    print("\nk-NN divergence of N(0, I) from N(shift, scale^2 I): bias and spread (standard")
    print("deviation of one draw), per cent of the exact value, over 20 draws")
    measured = {}
    for n_samples in (512, 5000):
        for dimension in (1, 2, 5):
            for name, (shift, scale) in PANEL.items():
                exact = dimension * (np.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5)
                row = f"N {n_samples:5d}  d {dimension}  {name:14s} {exact:6.3f} nats "
                for version, k in (("epsilon1", 1), ("fixed-k", 1), ("weighted", 100)):
                    rng = np.random.default_rng(0)
                    shape = (n_samples, dimension)
                    found = [
                        kl_divergence_knn(
                            rng.standard_normal(shape),
                            shift + scale * rng.standard_normal(shape),
                            k,
                            version,
                        )
                        for _ in range(20)
                    ]
                    bias = 100 * (np.mean(found) / exact - 1)
                    spread = 100 * np.std(found, ddof=1) / exact
                    row += f"| {version} k={k}: {bias:+6.1f} ± {spread:4.1f} "
                    measured[f"{n_samples}, {dimension}-d, {name}, {version}, k={k}"] = {
                        "exact_nats": exact,
                        "bias_percent": bias,
                        "spread_percent": spread,
                    }
                print(row, flush=True)
    return measured


def powers_table() -> dict:
    """Which powers of the radius the weights of version "weighted" should cancel."""
    dimension, n_samples, draws, k = 5, 5000, 12, 100
    pairs = ((1.0, 2.0), (1.25, 2.5), (1.5, 3.0), (2.0, 4.0))
    print(f"\nWeighted k-NN divergence, {dimension} dimensions, {n_samples} samples, k = {k}: root")
    print("mean square over random Gaussians of the bias, per cent, less the noise of the draws")
    rng = np.random.default_rng(21)
    shape = (n_samples, dimension)
    errors = []
    for _ in range(24):
        shift, scale = rng.uniform(0, 1.2, dimension), rng.uniform(0.9, 1.6, dimension)
        exact = float((np.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5).sum())
        for _ in range(draws):
            fixed = _fixed_k_estimates(
                rng.standard_normal(shape), shift + scale * rng.standard_normal(shape), k
            )
            errors.append([100 * (_weights(k, dimension, p) @ fixed / exact - 1) for p in pairs])
    by_gaussian = np.array(errors).reshape(-1, draws, len(pairs))
    mean, noise = by_gaussian.mean(1), by_gaussian.var(1, ddof=1) / draws
    bias = np.sqrt(np.maximum(0, (mean**2 - noise).mean(0)))
    spread = by_gaussian.std(1, ddof=1).mean(0)
    measured = {}
    for pair, value, width in zip(pairs, bias, spread, strict=True):
        print(f"powers {pair[0]:4.2f} and {pair[1]:4.2f}: bias {value:5.2f}, spread {width:5.2f}")
        measured[f"{pair[0]} and {pair[1]}"] = {"bias_percent": value, "spread_percent": width}
    return measured


def shape_table() -> dict:
    print("\nS_KL of four modes, rotated; mean ± standard deviation over 10 samples, nats")
    angles = (0, 10, 20, 30, 45)
    measured = {}
    print("  N  code        " + "".join(f"{angle:>16d}°" for angle in angles))
    for n_samples in (128, 512):
        for name in ("copy", "independent"):
            row = []
            for angle in angles:
                found = []
                for seed in range(10):
                    theta = four_modes(n_samples, seed)
                    z = theta if name == "copy" else four_modes(n_samples, 100 + seed)
                    found.append(shape_score(3 * rotate(z, angle) - 1, theta))
                row.append(f"{np.mean(found):+8.3f} ± {np.std(found, ddof=1):.3f}")
                measured[f"{n_samples}, {name}, {angle} degrees"] = found
            print(f"{n_samples:4d} {name:12s} " + " ".join(row), flush=True)
    return measured


def time_rows(m: dict) -> list[dict]:
    return [
        row(f"{name} of 512 samples", f"{m[name]['median_seconds']:.2g} s")
        for name in ("S_D", "S_KL", "all scores")
    ]


def divergence_rows(m: dict) -> list[dict]:
    def cell(gaussian: str, version: str) -> str:
        found = m[f"5000, 5-d, {gaussian}, {version}"]
        return f"{found['bias_percent']:+.1f} % (spread {found['spread_percent']:.1f}), {version}"

    return [
        row(
            f"bias of the k-NN divergence of 5000 samples in 5 dimensions, q {gaussian}",
            cell(gaussian, "weighted, k=100"),
            cell(gaussian, "epsilon1, k=1"),
        )
        for gaussian in PANEL
    ]


def powers_rows(m: dict) -> list[dict]:
    cells = {
        name: f"{found['bias_percent']:.1f} % with the powers {name}" for name, found in m.items()
    }
    ours = cells.pop("1.25 and 2.5")
    what = "bias of the weighted divergence in 5 dimensions, over random Gaussians"
    return [row(what, ours, "; ".join(cells.values()))]


# what measures, and what the book shows of it
TABLES = {
    "time": (time_table, time_rows),
    "divergence": (divergence_table, divergence_rows),
    "powers": (powers_table, powers_rows),
    "shape": (shape_table, lambda m: []),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", nargs="?", choices=TABLES, help="one table; by default all")
    add_options(parser)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with threadpool_limits(arguments.threads):
        for table in [arguments.table] if arguments.table else TABLES:
            where = {"threads": arguments.threads, "load": load_now()}
            measure, shown = TABLES[table]
            record(arguments.json, f"scores-{table}", measure(), shown, **where)


if __name__ == "__main__":
    main()

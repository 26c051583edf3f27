"""Rows S1 to S4 on results whose verdict is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from given import decide


def label_runs(few: float, many_spread: float, slope: float, jump: float) -> dict[str, xr.Dataset]:
    """Ten runs for every number of labels; one per cent of labels gives a score of ``few``.

    The loss rises by ``slope`` for every label, and by ``jump`` for the first.
    """
    counts, runs = np.array([0, 5, 15, 41]), 10
    n_labels, run = (a.ravel() for a in np.meshgrid(counts, np.arange(runs), indexing="ij"))
    rng = np.random.default_rng(0)
    score = np.where(n_labels == 0, 0.6, np.where(n_labels == 5, few, 0.99))
    base = rng.standard_normal((32, 2))
    turn = np.where((n_labels == 5) * (few > 0.9) + (n_labels > 5), 0.0, 0.5)[:, None, None]
    turned = np.cos(turn) * base + np.sin(turn) * base[:, ::-1] * [-1, 1]
    latent = turned + many_spread * rng.standard_normal((len(run), 1, 2))
    loss = slope * n_labels + jump * (n_labels > 0) + 0.01 * rng.standard_normal(len(run))
    settings = json.dumps({"n_train": 512})
    factors = xr.Dataset(
        {"theta": (("trial", "sample", "factor"), base[None])},
        {"factors": ("trial", ["standard-normal"]), "data_seed": ("trial", [0])},
    )
    labels = xr.Dataset(
        {
            "disentanglement": ("trial", score),
            "latent_mean": (("trial", "sample", "latent"), latent),
            "loss_per_node_train": ("trial", loss),
            "rate_train": ("trial", 0.01 * rng.standard_normal(len(run))),
        },
        {
            "n_labels": ("trial", n_labels),
            "run": ("trial", run),
            "seed": ("trial", run),
            "recipe": ("trial", ["calibrated"] * len(run)),
            "settings": ("trial", [settings] * len(run)),
        },
    )
    return {"labels": labels, "baselines": factors}


@pytest.mark.parametrize(
    ("values", "s1", "s2"),
    [
        ((0.97, 0.0, 0.0, 0.0), "reproduced", "reproduced"),
        ((0.7, 0.0, 0.0, 1.0), "partly", "partly"),
        ((0.7, 1.0, 1.0, 0.0), "not reproduced", "not reproduced"),
    ],
)
def test_labels(values, s1, s2):
    results = label_runs(*values)
    assert decide("S1", results).verdict == s1
    assert decide("S2", results).verdict == s2


def test_dense_runs_decide_beside_pod_runs():
    results = label_runs(0.97, 0.0, 0.0, 0.0)
    dense = label_runs(0.7, 1.0, 1.0, 0.0)["labels"]
    results["dense_labels"] = dense.assign_coords(recipe=("trial", ["one-cycle"] * 40))
    for name in ("S1", "S2"):
        found = decide(name, results)
        assert found.verdict == "not reproduced"
        assert found.ours.index("DenseVAE") < found.ours.index("PodVAE")


def objectives(fast: float, slow: float, stopped: int = 0, good: float = 0.99) -> xr.Dataset:
    """Errors of eq. 27 at a large and a small learning rate; eq. 28 has 0.002 and 0.06."""
    rows = [
        ("eq28", 0.0, 2e-3, 0.002, good),
        ("eq28", 0.0, 2e-4, 0.06, 0.94),
        ("eq27", 0.1, 2e-3, fast, 0.6),
        ("eq27", 0.1, 2e-4, slow, 0.6),
    ]
    names = ("objective", "label_variance", "learning_rate", "relative_error", "disentanglement")
    columns = {
        name: ("trial", np.repeat([row[i] for row in rows], 3)) for i, name in enumerate(names)
    }
    diverged = np.zeros(12, int)
    diverged[6 : 6 + stopped] = 1
    return xr.Dataset(columns | {"diverged": ("trial", diverged)})


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((0.1, 0.06), "reproduced"),  # at the small rate both are slow, which says nothing
        ((0.003, 0.06, 3), "reproduced"),
        ((0.003, 0.9), "partly"),
        ((0.003, 0.9, 0, 0.6), "not reproduced"),  # eq. 27 trains, eq. 28 does not disentangle
    ],
)
def test_objectives(values, verdict):
    assert decide("S4", {"label_objectives": objectives(*values)}).verdict == verdict


def low_density(shape: float, share: float, error: float) -> xr.Dataset:
    """Ten runs without labels and ten with six, which change three quantities by factors."""
    # the same spread with and without labels, so that nothing differs by chance
    spread = np.tile(1 + 0.05 * np.random.default_rng(0).standard_normal((3, 10)), 2)
    labelled = np.repeat([0, 6], 10)
    change = [np.where(labelled, factor, 1.0) for factor in (shape, share, error)]
    probe = np.tile((spread[2] * change[2])[:, None], (1, 441))
    names = ("probe_error", "surrogate_error", "probe_factor_error")
    return xr.Dataset(
        {
            "shape_score": ("trial", spread[0] * change[0]),
            "between_share": ("trial", 0.03 * spread[1] * change[1]),
            **dict.fromkeys(names, (("trial", "probe"), probe)),
        },
        {
            "n_labels": ("trial", labelled),
            "prior": ("trial", ["standard"] * 20),
            "recipe": ("trial", ["calibrated"] * 20),
        },
    )


@pytest.mark.parametrize(
    ("factors", "verdict"),
    [
        ((0.5, 1.5, 0.5), "reproduced"),  # the share of the factors is 0.06
        ((0.5, 6.0, 0.5), "partly"),  # further from it, on the other side
        ((1.0, 1.0, 0.5), "partly"),
        ((1.0, 1.0, 1.0), "not reproduced"),
        ((2.0, 0.5, 2.0), "not reproduced"),
    ],
)
def test_low_density(factors, verdict):
    theta = np.full((1, 100, 2), 1.0)
    theta[0, :6] = [0.0, 0.5]  # six of a hundred between the modes
    sets = {"theta": (("trial", "sample", "factor"), theta)}
    baselines = xr.Dataset(
        sets, {"factors": ("trial", ["four-modes"]), "data_seed": ("trial", [0])}
    )
    results = {"low_density": low_density(*factors), "baselines": baselines}
    assert decide("S3", results).verdict == verdict

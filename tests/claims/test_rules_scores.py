"""Rows E9 to E12 on results whose verdict is known."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fifty_runs import condition
from given import decide

from dvae.claims import Results
from dvae.claims.frame import Network
from dvae.results.store import Store


@pytest.mark.parametrize(
    ("slope", "runs", "verdict"),
    [(0.0, 50, "reproduced"), (1.0, 50, "not reproduced"), (0.0, 10, "undecided")],
)
def test_losses_and_angles(slope, runs, verdict, tmp_path):
    rng = np.random.default_rng(0)
    theta, angle = rng.standard_normal((400, 2)), np.linspace(0, 0.7, runs)
    c, s = np.cos(angle), np.sin(angle)
    latents = np.einsum("ijr,nj->rni", np.array([[c, -s], [s, c]]), theta)
    names = {"factors": "standard-normal", "prior": "standard", "recipe": "r"}
    result = xr.Dataset(
        {
            "loss_per_node": ("trial", -12 + slope * angle + 0.1 * rng.standard_normal(runs)),
            "latent_mean": (("trial", "sample", "latent"), latents),
        },
        {name: ("trial", [value] * runs) for name, value in names.items()},
    )
    key = ("standard-normal", "r", "standard")
    table = pd.DataFrame.from_dict({key: condition() | {"runs": runs}}, orient="index")
    results = Results(Store(tmp_path))
    results.networks = [Network("N", "r", table, result)]
    results._read["baselines"] = xr.Dataset(
        {"theta": (("trial", "sample", "factor"), theta[None])},
        {"factors": ("trial", ["standard-normal"]), "data_seed": ("trial", [0])},
    )
    assert decide("E9", results).verdict == verdict


@pytest.mark.parametrize(
    ("shift", "spread", "runs", "verdict"),
    [
        (0.0, 1.0, 40, "reproduced"),
        (0.3, 1.0, 40, "partly"),
        (0.3, 0.0, 40, "not reproduced"),
        (0.0, 1.0, 10, "partly"),  # no difference that so few runs could have shown
        (0.0, 0.0, 10, "undecided"),
    ],
)
def test_few_labels(shift, spread, runs, verdict):
    rng = np.random.default_rng(0)
    count, run = (a.ravel() for a in np.meshgrid([0, 2, 40], np.arange(runs), indexing="ij"))
    score = 0.5 + 0.1 * rng.random(len(run)) + shift * (count > 0)
    base = rng.standard_normal((32, 2))
    turn = spread * rng.random((len(run), 1, 1)) * np.pi
    latent = np.cos(turn) * base + np.sin(turn) * base[:, ::-1] * [-1, 1]
    labels = xr.Dataset(
        {
            "disentanglement": ("trial", score),
            "relative_error": ("trial", 0.01 + 0.05 * (count == 2)),
            "latent_mean": (("trial", "sample", "latent"), latent),
        },
        {
            "n_labels": ("trial", count),
            "run": ("trial", run),
            "seed": ("trial", run),
            "recipe": ("trial", ["calibrated"] * len(run)),
            "settings": ("trial", [json.dumps({"n_train": 512})] * len(run)),
        },
    )
    found = decide("E10", {"labels": labels})
    assert found.verdict == verdict
    assert "with 2 labels and" in found.ours
    assert "is 6 % of their norm with labels and 1 % without." in found.ours
    assert ("power" in found.ours) == (runs == 10)


@pytest.mark.parametrize(
    ("kinds", "verdict"), [(3, "reproduced"), (1, "partly"), (0, "not reproduced")]
)
def test_total_correlation_as_a_score(kinds, verdict):
    """The total correlation sees that skewed factors are turned; of normal ones it does not."""
    rng = np.random.default_rng(0)
    sets = ("standard-normal", "shifted-normal", "four-modes")
    theta = {
        name: rng.exponential(size=(300, 2)) if i < kinds else rng.standard_normal((300, 2))
        for i, name in enumerate(sets)
    }
    angle = np.linspace(0, np.pi / 4, 12)
    turned = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    pieces = []
    for name, values in theta.items():
        values -= values.mean(0)
        mean = np.einsum("ijr,nj->rni", turned, values)
        pieces.append(
            xr.Dataset(
                {
                    "latent_mean": (("trial", "sample", "latent"), mean),
                    "latent_scale": (("trial", "sample", "latent"), np.full_like(mean, 1e-3)),
                },
                {
                    "factors": ("trial", [name] * 12),
                    "prior": ("trial", ["standard"] * 12),
                    "recipe": ("trial", ["calibrated"] * 12),
                },
            )
        )
    baselines = xr.Dataset(
        {"theta": (("trial", "sample", "factor"), np.stack(list(theta.values())))},
        {"factors": ("trial", list(theta)), "data_seed": ("trial", [0] * 3)},
    )
    runs = xr.concat(pieces, "trial")
    assert decide("E11", {"disentanglement": runs, "baselines": baselines}).verdict == verdict


@pytest.mark.parametrize(
    ("distortion", "verdict"),
    [
        (lambda rate: np.exp(-rate), "reproduced"),
        (lambda rate: -np.tanh(rate - 3), "partly"),  # falls, and bends the other way first
        (lambda rate: np.sin(rate), "not reproduced"),
    ],
)
def test_convex_curve(distortion, verdict):
    beta = np.repeat(np.geomspace(0.01, 10, 30), 3)
    rate = 3 - np.log10(beta) * 2
    curve = xr.Dataset(
        {
            "rate": ("trial", rate),
            "distortion": ("trial", 100 * distortion(rate)),
            "total_nodes": ("trial", np.full(90, 100)),
        },
        {"beta": ("trial", beta), "start": ("trial", ["reconstruction"] * 90)},
    )
    assert decide("E12", {"rate_distortion": curve}).verdict == verdict

"""Rows P1, P2 and P4 on results whose verdict is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from given import decide

from dvae.results.networks import PLAIN, REFERENCE


def sizes(distortion_slope: float, rate_slope: float, collapsed: int) -> xr.Dataset:
    size = np.repeat([32, 64, 128, 256, 512], 4)
    noise = 0.1 * np.random.default_rng(0).standard_normal((2, len(size)))
    rate = 10 + rate_slope * np.log(size) + noise[1]
    rate[:collapsed] = 0.0
    return xr.Dataset(
        {
            "distortion": ("trial", distortion_slope * np.log(size) + noise[0]),
            "rate": ("trial", rate),
        },
        {"size": ("trial", size), "recipe": ("trial", ["published"] * len(size))},
    )


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((-1.0, 1.0, 1), "reproduced"),
        ((-1.0, -1.0, 0), "partly"),
        ((1.0, -1.0, 0), "not reproduced"),
        ((0.0, 0.0, 0), "not reproduced"),
    ],
)
def test_training_size(values, verdict):
    assert decide("P1", {"training_size": sizes(*values)}).verdict == verdict
    pod = sizes(1.0, -1.0, 0) if verdict == "reproduced" else sizes(-1.0, 1.0, 1)
    both = {"training_size": pod, "dense_sizes": sizes(*values)}
    assert decide("P1", both).verdict == verdict


def networks() -> xr.Dataset:
    """Three runs of the reference and of plain networks in few steps."""
    names = [REFERENCE, *PLAIN]
    return xr.Dataset(
        {"relative_error": ("trial", np.full(3 * len(names), 0.1))},
        {
            "architecture": ("trial", np.repeat(names, 3)),
            "budget": ("trial", ["equal steps"] * 3 * len(names)),
        },
    )


def trained(left: list[float]) -> xr.Dataset:
    """DenseVAEs that leave some shares of the variance."""
    values = {
        "relative_error": ("trial", 0.5 * np.sqrt(left)),
        "mean_field_error": ("trial", np.full(len(left), 0.5)),
    }
    return xr.Dataset(values, {"recipe": ("trial", ["one-cycle"] * len(left))})


@pytest.mark.parametrize(
    ("left", "verdict"),
    [
        ([0.01, 0.02, 0.03], "reproduced"),
        ([0.01, 0.02, 0.3], "partly"),
        ([0.01, 0.2, 0.3], "not reproduced"),
    ],
)
def test_architectures(left, verdict):
    found = decide("P2", {"architecture": networks(), "dense_vae": trained(left)})
    assert found.verdict == verdict


def test_a_result_of_an_older_version_decides_nothing():
    data = networks().drop_vars("budget").assign_attrs(experiment="architecture")
    found = decide("P2", {"architecture": data, "dense_vae": trained([0.01])})
    assert found.verdict == "not yet run"
    assert "'architecture' has no budget" in found.ours


def correlated(angle: tuple[float, float], shape: tuple[float, float]) -> xr.Dataset:
    """Runs without labels and with, at three correlations."""
    level, labels = (a.ravel() for a in np.meshgrid([0.0, 0.3, 0.6], [0, 0, 15, 15]))
    few = (labels > 0).astype(int)
    return xr.Dataset(
        {
            "angle": ("trial", np.array(angle)[few]),
            "shape_score": ("trial", np.array(shape)[few]),
        },
        {
            "correlation": ("trial", level),
            "n_labels": ("trial", labels),
            "recipe": ("trial", ["annealed"] * len(level)),
        },
    )


@pytest.mark.parametrize(
    ("angle", "shape", "verdict"),
    [
        ((-40.0, 1.0), (0.2, -0.1), "reproduced"),
        ((-40.0, 1.0), (-0.1, -0.1), "partly"),
        ((1.0, -1.0), (-0.1, -0.1), "not reproduced"),
    ],
)
def test_correlated_factors(angle, shape, verdict):
    assert decide("P4", {"correlated_factors": correlated(angle, shape)}).verdict == verdict

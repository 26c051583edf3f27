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


def networks(reference: float, plain: dict[str, float]) -> xr.Dataset:
    """Three runs of the reference and of plain networks under both budgets, errors 1 % apart."""
    rows = [(REFERENCE, "equal steps", reference)]
    rows += [(name, budget, plain[budget]) for name in PLAIN for budget in plain]
    spread = np.array([0.99, 1.0, 1.01])
    errors = np.concatenate([error * spread for *_, error in rows])
    return xr.Dataset(
        {
            "relative_error": ("trial", errors),
            "mean_field_error": ("trial", np.full(len(errors), 0.5)),
        },
        {
            "architecture": ("trial", np.repeat([name for name, *_ in rows], 3)),
            "budget": ("trial", np.repeat([budget for _, budget, _ in rows], 3)),
        },
    )


@pytest.mark.parametrize(
    ("plain", "verdict"),
    [
        ({"equal steps": 0.2, "longer": 0.15}, "reproduced"),
        ({"equal steps": 0.2, "longer": 0.05}, "partly"),
        ({"equal steps": 0.1, "longer": 0.1}, "not reproduced"),
        ({"equal steps": 0.05, "longer": 0.01}, "not reproduced"),
    ],
)
def test_architectures(plain, verdict):
    assert decide("P2", {"architecture": networks(0.1, plain)}).verdict == verdict


def test_a_result_of_an_older_version_decides_nothing():
    data = networks(0.1, {"equal steps": 0.2}).drop_vars("budget")
    found = decide("P2", {"architecture": data.assign_attrs(experiment="architecture")})
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

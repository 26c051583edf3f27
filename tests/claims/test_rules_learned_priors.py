"""Rows E13 and E14 on results whose verdict is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from given import decide

from dvae.analysis.rotation import rotate


def shifted(prior_shift: float, posterior_shift: float) -> xr.Dataset:
    """Models whose prior and posterior are N(shift, 0.5 I); factors are N([1, 1], 0.5 I)."""
    rng = np.random.default_rng(3)
    size = np.sqrt(0.5)
    return xr.Dataset(
        {
            "latent_mean": (
                ("trial", "sample", "latent"),
                posterior_shift + size * rng.standard_normal((4, 512, 2)),
            ),
            "latent_scale": (("trial", "sample", "latent"), np.full((4, 512, 2), 0.01)),
            "prior_sample": (
                ("trial", "draw", "latent"),
                prior_shift + size * rng.standard_normal((4, 1024, 2)),
            ),
        },
        {
            "prior": ("trial", ["hierarchical"] * 4),
            "factors": ("trial", ["shifted-normal"] * 4),
            "recipe": ("trial", ["calibrated"] * 4),
        },
    )


@pytest.mark.parametrize(
    ("shifts", "verdict"),
    [
        ((0.0, 0.0), "reproduced"),  # a prior that is not the factors', and its posterior
        ((1.0, 1.0), "partly"),  # both are the factors'
        ((2.0, -1.0), "partly"),  # neither
        ((-1.0, 1.0), "not reproduced"),  # the posterior is the factors' and not the prior's
    ],
)
def test_matching_priors(shifts, verdict):
    assert decide("E13", {"priors": shifted(*shifts)}).verdict == verdict


@pytest.mark.parametrize(
    ("spread", "axis", "verdict"),
    [
        (2.0, 0.0, "reproduced"),
        (2.0, 9.0, "reproduced"),
        (2.0, 30.0, "partly"),
        (2.0, 45.0, "partly"),
        (1.0, 0.0, "not reproduced"),
    ],
)
def test_aligned_priors(spread, axis, verdict):
    """Normal priors about (1, 1), turned, one of whose two standard deviations is ``spread``."""
    turn = np.arange(-90.0, 90.1, 7.5)
    grid = np.linspace(-9, 9, 91)
    nodes = np.stack(np.meshgrid(grid - 1, grid - 1, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(-0.5 * ((rotate(nodes, -axis) / [spread, 1]) ** 2).sum(1)).reshape(91, 91)
    draws = 1 + rotate(np.random.default_rng(0).standard_normal((500, 2)) * [spread, 1.0], axis)
    models = xr.Dataset(
        {
            "prior_divergence": (("trial", "turn"), np.ones((4, len(turn)))),
            "prior_axis": (("trial", "grid"), np.tile(grid, (4, 1))),
            "prior_density": (("trial", "grid", "grid2"), np.tile(density, (4, 1, 1))),
            "prior_sample": (("trial", "draw", "latent"), np.tile(draws, (4, 1, 1))),
            "angle": ("trial", np.zeros(4)),
        },
        {
            "turn": turn,
            "prior": ("trial", ["hierarchical", "hierarchical-rectified"] * 2),
            "factors": ("trial", ["four-modes"] * 4),
            "recipe": ("trial", ["calibrated"] * 4),
        },
    )
    assert decide("E14", {"priors": models}).verdict == verdict

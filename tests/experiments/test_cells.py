"""Cells of the 50-run table: counts and scores against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dvae.errors import ResultError
from dvae.experiments import cells
from dvae.experiments.disentanglement import FACTORS, PRIORS, RECIPES
from dvae.results import Store, _write

N = 400


@pytest.fixture
def store(tmp_path):
    """A store with five runs of one cell whose latents are factors turned by known angles."""
    generator = np.random.default_rng(0)
    # factors of exactly unit covariance, so that the ceiling is 1 and angles are exact
    theta = generator.standard_normal((N, 2))
    theta = (theta - theta.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(theta.T))).T
    latents = []
    for angle in (0.0, 5.0, 45.0, 30.0):
        c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
        latents.append(theta @ np.array([[c, -s], [s, c]]).T)
    latents.append(np.full((N, 2), np.nan))  # diverged
    m = len(latents)
    runs = xr.Dataset(
        {
            "latent_mean": (("trial", "sample", "latent"), np.stack(latents)),
            "rate": ("trial", [10.0, 0.1, 10.0, 10.0, np.nan]),
            "loss_per_node": ("trial", np.arange(m, dtype=float)),
            "relative_error": ("trial", np.full(m, 0.01)),
        },
        coords={
            "factors": ("trial", ["four-modes"] * m),
            "prior": ("trial", ["standard"] * m),
            "recipe": ("trial", ["annealed"] * m),
            "seed": ("trial", np.arange(m)),
        },
        attrs={"profile": "laptop"},
    )
    base = xr.Dataset(
        {"theta": (("trial", "sample", "factor"), np.stack([theta, 2 * theta]))},
        coords={
            "factors": ("trial", ["four-modes"] * 2),
            "data_seed": ("trial", [0, 1]),
        },
    )
    store = Store(tmp_path)
    for name, data in (("disentanglement", runs), ("baselines", base)):
        store.path(name, "laptop").parent.mkdir(parents=True)
        _write(data, store.path(name, "laptop"))
    return store


def test_scores_and_flags_are_those_of_the_known_rotations(store):
    runs = cells.load_runs("laptop", store)
    angle = np.radians([0.0, 5.0, 45.0, 30.0])
    expected = np.cos(angle) / (np.cos(angle) + np.sin(angle))
    np.testing.assert_allclose(runs["s_d"][:4], expected, atol=1e-6)
    np.testing.assert_allclose(runs["angle"].abs()[:4], [0, 5, 45, 30], atol=1e-4)
    assert runs["ceiling"].unique() == pytest.approx([1.0])
    assert runs["disentangled"].tolist() == [True, True, False, False, False]
    assert runs["over_regularised"].tolist() == [False, True, False, False, False]
    assert np.isnan(runs["s_d"][4])


def test_cell_table_counts_and_keeps_cells_without_runs(store):
    table = cells.cell_table(cells.load_runs("laptop", store))
    assert len(table) == len(FACTORS) * len(PRIORS) * len(RECIPES)
    assert (table["runs"] > 0).sum() == 1
    row = table.loc[("four-modes", "annealed", "standard")]
    assert (row["runs"], row["disentangled"], row["over_regularised"]) == (5, 2, 1)
    assert (row["failed"], row["half_turn"]) == (3, 1)
    # Wilson's interval of 2 in 5, from the closed form
    z, n, p = 1.959964, 5, 0.4
    centre, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = (np.array([centre - half, centre + half])) / (1 + z**2 / n)
    assert row["disentangled_low"] == pytest.approx(low, abs=1e-6)
    assert row["disentangled_high"] == pytest.approx(high, abs=1e-6)


def test_count_of_nothing_has_no_share():
    counted = cells.count(pd.Series([], dtype=bool))
    assert counted["runs"] == 0
    assert np.isnan(counted["share"])


def test_runs_without_stored_factors_are_refused(store):
    store.path("baselines", "laptop").unlink()
    with pytest.raises(ResultError, match="baselines"):
        cells.load_runs("laptop", store)

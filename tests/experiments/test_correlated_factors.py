"""Correlated factors: closed forms of whitened factors, and a smoke run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tolerances import rounding

from dvae.analysis import shape_score
from dvae.experiments.correlated_factors import whitened
from dvae.loading import load_result
from dvae.results.store import Store
from dvae.runner import run_experiment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the smoke result."""
    store = Store(tmp_path_factory.mktemp("results"))
    status = run_experiment("correlated_factors", "smoke", workers=1, store=store, progress=False)
    assert status["missing"] == 0
    assert status["failed"] == {}
    return store


def test_what_is_stored_is_not_computed_again(store):
    assert (
        run_experiment("correlated_factors", "smoke", store=store, progress=False)["computed"] == 0
    )


def test_whitened_factors_are_uncorrelated_and_changed_least():
    rng = np.random.default_rng(0)
    theta = rng.multivariate_normal([1, 2], [[1, 0.6], [0.6, 1]], 500)
    white = whitened(theta)
    # two sums of 500 products, and the inverse root of a matrix of condition 1.6 / 0.4
    np.testing.assert_allclose(np.cov(white.T), np.eye(2), atol=rounding(1000, 4))
    # the symmetric root treats both factors alike: their cross-covariance is symmetric
    cross = np.cov(theta.T, white.T)[:2, 2:]
    assert cross[0, 1] == pytest.approx(cross[1, 0])


def test_uncorrelated_latents_miss_the_shape_by_the_total_correlation():
    """S_KL of whitened factors is KL[N(0, S) || N(0, diag S)] = -log(1 - c^2) / 2."""
    theta = np.random.default_rng(0).multivariate_normal([0, 0], [[1, 0.9], [0.9, 1]], 2000)
    independent = np.random.default_rng(1).normal(size=(2000, 2))
    assert shape_score(independent, theta) == pytest.approx(-0.5 * math.log(1 - 0.81), abs=0.12)


def test_correlated_factors(store):
    result = load_result("correlated_factors", "smoke", store)
    strong = result.isel(trial=(result["correlation"] == 0.6).values)
    assert set(zip(strong["prior"].values, strong["n_labels"].values, strict=True)) == {
        ("standard", 0),
        ("standard", 4),
        ("hierarchical", 0),
    }
    theta = strong["theta"].values[0]
    assert np.corrcoef(theta.T)[0, 1] == pytest.approx(0.6, abs=0.25)

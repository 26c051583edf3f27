"""Experiments of chapter 8: known answers of their parts, and a smoke run of each."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tolerances import rounding

from dvae.analysis import compare_ranges, shape_score
from dvae.experiments.supplement import (
    ARCHITECTURE,
    ARCHITECTURES,
    LONGER,
    PLAIN,
    REFERENCE,
    SIZES,
    TRAINING_SIZE,
    whitened,
)
from dvae.loading import load_result
from dvae.results.store import Store
from dvae.runner import run_experiment

NAMES = ("training_size", "architecture", "correlated_factors")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Smoke results of the three experiments."""
    store = Store(tmp_path_factory.mktemp("results"))
    for name in NAMES:
        status = run_experiment(name, "smoke", workers=1, store=store, progress=False)
        assert status["missing"] == 0
        assert status["failed"] == {}
    return store


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_is_not_computed_again(store, name):
    assert run_experiment(name, "smoke", store=store, progress=False)["computed"] == 0


def test_sizes(store):
    sizes = {g.shared["size"] for g in TRAINING_SIZE.groups("laptop")}
    assert sizes == set(SIZES) == {32, 64, 128, 256, 512}
    result = load_result("training_size", "smoke", store)
    assert set(result["size"].values.tolist()) == {16, 48}


def test_architectures_have_the_parameters_of_their_models(store):
    result = load_result("architecture", "smoke", store)
    counts = dict(zip(result["architecture"].values, result["parameters"].values, strict=True))
    # fully connected: 867-128-64-4 and back from 2, weights and biases
    assert counts["fully connected (128, 64)"] == (
        867 * 128
        + 128
        + 128 * 64
        + 64
        + 64 * 4
        + 4
        + 2 * 64
        + 64
        + 64 * 128
        + 128
        + 128 * 867
        + 867
    )
    assert set(counts) < set(ARCHITECTURES)


def test_longer_runs_have_more_steps_and_nothing_else(store):
    result = load_result("architecture", "smoke", store)
    network, budget = result["architecture"].values, result["budget"].values
    for name in set(network[budget == "longer"]):
        steps = [int(result["steps"][(network == name) & (budget == b)][0]) for b in set(budget)]
        assert max(steps) == LONGER * min(steps)
    assert (result["cpu_seconds"] > 0).all()
    assert (result["history_step"].max("entry") == result["steps"]).all()


@pytest.mark.parametrize("profile", ["laptop", "paper"])
def test_every_network_has_the_same_data_seeds_and_recipe(profile):
    groups = ARCHITECTURE.groups(profile)
    equal = [g for g in groups if g.shared["budget"] == "equal steps"]
    assert {g.shared["architecture"] for g in equal} == set(ARCHITECTURES)
    assert len({str(g.shared["recipe"]) for g in equal}) == 1
    assert (
        len({str([g.shared[k] for k in ("n_nodes", "n_train", "data_seed")]) for g in groups}) == 1
    )
    longer = {g.shared["architecture"] for g in groups if g.shared["budget"] == "longer"}
    assert set(PLAIN) < longer
    seeds = {}
    for g in groups:
        key = g.shared["architecture"], g.shared["budget"]
        seeds.setdefault(key, []).extend(t["seed"] for t in g.trials)
    assert len({tuple(one) for one in seeds.values()}) == 1
    assert REFERENCE in ARCHITECTURES


def test_compared_looks_at_whole_ranges():
    assert compare_ranges([1, 2, 3], [4, 5, 9]) == "better"
    assert compare_ranges([4, 5, 9], [1, 2, 3]) == "worse"
    assert compare_ranges([1, 2, 5], [4, 5, 9]) == "overlap"
    assert compare_ranges([1, 2, 3], [3, 5, 9]) == "overlap"
    assert compare_ranges([1, 2, math.nan], [4, 5, 9]) == "overlap"


def test_separated_ranges_of_equal_networks_have_the_stated_chance():
    """Of the 20 ways to give 6 ranks to two networks, one is "better" and one is "worse"."""
    ways = list(itertools.combinations(range(6), 3))
    found = [compare_ranges(list(one), sorted(set(range(6)) - set(one))) for one in ways]
    assert (len(ways), found.count("better"), found.count("worse")) == (20, 1, 1)


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

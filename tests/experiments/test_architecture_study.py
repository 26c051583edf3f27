"""Architectures: parameters, equal conditions, the chance of the rule, and a smoke run."""

from __future__ import annotations

import itertools
import math

import pytest

from dvae.analysis import compare_ranges
from dvae.experiments.architecture import ARCHITECTURE, ARCHITECTURES, LONGER
from dvae.loading import load_result
from dvae.results.networks import PLAIN, REFERENCE
from dvae.results.store import Store
from dvae.runner import run_experiment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the smoke result."""
    store = Store(tmp_path_factory.mktemp("results"))
    status = run_experiment("architecture", "smoke", workers=1, store=store, progress=False)
    assert status["missing"] == 0
    assert status["failed"] == {}
    return store


def test_what_is_stored_is_not_computed_again(store):
    assert run_experiment("architecture", "smoke", store=store, progress=False)["computed"] == 0


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


def test_plain_networks_are_those_without_dense_blocks_or_modes():
    plain = [name for name, settings in ARCHITECTURES.items() if settings["model"] == "plain"]
    assert list(PLAIN) == plain

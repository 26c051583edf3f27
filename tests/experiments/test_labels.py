"""Experiments of chapter 7: known answers of their parts, and a smoke run of each."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.experiments.labels import LABEL_COUNTS, draw_labels
from dvae.loading import load_result
from dvae.results.labelled import (
    REGIONS,
    by_labels,
    by_region,
    probe_theta,
    regions,
    run_similarity,
)
from dvae.results.store import Store
from dvae.runner import run_experiment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Smoke results of the three experiments."""
    store = Store(tmp_path_factory.mktemp("results"))
    for name in ("labels", "label_objectives", "low_density"):
        status = run_experiment(name, "smoke", workers=1, store=store, progress=False)
        assert status["missing"] == 0
        assert status["failed"] == {}
    return store


@pytest.mark.parametrize("name", ["labels", "label_objectives", "low_density"])
def test_what_is_stored_is_not_computed_again(store, name):
    assert run_experiment(name, "smoke", store=store, progress=False)["computed"] == 0


def test_label_ratios(store):
    table = by_labels(load_result("labels", "smoke", store), "calibrated")
    assert table["n_labels"].values.tolist() == [0, 1, 5]
    np.testing.assert_allclose(table["ratio"], np.array([0, 1, 5]) / 48)
    assert table["disentanglement"].shape == (3, 2)
    baseline = table["procrustes_disentanglement"]
    assert np.isnan(baseline.sel(n_labels=[0, 1])).all()
    assert np.isfinite(baseline.sel(n_labels=5)).all()


def test_every_published_count_is_there():
    (group,) = [g for g in LABEL_COUNTS.groups("laptop") if g.shared["recipe_name"] == "calibrated"]
    counts = [trial["n_labels"] for trial in group.trials]
    assert len(set(counts)) >= 10
    assert all(counts.count(count) == 10 for count in set(counts))
    assert max(counts) / group.shared["n_train"] == pytest.approx(0.1, abs=0.001)
    seeds = [trial["seed"] for trial in group.trials]
    assert len(set(seeds)) == len(seeds)


def test_label_sets_differ_between_runs_and_are_drawn_without_repeats():
    first, second = draw_labels(20, 0, 512), draw_labels(20, 1, 512)
    assert len(set(first)) == 20
    assert set(first) != set(second)
    assert draw_labels(20, 0, 512).tolist() == first.tolist()


def test_similarity_of_runs():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 2))
    same, flipped, independent = z, -z, rng.normal(size=z.shape)
    values = run_similarity(np.stack([z, same, flipped, independent]))
    # pairs (0,1) (0,2) (0,3) (1,2) (1,3) (2,3); a flip about the mean of zero is -1
    np.testing.assert_allclose(values[[0, 1, 3]], [1, -1, -1], atol=0.01)
    np.testing.assert_allclose(values[[2, 4, 5]], 0, atol=0.05)
    # a shift by one standard deviation: 2 / (1 + 1 + 1)
    shifted = run_similarity(np.stack([z, z + z.std(0)]))
    np.testing.assert_allclose(shifted, 2 / 3, atol=1e-6)


def test_regions_of_the_four_modes():
    points = [(1, 1), (-1, 0.6), (0, 0), (0.2, -0.9), (2.2, 0), (-2.4, 2.4), (1.7, 1), (0, 1.5)]
    names = [REGIONS[i] for i in regions(np.array(points, dtype=float))]
    assert names == [
        "near a mode",
        "near a mode",
        "between",
        "between",
        "far",
        "far",
        "flank",
        "flank",
    ]
    assert set(regions(probe_theta(21))) == {0, 1, 2, 3}


def test_probes_by_region(store):
    result = load_result("low_density", "smoke", store)
    table = by_region(result)
    assert int(table["samples"].sum()) == result.sizes["probe"]
    far = regions(probe_theta(5)) == 3
    expected = np.median(result["probe_error"].values[0, far])
    np.testing.assert_allclose(table["probe_error"].sel(region="far")[0], expected)


def test_eq27_is_compared_at_equal_seeds_and_labels(store):
    result = load_result("label_objectives", "smoke", store)
    assert set(result["objective"].values) == {"eq28", "eq27"}
    assert np.isfinite(result["largest_latent"]).all()

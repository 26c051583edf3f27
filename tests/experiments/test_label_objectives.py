"""Objectives for labels: equal seeds and labels in a smoke run."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.loading import load_result
from dvae.results.store import Store
from dvae.runner import run_experiment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the smoke result."""
    store = Store(tmp_path_factory.mktemp("results"))
    status = run_experiment("label_objectives", "smoke", workers=1, store=store, progress=False)
    assert status["missing"] == 0
    assert status["failed"] == {}
    return store


def test_what_is_stored_is_not_computed_again(store):
    assert run_experiment("label_objectives", "smoke", store=store, progress=False)["computed"] == 0


def test_eq27_is_compared_at_equal_seeds_and_labels(store):
    result = load_result("label_objectives", "smoke", store)
    assert set(result["objective"].values) == {"eq28", "eq27"}
    assert np.isfinite(result["largest_latent"]).all()

"""Number of training samples: its sizes, and a smoke run."""

from __future__ import annotations

import pytest

from dvae.experiments.training_size import SIZES, TRAINING_SIZE
from dvae.loading import load_result
from dvae.results.store import Store
from dvae.runner import run_experiment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the smoke result."""
    store = Store(tmp_path_factory.mktemp("results"))
    status = run_experiment("training_size", "smoke", workers=1, store=store, progress=False)
    assert status["missing"] == 0
    assert status["failed"] == {}
    return store


def test_what_is_stored_is_not_computed_again(store):
    assert run_experiment("training_size", "smoke", store=store, progress=False)["computed"] == 0


def test_sizes(store):
    sizes = {g.shared["size"] for g in TRAINING_SIZE.groups("laptop")}
    assert sizes == set(SIZES) == {32, 64, 128, 256, 512}
    result = load_result("training_size", "smoke", store)
    assert set(result["size"].values.tolist()) == {16, 48}

"""Regions of low density: probes of a smoke run."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.loading import load_result
from dvae.results.labelled import by_region, probe_theta, regions
from dvae.results.store import Store
from dvae.runner import run_experiment


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the smoke result."""
    store = Store(tmp_path_factory.mktemp("results"))
    status = run_experiment("low_density", "smoke", workers=1, store=store, progress=False)
    assert status["missing"] == 0
    assert status["failed"] == {}
    return store


def test_what_is_stored_is_not_computed_again(store):
    assert run_experiment("low_density", "smoke", store=store, progress=False)["computed"] == 0


def test_probes_by_region(store):
    result = load_result("low_density", "smoke", store)
    table = by_region(result)
    assert int(table["samples"].sum()) == result.sizes["probe"]
    far = regions(probe_theta(5)) == 3
    expected = np.median(result["probe_error"].values[0, far])
    np.testing.assert_allclose(table["probe_error"].sel(region="far")[0], expected)

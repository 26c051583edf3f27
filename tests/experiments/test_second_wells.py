"""The same samples seen with two positions of the wells: the fields, and a smoke run."""

from __future__ import annotations

import numpy as np
import pytest

import dvae
from dvae.experiments import find_experiment
from dvae.experiments.annealing import axes_of
from dvae.experiments.data_draws import production_at
from dvae.experiments.second_wells import PLACES, _twice
from dvae.physics import well_source


def test_a_second_well_at_the_place_of_the_first_adds_nothing():
    assert np.allclose(production_at(33, (1.0, 1.0)), well_source(33), atol=1e-12)
    twice = _twice(12, 0, 17, (1.0, 1.0))
    once = dvae.DarcyDataset.generate("shifted-normal", 12, 0, n_nodes=17)
    assert np.allclose(twice.fields[:, :3], once.fields)
    assert np.allclose(twice.fields[:, 3:], once.fields, atol=1e-5)
    ours, theirs = axes_of(twice), axes_of(once)
    assert float(ours["angle"][0]) == pytest.approx(float(theirs["angle"][0]), abs=1e-2)
    # every level is m lambda / (beta times the sum): twice the channels, twice the level
    assert np.allclose(ours["level"][0, :2], 2 * theirs["level"][0, :2], rtol=1e-3)


def test_places_are_apart_and_balanced():
    assert len(set(PLACES)) == 8 and (1.0, 1.0) in PLACES
    for place in PLACES:
        assert production_at(33, place).max() > 0 > production_at(33, place).min()


def test_smoke():
    experiment = find_experiment("second_wells")
    data = experiment.compute(
        experiment.groups("smoke")[0], device="cpu", progress=False, checkpoint=None
    )
    assert data.sizes["trial"] == 2
    assert np.isfinite(data["predicted"]).all() and len(set(data["predicted"].values.tolist())) == 1
    counts: dict = {}
    for group in experiment.groups("laptop"):
        place = group.shared["x1"], group.shared["x2"]
        counts[place] = counts.get(place, 0) + len(group.trials)
    assert counts == dict.fromkeys(PLACES, 50)

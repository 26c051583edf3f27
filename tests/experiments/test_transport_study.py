"""The study of transport by wind: its predictions obey the symmetries, its noise the spectrum."""

import numpy as np
import pytest

from dvae.conventions import ELBO_WEIGHT, PREFERRED
from dvae.experiments import find_experiment, transport
from dvae.experiments.annealing import spectrum
from dvae.results.axes import against_axes
from dvae.training import fit


@pytest.fixture(scope="module")
def axes():
    """What the fields predict, on a coarse grid and with few samples."""
    groups = find_experiment("transport_axes").groups("laptop")
    small = {"n_nodes": 17, "n_train": 256, "n_test": 1}
    groups = [transport.Group(g.shared | small, g.trials) for g in groups]
    return {g.shared["case"]: transport._axes(g) for g in groups}


def test_predicted_angles_obey_the_symmetries_of_the_sources(axes):
    assert set(axes) == set(transport.CASES)
    angle = {case: float(found["angle"][0]) for case, found in axes.items()}
    # 256 samples leave correlations of 1/16, a few degrees where the variances are 1.5 to 1
    assert abs(angle["elongated"]) < 4
    assert abs(angle["shifted"]) < 4
    assert abs(abs(angle["diagonal"]) - 45) < 8
    assert abs(angle["turned"] + 30) < 8
    assert abs(angle["corner"]) > 8


def test_the_round_source_prefers_no_angle(axes):
    price = {}
    for case, found in axes.items():
        runs = found["angle"].to_dataframe().assign(disentangled=0)
        price[case] = against_axes(found, runs, ["case"]).loc[(case,), "price"]
    assert price.pop("round") < PREFERRED / 2
    assert min(price.values()) > PREFERRED


def test_the_noise_falls_through_the_levels_of_the_fields(monkeypatch):
    seen = {}

    def watched(model, fields, recipe, seeds, **arguments):
        seen[group.shared["schedule"]] = recipe
        return fit(model, fields, recipe, seeds, **arguments)

    monkeypatch.setattr(transport, "fit", watched)
    experiment = find_experiment("transport")
    for group in experiment.groups("smoke"):
        data = experiment.compute(group, device="cpu", progress=False, checkpoint=None)
        assert set(data["case"].values) == {"elongated"}
    training, _ = transport._load(group.shared)
    levels = spectrum(training.fields, ELBO_WEIGHT / 17**2)[1]
    assert levels.sum() == pytest.approx(17**2)  # one channel, 1 per sample
    assert seen["derived"].floor[:2] == pytest.approx((levels[0], levels[2]))
    assert seen["calibrated"].floor is None
    assert [recipe.beta * 17**2 for recipe in seen.values()] == pytest.approx([1.0] * 2)
    assert np.isnan(data["floor"].values).all()


def test_every_source_is_trained_by_every_schedule():
    groups = find_experiment("transport").groups("laptop")
    cells = [(g.shared["schedule"], g.shared["case"], len(g.trials)) for g in groups]
    assert cells == [(s, case, 50) for case in transport.CASES for s in transport.SCHEDULES]

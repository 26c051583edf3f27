"""Tasks with latents: what is declared, and a smoke run."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dvae.experiments.tasks import (
    MODELS,
    PLAIN,
    TASKS,
    _intervals,
    _Positions,
    _Reading,
    _Tasks,
    _unknown,
)
from dvae.results.store import Store
from dvae.runner import run_experiment


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_smoke(tmp_path):
    store = Store(tmp_path)
    status = run_experiment("tasks", "smoke", workers=1, store=store, progress=False)
    assert (status["missing"], status["failed"]) == (0, {})
    result = store.load("tasks", "smoke")
    assert set(result["kind"].values.tolist()) == {*MODELS, *PLAIN}
    models = result.isel(trial=result["kind"].values != "direct")
    for name in ("surrogate", "surrogate_own", "factor", "factor_own", "permeability", "width"):
        assert (models[name] > 0).all(), name
    assert (models["regret"] >= 1).all()
    for name in ("learn_seconds", "surrogate_seconds", "inversion_seconds", "solver_seconds"):
        assert (result[name] > 0).all(), name
    for of in ("", "permeability_"):
        coverage = result[f"{of}coverage"]
        assert ((coverage >= 0) & (coverage <= 1)).all()
        # five labels promise no more than 5 / 6
        calibrated = result[f"{of}calibrated"].sel(level=[0.5, 0.8])
        assert ((calibrated >= 0) & (calibrated <= 1)).all()
        assert result[f"{of}calibrated"].sel(level=[0.9, 0.95]).isnull().all()


def test_unlabelled_models_serve_every_number_of_labels():
    for group in TASKS.groups("laptop"):
        counts = {trial.get("n_labels") for trial in group.trials}
        own = {trial["labels"] for trial in group.trials}
        kind = group.shared["kind"]
        assert counts == ({None} if kind in PLAIN else own if kind == "labelled" else {0})


def test_what_a_place_leaves_unknown():
    rng = np.random.default_rng(0)
    factor = rng.standard_normal(20000)
    other = rng.standard_normal(20000)
    pressure = np.stack([2 * factor, factor + other, other], 1)
    left = _unknown(pressure, factor, 0.0, np.full(20000, 1 / 20000))
    assert np.allclose(left, [0, 0.5, 1], atol=0.03)
    noisy = _unknown(pressure[:, :1], factor, 0.2, np.full(20000, 1 / 20000))
    assert noisy[0] == pytest.approx(0.01, rel=0.05)  # (noise / slope)^2, for little noise


def test_places_that_see_one_factor_have_its_positions():
    """Of a log-permeability that is a factor itself, exactly and by draws."""
    rng = np.random.default_rng(1)
    theta, noise = rng.standard_normal((2, 60, 2))
    latents = theta + 0.3 * noise
    new = rng.standard_normal((40, 2))
    drawn = new[:, None] + 0.2 * rng.standard_normal((40, 4000, 2))
    task = SimpleNamespace(data=SimpleNamespace(modes_placed=np.array([[1.0, 0, -2], [0, 1, 0]])))
    found = _Reading(latents, theta, drawn)
    position = _Tasks._positions(task, found, new, found.draw(rng))
    assert np.allclose(position.places[:, :2], position.factors, atol=0.04)
    assert np.allclose(position.places[:, 2], 1 - position.places[:, 0], atol=1e-12)
    normal = _Tasks._normal_positions(task, new, drawn.mean(1), drawn.std(1))
    assert np.allclose(normal.places[:, :2], normal.factors, atol=1e-12)
    # both factors in one: the spread of a sum, not the sum of spreads
    task.data.modes_placed = np.array([[1.0], [1.0]])
    normal = _Tasks._normal_positions(task, np.ones((1, 2)), np.zeros((1, 2)), np.full((1, 2), 2.0))
    assert normal.places[0, 0] == pytest.approx(0.76025, abs=1e-5)  # Phi(2 / sqrt(8))


def test_calibrated_intervals_of_right_posteriors_hold_what_they_promise():
    rng = np.random.default_rng(2)
    test, labels = rng.random((4000, 3)), rng.random((400, 1, 3))
    values = _intervals(_Positions(test, test), [_Positions(own, own) for own in labels])
    for name in ("coverage", "calibrated", "permeability_coverage", "permeability_calibrated"):
        assert np.allclose(values[name][1], [0.5, 0.8, 0.9, 0.95], atol=0.04), name

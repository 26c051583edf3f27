"""Tasks with latents: what is declared, and a smoke run."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.experiments.tasks import MODELS, PLAIN, TASKS, _unknown
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
    assert ((result["coverage"] >= 0) & (result["coverage"] <= 1)).all()
    # five labels promise no more than 5 / 6
    calibrated = result["calibrated"].sel(level=[0.5, 0.8])
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    assert result["calibrated"].sel(level=[0.9, 0.95]).isnull().all()


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

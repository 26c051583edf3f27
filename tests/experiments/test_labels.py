"""Number of labels: counts, seeds, baselines of a smoke run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvae.experiments.labelling import load_labelled
from dvae.experiments.labels import LABEL_COUNTS, _baselines
from dvae.loading import load_result
from dvae.models.pod import PodVAE
from dvae.results.labelled import by_labels
from dvae.results.store import Store
from dvae.runner import run_experiment
from dvae.training.ensemble import Ensemble


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with the smoke result."""
    store = Store(tmp_path_factory.mktemp("results"))
    status = run_experiment("labels", "smoke", workers=1, store=store, progress=False)
    assert status["missing"] == 0
    assert status["failed"] == {}
    return store


def test_what_is_stored_is_not_computed_again(store):
    assert run_experiment("labels", "smoke", store=store, progress=False)["computed"] == 0


def test_label_ratios(store):
    table = by_labels(load_result("labels", "smoke", store), "calibrated")
    assert table["n_labels"].values.tolist() == [0, 1, 5]
    np.testing.assert_allclose(table["ratio"], np.array([0, 1, 5]) / 48)
    assert table["disentanglement"].shape == (3, 2)
    baseline = table["procrustes_disentanglement"]
    assert np.isnan(baseline.sel(n_labels=[0, 1])).all()
    assert np.isfinite(baseline.sel(n_labels=5)).all()


def test_baselines_of_unsupervised_runs_that_collapsed_or_diverged(monkeypatch):
    """A run that collapsed has the least score and the error of the labels' mean, none stops."""
    (group, *_) = LABEL_COUNTS.groups("smoke")
    training, test, pool = load_labelled(group.shared)
    runs = sorted({trial["run"] for trial in group.trials})

    def encode(fields):
        factors = {len(test): test.theta, len(pool): pool.theta}[len(fields)]
        means = torch.stack([factors * 0.0 + 0.3, factors * torch.nan])
        return means, torch.ones_like(means)

    ensemble = Ensemble([PodVAE.from_fields(training.fields, 4)] * 2)
    monkeypatch.setattr(ensemble, "encode", encode)
    found = _baselines(group, ensemble, training, test, pool)
    trials = [(trial["run"], trial["n_labels"]) for trial in group.trials]
    collapsed, diverged = (trials.index((run, 5)) for run in runs)
    for name in ("procrustes", "regression"):
        score, error = (found[f"{name}_{x}"].values for x in ("disentanglement", "factor_error"))
        assert score[collapsed] == 0.5
        assert 0.9 < error[collapsed] < 2.0
        assert np.isnan([score[diverged], error[diverged]]).all()
    assert np.isfinite(found["pca_disentanglement"].values[[collapsed, diverged]]).all()


def test_every_published_count_is_there():
    (group,) = [g for g in LABEL_COUNTS.groups("laptop") if g.shared["recipe_name"] == "calibrated"]
    counts = [trial["n_labels"] for trial in group.trials]
    assert len(set(counts)) >= 10
    assert all(counts.count(count) == 10 for count in set(counts))
    assert max(counts) / group.shared["n_train"] == pytest.approx(0.1, abs=0.001)
    seeds = [trial["seed"] for trial in group.trials]
    assert len(set(seeds)) == len(seeds)

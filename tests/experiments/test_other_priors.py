"""Priors beside those of the paper: what is measured of a fit, and what is declared."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvae.experiments.other_priors import OTHER_PRIORS, _density, _fit
from dvae.models import GaussianPrior, PodVAE
from dvae.results.conditions import PRIORS


@pytest.fixture
def model():
    prior = GaussianPrior(2, (0.7, 1.4))
    return PodVAE.from_fields(torch.randn(12, 1, 5, 5), 3, hidden=(4,), prior=prior)


def test_fit_of_a_normal_prior(model):
    draws = np.random.default_rng(0).standard_normal((1000, 2)) * [0.7, 1.4]
    fit = _fit(model, draws)
    assert fit["divergence"] == pytest.approx(0, abs=0.15)
    entropy = 1 + np.log(2 * np.pi * 0.7 * 1.4)
    assert fit["log_likelihood"] == pytest.approx(-entropy, abs=0.1)
    # tr(R^T C^-1 R C) / 2 - 1, with variances a and b: ((a + b)^2 / 2ab - 2) / 2
    a, b = 0.49, 1.96
    assert fit["turned_divergence"] == pytest.approx(((a + b) ** 2 / (2 * a * b) - 2) / 2, abs=0.1)
    shifted = _fit(model, draws + np.array([1.4, 0.0]))
    assert shifted["divergence"] == pytest.approx(2.0, abs=0.4)  # (1.4 / 0.7)^2 / 2


def test_density_is_that_of_the_first_trial(model):
    data = _density(model, np.ones((8, 2)), 3)
    axes, density = data["prior_axis"][1], data["prior_density"][1]
    assert axes[0, 0] == pytest.approx(-1.3) and axes[0, -1] == pytest.approx(1.3)
    assert np.isnan(axes[1:]).all() and np.isnan(density[1:]).all()
    middle = 1 / (2 * np.pi * 0.7 * 1.4)
    assert density[0, 30, 30] == pytest.approx(middle)
    assert density[0, 60, 30] == pytest.approx(middle * np.exp(-0.5 * (1.3 / 0.7) ** 2))


def test_every_new_prior_stands_beside_those_of_the_paper():
    groups = OTHER_PRIORS.groups("laptop")
    assert {len(group.trials) for group in groups} == {50}
    cells = {(g.shared["factors"], g.shared["recipe_name"], g.shared["prior"]) for g in groups}
    assert len(cells) == len(groups)
    assert {prior for *_, prior in cells} == {*PRIORS[:2], "mixture", "vamp", "flow"}
    data = OTHER_PRIORS.compute(
        OTHER_PRIORS.groups("smoke")[1], device="cpu", progress=False, checkpoint=None
    )
    assert set(data["prior"].values) == {"mixture"}
    assert np.isfinite(data["divergence"]).all() and (data["step_cpu_seconds"] > 0).all()

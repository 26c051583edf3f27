"""Fits of priors alone and turns about the prior's mean, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr
from torch.distributions import Independent, Normal

from dvae.experiments.prior_fits import fit_prior
from dvae.experiments.priors import rate_about_center
from dvae.models import HierarchicalPrior


def gaussian_trial(mean, scale, latents):
    """What ``priors`` stores of a model whose prior is a factorised normal."""
    axis = np.linspace(-14, 14, 281)
    square = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    density = np.exp(-0.5 * (((square - mean) / scale) ** 2).sum(-1)) / (2 * np.pi * np.prod(scale))
    sample = mean + scale * np.array([[1.0, 1], [-1, 1], [1, -1], [-1, -1]])
    return xr.Dataset(
        {
            "prior_axis": ("grid", axis),
            "prior_density": (("grid", "grid2"), density),
            "prior_sample": (("draw", "latent"), sample),
            "latent_mean": (("sample", "latent"), latents),
            "latent_scale": (("sample", "latent"), np.zeros_like(latents)),
        }
    )


def test_turn_about_the_mean_of_a_stretched_normal_prior():
    # a latent at distance 2 along the wide axis; turned by 90 degrees it lies along the narrow one
    mean, scale = np.array([3.0, -1.0]), np.array([2.0, 1.0])
    one = gaussian_trial(mean, scale, mean + np.array([[2.0, 0.0]]))
    change = rate_about_center(one, np.array([0.0, 45.0, 90.0, 180.0]))
    # half of squared distance in units of the scales: 1, 1/2 + 2, 4, 1
    assert change == pytest.approx([0, 0.5 * (2.5 - 1), 0.5 * (4 - 1), 0], abs=5e-3)


def test_turn_of_a_round_prior_changes_nothing_wherever_its_mean_is():
    latents = np.random.default_rng(0).normal(2, 1, (200, 2))
    one = gaussian_trial(np.array([2.0, -2.0]), np.ones(2), latents)
    assert np.ptp(rate_about_center(one)) < 0.01


@pytest.mark.parametrize("options", [{}, {"levels": 2, "variance": "network"}])
def test_fit_to_a_gaussian_reaches_its_entropy(options):
    truth = Independent(Normal(torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0])), 1)
    torch.manual_seed(0)
    samples = truth.sample((1024,))
    state = torch.get_rng_state()
    prior = fit_prior(lambda: HierarchicalPrior(2, **options), samples, steps=150, tries=2)
    assert torch.equal(state, torch.get_rng_state())
    with torch.no_grad():
        fitted = prior.log_prob(samples, 200).mean()
    assert float(truth.log_prob(samples).mean() - fitted) < 0.05


def test_fit_is_repeatable_and_takes_the_best_of_its_tries():
    samples = torch.randn(256, 2)

    def fit(tries, seed=0):
        prior = fit_prior(lambda: HierarchicalPrior(2), samples, 10, tries, seed=seed)
        with torch.no_grad():
            return float(prior.log_prob(samples, 500, torch.Generator().manual_seed(0)).mean())

    assert fit(2) == fit(2)
    assert fit(2) != fit(2, seed=1)

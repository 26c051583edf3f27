"""Fits of priors alone, against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, Normal

from dvae.experiments.prior_fits import fit_prior
from dvae.models import HierarchicalPrior


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

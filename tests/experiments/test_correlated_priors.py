"""Correlated factors under a correlated prior: angles, and the rotation that is free."""

import numpy as np
import pytest
import torch

from dvae.analysis import rotate, rotation_matrix, rotation_price
from dvae.experiments import find_experiment
from dvae.experiments.correlated_priors import ANGLES, axis_error, turned_scores
from dvae.models import CorrelatedPrior, GaussianPrior
from dvae.models.priors import diagonal_normal


@pytest.fixture(scope="module")
def theta():
    rng = np.random.default_rng(0)
    return rng.multivariate_normal([1, 2], [[1, 0.8], [0.8, 1]], 400)


def test_correlated_factors_are_their_own_axes(theta):
    assert axis_error(-3 * theta[:, ::-1] + 1, theta) == pytest.approx(0, abs=1e-5)
    scaled = theta / theta.std(0)
    # the first latent measures factor 1, the second both alike: 0 and 45 degrees
    mixed = np.column_stack([scaled[:, 0], scaled.sum(1)])
    assert axis_error(mixed, theta) == pytest.approx(22.5)


def test_turned_coefficients_reach_the_factors_at_their_angle():
    theta = np.random.default_rng(0).standard_normal((300, 2))
    theta /= theta.std(0)
    errors = turned_scores(rotate(theta, 30), theta)
    assert ANGLES[errors.argmin()] == 60  # another 60 degrees make 90, a swap
    assert errors.min() == pytest.approx(0, abs=1e-5)
    assert errors[ANGLES == 15] == pytest.approx(45)


@torch.no_grad()
def test_a_correlated_prior_charges_nothing_for_a_rotation_and_a_standard_one_its_price():
    """Losses (eq. 5) of a linear VAE with the best diagonal posterior, its latents turned."""
    precision = 1 + np.array([3.0, 1.0]) / 0.2
    means = np.random.default_rng(0).standard_normal((500, 2))
    means = np.linalg.qr(means - means.mean(0))[0] * 500**0.5
    means = means * (1 - 1 / precision) ** 0.5  # the aggregated posterior has the covariance I

    def loss(prior, latents):
        """Of latents A z: the rate, and the error that the posterior's variances make."""
        inverse = np.linalg.inv(latents)
        own = np.diagonal(inverse.T @ np.diag(precision) @ inverse)
        mean = torch.from_numpy(means @ latents.T)
        posterior = diagonal_normal(mean, torch.from_numpy(-np.log(own)))
        error = (own - np.diagonal(inverse.T @ inverse)) / own
        return float(prior.rate(posterior, mean, mean).mean()) + error.sum() / 2

    standard, free = GaussianPrior(2).double(), CorrelatedPrior(2).double()
    least = loss(standard, np.eye(2))
    for angle in (10, 45, 70):
        turn = rotation_matrix(angle)
        price = rotation_price(*precision, angle)
        assert loss(standard, turn) - least == pytest.approx(price)
        latents = turn * precision**0.5
        latents /= np.linalg.norm(latents, axis=1, keepdims=True)  # their variances are 1
        correlation = latents[0] @ latents[1]
        free.below[1, 0] = correlation / (1 - correlation**2) ** 0.5
        assert loss(free, latents) == pytest.approx(least)


def test_both_priors_are_compared_on_the_same_data():
    experiment = find_experiment("correlated_priors")
    groups = experiment.groups("laptop")
    kinds = {(g.shared["correlation"], g.shared["prior"]): len(g.trials) for g in groups}
    assert set(kinds.values()) == {50}
    assert len(kinds) == len(groups) == 8
    group = experiment.groups("smoke")[1]
    data = experiment.compute(group, device="cpu", progress=False, checkpoint=None)
    assert (data["prior"] == "correlated").all()
    assert (data["prior_correlation"] > 0).all()  # it moved
    assert ((data["axis_error"] >= 0) & (data["axis_error"] <= 90)).all()
    assert data["turned_axis_error"].shape == (2, 90)

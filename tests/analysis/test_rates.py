"""Rates under rotation against closed forms, and curves over the angle."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from dvae.analysis.minima import local_minima
from dvae.analysis.rates import rotated_rate, rotation_curve, standard_normal_rate
from dvae.analysis.rotation import rotate, rotated_encoding
from dvae.analysis.scores import disentanglement_score
from dvae.analysis.shape import shape_score
from dvae.errors import DataError

ANGLES = np.array([-70.0, -20.0, 0.0, 15.0, 45.0, 90.0, 130.0])
RNG = np.random.default_rng(0)
MEAN = RNG.standard_normal((60, 2)) * [1.5, 0.5]
LOG_VARIANCE = RNG.uniform(-4, 0, (60, 2))


def gaussian_prior(mean, scale):
    normal = torch.distributions.Normal(torch.tensor(mean), torch.tensor(scale))
    return lambda z: normal.log_prob(z).sum(-1)


def gaussian_rate(angle: float, prior_mean: np.ndarray, prior_scale: np.ndarray) -> float:
    """KL[N(A mu, A S A^T) || N(m, diag(s^2))], averaged over samples."""
    mean, covariance = rotated_encoding(MEAN, LOG_VARIANCE, angle)
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    quadratic = ((variance + (mean - prior_mean) ** 2) / prior_scale**2).sum(1)
    log_ratio = 2 * np.log(prior_scale).sum() - np.linalg.slogdet(covariance)[1]
    return float(0.5 * (quadratic - 2 + log_ratio).mean())


def test_standard_normal_rate_is_the_closed_form_and_the_same_at_every_angle():
    zero, one = np.zeros(2), np.ones(2)
    exact = standard_normal_rate(MEAN, LOG_VARIANCE)
    for angle in ANGLES:
        assert gaussian_rate(angle, zero, one) == pytest.approx(exact)
    prior = gaussian_prior([0.0, 0.0], [1.0, 1.0])
    rate, error = rotated_rate(MEAN, LOG_VARIANCE, prior, ANGLES, n_samples=400)
    assert_allclose(rate, rate[0], atol=1e-5)
    assert_allclose(error, 0, atol=1e-6)
    assert rate[0] == pytest.approx(exact, abs=0.03)


def test_rate_of_a_prior_without_the_symmetry_is_the_closed_form_at_every_angle():
    """A shifted, stretched prior: a wrong sense of rotation would show."""
    prior_mean, prior_scale = np.array([0.8, -0.3]), np.array([2.0, 0.7])
    prior = gaussian_prior(prior_mean, prior_scale)
    rate, error = rotated_rate(MEAN, LOG_VARIANCE, prior, ANGLES, n_samples=1000)
    exact = np.array([gaussian_rate(angle, prior_mean, prior_scale) for angle in ANGLES])
    assert np.ptp(exact) > 1
    assert_allclose(rate, exact, atol=0.05)
    assert error[0] == 0
    difference = (rate - rate[0]) - (exact - exact[0])
    assert np.all(np.abs(difference) <= 4 * error + 1e-6)
    assert error[1:].max() < 0.03


def test_error_bar_covers_the_scatter_over_generators():
    prior = gaussian_prior([0.8, -0.3], [2.0, 0.7])
    runs = [
        rotated_rate(
            MEAN, LOG_VARIANCE, prior, [0.0, 40.0], 32, torch.Generator().manual_seed(seed)
        )
        for seed in range(100)
    ]
    scatter = np.std([rate[1] - rate[0] for rate, _ in runs], ddof=1)
    assert scatter == pytest.approx(np.mean([error[1] for _, error in runs]), rel=0.25)


def four_modes_prior(z: torch.Tensor) -> torch.Tensor:
    """The density of the four-mode factors (section 5.3), each coordinate +-1 with std 0.5."""
    log_mode = [torch.distributions.Normal(m, 0.5).log_prob(z) for m in (-1.0, 1.0)]
    return (torch.logaddexp(*log_mode) - np.log(2)).sum(-1)


@pytest.fixture(scope="module")
def curve():
    rng = np.random.default_rng(1)
    theta = rng.choice([-1.0, 1.0], (256, 2)) + 0.5 * rng.standard_normal((256, 2))
    log_variance = np.full((256, 2), -5.0)
    angles = np.arange(-60.0, 61.0, 15.0)
    return rotation_curve(theta, log_variance, theta, four_modes_prior, angles, 16)


def test_curve_of_a_prior_that_matches_the_factors(curve):
    assert dict(curve.sizes) == {"angle": 9}
    assert curve["rate"].idxmin() == curve["S_D"].idxmax() == curve["S_KL"].idxmin() == 0
    # the prior has the symmetry of the square: 30 degrees cannot be told from -60
    assert_allclose(curve["rate"].sel(angle=30), curve["rate"].sel(angle=-60), atol=1e-4)
    assert curve["rate"].sel(angle=45) > curve["rate"].sel(angle=0) + 0.3
    assert curve["S_D"].sel(angle=45) < 0.6 < 0.85 < curve["S_D"].sel(angle=0)


def test_curve_scores_are_those_of_the_rotated_draws(curve):
    rng = np.random.default_rng(1)
    theta = rng.choice([-1.0, 1.0], (256, 2)) + 0.5 * rng.standard_normal((256, 2))
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(16, 256, 2, generator=generator, dtype=torch.float64)[0].numpy()
    z = rotate(theta + np.exp(-2.5) * noise, 30)
    assert curve["S_D"].sel(angle=30) == pytest.approx(disentanglement_score(z, theta))
    assert curve["S_KL"].sel(angle=30) == pytest.approx(shape_score(z, theta))


def test_curve_has_no_shape_score_where_dimensions_differ():
    theta = RNG.standard_normal((60, 3))
    prior = gaussian_prior([0.0, 0.0], [1.0, 1.0])
    found = rotation_curve(MEAN, LOG_VARIANCE, theta, prior, [0.0, 45.0])
    assert "S_KL" not in found
    assert found["S_D"].shape == (2,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_prob": lambda z: z}, "log_prob"),
        ({"log_prob": lambda z: z.sum(-1) * float("nan")}, "log_prob"),
        ({"angles": []}, "angles"),
        ({"angles": [np.nan]}, "angles"),
        ({"n_samples": 1}, "n_samples"),
        ({"log_variance": LOG_VARIANCE[:, :1]}, "agree in shape"),
        ({"mean": MEAN[:, 0]}, "shape"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_refused(change, message):
    arguments = {
        "mean": MEAN,
        "log_variance": LOG_VARIANCE,
        "log_prob": gaussian_prior([0.0, 0.0], [1.0, 1.0]),
        "angles": [0.0],
    }
    with pytest.raises(DataError, match=message):
        rotated_rate(**(arguments | change))


def test_a_rotation_invariant_prior_has_no_minima():
    prior = gaussian_prior([0.0, 0.0], [1.0, 1.0])
    found = rotation_curve(MEAN, LOG_VARIANCE, MEAN, prior, np.arange(0.0, 90.0, 10.0), 8)
    assert local_minima(found).sizes["angle"] == 0

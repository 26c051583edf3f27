"""One contract for every factor distribution, and each density against its closed form."""

import numpy as np
import pytest
import torch
from scipy import stats

from dvae.errors import DataError, UnknownNameError
from dvae.physics import FACTOR_NAMES, factor_distribution
from dvae.physics.factors import draw_factors


def normal(mean, covariance):
    return stats.multivariate_normal(mean, covariance).pdf


def corners(variance):
    def density(theta):
        modes = [(-1, -1), (-1, 1), (1, -1), (1, 1)]
        return np.mean([normal(m, variance * np.eye(2))(theta) for m in modes], axis=0)

    return density


DENSITY = {
    "standard-normal": normal([0, 0], np.eye(2)),
    "shifted-normal": normal([1, 1], 0.5 * np.eye(2)),
    "four-modes": corners(0.25),
    "bimodal": corners(0.0625),
    "correlated-normal": normal([0, 0], [[1, 0.5], [0.5, 1]]),
}
MOMENTS = {  # mean, variance and correlation of each factor
    "standard-normal": (0, 1, 0),
    "shifted-normal": (1, 0.5, 0),
    "four-modes": (0, 1.25, 0),
    "bimodal": (0, 1.0625, 0),
    "correlated-normal": (0, 1, 0.5),
}


def test_every_name_has_its_reference_here():
    assert set(FACTOR_NAMES) == set(DENSITY) == set(MOMENTS)


@pytest.mark.parametrize("name", FACTOR_NAMES)
class TestContract:
    def test_density(self, name):
        theta = torch.randn(200, 2) * 1.5
        ours = factor_distribution(name).log_prob(theta)
        assert ours.shape == (200,)
        expected = np.log(DENSITY[name](theta.double().numpy()))
        np.testing.assert_allclose(ours, expected, rtol=2e-5, atol=2e-5)

    def test_samples(self, name):
        count = 40000
        distribution = factor_distribution(name)
        theta = distribution.sample((count,))
        assert theta.shape == (count, 2)
        assert theta.dtype == torch.float32
        assert distribution.event_shape == (2,)
        assert distribution.batch_shape == ()
        mean, variance, correlation = MOMENTS[name]
        covariance = variance * np.array([[1, correlation], [correlation, 1]])
        error = 5 / count**0.5
        np.testing.assert_allclose(theta.mean(0), [mean, mean], atol=error * variance**0.5)
        np.testing.assert_allclose(np.cov(theta.T), covariance, atol=2 * error * variance)

    def test_samples_follow_the_density(self, name):
        # Expected log density under itself: from draws, and by quadrature of the reference.
        grid = np.linspace(-6, 6, 601)
        points = np.stack(np.meshgrid(grid, grid, indexing="ij"), -1)
        density = DENSITY[name](points)
        log_density = np.log(np.maximum(density, 1e-300))
        cell = (grid[1] - grid[0]) ** 2
        mean = (density * log_density).sum() * cell
        spread = np.sqrt((density * (log_density - mean) ** 2).sum() * cell)
        distribution = factor_distribution(name)
        drawn = distribution.log_prob(distribution.sample((20000,))).mean().item()
        assert drawn == pytest.approx(mean, abs=5 * spread / 20000**0.5)

    def test_seed_repeats(self, name):
        torch.manual_seed(3)
        first = factor_distribution(name).sample((5,))
        torch.manual_seed(3)
        assert torch.equal(first, factor_distribution(name).sample((5,)))

    def test_number_of_factors(self, name):
        if name == "four-modes":
            with pytest.raises(DataError, match="'four-modes' is defined for 2 factors, not 100"):
                factor_distribution(name, n_factors=100)
        else:
            theta = factor_distribution(name, n_factors=100).sample((3,))
            assert theta.shape == (3, 100)
        with pytest.raises(DataError, match="n_factors is 0"):
            factor_distribution(name, n_factors=0)

    def test_correlation(self, name):
        if name == "correlated-normal":
            theta = torch.randn(50, 3)
            covariance = np.full((3, 3), -0.3) + 1.3 * np.eye(3)
            ours = factor_distribution(name, n_factors=3, correlation=-0.3).log_prob(theta)
            expected = stats.multivariate_normal(np.zeros(3), covariance).logpdf(theta.numpy())
            np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)
            for bad in (1.0, -0.5, float("nan")):
                with pytest.raises(DataError, match=r"must lie between -0\.5 and 1"):
                    factor_distribution(name, n_factors=3, correlation=bad)
        else:
            with pytest.raises(DataError, match="has no correlation to set"):
                factor_distribution(name, correlation=0.2)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownNameError) as caught:
        factor_distribution("gaussian")
    assert all(name in str(caught.value) for name in ("'gaussian'", *FACTOR_NAMES))


def test_a_seed_of_two_words_is_refused():
    # numpy would take 2**32 as the words 0 and 1, and draw sample 1 of seed 0 first
    with pytest.raises(DataError, match="below 2"):
        draw_factors(factor_distribution("standard-normal"), 1, 2**32)

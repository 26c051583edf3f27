"""From measurements to latents and factors: closed forms of the linear Gaussian case."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from dvae.analysis.inverse import (
    LinearPredictor,
    calibrated_coverage,
    calibrated_levels,
    coverage_position,
    draw_from_grid,
    follow_factors,
    grid_posterior,
)
from dvae.errors import DataError


def test_intervals_of_a_regression_are_exact_with_few_labels():
    rng = np.random.default_rng(0)
    positions = []
    for _ in range(2000):
        z = rng.standard_normal((6, 2))
        factor = 0.3 + z @ [1.0, -2.0] + 0.5 * rng.standard_normal(6)
        line = LinearPredictor.fit(z[:5], factor[:5])
        assert line.degrees == 2
        location, scale = line.predict(z[5:])
        positions.append(coverage_position(factor[5:], location[:, None], scale[:, None], 2)[0])
    positions = np.array(positions)
    for level in (0.5, 0.9):
        inside = int((np.abs(2 * positions - 1) <= level).sum())
        assert binom.cdf(inside, 2000, level) > 1e-3
        assert binom.sf(inside, 2000, level) > 1e-3


def test_a_regression_without_noise_is_exact():
    z = np.random.default_rng(1).standard_normal((5, 2))
    line = LinearPredictor.fit(z, 1 + z @ [2.0, 3.0])
    assert np.allclose(line.coefficients, [1, 2, 3])
    assert np.allclose(line.predict(z)[1], 0, atol=1e-12)


def test_what_a_regression_cannot_do():
    z = np.ones((5, 2))
    with pytest.raises(DataError, match="at least 4 labels, got 3"):
        LinearPredictor.fit(z[:3], np.zeros(3))
    with pytest.raises(DataError, match="subspace"):
        LinearPredictor.fit(z, np.zeros(5))
    with pytest.raises(DataError, match="cannot each follow"):
        follow_factors(z[:, :1], z)


def test_latents_follow_factors_whatever_order_and_sign():
    theta = np.random.default_rng(2).standard_normal((8, 2))
    assert follow_factors(theta[:, ::-1] * [-1, 2], theta).tolist() == [1, 0]


def test_the_posterior_of_a_linear_decoder_is_the_normal_one():
    rng = np.random.default_rng(3)
    matrix, noise = np.array([[1.0, 0.5], [0.2, -1.0], [0.3, 0.3]]), 0.4
    axis = np.linspace(-5, 5, 201)
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    measured = rng.standard_normal((4, 3))
    covariance = noise**2 * np.eye(3)
    weights = grid_posterior(nodes @ matrix.T, measured, covariance, -0.5 * (nodes**2).sum(1))
    assert np.allclose(weights.sum(1), 1)
    exact = np.linalg.inv(np.eye(2) + matrix.T @ matrix / noise**2)
    mean = measured @ matrix @ exact / noise**2
    assert np.allclose(weights @ nodes, mean, atol=1e-6)
    found = np.einsum("ng,gi,gj->nij", weights, nodes, nodes)
    found -= mean[:, :, None] * mean[:, None]
    assert np.allclose(found, exact, atol=1e-6)
    draws = draw_from_grid(weights, nodes, axis[1] - axis[0], 20000, rng)
    assert np.allclose(draws.mean(1), mean, atol=0.02)
    with pytest.raises(DataError, match="positive definite"):
        grid_posterior(nodes @ matrix.T, measured, -covariance, -0.5 * (nodes**2).sum(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"covariance": np.array([[1.0, 5.0], [0.0, 1.0]])}, "not symmetric"),
        ({"covariance": np.array([[1.0, 5.0], [5.0, 1.0]])}, "positive definite"),
        ({"covariance": np.full((2, 2), np.nan)}, "finite"),
        ({"measured": np.array([[0.0, np.nan]])}, "finite"),
    ],
)
def test_a_posterior_of_impossible_measurements_is_refused(changes, message):
    arguments = {
        "predicted": np.zeros((3, 2)),
        "measured": np.zeros((1, 2)),
        "covariance": np.eye(2),
        "log_prior": np.zeros(3),
    }
    with pytest.raises(DataError, match=message):
        grid_posterior(**arguments | changes)


def test_calibrated_intervals_hold_what_they_promise_where_plain_ones_do_not():
    rng = np.random.default_rng(4)
    levels = np.array([0.5, 0.8, 0.9])
    # values with heavy tails, and a posterior that is three times too narrow
    labels, new = rng.standard_t(3, (2000, 15)), rng.standard_t(3, 2000)
    positions, position = norm.cdf(3 * labels), norm.cdf(3 * new)
    plain = [(np.abs(2 * position - 1) <= level).mean() for level in levels]
    assert (np.array(plain) < levels - 0.15).all()
    held = np.array([calibrated_levels(own, levels) for own in positions])
    covered = (np.abs(2 * position[:, None] - 1) <= held).mean(0)
    # ranks 8, 13 and 15 of 16; three standard errors
    assert np.allclose(calibrated_coverage(15, levels), [8 / 16, 13 / 16, 15 / 16])
    assert np.allclose(covered, [8 / 16, 13 / 16, 15 / 16], atol=3 * np.sqrt(0.25 / 2000))


def test_few_labels_promise_little():
    levels = np.array([1 / 6, 0.5, 5 / 6, 0.9])
    held = calibrated_levels(np.array([0.5, 0.6, 0.7, 0.8, 0.9]), levels)
    assert np.allclose(held[:3], [0, 0.4, 0.8])
    assert np.allclose(calibrated_coverage(5, levels)[:3], levels[:3])
    assert np.isnan(held[3])

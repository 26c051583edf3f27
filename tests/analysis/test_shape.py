"""S_KL of codes whose best scale, shift and order are known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import digamma

from dvae.analysis.shape import shape_match, shape_score
from dvae.errors import DataError


def sawtooth(n_samples: int, seed: int) -> np.ndarray:
    """Two independent factors of different skewed shapes: no sign or order can be exchanged."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.exponential(size=n_samples), rng.beta(0.3, 1.2, n_samples)])


def rotated(z: np.ndarray, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return z @ np.array([[c, -s], [s, c]]).T


def test_a_perfect_copy_scores_zero_before_the_fit_and_little_less_after():
    theta = sawtooth(512, 0)
    assert -0.15 < shape_score(theta, theta) <= 1e-12


def test_scale_shift_sign_and_order_are_recovered():
    theta = sawtooth(512, 0)
    scale, shift = np.array([-2.0, 0.5]), np.array([3.0, -1.0])
    z = (theta / scale + shift)[:, ::-1]  # so that theta = scale * (z[:, ::-1] - shift)
    match = shape_match(z, theta)
    assert match.permutation.tolist() == [1, 0]
    assert_allclose(match.scale, scale, rtol=0.15)
    aligned = match.scale * (z[:, match.permutation] - match.shift)
    assert np.sqrt(np.mean((aligned - theta) ** 2, 0) / theta.var(0)).max() < 0.15
    assert match.value < 0


def test_permutation_is_an_option():
    theta = sawtooth(512, 0)
    swapped = theta[:, ::-1]
    assert shape_score(swapped, theta) < 0.01
    assert shape_score(swapped, theta, permute=False) > 0.1


def test_score_rises_with_rotation():
    rng = np.random.default_rng(0)
    theta = rng.choice([-1.0, 1.0], (512, 2)) + 0.5 * rng.standard_normal((512, 2))
    values = [shape_score(3 * rotated(theta, angle) + 1, theta) for angle in (0, 20, 45)]
    assert values[0] < 0.01
    assert np.all(np.diff(values) > 0.1)
    # a rotation by a right angle is a permutation with signs
    assert shape_score(rotated(theta, 90), theta) == pytest.approx(values[0], abs=0.03)


def test_independent_samples_score_like_paired_ones():
    theta = sawtooth(512, 0)
    assert shape_score(5 - 2 * sawtooth(512, 1), theta) == pytest.approx(
        shape_score(theta, theta), abs=0.1
    )


def test_more_starts_never_score_worse():
    rng = np.random.default_rng(4)
    theta = sawtooth(128, 2)
    z = rotated(theta, 30) + 0.1 * rng.standard_normal(theta.shape)
    values = [shape_score(z, theta, n_starts=n) for n in (1, 2, 8)]
    assert values[0] >= values[1] >= values[2]


def test_four_latents_are_matched_through_their_correlations():
    rng = np.random.default_rng(5)
    theta = rng.gamma([0.5, 1.0, 2.0, 4.0], size=(400, 4))
    match = shape_match(-theta[:, [2, 0, 3, 1]], theta, n_starts=1)
    assert match.permutation.tolist() == [1, 3, 0, 2]
    assert (match.scale < 0).all()
    assert match.value < 0.05


def test_shape_score_refuses_what_it_cannot_compare():
    theta = sawtooth(64, 0)
    with pytest.raises(DataError, match="n_starts"):
        shape_score(theta, theta, n_starts=0)
    with pytest.raises(DataError, match="at least 8"):
        shape_score(theta[:7], theta[:7])
    with pytest.raises(DataError, match="k must be"):
        shape_score(theta, theta, k=63)


def test_many_latents_are_matched_by_scale_shift_sign_and_order():
    """Six factors, no two of one shape; the fit may not be worse than the truth."""
    rng = np.random.default_rng(0)
    theta = np.sign(rng.normal(size=(600, 6))) * np.arange(6) / 2 + rng.normal(size=(600, 6))
    theta = 5 + theta * 2.0 ** np.arange(6)
    order, signs = rng.permutation(6), np.array([1, -1, 1, 1, -1, -1])
    z = np.empty_like(theta)
    # distorted, so that the start, equal means and variances, is not the answer
    bent = theta + 0.3 * np.exp((theta - theta.mean(0)) / theta.std(0))
    z[:, order] = signs * bent / 3 - 7
    found = shape_match(z, theta)
    np.testing.assert_array_equal(found.permutation, order)
    np.testing.assert_array_equal(np.sign(found.scale), signs)
    chosen = z[:, order]
    start = (chosen - chosen.mean(0)) * signs / chosen.std(0) * theta.std(0) + theta.mean(0)
    assert found.value < paired_divergence(start, theta) - 0.02
    matched = found.scale * (chosen - found.shift)
    assert found.value == pytest.approx(paired_divergence(matched, theta), abs=1e-9)


def paired_divergence(y, theta, k=5):
    """The estimate of eq. 7 by hand, in standardised coordinates; no point sees its own latents."""
    y, theta = (y - theta.mean(0)) / theta.std(0), (theta - theta.mean(0)) / theta.std(0)
    far = lambda points: np.sort(  # noqa: E731
        np.linalg.norm(points[None] - theta[:, None], axis=-1) + np.diag(np.full(len(y), np.inf)), 1
    )
    own, other = far(theta), far(y)
    radius = np.maximum(own[:, k - 1], other[:, k - 1])[:, None]
    counts = [(table <= radius).sum(1) for table in (own, other)]
    rows = np.arange(len(y))
    rho, nu = (table[rows, count - 1] for table, count in zip((own, other), counts, strict=True))
    ratio = theta.shape[1] * np.log(nu / rho) + digamma(counts[0]) - digamma(counts[1])
    return float(ratio.mean())

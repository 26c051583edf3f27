"""Intervals against published or closed values, and angles that were put in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dvae.analysis.statistics import bootstrap_interval, rotation_angle, trend, wilson_interval
from dvae.errors import DataError


@pytest.mark.parametrize(("successes", "trials"), [(0, 50), (5, 50), (25, 50), (50, 50), (1, 1)])
def test_wilson_interval_solves_its_equation(successes, trials):
    """Its bounds are where |p - successes / trials| is 1.96 standard errors at p."""
    quantile = stats.norm.ppf(0.975)
    for bound in wilson_interval(successes, trials):
        error = np.sqrt(bound * (1 - bound) / trials)
        assert abs(bound - successes / trials) == pytest.approx(quantile * error, abs=1e-9)


def test_wilson_interval_widens_with_confidence():
    low, high = wilson_interval(5, 50, 0.95)
    wider = wilson_interval(5, 50, 0.99)
    assert wider.low < low < 0.1 < high < wider.high


@pytest.mark.parametrize("arguments", [(3, 2), (-1, 2), (0, 0), (1.5, 3), (1, 2, 1.0), (1, 2, 0.0)])
def test_impossible_proportions_are_refused(arguments):
    with pytest.raises(DataError):
        wilson_interval(*arguments)


def test_bootstrap_interval_is_close_to_students_for_gaussian_values():
    values = np.random.default_rng(0).normal(3, 2, 200)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    found = bootstrap_interval(values)
    assert found.low == pytest.approx(expected.low, abs=0.04)
    assert found.high == pytest.approx(expected.high, abs=0.04)
    assert found == bootstrap_interval(values)  # same seed
    assert found != bootstrap_interval(values, seed=1)


def test_bootstrap_interval_of_equal_values_is_that_value():
    assert bootstrap_interval([0.3, 0.3, 0.3]) == (0.3, 0.3)
    with pytest.raises(DataError, match="values"):
        bootstrap_interval([0.3])
    with pytest.raises(DataError, match="finite"):
        bootstrap_interval([0.3, np.nan])


def test_trend_by_hand():
    # of the 6 pairs of (1, 2, 3, 4) and (1, 3, 2, 4), 5 rise and 1 falls
    assert trend([1, 2, 3, 4], [1, 3, 2, 4]).tau == pytest.approx(4 / 6)
    assert trend(range(6), range(6)).p_value == pytest.approx(2 / 720)  # 2 of 6! orders
    assert trend([1, 2, 3], [5, 5, 5]) == (0, 1)
    with pytest.raises(DataError, match="pair up"):
        trend([1, 2, 3], [1, 2, 3, 4])


# --- Angles ---------------------------------------------------------------------------------

SIGNED_PERMUTATIONS = [
    np.array(rows, dtype=float)
    for rows in ([[1, 0], [0, 1]], [[0, 1], [1, 0]], [[-1, 0], [0, 1]], [[0, -1], [1, 0]])
]
# A lattice with the symmetry of a square: any rotation of it has uncorrelated coordinates.
LATTICE = np.stack(np.meshgrid(np.arange(-3.0, 4), np.arange(-3.0, 4)), -1).reshape(-1, 2)


@pytest.mark.parametrize("permutation", SIGNED_PERMUTATIONS)
@pytest.mark.parametrize(
    ("turned", "expected"),
    [(0, 0), (10, 10), (44, 44), (-30, -30), (50, -40), (100, 10), (170, -10), (-45, 45)],
)
def test_angle_modulo_flips_and_swaps_of_the_latents(permutation, turned, expected):
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    turn = np.array([[c, -s], [s, c]])
    z = LATTICE @ turn.T @ permutation.T * [3.0, 0.1] + [5.0, 0.0]
    found = rotation_angle(z, LATTICE * [1.0, 7.0] - 2)
    if abs(expected) == 45:  # rounding may fall on either side of the seam
        assert abs(found) == pytest.approx(45)
    else:
        assert found == pytest.approx(expected)


def test_angle_stays_in_its_range():
    rng = np.random.default_rng(0)
    angles = [rotation_angle(rng.normal(size=(8, 2)), rng.normal(size=(8, 2))) for _ in range(200)]
    assert min(angles) > -45
    assert max(angles) <= 45
    assert np.std(angles) == pytest.approx(90 / np.sqrt(12), rel=0.15)  # uniform


def test_angle_of_a_finite_gaussian_sample_is_recovered_to_sampling_error():
    theta = np.random.default_rng(0).standard_normal((512, 2))
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    assert rotation_angle(theta @ np.array([[c, -s], [s, c]]).T, theta) == pytest.approx(20, abs=2)


def test_angle_is_for_two_latents_that_vary():
    assert np.isnan(rotation_angle(LATTICE * [1, 0], LATTICE))
    with pytest.raises(DataError, match="2 latents"):
        rotation_angle(LATTICE[:, :1], LATTICE)

"""Intervals against published or closed values, and angles that were put in."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dvae.analysis.statistics import (
    angle_test,
    bootstrap_interval,
    compare_proportions,
    holm,
    kendall_trend,
    rotation_angle,
    wilson_interval,
)
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
    assert kendall_trend([1, 2, 3, 4], [1, 3, 2, 4]).tau == pytest.approx(4 / 6)
    assert kendall_trend(range(6), range(6)).p_value == pytest.approx(2 / 720)  # 2 of 6! orders
    assert kendall_trend([1, 2, 3], [5, 5, 5]) == (0, 1)
    with pytest.raises(DataError, match="pair up"):
        kendall_trend([1, 2, 3], [1, 2, 3, 4])


def test_fishers_test_by_hand():
    # the lady tasting tea: 3 of 4 against 1 of 4; of C(8, 4) = 70 tables 16 + 16 + 1 + 1 are as
    # extreme, all but the 36 with 2 and 2
    found = compare_proportions(3, 4, 1, 4)
    assert found.p_value == pytest.approx(34 / 70)
    assert found.difference == pytest.approx(0.5)
    # 4 of 4 against 0 of 4: the 2 most extreme tables
    assert compare_proportions(0, 4, 4, 4).p_value == pytest.approx(2 / 70)


def test_equal_proportions_do_not_differ():
    found = compare_proportions(25, 50, 25, 50)
    assert found.p_value == 1
    assert found.difference == 0
    assert found.low == pytest.approx(-found.high)
    assert compare_proportions(0, 50, 0, 50).p_value == 1


def test_interval_of_a_difference_is_newcombes():
    # Newcombe 1998, table II, method 10: 56/70 - 48/80 and 9/10 - 3/10
    found = compare_proportions(56, 70, 48, 80)
    assert found.low == pytest.approx(0.0524, abs=1e-4)
    assert found.high == pytest.approx(0.3339, abs=1e-4)
    found = compare_proportions(9, 10, 3, 10)
    assert found.low == pytest.approx(0.1705, abs=1e-4)
    assert found.high == pytest.approx(0.8090, abs=1e-4)


def test_swapping_the_proportions_turns_the_interval_round():
    one, other = compare_proportions(9, 10, 3, 10), compare_proportions(3, 10, 9, 10)
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low))
    assert one.p_value == other.p_value
    with pytest.raises(DataError):
        compare_proportions(3, 2, 1, 4)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1 = 0.04, 0.06, 0.06, 0.04, never falling
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1, 1])
    assert holm([0.03]) == pytest.approx([0.03])
    assert holm([]).shape == (0,)
    with pytest.raises(DataError, match="between 0 and 1"):
        holm([0.1, 1.2])


def test_holm_keeps_the_error_rate_of_the_family():
    """Of 2000 families of 9 true hypotheses about 5 % have a rejection at 5 %, and not 37 %."""
    p = np.random.default_rng(0).uniform(size=(2000, 9))
    share = np.mean([holm(row).min() < 0.05 for row in p])
    assert share == pytest.approx(1 - (1 - 0.05 / 9) ** 9, abs=0.015)
    assert np.mean(p.min(1) < 0.05) > 0.3


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


def test_uniform_angles_are_not_taken_for_crowded_ones():
    rng = np.random.default_rng(0)
    p_values = [angle_test(rng.uniform(-45, 45, 50)).p_value for _ in range(400)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("center", [0.0, 20.0, -30.0, 45.0])
def test_center_of_crowded_angles_wherever_it_is(center):
    spread = np.linspace(-12, 12, 49)
    found = angle_test(rotated := (center + spread + 45) % 90 - 45)
    assert abs((found.center - center + 45) % 90 - 45) == pytest.approx(0, abs=1e-9)
    # mean of cos(4 x) over the spread, by hand
    assert found.concentration == pytest.approx(np.cos(np.radians(4 * spread)).mean())
    assert found.p_value < 0.05
    assert angle_test(rotated + 90 * np.arange(49)) == pytest.approx(found)


def test_two_angles_by_hand():
    # distances 15 and 30 of 45: the step function is off the diagonal by a third at most
    found = angle_test([15.0, -30.0])
    assert found.p_value == pytest.approx(stats.kstwo.sf(1 / 3, 2))
    with pytest.raises(DataError, match="angles"):
        angle_test([np.nan, 1.0])

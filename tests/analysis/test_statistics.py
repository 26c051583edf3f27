"""Intervals and tests against published or closed values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dvae.analysis.statistics import (
    bootstrap_interval,
    compare_proportions,
    comparison_power,
    holm,
    kendall_trend,
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
@pytest.mark.wrong_types
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


def test_power_is_the_share_of_simulated_experiments_that_find_the_difference():
    rng = np.random.default_rng(0)
    first, other = rng.binomial(12, 0.2, 4000), rng.binomial(9, 0.7, 4000)
    pairs = set(zip(first.tolist(), other.tolist(), strict=True))
    found = {(a, b): compare_proportions(a, 12, b, 9).p_value < 0.05 for a, b in pairs}
    simulated = np.mean([found[pair] for pair in zip(first.tolist(), other.tolist(), strict=True)])
    assert comparison_power(0.2, 12, 0.7, 9) == pytest.approx(simulated, abs=0.02)


def test_power_in_closed_form():
    # certain counts 0 of 4 and 4 of 4 have p = 2 / 70; of 3 and 3 it is 2 / 20
    assert comparison_power(0.0, 4, 1.0, 4) == pytest.approx(1)
    assert comparison_power(0.0, 3, 1.0, 3) == 0
    # found from 6 of 50 on (p = 0.027; 5 of 50 has 0.056): the paper's own counts of M1
    assert comparison_power(0.1, 50, 0.0, 50) == pytest.approx(stats.binom.sf(5, 50, 0.1))
    assert comparison_power(0.3, 50, 0.3, 50) < 0.05
    with pytest.raises(DataError, match="between 0 and 1"):
        comparison_power(1.2, 50, 0.0, 50)

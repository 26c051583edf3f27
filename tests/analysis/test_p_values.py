"""p-values against those of scipy.stats, over every case that it treats differently."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from dvae.analysis.p_values import binomial_exceeds, fisher, kendall, mann_whitney
from dvae.errors import DataError

SIDES = ("two-sided", "less", "greater")
CLOSE = 1e-10  # both sum a few hundred terms in double precision


@pytest.mark.parametrize(("trials", "share"), [(1, 0.3), (7, 0.5), (48, 0.2587)])
def test_binomial_probability_of_so_many_or_more(trials, share):
    for successes in range(trials + 1):
        expected = stats.binomtest(successes, trials, share, "greater").pvalue
        assert binomial_exceeds(successes, trials, share) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("side", SIDES)
def test_fisher_of_every_small_table(side):
    tables = itertools.product(range(4), repeat=4)
    large = [(25, 25, 5, 45), (0, 50, 5, 45), (17, 33, 17, 33)]
    for a, b, c, d in [*tables, *large]:
        expected = stats.fisher_exact([[a, b], [c, d]], side).pvalue
        assert fisher([[a, b], [c, d]], side) == pytest.approx(min(expected, 1.0), rel=CLOSE)


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("sizes", [(3, 4), (8, 30), (30, 5), (9, 9), (10, 60)])
@pytest.mark.parametrize("levels", [None, 6])
def test_mann_whitney(side, sizes, levels):
    generator = np.random.default_rng(len(side))
    for shift in (0.0, 1.0, 30.0):
        x, y = (generator.standard_normal(size) for size in sizes)
        x = x + shift
        if levels:
            x, y = np.round(x * levels / 4), np.round(y * levels / 4)
        expected = stats.mannwhitneyu(x, y, alternative=side).pvalue
        assert mann_whitney(x, y, side) == pytest.approx(expected, rel=CLOSE)


@pytest.mark.parametrize("n", [3, 4, 10, 33, 34, 60])
@pytest.mark.parametrize("levels", [None, 3])
def test_kendall(n, levels):
    generator = np.random.default_rng(n)
    for slope in (0.0, 1.0, -30.0):
        x = np.arange(n) if levels is None else np.arange(n) * levels // n
        y = slope * x + generator.standard_normal(n)
        y = y if levels is None else np.round(y)
        y[0] += 0.1 * (np.ptp(y) == 0)
        expected = stats.kendalltau(x, y)
        assert kendall(x, y) == pytest.approx(tuple(expected), rel=CLOSE)


def test_integers_of_any_kind_are_numbers():
    small, large = np.array([1, 2, 3], np.uint8), np.array([4, 5, 6], np.uint8)
    assert mann_whitney(small, large, "less") == pytest.approx(0.05)
    assert kendall(small, large[::-1])[0] == pytest.approx(-1)


def test_what_is_not_finite_is_refused():
    x = np.array([1.0, 2.0, np.nan])
    for test in (mann_whitney, kendall):
        with pytest.raises(DataError, match="NaN or infinity"):
            test(x, np.arange(3.0))

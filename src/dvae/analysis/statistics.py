"""Intervals and tests over trials, and trends."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, SupportsInt

import numpy as np
from jaxtyping import Float, Num
from scipy.special import ndtri

from dvae.analysis.p_values import fisher, kendall
from dvae.errors import DataError

__all__ = [
    "Comparison",
    "Interval",
    "Trend",
    "bootstrap_interval",
    "compare_proportions",
    "compare_ranges",
    "comparison_power",
    "holm",
    "kendall_trend",
    "share_text",
    "wilson_interval",
]

Values = Num[np.ndarray, " trial"] | Sequence[float]


class Interval(NamedTuple):
    """Confidence interval."""

    low: float
    high: float


class Trend(NamedTuple):
    """Kendall's rank correlation and the two-sided p-value of no trend."""

    tau: float
    p_value: float


class Comparison(NamedTuple):
    """Difference of two proportions, its interval, and the two-sided p-value of no difference."""

    difference: float
    low: float
    high: float
    p_value: float


def finite_values(values: Values, name: str, at_least: int) -> Float[np.ndarray, " trial"]:
    """Values as an array, if they are at least so many finite numbers (DataError otherwise)."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or len(array) < at_least or not np.isfinite(array).all():
        raise DataError(f"{name} must hold at least {at_least} finite numbers, got {values!r}")
    return array


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise DataError(f"confidence must lie between 0 and 1, got {confidence}")


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's interval of a proportion, which holds near 0 and 1 and for few trials.

    Parameters
    ----------
    successes, trials : int
        0 <= successes <= trials, trials at least 1.
    confidence : float
        Coverage, between 0 and 1.

    Returns
    -------
    Interval
        Bounds of the proportion, within [0, 1].

    Raises
    ------
    DataError
        If the numbers are out of range.

    References
    ----------
    Wilson, J. Amer. Statist. Assoc. 22 (1927) 209.

    Examples
    --------
    >>> wilson_interval(9, 10)
    Interval(low=0.596, high=0.982)
    """
    _check_confidence(confidence)
    whole = int(successes) == successes and int(trials) == trials
    if not whole or not 0 <= successes <= trials or trials < 1:
        raise DataError(f"{successes} successes in {trials} trials is impossible")
    p, n, z = successes / trials, int(trials), float(ndtri(0.5 + 0.5 * confidence))
    center = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # at none and at all the bound is 0 and 1, but for rounding
    low = center - reach if successes > 0 else 0.0
    return Interval(low, center + reach if successes < trials else 1.0)


def share_text(count: SupportsInt, total: SupportsInt) -> str:
    """A count with the 95 % interval of its share (Wilson): "3 of 50 (2 to 16 %)"."""
    count, total = int(count), int(total)  # xarray's and numpy's numbers say more than digits
    low, high = (100 * bound for bound in wilson_interval(count, total))
    return f"{count} of {total} ({low:.0f} to {high:.{0 if high >= 1 else 1}f} %)"


def compare_proportions(
    successes: int, trials: int, other_successes: int, other_trials: int, confidence: float = 0.95
) -> Comparison:
    """Do two proportions differ? Fisher's exact test, and Newcombe's interval of the difference.

    Parameters
    ----------
    successes, trials : int
        0 <= successes <= trials, trials at least 1.
    other_successes, other_trials : int
        The same of the proportion that is subtracted.
    confidence : float
        Coverage of the interval, between 0 and 1.

    Returns
    -------
    Comparison
        Difference, bounds (from the two Wilson intervals) and the two-sided p-value, not
        corrected for other comparisons (see :func:`holm`).

    Raises
    ------
    DataError
        If the numbers are out of range.

    References
    ----------
    Fisher, J. Roy. Statist. Soc. 85 (1922) 87; Newcombe, Statist. Med. 17 (1998) 873, method 10.
    """
    first = wilson_interval(successes, trials, confidence)
    other = wilson_interval(other_successes, other_trials, confidence)
    p, q = successes / trials, other_successes / other_trials
    table = [
        [int(successes), int(trials - successes)],
        [int(other_successes), int(other_trials - other_successes)],
    ]
    return Comparison(
        p - q,
        float(p - q - np.hypot(p - first.low, other.high - q)),
        float(p - q + np.hypot(first.high - p, q - other.low)),
        fisher(table),
    )


def comparison_power(
    share: float, trials: int, other_share: float, other_trials: int, significance: float = 0.05
) -> float:
    """Probability that Fisher's exact test tells two shares apart, by summing over all counts.

    Parameters
    ----------
    share, other_share : float
        The true shares, between 0 and 1.
    trials, other_trials : int
        At least 1.
    significance : float
        p-values below this count.

    Returns
    -------
    float
        Between 0 and 1; where the shares are equal, the probability of a false alarm.

    Raises
    ------
    DataError
        If a number is out of range.

    Examples
    --------
    >>> round(comparison_power(0.0, 20, 0.5, 20), 3)
    0.994
    """
    if min(trials, other_trials) < 1 or not (0 <= share <= 1 and 0 <= other_share <= 1):
        raise DataError(
            f"power needs shares between 0 and 1 and at least 1 trial, got {share} of {trials} "
            f"and {other_share} of {other_trials}"
        )
    from scipy import stats  # takes long: not for `dvae claims`

    power = 0.0
    for total in range(trials + other_trials + 1):
        first = np.arange(max(0, total - other_trials), min(trials, total) + 1)
        given = stats.hypergeom.pmf(first, trials + other_trials, total, trials)
        p_values = np.array([given[given <= own * (1 + 1e-7)].sum() for own in given])
        joint = stats.binom.pmf(first, trials, share)
        joint = joint * stats.binom.pmf(total - first, other_trials, other_share)
        power += float(joint[p_values < significance].sum())
    return power


def holm(p_values: Values) -> Float[np.ndarray, " trial"]:
    """Holm's correction: p-values that may be compared with one level for a family of tests.

    With the p-values in rising order, the adjusted ones are the running maximum of
    (m - k + 1) p_(k), at most 1: rejecting those below a level makes any false rejection in the
    family less probable than that level, whatever the tests have in common.

    Parameters
    ----------
    p_values : sequence of float
        p-values of the family, between 0 and 1; may be empty.

    Returns
    -------
    array
        Adjusted p-values, in the order given.

    Raises
    ------
    DataError
        If a p-value is not between 0 and 1.

    References
    ----------
    Holm, Scand. J. Statist. 6 (1979) 65.
    """
    p = finite_values(p_values, "p_values", 0)
    if ((p < 0) | (p > 1)).any():
        raise DataError(f"p_values must lie between 0 and 1, got {p_values!r}")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    steps = np.arange(len(p), 0, -1) * p[order]
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def bootstrap_interval(
    values: Values, confidence: float = 0.95, n_resamples: int = 9999, seed: int = 0
) -> Interval:
    """Bootstrap interval (bias-corrected and accelerated) of the mean over trials.

    Parameters
    ----------
    values : sequence of float
        One value per trial, at least 2.
    confidence : float
        Coverage, between 0 and 1.
    n_resamples : int
        Bootstrap samples.
    seed : int
        Seed of the resampling.

    Returns
    -------
    Interval
        Bounds of the mean, in the unit of the values; both equal it if all values are equal.

    Raises
    ------
    DataError
        If there are fewer than 2 values, one is not finite, or the confidence is out of range.
    """
    _check_confidence(confidence)
    array = finite_values(values, "values", 2)
    if np.ptp(array) == 0:
        return Interval(float(array[0]), float(array[0]))
    from scipy import stats  # takes long: not for `dvae claims`

    result = stats.bootstrap(
        (array,), np.mean, confidence_level=confidence, n_resamples=n_resamples, random_state=seed
    )
    return Interval(*(float(bound) for bound in result.confidence_interval))


def kendall_trend(x: Values, y: Values) -> Trend:
    """Does y rise or fall with x? Kendall's tau-b with its p-value.

    Parameters
    ----------
    x, y : sequence of float
        One pair per trial, at least 3.

    Returns
    -------
    Trend
        tau from -1 (falls always) to 1 (rises always), and the p-value. (0, 1) if x or y is
        constant.

    Raises
    ------
    DataError
        If there are fewer than 3 pairs, the lengths differ, or a value is not finite.
    """
    x, y = finite_values(x, "x", 3), finite_values(y, "y", 3)
    if len(x) != len(y):
        raise DataError(f"x and y must pair up, got {len(x)} and {len(y)} values")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Trend(0.0, 1.0)
    return Trend(*kendall(x, y))


def compare_ranges(reference: Values, other: Values) -> str:
    """How a network's test errors lie: "better", "worse" or "overlap", by separated ranges.

    "better" if the worst run of ``reference`` has a smaller error than the best of ``other``. Of
    two networks that are equally good, with three runs each, this happens in 1 of 20 comparisons:
    with so few runs no test could say more.
    """
    reference, other = np.asarray(reference), np.asarray(other)
    if not (np.isfinite(reference).all() and np.isfinite(other).all()):
        return "overlap"
    if reference.max() < other.min():
        return "better"
    return "worse" if reference.min() > other.max() else "overlap"

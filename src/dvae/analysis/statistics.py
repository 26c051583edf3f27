"""Intervals and tests over trials, trends, and the angle by which a latent space is rotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.linalg import orthogonal_procrustes

from dvae.analysis._checks import Latents, Samples, as_pair, varying
from dvae.errors import DataError

__all__ = [
    "AngleTest",
    "Comparison",
    "Interval",
    "Trend",
    "angle_test",
    "bootstrap_interval",
    "compare_proportions",
    "holm",
    "kendall_trend",
    "rotation_angle",
    "wilson_interval",
]

Values = Float[np.ndarray, " trial"] | Sequence[float]


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


class AngleTest(NamedTuple):
    """Where rotation angles crowd (degrees), how much (0 to 1), and p of a uniform rotation."""

    center: float
    concentration: float
    p_value: float


def _values(values: Values, name: str, at_least: int) -> Float[np.ndarray, " trial"]:
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
    Wilson, J. Amer. Statist. Assoc. 22 (1927) 209; ``scipy.stats.binomtest``.
    """
    _check_confidence(confidence)
    whole = int(successes) == successes and int(trials) == trials
    if not whole or not 0 <= successes <= trials or trials < 1:
        raise DataError(f"{successes} successes in {trials} trials is impossible")
    interval = stats.binomtest(int(successes), int(trials)).proportion_ci(confidence, "wilson")
    return Interval(float(interval.low), float(interval.high))


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
        min(1.0, float(stats.fisher_exact(table).pvalue)),
    )


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
    p = _values(p_values, "p_values", 0)
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
    array = _values(values, "values", 2)
    if np.ptp(array) == 0:
        return Interval(float(array[0]), float(array[0]))
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
    x, y = _values(x, "x", 3), _values(y, "y", 3)
    if len(x) != len(y):
        raise DataError(f"x and y must pair up, got {len(x)} and {len(y)} values")
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Trend(0.0, 1.0)
    result = stats.kendalltau(x, y)
    return Trend(float(result.statistic), float(result.pvalue))


def rotation_angle(z: Latents, theta: Samples) -> float:
    """Angle in degrees by which two latents are rotated against the two factors (section 5.3).

    Latents and factors are standardised one by one, and the orthogonal map from factors to
    latents is fitted by least squares (Procrustes). Flips and swaps of the latents do not matter
    to disentanglement, so the angle counts modulo 90 degrees: z = P R(angle) theta with a signed
    permutation P, R counter-clockwise. 0 is disentangled, 45 as entangled as two latents get.

    Parameters
    ----------
    z : array or tensor of shape (N, 2)
        Latents.
    theta : array or tensor of shape (N, 2)
        Factors of the same samples.

    Returns
    -------
    float
        Degrees in (-45, 45]. NaN if a latent is constant.

    Raises
    ------
    DataError
        If z or theta is not of shape (N, 2), a value is invalid or a factor is constant.

    Notes
    -----
    Invariant to shift, scale, sign and order of the latents. Standardising hides a rotation that
    a later stretching of the latents made oblique; latents that are a rotation of independent
    factors of equal variance are recovered to sampling error.
    """
    z, theta = as_pair(z, theta)
    if z.shape[1] != 2 or theta.shape[1] != 2:
        raise DataError(
            f"rotation_angle is for 2 latents and 2 factors, got {z.shape[1]} and {theta.shape[1]}"
        )
    if not varying(z).all():
        return float("nan")
    z, theta = stats.zscore(z, axis=0), stats.zscore(theta, axis=0)
    matrix = orthogonal_procrustes(theta, z)[0].T  # z = matrix theta
    if np.linalg.det(matrix) < 0:
        matrix = np.diag([1.0, -1.0]) @ matrix
    angle = np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0]))
    return float(45.0 - (45.0 - angle) % 90.0)


def angle_test(angles: Values) -> AngleTest:
    """Are rotation angles uniform, and if not, where do they crowd?

    A rotation by a uniformly random angle gives uniform angles modulo 90 degrees, so their
    distances from the nearest axis are uniform between 0 and 45. The p-value is that
    of Kolmogorov's and Smirnov's two-sided test of these distances. The centre is a quarter of
    the mean direction of four times the angle, and the concentration the length of the mean
    vector: 1 if all angles agree, about n^(-1/2) if n angles are uniform.

    Parameters
    ----------
    angles : sequence of float
        Degrees, modulo 90, one a run, at least 2; from :func:`rotation_angle`.

    Returns
    -------
    AngleTest
        ``center`` in (-45, 45], ``concentration`` and ``p_value``.

    Raises
    ------
    DataError
        If there are fewer than 2 angles or one is not finite.
    """
    values = _values(angles, "angles", 2)
    mean = np.exp(4j * np.radians(values)).mean()
    distance = np.abs(45.0 - (45.0 - values) % 90.0)
    p_value = stats.kstest(distance, stats.uniform(0, 45).cdf).pvalue
    return AngleTest(float(np.degrees(np.angle(mean))) / 4, float(abs(mean)), float(p_value))


def compare_ranges(reference: np.ndarray, other: np.ndarray) -> str:
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

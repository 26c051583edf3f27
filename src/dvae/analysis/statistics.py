"""Intervals over trials, trends, and the angle by which a latent space is rotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats
from scipy.linalg import orthogonal_procrustes

from dvae.analysis._checks import Latents, Samples, as_pair, varying
from dvae.errors import DataError

__all__ = ["Interval", "Trend", "bootstrap_interval", "rotation_angle", "trend", "wilson_interval"]

Values = Float[np.ndarray, " trial"] | Sequence[float]


class Interval(NamedTuple):
    """Confidence interval."""

    low: float
    high: float


class Trend(NamedTuple):
    """Kendall's rank correlation and the two-sided p-value of no trend."""

    tau: float
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


def trend(x: Values, y: Values) -> Trend:
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

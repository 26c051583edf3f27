"""Local minima of a curve and the barrier on a line (sections 4.2 and 5.2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from dvae.errors import DataError

__all__ = ["Minima", "barrier", "local_minima", "strict_minima"]


class Minima(NamedTuple):
    """Strict local minima of a curve: positions, climbs, and the standard errors of the climbs."""

    index: Int[np.ndarray, " minimum"]  # type: ignore[assignment]  # takes tuple.index's name
    climb: Float[np.ndarray, " minimum"]
    error: Float[np.ndarray, " minimum"]


class _Climbs(NamedTuple):
    """Minima of a curve, the tops of the ways out on either side, and the least rise to a top."""

    index: Int[np.ndarray, " minimum"]  # type: ignore[assignment]  # takes tuple.index's name
    left: Int[np.ndarray, " minimum"]
    right: Int[np.ndarray, " minimum"]
    climb: Float[np.ndarray, " minimum"]


def _climbs(curve: Float[np.ndarray, " point"]) -> _Climbs:
    """Points below both neighbours, or in the middle of a plateau below both its sides.

    The way out to a side ends where the curve falls below the minimum, or with the curve. What
    ``scipy.signal.find_peaks`` finds, which takes a second to import.
    """
    starts = np.flatnonzero(np.r_[True, curve[1:] != curve[:-1]])
    level = curve[starts]  # of every plateau
    low = 1 + np.flatnonzero((level[1:-1] < level[:-2]) & (level[1:-1] < level[2:]))
    index = (starts[low] + np.r_[starts, len(curve)][low + 1] - 1) // 2
    left, right = np.empty_like(index), np.empty_like(index)
    for i, at in enumerate(index):
        below = np.flatnonzero(curve < curve[at])
        first = below[below < at].max(initial=-1) + 1
        last = below[below > at].min(initial=len(curve))
        left[i] = at - curve[first : at + 1][::-1].argmax()  # the nearest of equal tops
        right[i] = at + curve[at:last].argmax()
    climb = np.minimum(curve[left], curve[right]) - curve[index]
    return _Climbs(index, left, right, climb)


def strict_minima(
    losses: Float[np.ndarray, "*draw point"] | Sequence[float],
    n_sigma: float = 3.0,
    resolution: float = 1e-5,
) -> Minima:
    """Strict local minima of a loss along a line, beyond Monte-Carlo noise.

    The criterion: (1) the loss, averaged over the draws, is below that of both neighbours, or of
    both sides of a plateau; the ends of the line do not count. (2) Its *climb* (topographic
    prominence), the least rise on the way to a lower loss or to an end of the line, exceeds
    ``n_sigma`` times its standard error. Draws are common to all points, so this is the standard
    error over draws of the paired difference between the top of the climb and the minimum. (3) The
    climb exceeds ``resolution`` times the larger of 1 and the absolute loss, so that rounding is
    not counted. Losses that are not finite count as infinitely high.

    Parameters
    ----------
    losses : array (point,) or (draw, point)
        Loss, for every latent draw if there are several.
    n_sigma : float
        Threshold in standard errors; without draws only (1) and (3) are asked.
    resolution : float
        Least climb relative to the loss.

    Returns
    -------
    Minima
        Indices of the points, by position; climbs and errors in the loss's unit.

    Raises
    ------
    DataError
        If there are fewer than 3 points.
    """
    draws = np.atleast_2d(np.asarray(losses, dtype=float))
    if draws.ndim != 2 or draws.shape[1] < 3:
        raise DataError(f"a curve needs at least 3 points, got losses of shape {draws.shape}")
    mean = draws.mean(0)
    finite = np.isfinite(mean)
    top = mean[finite].max(initial=0.0)
    curve = np.where(finite, mean, top + 1 + abs(top))
    index, left, right, climb = _climbs(curve)
    error = np.zeros(len(index))
    if len(draws) > 1:
        bases = np.stack([left, right])
        # the lower of the two tops limits the climb
        passes = bases[curve[bases].argmin(0), np.arange(len(index))] if len(index) else index
        difference = np.where(finite[passes], draws[:, passes] - draws[:, index], 0.0)
        error = difference.std(0, ddof=1) / math.sqrt(len(draws))
    keep = (climb > n_sigma * error) & (climb > resolution * np.maximum(1.0, np.abs(curve[index])))
    return Minima(index[keep], climb[keep], error[keep])


def local_minima(curve: xr.Dataset, variable: str = "rate", prominence: float = 0.05) -> xr.Dataset:
    """Local minima of a rotation curve.

    The criterion: the value is below that of both neighbouring angles, and to reach a lower
    minimum from it the curve must climb by more than ``prominence`` times its range, and, for the
    rate, by more than three times the largest ``rate_error``. An end of the curve is never a
    minimum, and the climb goes no further than the curve; a curve that covers the whole circle
    (equal steps, with or without the last angle that repeats the first) has no ends.

    Parameters
    ----------
    curve : xarray.Dataset
        From :func:`~dvae.analysis.rates.rotation_curve`, with increasing angles.
    variable : str
        Variable to search.
    prominence : float
        Least climb as a share of the curve's range, from 0 to 1.

    Returns
    -------
    xarray.Dataset
        Dimension ``angle`` (degrees) over the minima, by increasing angle; variables
        ``variable`` and ``prominence`` (its unit). Empty for a flat curve.

    Raises
    ------
    DataError
        If the variable is missing, there are fewer than 3 angles, or they do not increase.
    """
    if variable not in curve:
        raise DataError(f"the curve has no variable {variable!r}, only {list(curve.data_vars)}")
    angle, value = curve["angle"].values, curve[variable].values
    if len(angle) < 3 or not (np.diff(angle) > 0).all():
        raise DataError("a curve needs at least 3 increasing angles")
    least = max(prominence * np.ptp(value), 1e-6 * np.abs(value).max())  # above float32 rounding
    if variable == "rate" and "rate_error" in curve:
        least = max(least, 3 * float(curve["rate_error"].max()))
    if np.isclose(angle[-1] - angle[0], 360):
        angle, value = angle[:-1], value[:-1]
    n = len(angle)
    circle = np.allclose(np.diff(angle), 360 / n)
    index, _, _, climb = _climbs(np.tile(value, 3) if circle else value)
    if circle:
        keep = (index >= n) & (index < 2 * n)
        index, climb = index[keep] - n, climb[keep]
    keep = climb > least
    index, climb = index[keep], climb[keep]
    return xr.Dataset(
        {variable: ("angle", value[index]), "prominence": ("angle", climb)},
        coords={"angle": ("angle", angle[index], {"units": "degree"})},
    )


def barrier(losses: Float[np.ndarray, "*line point"]) -> Float[np.ndarray, "*line"]:
    """Height of the highest loss on a line above the higher of its two ends (0 if none is higher).

    Parameters
    ----------
    losses : array (point,) or (line, point)
        Losses, first and last point are the ends.
    """
    losses = np.asarray(losses, dtype=float)
    return np.max(losses, axis=-1) - np.maximum(losses[..., 0], losses[..., -1])

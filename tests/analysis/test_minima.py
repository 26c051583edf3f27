"""Minima of known curves, of losses with noise and of rates on a circle; barriers."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.signal import find_peaks

from dvae.analysis.minima import _climbs, barrier, local_minima, strict_minima
from dvae.errors import DataError

# --- Losses along a line ----


def test_minima_of_known_curves():
    x = np.linspace(0, 4 * np.pi, 401)
    found = strict_minima(np.cos(x))
    np.testing.assert_allclose(x[found.index], [np.pi, 3 * np.pi], atol=0.02)
    np.testing.assert_allclose(found.climb, 2.0, rtol=1e-3)
    assert len(strict_minima((x - 6) ** 2).index) == 1
    assert len(strict_minima(x).index) == len(strict_minima(-(x**2)).index) == 0
    assert len(strict_minima(np.ones(9)).index) == 0
    # an end is no minimum; a step that is only rounding is none either
    assert len(strict_minima([0.0, 1, 2, 3]).index) == 0
    assert len(strict_minima([5.0, 4.0, 4.00001, 3.0]).index) == 0
    # a tilted pair of wells: the climb of the upper one is to its nearer pass
    tilted = [3.0, 1.0, 2.0, 0.0, 5.0]
    np.testing.assert_allclose(strict_minima(tilted).climb, [1.0, 3.0])
    # values that are not finite are walls
    assert strict_minima([np.inf, 1.0, np.nan, 4.0]).index.tolist() == [1]
    with pytest.raises(DataError, match="3 points"):
        strict_minima([1.0, 2.0])


def test_minima_within_monte_carlo_noise_are_not_counted():
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 50)
    noisy = -5 * x + rng.normal(size=(10, 50))  # a slope, with noise of its own at every point
    assert len(strict_minima(noisy, n_sigma=0.0).index) > 5
    assert len(strict_minima(noisy, n_sigma=5.0).index) == 0
    common = np.cos(20 * x) * 0.01 + rng.normal(size=(10, 1))  # common noise cancels
    assert len(strict_minima(common).index) == 3


def test_barrier_of_known_lines():
    lines = np.array([[1.0, 3.0, 2.0], [1.0, 0.0, 2.0]])
    np.testing.assert_allclose(barrier(lines), [1.0, 0.0])


# --- Local minima ---------------------------------------------------------------------------


def made_up(angles: np.ndarray, values: np.ndarray, error: float = 0.0) -> xr.Dataset:
    return xr.Dataset(
        {"rate": ("angle", values), "rate_error": ("angle", np.full(len(angles), error))},
        coords={"angle": angles},
    )


def test_minima_of_a_rate_with_a_shallow_one_at_45_degrees():
    """-cos(4w) has minima at multiples of 90; -0.6 cos(8w) adds some at odd multiples of 45."""
    angles = np.arange(-90.0, 91.0, 5.0)
    w = np.radians(angles)
    values = -np.cos(4 * w) - 0.6 * np.cos(8 * w)
    found = local_minima(made_up(angles, values))
    assert found["angle"].values.tolist() == [-45, 0, 45]
    assert found["prominence"].sel(angle=0) > found["prominence"].sel(angle=45)
    assert found["rate"].sel(angle=45) == pytest.approx(1 - 0.6)
    deep = local_minima(made_up(angles, values), prominence=0.5)
    assert deep["angle"].values.tolist() == [0]


@pytest.mark.parametrize("last", [[], [180.0]])
def test_a_full_circle_has_no_ends(last):
    angles = np.concatenate([np.arange(-180.0, 180.0, 5.0), last])
    found = local_minima(made_up(angles, -np.cos(4 * np.radians(angles))))
    assert found["angle"].values.tolist() == [-180, -90, 0, 90]
    assert_allclose(found["prominence"], 2)


def test_noise_below_the_error_bars_makes_no_minimum():
    angles = np.arange(0.0, 90.0, 5.0)
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(angles))
    assert local_minima(made_up(angles, 3 + noise)).sizes["angle"] > 0
    assert local_minima(made_up(angles, 3 + noise, error=0.02)).sizes["angle"] == 0


def test_a_curve_must_be_one():
    with pytest.raises(DataError, match="no variable"):
        local_minima(made_up(np.arange(5.0), np.zeros(5)), "S_KL")
    with pytest.raises(DataError, match="increasing"):
        local_minima(made_up(np.array([0.0, 2.0, 1.0]), np.zeros(3)))


@pytest.mark.parametrize("levels", [2, 4, 1000])
def test_minima_and_their_ways_out_are_those_of_scipy(levels):
    """On curves of few levels, with plateaus and equal tops, and of many."""
    generator = np.random.default_rng(levels)
    for n in range(3, 60):
        curve = generator.integers(levels, size=n).astype(float)
        peaks, found = find_peaks(-curve, prominence=np.finfo(float).tiny)
        minima = _climbs(curve)
        np.testing.assert_array_equal(minima.index, peaks)
        np.testing.assert_array_equal(minima.left, found["left_bases"])
        np.testing.assert_array_equal(minima.right, found["right_bases"])
        np.testing.assert_array_equal(minima.climb, found["prominences"])

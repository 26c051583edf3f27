"""The k-NN divergence against closed forms and brute force; the shape score against known maps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from scipy.special import digamma
from tolerances import rounding

from dvae.analysis import divergence
from dvae.analysis.divergence import Neighbours, _weights, kl_divergence_knn
from dvae.errors import DataError

VERSIONS = ["epsilon1", "fixed-k"]
# q of the paper companion's panel: shift and standard deviation along every axis; p = N(0, I)
PANEL = {"wider": (1.0, 2.0), "slightly wider": (0.5, 1.5), "shifted": (1.0, 1.0)}


def gaussian_divergence(shift: np.ndarray, scale: np.ndarray) -> float:
    """D[N(0, I) || N(shift, diag(scale^2))] in nats."""
    return float((np.log(scale) + (1 + shift**2) / (2 * scale**2) - 0.5).sum())


def brute_force(x: np.ndarray, y: np.ndarray, k: int) -> float:
    """Version epsilon-1 from the full tables of distances, one sample at a time."""
    among_x, among_y = cdist(x, x), cdist(x, y)
    total = 0.0
    for i in range(len(x)):
        to_x, to_y = np.sort(np.delete(among_x[i], i)), np.sort(among_y[i])
        radius = max(to_x[k - 1], to_y[k - 1])
        to_x, to_y = to_x[to_x <= radius], to_y[to_y <= radius]
        total += x.shape[1] * np.log(to_y[-1] / to_x[-1]) + digamma(len(to_x)) - digamma(len(to_y))
    return total / len(x) + np.log(len(y) / (len(x) - 1))


def test_three_points_by_hand():
    x, y = np.array([[0.0], [1.0], [2.5]]), np.array([[3.0], [10.0]])
    # nearest: rho = 1, 1, 1.5 and nu = 3, 2, 0.5
    fixed = np.log([3 / 1, 2 / 1, 0.5 / 1.5]).mean() + np.log(2 / 2)
    assert kl_divergence_knn(x, y, version="fixed-k") == pytest.approx(fixed)
    # radii 3, 2, 1.5 hold l = 2, 2, 1 of x, up to 2.5, 1.5, 1.5, and k = 1 of y each
    adaptive = np.log([3 / 2.5, 2 / 1.5, 0.5 / 1.5]).mean() + 2 * (digamma(2) - digamma(1)) / 3
    assert kl_divergence_knn(x, y, version="epsilon1") == pytest.approx(adaptive)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize(("shift", "scale"), [(0, 1), (3, 0.1), (0, 20), (40, 1)])
def test_counts_in_balls_of_any_size_agree_with_brute_force(k, shift, scale):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((90, 2)), shift + scale * rng.standard_normal((200, 2))
    # A dozen operations; a difference of coordinates loses their ratio to the nearest distance.
    close = rounding(12, 1e3)
    assert kl_divergence_knn(x, y, k) == pytest.approx(brute_force(x, y, k), abs=close)


@pytest.mark.parametrize("version", [*VERSIONS, "weighted"])
def test_invariant_to_a_common_rotation_shift_and_scale(version):
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((200, 3)), 1 + 2 * rng.standard_normal((150, 3))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    moved = kl_divergence_knn(5 * x @ turn - 2, 5 * y @ turn - 2, 4, version)
    assert moved == pytest.approx(kl_divergence_knn(x, y, 4, version), abs=1e-9)


@pytest.fixture(scope="module")
def found() -> dict:
    """Neighbours that were looked up among the same samples before."""
    return {}


@pytest.fixture
def searches(found, monkeypatch):
    """Look up the neighbours of x among x once for all q: the same draws of p are used for each."""

    def search(points, queries, leave_out, k):
        if points is not queries:
            return Neighbours(points, queries, leave_out, k)
        key = points.shape, points[0, 0], k
        if key not in found:
            if any(shape != points.shape for shape, *_ in found):
                found.clear()  # those of another dimension: 80 MB
            found[key] = Neighbours(points, queries, leave_out, k)
        np.testing.assert_array_equal(found[key].queries, queries)
        return found[key]

    monkeypatch.setattr(divergence, "Neighbours", search)


@pytest.mark.parametrize(
    ("version", "name"),
    [("epsilon1", "wider")] + [("weighted", name) for name in PANEL],
)
@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_mean_over_20_draws_of_5000_is_within_5_percent(dimension, version, name, searches):
    """Every Gaussian for "weighted"; for the paper's version one that covers the tails of p."""
    shift, scale = PANEL[name]
    rng = np.random.default_rng(0)
    shape = (5000, dimension)
    estimates = [
        kl_divergence_knn(
            rng.standard_normal(shape),
            shift + scale * rng.standard_normal(shape),
            version=version,
        )
        for _ in range(20)
    ]
    exact = gaussian_divergence(np.full(dimension, shift), np.full(dimension, scale))
    assert np.mean(estimates) == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_weights_cancel_the_bias_they_are_made_for(dimension):
    """Fixed-k estimates whose bias is that of the assumed powers of the radius."""
    rng = np.random.default_rng(4)
    x, y = rng.standard_normal((60, dimension)), 2 * rng.standard_normal((70, dimension))
    estimates = [kl_divergence_knn(x, y, j, "fixed-k") for j in range(1, 9)]
    weights = _weights(8, dimension)
    assert kl_divergence_knn(x, y, 8, "weighted") == pytest.approx(weights @ estimates)
    assert weights.sum() == pytest.approx(1)
    radius = rng.gamma(np.arange(1, 9), size=(400_000, 8)) ** (1 / dimension)
    for power in (1.25, 2.5):  # a volume that holds l points of a Poisson process is Gamma(l)
        bias = (radius**power).mean(0)
        assert abs(weights @ bias) < 0.02 * bias.max()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("shift", "scale"), [(1.0, 1.0), (0.5, 1.5)])
def test_two_dimensional_gaussians(version, shift, scale):
    rng = np.random.default_rng(2)
    estimates = [
        kl_divergence_knn(
            rng.standard_normal((3000, 2)),
            shift + scale * rng.standard_normal((2000, 2)),
            2,
            version,
        )
        for _ in range(10)
    ]
    exact = gaussian_divergence(np.full(2, shift), np.full(2, scale))
    assert np.mean(estimates) == pytest.approx(exact, rel=0.08)


def test_divergence_is_not_symmetric_and_vanishes_for_equal_distributions():
    rng = np.random.default_rng(3)
    x, wide = rng.standard_normal((2000, 2)), 3 * rng.standard_normal((2000, 2))
    forward, backward = 2 * np.log(3) - 1 + 1 / 9, -2 * np.log(3) + 8
    assert kl_divergence_knn(x, wide, 3) == pytest.approx(forward, rel=0.1)
    assert backward / 4 < kl_divergence_knn(wide, x, 3) < backward  # biased low: x has light tails
    assert kl_divergence_knn(x, rng.standard_normal((2000, 2)), 3) == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize(
    ("x", "y", "options", "message"),
    [
        (np.zeros((5, 2)), np.zeros((5, 3)), {}, "dimensions"),
        (np.eye(5), np.eye(5), {"k": 5}, "k must be"),
        (np.eye(5), np.eye(5), {"k": 0}, "k must be"),
        (np.eye(5), np.eye(5), {"k": 2, "version": "weighted"}, "k must be between 3 and 4"),
        (np.eye(3), np.eye(3), {"version": "weighted"}, "at least 4 samples"),
        (np.eye(5), np.eye(5), {"version": "epsilon9"}, "version"),
        (np.arange(5.0)[:, None], np.arange(5.0)[:, None], {"version": "fixed-k"}, "coincide"),
        (np.repeat(np.arange(5.0), 2)[:, None], np.arange(5.0)[:, None], {}, "coincide"),
        (np.full((4, 1), np.inf), np.zeros((4, 1)), {}, "infinity"),
    ],
)
@pytest.mark.wrong_types
def test_bad_input_is_refused(x, y, options, message):
    with pytest.raises(DataError, match=message):
        kl_divergence_knn(x, y, **options)

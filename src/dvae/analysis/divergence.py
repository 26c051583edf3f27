"""Divergence between samples by their nearest neighbours."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.spatial import cKDTree
from scipy.special import digamma, gammaln

from dvae.analysis._checks import Samples, as_samples
from dvae.errors import DataError

__all__ = ["kl_divergence_knn"]

Version = Literal["epsilon1", "fixed-k"]
VERSIONS = ("epsilon1", "fixed-k")
_WEIGHTED_K = 100  # neighbours of version "weighted"
_BIAS_POWERS = (1.25, 2.5)  # its bias is taken to grow as these powers of the ball's radius
_CHUNK = 4_000_000  # distances held at once where many neighbours lie inside a ball


class Neighbours:
    """Sorted distances from each query to its nearest points.

    With ``leave_out``, query i does not see point i (itself, or its partner in paired samples).
    """

    def __init__(self, points: np.ndarray, queries: np.ndarray, leave_out: bool, k: int):
        self.tree, self.queries, self.leave_out = cKDTree(points), queries, leave_out
        self.size = len(points) - leave_out  # points that a query can see
        self.table = self._nearest(np.arange(len(queries)), min(k, self.size))

    def _nearest(self, rows: Int[np.ndarray, " row"], k: int) -> Float[np.ndarray, "row k"]:
        distance, index = self.tree.query(
            self.queries[rows], k=np.arange(1, k + self.leave_out + 1)
        )
        if not self.leave_out:
            return distance
        seen = index != rows[:, None]
        seen[seen.all(1), -1] = False  # the point left out is further away than all of these
        return distance[seen].reshape(len(rows), k)

    def within(self, radius: Float[np.ndarray, " query"]):
        """Number of points at most ``radius`` away, and the distance of the farthest of them."""
        inside = self.table <= radius[:, None]
        count = inside.sum(1)
        farthest = self.table[np.arange(len(count)), np.maximum(count - 1, 0)]
        k = self.table.shape[1]
        rows = np.flatnonzero(inside[:, -1]) if k < self.size else np.empty(0, int)
        while len(rows):  # only where the ball holds more neighbours than were looked up
            k = min(4 * k, self.size)
            parts = np.array_split(rows, math.ceil(len(rows) * k / _CHUNK))
            for part in parts:
                table = self._nearest(part, k)
                count[part] = (table <= radius[part, None]).sum(1)
                farthest[part] = table[np.arange(len(part)), count[part] - 1]
            rows = rows[count[rows] == k] if k < self.size else rows[:0]
        return count, farthest


def _mean_log_ratio(near: np.ndarray, far: np.ndarray) -> float:
    """Mean of log(far / near), refusing distances of zero."""
    if not (near.min() > 0 and far.min() > 0):
        raise DataError(
            "a k-NN divergence needs samples of continuous distributions, but some points "
            "coincide; remove repeated samples, or compare independent samples"
        )
    return float(np.mean(np.log(far / near)))


def neighbour_divergence(own: Neighbours, other: Neighbours, k: int, version: Version) -> float:
    """Estimate from the neighbours of the x_i among x (``own``) and among y (``other``)."""
    rho, nu = own.table[:, k - 1], other.table[:, k - 1]
    value = math.log(other.size / own.size)
    if version == "epsilon1":
        radius = np.maximum(rho, nu)
        count_x, rho = own.within(radius)
        count_y, nu = other.within(radius)
        value += float(np.mean(digamma(count_x) - digamma(count_y)))
    return value + own.queries.shape[1] * _mean_log_ratio(rho, nu)


def _weights(
    k: int, dimension: int, powers: tuple[float, ...] = _BIAS_POWERS
) -> Float[np.ndarray, " k"]:
    """Smallest weights of the estimates with 1 to k neighbours that sum to 1 and cancel the bias.

    The l-th neighbour's distance to the power a has a mean in proportion to
    Gamma(l + a / d) / Gamma(l).
    """
    neighbours = np.arange(1, k + 1)
    rows = [np.ones(k)]
    for power in powers:
        rows.append(np.exp(gammaln(neighbours + power / dimension) - gammaln(neighbours)))
    return np.linalg.pinv(np.array(rows))[:, 0]


def _fixed_k_estimates(x: np.ndarray, y: np.ndarray, k: int) -> Float[np.ndarray, " k"]:
    """Estimates of version "fixed-k" with 1 to k neighbours, from one search."""
    own, other = Neighbours(x, x, True, k), Neighbours(y, x, False, k)
    return np.array([neighbour_divergence(own, other, j, "fixed-k") for j in range(1, k + 1)])


def check_options(k: int, least: int, n: int, version: str, versions: tuple[str, ...]) -> None:
    if version not in versions:
        raise DataError(f"version must be one of {', '.join(versions)}, got {version!r}")
    if not least <= k < n:
        raise DataError(f"k must be between {least} and {n - 1} for these samples, got {k}")


def kl_divergence_knn(
    x: Samples,
    y: Shaped[Any, "other dimension"],
    k: int | None = None,
    version: Literal["epsilon1", "fixed-k", "weighted"] = "epsilon1",
) -> float:
    r"""Kullback-Leibler divergence D[p || q] from samples x of p and y of q, in nats.

    With :math:`\rho_l(i)` the distance of x_i to its l-th neighbour among the other x, and
    :math:`\nu_k(i)` to its k-th neighbour among the y, version ``"epsilon1"`` takes the ball of
    radius :math:`\epsilon(i) = \max(\rho_k(i), \nu_k(i))`, counts the :math:`l_i` other x and the
    :math:`k_i` y inside, and returns

    .. math::
        \frac{d}{N} \sum_i \log \frac{\nu_{k_i}(i)}{\rho_{l_i}(i)}
        + \frac{1}{N} \sum_i [\psi(l_i) - \psi(k_i)] + \log \frac{M}{N - 1}.

    Both densities are then estimated over nearly the same ball, so that their biases cancel.
    Version ``"fixed-k"`` has :math:`l_i = k_i = k` everywhere and no digamma terms. Version
    ``"weighted"`` is a weighted mean of the fixed-k estimates with 1 to k neighbours, in which the
    leading terms of their biases cancel.

    Parameters
    ----------
    x : array or tensor of shape (N, d)
        Independent samples of p, in any unit shared by all d coordinates (distances are
        Euclidean: bring coordinates of different units to one scale).
    y : array or tensor of shape (M, d)
        Samples of q, independent of x.
    k : int, optional
        Neighbours that set the radius, by default 1, which has the least bias; more neighbours
        trade bias for a smaller spread. For "weighted" the largest number of neighbours, at
        least 3, by default 100 or a quarter of the samples if that is less.
    version : {"epsilon1", "fixed-k", "weighted"}
        Adaptive (the paper's), plain, or the weighted mean, for thousands of samples in several
        dimensions: it has less bias there, but more spread, much more with few samples.

    Returns
    -------
    float
        Estimate in nats; it can be negative when p and q are close.

    Raises
    ------
    DataError
        If shapes, values, ``k`` or ``version`` are invalid, or if points coincide.

    Notes
    -----
    The bias of the first two versions falls with N and grows with d. It is small where q is at
    least as wide as p, and negative and slow to fall where q has lighter tails than p, as for two
    unit Gaussians in 5 dimensions, one standard deviation apart along every axis; more so with
    larger k. Version "weighted" has much less of it there (``benchmarks/bench_scores.py
    divergence``). Its weights cancel biases that grow as the powers 5/4 and 5/2 of the ball's
    radius. Theory has 1 for densities with an edge, and 2 and 4 for smooth ones; of the pairs
    tried, these left the least bias for random Gaussians in 5 dimensions
    (``benchmarks/bench_scores.py powers``).

    References
    ----------
    Wang, Kulkarni and Verdu, IEEE Trans. Inform. Theory 55 (2009) 2392: fixed k in eq. 5, the
    adaptive ball and its bias correction in eqs 26 to 29. "Version epsilon-1" of section 5.3 is
    read as eq. 29 with the radius of eqs 26 to 28, which is k = 1. The weighted mean follows Moon
    and Hero, Multivariate f-divergence estimation with confidence, NeurIPS 27 (2014).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> x, y = rng.standard_normal((2000, 1)), 1 + rng.standard_normal((2000, 1))
    >>> kl_divergence_knn(x, y)  # exact: 1/2
    0.54
    """
    x = as_samples(x, "x", 2)
    y = as_samples(y, "y", 1)
    if x.shape[1] != y.shape[1]:
        raise DataError(f"x has {x.shape[1]} dimensions and y {y.shape[1]}; they must agree")
    n = min(len(x), len(y) + 1)
    weighted = version == "weighted"
    if weighted and n < 4:
        raise DataError(f"version 'weighted' needs at least 4 samples of each, got {n}")
    if k is None:
        k = max(3, min(_WEIGHTED_K, n // 4)) if weighted else 1
    check_options(k, 3 if weighted else 1, n, version, (*VERSIONS, "weighted"))
    if version == "weighted":
        return float(_weights(k, x.shape[1]) @ _fixed_k_estimates(x, y, k))
    start = k if version == "fixed-k" else 4 * k + 4
    return neighbour_divergence(
        Neighbours(x, x, True, start), Neighbours(y, x, False, start), k, version
    )

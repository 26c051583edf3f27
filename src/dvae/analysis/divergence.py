"""Divergence between samples by nearest neighbours, and the shape score S_KL (eq. 7)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment, minimize
from scipy.spatial import cKDTree
from scipy.special import digamma, gammaln

from dvae.analysis._checks import Latents, Samples, as_pair, as_samples, varying
from dvae.errors import DataError

__all__ = ["ShapeMatch", "kl_divergence_knn", "shape_match", "shape_score"]

Version = Literal["epsilon1", "fixed-k"]
VERSIONS = ("epsilon1", "fixed-k")
_WEIGHTED_K = 100  # neighbours of version "weighted"
_BIAS_POWERS = (1.25, 2.5)  # its bias is taken to grow as these powers of the ball's radius
_TABLE = 512  # sorted distances kept per query during a fit: all of them for the paper's N = 512
_CHUNK = 4_000_000  # distances held at once where many neighbours lie inside a ball


class _Neighbours:
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


def _divergence(own: _Neighbours, other: _Neighbours, k: int, version: Version) -> float:
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
    own, other = _Neighbours(x, x, True, k), _Neighbours(y, x, False, k)
    return np.array([_divergence(own, other, j, "fixed-k") for j in range(1, k + 1)])


def _check_options(k: int, least: int, n: int, version: str, versions: tuple[str, ...]) -> None:
    if version not in versions:
        raise DataError(f"version must be one of {', '.join(versions)}, got {version!r}")
    if not least <= k < n:
        raise DataError(f"k must be between {least} and {n - 1} for these samples, got {k}")


def kl_divergence_knn(
    x: Samples,
    y: Samples,
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
    _check_options(k, 3 if weighted else 1, n, version, (*VERSIONS, "weighted"))
    if weighted:
        return float(_weights(k, x.shape[1]) @ _fixed_k_estimates(x, y, k))
    start = k if version == "fixed-k" else 4 * k + 4
    return _divergence(_Neighbours(x, x, True, start), _Neighbours(y, x, False, start), k, version)


@dataclass(frozen=True)
class ShapeMatch:
    """Best match of the shape of q(z) to that of p(theta), as :func:`shape_match` finds it.

    Attributes
    ----------
    value : float
        S_KL in nats; infinite for a collapsed latent.
    scale, shift : ndarray of shape (n,)
        a and b of eq. 7: the matched latents are ``scale * (z[:, permutation] - shift)``.
    permutation : ndarray of shape (n,)
        Latent that stands for each factor.
    """

    value: float
    scale: Float[np.ndarray, " factor"]
    shift: Float[np.ndarray, " factor"]
    permutation: Int[np.ndarray, " factor"]


def _starts(z: np.ndarray, theta: np.ndarray, permute: bool):
    """Permutations and signs to start from, for standardised z and theta.

    All of them up to 3 latents; beyond, the latents in their order and as their correlations
    with the factors match them, with the signs of these correlations.
    """
    n = z.shape[1]
    identity = tuple(range(n))
    if n <= 3:
        orders = itertools.permutations(identity) if permute else [identity]
        return list(itertools.product(orders, itertools.product((1.0, -1.0), repeat=n)))
    correlation = theta.T @ z / len(z)
    orders = {identity}
    if permute:
        orders.add(tuple(linear_sum_assignment(-np.abs(correlation))[1].tolist()))
    return [
        (order, tuple(np.where(correlation[range(n), order] < 0, -1.0, 1.0)))
        for order in sorted(orders)
    ]


def shape_match(
    z: Latents,
    theta: Samples,
    k: int = 5,
    version: Version = "epsilon1",
    permute: bool = True,
    n_starts: int = 2,
) -> ShapeMatch:
    r"""Scale and shift of the latents whose distribution is closest to that of the factors (eq. 7).

    Minimises :math:`D_{KL}[p(\theta) || q(a \circ (z - b))]` with Nelder-Mead. Every start has
    the factors' means and variances; they differ in the signs of a and in the order of the
    latents. All starts are evaluated and the search goes on from the best ``n_starts``.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents of N samples.
    theta : array or tensor of shape (N, n)
        Factors of the same samples (any unit).
    k, version
        As in :func:`kl_divergence_knn`.
    permute : bool
        Also permute the latents. Section 7 of the paper asks for the shape "up to permutations of
        the axes", which eq. 7 leaves out; False is eq. 7 to the letter. Both agree where the
        factors are exchangeable, as in all the paper's factor sets.
    n_starts : int
        Starts that are optimised, at least 1.

    Returns
    -------
    ShapeMatch
        Value, scale, shift and permutation. A collapsed (constant) latent has no density, so the
        value is then infinite and scale and shift are NaN.

    Raises
    ------
    DataError
        If shapes or values are invalid, a factor is constant, n differs from the number of
        factors, N is below 8, or an option is invalid.

    Notes
    -----
    z belongs to theta: a disentangled z_i is a function of theta_i, not an independent draw, and
    the estimator would take the nearby pair for a high density of q. Point i therefore never
    sees its own latents; a perfect copy scores exactly 0 at the true a and b.

    The minimum over a and b also fits the noise of the estimate, so the floor is negative and
    rises with N (``benchmarks/bench_scores.py shape``).
    """
    z, theta = as_pair(z, theta, 8)
    if z.shape[1] != theta.shape[1]:
        raise DataError(
            f"S_KL compares distributions of equal dimension, got {z.shape[1]} latents and "
            f"{theta.shape[1]} factors"
        )
    _check_options(k, 1, len(z) - 1, version, VERSIONS)
    if n_starts < 1:
        raise DataError(f"n_starts must be at least 1, got {n_starts}")
    n = z.shape[1]
    if not varying(z).all():
        return ShapeMatch(math.inf, np.full(n, np.nan), np.full(n, np.nan), np.arange(n))

    z_mean, z_std = z.mean(0), z.std(0)
    theta_mean, theta_std = theta.mean(0), theta.std(0)
    z, theta = (z - z_mean) / z_std, (theta - theta_mean) / theta_std
    own = _Neighbours(theta, theta, True, _TABLE)
    start = k if version == "fixed-k" else 2 * k + 4

    def divergence(parameters: np.ndarray, order: tuple, signs: tuple) -> float:
        y = signs * np.exp(parameters[:n]) * z[:, order] + parameters[n:]
        return _divergence(own, _Neighbours(y, theta, True, start), k, version)

    origin = np.zeros(2 * n)
    candidates = sorted(_starts(z, theta, permute), key=lambda c: divergence(origin, *c))
    simplex = np.vstack([origin, 0.2 * np.eye(2 * n)])
    options = {"initial_simplex": simplex, "xatol": 1e-2, "fatol": 2e-3, "maxfev": 100 * n}
    fits = [
        (minimize(divergence, origin, candidate, "Nelder-Mead", options=options), candidate)
        for candidate in candidates[:n_starts]
    ]
    best, (order, signs) = min(fits, key=lambda fit: fit[0].fun)
    permutation = np.array(order)
    scale = np.array(signs) * np.exp(best.x[:n]) * theta_std / z_std[permutation]
    shift = z_mean[permutation] - (theta_mean + best.x[n:] * theta_std) / scale
    return ShapeMatch(float(best.fun), scale, shift, permutation)


def shape_score(
    z: Latents,
    theta: Samples,
    k: int = 5,
    version: Version = "epsilon1",
    permute: bool = True,
    n_starts: int = 2,
) -> float:
    """S_KL of eq. 7 in nats: how much the shape of q(z) differs from that of p(theta).

    Low is disentangled; near 0 at best (see the notes of :func:`shape_match`, which also takes
    the arguments, raises the errors, and tells the scale and shift found). Invariant to shift,
    scale and sign of every latent and, with ``permute``, to their order. It compares
    distributions only: latents with the right distribution that have nothing to do with the
    factors score well.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents of N samples.
    theta : array or tensor of shape (N, n)
        Factors of the same samples.
    k, version, permute, n_starts
        As in :func:`shape_match`.

    Returns
    -------
    float
        S_KL in nats; infinite if a latent is constant.
    """
    return shape_match(z, theta, k, version, permute, n_starts).value

"""The shape score S_KL of eq. 7: how far the shape of the latents is from that of the factors."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment, minimize
from scipy.spatial import cKDTree

from dvae.analysis._checks import Latents, Samples, as_pair, varying
from dvae.analysis.divergence import (
    VERSIONS,
    Neighbours,
    Version,
    check_options,
    neighbour_divergence,
)
from dvae.errors import DataError

__all__ = ["ShapeMatch", "shape_match", "shape_score"]

ENUMERATED = 3  # latents up to which all orders and signs are tried, and a simplex searches
_TABLE = 512  # sorted distances kept per query during a fit: all of them for the paper's N = 512


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

    All of them up to ``ENUMERATED`` latents; beyond, the latents in their order and as their
    correlations with the factors match them, with the signs of these correlations.
    """
    n = z.shape[1]
    identity = tuple(range(n))
    if n <= ENUMERATED:
        permutations = itertools.permutations(identity) if permute else [identity]
        return list(itertools.product(permutations, itertools.product((1.0, -1.0), repeat=n)))
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

    Minimises :math:`D_{KL}[p(\theta) || q(a \circ (z - b))]` with Nelder-Mead; for more than 3
    latents, by the derivatives of the estimate with ``version="fixed-k"``. Every start has
    the factors' means and variances; they differ in the signs of a and in the order of the
    latents. All starts are evaluated and the search goes on from the best ``n_starts``.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents of N samples.
    theta : array or tensor of shape (N, n)
        Factors of the same samples (any unit).
    k, version
        As in :func:`dvae.kl_divergence_knn`.
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
    check_options(k, 1, len(z) - 1, version, VERSIONS)
    if n_starts < 1:
        raise DataError(f"n_starts must be at least 1, got {n_starts}")
    n = z.shape[1]
    if not varying(z).all():
        return ShapeMatch(math.inf, np.full(n, np.nan), np.full(n, np.nan), np.arange(n))

    z_mean, z_std = z.mean(0), z.std(0)
    theta_mean, theta_std = theta.mean(0), theta.std(0)
    z, theta = (z - z_mean) / z_std, (theta - theta_mean) / theta_std
    own = Neighbours(theta, theta, True, _TABLE)
    start = k if version == "fixed-k" else 2 * k + 4

    def divergence(parameters: np.ndarray, order: tuple, signs: tuple) -> float:
        y = signs * np.exp(parameters[:n]) * z[:, order] + parameters[n:]
        return neighbour_divergence(own, Neighbours(y, theta, True, start), k, version)

    origin = np.zeros(2 * n)
    candidates = sorted(_starts(z, theta, permute), key=lambda c: divergence(origin, *c))
    simplex = np.vstack([origin, 0.2 * np.eye(2 * n)])
    options = {"initial_simplex": simplex, "xatol": 1e-2, "fatol": 2e-3, "maxfev": 100 * n}
    fits: list[tuple[float, np.ndarray, tuple]] = []
    for order, signs in candidates[:n_starts]:
        if n <= ENUMERATED:
            found = minimize(divergence, origin, (order, signs), "Nelder-Mead", options=options)
            fits.append((float(found.fun), found.x, (order, signs)))
        else:
            place = _descend(theta, signs * z[:, order], own.table[:, k - 1], k)
            fits.append((divergence(place, order, signs), place, (order, signs)))
    value, place, (order, signs) = min(fits, key=lambda fit: fit[0])
    permutation = np.array(order)
    scale = np.array(signs) * np.exp(place[:n]) * theta_std / z_std[permutation]
    shift = z_mean[permutation] - (theta_mean + place[n:] * theta_std) / scale
    return ShapeMatch(value, scale, shift, permutation)


def _descend(
    theta: Float[np.ndarray, "sample factor"],
    z: Float[np.ndarray, "sample latent"],
    own: Float[np.ndarray, " sample"],
    k: int,
) -> Float[np.ndarray, " parameter"]:
    """Logarithms of the scales, then shifts, of z at a minimum of the plain k-NN estimate.

    While the k-th neighbour stays the same, the logarithm of its distance has a derivative in the
    scale and the shift of every latent, so that a quasi-Newton method needs tens of estimates
    where a simplex in many dimensions needs thousands. ``own`` are the distances among theta.
    """
    samples, n = z.shape
    row = np.arange(samples)

    def estimate(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = np.exp(parameters[:n]) * z
        distance, index = cKDTree(scaled + parameters[n:]).query(theta, k + 1)
        # point i does not see its own latents
        last = np.where((index[:, :k] == row[:, None]).any(1), k, k - 1)
        distance, neighbour = distance[row, last], index[row, last]
        distance = np.maximum(distance, np.finfo(float).tiny)
        away = scaled[neighbour] + parameters[n:] - theta
        slope = away / distance[:, None] ** 2
        gradient = np.concatenate([(slope * scaled[neighbour]).mean(0), slope.mean(0)])
        return n * float(np.mean(np.log(distance / own))), n * gradient

    return minimize(estimate, np.zeros(2 * n), jac=True, method="L-BFGS-B",
                    options={"maxiter": 50}).x  # fmt: skip


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

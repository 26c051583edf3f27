"""Rotation of the latent space, and the angle by which it is rotated (sections 5.2 and 5.3)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from scipy.special import rel_entr

from dvae.analysis._checks import (
    Latents,
    Samples,
    as_encoding,
    as_pair,
    as_runs,
    as_samples,
    varying,
)
from dvae.analysis.statistics import Values, finite_values
from dvae.errors import DataError

__all__ = [
    "AngleTest",
    "angle_test",
    "rotate",
    "rotated_encoding",
    "rotation_angle",
    "rotation_angles",
    "rotation_by_labels",
    "rotation_matrix",
    "total_correlation_of_density",
    "turned_correlation",
]


def rotation_matrix(
    angle: float, n_latents: int = 2, plane: tuple[int, int] = (0, 1)
) -> Float[np.ndarray, "latent latent"]:
    """Matrix A of section 5.2: counter-clockwise rotation in one plane of the latent space.

    Parameters
    ----------
    angle : float
        Degrees.
    n_latents : int
        Dimension n, at least 2.
    plane : tuple of int
        The two latents that rotate; the first turns towards the second.

    Returns
    -------
    ndarray of shape (n, n)
        Orthogonal, of determinant 1; acts on columns: z -> A z.

    Raises
    ------
    DataError
        If the plane is not two different latents of the n.
    """
    i, j = plane
    if i == j or not (0 <= i < n_latents and 0 <= j < n_latents):
        raise DataError(f"plane must name two of {n_latents} latents, got {plane}")
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    matrix = np.eye(n_latents)
    matrix[i, i] = matrix[j, j] = cosine
    matrix[i, j], matrix[j, i] = -sine, sine
    return matrix


def rotate(
    z: Latents, angle: float, plane: tuple[int, int] = (0, 1)
) -> Float[np.ndarray, "sample latent"]:
    """Latents A z; a decoder of ``rotate(z, -angle)`` undoes it, so reconstruction is unchanged.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    angle : float
        Degrees, counter-clockwise.
    plane : tuple of int
        As in :func:`rotation_matrix`.

    Returns
    -------
    ndarray of shape (N, n)
        Rotated latents, float64.

    Raises
    ------
    DataError
        If z or the plane is invalid.
    """
    z = as_samples(z, "z", 1)
    return z @ rotation_matrix(angle, z.shape[1], plane).T


def turned_correlation(
    log_prob: Callable[[np.ndarray], Shaped[Any, " node"]],
    angle: float,
    limit: float = 6.0,
    n_nodes: int = 201,
) -> float:
    r"""Total correlation of two variables of known density after a rotation, in nats.

    .. math:: KL\Big[p_A(z) \,\Big\|\, \prod_i p_A(z_i)\Big], \qquad p_A(z) = p(A^{-1} z)

    is the least that a factorised prior can miss of latents that are p turned by the angle.

    Parameters
    ----------
    log_prob : callable
        Log-density log p at points (node, 2), float64.
    angle : float
        Degrees, counter-clockwise.
    limit : float
        Half the side of the square of quadrature, which must hold the turned density.
    n_nodes : int
        Nodes along a side.

    Returns
    -------
    float
        Total correlation in nats.

    Raises
    ------
    DataError
        If the nodes of the square do not sum up to a probability of 1, within 0.1 %.
    """
    axis, step = np.linspace(-limit, limit, n_nodes, retstep=True)
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    density = np.exp(np.asarray(log_prob(rotate(nodes, -angle)))).reshape(n_nodes, n_nodes)
    mass = density.sum() * step**2
    if not abs(mass - 1) < 1e-3:
        raise DataError(
            f"the square of half side {limit:g} holds {mass:.3g} of the probability by its "
            f"{n_nodes} x {n_nodes} nodes; give a normalised density, a larger square or more nodes"
        )
    return total_correlation_of_density(density)


def total_correlation_of_density(density: Float[np.ndarray, "first second"]) -> float:
    r"""Total correlation of two variables whose joint density is known on a grid, in nats.

    .. math:: KL\Big[p(z_1, z_2) \,\Big\|\, p(z_1)\, p(z_2)\Big]

    with sums over the nodes as integrals; their mutual information.

    Parameters
    ----------
    density : array of shape (a, b)
        Proportional to p(z_1, z_2) on nodes at equal distances along each axis.

    Returns
    -------
    float
        Total correlation in nats, 0 for independent variables.

    Raises
    ------
    DataError
        If the density is not an array of two axes, of finite numbers that are not negative, or
        is 0 everywhere.
    """
    density = np.asarray(density, dtype=float)
    if density.ndim != 2 or not np.isfinite(density).all() or (density < 0).any():
        raise DataError(
            "density must be a (node, node) array of finite numbers that are not negative"
        )
    mass = density.sum()
    if not mass > 0:
        raise DataError("density is 0 at every node; the grid does not reach the variables")
    share = density / mass
    return float(rel_entr(share, np.outer(share.sum(1), share.sum(0))).sum())


def rotated_encoding(
    mean: Latents, log_variance: Latents, angle: float, plane: tuple[int, int] = (0, 1)
) -> tuple[Float[np.ndarray, "sample latent"], Float[np.ndarray, "sample latent latent"]]:
    """Mean A mu and covariance A diag(sigma^2) A^T of the rotated encoding distribution (sec. 5.2).

    Parameters
    ----------
    mean, log_variance : array or tensor of shape (N, n)
        mu and log sigma^2 of the factorised q(z|y) of N samples.
    angle : float
        Degrees, counter-clockwise.
    plane : tuple of int
        As in :func:`rotation_matrix`.

    Returns
    -------
    tuple of ndarray, shapes (N, n) and (N, n, n)
        Mean and covariance; the covariance is no longer diagonal.

    Raises
    ------
    DataError
        If shapes, values or the plane are invalid.
    """
    mean, log_variance = as_encoding(mean, log_variance)
    matrix = rotation_matrix(angle, mean.shape[1], plane)
    covariance = np.einsum("ij,bj,kj->bik", matrix, np.exp(log_variance), matrix)
    return mean @ matrix.T, covariance


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
    _check_plane(z.shape[1], theta.shape[1])
    if not varying(z).all():
        return float("nan")
    return float(_procrustes_angle(z, theta))


def rotation_angles(
    latents: Shaped[Any, "run sample 2"], theta: Samples
) -> Float[np.ndarray, " run"]:
    """Rotation of every run of an ensemble, all at once; see :func:`rotation_angle`.

    Parameters
    ----------
    latents : array of shape (M, N, 2)
        Latents of M runs.
    theta : array or tensor of shape (N, 2)
        Factors of the same samples.

    Returns
    -------
    ndarray of shape (M,)
        Degrees in (-45, 45]. NaN if a latent is constant or the run diverged.

    Raises
    ------
    DataError
        If shapes are invalid, or a factor is constant or not finite.
    """
    latents, theta, kept = as_runs(latents, theta)
    _check_plane(latents.shape[2], theta.shape[1])
    kept[kept] = varying(latents[kept]).all(-1)
    angles = np.full(len(latents), np.nan)
    angles[kept] = _procrustes_angle(latents[kept], theta)
    return angles


def rotation_by_labels(
    z: Float[np.ndarray, "label n"],
    theta: Float[np.ndarray, "known factor"],
    orientation: Literal[-1, 1] | None = None,
) -> Float[np.ndarray, "n n"]:
    """Orthogonal matrix R with which z R is nearest to the factors of a few labelled samples.

    Parameters
    ----------
    z, theta : array of shape (k, n)
        Latents and factors of k samples, each centred and scaled by mean and spread of *all*
        samples, which are known without labels: of the latents from the fields, of the factors
        from their distribution.
    orientation : {-1, 1}, optional
        Determinant of R, where it is known whether R is a rotation or has a reflection.

    Raises
    ------
    DataError
        If the shapes differ, a value is not finite, or there are fewer than n labels (n - 1 with
        an orientation), which do not determine R.

    Notes
    -----
    The orthogonal Procrustes problem, by a singular value decomposition; with an orientation the
    weakest direction changes its sign where that is needed (Kabsch).
    """
    if z.shape != theta.shape or z.ndim != 2:
        raise DataError(f"latents of shape {z.shape} and factors of shape {theta.shape}")
    if not (np.isfinite(z).all() and np.isfinite(theta).all()):
        raise DataError("latents and factors of labelled samples must be finite")
    least = z.shape[1] - (orientation is not None)
    if len(z) < least:
        raise DataError(f"{len(z)} labels determine no rotation here; at least {least} are needed")
    left, _, right = np.linalg.svd(z.T @ theta)
    if orientation is not None:
        left[:, -1] *= orientation * np.sign(np.linalg.det(left @ right))
    return left @ right


def _check_plane(n_latents: int, n_factors: int) -> None:
    if (n_latents, n_factors) != (2, 2):
        raise DataError(
            f"rotation_angle is for 2 latents and 2 factors, got {n_latents} and {n_factors}"
        )


def _procrustes_angle(
    z: Float[np.ndarray, "*run sample 2"], theta: Float[np.ndarray, "sample 2"]
) -> Float[np.ndarray, "*run"] | float:
    """Angle in degrees of the orthogonal map that fits z to theta, both standardised."""
    z, theta = ((x - x.mean(-2, keepdims=True)) / x.std(-2, keepdims=True) for x in (z, theta))
    # z = (left right)^T theta is the least-squares solution (orthogonal Procrustes problem)
    left, _, right = np.linalg.svd(np.swapaxes(np.swapaxes(z, -1, -2) @ theta, -1, -2))
    matrix = np.swapaxes(left @ right, -1, -2)
    flip = np.where(np.linalg.det(matrix) < 0, -1.0, 1.0)  # of the second latent
    angle = np.degrees(np.arctan2(flip * matrix[..., 1, 0], matrix[..., 0, 0]))
    return 45.0 - (45.0 - angle) % 90.0 % 90.0  # % of a tiny negative number gives 90


class AngleTest(NamedTuple):
    """Where rotation angles crowd (degrees), how much (0 to 1), and p of a uniform rotation."""

    center: float
    concentration: float
    p_value: float


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
    from scipy import stats  # takes long: not for `dvae claims`

    values = finite_values(angles, "angles", 2)
    mean = np.exp(4j * np.radians(values)).mean()
    distance = np.abs(45.0 - (45.0 - values) % 90.0)
    p_value = stats.kstest(distance, stats.uniform(0, 45).cdf).pvalue
    return AngleTest(float(np.degrees(np.angle(mean))) / 4, float(abs(mean)), float(p_value))

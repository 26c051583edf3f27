"""Theory of the linear VAE: when its latents come alive, and which way they are turned."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dvae.errors import DataError

__all__ = ["LinearCollapse", "linear_collapse", "noise_levels", "rotation_price"]


class LinearCollapse(NamedTuple):
    r"""Solution of the linear VAE with calibrated noise and q active latents (section 4.2).

    Attributes
    ----------
    active : number q of active latents.
    noise : decoder variance v.
    rate, distortion : nats per sample.
    exists_below : beta (eq. 5, per sample) below which the solution with q active latents exists.
    """

    active: int
    noise: float
    rate: float
    distortion: float
    exists_below: float


def linear_collapse(
    variances: Float[np.ndarray, " direction"],
    n_values: int,
    n_latents: int,
    beta: float,
    log_jacobian: float = 0.0,
) -> list[LinearCollapse]:
    r"""Stationary points of a linear VAE whose decoder variance is calibrated, for a given beta.

    With principal variances :math:`\lambda_1 \ge \lambda_2 \ge \dots` of data of m values, noise v
    and q active latents, the optimum over encoder and decoder leaves an error :math:`\beta v` in
    every active direction and costs the rate :math:`\tfrac12 \log(\lambda_i / (\beta v))`, which
    is positive only while :math:`\lambda_i > \beta v`. Calibration asks m v to be the mean squared
    error, :math:`m v = \sum_{i > q} \lambda_i + q \beta v`, hence

    .. math:: v = \frac{\sum_{i>q} \lambda_i}{m - q \beta}, \qquad
       \beta < \beta_q = \frac{m \lambda_q}{\sum_{i>q} \lambda_i + q \lambda_q} \le \frac{m}{q}.

    The collapsed point q = 0 always exists and is unstable for
    :math:`\beta < m \lambda_1 / \sum_i \lambda_i` = :math:`\beta_1`.

    Parameters
    ----------
    variances : array (direction,)
        Principal variances, decreasing, all of them (their sum is the total variance).
    n_values : int
        Number m of values of a sample.
    n_latents : int
        Largest q.
    beta : float
        Weight of the rate per sample (eq. 5).
    log_jacobian : float
        Log-Jacobian of a scaling of the data, added to the distortion.

    Returns
    -------
    list of LinearCollapse
        For q = 0, 1, ..., those that exist at this beta and leave something of the variance.

    References
    ----------
    Lucas et al., Don't blame the ELBO!, NeurIPS 2019; Tipping and Bishop 1999 for beta = 1.
    """
    variances = _checked(variances, n_values, beta)
    if (np.diff(variances) > 0).any():
        raise DataError("principal variances must be decreasing")
    if n_latents < 0:
        raise DataError(f"n_latents must not be negative, got {n_latents}")
    solutions = []
    for q in range(min(n_latents, len(variances)) + 1):
        rest = variances[q:].sum()
        if not rest > 0:  # nothing is left to be noise
            break
        limit = math.inf if q == 0 else n_values * variances[q - 1] / (rest + q * variances[q - 1])
        if not beta < limit:
            continue
        noise = rest / (n_values - q * beta)
        rate = 0.5 * np.log(variances[:q] / (beta * noise)).sum()
        distortion = 0.5 * n_values * (math.log(2 * math.pi * noise) + 1) + log_jacobian
        solutions.append(LinearCollapse(q, noise, float(rate), float(distortion), limit))
    return solutions


def noise_levels(
    variances: Float[np.ndarray, " direction"], n_values: int, beta: float
) -> Float[np.ndarray, " direction"]:
    r"""Noise below which a latent for a principal direction pays, over the variance of the data.

    At decoder variance v a direction of variance :math:`\lambda_i` is encoded while
    :math:`\lambda_i > \beta v`; then its rate is :math:`\tfrac12 \log(\lambda_i / (\beta v))`. With
    v as a fraction f of the mean variance of a value, :math:`v = f \sum_j \lambda_j / m`, that is
    :math:`f < f_i = m \lambda_i / (\beta \sum_j \lambda_j)`, and the rate is
    :math:`\tfrac12 \log(f_i / f)`.

    Parameters
    ----------
    variances : array (direction,)
        Principal variances, all of them (their sum is the total variance).
    n_values : int
        Number m of values of a sample.
    beta : float
        Weight of the rate per sample (eq. 5).

    Returns
    -------
    array (direction,)
        The levels f_i, dimensionless.

    Raises
    ------
    DataError
        If a variance is negative, none is positive, or ``beta`` is not positive.

    References
    ----------
    Lucas et al., Don't blame the ELBO!, NeurIPS 2019.
    """
    variances = _checked(variances, n_values, beta)
    if not variances.sum() > 0:
        raise DataError("principal variances must not be all zero")
    return n_values * variances / (beta * variances.sum())


def _checked(
    variances: Float[np.ndarray, " direction"], n_values: int, beta: float
) -> Float[np.ndarray, " direction"]:
    """Principal variances in float64, if they, the number of values and beta are possible."""
    variances = np.asarray(variances, dtype=float)
    if not np.isfinite(variances).all() or (variances < 0).any():
        raise DataError("principal variances must be finite and not negative")
    if not 0 < beta < math.inf:
        raise DataError(f"beta must be positive and finite, got {beta}")
    if n_values < 1:
        raise DataError(f"n_values must be at least 1, got {n_values}")
    return variances


def rotation_price(first: float, second: float, angle: float) -> float:
    r"""Loss over beta that a linear VAE pays for latents turned against the principal directions.

    A posterior with a diagonal covariance cannot follow a rotation. Turned by :math:`\varphi` in
    the plane of two directions of variances a and b, the best one costs

    .. math:: \tfrac12 \log\Big(1 + \frac{(a - b)^2 \sin^2 2\varphi}{4 a b}\Big)

    nats more than along the axes, by Hadamard's inequality for the precision
    :math:`R\, \mathrm{diag}(a, b)\, R^T / (\beta v)`, whatever beta and the noise v while both
    latents are alive (:math:`b > \beta v`): nothing where a = b, most at 45 degrees. Rate and
    distortion both change; this is the sum.

    This is the price of a rigid turn, with the decoder's two scales as they are best without it.
    If they may change, and the scales of the posterior with them, less is left of it: at 45 degrees

    .. math:: 2 \log\cosh\big(\tfrac14 \log(a / b)\big) ,

    half of the rigid price where a and b are near each other, and a larger share the more they
    differ.

    Parameters
    ----------
    first, second : float
        Variances a and b, positive.
    angle : float
        Angle in degrees.

    Returns
    -------
    float
        Nats per sample, to be multiplied by beta in the loss.

    References
    ----------
    Rolinek, Zietlow and Martius, Variational autoencoders pursue PCA directions (by accident),
    CVPR 2019.
    """
    if not min(first, second) > 0:
        raise DataError(f"variances must be positive, got {first} and {second}")
    turned = (first - second) ** 2 * np.sin(2 * np.radians(angle)) ** 2
    return float(0.5 * np.log1p(turned / (4 * first * second)))

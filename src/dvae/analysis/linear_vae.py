"""Theory of the linear VAE whose decoder variance is calibrated (section 4.2)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from dvae.errors import DataError

__all__ = ["LinearCollapse", "linear_collapse"]


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
        For q = 0, 1, ..., those that exist at this beta.

    References
    ----------
    Lucas et al., Don't blame the ELBO!, NeurIPS 2019; Tipping and Bishop 1999 for beta = 1.
    """
    variances = np.asarray(variances, dtype=float)
    if (np.diff(variances) > 0).any() or (variances < 0).any():
        raise DataError("principal variances must be decreasing and not negative")
    solutions = []
    for q in range(n_latents + 1):
        rest = variances[q:].sum()
        limit = math.inf if q == 0 else n_values * variances[q - 1] / (rest + q * variances[q - 1])
        if not beta < limit:
            continue
        noise = rest / (n_values - q * beta)
        rate = 0.5 * np.log(variances[:q] / (beta * noise)).sum()
        distortion = 0.5 * n_values * (math.log(2 * math.pi * noise) + 1) + log_jacobian
        solutions.append(LinearCollapse(q, noise, float(rate), float(distortion), limit))
    return solutions

"""Rate and scores as the latent space is rotated at fixed reconstruction (section 5.2, app. A)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from dvae.analysis._checks import Latents, Samples, as_encoding, as_pair
from dvae.analysis.rotation import rotate
from dvae.analysis.scores import disentanglement_score
from dvae.analysis.shape import shape_score
from dvae.errors import DataError

__all__ = ["rotated_rate", "rotation_curve", "standard_normal_rate"]

LogProb = Callable[[Tensor], Tensor]
Angles = Float[np.ndarray, " angle"]


def standard_normal_rate(mean: Latents, log_variance: Latents) -> float:
    r"""Rate KL[q(z|y) || N(0, I)] in closed form, averaged over samples, at every rotation angle.

    With covariance :math:`\Sigma` it is
    :math:`\frac{1}{2} (\mathrm{tr} \Sigma + \mu^T \mu - n - \log \det \Sigma)`. An orthogonal A
    takes :math:`\mu` to :math:`A \mu` and :math:`\Sigma` to :math:`A \Sigma A^T`, and
    :math:`\mathrm{tr}(A \Sigma A^T) = \mathrm{tr}(\Sigma A^T A) = \mathrm{tr} \Sigma`,
    :math:`(A \mu)^T A \mu = \mu^T \mu`, :math:`\det(A \Sigma A^T) = (\det A)^2 \det \Sigma =
    \det \Sigma`. So the rate does not depend on A, and training with a standard normal prior
    leaves the rotation to chance (appendix A of the paper). More generally
    :math:`KL[q_A || p] = KL[q || p \circ A]`: any prior with :math:`p(A z) = p(z)` is as blind.

    Parameters
    ----------
    mean, log_variance : array or tensor of shape (N, n)
        mu and log sigma^2 of the factorised q(z|y) of N samples.

    Returns
    -------
    float
        Nats per sample.

    Raises
    ------
    DataError
        If shapes or values are invalid.
    """
    mean, log_variance = as_encoding(mean, log_variance)
    return float(0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1).mean())


def rotated_rate(
    mean: Latents,
    log_variance: Latents,
    log_prob: LogProb,
    angles: Angles | Sequence[float],
    n_samples: int = 64,
    generator: torch.Generator | None = None,
    plane: tuple[int, int] = (0, 1),
) -> tuple[Angles, Angles]:
    r"""Regularisation loss KL[q_A(z|y) || p(z)] against the angle of A (section 5.2).

    The entropy of q_A is exact, and the same at every angle; :math:`-\log p` is averaged over
    ``n_samples`` draws of each q(z|y), the same draws, rotated, at every angle.

    Parameters
    ----------
    mean, log_variance : array or tensor of shape (N, n)
        mu and log sigma^2 of the factorised q(z|y) of N samples.
    log_prob : callable
        Log-density of the prior: tensor (B, n) of torch's default type to tensor (B,), in
        nats, on the CPU.
    angles : array of shape (K,)
        Degrees.
    n_samples : int
        Draws per sample, at least 2.
    generator : torch.Generator, optional
        Random numbers; a new one of seed 0 by default.
    plane : tuple of int
        As in :func:`~dvae.analysis.rotation.rotation_matrix`.

    Returns
    -------
    rate : ndarray of shape (K,)
        Nats per sample, averaged over the N samples.
    error : ndarray of shape (K,)
        Standard error of its difference from the rate at the first angle, over the draws (which
        are common to all angles): 0 at the first angle.

    Raises
    ------
    DataError
        If shapes or values are invalid, or ``log_prob`` does not return finite values of shape
        (B,).
    """
    rate, error, _ = _rates(mean, log_variance, log_prob, angles, n_samples, generator, plane)
    return rate, error


def _rates(mean, log_variance, log_prob, angles, n_samples, generator, plane):
    """Rate and error of :func:`rotated_rate`, and the first draw of every q(z|y), unrotated."""
    mean, log_variance = as_encoding(mean, log_variance)
    angles = np.asarray(angles, dtype=np.float64)
    if angles.ndim != 1 or angles.size == 0 or not np.isfinite(angles).all():
        raise DataError(f"angles must be a list of finite degrees, got {angles!r}")
    if n_samples < 2:
        raise DataError(f"n_samples must be at least 2, got {n_samples}")
    generator = generator or torch.Generator().manual_seed(0)
    n_data, n = mean.shape
    noise = torch.randn(n_samples, n_data, n, generator=generator, dtype=torch.float64).numpy()
    draws = mean + np.exp(0.5 * log_variance) * noise
    negative_entropy = -0.5 * (math.log(2 * math.pi * math.e) + log_variance).sum(1).mean()
    first, rate, error = None, np.empty(len(angles)), np.empty(len(angles))
    for index, angle in enumerate(angles):
        points = rotate(draws.reshape(-1, n), angle, plane)
        with torch.no_grad():
            value = log_prob(torch.from_numpy(points).to(torch.get_default_dtype()))
        if value.shape != (len(points),) or not bool(torch.isfinite(value).all()):
            raise DataError(
                f"log_prob must return {len(points)} finite numbers at {angle} degrees, got shape "
                f"{tuple(value.shape)}"
            )
        value = value.double().numpy().reshape(n_samples, n_data)
        first = value if first is None else first
        rate[index] = negative_entropy - value.mean()
        spread = (value - first).var(0, ddof=1).sum() / n_samples
        error[index] = math.sqrt(spread) / n_data
    return rate, error, draws[0]


def rotation_curve(
    mean: Latents,
    log_variance: Latents,
    theta: Samples,
    log_prob: LogProb,
    angles: Angles | Sequence[float] | None = None,
    n_samples: int = 64,
    seed: int = 0,
    plane: tuple[int, int] = (0, 1),
) -> xr.Dataset:
    """L_REG, S_D and S_KL as the latent space is rotated (section 5.2, figs 10 and 13).

    The reconstruction loss is left out because it does not change: the decoder undoes A.

    Parameters
    ----------
    mean, log_variance : array or tensor of shape (N, n)
        mu and log sigma^2 of the factorised q(z|y) of N samples.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    log_prob : callable
        Log-density of the prior, as in :func:`rotated_rate`.
    angles : array of shape (K,), optional
        Degrees; by default -90 to 90 in steps of 5.
    n_samples : int
        Draws per sample for the rate.
    seed : int
        Seed of the draws.
    plane : tuple of int
        As in :func:`~dvae.analysis.rotation.rotation_matrix`.

    Returns
    -------
    xarray.Dataset
        Dimension ``angle`` (degrees); variables ``rate`` and ``rate_error`` (nats per sample, see
        :func:`rotated_rate`), ``S_D`` (eq. 6), and ``S_KL`` (eq. 7, nats; left out if n differs
        from s). Both scores are of one draw from every q(z|y), the same at every angle.

    Raises
    ------
    DataError
        As :func:`rotated_rate`, and if theta does not match or is invalid.
    """
    angles = np.arange(-90.0, 91.0, 5.0) if angles is None else np.asarray(angles, float)
    mean, theta = as_pair(mean, theta, 8)
    generator = torch.Generator().manual_seed(seed)
    rate, error, z = _rates(mean, log_variance, log_prob, angles, n_samples, generator, plane)
    rotated = [rotate(z, angle, plane) for angle in angles]
    nats = {"units": "nat"}
    curve = xr.Dataset(
        {
            "rate": ("angle", rate, nats | {"long_name": "L_REG"}),
            "rate_error": ("angle", error, nats | {"long_name": "standard error of L_REG"}),
            "S_D": ("angle", [disentanglement_score(points, theta) for points in rotated]),
        },
        coords={"angle": ("angle", angles, {"units": "degree"})},
    )
    if z.shape[1] == theta.shape[1]:
        curve["S_KL"] = ("angle", [shape_score(points, theta) for points in rotated], nats)
    return curve

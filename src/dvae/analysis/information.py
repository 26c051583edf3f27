"""Scores of mutual information: how much a latent knows of a factor, MIG, modularity."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import Float
from scipy.special import entr

from dvae.analysis._checks import Latents, Samples, as_pair, varying
from dvae.analysis._columns import MIN_SAMPLES, checked_bins, mean_gap, quantile_bins
from dvae.errors import DataError

__all__ = [
    "latent_information",
    "modularity_score",
    "mutual_information",
    "mutual_information_gap",
]


def latent_information(
    mean: Float[np.ndarray, "*run sample latent"], scale: Float[np.ndarray, "*run sample latent"]
) -> Float[np.ndarray, "*run latent"]:
    r"""Nats that each latent tells of a sample, were its means normal.

    .. math:: \tfrac12 \log(1 + \mathrm{var}_y[\mu_i(y)] / \mathrm{mean}_y[\sigma_i^2(y)])

    Parameters
    ----------
    mean, scale : array (..., sample, latent)
        Means and standard deviations of q(z|y), of one model or of several.
    """
    return 0.5 * np.log1p(mean.var(-2) / (scale**2).mean(-2))


def mutual_information(
    z: Latents,
    theta: Samples,
    method: Literal["binned", "knn"] = "binned",
    n_bins: int | None = None,
    n_neighbors: int = 3,
    seed: int = 0,
) -> Float[np.ndarray, "latent factor"]:
    """Mutual information of every latent with every factor, in nats.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    method : {"binned", "knn"}
        ``"binned"``: of quantile bins (scikit-learn's ``mutual_info_score``); depends on ranks
        only, at most log(n_bins), and about (n_bins - 1)^2 / 2N too large for independent
        variables. ``"knn"``: Kraskov's estimator (scikit-learn's ``mutual_info_regression``);
        nearly unbiased, without an upper limit.
    n_bins : int, optional
        Quantile bins per variable, by default the integer part of the cube root of N (8 for 512).
    n_neighbors : int
        Neighbours of the k-NN estimator.
    seed : int
        Seed of the tiny noise with which the k-NN estimator breaks ties.

    Returns
    -------
    ndarray of shape (n, s)
        Nats; 0 for a constant latent.

    Raises
    ------
    DataError
        If shapes or values are invalid, N is below 32, a factor is constant, or the method or
        n_bins is.
    """
    z, theta = as_pair(z, theta, MIN_SAMPLES)
    table = np.zeros((z.shape[1], theta.shape[1]))
    active = varying(z)
    if method == "binned":
        from sklearn.metrics import mutual_info_score  # takes long: when it is computed

        bins = checked_bins(len(z), n_bins)
        z_bins, theta_bins = quantile_bins(z, bins), quantile_bins(theta, bins)
        for i, j in np.ndindex(table.shape):
            if active[i]:
                table[i, j] = mutual_info_score(z_bins[:, i], theta_bins[:, j])
    elif method == "knn":
        from sklearn.feature_selection import mutual_info_regression  # takes long

        for j in range(theta.shape[1] if active.any() else 0):
            table[active, j] = mutual_info_regression(
                z[:, active], theta[:, j], n_neighbors=n_neighbors, random_state=seed
            )
    else:
        raise DataError(f"method must be 'binned' or 'knn', got {method!r}")
    return table


def mutual_information_gap(z: Latents, theta: Samples, n_bins: int | None = None) -> float:
    """MIG: gap between the two latents that know most of a factor, over the factor's entropy.

    A continuous factor has no entropy that could normalise (its differential entropy depends on
    the unit and may be negative), so both are of quantile bins, where the entropy is log(n_bins).
    Averaged over factors, from 0 to 1; 0.97 rather than 1 for perfect latents at N = 512, because
    the second latent's information is biased upwards (see :func:`mutual_information`). Invariant
    to order and to any monotone function of a latent. Two latents that repeat one factor score 0.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    n_bins : int, optional
        As in :func:`mutual_information`.

    Returns
    -------
    float
        Score from 0 to 1.

    Raises
    ------
    DataError
        As :func:`mutual_information`.

    References
    ----------
    Chen, Li, Grosse and Duvenaud, NeurIPS 2018 (arXiv:1802.04942), section 4.
    """
    z, theta = as_pair(z, theta, MIN_SAMPLES)
    bins = checked_bins(len(z), n_bins)
    factor_bins = quantile_bins(theta, bins)
    factor_entropy = [entr(np.bincount(column) / len(column)).sum() for column in factor_bins.T]
    return mean_gap(mutual_information(z, theta, "binned", bins) / factor_entropy)


def modularity_score(z: Latents, theta: Samples, n_bins: int | None = None) -> float:
    r"""Modularity: does each latent carry information about one factor only?

    .. math:: 1 - \frac{\sum_{j \ne j^*} I_{ij}^2}{(s - 1) I_{ij^*}^2}, \quad
        j^* = \arg\max_j I_{ij},

    averaged over latents, with the binned information of :func:`mutual_information`. A constant
    latent counts 0. From 0 to 1; 1 if there is one factor. Invariant to order and to any monotone
    function of a latent. It says nothing about how much information there is: repeating a latent
    changes nothing, and latents independent of all factors return noise between 0 and 1.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    n_bins : int, optional
        As in :func:`mutual_information`, which also raises the errors.

    Returns
    -------
    float
        Score from 0 to 1.

    References
    ----------
    Ridgeway and Mozer, NeurIPS 2018 (arXiv:1802.05312), section 2.
    """
    information = mutual_information(z, theta, "binned", n_bins) ** 2
    n_factors = information.shape[1]
    largest = information.max(1)
    active = largest > 0
    if n_factors == 1:
        return float(active.mean())
    others = (information.sum(1) - largest)[active] / (largest[active] * (n_factors - 1))
    return float((1 - others).sum() / len(active))

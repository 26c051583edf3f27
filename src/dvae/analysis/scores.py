"""Scores of covariances: S_D (eq. 6), its ceiling, MCC, and the total correlation of latents.

And what "disentangled" means in this book (:func:`are_disentangled`), which no draw of the factors
decides.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Shaped
from scipy.special import digamma

from dvae.analysis._checks import Latents, Samples, as_pair, as_runs, as_samples, varying
from dvae.analysis._columns import correlations, standardised
from dvae.conventions import DISENTANGLED, FOLLOWS
from dvae.errors import DataError

__all__ = [
    "are_disentangled",
    "ceiling",
    "chance_of_disentangled",
    "disentanglement_score",
    "disentanglement_scores",
    "mean_correlation_coefficient",
    "total_correlation",
]


def disentanglement_score(z: Latents, theta: Samples, correlation: bool = False) -> float:
    r"""S_D of eq. 6: how far each latent covaries with one factor only.

    .. math::
        S_D = \frac{1}{n} \sum_i \frac{\max_j |\mathrm{cov}(z_i, \theta_j)|}
        {\sum_j |\mathrm{cov}(z_i, \theta_j)|} \in [1/s, 1]

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples. The covariances of eq. 6 carry the unit of each factor, so
        factors of different spread must share a scale or be scored with ``correlation=True``.
    correlation : bool
        Standardise factors (and latents, which changes nothing) first. The paper does not.

    Returns
    -------
    float
        Score from 1/s (entangled) to 1. A constant latent has zero covariance with every factor
        and counts 1/s, the least a latent can count.

    Raises
    ------
    DataError
        If shapes or values are invalid, or a factor is constant.

    Notes
    -----
    Invariant to shift, scale, sign and order of the latents. Not 1 for z = theta on a finite
    sample, see :func:`ceiling`; blind to two latents that repeat one factor.

    Examples
    --------
    >>> theta = np.random.default_rng(0).standard_normal((512, 2))
    >>> disentanglement_score(-3 * theta[:, ::-1], theta)
    0.988
    >>> turned = theta @ [[1, 1], [1, -1]]  # by 45 degrees
    >>> disentanglement_score(turned, theta)
    0.511
    """
    z, theta = as_pair(z, theta)
    return float(_mean_largest_share(z, standardised(theta) if correlation else theta))


def disentanglement_scores(
    latents: Shaped[Any, "run sample latent"], theta: Samples
) -> Float[np.ndarray, " run"]:
    """S_D of every run of an ensemble, all at once; see :func:`disentanglement_score`.

    Parameters
    ----------
    latents : array of shape (M, N, n)
        Latents of M runs.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.

    Returns
    -------
    ndarray of shape (M,)
        The numbers that :func:`score_runs` gives: NaN for a run that diverged.

    Raises
    ------
    DataError
        If shapes are invalid, or a factor is constant or not finite.
    """
    latents, theta, finite = as_runs(latents, theta)
    scores = np.full(len(latents), np.nan)
    scores[finite] = _mean_largest_share(latents[finite], theta)
    return scores


def _mean_largest_share(
    z: Float[np.ndarray, "*run sample latent"], theta: Float[np.ndarray, "sample factor"]
) -> Float[np.ndarray, "*run"] | float:
    """Eq. 6: the largest of a latent's absolute covariances over their sum, averaged."""
    covariance = np.abs(np.swapaxes(standardised(z), -1, -2) @ (theta - theta.mean(0)))
    share = np.full(covariance.shape[:-1], 1 / theta.shape[1])
    np.divide(covariance.max(-1), covariance.sum(-1), out=share, where=covariance.any(-1))
    return share.mean(-1)


def are_disentangled(
    latents: Shaped[Any, "run sample latent"], theta: Samples
) -> Bool[np.ndarray, " run"]:
    r"""Which runs are disentangled: the definition that every table, rule and text uses.

    The linear map from standardised factors to standardised latents is fitted by least squares,
    :math:`z \approx B \theta`. A run is disentangled if

    - its map scores more than DISENTANGLED: S_D (eq. 6) with B in the place of the covariances,
      which is what they are for independent factors. The mean over latents of
      :math:`\max_j |B_{ij}| / \sum_j |B_{ij}|` is 1 for z = theta on any draw of the factors,
      while S_D itself is limited by their sample correlations (:func:`ceiling`);
    - and the factors that the latents follow so are different ones, each correlated with its
      latent by FOLLOWS or more. S_D asks for neither, and calls a latent that follows the product
      of two factors, hence neither, what chance makes of it.

    Parameters
    ----------
    latents : array of shape (M, N, n)
        Latents of M runs; n is at least the number of factors.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.

    Returns
    -------
    ndarray of bool, shape (M,)
        False for a run that diverged. Latents beyond the number of factors that follow none of
        them do not count.

    Raises
    ------
    DataError
        If shapes are invalid, or a factor is constant, not finite, or determined by the others.

    Examples
    --------
    >>> theta = np.random.default_rng(0).standard_normal((512, 2))
    >>> turned = theta @ [[1, 1], [1, -1]]  # by 45 degrees
    >>> are_disentangled(np.stack([-3 * theta[:, ::-1], turned]), theta)
    array([ True, False])
    """
    latents, theta, finite = as_runs(latents, theta)
    scaled = standardised(theta)
    if np.linalg.matrix_rank(scaled) < theta.shape[1]:
        raise DataError("a factor is determined by the others: no map to the latents is unique")
    z = standardised(latents[finite])
    fitted = np.abs(np.swapaxes(np.linalg.pinv(scaled) @ z, -1, -2))  # run, latent, factor
    correlation = np.abs(np.swapaxes(z, -1, -2) @ scaled) / len(theta)
    # the latent that follows a factor most, and the factor that it follows most itself
    follower = correlation.argmax(-2)
    own = np.take_along_axis(fitted, follower[..., None], -2)
    is_own = (own.argmax(-1) == np.arange(theta.shape[1])).all(-1)
    follows = (correlation.max(-2) >= FOLLOWS).all(-1)
    total = own.sum(-1)
    share = np.divide(own.max(-1), total, out=np.zeros_like(total), where=total > 0).mean(-1)
    result = np.zeros(len(latents), bool)
    result[finite] = is_own & follows & (share > DISENTANGLED)
    return result


def chance_of_disentangled(theta: Samples, angles: int = 1801) -> float:
    """Share of all rotations of two factors that :func:`are_disentangled` calls disentangled.

    What a model finds that has the plane of the factors and leaves the angle to chance; for
    factors without sample correlation arctan(1 / DISENTANGLED - 1) / 45 degrees.

    Parameters
    ----------
    theta : array or tensor of shape (N, 2)
        Factors.
    angles : int
        Number of angles between -45 and 45 degrees.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If theta is not of shape (N, 2), a value is invalid or a factor is constant.
    """
    theta = as_samples(theta, "theta")
    if theta.shape[1] != 2:
        raise DataError(f"a rotation by one angle needs 2 factors, got {theta.shape[1]}")
    turns = np.linspace(-np.pi / 4, np.pi / 4, angles)
    matrices = np.array([[np.cos(turns), -np.sin(turns)], [np.sin(turns), np.cos(turns)]])
    latents = np.einsum("ija,nj->ani", matrices, standardised(theta))
    return float(are_disentangled(latents, theta).mean())


def ceiling(theta: Samples, correlation: bool = False) -> float:
    """S_D(theta, theta): what a perfect representation scores on these samples (eq. 6).

    Below 1 whenever the factors are correlated in the sample, as independent factors are by
    chance. Not an upper bound: latents that undo the sample correlation score higher.

    Parameters
    ----------
    theta : array or tensor of shape (N, s)
        Factors.
    correlation : bool
        As in :func:`disentanglement_score`, which also raises the errors.

    Returns
    -------
    float
        Score from 1/s to 1.
    """
    return disentanglement_score(theta, theta, correlation)


def mean_correlation_coefficient(z: Latents, theta: Samples, rank: bool = False) -> float:
    """MCC: mean absolute correlation of each factor with the latent assigned to it.

    The assignment is one-to-one and maximises the sum; a factor left without a latent counts 0.
    From 0 to 1. Invariant to shift, scale, sign and order of the latents, and to any increasing
    function of a latent with ``rank``. Two latents that are a 45-degree rotation of two
    independent factors score 0.71, so MCC separates less than S_D.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    rank : bool
        Spearman's instead of Pearson's correlation.

    Returns
    -------
    float
        Score from 0 to 1.

    Raises
    ------
    DataError
        If shapes or values are invalid, or a factor is constant.

    References
    ----------
    Hyvarinen and Morioka, NeurIPS 2016 (arXiv:1605.06336), section 5.
    """
    # these take long: not for `dvae claims`
    from scipy.optimize import linear_sum_assignment
    from scipy.stats import rankdata

    z, theta = as_pair(z, theta)
    if rank:
        ranks = rankdata(z, axis=0)
        z, theta = np.where(varying(z), ranks, 0.0), rankdata(theta, axis=0)
    correlation = np.abs(correlations(z, theta))
    matched = correlation[linear_sum_assignment(correlation, maximize=True)]
    return float(matched.sum() / theta.shape[1])


def total_correlation(
    z: Latents, method: Literal["gaussian", "knn"] = "gaussian", n_neighbors: int = 3
) -> float:
    r"""Total correlation KL[q(z) || prod_i q(z_i)] of the latents, in nats (section 7).

    Needs no factors: low means independent latents, which is disentangled only if the factors are
    independent too, and only if something else than independence fixes the axes (any rotation of
    a standard normal z scores 0).

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    method : {"gaussian", "knn"}
        ``"gaussian"``: :math:`-\frac{1}{2} \log \det C` of the correlation matrix, exact for
        Gaussian z, a lower estimate for other z (it sees only covariances); infinite for latents
        that depend on each other linearly. ``"knn"``: Kraskov's estimator for n variables.
    n_neighbors : int
        Neighbours of the k-NN estimator.

    Returns
    -------
    float
        Nats; a constant latent is independent of all others and left out; 0 for one latent.
        The k-NN estimate scatters around 0 for independent latents.

    Raises
    ------
    DataError
        If shape, values, method or ``n_neighbors`` are invalid, or, for ``"knn"``, if points
        coincide.

    References
    ----------
    Kraskov, Stogbauer and Grassberger, Phys. Rev. E 69 (2004) 066138, eq. 23; Kim and Mnih, ICML
    2018 (arXiv:1802.05983).
    """
    z = as_samples(z, "z")
    if method not in ("gaussian", "knn"):
        raise DataError(f"method must be 'gaussian' or 'knn', got {method!r}")
    z = standardised(z[:, varying(z)])
    n_samples, n = z.shape
    if n < 2:
        return 0.0
    if method == "gaussian":
        correlation = z.T @ z / n_samples
        if np.linalg.matrix_rank(z) < n:
            return float("inf")
        return float(max(0.0, -0.5 * np.linalg.slogdet(correlation)[1]))
    if not 1 <= n_neighbors < n_samples:
        raise DataError(f"n_neighbors must be between 1 and {n_samples - 1}, got {n_neighbors}")
    from scipy.spatial import cKDTree  # takes long: not for `dvae claims`

    radius = cKDTree(z).query(z, k=[n_neighbors + 1], p=np.inf)[0][:, 0]
    if not radius.min() > 0:
        raise DataError("some samples of z coincide: their k-NN total correlation is infinite")
    value = digamma(n_neighbors) + (n - 1) * digamma(n_samples)
    radius *= 1 - 1e-9  # the neighbour at this distance is outside, whatever the rounding
    for column in z.T:
        ordered = np.sort(column)
        count = np.searchsorted(ordered, column + radius, "right") - np.searchsorted(
            ordered, column - radius, "left"
        )
        value -= digamma(count).mean()
    return float(value)

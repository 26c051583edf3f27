"""Scores of disentanglement for continuous factors: S_D (eq. 6) and those of the literature.

Every score takes latents z (N, n) and factors theta (N, s) of the same N samples, as arrays or
tensors, and trains no network. Notes state which changes of z a score ignores. A latent that is
constant (collapsed) gives a documented value everywhere; a latent that merely lost its
information still has small random covariances with the factors, and scores that only compare its
factors with each other (S_D, modularity) then return noise.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree
from scipy.special import digamma
from scipy.stats import entropy, rankdata
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_selection import mutual_info_regression
from sklearn.linear_model import LassoCV, LogisticRegression
from sklearn.metrics import mutual_info_score, roc_auc_score
from sklearn.model_selection import train_test_split

from dvae.analysis._checks import Latents, Samples, as_pair, as_samples, varying
from dvae.analysis.divergence import shape_score
from dvae.errors import DataError
from dvae.threads import one_thread

__all__ = [
    "DCI",
    "all_scores",
    "beta_vae_score",
    "ceiling",
    "dci_scores",
    "disentanglement_score",
    "explicitness_score",
    "factor_vae_score",
    "mean_correlation_coefficient",
    "modularity_score",
    "mutual_information",
    "mutual_information_gap",
    "sap_score",
    "total_correlation",
]

_MIN_SAMPLES = 32  # below this a regressor or a table of bins has nothing to learn from


# --- Covariances ----------------------------------------------------------------------------


def _standardised(columns: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and variance 1; constant columns become 0."""
    centred = columns - columns.mean(0)
    active = varying(columns)
    return np.where(active, centred / np.where(active, centred.std(0), 1.0), 0.0)


def _correlations(z: np.ndarray, theta: np.ndarray) -> Float[np.ndarray, "latent factor"]:
    """Absolute Pearson correlations; 0 for a constant latent."""
    return np.abs(_standardised(z).T @ _standardised(theta)) / len(z)


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
    """
    z, theta = as_pair(z, theta)
    if correlation:
        theta = _standardised(theta)
    covariance = np.abs(_standardised(z).T @ (theta - theta.mean(0)))
    share = np.full(z.shape[1], 1 / theta.shape[1])
    np.divide(covariance.max(1), covariance.sum(1), out=share, where=covariance.any(1))
    return float(share.mean())


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


def sap_score(z: Latents, theta: Samples) -> float:
    """SAP, separated attribute predictability, with R^2 as the score of a predictor.

    For each factor, the squared correlation with the best latent minus that with the second best
    (0 if there is only one latent), averaged over factors. From 0 to 1; a constant latent
    predicts nothing. Invariant to shift, scale, sign and order of the latents. Only linear
    dependence counts.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.

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
    Kumar, Sattigeri and Balakrishnan, ICLR 2018 (arXiv:1711.00848), section 3.
    """
    return _mean_gap(_correlations(*as_pair(z, theta)) ** 2)


def _mean_gap(table: Float[np.ndarray, "latent factor"]) -> float:
    """Largest minus second largest entry of each column, averaged over columns."""
    ordered = np.sort(np.vstack([np.zeros_like(table[:1]), table]), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


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
    z, theta = as_pair(z, theta)
    if rank:
        z, theta = rankdata(z, axis=0), rankdata(theta, axis=0)
    correlation = _correlations(z, theta)
    matched = correlation[linear_sum_assignment(correlation, maximize=True)]
    return float(matched.sum() / theta.shape[1])


# --- Mutual information ---------------------------------------------------------------------


def _default_bins(n_samples: int) -> int:
    """Quantile bins per variable: the cube root of N, so that N^(1/3) samples share a cell."""
    return max(2, int(np.cbrt(n_samples) + 1e-9))


def _quantile_bins(columns: np.ndarray, n_bins: int) -> Int[np.ndarray, "sample column"]:
    """Number of the equally populated bin of each entry; equal entries share a bin."""
    rank = rankdata(columns, axis=0) - 0.5
    return (rank * n_bins / len(columns)).astype(int)


def _bins(n_samples: int, n_bins: int | None) -> int:
    if n_bins is None:
        return _default_bins(n_samples)
    if not 2 <= n_bins <= n_samples // 2:
        raise DataError(f"n_bins must be between 2 and {n_samples // 2}, got {n_bins}")
    return n_bins


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
    z, theta = as_pair(z, theta, _MIN_SAMPLES)
    table = np.zeros((z.shape[1], theta.shape[1]))
    active = varying(z)
    if method == "binned":
        bins = _bins(len(z), n_bins)
        z_bins, theta_bins = _quantile_bins(z, bins), _quantile_bins(theta, bins)
        for i, j in np.ndindex(table.shape):
            table[i, j] = mutual_info_score(z_bins[:, i], theta_bins[:, j])
    elif method == "knn":
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
    z, theta = as_pair(z, theta, _MIN_SAMPLES)
    bins = _bins(len(z), n_bins)
    factor_bins = _quantile_bins(theta, bins)
    factor_entropy = [entropy(np.bincount(column)) for column in factor_bins.T]
    return _mean_gap(mutual_information(z, theta, "binned", bins) / factor_entropy)


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
    z = _standardised(z[:, varying(z)])
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


# --- Predictors -----------------------------------------------------------------------------


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness, with the importances behind them."""

    disentanglement: float
    completeness: float
    informativeness: float
    importance: Float[np.ndarray, "latent factor"]


def _concentration(table: Float[np.ndarray, "row column"]) -> Float[np.ndarray, " row"]:
    """1 - entropy of each row to base (number of columns); 0 for a row of zeros."""
    total = table.sum(1)
    result = np.zeros(len(table))
    used = total > 0
    if table.shape[1] == 1:
        result[used] = 1.0
    elif used.any():
        result[used] = 1 - entropy(table[used], axis=1, base=table.shape[1])
    return result


def dci_scores(
    z: Latents,
    theta: Samples,
    regressor: Literal["boosting", "forest", "lasso"] = "boosting",
    seed: int = 0,
) -> DCI:
    """DCI: concentration of the importance of latents in regressors of the factors.

    One regressor per factor is fitted to standardised latents on 80 % of the samples.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    regressor : {"boosting", "forest", "lasso"}
        Gradient boosting or random forest (scikit-learn's impurity importances), or a linear
        model with cross-validated L1 penalty (absolute coefficients).
    seed : int
        Seed of the split and of the regressor.

    Returns
    -------
    DCI
        ``disentanglement``: 1 - entropy of a latent's importances over factors, averaged over
        latents with their total importance as weight. ``completeness``: 1 - entropy of a factor's
        importances over latents, averaged over factors. ``informativeness``: R^2 on the other
        20 % of the samples, not below 0, averaged over factors. All from 0 to 1; constant latents
        have no importance, and if all are constant all three are 0. ``importance``: (n, s),
        columns sum to 1 (or are 0).

    Raises
    ------
    DataError
        If shapes or values are invalid, N is below 32, a factor is constant, or the regressor is
        unknown.

    Notes
    -----
    Invariant to shift and scale of the latents; to their order and sign up to the regressor's
    random ties. Repeating every latent lowers completeness, not disentanglement. Importances are
    relative: for a factor that the latents do not know they are noise, so the first two scores
    mean something only where informativeness is high.

    References
    ----------
    Eastwood and Williams, ICLR 2018 (openreview By-7dz-AZ); R^2 in the place of their normalised
    prediction error.
    """
    z, theta = as_pair(z, theta, _MIN_SAMPLES)
    if regressor not in ("boosting", "forest", "lasso"):
        raise DataError(f"regressor must be 'boosting', 'forest' or 'lasso', got {regressor!r}")
    z, theta = _standardised(z), _standardised(theta)
    z_train, z_test, theta_train, theta_test = train_test_split(
        z, theta, test_size=0.2, random_state=seed
    )
    importance = np.zeros((z.shape[1], theta.shape[1]))
    accuracy = np.zeros(theta.shape[1])
    for j in range(theta.shape[1] if z.any() else 0):
        if regressor == "lasso":
            model = LassoCV(cv=5).fit(z_train, theta_train[:, j])
            column = np.abs(model.coef_)
        else:
            kind = GradientBoostingRegressor if regressor == "boosting" else RandomForestRegressor
            model = kind(random_state=seed).fit(z_train, theta_train[:, j])
            column = model.feature_importances_
        importance[:, j] = column / (column.sum() or 1.0)
        accuracy[j] = max(0.0, model.score(z_test, theta_test[:, j]))
    weight = importance.sum(1)
    disentanglement = _concentration(importance) @ weight / (weight.sum() or 1.0)
    completeness = _concentration(importance.T).mean()
    return DCI(float(disentanglement), float(completeness), float(accuracy.mean()), importance)


@one_thread()  # of a classifier that takes milliseconds
def explicitness_score(z: Latents, theta: Samples, n_bins: int = 4, seed: int = 0) -> float:
    """Explicitness: can a linear classifier read the factors off the latents?

    Adapted to continuous factors: a factor's values are its ``n_bins`` quantile bins. A
    multinomial logistic regression on standardised latents is fitted to half of the samples; on
    the other half, the area A under the ROC curve of each bin against the rest gives 2A - 1,
    averaged over bins and factors.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    n_bins : int
        Quantile bins, from 2 to N/8.
    seed : int
        Seed of the split.

    Returns
    -------
    float
        Score up to 1; about 0 for useless latents and exactly 0 if all are constant.

    Raises
    ------
    DataError
        If shapes or values are invalid, N is below 32, a factor is constant or takes so few
        values that a bin is empty, or n_bins is out of range.

    Notes
    -----
    Invariant to shift, scale, sign and order of the latents, and up to the classifier's small
    penalty to rotation: it measures information, not alignment with the axes.

    References
    ----------
    Ridgeway and Mozer, NeurIPS 2018 (arXiv:1802.05312), section 2.
    """
    z, theta = as_pair(z, theta, _MIN_SAMPLES)
    if not 2 <= n_bins <= len(z) // 8:
        raise DataError(f"n_bins must be between 2 and {len(z) // 8}, got {n_bins}")
    z = _standardised(z)
    area = []
    for j, labels in enumerate(_quantile_bins(theta, n_bins).T):
        if np.bincount(labels, minlength=n_bins).min() < 2:
            raise DataError(f"factor {j} leaves one of {n_bins} quantile bins empty; ask for fewer")
        z_train, z_test, train, test = train_test_split(
            z, labels, test_size=0.5, random_state=seed, stratify=labels
        )
        chance = LogisticRegression(max_iter=1000).fit(z_train, train).predict_proba(z_test)
        area += [roc_auc_score(test == b, chance[:, b]) for b in range(n_bins)]
    return float(2 * np.mean(area) - 1)


# --- Interventions --------------------------------------------------------------------------


def _factor_batches(
    column: np.ndarray, n_bins: int, shape: tuple[int, ...], rng: np.random.Generator
) -> Int[np.ndarray, "vote ..."]:
    """Samples that share a quantile bin of one factor, one bin per vote, with replacement."""
    bins = np.array_split(np.argsort(column, kind="stable"), n_bins)
    choice = [rng.choice(bins[b], shape[1:]) for b in rng.integers(n_bins, size=shape[0])]
    return np.stack(choice)


def factor_vae_score(
    z: Latents,
    theta: Samples,
    n_bins: int | None = None,
    n_votes: int = 200,
    batch_size: int = 64,
    seed: int = 0,
) -> float:
    """FactorVAE score: does the latent that varies least tell which factor was held?

    The original fixes a factor in a generator. Without one, "fixed" means: within one quantile
    bin of that factor, all other factors free. Each vote draws such a batch and names the latent
    of least variance relative to its variance over all samples; a majority-vote classifier from
    latent to factor is learned on half of the votes and scored on the other half.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    n_bins : int, optional
        Quantile bins, by default the integer part of the cube root of N.
    n_votes : int
        Votes per factor, half to learn and half to score.
    batch_size : int
        Samples per vote.
    seed : int
        Seed of the draws.

    Returns
    -------
    float
        Accuracy from about 1/s (chance) to 1. Constant latents are left out; if all are constant
        the score is 1/s.

    Raises
    ------
    DataError
        If shapes or values are invalid, N is below 32, a factor is constant, or an option is out
        of range.

    Notes
    -----
    Invariant to shift, scale, sign and order of the latents, and to repeated latents. An
    accuracy: it saturates at 1 well before the latents are aligned with the factors.

    References
    ----------
    Kim and Mnih, ICML 2018 (arXiv:1802.05983), section 4.
    """
    z, theta = as_pair(z, theta, _MIN_SAMPLES)
    bins = _intervention_options(len(z), n_bins, n_votes, batch_size)
    z = _standardised(z[:, varying(z)])
    n_factors = theta.shape[1]
    if z.shape[1] == 0:
        return 1 / n_factors
    rng = np.random.default_rng(seed)
    counts = np.zeros((2, z.shape[1], n_factors))  # learn and score, latent, factor
    for j, column in enumerate(theta.T):
        batches = _factor_batches(column, bins, (n_votes, batch_size), rng)
        vote = z[batches].var(1).argmin(1)
        counts[:, :, j] = [
            np.bincount(part, minlength=z.shape[1]) for part in np.array_split(vote, 2)
        ]
    learned = counts[0].argmax(1)
    return float(counts[1][np.arange(z.shape[1]), learned].sum() / counts[1].sum())


@one_thread()  # of a classifier that takes milliseconds
def beta_vae_score(
    z: Latents,
    theta: Samples,
    n_bins: int | None = None,
    n_votes: int = 200,
    batch_size: int = 64,
    seed: int = 0,
) -> float:
    """beta-VAE score: does the mean difference of latents tell which factor was held?

    As in :func:`factor_vae_score` a factor is held within a quantile bin. Each vote draws
    ``batch_size`` pairs that share the bin; the mean absolute difference of every standardised
    latent is the input of a logistic regression that names the factor, learned on half of the
    votes and scored on the other half.

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples.
    n_bins : int, optional
        Quantile bins, by default the integer part of the cube root of N.
    n_votes : int
        Votes per factor, half to learn and half to score.
    batch_size : int
        Pairs per vote.
    seed : int
        Seed of the draws.

    Returns
    -------
    float
        Accuracy from about 1/s (chance) to 1; 1 if there is one factor and 1/s if all latents
        are constant.

    Raises
    ------
    DataError
        If shapes or values are invalid, N is below 32, a factor is constant, or an option is out
        of range.

    Notes
    -----
    Invariant to shift, scale, sign and order of the latents. The easiest score to satisfy: the
    classifier combines all latents.

    References
    ----------
    Higgins et al., ICLR 2017 (openreview Sy2fzU9gl), section 3.
    """
    z, theta = as_pair(z, theta, _MIN_SAMPLES)
    bins = _intervention_options(len(z), n_bins, n_votes, batch_size)
    z = _standardised(z)
    n_factors = theta.shape[1]
    if n_factors == 1 or not z.any():
        return 1 / n_factors
    rng = np.random.default_rng(seed)
    features = []
    for column in theta.T:
        first, second = np.moveaxis(
            _factor_batches(column, bins, (n_votes, batch_size, 2), rng), -1, 0
        )
        features.append(np.abs(z[first] - z[second]).mean(1))
    votes = np.stack(features)  # factor, vote, latent
    half = n_votes // 2
    labels = np.repeat(np.arange(n_factors), half)
    scale = votes[:, :half].std((0, 1)) + (votes[:, :half].std((0, 1)) == 0)
    learn, score = (
        (part / scale).reshape(n_factors * half, -1)
        for part in (votes[:, :half], votes[:, half : 2 * half])
    )
    return float(LogisticRegression(max_iter=1000).fit(learn, labels).score(score, labels))


def _intervention_options(n_samples: int, n_bins: int | None, n_votes: int, size: int) -> int:
    if n_votes < 2 or size < 2:
        raise DataError(f"n_votes and batch_size must be at least 2, got {n_votes} and {size}")
    return _bins(n_samples, n_bins)


# --- All of them ----------------------------------------------------------------------------


def all_scores(z: Latents, theta: Samples, seed: int = 0) -> dict[str, float]:
    """Every score of this module with its default options, and S_KL (eqs 6 and 7).

    Parameters
    ----------
    z : array or tensor of shape (N, n)
        Latents.
    theta : array or tensor of shape (N, s)
        Factors of the same samples, N at least 32.
    seed : int
        Seed of the scores that draw or split samples.

    Returns
    -------
    dict of str to float
        ``s_d``, ``s_d_correlation``, ``s_d_ceiling``, ``s_kl`` (nats, low is good; NaN if n
        differs from s), ``mig``, ``dci_disentanglement``, ``dci_completeness``,
        ``dci_informativeness``, ``sap``, ``factor_vae``, ``beta_vae``, ``modularity``,
        ``explicitness``, ``mcc``, ``total_correlation`` (nats, Gaussian).

    Raises
    ------
    DataError
        If shapes or values are invalid, N is below 32, or a factor is constant.
    """
    z, theta = as_pair(z, theta, _MIN_SAMPLES)
    dci = dci_scores(z, theta, seed=seed)
    return {
        "s_d": disentanglement_score(z, theta),
        "s_d_correlation": disentanglement_score(z, theta, correlation=True),
        "s_d_ceiling": ceiling(theta),
        "s_kl": shape_score(z, theta) if z.shape[1] == theta.shape[1] else float("nan"),
        "mig": mutual_information_gap(z, theta),
        "dci_disentanglement": dci.disentanglement,
        "dci_completeness": dci.completeness,
        "dci_informativeness": dci.informativeness,
        "sap": sap_score(z, theta),
        "factor_vae": factor_vae_score(z, theta, seed=seed),
        "beta_vae": beta_vae_score(z, theta, seed=seed),
        "modularity": modularity_score(z, theta),
        "explicitness": explicitness_score(z, theta, seed=seed),
        "mcc": mean_correlation_coefficient(z, theta),
        "total_correlation": total_correlation(z),
    }

"""Scores of predictors of the factors from the latents: SAP, DCI, explicitness."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import entr

from dvae.analysis._checks import Latents, Samples, as_pair
from dvae.analysis._columns import (
    MIN_SAMPLES,
    correlations,
    mean_gap,
    standardised,
    value_classes,
)
from dvae.errors import DataError
from dvae.threads import one_thread

__all__ = ["DCI", "dci_scores", "explicitness_score", "sap_score"]


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
    return mean_gap(correlations(*as_pair(z, theta)) ** 2)


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
        share = table[used] / total[used, None]
        result[used] = 1 - entr(share).sum(1) / np.log(table.shape[1])
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
    # scikit-learn takes long to import: here, for the other scores need none of it
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.linear_model import LassoCV
    from sklearn.model_selection import train_test_split

    z, theta = as_pair(z, theta, MIN_SAMPLES)
    if regressor not in ("boosting", "forest", "lasso"):
        raise DataError(f"regressor must be 'boosting', 'forest' or 'lasso', got {regressor!r}")
    z, theta = standardised(z), standardised(theta)
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

    Adapted to continuous factors: the classes of a factor are its ``n_bins`` quantile bins, or its
    values if it takes no more than that. A
    multinomial logistic regression on standardised latents is fitted to half of the samples; on
    the other half, the area A under the ROC curve of each class against the rest gives 2A - 1,
    averaged over classes and factors.

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
        If shapes or values are invalid, N is below 32, a factor is constant, a class has fewer than
        2 samples, or n_bins is out of range.

    Notes
    -----
    Invariant to shift, scale, sign and order of the latents, and up to the classifier's small
    penalty to rotation: it measures information, not alignment with the axes.

    References
    ----------
    Ridgeway and Mozer, NeurIPS 2018 (arXiv:1802.05312), section 2.
    """
    from sklearn.linear_model import LogisticRegression  # these take long
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import train_test_split

    z, theta = as_pair(z, theta, MIN_SAMPLES)
    if not 2 <= n_bins <= len(z) // 8:
        raise DataError(f"n_bins must be between 2 and {len(z) // 8}, got {n_bins}")
    z = standardised(z)
    area = []
    for j, column in enumerate(theta.T):
        labels = value_classes(column, n_bins)
        count = np.bincount(labels, minlength=min(n_bins, len(np.unique(column))))
        if count.min() < 2:
            raise DataError(
                f"factor {j} leaves one of {len(count)} classes with fewer than 2 samples; ask for "
                "fewer bins"
            )
        z_train, z_test, train, test = train_test_split(
            z, labels, test_size=0.5, random_state=seed, stratify=labels
        )
        chance = LogisticRegression(max_iter=1000).fit(z_train, train).predict_proba(z_test)
        area += [roc_auc_score(test == b, chance[:, b]) for b in range(len(count))]
    return float(2 * np.mean(area) - 1)

"""From a few noisy measurements to latents and factors, with intervals (no equation of the paper).

Bayes' rule on a grid of the latent space, with a decoder as the model of the measurements, and
linear regression from latents to factors whose predictions are Student's t distributions: exact
intervals, however few the labels, if the factors are linear in the latents.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.special import stdtr

from dvae.errors import DataError

__all__ = [
    "LinearPredictor",
    "calibrated_coverage",
    "calibrated_levels",
    "coverage_position",
    "draw_from_grid",
    "follow_factors",
    "grid_posterior",
]


@dataclass(frozen=True)
class LinearPredictor:
    """Least squares with an intercept, and the distribution of what it predicts.

    A new value is ``mean + scale * t``, t of Student's distribution with ``degrees`` degrees of
    freedom: the posterior predictive distribution under the reference prior 1 / variance
    (Gelman et al., Bayesian Data Analysis, 3rd edition, section 14.2).

    Attributes
    ----------
    coefficients : array of shape (1 + n,)
        Intercept first.
    variance : float
        Residual sum of squares over ``degrees``.
    inverse : array of shape (1 + n, 1 + n)
        Inverse Gram matrix of the regressors.
    degrees : int
        Samples minus 1 + n.
    """

    coefficients: Float[np.ndarray, " regressor"]
    variance: float
    inverse: Float[np.ndarray, "regressor regressor"]
    degrees: int

    @classmethod
    def fit(
        cls, latents: Float[np.ndarray, "label n"], factor: Float[np.ndarray, " label"]
    ) -> LinearPredictor:
        """Fit to labelled samples.

        Raises
        ------
        DataError
            If there are not at least n + 2 labels, or latents do not determine the regression.
        """
        regressors = _with_intercept(latents)
        degrees = len(regressors) - regressors.shape[1]
        if degrees < 1:
            raise DataError(
                f"a regression on {latents.shape[1]} latents with an interval needs at least "
                f"{latents.shape[1] + 2} labels, got {len(latents)}"
            )
        coefficients, _, rank, _ = np.linalg.lstsq(regressors, factor, rcond=None)
        if rank < regressors.shape[1]:
            raise DataError("the labelled latents lie in a subspace: no regression is determined")
        residual = factor - regressors @ coefficients
        inverse = np.linalg.inv(regressors.T @ regressors)
        return cls(coefficients, float(residual @ residual) / degrees, inverse, degrees)

    def predict(
        self, latents: Float[np.ndarray, "sample n"]
    ) -> tuple[Float[np.ndarray, " sample"], Float[np.ndarray, " sample"]]:
        """Location and scale of the predicted factor of new samples."""
        regressors = _with_intercept(latents)
        leverage = np.einsum("ij,jk,ik->i", regressors, self.inverse, regressors)
        return regressors @ self.coefficients, np.sqrt(self.variance * (1 + leverage))


def _with_intercept(latents: Float[np.ndarray, "sample n"]) -> Float[np.ndarray, "sample more"]:
    return np.column_stack([np.ones(len(latents)), latents])


def follow_factors(
    latents: Float[np.ndarray, "label n"], theta: Float[np.ndarray, "label factor"]
) -> Int[np.ndarray, " factor"]:
    """Which latent follows each factor by a few labels: the assignment of most correlation.

    Raises
    ------
    DataError
        If there are fewer latents than factors.
    """
    n = latents.shape[1]
    if n < theta.shape[1]:
        raise DataError(f"{theta.shape[1]} factors cannot each follow one of {n} latents")
    strength = np.nan_to_num(np.abs(np.corrcoef(latents.T, theta.T)[:n, n:]))
    return linear_sum_assignment(-strength.T)[1]


def grid_posterior(
    predicted: Float[np.ndarray, "node sensor"],
    measured: Float[np.ndarray, "sample sensor"],
    covariance: Float[np.ndarray, "sensor sensor"],
    log_prior: Float[np.ndarray, " node"],
) -> Float[np.ndarray, "sample node"]:
    """Probabilities of the nodes of a latent grid, given measurements.

    Parameters
    ----------
    predicted : array of shape (G, S)
        What the decoder expects at every sensor, for every node.
    measured : array of shape (N, S)
        Measurements of N samples.
    covariance : array of shape (S, S)
        Of measurement noise and of the decoder's error.
    log_prior : array of shape (G,)
        Log density of the prior at the nodes, up to a constant.

    Returns
    -------
    array of shape (N, G)
        Non-negative, every row with sum 1.

    Raises
    ------
    DataError
        If the covariance is not symmetric and positive definite, or a number is not finite.
    """
    if not all(np.isfinite(values).all() for values in (predicted, measured, covariance)):
        raise DataError("predictions, measurements and their covariance must be finite")
    if not np.allclose(covariance, np.transpose(covariance)):
        raise DataError("the covariance of the measurements is not symmetric")
    try:
        root = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError as error:
        raise DataError("the covariance of the measurements is not positive definite") from error
    nodes, samples = (np.linalg.solve(root, a.T).T for a in (predicted, measured))
    log = samples @ nodes.T - 0.5 * (nodes**2).sum(1) + log_prior
    weights = np.exp(log - log.max(1, keepdims=True))
    return weights / weights.sum(1, keepdims=True)


def draw_from_grid(
    weights: Float[np.ndarray, "sample node"],
    nodes: Float[np.ndarray, "node n"],
    spacing: float,
    draws: int,
    rng: np.random.Generator,
) -> Float[np.ndarray, "sample draw n"]:
    """Draws of a posterior on a square grid, uniform within the cells about its nodes."""
    cumulative = weights.cumsum(1)
    uniform = rng.random((len(weights), draws)) * cumulative[:, -1:]
    chosen = np.stack(
        [np.searchsorted(c, u) for c, u in zip(cumulative, uniform, strict=True)]
    ).clip(max=len(nodes) - 1)
    return nodes[chosen] + spacing * (rng.random((*chosen.shape, nodes.shape[1])) - 0.5)


def coverage_position(
    truth: Float[np.ndarray, " sample"],
    location: Float[np.ndarray, "sample draw"],
    scale: Float[np.ndarray, "sample draw"],
    degrees: float,
) -> Float[np.ndarray, " sample"]:
    """Posterior probability below the true value: uniform between 0 and 1 if intervals are right.

    Parameters
    ----------
    truth : array of shape (N,)
        True values.
    location, scale : array of shape (N, K)
        The posterior is a mixture of K Student t distributions with these, equally weighted.
    degrees : float
        Their degrees of freedom.
    """
    return stdtr(degrees, (truth[:, None] - location) / scale).mean(1)


def calibrated_levels(
    positions: Float[np.ndarray, " label"], levels: Float[np.ndarray, " level"]
) -> Float[np.ndarray, " level"]:
    """Levels at which central intervals are to be taken, so that they hold what they promise.

    A labelled sample that was left out of a regression is as a new one: the share of probability
    in the smallest central interval that holds its true value, ``abs(2 * position - 1)``, takes
    any rank among n of them, and a new one stands at any place between them, equally often. The
    interval as large as that of rank k thus holds a new value with probability k / (n + 1), and k
    is the least one for which that is no less than asked (the jackknife of Barber, Candes, Ramdas
    and Tibshirani, Annals of Statistics 49, 2021, with this share as the score). Nothing is
    assumed of the errors, but that a regression on n - 1 samples is as good as one on n, and that
    nothing else saw the labels.

    Parameters
    ----------
    positions : array of shape (n,)
        Posterior probability below the true value of every labelled sample
        (:func:`dvae.analysis.inverse.coverage_position`), by the others.
    levels : array of shape (k,)
        Probabilities asked for, between 1 / (n + 1) and 1.

    Returns
    -------
    array of shape (k,)
        NaN where n samples are too few: for levels above n / (n + 1).

    Examples
    --------
    >>> positions = np.array([0.5, 0.9, 0.2, 0.45])
    >>> calibrated_levels(positions, np.array([0.4, 0.8, 0.9])).round(3)
    array([0.1, 0.8, nan])
    """
    shares = np.append(np.sort(np.abs(2 * positions - 1)), np.nan)
    return shares[_ranks(len(positions), levels) - 1]


def calibrated_coverage(n: int, levels: Float[np.ndarray, " level"]) -> Float[np.ndarray, " level"]:
    """How often intervals at :func:`dvae.analysis.inverse.calibrated_levels` hold a new value.

    No less than the levels that were asked for; NaN where n samples are too few.
    """
    ranks = _ranks(n, levels)
    return np.where(ranks > n, np.nan, ranks / (n + 1))


def _ranks(n: int, levels: Float[np.ndarray, " level"]) -> Int[np.ndarray, " level"]:
    """Least rank k with k / (n + 1) >= level, whatever the rounding; n + 1 where there is none."""
    return np.clip(np.ceil((n + 1) * levels - 1e-9), 1, n + 1).astype(int)

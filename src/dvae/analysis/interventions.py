"""Scores of interventions: which latent betrays a factor that is held (FactorVAE, beta-VAE)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from dvae.analysis._checks import Latents, Samples, as_pair, varying
from dvae.analysis._columns import MIN_SAMPLES, checked_bins, standardised
from dvae.errors import DataError
from dvae.threads import one_thread

__all__ = ["beta_vae_score", "factor_vae_score"]


def _factor_batches(
    column: np.ndarray, n_bins: int, shape: tuple[int, ...], rng: np.random.Generator
) -> Int[np.ndarray, "vote ..."]:
    """Samples that share a quantile bin of one factor, one bin per vote, with replacement.

    Of a factor with ``n_bins`` values or fewer every value is a bin of its own, unless one sample
    alone has it: such a batch would not vary at all.
    """
    order = np.argsort(column, kind="stable")
    changes = np.flatnonzero(np.diff(column[order])) + 1
    few = len(changes) < n_bins
    bins = np.split(order, changes) if few else np.array_split(order, n_bins)
    bins = [own for own in bins if len(own) > 1]
    choice = [rng.choice(bins[b], shape[1:]) for b in rng.integers(len(bins), size=shape[0])]
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
    z, theta = as_pair(z, theta, MIN_SAMPLES)
    bins = _intervention_options(len(z), n_bins, n_votes, batch_size)
    z = standardised(z[:, varying(z)])
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
    z, theta = as_pair(z, theta, MIN_SAMPLES)
    bins = _intervention_options(len(z), n_bins, n_votes, batch_size)
    z = standardised(z)
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
    from sklearn.linear_model import LogisticRegression  # takes long

    return float(LogisticRegression(max_iter=1000).fit(learn, labels).score(score, labels))


def _intervention_options(n_samples: int, n_bins: int | None, n_votes: int, size: int) -> int:
    if n_votes < 2 or size < 2:
        raise DataError(f"n_votes and batch_size must be at least 2, got {n_votes} and {size}")
    return checked_bins(n_samples, n_bins)

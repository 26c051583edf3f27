"""Do runs agree with each other? What can be said of several models without any factor."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from dvae.analysis._columns import correlations
from dvae.errors import DataError

__all__ = ["agreement_of_runs", "agreement_of_turned", "latent_agreement", "typical_run"]


def latent_agreement(
    latents: Float[np.ndarray, "run sample latent"],
) -> Float[np.ndarray, "run run"]:
    """How far the latents of every two runs are the same, up to order, sign and scale.

    The absolute rank correlations of the latents of two runs, paired so that their sum is largest,
    averaged over latents: 1 if every latent of one run is a monotone function of one of the other.
    A latent that is constant in a run tells of no sample and counts 0.

    Parameters
    ----------
    latents : array (run, sample, latent)
        Latent means of several models on the same samples.

    Returns
    -------
    array (run, run)
        Symmetric, between 0 and 1; NaN in rows and columns of runs that diverged (latents that are
        not finite).

    Raises
    ------
    DataError
        If the latents do not have three axes, or fewer than two samples.

    References
    ----------
    Duan et al., Unsupervised Model Selection for Variational Disentangled Representation Learning,
    ICLR 2020, whose similarity of two models with rank correlations is like this one (theirs
    compares only latents that are in use).
    """
    from scipy.stats import rankdata  # takes long: not for `dvae claims`

    z = np.asarray(latents, dtype=float)
    if z.ndim != 3 or z.shape[1] < 2:
        raise DataError(
            f"latents must have shape (runs, 2 or more samples, latents), got {z.shape}"
        )
    finite = np.isfinite(z).all((1, 2))
    ranks = rankdata(z[finite], axis=1)
    agreement = np.full((len(z), len(z)), np.nan)
    kept = np.flatnonzero(finite)
    for (i, a), (j, b) in itertools.combinations_with_replacement(zip(kept, ranks, strict=True), 2):
        size = np.abs(correlations(a, b))
        agreement[i, j] = agreement[j, i] = size[linear_sum_assignment(-size)].mean()
    return agreement


def agreement_of_runs(agreement: Float[np.ndarray, "run run"]) -> Float[np.ndarray, " run"]:
    """Median agreement of every run with the others that did not diverge.

    Parameters
    ----------
    agreement : array (run, run)
        From :func:`latent_agreement`, or the rows and columns of some of its runs.

    Returns
    -------
    array (run,)
        NaN for a run that diverged, and where no other run is left to compare with.
    """
    others = np.where(np.eye(len(agreement), dtype=bool), np.nan, agreement)
    known = np.isfinite(others).any(1)
    median = np.full(len(others), np.nan)
    median[known] = np.nanmedian(others[known], axis=1)
    return median


def typical_run(agreement: Float[np.ndarray, "run run"]) -> int:
    """Number of the run that agrees best with the others; it can be told without any factor.

    Parameters
    ----------
    agreement : array (run, run)
        From :func:`latent_agreement`.

    Raises
    ------
    DataError
        If fewer than two runs can be compared.

    Notes
    -----
    What it finds is the direction that the *training* prefers. It is that of the factors where the
    training prefers the factors, and no number that is computed without them says whether it does.
    """
    median = agreement_of_runs(agreement)
    if np.isnan(median).all():
        raise DataError("fewer than two runs that did not diverge: there is nothing to agree")
    return int(np.nanargmax(median))


def agreement_of_turned(n_latents: int, draws: int = 2000, seed: int = 0) -> float:
    r"""Mean agreement of runs that differ by a random rotation: what to compare agreement with.

    For normal latents that are the same up to a rotation R, the rank correlation of two of them
    is :math:`\tfrac6\pi \arcsin(|R_{ij}| / 2)`. This is the mean of :func:`latent_agreement` over
    rotations that are drawn at random: for two latents 0.89.

    Parameters
    ----------
    n_latents : int
        Number of latents, 1 or more.
    draws : int
        Number of rotations; the result is within about 0.002 of its mean for 2000.
    seed : int
        Of the rotations.

    Raises
    ------
    DataError
        If there is no latent or no draw.
    """
    from scipy.stats import ortho_group

    if n_latents < 1 or draws < 1:
        raise DataError(f"give at least one latent and one draw, got {n_latents} and {draws}")
    if n_latents == 1:
        return 1.0
    turns = ortho_group.rvs(n_latents, size=draws, random_state=seed).reshape(
        draws, n_latents, n_latents
    )
    sizes = 6 / np.pi * np.arcsin(np.abs(turns) / 2)
    return float(np.mean([size[linear_sum_assignment(-size)].mean() for size in sizes]))

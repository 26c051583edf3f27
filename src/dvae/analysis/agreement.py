"""Do runs agree with each other? What can be said of several models without any factor."""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from dvae.analysis._checks import varying
from dvae.analysis._columns import correlations
from dvae.errors import DataError

__all__ = ["agreement_by_chance", "agreement_of_runs", "latent_agreement", "typical_run"]


def latent_agreement(
    latents: Float[np.ndarray, "run sample latent"],
    in_use: Bool[np.ndarray, "run latent"] | None = None,
) -> Float[np.ndarray, "run run"]:
    """How far the latents of every two runs are the same, up to order, sign and scale.

    Latents of one run are paired with latents of the other so that their absolute rank correlations
    have the largest sum; the agreement is this sum over the number of latents in use, that of the
    run which has more of them. It is 1 if every latent in use of one run is a strictly monotone
    function of another latent of the other, and no other is in use.

    Parameters
    ----------
    latents : array (run, sample, latent)
        Latent means of several models on the same samples.
    in_use : array of bool (run, latent), optional
        Latents that tell something about the samples (``latent_information`` above
        ``dvae.conventions.IN_USE``, say); by default those that are not constant. Others are left
        out: a latent that tells nothing still varies a little, and ranks do not know how little.

    Returns
    -------
    array (run, run)
        Symmetric, between 0 and 1. NaN in rows and columns of runs with latents that are not
        finite; 0 for a run none of whose latents is in use.

    Raises
    ------
    DataError
        If the latents do not have three axes, fewer than two samples or no latent.

    References
    ----------
    Duan et al., Unsupervised Model Selection for Variational Disentangled Representation Learning,
    ICLR 2020. To rank runs by their median similarity to others is their idea. Their similarity is
    another one: it pairs no latents, and lowers the value of one that correlates with several.
    """
    from scipy.stats import rankdata  # takes long: not for `dvae claims`

    z = np.asarray(latents, dtype=float)
    if z.ndim != 3 or z.shape[1] < 2 or not z.shape[2]:
        raise DataError(
            f"latents must have shape (runs, 2 or more samples, 1 or more latents), got {z.shape}"
        )
    kept = np.flatnonzero(np.isfinite(z).all((1, 2)))
    used = varying(z[kept]) & (True if in_use is None else np.asarray(in_use, dtype=bool)[kept])
    ranks = np.where(used[:, None], rankdata(z[kept], axis=1), 0.0)
    runs = list(zip(kept, ranks, used.sum(1), strict=True))
    agreement = np.full((len(z), len(z)), np.nan)
    for (i, a, m), (j, b, n) in itertools.combinations_with_replacement(runs, 2):
        size = np.abs(correlations(a, b))
        agreement[i, j] = size[linear_sum_assignment(-size)].sum() / max(m, n, 1)
        agreement[j, i] = agreement[i, j]
    return agreement


def agreement_of_runs(agreement: Float[np.ndarray, "run run"]) -> Float[np.ndarray, " run"]:
    """Median agreement of every run with the others whose latents are finite.

    Parameters
    ----------
    agreement : array (run, run)
        From :func:`latent_agreement`, or the rows and columns of some of its runs.

    Returns
    -------
    array (run,)
        NaN for a run whose latents are not finite, and where no other run is left to compare with.
    """
    others = np.where(np.eye(len(agreement), dtype=bool), np.nan, agreement)
    known = np.isfinite(others).any(1)
    median = np.full(len(others), np.nan)
    median[known] = np.nanmedian(others[known], axis=1)
    return median


def typical_run(agreement: Float[np.ndarray, "run run"]) -> int:
    """Number of the run that agrees best with the others; it can be told without any factor.

    Of several that agree equally well it is the first one: always so of two.

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
    What it finds is what the *training* prefers, where it prefers anything: compare the median of
    :func:`agreement_of_runs` with :func:`agreement_by_chance`. Whether that is the factors no
    number says that is computed without them.
    """
    median = agreement_of_runs(agreement)
    if np.isnan(median).all():
        raise DataError("fewer than two runs with finite latents: there is nothing to agree")
    return int(np.nanargmax(median))


def agreement_by_chance(
    n_latents: int, n_runs: int, draws: int = 100, seed: int = 0
) -> Float[np.ndarray, " draw"]:
    r"""Agreement of runs that differ by random rotations: what to compare agreement with.

    The latents are normal and every run has them turned at random, so that the rank correlation of
    two of them is :math:`\tfrac6\pi \arcsin(|R_{ij}| / 2)`, R the rotation from one run to another.

    Parameters
    ----------
    n_latents : int
        Latents in use, 1 or more.
    n_runs : int
        Runs that are compared, 2 or more.
    draws : int
        How often all runs are turned.
    seed : int
        Of the rotations.

    Returns
    -------
    array (draw,)
        Median over runs of :func:`agreement_of_runs`. For two latents its mean is 0.89 with two
        runs and 0.92 with many.

    Raises
    ------
    DataError
        If there is no latent, no draw or fewer than two runs.
    """
    if n_latents < 1 or draws < 1 or n_runs < 2:
        raise DataError(
            "give one latent or more, one draw or more and two runs or more, got "
            f"{n_latents}, {draws} and {n_runs}"
        )
    rng, found = np.random.default_rng(seed), np.empty(draws)
    for draw in range(draws):
        turns = np.linalg.qr(rng.standard_normal((n_runs, n_latents, n_latents)))[0]
        table = np.ones((n_runs, n_runs))
        for i, j in itertools.combinations(range(n_runs), 2):
            size = 6 / np.pi * np.arcsin(np.minimum(np.abs(turns[i].T @ turns[j]), 1) / 2)
            table[i, j] = table[j, i] = size[linear_sum_assignment(-size)].mean()
        found[draw] = np.median(agreement_of_runs(table))
    return found

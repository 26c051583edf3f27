"""Latents that collapsed and latents that diverged: what a score says of them, one rule for all.

A latent is *collapsed* if it is finite and the same in every sample: the model trained, and the
latent ignores the data. It counts as the least that a score can give. A run is *diverged* if any
of its latents is NaN or infinite: there is nothing to score. The table is in :func:`score_runs`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from jaxtyping import Float

from dvae.analysis._checks import Latents

__all__ = ["is_diverged", "score_runs"]


def is_diverged(z: Latents) -> bool:
    """Whether a latent (array or tensor of shape (N, n)) is NaN or infinite in any sample."""
    values = z.detach().cpu() if hasattr(z, "detach") else z
    return not np.isfinite(np.asarray(values, dtype=float)).all()


def score_runs(
    score: Callable[..., float], latents: Iterable[Latents], *arguments: Any, **options: Any
) -> Float[np.ndarray, " run"]:
    """A score of every run of an ensemble; NaN for the runs that diverged.

    Parameters
    ----------
    score : callable
        Score of this package; called as ``score(z, *arguments, **options)``.
    latents : array of shape (M, N, n), or M arrays of shape (N, n)
        Latents of M runs.
    *arguments, **options
        What the score takes besides: factors, as a rule.

    Returns
    -------
    ndarray of shape (M,)
        Scores in their unit; NaN where a latent is not finite.

    Raises
    ------
    DataError
        As the score: whatever else is wrong with latents or factors is not hidden.

    Notes
    -----
    A collapsed latent (finite, and the same in every sample) tells nothing about any factor, so it
    counts as the least that the score can give: a number, which enters means and counts. Latents
    that are not finite allow no score: every score refuses them with an error that names the
    sample, and here they give NaN. So NaN means that the run diverged (only the angle has no
    answer for a collapsed latent either), and whoever counts runs counts it as a failure. With s
    factors:

    ================================ ====================== ====================
    score                            a constant latent      all latents constant
    ================================ ====================== ====================
    ``disentanglement_score``        counts :math:`1/s`     :math:`1/s`
    ``mean_correlation_coefficient`` its factor counts 0    0
    ``sap_score``                    predicts nothing       0
    ``mutual_information``           0 nats                 0 nats
    ``mutual_information_gap``       knows 0 nats           0
    ``modularity_score``             counts 0               0
    ``explicitness_score``           tells nothing          0
    ``dci_scores``                   of no importance       0, 0, 0
    ``factor_vae_score``             left out               :math:`1/s` (chance)
    ``beta_vae_score``               tells nothing          :math:`1/s` (chance)
    ``total_correlation``            left out (independent) 0 nats
    ``shape_score``                  infinite (no density)  infinite
    ``rotation_angle``               NaN (no direction)     NaN
    ================================ ====================== ====================

    A *factor* that is constant is an error: no latent can be scored against it. A latent that
    does vary, but with nothing of the data in it (noise, or a collapse that is not complete), is
    neither collapsed nor diverged. It is scored as it is, and scores that only compare its
    covariances or its information with each other (S_D, modularity) return noise.

    Examples
    --------
    >>> import numpy as np
    >>> from dvae.analysis import disentanglement_score
    >>> theta = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    >>> runs = [theta, 0 * theta, np.nan * theta]  # ideal, collapsed, diverged
    >>> score_runs(disentanglement_score, runs, theta)
    array([1. , 0.5, nan])
    """
    return np.array(
        [np.nan if is_diverged(z) else score(z, *arguments, **options) for z in latents],
        dtype=float,
    )

r"""What a score says of latents that collapsed, and of latents that diverged: one rule for all.

A latent is *collapsed* if it is finite and the same in every sample: the model trained, and the
latent ignores the data. It tells nothing about any factor, so it counts as the least that the
score can give, a number that enters means and counts. A run is *diverged* if any of its latents is
NaN or infinite: there is nothing to score. Every score refuses such latents with an error
that names the sample; over many runs :func:`score_runs` gives NaN, for them and for nothing else.
A score is therefore NaN if and only if the run diverged (or, of the angle, has no answer), and
whoever counts runs counts a NaN as a failure.

With s factors, of latents that are finite:

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

A *factor* that is constant is an error everywhere: no latent can be scored against it. A latent
that does vary, but with nothing of the data in it (noise, or a collapse that is not complete), is
neither: it is scored as it is, and scores that only compare its covariances or its information
with each other (S_D, modularity) return noise.
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
    return not np.isfinite(np.asarray(z)).all()


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

"""Every score of disentanglement at once, for factors of any kind."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from dvae.analysis._checks import Latents, Samples, as_pair
from dvae.analysis._columns import MIN_SAMPLES
from dvae.analysis.information import modularity_score, mutual_information_gap
from dvae.analysis.interventions import beta_vae_score, factor_vae_score
from dvae.analysis.predictors import dci_scores, explicitness_score, sap_score
from dvae.analysis.scores import (
    ceiling,
    disentanglement_score,
    mean_correlation_coefficient,
    total_correlation,
)
from dvae.analysis.shape import shape_score
from dvae.errors import DataError

__all__ = ["Scores", "all_scores", "join_classes"]

# scores that set one latent beside one factor as a number, which a class is not
OF_NUMBERS = (
    "s_d",
    "s_d_correlation",
    "s_d_ceiling",
    "s_kl",
    "dci_disentanglement",
    "dci_completeness",
    "dci_informativeness",
    "sap",
    "mcc",
)
OF_CLASSES = ("mig", "factor_vae", "beta_vae", "modularity", "explicitness", "total_correlation")


class Scores(dict[str, float]):
    """Scores by name; NaN for one that does not apply, and why in ``reasons``.

    Attributes
    ----------
    reasons : dict of str to str
        For each score that is NaN, what its samples or factors lack.
    """

    def __init__(self) -> None:
        super().__init__({name: float("nan") for name in (*OF_NUMBERS, *OF_CLASSES)})
        self.reasons: dict[str, str] = {}

    def add(self, name: str, score: Callable[[], float]) -> None:
        """Call a score, unless a reason against it is known."""
        if name in self.reasons:
            return
        try:
            self[name] = score()
        except DataError as error:
            self.reasons[name] = str(error)


def all_scores(z: Latents, theta: Samples, seed: int = 0) -> Scores:
    """Every score of this module with its default options, and S_KL (eqs 6 and 7).

    Factors may be continuous, discrete or binary. Columns side by side that are one class in
    one-hot form (each 0 or 1, exactly one of them 1) count as one factor with as many values,
    whatever the other columns are, and only scores that need no numbers apply.

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
    Scores
        A dict: ``s_d``, ``s_d_correlation``, ``s_d_ceiling``, ``s_kl`` (nats, low is good; NaN if
        n differs from s), ``mig``, ``dci_disentanglement``, ``dci_completeness``,
        ``dci_informativeness``, ``sap``, ``factor_vae``, ``beta_vae``, ``modularity``,
        ``explicitness``, ``mcc``, ``total_correlation`` (nats, Gaussian). NaN where a score does
        not apply, and then its attribute ``reasons`` says why.

    Raises
    ------
    DataError
        If shapes or values are invalid, N is below 32, or a factor is constant.
    """
    z, theta = as_pair(z, theta, MIN_SAMPLES)
    found = Scores()
    theta, reason = join_classes(theta)
    if reason:
        found.reasons |= dict.fromkeys(OF_NUMBERS, reason)
    elif z.shape[1] != theta.shape[1]:
        found.reasons["s_kl"] = f"{z.shape[1]} latents but {theta.shape[1]} factors"
    found.add("s_d", lambda: disentanglement_score(z, theta))
    found.add("s_d_correlation", lambda: disentanglement_score(z, theta, correlation=True))
    found.add("s_d_ceiling", lambda: ceiling(theta))
    found.add("s_kl", lambda: shape_score(z, theta))
    found.add("mig", lambda: mutual_information_gap(z, theta))
    dci = functools.cache(lambda: dci_scores(z, theta, seed=seed))
    found.add("dci_disentanglement", lambda: dci().disentanglement)
    found.add("dci_completeness", lambda: dci().completeness)
    found.add("dci_informativeness", lambda: dci().informativeness)
    found.add("sap", lambda: sap_score(z, theta))
    found.add("factor_vae", lambda: factor_vae_score(z, theta, seed=seed))
    found.add("beta_vae", lambda: beta_vae_score(z, theta, seed=seed))
    found.add("modularity", lambda: modularity_score(z, theta))
    found.add("explicitness", lambda: explicitness_score(z, theta, seed=seed))
    found.add("mcc", lambda: mean_correlation_coefficient(z, theta))
    found.add("total_correlation", lambda: total_correlation(z))
    return found


def join_classes(
    theta: Float[np.ndarray, "sample factor"],
) -> tuple[Float[np.ndarray, "sample joined"], str]:
    """Factors with one column of classes in place of those in one-hot form, and which those are.

    Parameters
    ----------
    theta : ndarray of shape (N, s)
        Factors.

    Returns
    -------
    tuple of ndarray and str
        Factors with the number of the class in place of each group of columns that are one class
        (:func:`all_scores`), and why scores of numbers do not apply; empty where they do.
    """
    groups = _one_hot_groups(theta)
    if not groups:
        return theta, ""
    joined = theta.copy()
    for group in groups:
        joined[:, group.start] = theta[:, group].argmax(1)
    dropped = [j for group in groups for j in range(group.start + 1, group.stop)]
    columns = " and ".join(f"{group.start + 1} to {group.stop}" for group in groups)
    reason = f"columns {columns} are the classes of one factor (one-hot), which has no number"
    return np.delete(joined, dropped, axis=1), reason


def _one_hot_groups(theta: Float[np.ndarray, "sample factor"]) -> list[slice]:
    """Columns side by side that are the classes of one factor; the shortest such groups."""
    binary = ((theta == 0) | (theta == 1)).all(0)
    groups, first = [], 0
    while first < theta.shape[1]:
        for last in range(first + 2, theta.shape[1] + 1):
            group = slice(first, last)
            if binary[group].all() and (theta[:, group].sum(1) == 1).all():
                groups.append(group)
                first = last
                break
        else:
            first += 1
    return groups

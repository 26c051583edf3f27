"""Every score of disentanglement at once."""

from __future__ import annotations

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

__all__ = ["all_scores"]


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
    z, theta = as_pair(z, theta, MIN_SAMPLES)
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

"""Row P4: correlated factors, trained in three ways (supplement, section 7)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from dvae.analysis import ceiling, disentanglement_score, shape_score, total_correlation
from dvae.experiments.common import (
    data_settings,
    factors_of,
    model_settings,
    recipe_settings,
    score_ensemble,
    with_settings,
)
from dvae.experiments.labelling import fit_labelled, load_labelled
from dvae.results.trials import Experiment, Group

__all__ = ["CORRELATED_FACTORS", "CORRELATIONS", "whitened"]

CORRELATIONS = (0.0, 0.3, 0.6, 0.9)
CORRELATED_LABELS = 15  # 3 % of 512


def _correlated_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    groups = []
    for recipe in ("calibrated", "annealed") if profile == "paper" else ("annealed",):
        for correlation in (0.0, 0.6) if smoke else CORRELATIONS:
            for prior in ("standard", "hierarchical"):
                shared = (
                    data_settings(
                        profile, "correlated-normal", factor_options={"correlation": correlation}
                    )
                    | {"n_pool": 16 if smoke else 64}
                    | model_settings(profile, prior)
                    | recipe_settings(profile, recipe)
                    | {"recipe_name": recipe, "correlation": correlation}
                )
                counts = (0, 4 if smoke else CORRELATED_LABELS) if prior == "standard" else (0,)
                trials = tuple(
                    {"n_labels": count, "run": run, "seed": 2000 + run}
                    for count in counts
                    for run in range({"smoke": 2, "laptop": 6, "paper": 10}[profile])
                )
                groups.append(Group(shared, trials))
    return groups


def _correlated_compute(group: Group, **arguments) -> xr.Dataset:
    training, test, pool = load_labelled(group.shared)
    results = fit_labelled(group, training, pool, **arguments)
    data = xr.concat([score_ensemble(r.ensemble, training, test) for r in results], "trial")
    mean, scale = data["latent_mean"].values, data["latent_scale"].values
    theta = factors_of(test).astype(float)
    # one draw of every posterior, the same noise for every trial
    noise = np.random.default_rng(0).standard_normal(mean.shape[1:])
    drawn = mean + scale * noise
    m = len(group.trials)
    data["shape_score"] = ("trial", [shape_score(z, theta) for z in drawn])
    correlation = [abs(np.corrcoef(z.T)[0, 1]) for z in mean]
    data["latent_correlation"] = ("trial", correlation)
    # what exact answers score: the factors themselves, and the factors made uncorrelated
    white = whitened(theta)
    references = {
        "ceiling": ceiling(theta),
        "whitened_disentanglement": disentanglement_score(white, theta),
        "whitened_shape_score": shape_score(white, theta),
        "factor_total_correlation": total_correlation(theta),
    }
    for name, value in references.items():
        data[name] = ("trial", np.full(m, value))
    data = data.drop_vars("latent_scale").isel(sample=slice(256))
    stored = np.broadcast_to(theta[:256], data["latent_mean"].shape).astype(np.float32)
    data["theta"] = (("trial", "sample", "latent"), stored)
    return with_settings(
        data, group, correlation="correlation", prior="prior", recipe="recipe_name"
    )


def whitened(theta: Float[np.ndarray, "sample factor"]) -> Float[np.ndarray, "sample factor"]:
    """Factors made uncorrelated with the least change (symmetric square root of the covariance)."""
    centred = theta - theta.mean(0)
    values, vectors = np.linalg.eigh(np.cov(centred.T))
    return centred @ (vectors / np.sqrt(values)) @ vectors.T


CORRELATED_FACTORS = Experiment(
    "correlated_factors",
    "correlation of the factors from 0 to 0.9, three ways of training (supplement, section 7)",
    1,
    _correlated_groups,
    _correlated_compute,
)

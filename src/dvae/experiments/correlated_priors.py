"""Correlated factors under a prior that can be correlated, beside the standard normal one.

With a free correlation of the prior every rotation of the principal coefficients, in the unit of
the fields, is as good to the linear VAE as any other, so that the loss holds no axis at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from dvae.analysis import is_diverged, mean_correlation_coefficient, rotate, shape_score
from dvae.experiments.annealing import latent_rates, spectrum
from dvae.experiments.common import (
    data_settings,
    factors_of,
    load_data,
    model_settings,
    recipe_settings,
    score_ensemble,
    train,
    with_settings,
)
from dvae.experiments.correlated_factors import CORRELATIONS
from dvae.experiments.many_factors import RUNS, SCORED, with_derived_recipe
from dvae.models import CorrelatedPrior
from dvae.results.trials import Experiment, Group
from dvae.training import make_recipe

__all__ = ["CORRELATED_PRIORS", "axis_error", "turned_scores"]

FALLING = 1000  # steps in which the noise falls; half as many follow
ANGLES = np.arange(0.0, 90.0, 1.0)  # degrees, of the principal coefficients


def axis_error(
    z: Float[np.ndarray, "sample latent"], theta: Float[np.ndarray, "sample latent"]
) -> float:
    """Angle in degrees between what the latents measure and the factors, averaged over latents.

    The linear map from standardised factors to latents, z = B theta, is fitted by least squares,
    so that correlated factors do not count as mixed. The direction of row i is what latent i
    measures; rows and factors are paired one to one with the least sum of angles.
    """
    scaled = (theta - theta.mean(0)) / theta.std(0)
    rows = np.linalg.lstsq(scaled, z - z.mean(0), rcond=None)[0].T
    cosines = np.abs(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
    angles = np.degrees(np.arccos(np.clip(cosines, 0, 1)))
    return float(angles[linear_sum_assignment(angles)].mean())


def turned_scores(
    coefficients: Float[np.ndarray, "sample 2"], theta: Float[np.ndarray, "sample 2"]
) -> Float[np.ndarray, " angle"]:
    """Axis error of two principal coefficients, in the unit of the fields, turned by each angle.

    These are the latents between which a prior of free correlation sees no difference.
    """
    return np.array([axis_error(rotate(coefficients, angle), theta) for angle in ANGLES])


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    seeds = tuple({"seed": 6000 + seed} for seed in range(2 if smoke else RUNS))
    groups = []
    for correlation in CORRELATIONS[2:3] if smoke else CORRELATIONS:
        for prior in ("standard", "correlated"):
            shared = (
                data_settings(
                    profile, "correlated-normal", factor_options={"correlation": correlation}
                )
                | model_settings("laptop", prior)
                | recipe_settings(profile, make_recipe("annealed").shortened(0.25))
                | {"correlation": correlation, "weight": "half", "falling": 8 if smoke else FALLING}
            )
            groups.append(Group(shared, seeds))
    return groups


def _compute(group: Group, **arguments: Any) -> xr.Dataset:
    training, _ = load_data(group.shared)
    own, _ = with_derived_recipe(group, training.fields)
    result, training, test = train(own, **arguments)
    data = score_ensemble(result.ensemble, training, test)
    theta, m = factors_of(test).astype(float), len(group.trials)
    mean, scale = data["latent_mean"].values.astype(float), data["latent_scale"].values
    basis, levels = spectrum(training.fields)
    expected = basis.project(test.fields)[:, :2].double().numpy()
    drawn = mean + scale * np.random.default_rng(0).standard_normal(mean.shape[1:])
    scored = [
        {}
        if is_diverged(z)
        else {
            "mcc": mean_correlation_coefficient(z, theta),
            "axis_error": axis_error(z, theta),
            "latent_correlation": abs(float(np.corrcoef(z.T)[0, 1])),
            "axes_mcc": mean_correlation_coefficient(z, expected),
        }
        | ({"shape_score": shape_score(drawn[run], theta)} if run < SCORED else {})
        for run, z in enumerate(mean)
    ]
    for name in sorted(set().union(*scored)):
        data[name] = ("trial", np.array([row.get(name, np.nan) for row in scored]))
    data["latent_rate"] = (("trial", "latent"), latent_rates(mean, scale))
    priors = [model.prior for model in result.models]
    learned = [
        abs(prior.factor()[1, 0].item()) if isinstance(prior, CorrelatedPrior) else 0.0
        for prior in priors
    ]
    data["prior_correlation"] = ("trial", learned)
    data["turned_axis_error"] = (
        ("trial", "turn"),
        np.tile(turned_scores(expected, theta), (m, 1)),
    )
    constants = {
        "predicted_axis_error": axis_error(expected, theta),
        "predicted_mcc": mean_correlation_coefficient(expected, theta),
        "factor_correlation": float(np.corrcoef(theta.T)[0, 1]),
        "beta": own.shared["recipe"]["beta"],
    }
    for name, value in constants.items():
        data[name] = ("trial", np.full(m, value))
    data["level"] = (("trial", "direction"), np.tile(levels[:6], (m, 1)))
    data = data.drop_vars(["latent_mean", "latent_scale"]).assign_coords(turn=ANGLES)
    data["diverged"] = ("trial", result.diverged.astype(np.int8))
    return with_settings(data, group, correlation="correlation", prior="prior")


CORRELATED_PRIORS = Experiment(
    "correlated_priors",
    "Correlated factors under a standard and under a correlated prior",
    1,
    _groups,
    _compute,
)

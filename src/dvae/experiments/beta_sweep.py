"""Rows E1 and E2: what is learned with the ELBO itself and with other weights beta (section 2).

The paper's losses divide the reconstruction by the number of nodes, so that its beta = 1 is 4225
per sample, in the units of eq. 5 where the ELBO has 1.
"""

from __future__ import annotations

import xarray as xr

from dvae.experiments.common import (
    data_settings,
    dense_settings,
    model_settings,
    recipe_settings,
    score_ensemble,
    train,
    with_settings,
)
from dvae.experiments.dense_runs import COARSE_RECIPE
from dvae.results.dense import DENSE_NODES
from dvae.results.trials import Experiment, Group
from dvae.training import Recipe, make_recipe

__all__ = ["BETA_SWEEP", "DENSE_WEIGHTS", "WEIGHTS", "with_weight"]

# per sample (eq. 5): the ELBO has 1; the paper's code on its grid 4225 with a hierarchical prior,
# and half of it without, where it averages the rate over the two latents
WEIGHTS = (0.1, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 2112.5, 4225.0, 6000.0)
DENSE_WEIGHTS = (1.0, 10.0, 100.0, 1089.0)  # 1089 nodes: the code's on the coarse grid
FACTORS = ("standard-normal", "shifted-normal")


def with_weight(recipe: Recipe, beta: float) -> Recipe:
    """A recipe with another weight of the rate, which starts as far below it as before.

    Parameters
    ----------
    recipe : Recipe
        Such as ``COARSE_RECIPE``, which ramps the weight from a hundredth of its final value.
    beta : float
        Final weight, per node.
    """
    first = recipe.beta_initial / recipe.beta
    return make_recipe(recipe, beta=beta, beta_initial=first * beta)


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    runs, dense_runs = (2, 1) if smoke else (50, 3)
    groups = []
    for weight in (4225.0,) if smoke else WEIGHTS:
        for factors in FACTORS[:1] if smoke else FACTORS:
            data = data_settings(profile, factors)
            recipe = make_recipe("calibrated", beta=weight / data["n_nodes"] ** 2)
            shared = data | model_settings("laptop") | recipe_settings(profile, recipe)
            shared |= {"weight": weight}
            groups.append(Group(shared, tuple({"seed": seed} for seed in range(runs))))
    for seed in range(dense_runs):
        for weight in DENSE_WEIGHTS[-1:] if smoke else DENSE_WEIGHTS:
            for factors in FACTORS[:1] if smoke else FACTORS:
                data = data_settings(profile, factors)
                data |= {} if smoke else {"n_nodes": DENSE_NODES}
                recipe = with_weight(COARSE_RECIPE, weight / data["n_nodes"] ** 2)
                shared = data | dense_settings(profile) | recipe_settings(profile, recipe)
                groups.append(Group(shared | {"weight": weight}, ({"seed": seed},)))
    return groups


def _compute(group: Group, **arguments) -> xr.Dataset:
    result, training, test = train(group, **arguments)
    data = score_ensemble(result.ensemble, training, test, latents=False)
    data = data.assign(diverged=("trial", result.diverged.astype(int)))
    return with_settings(
        data, group, weight="weight", factors="factors", network="model", n_nodes="n_nodes"
    )


BETA_SWEEP = Experiment(
    "beta_sweep",
    "Rate, error and S_D against the weight of the rate, from the ELBO to the paper's code",
    1,
    _groups,
    _compute,
)

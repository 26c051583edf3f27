"""Rows N1 to N3, G1, M1 to M4: 50 runs of every factor set, prior and recipe (section 5)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dvae.experiments.common import (
    chunks,
    data_settings,
    model_settings,
    recipe_for,
    recipe_settings,
    resampled_history,
    score_ensemble,
    train,
)
from dvae.results.conditions import FACTORS, PRIORS, RECIPES
from dvae.results.trials import Experiment, Group

__all__ = ["DISENTANGLEMENT"]


def _groups(profile: str) -> list[Group]:
    seeds = [{"seed": seed} for seed in range(3 if profile == "smoke" else 50)]
    groups = []
    for recipe in RECIPES:
        for factors in FACTORS:
            for prior in PRIORS:
                shared = (
                    data_settings(profile, factors)
                    | model_settings(profile, prior)
                    | recipe_settings(profile, recipe_for(recipe, prior))
                    | {"recipe_name": recipe}
                )
                groups += chunks(seeds, shared, profile)
    return groups


def _compute(group: Group, **arguments) -> xr.Dataset:
    result, training, test = train(group, **arguments)
    data = score_ensemble(result.ensemble, training, test).merge(resampled_history(result))
    labels = {
        "seed": [trial["seed"] for trial in group.trials],
        **{
            name: [group.shared[key]] * len(group.trials)
            for name, key in (("factors", "factors"), ("prior", "prior"), ("recipe", "recipe_name"))
        },
    }
    data = data.assign_coords({name: ("trial", values) for name, values in labels.items()})
    return data.assign(diverged=("trial", result.diverged.astype(np.int8)))


DISENTANGLEMENT = Experiment(
    "disentanglement",
    "50 runs for every factor distribution, prior and recipe (sections 5.1 to 5.3)",
    1,
    _groups,
    _compute,
)

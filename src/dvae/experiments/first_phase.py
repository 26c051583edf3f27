"""Rows E7 and E8: the first weight of the rate, and the length of the reconstruction phase.

The published recipe in 1/12 of its steps, at 12 times its learning rate (see ``paths``), on PodVAE.
"""

from __future__ import annotations

from dataclasses import replace

import xarray as xr

from dvae.experiments.common import (
    chunks,
    data_settings,
    model_settings,
    published_recipe,
    recipe_settings,
    score_ensemble,
    train,
    with_settings,
)
from dvae.experiments.paths import PHASES, SPEED
from dvae.results.trials import Experiment, Group

__all__ = ["FIRST_PHASE", "FIRST_WEIGHTS"]

# per node; the code has 1e-9, the paper's text 1e-7
FIRST_WEIGHTS = (1e-15, 1e-12, 1e-9, 1e-7, 1e-5, 1e-3, 1e-1)
FACTORS = ("standard-normal", "four-modes")


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    arms = [(FACTORS[0], 1.0, first) for first in FIRST_WEIGHTS]
    arms += [(factors, phase, 1e-9) for factors in FACTORS for phase in PHASES]
    arms = list(dict.fromkeys(arms))  # the published one is in both
    seeds = [{"seed": seed} for seed in range(2 if smoke else 50)]
    groups = []
    for factors, phase, first in arms[:2] if smoke else arms:
        recipe = replace(published_recipe(profile, SPEED, phase), beta_initial=first)
        shared = (
            data_settings(profile, factors)
            | model_settings("laptop")
            | recipe_settings(profile, recipe)
            | {"phase": phase, "first_weight": first}
        )
        groups += chunks(seeds, shared, profile)
    return groups


def _compute(group: Group, **arguments) -> xr.Dataset:
    result, training, test = train(group, **arguments)
    data = score_ensemble(result.ensemble, training, test, latents=False)
    data = data.assign(diverged=("trial", result.diverged.astype(int)))
    # the largest rate on the way says how far the first weight let it go (nats)
    data["largest_rate"] = ("trial", result.history["rate"].max("step").values)
    return with_settings(data, group, factors="factors", phase="phase", first_weight="first_weight")


FIRST_PHASE = Experiment(
    "first_phase",
    "The published recipe with other first weights and other lengths of its first phase",
    1,
    _groups,
    _compute,
)

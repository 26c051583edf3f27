"""Rows N3, G1, M1 to M3: fifty DenseVAEs of every factor set and prior (section 5).

The network of the paper on standardised fields, with the recipe "one-cycle", and without a
hierarchical prior with "annealed-dense". Most runs are on a grid of 33 x 33 nodes, where a run
takes about a minute of one core: the same physics, and the same blocks of the network on feature
maps of a quarter of the nodes. Those of the four modes are on the paper's 65 x 65 as well: 20 of
each prior at first, and then 50, as in the paper, because 20 had left row M2 undecided.

Row M1 asks how often the published recipe over-regularises. Its runs see the fields as they are
and learn the decoder variance from 0, as published, in an eighth of the steps at eight times the
learning rates, so that the variance walks as far.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr

from dvae.experiments.common import (
    data_settings,
    dense_settings,
    recipe_for,
    recipe_settings,
    resampled_history,
    score_ensemble,
    train,
)
from dvae.results.conditions import AS_CODED, FACTORS, PRIORS
from dvae.results.dense import DENSE_NODES, PUBLISHED
from dvae.results.trials import Experiment, Group
from dvae.training import RECIPES, Recipe, make_recipe

__all__ = ["COARSE_ANNEALED", "COARSE_RECIPE", "DENSE_RUNS", "FIRST", "PUBLISHED_SPEED"]

COARSE, FINE = DENSE_NODES, 65  # nodes per side
RECIPE = RECIPES["one-cycle"]
# the linear layers are a tenth as large there, and no run was seen to need a limit of the gradient
COARSE_RECIPE = make_recipe(RECIPE, gradient_norm=None).shortened(0.5)
COARSE_ANNEALED = make_recipe("annealed-dense", gradient_norm=None).shortened(0.5)
CHUNK = {COARSE: 25, FINE: 10}  # members of a group on a GPU, by nodes per side
PUBLISHED_SPEED, PUBLISHED_RUNS = 8, 10
# in the order of what is asked first; seeds go from condition to condition, so that a sweep which
# is interrupted has as many runs of each
FIRST = [("four-modes", "standard"), ("four-modes", AS_CODED)]
OTHERS = [(f, p) for f in FACTORS for p in PRIORS if (f, p) not in FIRST]


def _groups(profile: str) -> list[Group]:
    runs = {"smoke": 1, "laptop": 50, "paper": 50}[profile]
    fine_runs = 0 if profile == "smoke" else runs
    plain = [(factors, "standard") for factors in FACTORS]
    sweeps: list[tuple[int, str | Recipe, list[tuple[str, str]], int]] = [
        (COARSE, COARSE_RECIPE, FIRST, runs),
        (COARSE, COARSE_ANNEALED, plain, runs),
        (FINE, RECIPE, FIRST, fine_runs),
        (COARSE, PUBLISHED, FIRST, min(runs, PUBLISHED_RUNS)),
        (COARSE, COARSE_RECIPE, OTHERS, runs),
    ]
    if profile == "paper":  # what a GPU is needed for comes first
        sweeps = [sweeps[3], sweeps[2], *sweeps[:2], sweeps[4]]
    groups = []
    for n_nodes, recipe, cells, count in sweeps:
        grid = {} if profile == "smoke" else {"n_nodes": n_nodes}
        shared = [
            data_settings(profile, factors, **grid) | _training_settings(profile, recipe, prior)
            for factors, prior in cells
        ]
        seeds = [{"seed": seed} for seed in range(count)]
        # on a CPU members of networks of this size gain nothing from one process, on a GPU they do
        size = CHUNK[n_nodes] if profile == "paper" else 1
        for first in range(0, count, size):
            groups += [Group(own, tuple(seeds[first : first + size])) for own in shared]
    return groups


def _training_settings(profile: str, recipe: str | Recipe, prior: str) -> dict[str, Any]:
    """Settings of network and recipe; a published recipe sees the fields as they are."""
    model = dense_settings(profile, prior)
    if isinstance(recipe, Recipe):
        name = recipe.name
    else:
        name = recipe
        recipe = RECIPES[recipe_for(name, prior)].faster(PUBLISHED_SPEED)
        del model["standardised"]
    return model | recipe_settings(profile, recipe) | {"recipe_name": name}


def _compute(group: Group, **arguments) -> xr.Dataset:
    result, training, test = train(group, **arguments)
    scores = score_ensemble(
        result.ensemble, training, test, by_sample=True, device=arguments["device"]
    )
    data = scores.merge(resampled_history(result))
    m = len(group.trials)
    data["training_seconds"] = ("trial", np.full(m, result.seconds))
    data["steps"] = ("trial", np.full(m, result.recipe.steps))
    data["diverged"] = ("trial", result.diverged.astype(np.int8))
    shared = ("factors", "prior", "n_nodes")
    labels = {
        "seed": [trial["seed"] for trial in group.trials],
        "recipe": [group.shared["recipe_name"]] * m,
        **{name: [group.shared[name]] * m for name in shared},
    }
    return data.assign_coords({name: ("trial", values) for name, values in labels.items()})


DENSE_RUNS = Experiment(
    "dense_runs",
    "50 DenseVAEs of every factor distribution and prior (sections 5.1 to 5.3)",
    1,
    _groups,
    _compute,
)

"""When a run decides on its rotation: angle of the latents at several training steps (M3, M5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from dvae.analysis.degenerate import score_runs
from dvae.analysis.rotation import rotation_angle
from dvae.analysis.scores import disentanglement_score
from dvae.experiments.common import (
    data_settings,
    factors_of,
    load_data,
    make_model,
    model_settings,
    recipe_from,
    recipe_settings,
)
from dvae.results.trials import Experiment, Group
from dvae.training import fit

__all__ = ["ROTATION_HISTORY", "STOPS"]

FACTORS = "four-modes"
PRIORS = ("standard", "hierarchical")
RUNS = 20
# shares of the recipe's steps; the calibrated recipe's reconstruction phase ends at 0.2
STOPS = {
    "calibrated": (0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
    "annealed": (0.1, 0.25, 0.4, 0.55, 0.7, 1.0),
}


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    seeds = tuple({"seed": seed} for seed in range(2 if smoke else RUNS))
    small = "laptop" if profile == "paper" else profile  # PodVAE at every profile
    return [
        Group(
            data_settings(profile, FACTORS)
            | model_settings(small, prior)
            | recipe_settings(profile, recipe)
            | {"recipe_name": recipe, "stops": stops[-2:] if smoke else stops},
            seeds,
        )
        for recipe, stops in STOPS.items()
        for prior in PRIORS
    ]


def _compute(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    """Train afresh up to every stop: the steps before it are those of the whole run."""
    settings = group.shared
    training, test = load_data(settings)
    whole, theta = recipe_from(settings), factors_of(test)
    seeds = [trial["seed"] for trial in group.trials]
    model = make_model(settings, training.fields)
    angle, score, rate, step = [], [], [], []
    for stop in settings["stops"]:
        recipe = replace(whole, steps=max(1, round(stop * whole.steps)))
        result = fit(model, training.fields, recipe, seeds, device=device, progress=progress)
        latents = result.ensemble.encode(test.fields)[0].numpy()
        angle.append(score_runs(rotation_angle, latents, theta))
        score.append(score_runs(disentanglement_score, latents, theta))
        rate.append(result.ensemble.evaluate(test.fields, relative_error=False)["rate"].values)
        step.append([recipe.steps] * len(seeds))
    data = {"angle": angle, "disentanglement": score, "rate": rate, "step": step}
    labels = {
        "seed": seeds,
        **{
            name: [settings[key]] * len(seeds)
            for name, key in (("factors", "factors"), ("prior", "prior"), ("recipe", "recipe_name"))
        },
    }
    return xr.Dataset(
        {name: (("trial", "stop"), np.asarray(values, float).T) for name, values in data.items()},
        coords={name: ("trial", values) for name, values in labels.items()},
    )


ROTATION_HISTORY = Experiment(
    "rotation_history",
    "Angle between latents and factors in the course of training",
    1,
    _groups,
    _compute,
)

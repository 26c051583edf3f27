"""Row P1: losses against the number of training samples (supplement, section 5.1)."""

from __future__ import annotations

import xarray as xr

from dvae.experiments.common import (
    data_settings,
    load_data,
    make_model,
    model_settings,
    published_recipe,
    recipe_from,
    recipe_settings,
    score_ensemble,
    with_settings,
)
from dvae.experiments.labels import SPEED
from dvae.results.trials import Experiment, Group
from dvae.training import Recipe, fit

__all__ = ["SIZES", "TRAINING_SIZE", "size_compute"]

SIZES = (32, 64, 128, 256, 512)


def _size_groups(profile: str) -> list[Group]:
    """One group per recipe, draw of the data and size; smaller sets are parts of larger ones."""
    smoke = profile == "smoke"
    sizes = (16, 48) if smoke else SIZES
    recipes: dict[str, tuple[str | Recipe, int, int]] = {
        "calibrated": ("calibrated", 2, 5),
        "published": (published_recipe(profile, SPEED), 1, 10),
    }
    groups = []
    for name, (recipe, draws, seeds) in recipes.items():
        for draw in range(1 if smoke else draws):
            for size in sizes:
                shared = (
                    data_settings(profile, data_seed=draw)
                    | {"size": size}
                    | model_settings(profile)
                    | recipe_settings(profile, recipe)
                    | {"recipe_name": name}
                )
                trials = tuple({"seed": seed} for seed in range(2 if smoke else seeds))
                groups.append(Group(shared, trials))
    return groups


def size_compute(group: Group, *, device, progress, checkpoint) -> xr.Dataset:
    """Train and score trials on the first samples of the data, as many as ``size`` says."""
    training, test = load_data(group.shared)
    if group.shared["size"] < len(training):
        training, _ = training.split(group.shared["size"], 1)
    result = fit(
        make_model(group.shared, training.fields),
        training.fields,
        recipe_from(group.shared),
        [trial["seed"] for trial in group.trials],
        device=device,
        progress=progress,
        checkpoint=checkpoint,
    )
    data = score_ensemble(result.ensemble, training, test, latents=False, device=device)
    data = data.assign(diverged=("trial", result.diverged.astype(int)))
    return with_settings(data, group, size="size", data_seed="data_seed", recipe="recipe_name")


TRAINING_SIZE = Experiment(
    "training_size",
    "losses against the number of training samples, 32 to 512 (supplement, section 5.1)",
    1,
    _size_groups,
    size_compute,
)

"""Row P2: dense blocks against plain encoder-decoders (supplement, section 4.1)."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import xarray as xr

from dvae.experiments.common import (
    data_settings,
    load_data,
    make_model,
    plain_recipe,
    recipe_from,
    recipe_settings,
    resampled_history,
    score_ensemble,
    with_settings,
)
from dvae.models import VAE, PlainVAE, count_parameters
from dvae.results.networks import PLAIN, REFERENCE
from dvae.results.trials import Experiment, Group
from dvae.training import fit, make_recipe

__all__ = ["ARCHITECTURE", "ARCHITECTURES", "LONGER"]


def _dense(blocks: tuple[int, ...], growth: int = 4) -> dict[str, Any]:
    return {"model": "dense", "blocks": blocks, "growth": growth, "features": 2}


ARCHITECTURES: dict[str, dict[str, Any]] = {
    REFERENCE: _dense((3, 4, 6, 4, 3)),
    "growth 2": _dense((3, 4, 6, 4, 3), 2),
    "growth 8": _dense((3, 4, 6, 4, 3), 8),
    "thin blocks (1, 1, 2, 1, 1)": _dense((1, 1, 2, 1, 1)),
    "thick blocks (6, 8, 12, 8, 6)": _dense((6, 8, 12, 8, 6)),
    "one encoder block (4, 6, 4)": _dense((4, 6, 4)),
    "three encoder blocks (3, 4, 6, 8, 6, 4, 3)": _dense((3, 4, 6, 8, 6, 4, 3)),
    "convolutional (8, 16, 32)": {
        "model": "plain",
        "kind": "convolutional",
        "widths": (8, 16, 32),
    },
    "convolutional (16, 32, 64)": {
        "model": "plain",
        "kind": "convolutional",
        "widths": (16, 32, 64),
    },
    "fully connected (128, 64)": {"model": "plain", "kind": "mlp", "widths": (128, 64)},
    "POD + fully connected": {"model": "pod", "n_modes": 12, "hidden": (24, 24)},
}

SMOKE_ARCHITECTURES = ("growth 2", "convolutional (8, 16, 32)", "fully connected (128, 64)")
LONGER = 4  # times the steps; a plain network then costs about what the reference does


def _architecture_groups(profile: str) -> list[Group]:
    """In full, with the published recipe, at ``paper``; below, reconstruction alone and smaller.

    At laptop: 33 x 33 nodes, 800 steps of 32 with beta near 0, three seeds. What the paper asks of
    its architecture is that it "accurately reconstruct the data from latent codes"; and with the
    final weight of the rate so short a run measures whether a network over-regularises.

    Two budgets: ``equal steps`` for all, and ``longer``, the same recipe stretched, for the
    networks without dense blocks, whose steps cost a fraction of a dense network's. At laptop the
    learning rate is doubled for some, to see whether one rate for all favours any.
    """
    laptop = profile == "laptop"
    if profile == "paper":
        recipe, chosen, batch = make_recipe("published"), tuple(ARCHITECTURES), 64
    else:
        recipe, chosen, batch = make_recipe("calibrated"), SMOKE_ARCHITECTURES, 64
    if laptop:
        chosen, batch = tuple(ARCHITECTURES), 32
        recipe = recipe.shortened(0.2)
    runs = [(name, "equal steps", recipe) for name in chosen]
    for name in chosen:
        # and the reference, to see whether a short training is what holds it back
        if ARCHITECTURES[name]["model"] != "dense" or (laptop and name == REFERENCE):
            runs.append((name, "longer", recipe.shortened(LONGER)))
    if laptop:
        rates = tuple((step, 2 * rate) for step, rate in recipe.learning_rate_steps)
        faster = make_recipe(
            recipe, learning_rate=2 * recipe.learning_rate, learning_rate_steps=rates
        )
        runs += [(name, "twice the rate", faster) for name in (REFERENCE, *PLAIN)]
    seeds = [{"seed": s} for s in range({"smoke": 1, "laptop": 3, "paper": 5}[profile])]
    grid: dict[str, Any] = {"n_nodes": 33} if laptop else {}
    # on a CPU a group per seed lets workers share the trials; the first seed of all comes first
    parts = [tuple(seeds)] if profile == "paper" else [(seed,) for seed in seeds]
    groups = []
    for trials in parts:
        for name, budget, chosen_recipe in runs:
            settings = recipe_settings(profile, chosen_recipe, batch_size=batch)
            if profile == "smoke" and budget == "longer":
                short = recipe_from(settings).shortened(LONGER)
                settings = {"recipe": plain_recipe(short)}
            if laptop:
                settings["recipe"]["reconstruction_steps"] = settings["recipe"]["steps"]
            shared = (
                data_settings(profile, **grid)
                | {"n_latents": 2, "prior": "standard"}
                | ARCHITECTURES[name]
                | settings
                | {"architecture": name, "budget": budget}
            )
            groups.append(Group(shared, trials))
    return groups


def _make_architecture(shared: dict[str, Any], fields: torch.Tensor) -> VAE:
    if shared["model"] != "plain":
        return make_model(shared, fields)
    model: VAE = PlainVAE(
        n_nodes=fields.shape[-1],
        channels=fields.shape[1],
        n_latents=shared["n_latents"],
        kind=shared["kind"],
        widths=tuple(shared["widths"]),
        prior=shared["prior"],
    )
    return model.use_variance(shared["recipe"]["variance"])


def _architecture_compute(group: Group, *, device, progress, checkpoint) -> xr.Dataset:
    training, test = load_data(group.shared)
    model = _make_architecture(group.shared, training.fields)
    start = time.process_time()
    result = fit(
        model,
        training.fields,
        recipe_from(group.shared),
        [trial["seed"] for trial in group.trials],
        device=device,
        progress=progress,
        checkpoint=checkpoint,
    )
    m = len(group.trials)
    # processor time, which other programs on the machine do not lengthen
    cpu_seconds = (time.process_time() - start) / m
    data = score_ensemble(result.ensemble, training, test, latents=False)
    data = data.merge(resampled_history(result))
    data["parameters"] = ("trial", np.full(m, count_parameters(model)))
    data["steps"] = ("trial", np.full(m, result.recipe.steps))
    data["cpu_seconds"] = ("trial", np.full(m, cpu_seconds))
    data = data.assign(diverged=("trial", result.diverged.astype(int)))
    return with_settings(data, group, architecture="architecture", budget="budget")


ARCHITECTURE = Experiment(
    "architecture",
    "dense blocks, growth and depth against plain encoder-decoders (supplement, section 4.1)",
    1,
    _architecture_groups,
    _architecture_compute,
)

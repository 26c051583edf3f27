"""Rows N1 and N2: DenseVAE on the standard normal factors (section 5.1, figs 6 and 7)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dvae.experiments.common import (
    chunks,
    data_settings,
    dense_settings,
    factors_of,
    model_settings,
    recipe_settings,
    resampled_history,
    score_ensemble,
    train,
)
from dvae.models import count_parameters
from dvae.results.trials import Experiment, Group
from dvae.training import make_recipe

__all__ = ["DENSE_VAE", "STEPS"]

STEPS = 8000  # of the calibrated recipe, made twice as long for this network
BATCH_SIZE = 32
RECONSTRUCTION_STEPS = 2500  # this network needs accuracy first, or it over-regularises
BETA_INITIAL = 1e-6  # with the usual 1e-9 the rate rises all through so long a phase


def _groups(profile: str) -> list[Group]:
    calibrated = make_recipe("calibrated")
    long = make_recipe(
        calibrated.shortened(STEPS / calibrated.steps),
        batch_size=BATCH_SIZE,
        beta_initial=BETA_INITIAL,
        reconstruction_steps=RECONSTRUCTION_STEPS,
        schedule="published",
        learning_rate_steps=((1600, 1e-3), (4500, 5e-4), (7000, 1e-4)),
    )
    raw, standardised = model_settings("paper"), dense_settings(profile)
    runs = {"smoke": (1, 0, 0, 0), "laptop": (10, 4, 0, 2), "paper": (20, 20, 20, 2)}[profile]
    conditions = [
        ("one-cycle", make_recipe("one-cycle"), standardised, runs[0]),
        ("calibrated, long", long, raw, runs[1]),
        ("published", make_recipe("published"), raw, runs[2]),
        ("one-cycle, raw fields", make_recipe("one-cycle"), raw, runs[3]),
    ]
    groups = []
    for name, recipe, model, n_runs in conditions:
        shared = data_settings(profile) | model | recipe_settings(profile, recipe)
        shared |= {"recipe_name": name}
        seeds = [{"seed": seed} for seed in range(n_runs)]
        if profile == "paper":
            groups += chunks(seeds, shared, profile)
        else:  # a CPU gains nothing from training networks of this size in one process
            groups += [Group(shared, (seed,)) for seed in seeds]
    return groups


def _compute(group: Group, **arguments) -> xr.Dataset:
    result, training, test = train(group, **arguments)
    ensemble, m = result.ensemble, len(group.trials)
    scores = score_ensemble(ensemble, training, test, by_sample=True, device=arguments["device"])
    data = scores.merge(resampled_history(result))
    mean, scale = (x.numpy() for x in ensemble.encode(training.fields))
    samples = ("trial", "train_sample", "latent")
    data["latent_mean_train"], data["latent_scale_train"] = (samples, mean), (samples, scale)
    for name, part in (("theta", test), ("theta_train", training)):
        sample = "sample" if name == "theta" else "train_sample"
        values = np.tile(factors_of(part).astype(np.float32), (m, 1, 1))
        data[name] = (("trial", sample, "factor"), values)
    # the first test sample and its reconstruction, decoded from the latent mean
    field = ("trial", "channel", "x1", "x2")
    truth = np.tile(test.fields[:1].numpy(), (m, 1, 1, 1))
    decoded = ensemble.decode(ensemble.encode(test.fields[:1])[0])[:, 0]
    data["example"], data["example_mean"] = (field, truth), (field, decoded.numpy())
    data["parameters"] = ("trial", np.full(m, count_parameters(ensemble.template)))
    data["training_seconds"] = ("trial", np.full(m, result.seconds))
    data["diverged"] = ("trial", result.diverged.astype(np.int8))
    labels = {
        "seed": [trial["seed"] for trial in group.trials],
        "recipe": [group.shared["recipe_name"]] * m,
    }
    return data.assign_coords({name: ("trial", values) for name, values in labels.items()})


DENSE_VAE = Experiment(
    "dense_vae",
    "DenseVAE on standard normal factors: losses, reconstruction, latents (section 5.1)",
    1,
    _groups,
    _compute,
)

"""Row T1: over-regularised models against theorem 1, and their stability (section 4.2, fig. 2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import xarray as xr

from dvae.experiments.common import (
    data_settings,
    make_model,
    model_settings,
    recipe_from,
    recipe_settings,
    train,
)
from dvae.models import VAE
from dvae.results.trials import Experiment, Group
from dvae.training import Ensemble, fit, make_recipe

__all__ = ["COLLAPSING_BETA", "OVER_REGULARISED_RUNS", "RELEASE_BETAS"]

COLLAPSING_BETA = 8.0  # per node, more than five times the predicted critical value
RELEASE_BETAS = (0.25, 0.5, 1.0, 1.25, 1.5, 1.75, 2.0, 3.0)  # per node
N_LATENT = 256  # latent vectors from the prior that the decoder is asked about


def _groups(profile: str) -> list[Group]:
    calibrated = make_recipe("calibrated")
    # at the end of "full batch" the gradient is free of mini-batch noise
    recipes = {
        "mini-batch": calibrated,
        "full batch": replace(calibrated, batch_size=512, steps=3000, reconstruction_steps=0),
        "desirable": calibrated,
    }
    groups = []
    for kind, recipe in recipes.items():
        beta = 1.0 if kind == "desirable" else COLLAPSING_BETA
        seeds = range(1 if kind == "desirable" or profile == "smoke" else 3)
        shared = data_settings(profile) | model_settings(profile)
        shared |= recipe_settings(profile, recipe)
        shared |= {"kind": kind, "release_steps": 16 if profile == "smoke" else 2000}
        if kind == "full batch":
            shared["recipe"]["batch_size"] = shared["n_train"]
        groups.append(Group(shared, tuple({"seed": seed, "beta": beta} for seed in seeds)))
    return groups


def _compute(group: Group, **arguments) -> xr.Dataset:
    betas = [trial["beta"] for trial in group.trials]
    result, training, _ = train(group, beta=betas, **arguments)
    data = result.ensemble.evaluate(training.fields, relative_error=False)
    data = data.rename(member="trial").merge(_against_theorem(result.models, training.fields))
    data["released_rate"] = (
        ("trial", "release_beta"),
        _release(group, result.models, training.fields, **arguments),
    )
    m = len(group.trials)
    return data.assign_coords(
        release_beta=list(RELEASE_BETAS),
        seed=("trial", [trial["seed"] for trial in group.trials]),
        beta=("trial", betas),
        kind=("trial", [group.shared["kind"]] * m),
        batch_size=("trial", [group.shared["recipe"]["batch_size"]] * m),
    )


@torch.no_grad()
def _against_theorem(models: list[VAE], fields: torch.Tensor) -> xr.Dataset:
    """Decoded means and variances of models beside those of the data (eq. 24)."""
    first = fields[:1]
    fields = fields.double()
    data_mean, data_variance = fields.mean(0), fields.var(0, correction=0)
    node_variance = data_variance.mean(0)  # what one map for all channels can equal
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(N_LATENT, models[0].n_latents, generator=generator)
    rows = []
    for model in models:
        decoded = model.decoder(z)
        means = decoded.mean.double()
        centre = means.mean(0)
        variance = decoded.variance[0, 0].double()  # one map for all z and channels
        scaled = (centre - data_mean) / node_variance.sqrt()
        spread = ((means - centre).pow(2).mean(0) / node_variance).mean().sqrt()
        rows.append(
            {
                "mean_error": float((centre - data_mean).norm() / data_mean.norm()),
                "mean_error_scaled": float(scaled.pow(2).mean().sqrt()),
                "spread_over_z": float(spread),
                "variance_error": float((variance / node_variance - 1).pow(2).mean().sqrt()),
                "variance_excess": float((variance / node_variance).log().mean()),
                "decoder_mean": centre.numpy(),
                "decoder_variance": variance.numpy(),
                "reconstruction": model.decoder(model.encoder(first).mean).mean[0].numpy(),
                "data_mean": data_mean.numpy(),
                "data_variance": node_variance.numpy(),
                "sample": fields[0].numpy(),
            }
        )
    data = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], dtype=np.float32)
        if name in ("data_mean", "data_variance", "sample"):
            values[1:] = np.nan  # the same for all: stored once
        dims = ((), ("x1", "x2"), ("channel", "x1", "x2"))[max(0, values.ndim - 2)]
        data[name] = (("trial", *dims), values)
    return xr.Dataset(data)


def _release(
    group: Group, models: list[VAE], fields: torch.Tensor, device: str, progress: bool, **_
) -> np.ndarray:
    """Let go: rates (trial, weight) after training on. A minimum holds a model, a saddle not."""
    weights = np.array(RELEASE_BETAS)
    recipe = replace(
        recipe_from(group.shared),
        steps=group.shared["release_steps"],
        batch_size=min(64, group.shared["n_train"]),
        learning_rate_steps=(),
        reconstruction_steps=0,
    )
    released = fit(
        make_model(group.shared, fields),
        fields,
        recipe,
        [trial["seed"] for trial in group.trials for _ in weights],
        beta=np.tile(weights, len(group.trials)).tolist(),
        initial=Ensemble([model for model in models for _ in weights]),
        device=device,
        progress=progress,
    )
    rate = released.ensemble.evaluate(fields, relative_error=False)["rate"].values
    return rate.reshape(-1, len(weights))


OVER_REGULARISED_RUNS = Experiment(
    "over_regularised",
    "Over-regularised models against theorem 1 (section 4.2, fig. 2)",
    2,
    _groups,
    _compute,
)

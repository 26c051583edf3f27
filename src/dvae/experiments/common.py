"""What the experiments share: settings of data, models and recipes, and scoring a trained ensemble.

Settings are plain values, since a trial's hash is made of them. ``smoke`` settings only prove that
the code runs; ``laptop`` uses PodVAE at the paper's resolution and trial counts; ``paper`` uses
DenseVAE as published.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from dvae.analysis.degenerate import score_runs
from dvae.analysis.reconstruction import mean_field_error
from dvae.analysis.rotation import rotation_angle
from dvae.analysis.scores import are_disentangled, disentanglement_score
from dvae.models import VAE, DenseVAE, PodVAE
from dvae.physics import DarcyDataset, FieldDataset
from dvae.results.trials import Group
from dvae.training import RECIPES, Fit, Recipe, fit, make_recipe
from dvae.training.ensemble import Ensemble

__all__ = [
    "chunks",
    "data_settings",
    "dense_settings",
    "factors_of",
    "load_data",
    "make_model",
    "model_settings",
    "plain_recipe",
    "published_recipe",
    "recipe_for",
    "recipe_from",
    "recipe_settings",
    "resampled_history",
    "score_ensemble",
    "train",
    "train_on",
    "with_settings",
]

DENSE = {"model": "dense", "blocks": (3, 4, 6, 4, 3), "growth": 4, "features": 2}
HISTORY = 200  # entries of a stored history
SMOKE_STEPS = 24
# settings that Recipe did not have from the beginning, at their defaults
ADDED = {
    "learning_rate_schedule": "steps",
    "warm_up": 0.3,
    "ramp_steps": 0,
    "gradient_norm": None,
}


def data_settings(profile: str, factors: str = "standard-normal", **changes: Any) -> dict[str, Any]:
    """Settings of the data: 65 x 65 nodes, 512 + 512 samples (17 x 17, 48 + 48 at smoke)."""
    smoke = profile == "smoke"
    settings: dict[str, Any] = {
        "factors": factors,
        "factor_options": {},
        "n_nodes": 17 if smoke else 65,
        "n_train": 48 if smoke else 512,
        "n_test": 48 if smoke else 512,
        "data_seed": 0,
    }
    return settings | changes


def load_data(settings: dict[str, Any]) -> tuple[DarcyDataset, DarcyDataset]:
    """Training and test data of :func:`data_settings` (drawn once per process)."""
    return _generate(json.dumps({k: settings[k] for k in data_settings("paper")}, sort_keys=True))


@functools.lru_cache(maxsize=8)
def _generate(key: str) -> tuple[DarcyDataset, DarcyDataset]:
    s = json.loads(key)
    data = DarcyDataset.generate(
        factors=s["factors"],
        n_samples=s["n_train"] + s["n_test"],
        seed=s["data_seed"],
        n_nodes=s["n_nodes"],
        **s["factor_options"],
    )
    return data.split(s["n_train"], s["n_test"])


def factors_of(data: FieldDataset) -> Float[np.ndarray, "sample factor"]:
    """Factors of a data set that has them, as every generated one does."""
    assert data.theta is not None
    return data.theta.numpy()


def model_settings(profile: str, prior: str = "standard", **changes: Any) -> dict[str, Any]:
    """Settings of the model: DenseVAE at ``paper``, a small PodVAE otherwise."""
    if profile == "paper":
        return DENSE | {"n_latents": 2, "prior": prior} | changes
    settings = {"model": "pod", "n_modes": 12, "hidden": (24, 24)}
    return settings | {"n_latents": 2, "prior": prior} | changes


def dense_settings(profile: str, prior: str = "standard") -> dict[str, Any]:
    """Settings of DenseVAE on standardised fields: the paper's size, a small one at smoke."""
    settings = model_settings("paper", prior, standardised=True)
    return settings | ({"blocks": (2, 2, 2)} if profile == "smoke" else {})


def make_model(settings: dict[str, Any], fields: torch.Tensor) -> VAE:
    """Model of :func:`model_settings` for training fields; its variance is the recipe's kind."""
    common = {"n_latents": settings["n_latents"], "prior": settings["prior"]}
    model: VAE
    if settings["model"] == "pod":
        model = PodVAE.from_fields(
            fields, settings["n_modes"], hidden=tuple(settings["hidden"]), **common
        )
    else:
        common |= {"blocks": tuple(settings["blocks"])}
        common |= {name: settings[name] for name in ("growth", "features")}
        # settings that came later: others have no such entries
        common |= {name: settings[name] for name in ("variance_network",) if name in settings}
        if settings.get("standardised"):
            model = DenseVAE.from_fields(fields, **common)
        else:
            model = DenseVAE(n_nodes=fields.shape[-1], channels=fields.shape[1], **common)
    return model.use_variance(settings["recipe"]["variance"])


def recipe_settings(profile: str, recipe: str | Recipe, **changes: Any) -> dict[str, Any]:
    """Settings of a recipe, shortened to a few dozen steps at smoke."""
    chosen = make_recipe(recipe, **changes)
    if profile == "smoke":
        chosen = make_recipe(chosen.shortened(SMOKE_STEPS / chosen.steps), batch_size=16)
    return {"recipe": plain_recipe(chosen)}


def plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain values; :func:`recipe_from` makes it a recipe again.

    Settings that came later enter only where they are used, so that a stored trial keeps its hash.
    """
    settings = asdict(recipe)
    return {name: value for name, value in settings.items() if ADDED.get(name, ...) != value}


def published_recipe(
    profile: str,
    speed: float,
    phase: float = 1.0,
    schedule: Literal["published", "jump"] = "published",
) -> Recipe:
    """The published recipe, with another reconstruction phase; at ``paper`` at its full length.

    Parameters
    ----------
    profile : str
        Elsewhere than at "paper" the recipe is shortened.
    speed : float
        By what: steps over this number, learning rates times this number (``Recipe.faster``).
    phase : float
        Length of the reconstruction phase over the published length.
    schedule : {"published", "jump"}
        How the weight of the rate goes on from there.
    """
    recipe = RECIPES["published"]
    if profile != "paper":
        recipe = recipe.faster(speed)
    steps = round(phase * recipe.reconstruction_steps)
    return replace(recipe, reconstruction_steps=steps, schedule=schedule)


def recipe_for(name: str, prior: str) -> str:
    """Name of a recipe for a prior: the published settings differ with a hierarchical prior."""
    hierarchical = name == "published" and prior != "standard"
    return "published-hierarchical" if hierarchical else name


def recipe_from(settings: dict[str, Any]) -> Recipe:
    """Recipe of :func:`recipe_settings`."""
    return Recipe(**settings["recipe"])


def chunks(trials: Sequence[dict[str, Any]], shared: dict[str, Any], profile: str) -> list[Group]:
    """Trials in groups of a size that suits the model: 50 PodVAEs, or 10 DenseVAEs."""
    size = 10 if shared["model"] == "dense" else 50
    return [Group(shared, tuple(trials[i : i + size])) for i in range(0, len(trials), size)]


def train(
    group: Group, *, device: str, progress: bool, checkpoint: Path | None, **arguments: Any
) -> tuple[Fit, DarcyDataset, DarcyDataset]:
    """Train a group's trials, one member each; return the fit, training and test data."""
    training, test = load_data(group.shared)
    arguments |= {"device": device, "progress": progress, "checkpoint": checkpoint}
    return train_on(training, group, **arguments), training, test


def train_on(training: FieldDataset, group: Group, **arguments: Any) -> Fit:
    """Train a group's trials on given data, one member each; arguments of :func:`dvae.fit`."""
    return fit(
        make_model(group.shared, training.fields),
        training.fields,
        recipe_from(group.shared),
        [trial["seed"] for trial in group.trials],
        **arguments,
    )


def score_ensemble(
    ensemble: Ensemble,
    training: FieldDataset,
    test: FieldDataset,
    latents: bool = True,
    by_sample: bool = False,
    device: str = "cpu",
) -> xr.Dataset:
    """Losses and scores of every member, in evaluation mode, over the dimension ``trial``.

    Test values carry plain names, training values the suffix ``_train``. ``mean_field_error`` is
    what the mean of the training fields would score as ``relative_error``. Scores use latent means
    and 2 factors: S_D (eq. 6), its correlation form, and the rotation angle in degrees; NaN for
    members that diverged; ``disentangled`` is 1 where ``analysis.are_disentangled`` says so.
    ``latents`` adds mean and standard deviation of q(z|y) on the test data; ``by_sample`` the loss
    and the share of the variance left of every test sample, of which a few may decide the mean.
    The members compute on ``device`` and are back on the CPU afterwards.
    """
    ensemble.to(device)
    losses = ensemble.evaluate(test.fields, by_sample=by_sample)
    losses_train = ensemble.evaluate(training.fields, relative_error=False)
    data = losses.merge(losses_train.rename({n: f"{n}_train" for n in losses_train.data_vars}))
    baseline = mean_field_error(training.fields, test.fields)
    data["mean_field_error"] = ("member", np.full(ensemble.n_members, baseline))
    mean, scale = (x.cpu().numpy() for x in ensemble.encode(test.fields))
    mean_train = ensemble.encode(training.fields)[0].cpu().numpy()
    theta, theta_train = factors_of(test), factors_of(training)
    scores = {
        "disentanglement": score_runs(disentanglement_score, mean, theta),
        "disentanglement_train": score_runs(disentanglement_score, mean_train, theta_train),
        "disentanglement_correlation": score_runs(
            disentanglement_score, mean, theta, correlation=True
        ),
    }
    if mean.shape[2] == theta.shape[1] == 2:
        scores["angle"] = score_runs(rotation_angle, mean, theta)
    for name, values in scores.items():
        data[name] = ("member", values)
    data["disentangled"] = ("member", are_disentangled(mean, theta).astype(np.int8))
    if by_sample:
        left = _variance_left_by_sample(ensemble, training, test)
        data["variance_left_by_sample"] = ("member", "sample"), left
    ensemble.to("cpu")
    if latents:
        data["latent_mean"] = (("member", "sample", "latent"), mean)
        data["latent_scale"] = (("member", "sample", "latent"), scale)
    return data.rename(member="trial")


def _variance_left_by_sample(
    ensemble: Ensemble, training: FieldDataset, test: FieldDataset
) -> Float[np.ndarray, "member sample"]:
    """Squared error of every test sample over the mean squared deviation from the mean field.

    Its mean over samples is the share of the variance left (``analysis.variance_left``).
    """
    deviation = (test.fields - training.fields.mean(0)).double().pow(2).flatten(1).sum(1).mean()
    left = []
    for index in range(ensemble.n_members):
        member = ensemble.part(slice(index, index + 1))
        error = member.decode(member.encode(test.fields)[0])[0].cpu() - test.fields
        left.append((error.double().pow(2).flatten(1).sum(1) / deviation).numpy())
    return np.stack(left)


def resampled_history(result: Fit, entries: int = HISTORY) -> xr.Dataset:
    """Training history at a fixed number of steps, over ``trial`` and ``entry``."""
    index = np.unique(np.linspace(0, result.history.sizes["step"] - 1, entries).astype(int))
    history = result.history.isel(step=index).drop_vars("seed")
    steps = history["step"].values
    history = history.drop_vars("step").rename(member="trial", step="entry")
    history = history.rename({name: f"history_{name}" for name in history.data_vars})
    m = history.sizes["trial"]
    pad = entries - len(index)
    history = history.pad(entry=(0, pad), constant_values=np.nan)
    steps = np.pad(steps.astype(float), (0, pad), constant_values=np.nan)
    return history.assign(history_step=(("trial", "entry"), np.tile(steps, (m, 1))))


def with_settings(data: xr.Dataset, group: Group, **shared_names: str) -> xr.Dataset:
    """Settings of the trials as coordinates."""
    coordinates = {key: [t[key] for t in group.trials] for key in group.trials[0]}
    coordinates |= {k: [group.shared[v]] * len(group.trials) for k, v in shared_names.items()}
    return data.assign_coords({name: ("trial", values) for name, values in coordinates.items()})

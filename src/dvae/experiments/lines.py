"""Rows L1, L2 and L5: lines, random directions and planes in parameter space (section 4)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from dvae.analysis.landscape import Landscape, loss_per_node
from dvae.analysis.matching import match_hidden_units, match_latents, signed_permutation
from dvae.analysis.minima import strict_minima
from dvae.analysis.scores import are_disentangled
from dvae.conventions import SHOWN_LOSS
from dvae.experiments.common import (
    data_settings,
    load_data,
    make_model,
    model_settings,
    published_recipe,
    recipe_from,
    recipe_settings,
    train,
)
from dvae.experiments.over_regularised import COLLAPSING_BETA
from dvae.experiments.paths import SPEED
from dvae.models import VAE, PodVAE
from dvae.results.trials import Experiment, Group
from dvae.training import fit, initialise, make_recipe

__all__ = ["DIRECTIONS", "LINES", "PLANES", "SEED_PAIRS", "TREATMENTS"]

SOLUTION_SEED = 0
FIRST_INITIALISATION = 1000  # seeds of the Xavier initialisations: none of a trained model
KEPT_MINIMA = 4
TREATMENTS = ("as trained", "latents matched", "all units matched")


def _published_settings(profile: str) -> dict[str, Any]:
    """Published recipe: the decoder's log-variance is a parameter, as in eq. 26."""
    return (
        data_settings(profile)
        | model_settings(profile)
        | recipe_settings(profile, published_recipe(profile, SPEED))
    )


def _small_dense_settings(profile: str) -> dict[str, Any]:
    """A DenseVAE that two cores can train: it has batch normalisation, which PodVAE has not."""
    small: dict[str, Any] = (
        {"n_nodes": 17, "n_train": 48} if profile == "smoke" else {"n_nodes": 33, "n_train": 128}
    )
    recipe = make_recipe("calibrated").shortened(0.1)  # 400 steps
    settings = model_settings("paper", blocks=(1, 2, 1))
    return data_settings(profile, **small) | settings | recipe_settings(profile, recipe)


def _solution(group: Group, device: str, progress: bool, checkpoint):
    """The desirable solution of a group's settings, and the training data."""
    training, _ = load_data(group.shared)
    result = fit(
        make_model(group.shared, training.fields),
        training.fields,
        recipe_from(group.shared),
        SOLUTION_SEED,
        device=device,
        progress=progress,
        checkpoint=checkpoint,
    )
    return result.model, training


def _reduced(data: xr.Dataset) -> xr.Dataset:
    """Means over the draws of what a landscape returned, and the minima of the loss, by line."""
    loss = loss_per_node(data)
    alpha, mean = data["alpha"].values, loss.mean("draw").values
    rate = data["rate"].mean("draw").values
    found = [strict_minima(one.values.T) for one in loss]
    # position, climb, loss and rate of the first few minima of every line
    places = np.full((4, len(found), KEPT_MINIMA), np.nan)
    for i, minima in enumerate(found):
        index, k = minima.index[:KEPT_MINIMA], min(KEPT_MINIMA, len(minima.index))
        places[:, i, :k] = alpha[index], minima.climb[:k], mean[i, index], rate[i, index]
    names = ("minimum_alpha", "minimum_climb", "minimum_loss", "minimum_rate")
    noise = (loss.std("draw", ddof=1) / np.sqrt(data.sizes["draw"])).values
    reduced = xr.Dataset(
        {
            "loss_per_node": (("trial", "point"), mean.astype(np.float32)),
            "rate": (("trial", "point"), rate.astype(np.float32)),
            "noise": (("trial", "point"), noise.astype(np.float32)),
            "minima": ("trial", np.array([len(f.index) for f in found], dtype=np.int16)),
            "alpha": (("trial", "point"), np.tile(alpha, (len(found), 1)).astype(np.float32)),
        }
        | {n: (("trial", "minimum"), v) for n, v in zip(names, places, strict=True)}
    )
    return reduced.assign_coords(point=np.arange(len(alpha)))


# --------------------------------------------------------------- L1: from random initialisations


def _line_groups(profile: str) -> list[Group]:
    count = 2 if profile == "smoke" else 10
    points = 13 if profile == "smoke" else 61
    stored = {"statistics": "stored", "variance": "stored"}
    treatments = [stored, stored | {"variance": "calibrated"}]
    if profile == "paper":
        treatments.append(stored | {"statistics": "recomputed"})
    trials = tuple({"line": i} | t for t in treatments for i in range(count))
    main = _published_settings(profile) | {"points": points, "n_samples": 10, "case": "main"}
    groups = [Group(main, trials)]
    if profile != "paper":
        treatments = [{"statistics": s, "variance": "stored"} for s in ("stored", "recomputed")]
        few = tuple({"line": i} | t for t in treatments for i in range(count // 2))
        small = _small_dense_settings(profile)
        small |= {"points": points // 4 + 1, "n_samples": 4, "case": "small DenseVAE"}
        groups.append(Group(small, few))
    return groups


def _lines(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    model, training = _solution(group, device, progress, checkpoint)
    alpha = np.linspace(0.0, 1.2, group.shared["points"])
    keys = ("statistics", "variance")
    pieces = []
    for key, members in itertools.groupby(group.trials, lambda t: tuple(t[k] for k in keys)):
        landscape = Landscape(
            model,
            training.fields,
            n_samples=group.shared["n_samples"],
            device=device,
            **dict(zip(keys, key, strict=True)),
        )
        starts = [initialise(model, FIRST_INITIALISATION + t["line"], "xavier") for t in members]
        for start in starts:  # a fresh model: nothing learned in its buffers
            _reset_buffers(start, group, training.fields)
        data = landscape.line(landscape.states(starts), landscape.states(model)[0], alpha)
        pieces.append(_reduced(data))
    data = xr.concat(pieces, "trial")
    m = len(group.trials)
    return data.assign_coords(
        {k: ("trial", [t[k] for t in group.trials]) for k in ("line", *keys)}
        | {"case": ("trial", [group.shared["case"]] * m)}
    )


@torch.no_grad()
def _reset_buffers(model: VAE, group: Group, fields: torch.Tensor) -> None:
    """Give a model the initial buffers and log-variance of its architecture."""
    fresh = make_model(group.shared, fields)
    buffers = dict(fresh.named_buffers())
    for name, value in model.named_buffers():
        value.copy_(buffers[name])
    model.decoder.variance.log_variance.copy_(fresh.decoder.variance.log_variance)


LINES = Experiment(
    "lines",
    "Loss from Xavier initialisations to a desirable solution (section 4.2, fig. 3 left)",
    1,
    _line_groups,
    _lines,
)


# ------------------------------------------------------------------------ L2: random directions


def _direction_groups(profile: str) -> list[Group]:
    count = 8 if profile == "smoke" else 1000
    shared = _published_settings(profile) | {"cut": SHOWN_LOSS}
    shared |= {"points": 9 if profile == "smoke" else 65, "n_samples": 10}
    return [
        Group(
            shared | {"normalisation": normalisation},
            tuple({"direction": i} for i in range(count)),
        )
        for normalisation in ("norm", "filter")
    ]


def _directions(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    model, training = _solution(group, device, progress, checkpoint)
    landscape = Landscape(
        model, training.fields, n_samples=group.shared["n_samples"], device=device
    )
    centre, normalisation = landscape.states(model)[0], group.shared["normalisation"]
    directions = [t["direction"] for t in group.trials]
    # the axis ends where half of the directions, as far as 50 tell, pass the loss of fig. 3's cut
    coarse = np.geomspace(1e-3, 1.0, 61)
    look = landscape.rays(centre, coarse, directions[:50], normalisation)
    above = loss_per_node(look).mean("draw").values > group.shared["cut"]
    first = np.where(above.any(1), above.argmax(1), len(coarse) - 1)
    alpha = np.linspace(0.0, float(np.median(coarse[first])), group.shared["points"])
    data = landscape.rays(centre, alpha, directions, normalisation)
    reduced = _reduced(data).drop_vars(["noise", "alpha"])
    return reduced.assign_coords(
        direction=("trial", [t["direction"] for t in group.trials]),
        normalisation=("trial", [group.shared["normalisation"]] * len(group.trials)),
        alpha=(("trial", "point"), np.tile(alpha, (len(directions), 1))),
    )


DIRECTIONS = Experiment(
    "directions",
    "Loss along 1000 random directions from a desirable solution (section 4.2, fig. 3 right)",
    1,
    _direction_groups,
    _directions,
)


# ------------------------------------------------------------------------ L5: pairs of solutions


def _pair_groups(profile: str) -> list[Group]:
    count = {"smoke": 3, "laptop": 16, "paper": 10}[profile]
    shared = (
        data_settings(profile)
        | model_settings(profile)
        | recipe_settings(profile, "published")
        | {"members": count, "points": 7 if profile == "smoke" else 31}
    )
    pairs = tuple({"first": i, "second": j} for i, j in itertools.combinations(range(count), 2))
    return [Group(shared, pairs)]


def _matched(reference: VAE, model: VAE, fields: torch.Tensor) -> list[VAE]:
    """A second model as it is, with matched latents, and (PodVAE) with all units matched."""
    with torch.no_grad():
        means = [one.encoder(fields).mean.numpy() for one in (reference, model)]
    latents = signed_permutation(model, *match_latents(*means))
    every = latents
    if isinstance(reference, PodVAE) and isinstance(latents, PodVAE):
        every = match_hidden_units(reference, latents, fields)
    return [model, latents, every]


def _pairs(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    s = group.shared
    whole = Group(s, tuple({"seed": seed} for seed in range(s["members"])))
    result, training, _ = train(whole, device=device, progress=progress, checkpoint=checkpoint)
    models = result.models
    landscape = Landscape(
        models[0], training.fields, training.theta, variance="calibrated", device=device
    )
    alpha = np.linspace(0.0, 1.0, s["points"])
    starts, ends = [], []
    for trial in group.trials:
        reference = models[trial["first"]]
        ends += _matched(reference, models[trial["second"]], training.fields)
        starts += [reference] * len(TREATMENTS)
    data = landscape.line(landscape.states(starts), landscape.states(ends), alpha)
    loss = loss_per_node(data)
    shape = (len(group.trials), len(TREATMENTS), len(alpha))
    dims = ("trial", "treatment", "point")
    minima = np.array([len(strict_minima(one.values.T).index) for one in loss])
    values = {
        "loss_per_node": loss.mean("draw").values,
        "rate": data["rate"].mean("draw").values,
        "disentanglement": data["disentanglement"].values,
    }
    reduced: dict[str, Any] = {
        n: (dims, v.reshape(shape).astype(np.float32)) for n, v in values.items()
    }
    reduced["minima"] = (dims[:2], minima.reshape(shape[:2]).astype(np.int16))
    every = isinstance(models[0], PodVAE)
    means = result.ensemble.encode(training.fields)[0].numpy()
    good = are_disentangled(means, training.theta)
    for end in ("first", "second"):
        flags = [good[trial[end]] for trial in group.trials]
        reduced[f"{end}_disentangled"] = ("trial", np.array(flags, dtype=np.int8))
    return xr.Dataset(reduced).assign_coords(
        treatment=list(TREATMENTS),
        alpha=("point", alpha),
        first=("trial", [t["first"] for t in group.trials]),
        second=("trial", [t["second"] for t in group.trials]),
        hidden_units_matched=("trial", [every] * len(group.trials)),
    )


SEED_PAIRS = Experiment(
    "seed_pairs",
    "Lines between runs that differ in the seed, with and without matching (section 4.3, fig. 5)",
    1,
    _pair_groups,
    _pairs,
)


# ------------------------------------------------------------------------------------- planes


def _plane_groups(profile: str) -> list[Group]:
    shared = (
        data_settings(profile)
        | model_settings(profile)
        | recipe_settings(profile, "calibrated")
        | {"resolution": 5 if profile == "smoke" else 33}
    )
    kinds = (
        "three seeds",
        "three seeds, all units matched",
        "initial, over-regularised, desirable",
    )
    return [Group(shared, tuple({"plane": kind} for kind in kinds))]


def _planes(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    training, _ = load_data(group.shared)
    fields = training.fields
    model, recipe = make_model(group.shared, fields), recipe_from(group.shared)
    options: dict[str, Any] = {"device": device, "progress": progress}
    seeds = [SOLUTION_SEED, SOLUTION_SEED + 1, SOLUTION_SEED + 2]
    first, second, third = fit(model, fields, recipe, seeds, **options).models
    collapsing = replace(recipe, beta=COLLAPSING_BETA)
    collapsed = fit(model, fields, collapsing, SOLUTION_SEED, **options).model
    # outside the triangle interpolated running variances may be negative: recompute them
    landscape = Landscape(
        model,
        fields,
        training.theta,
        n_samples=4,
        statistics="recomputed" if group.shared["model"] == "dense" else "stored",
        variance="calibrated",
        device=device,
    )
    corners = {
        "three seeds": [first, second, third],
        "three seeds, all units matched": [
            first,
            *(_matched(first, other, fields)[-1] for other in (second, third)),
        ],
        # the two runs start from the same initialisation: it is the origin of the plane
        "initial, over-regularised, desirable": [
            initialise(model, SOLUTION_SEED),
            collapsed,
            first,
        ],
    }
    pieces = []
    for trial in group.trials:
        states = landscape.states(corners[trial["plane"]])
        data = landscape.plane(states, group.shared["resolution"])
        pieces.append(
            xr.Dataset(
                {
                    "loss_per_node": (("x", "y"), loss_per_node(data).mean("draw").values),
                    "rate": (("x", "y"), data["rate"].mean("draw").values),
                    "disentanglement": (("x", "y"), data["disentanglement"].values),
                    "x_value": ("x", data["x"].values),
                    "y_value": ("y", data["y"].values),
                    "solution_x": data["solution_x"],
                    "solution_y": data["solution_y"],
                }
            ).astype(np.float32)
        )
    return xr.concat(pieces, "trial").assign_coords(
        plane=("trial", [trial["plane"] for trial in group.trials])
    )


PLANES = Experiment(
    "planes",
    "Loss and S_D on planes through three solutions (section 4.3)",
    1,
    _plane_groups,
    _planes,
)

"""Rows L1, L2 and L5: lines, random directions and planes in parameter space (section 4).

The computations serve the paper's network too, on the coarse grid (``dense_landscape``): where
they differ there (samples, how many at a time, draws of the latents, directions that find the end
of the axis), the group's settings say so.
"""

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
from dvae.models import VAE
from dvae.results.trials import Experiment, Group
from dvae.training import fit, initialise

__all__ = [
    "DIRECTIONS",
    "LINES",
    "PLANES",
    "SEED_PAIRS",
    "TREATMENTS",
    "compute_directions",
    "compute_lines",
    "pair_dataset",
    "ways_to_write",
]

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


def _batch_size(group: Group) -> int:
    return group.shared.get("batch_size", 64)


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
        treatments += [t | {"statistics": "recomputed"} for t in treatments]
    trials = tuple({"line": i} | t for t in treatments for i in range(count))
    main = _published_settings(profile) | {"points": points, "n_samples": 10, "case": "main"}
    return [Group(main, trials)]


def compute_lines(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    """Loss and rate on lines from Xavier initialisations to a solution, and their minima.

    Parameters
    ----------
    group : Group
        Trials with ``line``, ``statistics`` and ``variance`` (the last two as for
        :class:`Landscape`); shared settings with ``points``, ``n_samples`` and ``case``.
    device, progress, checkpoint
        As for :func:`dvae.fit`.

    Returns
    -------
    xarray.Dataset
        Over ``trial``: losses and rates at every ``point``; place, climb, loss and rate of the
        first few ``minimum``; how many there are.
    """
    model, training = _solution(group, device, progress, checkpoint)
    alpha = np.linspace(0.0, 1.2, group.shared["points"])
    keys = ("statistics", "variance")
    pieces = []
    for key, members in itertools.groupby(group.trials, lambda t: tuple(t[k] for k in keys)):
        landscape = Landscape(
            model,
            training.fields,
            n_samples=group.shared["n_samples"],
            batch_size=_batch_size(group),
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
    compute_lines,
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


def compute_directions(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    """Loss and rate along random directions from a solution, and their minima.

    Parameters
    ----------
    group : Group
        Trials with ``direction``; shared settings with ``points``, ``n_samples``,
        ``normalisation`` and ``cut``, the loss at which half of the first directions end.
    device, progress, checkpoint
        As for :func:`dvae.fit`.

    Returns
    -------
    xarray.Dataset
        As :func:`compute_lines`.
    """
    model, training = _solution(group, device, progress, checkpoint)
    landscape = Landscape(
        model,
        training.fields[: group.shared.get("samples")],
        n_samples=group.shared["n_samples"],
        batch_size=_batch_size(group),
        device=device,
    )
    centre, normalisation = landscape.states(model)[0], group.shared["normalisation"]
    directions = [t["direction"] for t in group.trials]
    # the axis ends where half of the first directions pass the loss of fig. 3's cut
    coarse = np.geomspace(1e-3, 1.0, 61)
    first_ones = range(group.shared.get("looked_at", min(50, len(directions))))
    look = landscape.rays(centre, coarse, first_ones, normalisation)
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
    compute_directions,
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


def ways_to_write(reference: VAE, model: VAE, fields: torch.Tensor) -> list[VAE]:
    """A second model in three ways: as it is, with its latents matched to a first one, all units.

    Parameters
    ----------
    reference, model : PodVAE or DenseVAE
        The first and the second model.
    fields : Tensor (sample, channel, x1, x2)
        On which they are matched.

    Returns
    -------
    list of VAE
        In the order of ``TREATMENTS``; the same functions, but for the order and the signs of
        the latents.
    """
    with torch.no_grad():
        means = [one.encoder(fields).mean.numpy() for one in (reference, model)]
    latents = signed_permutation(model, *match_latents(*means))
    return [model, latents, match_hidden_units(reference, latents, fields)]


def _pairs(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    """Loss and S_D on the lines between all pairs of runs, as trained and matched."""
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
        ends += ways_to_write(reference, models[trial["second"]], training.fields)
        starts += [reference] * len(TREATMENTS)
    data = landscape.line(landscape.states(starts), landscape.states(ends), alpha)
    count = (len(group.trials), len(TREATMENTS))
    folded = {name: v.values.reshape(*count, *v.shape[1:]) for name, v in data.data_vars.items()}
    dims = ("trial", "treatment", "point")
    lines = xr.Dataset(
        {name: ((*dims, "draw")[: value.ndim], value) for name, value in folded.items()},
        attrs=data.attrs,
    ).assign_coords(treatment=list(TREATMENTS), alpha=("point", alpha))
    means = result.ensemble.encode(training.fields)[0].numpy()
    good = dict(enumerate(are_disentangled(means, training.theta).tolist()))
    return pair_dataset(group, lines, good)


def pair_dataset(group: Group, lines: xr.Dataset, disentangled: dict[int, bool]) -> xr.Dataset:
    """What is kept of lines between runs, and which ends are disentangled on training data.

    Parameters
    ----------
    group : Group
        Whose trials name the seeds ``first`` and ``second`` of their lines.
    lines : xarray.Dataset
        Of a landscape, over (trial, treatment, point) and ``draw``.
    disentangled : dict of int to bool
        By seed.

    Returns
    -------
    xarray.Dataset
        Over (trial, treatment, point): ``loss_per_node``, ``rate``, ``disentanglement``; over
        (trial, treatment) ``minima``, the number inside a line; over trial whether the ``first``
        and the ``second`` end are disentangled.
    """
    loss = loss_per_node(lines)
    minima = [[len(strict_minima(one.values.T).index) for one in pair] for pair in loss]
    reduced = xr.Dataset(
        {
            "loss_per_node": loss.mean("draw"),
            "rate": lines["rate"].mean("draw"),
            "disentanglement": lines["disentanglement"],
        }
    ).astype(np.float32)
    reduced["minima"] = (("trial", "treatment"), np.array(minima, dtype=np.int16))
    for end in ("first", "second"):
        flags = [disentangled[trial[end]] for trial in group.trials]
        reduced[f"{end}_disentangled"] = ("trial", np.array(flags, dtype=np.int8))
    return reduced.drop_attrs().assign_coords(
        {end: ("trial", [t[end] for t in group.trials]) for end in ("first", "second")}
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
            *(ways_to_write(first, other, fields)[-1] for other in (second, third)),
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

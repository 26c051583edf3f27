"""Rows L1, L2, L4 and L5 on the paper's network: DenseVAE on a grid of 33 x 33 nodes.

Solutions are trained with the recipe of ``dense_runs`` on standardised fields. A loss costs far
more than PodVAE's, so that it is estimated from fewer draws of the latents, along the directions
on fewer points and a quarter of the samples too.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from dvae.analysis.landscape import Landscape
from dvae.analysis.scores import are_disentangled
from dvae.conventions import SHOWN_LOSS
from dvae.experiments.common import (
    factors_of,
    load_data,
    make_model,
    recipe_from,
)
from dvae.experiments.dense_runs import COARSE_RECIPE
from dvae.experiments.dense_studies import one_cycle
from dvae.experiments.lines import (
    TREATMENTS,
    compute_directions,
    compute_lines,
    pair_dataset,
    ways_to_write,
)
from dvae.experiments.paths import BETAS, neighbour_lines, sweep_dataset
from dvae.models import VAE
from dvae.physics import DarcyDataset
from dvae.results.trials import Experiment, Group
from dvae.training import Recipe, fit, make_recipe
from dvae.training.ensemble import Ensemble

__all__ = [
    "DENSE_DIRECTIONS",
    "DENSE_LINES",
    "DENSE_PAIRS",
    "DENSE_SWEEP",
    "WAYS",
]

BATCH_SIZE, DRAWS = 128, 2  # samples at a time, and latent draws of a sample, for every loss
SWEEP_SEEDS, SWEEP_DRAWS = 5, 5
DIRECTIONS, DIRECTIONS_AT_ONCE = 250, 125
DIRECTION_SAMPLES = BATCH_SIZE  # whose loss is looked at along a direction
LOOKED_AT = 20  # directions that find where the axis ends
# all pairs among six runs, three times over: more runs than the same number of pairs among few
BLOCKS, MEMBERS = 3, 6
# how the second model of a pair is written, and which statistics batch normalisation has
WAYS: dict[str, tuple[int, Literal["stored", "recomputed"]]] = {
    **{name: (i, "stored") for i, name in enumerate(TREATMENTS)},
    "all units matched, statistics recomputed": (2, "recomputed"),
}


def _settings(profile: str, **own: Any) -> dict:
    return one_cycle(profile, batch_size=BATCH_SIZE, n_samples=DRAWS, **own)


def _line_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    shared = _settings(profile, points=13 if smoke else 61, case="main")
    return [
        Group(
            shared,
            tuple(
                {"line": line, "statistics": statistics, "variance": variance}
                for variance in ("stored", "calibrated")
                for line in range(2 if smoke else 10)
            ),
        )
        for statistics in ("stored", "recomputed")
    ]


DENSE_LINES = Experiment(
    "dense_lines",
    "DenseVAE: loss from Xavier initialisations to a desirable solution (section 4.2)",
    1,
    _line_groups,
    compute_lines,
)


def _direction_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    count, size = (4, 2) if smoke else (DIRECTIONS, DIRECTIONS_AT_ONCE)
    shared = _settings(
        profile,
        points=7 if smoke else 33,
        cut=SHOWN_LOSS,
        samples=DIRECTION_SAMPLES,
        looked_at=2 if smoke else LOOKED_AT,
        normalisation="norm",
    )
    return [
        Group(shared, tuple({"direction": i} for i in range(first, first + size)))
        for first in range(0, count, size)
    ]


DENSE_DIRECTIONS = Experiment(
    "dense_directions",
    "DenseVAE: loss along random directions from a desirable solution (section 4.2)",
    1,
    _direction_groups,
    compute_directions,
)


def _in_turn(
    group: Group,
    training: DarcyDataset,
    seeds: Sequence[int],
    recipes: Sequence[Recipe],
    **arguments: Any,
) -> list[VAE]:
    """Models of these seeds and recipes, trained one after the other.

    Members of networks of this size gain nothing from one process on a CPU, so a group is small
    and is trained again if it is interrupted.
    """
    model = make_model(group.shared, training.fields)
    return [
        fit(model, training.fields, recipe, seed, **arguments).model
        for seed, recipe in zip(seeds, recipes, strict=True)
    ]


def _pair_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    members = 2 if smoke else MEMBERS
    shared = _settings(profile, points=5 if smoke else 31)
    return [
        Group(
            shared,
            tuple(
                {"first": i, "second": j}
                for i, j in itertools.combinations(range(first, first + members), 2)
            ),
        )
        for first in range(0, (1 if smoke else BLOCKS) * members, members)
    ]


def _pairs(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    training, _ = load_data(group.shared)
    pairs = [(trial["first"], trial["second"]) for trial in group.trials]
    seeds = sorted(set(itertools.chain(*pairs)))
    recipes = [recipe_from(group.shared)] * len(seeds)
    trained = _in_turn(group, training, seeds, recipes, device=device, progress=progress)
    models = dict(zip(seeds, trained, strict=True))
    starts = [models[first] for first, _ in pairs]
    ends = [ways_to_write(models[i], models[j], training.fields) for i, j in pairs]
    alpha = np.linspace(0.0, 1.0, group.shared["points"])
    curves = []
    for way, statistics in WAYS.values():
        landscape = Landscape(
            trained[0],
            training.fields,
            training.theta,
            n_samples=group.shared["n_samples"],
            batch_size=group.shared["batch_size"],
            statistics=statistics,
            variance="calibrated",
            device=device,
        )
        states = landscape.states(starts), landscape.states([end[way] for end in ends])
        curves.append(landscape.line(*states, alpha))
    lines = xr.concat(curves, "treatment", combine_attrs="override").rename(line="trial")
    lines = lines.transpose("trial", "treatment", "point", "draw")
    means = Ensemble(trained).encode(training.fields)[0].numpy()
    good = are_disentangled(means, factors_of(training)).tolist()
    lines = lines.assign_coords(treatment=list(WAYS))
    return pair_dataset(group, lines, dict(zip(seeds, good, strict=True)))


DENSE_PAIRS = Experiment(
    "dense_pairs",
    "DenseVAE: lines between runs that differ in the seed (section 4.3, fig. 5)",
    1,
    _pair_groups,
    _pairs,
)


def _sweep_groups(profile: str) -> list[Group]:
    """Weights from the recipe's first one on, with which all start.

    Neighbours then share the reconstruction phase, as in ``rate_distortion``. With first weights in
    proportion they are other runs altogether: walls of a hundred nats between them.
    """
    smoke = profile == "smoke"
    shared = _settings(profile, start="ramp") | {"n_samples": SWEEP_DRAWS}
    betas = [beta for beta in BETAS[::2] if beta > COARSE_RECIPE.beta_initial]
    return [
        Group(
            shared,
            tuple({"beta": beta, "seed": seed} for beta in betas[:: 4 if smoke else 1]),
        )
        for seed in range(1 if smoke else SWEEP_SEEDS)
    ]


def _sweep(group: Group, device: str, progress: bool, checkpoint=None) -> xr.Dataset:
    training, _ = load_data(group.shared)
    base = recipe_from(group.shared)
    seeds = [trial["seed"] for trial in group.trials]
    recipes = [make_recipe(base, beta=trial["beta"]) for trial in group.trials]
    trained = _in_turn(group, training, seeds, recipes, device=device, progress=progress)
    ensemble = Ensemble(trained)
    options = {name: group.shared[name] for name in ("n_samples", "batch_size")}
    options["device"] = device
    stored = Landscape(ensemble, training.fields, **options)
    best = Landscape(
        ensemble, training.fields, statistics="recomputed", variance="calibrated", **options
    )
    again = neighbour_lines(group, ensemble, best)
    renamed = {name: f"{name}_best" for name in again.data_vars}
    return sweep_dataset(group, ensemble, stored).merge(again.rename(renamed))


DENSE_SWEEP = Experiment(
    "dense_sweep",
    "DenseVAE: models for many beta, and lines between neighbours (section 4.2, fig. 4)",
    1,
    _sweep_groups,
    _sweep,
)

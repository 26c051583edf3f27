"""Rows S1, S2, P1, M1, L3, P3, E6 and E8 on the network of the paper, on a grid of 33 x 33 nodes.

Labels and numbers of samples with the recipe of ``dense_runs`` on standardised fields; lengths of
the reconstruction phase with the published recipe on the fields as they are, in an eighth of its
steps, whose runs with the whole phase are those of ``dense_runs``; and the last of these, without
a phase, with a decoder variance that depends on z.
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
    with_settings,
)
from dvae.experiments.dense_runs import COARSE_RECIPE, FIRST, PUBLISHED_SPEED
from dvae.experiments.labels import COUNTS, RUNS, label_compute
from dvae.experiments.training_size import SIZES, size_compute
from dvae.results.dense import DENSE_NODES
from dvae.results.trials import Experiment, Group
from dvae.training import RECIPES

__all__ = [
    "DENSE_LABELS",
    "DENSE_PHASES",
    "DENSE_SIZES",
    "VARIANCE_NETWORK",
    "coarse_data",
    "grouped",
    "one_cycle",
    "scored",
]

DENSE_COUNTS = (0, 5, 15, 41)  # labels beside 512 samples: 0, 1, 3 and 8 %
# of the published reconstruction phase, which the weight then leaves as published ("phase") or at
# once ("constant beta"); in the order of what is asked first
ARMS = (("phase", 0.25), ("phase", 0.0), ("constant beta", 0.0), ("phase", 0.5))
PHASE_RUNS = 10
# of the 6500 of the arm "constant beta", whose runs are over-regularised from the first ones on
NETWORK_STEPS = 650


def coarse_data(profile: str, factors: str = "standard-normal") -> dict:
    """Settings of the data on the coarse grid."""
    return data_settings(
        profile, factors, **({} if profile == "smoke" else {"n_nodes": DENSE_NODES})
    )


def one_cycle(profile: str, **own: Any) -> dict:
    """Settings of DenseVAE on standardised fields, with those of a study's own."""
    recipe = recipe_settings(profile, COARSE_RECIPE) | {"recipe_name": COARSE_RECIPE.name}
    return coarse_data(profile) | dense_settings(profile) | recipe | own


def _label_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    shared = one_cycle(profile, n_pool=16 if smoke else 512)
    runs = 1 if smoke else RUNS
    # a group holds all label counts of its runs, so that baselines find the unsupervised one
    size = runs if profile == "paper" else 1
    return [
        Group(
            shared,
            tuple(
                {"n_labels": count, "run": run, "seed": 100 * COUNTS.index(count) + run}
                for count in (DENSE_COUNTS[:2] if smoke else DENSE_COUNTS)
                for run in range(first, first + size)
            ),
        )
        for first in range(0, runs, size)
    ]


DENSE_LABELS = Experiment(
    "dense_labels",
    "DenseVAE: S_D and losses against the number of labels, 10 runs per number (section 6)",
    1,
    _label_groups,
    label_compute,
)


def _size_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    seeds = [{"seed": seed} for seed in range(1 if smoke else PHASE_RUNS)]
    groups = []
    for size in (16,) if smoke else SIZES:
        groups += grouped(profile, one_cycle(profile, size=size), seeds)
    return groups


def grouped(profile: str, shared: dict, trials: list[dict]) -> list[Group]:
    """All trials in one group on a GPU or if they are PodVAEs, each in its own on a CPU."""
    if profile == "paper" or shared["model"] == "pod":
        return [Group(shared, tuple(trials))]
    return [Group(shared, (trial,)) for trial in trials]


DENSE_SIZES = Experiment(
    "dense_sizes",
    "DenseVAE: losses against the number of training samples (supplement, section 5.1)",
    1,
    _size_groups,
    size_compute,
)


def _phase_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    seeds = [{"seed": seed} for seed in range(1 if smoke else PHASE_RUNS)]
    cases = [(*cell, *arm) for cell in FIRST for arm in ARMS]
    cases.append(("standard-normal", "standard", "phase", 0.25))  # row E8, beside the four modes
    groups = []
    for factors, prior, arm, phase in cases[:1] if smoke else cases:
        shared = _phase_settings(profile, factors, prior, arm, phase)
        groups += grouped(profile, shared, seeds)
    return groups


def _phase_settings(
    profile: str, factors: str, prior: str, arm: str, phase: float, **changes: Any
) -> dict[str, Any]:
    """The published recipe on the fields as they are, with a phase of this share of its length."""
    recipe = RECIPES[recipe_for("published", prior)].faster(PUBLISHED_SPEED)
    own = recipe_settings(
        profile,
        recipe,
        reconstruction_steps=round(phase * recipe.reconstruction_steps),
        schedule="jump" if arm == "constant beta" else recipe.schedule,
        **changes,
    )
    model = dense_settings(profile, prior)
    del model["standardised"]
    return coarse_data(profile, factors) | model | own | {"arm": arm, "phase": phase}


def scored(group: Group, names: tuple[str, ...], **arguments: Any) -> xr.Dataset:
    """Scores and history of a group's runs, with these settings as coordinates."""
    result, training, test = train(group, **arguments)
    scores = score_ensemble(result.ensemble, training, test, device=arguments["device"])
    data = scores.merge(resampled_history(result))
    m = len(group.trials)
    data["training_seconds"] = ("trial", np.full(m, result.seconds))
    data["diverged"] = ("trial", result.diverged.astype(np.int8))
    return with_settings(data, group, **{name: name for name in names})


def _phase_compute(group: Group, **arguments) -> xr.Dataset:
    return scored(group, ("factors", "prior", "n_nodes", "arm", "phase"), **arguments)


DENSE_PHASES = Experiment(
    "dense_phases",
    "DenseVAE: the published recipe with shorter reconstruction phases (sections 4.2 and 5.3)",
    1,
    _phase_groups,
    _phase_compute,
)


def _variance_groups(profile: str) -> list[Group]:
    seeds = [{"seed": seed} for seed in range(1 if profile == "smoke" else PHASE_RUNS)]
    shared = _phase_settings(
        profile,
        *FIRST[0],
        "constant beta",
        0.0,
        steps=NETWORK_STEPS,
        learning_rate_steps=(),
    )
    return grouped(profile, shared | {"variance_network": True}, seeds)


VARIANCE_NETWORK = Experiment(
    "variance_network",
    "DenseVAE: a decoder variance that depends on z, weight of the rate from the start (section 4)",
    2,
    _variance_groups,
    _phase_compute,
)

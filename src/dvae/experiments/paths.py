"""Rows L3, L4 and P3: paths in the rate-distortion plane, and where they end (section 4.2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import xarray as xr

from dvae.analysis.landscape import Landscape, loss_per_node
from dvae.analysis.minima import barrier, strict_minima
from dvae.experiments.common import (
    chunks,
    data_settings,
    load_data,
    model_settings,
    published_recipe,
    recipe_settings,
    resampled_history,
    train,
)
from dvae.models import PodVAE
from dvae.results.trials import Experiment, Group
from dvae.training import make_recipe
from dvae.training.ensemble import Ensemble

__all__ = [
    "BETAS",
    "PATHS",
    "PHASES",
    "RATE_DISTORTION",
    "SPEED",
    "neighbour_lines",
    "sweep_dataset",
]

SPEED = 12  # laptop: the published recipe in 1/12 of its steps, at 12 times its learning rate
PHASES = (1.0, 0.5, 0.25, 0.0)  # length of the reconstruction phase over the published length

# per node; denser around the predicted transition at 3/2
BETAS = tuple(
    np.round(
        np.concatenate([np.geomspace(1e-3, 0.9, 10), np.linspace(1.0, 2.0, 11), [3.0, 5.0, 10.0]]),
        4,
    ).tolist()
)
LINE = np.linspace(0.0, 1.0, 21)


def _path_groups(profile: str) -> list[Group]:
    arms = [(f"phase {p:g}", published_recipe(profile, SPEED, p), p) for p in PHASES]
    arms.append(("constant beta", published_recipe(profile, SPEED, 0.0, "jump"), 0.0))
    calibrated = make_recipe("calibrated")
    arms.append(("calibrated, phase 1", calibrated, 1.0))
    arms.append(("calibrated, phase 0", replace(calibrated, reconstruction_steps=0), 0.0))
    seeds = [{"seed": seed} for seed in range(3 if profile == "smoke" else 50)]
    groups = []
    for arm, recipe, phase in arms:
        shared = (
            data_settings(profile)
            | model_settings(profile)
            | recipe_settings(profile, recipe)
            | {"arm": arm, "phase": phase}
        )
        groups += chunks(seeds, shared, profile)
    return groups


def _paths(group: Group, **arguments) -> xr.Dataset:
    result, training, _ = train(group, **arguments)
    data = result.ensemble.evaluate(training.fields, relative_error=False)
    data = data.rename(member="trial").merge(resampled_history(result))
    m = len(group.trials)
    return data.assign_coords(
        seed=("trial", [trial["seed"] for trial in group.trials]),
        arm=("trial", [group.shared["arm"]] * m),
        phase=("trial", [group.shared["phase"]] * m),
        reconstruction_steps=("trial", [result.recipe.reconstruction_steps] * m),
    ).astype(np.float32)


PATHS = Experiment(
    "paths",
    "Training paths with and without the reconstruction phase (section 4.2, supplement)",
    1,
    _path_groups,
    _paths,
)


def _sweep_groups(profile: str) -> list[Group]:
    betas = BETAS[::6] if profile == "smoke" else BETAS
    seeds = 2 if profile == "smoke" else 3
    trials = tuple({"beta": beta, "seed": seed} for seed in range(seeds) for beta in betas)
    calibrated = make_recipe("calibrated")
    starts = {
        "reconstruction": calibrated,  # from small beta: the desirable side
        "none": replace(calibrated, reconstruction_steps=0),  # from the initialisation
    }
    return [
        Group(
            data_settings(profile)
            | model_settings(profile)
            | recipe_settings(profile, recipe)
            | {"start": start},
            trials,
        )
        for start, recipe in starts.items()
    ]


def _sweep(group: Group, **arguments) -> xr.Dataset:
    betas = [trial["beta"] for trial in group.trials]
    result, training, _ = train(group, beta=betas, **arguments)
    return sweep_dataset(group, result.ensemble, Landscape(result.ensemble, training.fields))


def sweep_dataset(group: Group, ensemble: Ensemble, landscape: Landscape) -> xr.Dataset:
    """Losses of models of many weights, and of lines from each to the next with its seed.

    Parameters
    ----------
    group : Group
        With ``beta`` and ``seed`` of every trial, in the order of the weights for each seed.
    ensemble : Ensemble
        Its trained members.
    landscape : Landscape
        On the training data.

    Returns
    -------
    xarray.Dataset
        Losses on the training data, :func:`neighbour_lines`, and for PodVAE what the theory of
        the linear VAE needs, over ``trial``.
    """
    training, _ = load_data(group.shared)
    data = ensemble.evaluate(training.fields, relative_error=False).rename(member="trial")
    data = data.merge(neighbour_lines(group, ensemble, landscape))
    m = len(group.trials)
    model = ensemble.template
    if isinstance(model, PodVAE):  # for the theory of the linear VAE
        spread = model.encoder.basis.spread.double().numpy() ** 2
        residual = float(landscape.features[:, -1].double().mean())
        data["principal_variance"] = (("trial", "direction"), np.tile(spread, (m, 1)))
        data["residual_variance"] = ("trial", np.full(m, residual))
        jacobian = model.decoder.variance.log_jacobian
        data["log_jacobian"] = ("trial", np.full(m, jacobian))
    return data.assign_coords(
        seed=("trial", [trial["seed"] for trial in group.trials]),
        beta=("trial", [trial["beta"] for trial in group.trials]),
        start=("trial", [group.shared["start"]] * m),
        total_nodes=("trial", np.full(m, model.total_nodes)),
    )


def neighbour_lines(group: Group, ensemble: Ensemble, landscape: Landscape) -> xr.Dataset:
    """The loss with beta = 1 from every model to the one with the next larger beta and its seed.

    Arguments as :func:`sweep_dataset`.

    Returns
    -------
    xarray.Dataset
        Over ``trial``: ``neighbour_minima``, the number of minima inside (-1 for the last of a
        seed), ``neighbour_barrier`` in nats per node and, over ``point`` too, ``neighbour_loss``.
    """
    states = landscape.states(ensemble)
    seeds = np.array([trial["seed"] for trial in group.trials])
    has_next = np.append(seeds[1:] == seeds[:-1], False)
    first = np.flatnonzero(has_next)
    line = landscape.line(states[first], states[first + 1], LINE)
    loss = loss_per_node(line, beta=1.0)
    m = len(seeds)
    minima, height = np.full(m, -1), np.full(m, np.nan)
    curve = np.full((m, len(LINE)), np.nan)
    minima[first] = [len(strict_minima(one.values.T).index) for one in loss]
    curve[first] = loss.mean("draw").values
    height[first] = barrier(curve[first])
    return xr.Dataset(
        {
            "neighbour_minima": ("trial", minima.astype(np.int16)),
            "neighbour_barrier": ("trial", height),
            "neighbour_loss": (("trial", "point"), curve.astype(np.float32)),
        }
    )


RATE_DISTORTION = Experiment(
    "rate_distortion",
    "Converged VAEs for many beta, and lines between neighbours (section 4.2, fig. 4)",
    1,
    _sweep_groups,
    _sweep,
)

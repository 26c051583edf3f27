"""Rows S1 and S2: score and losses against the number of labels (section 6, fig. 14)."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from dvae.analysis import (
    disentanglement_score,
    is_diverged,
    linear_regression_latents,
    pca_latents,
    procrustes_latents,
)
from dvae.errors import DataError
from dvae.experiments.common import (
    data_settings,
    factors_of,
    model_settings,
    published_recipe,
    recipe_settings,
    resampled_history,
    score_ensemble,
    with_settings,
)
from dvae.experiments.labelling import draw_labels, fit_labelled, load_labelled
from dvae.results.trials import Experiment, Group
from dvae.training.ensemble import Ensemble

__all__ = ["COUNTS", "LABEL_COUNTS", "RUNS", "SPEED", "label_compute"]

# labels beside 512 samples, 0 to 10 %: in full for the main recipe, in part for the others
COUNTS = (0, 1, 2, 3, 5, 8, 15, 26, 41, 51)
FEW_COUNTS = (0, 2, 5, 15, 41)
RUNS = 10
SPEED = 5  # laptop: the published recipe in a fifth of its steps, at five times its learning rate
STORED_LATENTS = 256  # test samples whose latent means are kept, for the similarity of runs


def _label_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    runs = 2 if smoke else RUNS
    recipes = {"calibrated": COUNTS, "annealed": FEW_COUNTS, "published": FEW_COUNTS}
    if profile == "paper":
        recipes = dict.fromkeys(recipes, COUNTS)
    groups = []
    for recipe, counts in recipes.items():
        shared = (
            data_settings(profile)
            | {"n_pool": 16 if smoke else 512}
            | model_settings(profile)
            | recipe_settings(
                profile, published_recipe(profile, SPEED) if recipe == "published" else recipe
            )
            | {"recipe_name": recipe}
        )
        # a group holds all label counts of its runs, so that baselines find the unsupervised one
        size = 1 if shared["model"] == "dense" else runs
        for first in range(0, runs, size):
            trials = [
                {"n_labels": count, "run": run, "seed": 100 * COUNTS.index(count) + run}
                for count in ((0, 1, 5) if smoke else counts)
                for run in range(first, first + size)
            ]
            groups.append(Group(shared, tuple(trials)))
    return groups


def label_compute(group: Group, **arguments) -> xr.Dataset:
    """Train and score trials that differ in ``n_labels``, ``run`` and ``seed``."""
    training, test, pool = load_labelled(group.shared)
    results = fit_labelled(group, training, pool, **arguments)
    pieces = [
        score_ensemble(r.ensemble, training, test, device=arguments["device"]).merge(
            resampled_history(r, 50)
        )
        for r in results
    ]
    data = xr.concat(pieces, "trial")
    data = data.assign(
        diverged=("trial", np.concatenate([r.diverged for r in results]).astype(int))
    )
    theta = factors_of(test)
    error = data["latent_mean"] - xr.DataArray(theta, dims=("sample", "latent"))
    data["factor_error"] = np.sqrt((error**2).mean(("sample", "latent")) / theta.var(0).mean())
    data["posterior_scale"] = data["latent_scale"].mean(("sample", "latent"))
    data = data.merge(_baselines(group, results[0].ensemble, training, test, pool))
    data = data.drop_vars("latent_scale").isel(sample=slice(STORED_LATENTS))
    return with_settings(data, group, factors="factors", recipe="recipe_name")


def _baselines(group: Group, unsupervised: Ensemble, training, test, pool) -> xr.Dataset:
    """S_D and factor error if the same labels are spent after training without them.

    "procrustes" turns the latents of the unsupervised run of the same number, "regression" maps
    them by least squares, "pca" does the latter to principal components of the fields (no VAE).
    NaN where there are too few labels (2, or 1 for least squares) or the unsupervised run
    diverged. Latents that cannot be turned, because they collapsed, give the mean of the labels.
    """
    z_test = unsupervised.encode(test.fields)[0].numpy()
    z_pool = unsupervised.encode(pool.fields)[0].numpy()
    n = z_test.shape[2]
    parts = training.fields, torch.cat([test.fields, pool.fields])
    components = np.split(pca_latents(*parts, n)[1], [len(test)])
    theta, theta_pool = factors_of(test), pool.theta.numpy()
    runs = [t["run"] for t in group.trials if t["n_labels"] == 0]
    names = ("procrustes", "regression", "pca")
    scores = np.full((len(names), 2, len(group.trials)), np.nan)
    for i, trial in enumerate(group.trials):
        count, member = trial["n_labels"], runs.index(trial["run"])
        chosen = draw_labels(count, trial["run"], len(pool))
        pair = z_pool[member], z_test[member]
        methods = (
            (procrustes_latents, *pair, 2),
            (linear_regression_latents, *pair, 1),
            (linear_regression_latents, components[1], components[0], 1),
        )
        for k, (method, source, target, least) in enumerate(methods):
            if count < least or is_diverged(source) or is_diverged(target):
                continue
            try:
                mapped = method(source[chosen], theta_pool[chosen], target)
            except DataError:
                mapped = np.tile(theta_pool[chosen].mean(0), (len(target), 1))
            scores[k, 0, i] = disentanglement_score(mapped, theta) if count > 1 else np.nan
            scores[k, 1, i] = np.sqrt(((mapped - theta) ** 2).mean() / theta.var(0).mean())
    values = {f"{name}_disentanglement": ("trial", scores[k, 0]) for k, name in enumerate(names)}
    values |= {f"{name}_factor_error": ("trial", scores[k, 1]) for k, name in enumerate(names)}
    return xr.Dataset(values)


LABEL_COUNTS = Experiment(
    "labels",
    "S_D and losses against the number of labels, 10 runs per number (section 6, fig. 14)",
    1,
    _label_groups,
    label_compute,
)

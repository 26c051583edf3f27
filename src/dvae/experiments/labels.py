"""Rows S1 to S4: what a few labelled samples do (section 6, figs 14 and 15)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import xarray as xr
from jaxtyping import Int

from dvae.analysis import (
    disentanglement_score,
    linear_regression_latents,
    pca_latents,
    procrustes_latents,
    score_runs,
    shape_score,
)
from dvae.experiments.common import (
    data_settings,
    load_data,
    make_model,
    model_settings,
    published_recipe,
    recipe_from,
    recipe_settings,
    resampled_history,
    score_ensemble,
)
from dvae.physics import DarcyDataset, KarhunenLoeve, solve_darcy
from dvae.results.labelled import probe_theta, regions
from dvae.results.trials import Experiment, Group
from dvae.training import RECIPES, Fit, Labels, fit
from dvae.training.ensemble import Ensemble

__all__ = [
    "COUNTS",
    "LABEL_COUNTS",
    "LABEL_OBJECTIVES",
    "LOW_DENSITY",
    "draw_labels",
    "fit_labelled",
    "load_labelled",
    "with_settings",
]

# labels beside 512 samples, 0 to 10 %: in full for the main recipe, in part for the others
COUNTS = (0, 1, 2, 3, 5, 8, 15, 26, 41, 51)
FEW_COUNTS = (0, 2, 5, 15, 41)
RUNS = 10
SPEED = 5  # laptop: the published recipe in a fifth of its steps, at five times its learning rate
STORED_LATENTS = 256  # test samples whose latent means are kept, for the similarity of runs


# ------------------------------------------------------------------------- data and label sets


def load_labelled(shared: dict) -> tuple[DarcyDataset, DarcyDataset, DarcyDataset]:
    """Unlabelled training data, test data, and a pool that labelled samples are drawn from.

    Training and test data are those of every other experiment; the pool are the draws after them.
    """
    n_test, n_pool = shared["n_test"], shared["n_pool"]
    training, others = load_data(shared | {"n_test": n_test + n_pool})
    return training, *others.split(n_test, n_pool)


def draw_labels(n_labels: int, run: int, n_pool: int) -> Int[np.ndarray, " labelled"]:
    """Indices into the pool of a run's labelled samples; runs and counts draw anew."""
    return np.random.default_rng([n_labels, run]).choice(n_pool, n_labels, replace=False)


def fit_labelled(
    group: Group, training, pool, device, progress, checkpoint, **arguments
) -> list[Fit]:
    """Train unlabelled and labelled trials, each kind as an ensemble; trials are in that order."""
    counts = np.array([trial["n_labels"] for trial in group.trials])
    if (np.diff(counts > 0) < 0).any():
        raise ValueError("trials without labels must come first")
    fields = torch.cat([training.fields, pool.fields])
    model, recipe = make_model(group.shared, training.fields), recipe_from(group.shared)
    results = []
    for name, kind in (("unlabelled", counts == 0), ("labelled", counts > 0)):
        members = [trial for trial, chosen in zip(group.trials, kind, strict=True) if chosen]
        if not members:
            continue
        drawn = [draw_labels(t["n_labels"], t["run"], len(pool)) for t in members]
        everything = [np.concatenate([np.arange(len(training)), len(training) + d]) for d in drawn]
        chosen = [Labels(len(training) + d, pool.theta.numpy()[d]) for d in drawn]
        rates = {k: [t[k] for t in members] for k in ("learning_rate",) if k in members[0]}
        path = None if checkpoint is None else Path(f"{checkpoint}.{name}")
        results.append(
            fit(
                model,
                fields,
                recipe,
                [trial["seed"] for trial in members],
                labels=chosen,
                subsets=everything,
                device=device,
                progress=progress,
                checkpoint=path,
                **rates,
                **arguments,
            )
        )
    return results


def with_settings(data: xr.Dataset, group: Group, **shared_names: str) -> xr.Dataset:
    """Settings of the trials as coordinates."""
    coordinates = {key: [t[key] for t in group.trials] for key in group.trials[0]}
    coordinates |= {k: [group.shared[v]] * len(group.trials) for k, v in shared_names.items()}
    return data.assign_coords({name: ("trial", values) for name, values in coordinates.items()})


# -------------------------------------------------------------------------- S1, S2: label ratios


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


def _label_compute(group: Group, **arguments) -> xr.Dataset:
    training, test, pool = load_labelled(group.shared)
    results = fit_labelled(group, training, pool, **arguments)
    pieces = [
        score_ensemble(r.ensemble, training, test).merge(resampled_history(r, 50)) for r in results
    ]
    data = xr.concat(pieces, "trial")
    data = data.assign(
        diverged=("trial", np.concatenate([r.diverged for r in results]).astype(int))
    )
    theta = test.theta.numpy()
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
    NaN where there are too few labels (2, or 1 for least squares).
    """
    z_test = unsupervised.encode(test.fields)[0].numpy()
    z_pool = unsupervised.encode(pool.fields)[0].numpy()
    n = z_test.shape[2]
    parts = training.fields, torch.cat([test.fields, pool.fields])
    components = np.split(pca_latents(*parts, n)[1], [len(test)])
    theta, theta_pool = test.theta.numpy(), pool.theta.numpy()
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
            if count < least:
                continue
            mapped = method(source[chosen], theta_pool[chosen], target)
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
    _label_compute,
)


# ------------------------------------------------------------------------------- S4: eqs 27, 28

# (objective, variance of p(z|y)); eq. 28 needs none
OBJECTIVES = (
    ("eq28", None),
    ("eq27", 0.01),
    ("eq27", 0.1),
    ("eq27", 1.0),
    ("eq27", 10.0),
    ("eq27-reversed", 0.01),
    ("eq27-reversed", 1.0),
)
LEARNING_RATES = (2e-5, 2e-4, 2e-3)
OBJECTIVE_LABELS = 26  # 5 % of 512


def _objective_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    trials = [
        {"n_labels": 4 if smoke else OBJECTIVE_LABELS, "run": run, "seed": run, "learning_rate": r}
        for r in (LEARNING_RATES[1:] if smoke else LEARNING_RATES)
        for run in range(1 if smoke else 3)
    ]
    groups = []
    for objective, variance in OBJECTIVES[:3] if smoke else OBJECTIVES:
        changes = {} if variance is None else {"label_variance": variance}
        recipe = RECIPES["calibrated"].shortened(0.25)
        shared = (
            data_settings(profile)
            | {"n_pool": 16 if smoke else 512}
            | model_settings(profile)
            | recipe_settings(profile, recipe, semi_supervision=objective, **changes)
            | {"objective": objective, "label_variance": variance or 0.0}
        )
        groups.append(Group(shared, tuple(trials)))
    return groups


def _objective_compute(group: Group, **arguments) -> xr.Dataset:
    training, test, pool = load_labelled(group.shared)
    (result,) = fit_labelled(group, training, pool, **arguments)
    data = score_finite(result.ensemble, training, test)
    data = data.merge(resampled_history(result, 50))
    data = data.assign(diverged=("trial", result.diverged.astype(int)))
    return with_settings(data, group, objective="objective", label_variance="label_variance")


def score_finite(ensemble: Ensemble, training: DarcyDataset, test: DarcyDataset) -> xr.Dataset:
    """Losses, scores and the size of the latents where training may have blown up."""
    mean = ensemble.encode(test.fields)[0].numpy().astype(float)
    losses = ensemble.evaluate(test.fields).rename(member="trial")
    theta = test.theta.numpy()
    losses["disentanglement"] = (
        "trial",
        score_runs(disentanglement_score, mean, theta),
    )
    losses["largest_latent"] = ("trial", np.abs(mean).max((1, 2)))
    error = np.sqrt(((mean - theta) ** 2).mean((1, 2)) / theta.var(0).mean())
    losses["factor_error"] = ("trial", error)
    return losses


LABEL_OBJECTIVES = Experiment(
    "label_objectives",
    "eq. 27 with several variances and learning rates against eq. 28 (section 6)",
    1,
    _objective_groups,
    _objective_compute,
)


# --------------------------------------------------------------------- S3: regions of low density

VARIANTS = (("standard", 0), ("hierarchical", 0), ("standard", 6), ("standard", 26))


def _probe_fields(theta: np.ndarray, n_nodes: int) -> torch.Tensor:
    kle = KarhunenLoeve(theta.shape[1], n_nodes)
    solution = solve_darcy(kle.permeability(torch.as_tensor(theta)))
    fields = torch.cat([solution.pressure[:, None], solution.velocity], 1)
    return fields.to(torch.float32)


def _low_density_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    groups = []
    for recipe in ("calibrated", "annealed") if profile == "paper" else ("calibrated",):
        for prior in ("standard", "hierarchical"):
            shared = (
                data_settings(profile, "four-modes")
                | {"n_pool": 16 if smoke else 512, "probes": 5 if smoke else 21}
                | model_settings(profile, prior)
                | recipe_settings(profile, recipe)
                | {"recipe_name": recipe}
            )
            trials = [
                {"n_labels": min(count, 8) if smoke else count, "run": run, "seed": 1000 + run}
                for kind, count in VARIANTS
                if kind == prior
                for run in range(2 if smoke else RUNS)
            ]
            size = 5 if shared["model"] == "dense" else len(trials)
            groups += [
                Group(shared, tuple(trials[i : i + size])) for i in range(0, len(trials), size)
            ]
    return groups


def _low_density_compute(group: Group, **arguments) -> xr.Dataset:
    training, test, pool = load_labelled(group.shared)
    results = fit_labelled(group, training, pool, **arguments)
    theta = probe_theta(group.shared["probes"])
    fields = _probe_fields(theta, group.shared["n_nodes"])
    data = xr.concat([_probe(r.ensemble, training, test, theta, fields) for r in results], "trial")
    return with_settings(data, group, prior="prior", recipe="recipe_name")


def _probe(ensemble: Ensemble, training, test, theta, fields) -> xr.Dataset:
    """Scores of the members and how they do on probes with factors ``theta``.

    ``probe_error`` is the relative error of encoding and decoding a probe, ``surrogate_error``
    that of decoding the latents which a linear fit to the test data gives for its factors, and
    ``probe_factor_error`` the distance of the factors which a linear fit to the test data gives
    for its latents from the true ones.
    """
    data = score_ensemble(ensemble, training, test).astype(np.float32)
    z, factors = data["latent_mean"].values, test.theta.numpy()
    scale = data["latent_scale"].values
    noise = np.random.default_rng(0).standard_normal(z.shape[1:])
    drawn = z + scale * noise
    data["shape_score"] = ("trial", [shape_score(points, factors) for points in drawn])
    mean = ensemble.encode(fields)[0]
    norm = fields.flatten(1).norm(dim=1)

    def relative_error(latents):
        parts = [
            (ensemble.decode(part) - truth).flatten(2).norm(dim=2)
            for part, truth in zip(latents.split(64, 1), fields.split(64), strict=True)
        ]
        return (torch.cat(parts, 1) / norm).numpy()

    back = [linear_regression_latents(a, factors, b.numpy()) for a, b in zip(z, mean, strict=True)]
    there = np.stack([linear_regression_latents(factors, a, theta) for a in z])
    aligned = [linear_regression_latents(a, factors, b) for a, b in zip(z, drawn, strict=True)]
    data["probe_error"] = (("trial", "probe"), relative_error(mean))
    data["surrogate_error"] = (
        ("trial", "probe"),
        relative_error(torch.as_tensor(there, dtype=torch.float32)),
    )
    distance = np.linalg.norm(np.stack(back) - theta, axis=2)
    data["probe_factor_error"] = (("trial", "probe"), distance.astype(np.float32))
    data["probe_mean"] = (("trial", "probe", "latent"), mean.numpy())
    data["aligned"] = (("trial", "sample", "latent"), np.stack(aligned).astype(np.float32))
    share = [(regions(points) == 1).mean() for points in aligned]
    data["between_share"] = ("trial", share)
    return data.drop_vars("latent_scale")


LOW_DENSITY = Experiment(
    "low_density",
    "four modes, just over 1 % labels: the regions of low density (section 6, fig. 15)",
    1,
    _low_density_groups,
    _low_density_compute,
)

"""More factors than two, without labels and with a few, against what the fields predict.

With s factors and s latents the derived schedule lowers the noise through the levels of the
principal directions of the fields. The coefficients of the first s directions are the prediction:
what they score against the factors is what a model should score that finds them.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from dvae.analysis import (
    are_disentangled,
    ceiling,
    dci_scores,
    disentanglement_score,
    is_diverged,
    linear_collapse,
    mean_correlation_coefficient,
    rotation_angle,
)
from dvae.experiments.annealing import latent_rates, spectrum
from dvae.experiments.common import (
    data_settings,
    factors_of,
    model_settings,
    plain_recipe,
    recipe_from,
    recipe_settings,
    score_ensemble,
    with_settings,
)
from dvae.experiments.labelling import fit_labelled, load_labelled
from dvae.results.trials import Experiment, Group
from dvae.training import Recipe, make_recipe

__all__ = ["MANY_FACTORS", "chance_scores", "derived_recipe", "plane_latents"]

SIZES = (2, 3, 5, 10)
NORMAL = "standard-normal"
RUNS, FEW_RUNS, SCORED = 50, 20, 10  # without labels; at the paper's weight and with; with DCI
LABELS = 15  # 3 % of 512
FALLING = 2000  # steps in which the noise falls; half as many follow
# factors, their set, weight, labels, steps, runs, in the order of what is asked first
CASES = (
    *((n, NORMAL, "half", 0, FALLING, RUNS) for n in SIZES),
    (5, NORMAL, "elbo", 0, FALLING, RUNS),
    (10, NORMAL, "elbo", 0, FALLING, RUNS),
    (3, NORMAL, "half", LABELS, FALLING, FEW_RUNS),
    (10, NORMAL, "paper", 0, FALLING, FEW_RUNS),
)
SMOKE_CASES = tuple((n, NORMAL, "half", labels, 8, 2) for n, labels in ((2, 0), (3, 0), (3, 4)))
PLANE = (1, 2)  # the factors of the degenerate pair
DIRECTIONS, ROTATIONS = 12, 400


def derived_recipe(
    fields: torch.Tensor, n_latents: int, weight: str, falling: int = FALLING
) -> tuple[Recipe, int]:
    """Recipe whose noise falls through the levels of the fields, and the latents it should hold.

    The noise ends at the level of the first direction that no latent is for, or where it is less
    at the noise that the linear VAE ends at.

    Parameters
    ----------
    fields : tensor (sample, channel, x1, x2)
        Training fields.
    n_latents : int
        Number n of latents.
    weight : {"half", "elbo", "paper"}
        Of the rate: half the largest at which the linear VAE has n latents alive
        (``dvae.analysis.linear_collapse``); 1 per sample; 1 per node.
    falling : int
        Steps in which the noise falls; half as many follow.

    Returns
    -------
    recipe : Recipe
        Labels weigh as much as the rate.
    alive : int
        Latents that the linear VAE has alive.
    """
    levels = spectrum(fields)[1]  # at weight 1 per node; their sum is the number of channels
    total = int(fields.shape[1])
    largest = linear_collapse(levels, total, n_latents, 1e-9)[-1].exists_below
    weights = {"half": largest / 2, "elbo": 1 / fields[0, 0].numel(), "paper": 1.0}
    beta = float(weights[weight])
    last = linear_collapse(levels, total, n_latents, beta)[-1]
    ends = (float(levels[0]) / beta, min(float(levels[n_latents]) / beta, float(last.noise)))
    annealed = make_recipe("annealed", beta=beta, label_weight=beta)
    assert annealed.floor is not None
    return annealed.shortened(falling / annealed.floor[2]).through(ends, falling), last.active


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    groups = []
    for n, factors, weight, labels, falling, runs in SMOKE_CASES if smoke else CASES:
        shared = (
            data_settings(profile, factors, factor_options={"n_factors": n})
            | {"n_pool": 16 if smoke else 64}
            | model_settings("laptop", n_latents=n)
            # its levels and its weight are those of the data, drawn when the group is computed
            | recipe_settings(profile, make_recipe("annealed").shortened(0.5))
            | {"weight": weight, "falling": falling}
        )
        seeds = ({"n_labels": labels, "run": run, "seed": 5000 + run} for run in range(runs))
        groups.append(Group(shared, tuple(seeds)))
    return groups


def with_derived_recipe(group: Group, fields: torch.Tensor) -> tuple[Group, int]:
    """The group with the recipe of its fields (:func:`derived_recipe`), and the latents alive."""
    s = group.shared
    own, alive = derived_recipe(fields, s["n_latents"], s["weight"], s["falling"])
    own = replace(own, batch_size=recipe_from(s).batch_size)  # small at smoke
    return replace(group, shared=s | {"recipe": plain_recipe(own)}), alive


def plane_latents(
    z: Float[np.ndarray, "sample latent"], theta: Float[np.ndarray, "sample factor"]
) -> tuple[float, tuple[int, int]]:
    """The two latents that know most of a plane of factors, and how much they know.

    Returns
    -------
    share : float
        Share of the variance of the two factors, one like the other, that the two latents explain
        by least squares: 1 if they span the plane, whatever the angle within it.
    pair : tuple of int
        The two latents.
    """
    z, plane = z - z.mean(0), (theta - theta.mean(0))[:, PLANE]
    plane = plane / np.linalg.norm(plane, axis=0)

    def known(pair: tuple[int, int]) -> float:
        return float(np.sum((np.linalg.qr(z[:, pair])[0].T @ plane) ** 2) / 2)

    return max((known(pair), pair) for pair in itertools.combinations(range(z.shape[1]), 2))


def _scores(z: np.ndarray, theta: np.ndarray) -> dict[str, float]:
    """Scores of latents that cost little; the plane and the angle in it from three factors on."""
    scores = {
        "mcc": mean_correlation_coefficient(z, theta),
        "disentanglement": disentanglement_score(z, theta),
        "plane": np.nan,
        "plane_angle": np.nan,
    }
    if theta.shape[1] > 2:
        scores["plane"], pair = plane_latents(z, theta)
        scores["plane_angle"] = rotation_angle(z[:, pair], theta[:, PLANE])
    return scores


def _dci(z: np.ndarray, theta: np.ndarray) -> dict[str, float]:
    found = dci_scores(z, theta)
    return {
        "dci_disentanglement": found.disentanglement,
        "dci_completeness": found.completeness,
        "dci_informativeness": found.informativeness,
    }


def chance_scores(theta: Float[np.ndarray, "sample factor"], count: int) -> dict[str, float]:
    """What random rotations of standardised factors score: mean, and 95 % quantile of S_D and MCC.

    Parameters
    ----------
    theta : array (sample, factor)
        Factors.
    count : int
        Rotations, uniform among the orthogonal matrices.
    """
    rng, s = np.random.default_rng(0), theta.shape[1]
    left, upper = np.linalg.qr(rng.standard_normal((count, s, s)))
    turns = left * np.sign(np.diagonal(upper, axis1=1, axis2=2))[:, None]
    latents = (theta - theta.mean(0)) / theta.std(0) @ turns
    scored = [_scores(z, theta) for z in latents]
    columns = {name: np.array([row[name] for row in scored]) for name in scored[0]}
    found = {f"chance_{name}": float(columns[name].mean()) for name in ("mcc", "plane")}
    found["chance_disentanglement"] = float(columns["disentanglement"].mean())
    for name in ("mcc", "disentanglement"):
        found[f"high_{name}"] = float(np.quantile(columns[name], 0.95))
    return found | {"chance_disentangled": float(are_disentangled(latents, theta).mean())}


def _compute(group: Group, **arguments: Any) -> xr.Dataset:
    training, test, pool = load_labelled(group.shared)
    own, alive = with_derived_recipe(group, training.fields)
    (result,) = fit_labelled(own, training, pool, **arguments)
    data = score_ensemble(result.ensemble, training, test)
    theta = factors_of(test).astype(float)
    m, n = len(group.trials), theta.shape[1]
    mean, scale = data["latent_mean"].values, data["latent_scale"].values
    data = data.drop_vars(["latent_mean", "latent_scale"])
    basis, levels = spectrum(training.fields)
    expected = basis.project(test.fields)[:, :n].double().numpy()
    scored = [
        {}
        if is_diverged(z)
        else _scores(z, theta)
        | {"axes_mcc": mean_correlation_coefficient(z, expected)}
        | (_dci(z, theta) if run < SCORED else {})
        for run, z in enumerate(mean.astype(float))
    ]
    for name in sorted(set().union(*scored)):
        data[name] = ("trial", np.array([row.get(name, np.nan) for row in scored]))
    rates = np.full((m, max(SIZES)), np.nan)
    rates[:, :n] = np.sort(latent_rates(mean, scale), 1)[:, ::-1]
    data["latent_rate"] = (("trial", "latent"), rates)
    known = _scores(expected, theta) | _dci(expected, theta)
    known["disentangled"] = float(are_disentangled(expected[None], theta)[0])
    constants = {f"predicted_{name}": value for name, value in known.items()}
    constants |= chance_scores(theta, ROTATIONS)
    constants |= {"ceiling": ceiling(theta), "predicted_alive": float(alive)}
    constants["beta"] = own.shared["recipe"]["beta"]
    for name, value in constants.items():
        data[name] = ("trial", np.full(m, value))
    stored = levels[:DIRECTIONS] / own.shared["recipe"]["beta"]
    data["level"] = (("trial", "direction"), np.tile(stored, (m, 1)))
    data["diverged"] = ("trial", result.diverged.astype(np.int8))
    return with_settings(data, group, factors="factors", n_factors="n_latents", weight="weight")


MANY_FACTORS = Experiment(
    "many_factors",
    "Two, three, five and ten factors, against what the principal directions predict",
    1,
    _groups,
    _compute,
)

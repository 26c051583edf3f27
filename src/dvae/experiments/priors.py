"""Rows G1, M4, M5: a few models with every prior, looked at closely (sections 5.2 and 5.3)."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from dvae.analysis.rates import rotated_rate
from dvae.analysis.rotation import rotate, rotated_encoding
from dvae.analysis.scores import disentanglement_score
from dvae.analysis.shape import shape_score
from dvae.experiments.common import (
    chunks,
    data_settings,
    factors_of,
    model_settings,
    recipe_for,
    recipe_settings,
    score_ensemble,
    train,
)
from dvae.models import VAE, HierarchicalPrior
from dvae.physics import DarcyDataset
from dvae.results.trials import Experiment, Group
from dvae.training import Recipe, make_recipe

__all__ = ["ANGLES", "FACTORS", "PRIORS", "PRIOR_LOOKS", "RECIPES"]

FACTORS = ("shifted-normal", "four-modes")
PRIORS = ("standard", "hierarchical", "hierarchical-rectified", "mixture")
RECIPES = ("calibrated", "annealed", "published")
SPEED = 5  # laptop: the published recipes in a fifth of their steps, at five times the rates
ANGLES = np.arange(-90.0, 90.1, 7.5)
DRAWS = 1024  # of the prior
GRID = 61  # points per axis of the prior's density
IMPORTANCE = 64  # draws of xi per log p(z)


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    seeds = [{"seed": seed} for seed in range(1 if smoke else 6)]
    groups = []
    for recipe in RECIPES[:2] if smoke else RECIPES:
        for factors in FACTORS[-1:] if smoke else FACTORS:
            for prior in PRIORS:
                shared = (
                    data_settings(profile, factors)
                    | model_settings(profile, prior)
                    | recipe_settings(profile, _recipe(profile, recipe, prior))
                    | {"recipe_name": recipe}
                    # S_KL takes long: only where a rotation shows best
                    | {"shape_curve": (factors, recipe) == ("four-modes", "annealed")}
                )
                groups += chunks(seeds, shared, profile)
    return groups


def _recipe(profile: str, name: str, prior: str) -> Recipe:
    recipe = make_recipe(recipe_for(name, prior))
    return recipe.faster(SPEED) if name == "published" and profile != "paper" else recipe


def _log_prob(model: VAE, n_samples: int = IMPORTANCE):
    """log p(z) with the same draws of xi at every call."""
    if not isinstance(model.prior, HierarchicalPrior):
        return model.prior.log_prob
    return lambda z: model.prior.log_prob(
        z, n_samples=n_samples, generator=torch.Generator().manual_seed(0)
    )


def _draw(model: VAE) -> torch.Tensor:
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        return model.prior.sample(DRAWS)


def _density(model: VAE, points: np.ndarray) -> dict[str, tuple]:
    """p(z) on a square grid that covers the given points."""
    low, high = points.min(), points.max()
    axis = np.linspace(low, high, GRID).astype(np.float32)
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        density = _log_prob(model, 256)(torch.from_numpy(nodes)).exp().numpy()
    return {
        "prior_axis": (("grid",), axis),
        "prior_density": (("grid", "grid2"), density.reshape(GRID, GRID)),
    }


def _bound_gap(model: VAE, mean: np.ndarray, scale: np.ndarray, draws: int = 8):
    """Bound of eqs 13 to 15 minus the exact rate, and its standard error, in nats per sample."""
    if not isinstance(model.prior, HierarchicalPrior):
        return 0.0, 0.0
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(draws, len(mean), 2 + model.prior.noise_size, generator=generator)
    z = torch.from_numpy(mean) + torch.from_numpy(scale) * noise[..., :2]
    with torch.no_grad():
        bound = model.prior.log_prob_bound(z, noise[..., 2:])
        exact = _log_prob(model, 128)(z.reshape(-1, 2)).reshape(bound.shape)
    gap = (exact - bound).double().numpy()
    return gap.mean(), gap.mean(0).std(ddof=1) / np.sqrt(len(mean))


def _gaussian_rate(mean: np.ndarray, log_variance: np.ndarray, angle: float) -> float:
    """KL[q_A(z|y) || N(0, I)] from the rotated mean and full covariance."""
    mean, covariance = rotated_encoding(mean, log_variance, angle)
    trace = np.trace(covariance, axis1=1, axis2=2)
    determinant = np.linalg.slogdet(covariance)[1]
    return float(0.5 * (trace + (mean**2).sum(1) - 2 - determinant).mean())


def _look(model: VAE, mean: np.ndarray, scale: np.ndarray, theta: np.ndarray, shape: bool):
    """Everything about one trained model whose latents on the test data are given."""
    log_variance = 2 * np.log(scale)
    log_prob = _log_prob(model)
    sample = _draw(model)
    gap, gap_error = _bound_gap(model, mean, scale)
    rate, error = rotated_rate(mean, log_variance, log_prob, ANGLES, n_samples=4)
    rotated = [rotate(mean, angle) for angle in ANGLES]
    # how unlike itself the prior is after a rotation: KL[p || p rotated]
    with torch.no_grad():
        turned = [log_prob(torch.from_numpy(rotate(sample, a)).float()).mean() for a in ANGLES]
        divergence = float(log_prob(sample).mean()) - np.array([float(t) for t in turned])
    shape_scores = [shape_score(z, theta) if shape else np.nan for z in rotated]
    data = {
        "bound_gap": ((), gap),
        "bound_gap_error": ((), gap_error),
        "prior_sample": (("draw", "latent"), sample.numpy()),
        **_density(model, np.vstack([sample.numpy(), mean])),
        "curve_rate": (("turn",), rate),
        "curve_rate_error": (("turn",), error),
        "curve_rate_standard": (
            ("turn",),
            [_gaussian_rate(mean, log_variance, angle) for angle in ANGLES],
        ),
        "curve_disentanglement": (("turn",), [disentanglement_score(z, theta) for z in rotated]),
        "curve_shape": (("turn",), shape_scores),
        "prior_divergence": (("turn",), divergence),
    }
    return xr.Dataset(data, coords={"turn": ANGLES})


def _example(result, test: DarcyDataset) -> dict[str, tuple]:
    """First test sample and its reconstruction by the first member; NaN for the others."""
    shape = (len(result.seeds), *test.fields.shape[1:])
    truth, mean = np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)
    truth[0] = test.fields[0].numpy()
    mean[0] = result.ensemble.decode(result.ensemble.encode(test.fields[:1])[0])[0, 0].numpy()
    field = ("trial", "channel", "x1", "x2")
    return {"example": (field, truth), "example_mean": (field, mean)}


def _compute(group: Group, **arguments) -> xr.Dataset:
    result, training, test = train(group, **arguments)
    data = score_ensemble(result.ensemble, training, test)
    theta = factors_of(test)
    looks = [
        _look(
            model,
            data["latent_mean"].values[i],
            data["latent_scale"].values[i],
            theta,
            shape=i == 0 and group.shared["shape_curve"],
        )
        for i, model in enumerate(result.models)
    ]
    data = data.merge(xr.concat(looks, "trial")).assign(_example(result, test))
    data["theta"] = (("trial", "sample", "factor"), np.tile(theta, (len(looks), 1, 1)))
    data["diverged"] = ("trial", result.diverged.astype(np.int8))
    labels = {
        "seed": [trial["seed"] for trial in group.trials],
        **{
            name: [group.shared[key]] * len(group.trials)
            for name, key in (("factors", "factors"), ("prior", "prior"), ("recipe", "recipe_name"))
        },
    }
    data = data.assign_coords({name: ("trial", values) for name, values in labels.items()})
    return data.map(lambda v: v.astype(np.float32) if v.dtype.kind == "f" and v.ndim > 1 else v)


PRIOR_LOOKS = Experiment(
    "priors",
    "Models with standard, hierarchical and factorised priors: densities and rotations",
    1,
    _groups,
    _compute,
)

r"""Can another prior hold the axes? Priors of other families under two recipes.

What the loss says, written before anything here was trained. At a given encoder it is least where
the prior is the aggregated posterior q(z), the mean of q(z|y) over the data, and what a family of
priors misses of it is paid: :math:`KL[q(z) || p(z)]` in nats of rate. A family that holds with a
density every rotation of it misses as much at every angle, and so prices none.

- The **standard normal** is such a family, of one density.
- A **flow** takes any shape at any angle, once it has trained: a family that is closed under
  rotation in the limit. The **VampPrior** is a mixture of posteriors of the encoder, and turns
  where the encoder turns. Both should leave the angle to chance, as the standard normal does.
  Neither is exactly round: the components of one have diagonal covariances, as the posterior
  itself, and the splines of the other run along the axes.
- A **factorised mixture** misses at least the total correlation of q(z), which is zero where the
  latents are independent. Turned factors are dependent unless they are Gaussian
  (Darmois-Skitovich), so that with four modes it should price every angle but the axes, and of
  normal factors of one variance none.
- The **hierarchical** prior mixes diagonal normals over xi and is no factorised family: it
  should be as the flow, if it takes its shape at all.

So: more runs disentangled than with the standard normal under the mixture on four modes, and
nowhere else. What it cannot say is whether training follows the price; a prior follows the
latents at whatever angle it finds them, and where the noise is small nothing turns any more.
"""

from __future__ import annotations

import time

import numpy as np
import torch
import xarray as xr

from dvae.analysis.divergence import kl_divergence_knn
from dvae.analysis.rotation import rotate
from dvae.experiments.common import (
    chunks,
    data_settings,
    load_data,
    model_settings,
    recipe_settings,
    score_ensemble,
    train,
    with_settings,
)
from dvae.models import VAE
from dvae.models.priors import HierarchicalPrior
from dvae.results.trials import Experiment, Group

__all__ = ["OTHER_PRIORS"]

# most telling first; the priors of the paper on Gaussian factors, whose angle no prior can price,
# stand in "disentanglement"
CELLS = (
    ("four-modes", "calibrated", ("standard", "mixture", "vamp", "flow")),
    ("four-modes", "annealed", ("mixture",)),
    ("four-modes", "calibrated", ("hierarchical",)),
    ("four-modes", "annealed", ("vamp", "flow", "hierarchical", "standard")),
)
DRAWS = 4096  # of the prior
GRID = 61  # points per axis of the prior's density
IMPORTANCE = 64  # draws of xi per log p(z) of a hierarchical prior


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    seeds = [{"seed": seed} for seed in range(2 if smoke else 50)]
    groups = []
    for factors, recipe, priors in CELLS[:3:2] if smoke else CELLS:
        for prior in priors:
            shared = (
                data_settings(profile, factors)
                | model_settings(profile, prior)
                | recipe_settings(profile, recipe)
                | {"recipe_name": recipe}
            )
            groups += chunks(seeds, shared, profile)
    return groups


def _log_prob(model: VAE, z: np.ndarray) -> np.ndarray:
    points = torch.from_numpy(z.astype(np.float32))
    with torch.no_grad():
        if isinstance(model.prior, HierarchicalPrior):
            generator = torch.Generator().manual_seed(0)
            return model.prior.log_prob(points, IMPORTANCE, generator).numpy()
        return model.prior.log_prob(points).numpy()


def _fit(model: VAE, draws: np.ndarray) -> dict[str, float]:
    """How the prior fits one draw of q(z|y) for every test sample, and how round it is."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        sample = model.prior.sample(DRAWS).double().numpy()
    turned = _log_prob(model, sample) - _log_prob(model, rotate(sample, 45.0))
    return {
        "divergence": kl_divergence_knn(draws, sample),
        "log_likelihood": float(_log_prob(model, draws).mean()),
        "turned_divergence": float(turned.mean()),
    }


def _density(model: VAE, draws: np.ndarray, count: int) -> dict[str, tuple]:
    """p(z) of the first of some trials, on a square that covers draws of its q(z); else NaN."""
    limit = 1.3 * np.abs(draws).max()
    axis = np.linspace(-limit, limit, GRID)
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    stored_axis = np.full((count, GRID), np.nan, np.float32)
    stored_axis[0] = axis
    density = np.full((count, GRID, GRID), np.nan, np.float32)
    density[0] = np.exp(_log_prob(model, nodes)).reshape(GRID, GRID)
    stored = np.full((count, *draws.shape), np.nan, np.float32)
    stored[0] = draws
    return {
        "prior_axis": (("trial", "grid"), stored_axis),
        "prior_density": (("trial", "grid", "grid2"), density),
        "latent_draw": (("trial", "sample", "latent"), stored),
    }


def _compute(group: Group, **arguments) -> xr.Dataset:
    load_data(group.shared)  # is no part of the cost
    start = time.process_time()
    result, training, test = train(group, **arguments)
    cpu_seconds = time.process_time() - start
    data = score_ensemble(result.ensemble, training, test)
    noise = np.random.default_rng(0).standard_normal(data["latent_mean"].shape[1:])
    draws = data["latent_mean"].values + data["latent_scale"].values * noise
    fits = [
        _fit(model, own) if np.isfinite(own).all() else {}
        for model, own in zip(result.models, draws, strict=True)
    ]
    m = len(group.trials)
    for name in ("divergence", "log_likelihood", "turned_divergence"):
        data[name] = ("trial", [fit.get(name, np.nan) for fit in fits])
    data["step_cpu_seconds"] = ("trial", np.full(m, cpu_seconds / result.recipe.steps))
    data["diverged"] = ("trial", result.diverged.astype(np.int8))
    data = data.drop_vars(["latent_mean", "latent_scale"]).assign(
        _density(result.models[0], draws[0], m)
    )
    return with_settings(data, group, factors="factors", prior="prior", recipe="recipe_name")


OTHER_PRIORS = Experiment(
    "other_priors",
    "Mixture, VampPrior and flow beside the priors of the paper: do they hold the axes?",
    1,
    _groups,
    _compute,
)

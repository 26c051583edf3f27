"""Row S3: what labels do for regions of low density of four modes (section 6, fig. 15)."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from dvae.analysis import linear_regression_latents, shape_score
from dvae.experiments.common import (
    data_settings,
    model_settings,
    recipe_settings,
    score_ensemble,
    with_settings,
)
from dvae.experiments.labelling import fit_labelled, load_labelled
from dvae.experiments.labels import RUNS
from dvae.physics import KarhunenLoeve, solve_darcy
from dvae.results.labelled import BETWEEN, probe_theta, regions
from dvae.results.trials import Experiment, Group
from dvae.training.ensemble import Ensemble

__all__ = ["LOW_DENSITY"]

# (prior, number of labels)
VARIANTS = (("standard", 0), ("hierarchical", 0), ("standard", 6), ("standard", 26))


def _probe_fields(theta: np.ndarray, n_nodes: int) -> torch.Tensor:
    kle = KarhunenLoeve(theta.shape[1], n_nodes)
    solution = solve_darcy(kle.permeability(torch.as_tensor(theta)))
    pressure, velocity = (torch.as_tensor(part) for part in solution)
    fields = torch.cat([pressure[:, None], velocity], 1)
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
    share = [(regions(points) == BETWEEN).mean() for points in aligned]
    data["between_share"] = ("trial", share)
    return data.drop_vars("latent_scale")


LOW_DENSITY = Experiment(
    "low_density",
    "four modes, just over 1 % labels: the regions of low density (section 6, fig. 15)",
    1,
    _low_density_groups,
    _low_density_compute,
)

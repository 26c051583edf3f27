"""What PCA and ICA reach on every factor set, and the ceiling of S_D (beside rows N3, G1, M2)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dvae.analysis.baselines import ica_latents, pca_latents
from dvae.analysis.rotation import rotation_angle
from dvae.analysis.scores import disentanglement_score
from dvae.analysis.shape import shape_score
from dvae.experiments.common import data_settings, factors_of, load_data
from dvae.results.conditions import FACTORS
from dvae.results.trials import Experiment, Group

__all__ = ["BASELINES", "METHODS"]

METHODS = {"pca": pca_latents, "ica": ica_latents}


def _groups(profile: str) -> list[Group]:
    trials = tuple({"data_seed": seed} for seed in range(2 if profile == "smoke" else 5))
    settings = (data_settings(profile, factors) for factors in FACTORS)
    return [Group({k: v for k, v in s.items() if k != "data_seed"}, trials) for s in settings]


def _compute(group: Group, **_) -> xr.Dataset:
    rows = []
    for settings in group.settings():
        training, test = load_data(settings)
        theta, theta_train = factors_of(test), factors_of(training)
        row: dict[str, tuple] = {"theta": (("sample", "factor"), theta.astype(np.float32))}
        row["theta_train"] = (("train_sample", "factor"), theta_train.astype(np.float32))
        row["ceiling"] = ((), disentanglement_score(theta, theta))
        for name, latents in METHODS.items():
            z = latents(training.fields, test.fields, 2)[1]
            row[f"{name}_latent"] = (("sample", "latent"), z.astype(np.float32))
            row[f"{name}_disentanglement"] = ((), disentanglement_score(z, theta))
            row[f"{name}_shape"] = ((), shape_score(z, theta))
            row[f"{name}_angle"] = ((), rotation_angle(z, theta))
        rows.append(xr.Dataset(row))
    data = xr.concat(rows, "trial")
    factors = [group.shared["factors"]] * len(rows)
    seeds = [trial["data_seed"] for trial in group.trials]
    return data.assign_coords(factors=("trial", factors), data_seed=("trial", seeds))


BASELINES = Experiment(
    "baselines",
    "PCA, ICA and the ceiling of S_D on every factor set",
    2,
    _groups,
    _compute,
    trained=False,
)

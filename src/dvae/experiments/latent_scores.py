"""Every score of the analysis on codes whose answer is known and on runs of ``disentanglement``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float

from dvae.analysis import (
    all_scores,
    is_diverged,
    mutual_information,
    rotate,
    rotation_angle,
    total_correlation,
)
from dvae.experiments.disentanglement import DISENTANGLEMENT
from dvae.experiments.shape_score import stored_rows
from dvae.results.store import Store
from dvae.results.trials import Experiment, Group, group_hashes

__all__ = ["CODES", "LATENT_SCORES", "RUNS", "SCORES", "known_code"]

RUNS = 10  # of every factor set and recipe, with the standard normal prior
PRIOR = "standard"
FACTORS = ("standard-normal", "four-modes")  # without and with a shape that fixes the axes
# latents made of the factors, so that what a score should say is known; and the baselines
CODES = ("factors", "warped", "noisy", "turned", "repeated", "single", "noise", "pca", "ica")

# variables of the result, as figures and tables call them; high is good but for the last three
SCORES = {
    "s_d": "S_D",
    "mcc": "MCC",
    "sap": "SAP",
    "mig": "MIG",
    "modularity": "modularity",
    "dci_disentanglement": "DCI: disentanglement",
    "dci_completeness": "DCI: completeness",
    "dci_informativeness": "DCI: informativeness",
    "explicitness": "explicitness",
    "information": "information (nats)",
    "factor_vae": "FactorVAE",
    "beta_vae": "beta-VAE",
    "s_kl": "S_KL (nats)",
    "total_correlation": "total correlation (nats)",
    "total_correlation_knn": "the same by k-NN (nats)",
}


def known_code(theta: Float[np.ndarray, "sample 2"], name: str) -> Float[np.ndarray, "sample 2"]:
    """Two latents that are a known function of two factors.

    Parameters
    ----------
    theta : array (sample, 2)
        Factors.
    name : str
        "factors": the factors themselves. "warped": their exponentials. "noisy": with standard
        normal noise added. "turned": by 45 degrees. "repeated": the first factor twice. "single":
        the first factor and a constant. "noise": standard normal noise alone.
    """
    noise = np.random.default_rng(0).standard_normal(theta.shape)
    first = theta[:, 0]
    return {
        "factors": theta,
        "warped": np.exp(theta),
        "noisy": theta + noise,
        "turned": rotate(theta, 45),
        "repeated": np.column_stack([first, first]),
        "single": np.column_stack([first, np.zeros_like(first)]),
        "noise": noise,
    }[name]


def _groups(profile: str) -> list[Group]:
    """A group of codes for every factor set, and one of runs for every recipe."""
    groups, seen = [], set()
    for source in DISENTANGLEMENT.groups(profile):
        shared = {k: source.shared[k] for k in ("factors", "prior", "recipe_name")}
        if shared["prior"] != PRIOR or shared["factors"] not in FACTORS:
            continue
        if shared["factors"] not in seen:
            seen.add(shared["factors"])
            common = {"factors": shared["factors"], "profile": profile}
            groups.append(Group(common, tuple({"code": name} for name in CODES)))
        trials = zip(source.trials, group_hashes(DISENTANGLEMENT, source), strict=True)
        chosen = tuple({"seed": t["seed"], "source": h} for t, h in trials if t["seed"] < RUNS)
        if chosen:
            groups.append(Group(shared | {"profile": profile}, chosen))
    return groups


def _compute(group: Group, store: Store, **_) -> xr.Dataset:
    shared, m = group.shared, len(group.trials)
    # the data of the profiles laptop and paper are the same
    profile = "laptop" if shared["profile"] == "paper" else shared["profile"]
    stored = store.load("baselines", profile)
    chosen = (stored["factors"] == shared["factors"]) & (stored["data_seed"] == 0)
    baseline = stored.isel(trial=int(np.flatnonzero(chosen)[0]))
    theta = baseline["theta"].values.astype(float)
    latents: Sequence[np.ndarray]
    if "recipe_name" in shared:
        source = stored_rows(store.load("disentanglement", shared["profile"]), group)
        latents = list(source["latent_mean"].values)
        seeds = [trial["seed"] for trial in group.trials]
        labels = {"code": ["VAE"] * m, "recipe": [shared["recipe_name"]] * m, "seed": seeds}
    else:
        names = [trial["code"] for trial in group.trials]
        latents = [
            baseline[f"{name}_latent"].values if name in ("pca", "ica") else known_code(theta, name)
            for name in names
        ]
        labels = {"code": names, "recipe": [""] * m, "seed": [-1] * m}
    scored = [None if is_diverged(z) else _scores(z, theta) for z in latents]
    names = sorted({name for values in scored if values for name in values})
    return xr.Dataset(
        {
            name: ("trial", np.array([values[name] if values else np.nan for values in scored]))
            for name in names
        },
        coords={
            name: ("trial", values)
            for name, values in (labels | {"factors": [shared["factors"]] * m}).items()
        },
    )


def _scores(z: np.ndarray, theta: np.ndarray) -> dict[str, float]:
    """Scores of latents; ``information`` is what the best latent knows of a factor, in nats."""
    information = mutual_information(z, theta, "knn").max(0).mean()
    return all_scores(z, theta) | {
        "information": float(information),
        "total_correlation_knn": total_correlation(z, "knn"),
        "angle": rotation_angle(z, theta),
    }


LATENT_SCORES = Experiment(
    "latent_scores",
    "every score of disentanglement on known codes and on runs of 'disentanglement'",
    1,
    _groups,
    _compute,
    reads=("disentanglement", "baselines"),
)

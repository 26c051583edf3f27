"""Row S4: eqs 27 and 28 with several variances and learning rates (section 6)."""

from __future__ import annotations

import numpy as np
import xarray as xr

from dvae.analysis import disentanglement_score, score_runs
from dvae.experiments.common import (
    data_settings,
    factors_of,
    model_settings,
    recipe_settings,
    resampled_history,
    with_settings,
)
from dvae.experiments.labelling import fit_labelled, load_labelled
from dvae.physics import DarcyDataset
from dvae.results.trials import Experiment, Group
from dvae.training import RECIPES
from dvae.training.ensemble import Ensemble

__all__ = ["LABEL_OBJECTIVES", "score_finite"]

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
    theta = factors_of(test)
    losses["disentanglement"] = ("trial", score_runs(disentanglement_score, mean, theta))
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

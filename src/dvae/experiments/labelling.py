"""What the studies with labels share: a pool of labelled samples, draws from it, training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from dvae.experiments.common import factors_of, load_data, make_model, recipe_from
from dvae.physics import DarcyDataset
from dvae.results.trials import Group
from dvae.training import Fit, Labels, fit

__all__ = ["draw_labels", "fit_labelled", "load_labelled"]


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
    group: Group,
    training: DarcyDataset,
    pool: DarcyDataset,
    device: str,
    progress: bool,
    checkpoint: Path | None,
    **arguments: Any,
) -> list[Fit]:
    """Train unlabelled and labelled trials, each kind as an ensemble; trials are in that order.

    Parameters
    ----------
    group : Group
        Its trials have ``n_labels``, ``run``, ``seed`` and, if they differ in it,
        ``learning_rate``; those without labels come first.
    training, pool : DarcyDataset
        Unlabelled samples, and those that labelled ones are drawn from (:func:`load_labelled`).
    device, progress, checkpoint, **arguments
        As for :func:`dvae.fit`.

    Returns
    -------
    list of Fit
        One for the trials without labels and one for those with, as far as there are any.

    Raises
    ------
    ValueError
        If a trial without labels follows one with labels.
    """
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
        chosen = [Labels(len(training) + d, factors_of(pool)[d]) for d in drawn]
        rates = {k: [t[k] for t in members] for k in ("learning_rate",) if k in members[0]}
        path = None if checkpoint is None else Path(f"{checkpoint}.{name}")
        options: dict[str, Any] = {
            "device": device,
            "progress": progress,
            "checkpoint": path,
            **rates,
            **arguments,
        }
        seeds = [trial["seed"] for trial in members]
        results.append(
            fit(model, fields, recipe, seeds, labels=chosen, subsets=everything, **options)
        )
    return results

"""Row M6: S_KL (eq. 7) of the latents stored by the experiment ``disentanglement``."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from dvae.analysis.degenerate import score_runs
from dvae.analysis.rotation import rotation_angle
from dvae.analysis.scores import disentanglement_score
from dvae.analysis.shape import shape_score
from dvae.errors import ResultError
from dvae.experiments.common import factors_of, load_data
from dvae.experiments.disentanglement import DISENTANGLEMENT
from dvae.results.store import Store
from dvae.results.trials import Experiment, Group, group_hashes

__all__ = ["RUNS", "SHAPE_SCORE", "stored_rows"]

RUNS = 10  # of every cell: the search over a and b takes a good part of a second a run


def _groups(profile: str) -> list[Group]:
    """A group for each group of the source; its trials are known by the hash of their source."""
    groups = []
    for source in DISENTANGLEMENT.groups(profile):
        shared = {k: source.shared[k] for k in ("factors", "prior", "recipe_name")}
        hashes = group_hashes(DISENTANGLEMENT, source)
        trials = zip(source.trials, hashes, strict=True)
        chosen = tuple({"seed": t["seed"], "source": h} for t, h in trials if t["seed"] < RUNS)
        if chosen:
            groups.append(Group(shared | {"profile": profile}, chosen))
    return groups


def stored_rows(source: xr.Dataset, group: Group) -> xr.Dataset:
    """Stored trials that a group's trials name by the hash ``source``, in their order.

    Raises
    ------
    ResultError
        If some are not stored.
    """
    row = {h: i for i, h in enumerate(source["hash"].values.tolist())}
    missing = [trial for trial in group.trials if trial["source"] not in row]
    if missing:
        raise ResultError(
            f"{len(missing)} runs of experiment 'disentanglement' are not stored, first seed "
            f"{missing[0]['seed']}; compute them with 'dvae run disentanglement'"
        )
    return source.isel(trial=[row[trial["source"]] for trial in group.trials])


def _compute(group: Group, store: Store, **_) -> xr.Dataset:
    source = stored_rows(store.load("disentanglement", group.shared["profile"]), group)
    settings = json.loads(str(source["settings"].values[0]))
    theta = factors_of(load_data(settings)[1])
    latents = source["latent_mean"].values
    scores: dict[str, Callable[..., float]] = {
        "shape": shape_score,
        "disentanglement": disentanglement_score,
        "angle": rotation_angle,
    }
    data: dict[str, Any] = {
        name: score_runs(score, latents, theta) for name, score in scores.items()
    }
    data["rate"] = source["rate"].values
    coordinates = {
        "factors": [group.shared["factors"]] * len(latents),
        "prior": [group.shared["prior"]] * len(latents),
        "recipe": [group.shared["recipe_name"]] * len(latents),
        "seed": [trial["seed"] for trial in group.trials],
    }
    return xr.Dataset(
        {name: ("trial", np.asarray(values, float)) for name, values in data.items()},
        coords={name: ("trial", values) for name, values in coordinates.items()},
    )


SHAPE_SCORE = Experiment(
    "shape_score",
    "S_KL of the runs of 'disentanglement' (section 5.3, fig. 13)",
    1,
    _groups,
    _compute,
    reads=("disentanglement",),
    trained=False,
)

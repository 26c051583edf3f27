"""Does the annealed recipe find the axes of other draws, of another pair, with other wells?

The fifty runs of ``disentanglement`` share one draw of the data, one choice of mode 2 within its
degenerate pair, and wells that mirror each other. Here all three change.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float

from dvae.experiments.common import (
    chunks,
    data_settings,
    model_settings,
    recipe_settings,
    score_ensemble,
    train_on,
    with_settings,
)
from dvae.experiments.darcy import rotated_pair, trapezoid
from dvae.physics import DarcyDataset, KarhunenLoeve, solve_darcy, well_source
from dvae.results.conditions import AS_CODED
from dvae.results.trials import Experiment, Group

__all__ = ["ANGLES", "DATA_DRAWS", "asymmetric_wells", "load_draw", "production_at"]

ANGLES = (0.0, 22.5, 45.0)  # degrees, of mode 2 within the plane of the pair
CELLS = (("four-modes", "standard"), ("four-modes", AS_CODED), ("standard-normal", "standard"))


def asymmetric_wells(n_nodes: int) -> Float[np.ndarray, "x1 x2"]:
    """Source with the injection of eq. 17 at (0, 0) and the production at (1, 1/2), balanced.

    No rotation or reflection of the square maps one well on the other, so that the responses to
    the two factors have no parity.
    """
    return production_at(n_nodes, (1.0, 0.5))


def production_at(n_nodes: int, place: tuple[float, float]) -> Float[np.ndarray, "x1 x2"]:
    """Source with the injection of eq. 17 at (0, 0) and a production as wide elsewhere, balanced.

    Parameters
    ----------
    n_nodes : int
        Nodes along each side.
    place : pair of float
        Where the production well lies between the two sides of the square, along either axis: 0
        and 1 for a well that touches a side, (1, 1) for that of eq. 17.
    """
    injection = well_source(n_nodes).clip(0)
    side = int((injection[:, 0] > 0).sum())
    first, second = (round(x * (n_nodes - side)) for x in place)
    production = np.zeros_like(injection)
    production[first : first + side, second : second + side] = 1.0
    weights = trapezoid(n_nodes)
    return injection - production * (weights * injection).sum() / (weights * production).sum()


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    cases = [(draw, angle, "mirrored") for draw in range(5) for angle in ANGLES]
    cases += [(draw, 0.0, "asymmetric") for draw in range(5)]
    # one case of each kind first, so that a sweep which is interrupted has some of all
    cases.sort(key=lambda case: case[0])
    seeds = [{"seed": seed} for seed in range(2 if smoke else 50)]
    groups = []
    for draw, angle, wells in cases[2:4] if smoke else cases:
        for factors, prior in CELLS[:1] if smoke else CELLS:
            shared = (
                data_settings(profile, factors, data_seed=draw)
                | model_settings(profile, prior)
                | recipe_settings(profile, "annealed")
                | {"pair_angle": angle, "wells": wells}
            )
            groups += chunks(seeds, shared, profile)
    return groups


def load_draw(settings: dict[str, Any]) -> DarcyDataset:
    """Training and test data in one, mode 2 turned within its pair, with either kind of wells.

    Parameters
    ----------
    settings : dict
        Those of ``data_settings``, ``pair_angle`` in degrees, and ``wells``, "mirrored" or
        "asymmetric".
    """
    size = settings["n_train"] + settings["n_test"]
    names = ("factors", "n_nodes", "data_seed", "pair_angle", "wells")
    return _load(size, *(settings[name] for name in names))


@functools.lru_cache(maxsize=2)
def _load(
    n_samples: int, factors: str, n_nodes: int, seed: int, angle: float, wells: str
) -> DarcyDataset:
    data = DarcyDataset.generate(factors, n_samples, seed, n_nodes=n_nodes)
    if (angle, wells) == (0.0, "mirrored"):
        return data
    assert data.theta is not None  # generated
    kle = KarhunenLoeve(3, n_nodes)
    permeability = rotated_pair(kle, data.theta.double().numpy(), angle)
    source = well_source(n_nodes) if wells == "mirrored" else asymmetric_wells(n_nodes)
    pressure, velocity = solve_darcy(torch.from_numpy(permeability), source)
    fields = torch.cat([torch.as_tensor(pressure)[:, None], torch.as_tensor(velocity)], dim=1)
    field = torch.from_numpy(permeability)[:, None]
    return DarcyDataset(theta=data.theta, permeability=field.float(), fields=fields.float())


def _compute(group: Group, **arguments) -> xr.Dataset:
    s = group.shared
    training, test = load_draw(s).split(s["n_train"], s["n_test"])
    result = train_on(training, group, **arguments)
    scores = score_ensemble(result.ensemble, training, test, latents=False)
    scores = scores.assign(diverged=("trial", result.diverged.astype(np.int8)))
    names = ("factors", "prior", "data_seed", "pair_angle", "wells")
    return with_settings(scores, group, **{name: name for name in names})


DATA_DRAWS = Experiment(
    "data_draws",
    "The annealed recipe on five draws of the data, three choices of mode 2, other wells",
    1,
    _groups,
    _compute,
)

"""Beyond Darcy: does annealed noise find the components of a wind from what it carries?

Concentrations of a substance that a random wind carries away from a source
(``dvae.physics.transport``); the factors are the two components of the wind. The place and shape of
the source decide what symmetry the fields have, and so, by ``dvae.analysis.linear_vae``, which way
the latents should turn. Written down before any model was trained, by argument:

- *elongated*, at the centre, long along x1: mirroring a component of the wind mirrors the field, so
  that the responses are orthogonal; across its long side the source is moved more visibly, so that
  the variances differ. Angle 0: the factors are found.
- *round*, at the centre: exchanging the components turns the field, so that the variances are
  equal. No angle is preferred: any comes.
- *turned*, the elongated one by 30 degrees: about -30 degrees, not exactly since the walls do not
  turn with it.
- *shifted*, the elongated one on the middle line: the mirror x2 -> 1 - x2 remains and is enough.
  Angle 0: the factors are found.
- *corner*, the elongated one off both middle lines: no symmetry; the angle is what the fields say.
- *diagonal*, a round one off the centre on the diagonal: mirroring at the diagonal exchanges the
  components, so that the directions are their sum and difference. Angle 45, as entangled as can be.

Runs are at a predicted angle by the rule of ``dvae.conventions.AT_ANGLE``.

What is off the centre is off by a quarter of the side, so that the diagonal source prefers its
angle by more than ``dvae.conventions.PREFERRED``; a first choice of 0.15 did not. The weight of the
rate is that of the evidence lower bound, 1 per sample: at the paper's 1 per node a single channel
holds fewer than one latent.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import xarray as xr

from dvae.conventions import ELBO_WEIGHT
from dvae.experiments.annealing import axes_of, spectrum
from dvae.experiments.common import (
    chunks,
    data_settings,
    make_model,
    model_settings,
    plain_recipe,
    recipe_from,
    recipe_settings,
    score_ensemble,
    with_settings,
)
from dvae.physics import FieldDataset, gaussian_source, transport_dataset
from dvae.results.trials import Experiment, Group
from dvae.training import Recipe, fit, make_recipe

__all__ = ["CASES", "SCHEDULES", "TRANSPORT", "TRANSPORT_AXES"]

LONG, ROUND = (0.2, 0.05), (0.1, 0.1)  # widths of equal area
CASES: dict[str, dict[str, Any]] = {
    "elongated": {"widths": LONG},
    "round": {"widths": ROUND},
    "turned": {"widths": LONG, "angle": 30.0},
    "shifted": {"widths": LONG, "centre": (0.25, 0.5)},
    "corner": {"widths": LONG, "centre": (0.25, 0.25)},
    "diagonal": {"widths": ROUND, "centre": (0.25, 0.25)},
}
# the noise falls from the first level of the fields to the third; or first of all, before the rate
# counts, in a reconstruction phase
SCHEDULES = {"derived": "annealed", "calibrated": "calibrated"}


def _settings(profile: str, case: str) -> dict[str, Any]:
    return data_settings(profile) | {"case": case, "source": CASES[case]}


def _cases(profile: str) -> list[str]:
    return list(CASES)[:1] if profile == "smoke" else list(CASES)


def _load(settings: dict[str, Any]) -> tuple[FieldDataset, FieldDataset]:
    """Training and test data of :func:`_settings` (drawn once per process)."""
    names = ("case", "n_nodes", "n_train", "n_test", "data_seed")
    return _generate(*(settings[name] for name in names))


@functools.lru_cache(maxsize=8)
def _generate(
    case: str, n_nodes: int, n_train: int, n_test: int, seed: int
) -> tuple[FieldDataset, FieldDataset]:
    source = gaussian_source(n_nodes, **CASES[case])
    return transport_dataset(source, n_train + n_test, seed).split(n_train, n_test)


def _weight(n_nodes: int) -> float:
    """Weight of the rate per node that is 1 per sample."""
    return ELBO_WEIGHT / n_nodes**2


# ------------------------------------------------------------------------ transport_axes


def _axis_groups(profile: str) -> list[Group]:
    return [Group(_settings(profile, case), ({},)) for case in _cases(profile)]


def _axes(group: Group, **_) -> xr.Dataset:
    training, _test = _load(group.shared)
    return with_settings(axes_of(training, _weight(group.shared["n_nodes"])), group, case="case")


TRANSPORT_AXES = Experiment(
    "transport_axes",
    "Noise levels and angles that the fields of six sources in a wind predict",
    1,
    _axis_groups,
    _axes,
    trained=False,
)


# ----------------------------------------------------------------------------- transport


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    seeds = [{"seed": seed} for seed in range(2 if smoke else 50)]
    groups = []
    for case in _cases(profile):
        for schedule, name in SCHEDULES.items():
            data = _settings(profile, case)
            # the levels are those of the data, which are drawn when the group is computed
            recipe = make_recipe(name, beta=_weight(data["n_nodes"]))
            shared = data | model_settings("laptop") | recipe_settings(profile, recipe)
            groups += chunks(seeds, shared | {"schedule": schedule}, profile)
    return groups


def _recipe(settings: dict[str, Any], training: FieldDataset) -> Recipe:
    """Recipe of a group, its noise by the spectrum of the training fields."""
    recipe = recipe_from(settings)
    if recipe.floor is None:
        return recipe
    levels = spectrum(training.fields, recipe.beta)[1][: settings["n_latents"] + 1]
    return recipe.through(levels.tolist(), recipe.floor[2])


def _compute(group: Group, *, device, progress, checkpoint) -> xr.Dataset:
    training, test = _load(group.shared)
    recipe = _recipe(group.shared, training)
    own = group.shared | {"recipe": plain_recipe(recipe)}
    result = fit(
        make_model(own, training.fields),
        training.fields,
        recipe,
        [trial["seed"] for trial in group.trials],
        device=device,
        progress=progress,
        checkpoint=checkpoint,
    )
    data = score_ensemble(result.ensemble, training, test, latents=False)
    data = data.assign(diverged=("trial", result.diverged.astype(np.int8)))
    floor = recipe.floor[:2] if recipe.floor else (np.nan, np.nan)
    data["floor"] = (("trial", "end"), np.tile(floor, (len(group.trials), 1)))
    return with_settings(data, group, case="case", schedule="schedule")


TRANSPORT = Experiment(
    "transport",
    "Six sources in a wind, the noise lowered by two schedules",
    1,
    _groups,
    _compute,
)

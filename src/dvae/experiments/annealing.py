"""Beyond the paper: when latents come alive, which way they turn, a schedule from that.

Studies of PodVAE and the theory of the linear VAE (``dvae.analysis.linear_vae``):

- ``principal_axes`` predicts, from the fields alone, the noise levels of the principal directions
  and the angle between them and the factors, for every data set of ``data_draws`` and the shifted
  one;
- ``noise_levels`` trains models of one to four latents at a fixed noise, to see which are alive.
  At the weight 1 no more than two can be, so that a count says little; at 0.3 up to nine can. Said
  before the runs at 0.3 with two factors, and with three factors and fewer than four latents: at
  the least noise as many latents are alive as there are factors, or as there are latents if these
  are fewer, in at least 9 of 10 runs, although the linear VAE would use three or four on two
  factors as well (its third and fourth levels are 0.036 and 0.033);
- ``schedules`` lowers the noise from the first level to the last, over more and fewer steps, and
  from other starts;
- ``dense_schedules`` does so with DenseVAE. Its recipe keeps the short reconstruction phase and
  ramp without which that network collapses: 250 steps until the weight is whole. Said before any
  run: where the noise falls in 480 steps it is then below both levels, and as few runs find the
  axes as with the recipe "annealed-dense" (16 and 10 of 50); where it falls in 2280 both latents
  are still to come alive, and most runs should find them, as those of PodVAE do. (They did not: 2
  of the first 12; the others described less. Seen later: both latents are in fact worth describing
  all the time, the second one by a tenth of a nat when the weight is whole.) So a third way starts
  below the second level, where both latents are alive when the reconstruction phase ends, at the
  noise at which the second one is worth a bit, and turns them at four times the learning rate. What
  that needs was found on a draw and on seeds that are not evaluated, in two steps: two runs of 1200
  steps had turned all of the way, and at the recipe's own rate half of it. Said before the
  evaluated runs: 45 of 50 find the axes. Of the first eight four did, the others were still on
  their way; so the runs of 1200 steps are a control, and 2400 steps are the main arm, in which one
  more run of the other draw turned all of the way. Said before any evaluated run of it: at least 45
  of 50 find the axes of both sets. Three controls of ten runs change back one thing each: the
  learning rate (few find them, too slow), the start (latents stay dead: one such run of the other
  draw had none), the length. The other arms change more and have ten runs each as well;
- ``dense_agreement`` trains fifty more DenseVAEs of each set with the main arm of
  ``dense_schedules`` (45 and 33 of the first fifty found the axes) and keeps their latents, to see
  whether the run to keep can be told without labels. Said before any run: the same shares within
  their intervals; of ten runs, in the order of their seeds, the one whose latents agree best with
  those of the others (``analysis.typical_run``) is disentangled in all five groups of ten with the
  standard normal set, and in at least four of the five with the four modes; the one with the lowest
  loss as often as a run taken at random (which so few groups hardly test).
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch.distributions import Normal, kl_divergence

from dvae.analysis import noise_levels, rotation_angle
from dvae.experiments.common import (
    chunks,
    data_settings,
    dense_settings,
    factors_of,
    load_data,
    model_settings,
    plain_recipe,
    recipe_from,
    recipe_settings,
    score_ensemble,
    train,
    with_settings,
)
from dvae.experiments.data_draws import ANGLES, load_draw
from dvae.experiments.dense_runs import COARSE_ANNEALED
from dvae.models import PodBasis
from dvae.physics import FieldDataset
from dvae.results.axes import DATA_SET
from dvae.results.dense import DENSE_NODES
from dvae.results.trials import Experiment, Group
from dvae.training import make_recipe

__all__ = [
    "DENSE_AGREEMENT",
    "DENSE_SCHEDULES",
    "NOISE_LEVELS",
    "PRINCIPAL_AXES",
    "SCHEDULES",
    "axes_of",
    "spectrum",
]

N_LEVELS = 6  # of which the first are stored
LEVELS = np.geomspace(2.5, 2.5e-3, 13).round(6).tolist()  # decoder variance over that of the data
LATENTS = (1, 2, 3, 4)
LEVEL_RUNS, LEVEL_STEPS = 10, 1500
# factors, latents and weight of longer runs: with three factors at weight 1 the second latent has
# little to gain and needs longer to come alive
LONG_STEPS = 6000
LONG = ((3, 4, 1.0), (3, 4, 0.3), (2, 3, 0.3), (2, 4, 0.3), (3, 1, 0.3), (3, 2, 0.3), (3, 3, 0.3))
LENGTHS = (500, 1000, 2000, 4000)  # steps in which the noise falls
ONE_BIT = "one bit"  # noise at which the last latent is worth log 2 nats, below all levels
# DenseVAE: where its noise starts, steps in which it falls (120 with free noise follow), learning
# rate, runs of each set of factors
DENSE_ARMS = (
    (ONE_BIT, 2280, 3.2e-2, 50),
    (ONE_BIT, 2280, 8e-3, 10),
    ("derived", 2280, 3.2e-2, 10),
    (ONE_BIT, 1080, 3.2e-2, 10),
    ("derived", 1080, 3.2e-2, 10),
    ("derived", 2280, 8e-3, 10),
    ("derived", 480, 8e-3, 10),
)
STARTS = (4.0, 1.0, 0.3, 0.1, 0.03)  # above both levels, and below
AGREEMENT_SEEDS = range(50, 100)  # none of those of DENSE_ARMS
BETA = 1.0  # per node, as in every recipe


def spectrum(fields: torch.Tensor, beta: float = BETA) -> tuple[PodBasis, np.ndarray]:
    """POD of fields, and the noise levels of all its directions for a weight per node."""
    basis = PodBasis.from_fields(fields, len(fields))
    channels, *nodes = fields.shape[1:]
    total_nodes = int(np.prod(nodes))
    variances = basis.spread.double().numpy() ** 2
    return basis, noise_levels(variances, channels * total_nodes, beta * total_nodes)


def latent_rates(
    mean: Float[np.ndarray, "run sample latent"], scale: Float[np.ndarray, "run sample latent"]
) -> Float[np.ndarray, "run latent"]:
    """Rate of every latent under a standard normal prior, averaged over samples, nats."""
    posterior = Normal(torch.from_numpy(mean).double(), torch.from_numpy(scale).double())
    return kl_divergence(posterior, Normal(0.0, 1.0)).mean(1).numpy()


# ------------------------------------------------------------------------ principal_axes


def _axis_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    cases = [
        (factors, draw, angle, wells)
        for factors in ("four-modes", "standard-normal")
        for draw in range(5)
        for angle, wells in [*((a, "mirrored") for a in ANGLES), (0.0, "asymmetric")]
    ]
    cases.append(("shifted-normal", 0, 0.0, "mirrored"))
    groups = []
    for factors, draw, angle, wells in cases[:1] if smoke else cases:
        shared = data_settings(profile, factors, data_seed=draw)
        groups.append(Group(shared | {"pair_angle": angle, "wells": wells}, ({},)))
    return groups


def axes_of(training: FieldDataset, beta: float = BETA) -> xr.Dataset:
    """What the fields alone predict, one ``trial``: noise levels, and the angle of the latents.

    ``level`` are the first noise levels for a weight per node, ``angle`` the one by which the first
    two principal directions are turned against the factors (degrees).
    """
    basis, levels = spectrum(training.fields, beta)
    whitened = basis.project(training.fields)[:, :2] / basis.spread[:2]
    angle = rotation_angle(whitened.double().numpy(), factors_of(training))
    return xr.Dataset(
        {
            "level": (("trial", "direction"), levels[None, :N_LEVELS]),
            "angle": ("trial", [angle]),
        }
    )


def _axes(group: Group, **_) -> xr.Dataset:
    data = load_draw(group.shared)
    training = data.split(group.shared["n_train"], group.shared["n_test"])[0]
    return with_settings(axes_of(training), group, **{name: name for name in DATA_SET})


PRINCIPAL_AXES = Experiment(
    "principal_axes",
    "Noise levels and angles that the principal directions of the fields predict",
    1,
    _axis_groups,
    _axes,
    trained=False,
)


# -------------------------------------------------------------------------- noise_levels


def _level_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    cases = [(2, n, 1.0, LEVEL_STEPS, LEVELS) for n in LATENTS]
    cases += [(*case, LONG_STEPS, LEVELS[::2]) for case in LONG]
    seeds = tuple({"seed": seed} for seed in range(2 if smoke else LEVEL_RUNS))
    groups = []
    for n_factors, n_latents, weight, steps, levels in cases[:1] if smoke else cases:
        options = {} if n_factors == 2 else {"n_factors": n_factors}
        for level in levels[::6] if smoke else levels:
            recipe = make_recipe(
                "annealed",
                name="fixed noise",
                steps=steps,
                learning_rate_steps=((2 * steps // 3, 5e-4),),
                floor=(level, level, steps),
                beta=weight,
            )
            shared = (
                data_settings(profile, factor_options=options)
                | model_settings(profile if smoke else "laptop", n_latents=n_latents)
                | recipe_settings(profile, recipe)
                | {"level": level, "n_factors": n_factors}
            )
            groups.append(Group(shared, seeds))
    return groups


def _levels(group: Group, **arguments) -> xr.Dataset:
    result, training, test = train(group, **arguments)
    losses = result.ensemble.evaluate(test.fields, relative_error=False)
    rates = latent_rates(*(x.numpy() for x in result.ensemble.encode(test.fields)))
    stored = np.full((len(rates), max(LATENTS)), np.nan)
    stored[:, : rates.shape[1]] = np.sort(rates, 1)[:, ::-1]
    _, levels = spectrum(training.fields, group.shared["recipe"]["beta"])
    data = losses.rename(member="trial").assign(
        latent_rate=(("trial", "latent"), stored),
        expected_level=(("trial", "direction"), np.tile(levels[:N_LEVELS], (len(rates), 1))),
        diverged=("trial", result.diverged.astype(np.int8)),
    )
    return with_settings(data, group, level="level", n_latents="n_latents", n_factors="n_factors")


NOISE_LEVELS = Experiment(
    "noise_levels",
    "Rates of one to four latents at a fixed noise",
    1,
    _level_groups,
    _levels,
)


# ----------------------------------------------------------------------------- schedules


def _schedule_groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    both = ("standard-normal", "four-modes")
    cases: list[tuple[str, int, float | None, int]]
    cases = [(factors, 0, None, max(LENGTHS)) for factors in (*both, "shifted-normal")]
    cases += [(factors, 0, None, length) for length in LENGTHS[:-1] for factors in both]
    cases += [(factors, draw, None, max(LENGTHS)) for draw in (1, 2) for factors in both]
    cases += [("standard-normal", 0, start, max(LENGTHS)) for start in STARTS]
    seeds = [{"seed": seed} for seed in range(2 if smoke else 50)]
    groups = []
    for factors, draw, start, length in cases[:1] if smoke else cases:
        # the levels are those of the data, which are drawn when the group is computed
        recipe = make_recipe("annealed").through((1.0, 1e-3), length)
        shared = (
            data_settings(profile, factors, data_seed=draw)
            | model_settings("laptop")
            | recipe_settings(profile, recipe)
            | {"length": length, "start": "derived" if start is None else f"{start:g}"}
        )
        groups += chunks(seeds, shared, profile)
    return groups


def _schedules(group: Group, latents: bool = False, **arguments) -> xr.Dataset:
    training, _ = load_data(group.shared)
    n = group.shared["n_latents"]
    levels = spectrum(training.fields)[1][: n + 1].tolist()
    start = group.shared["start"]
    # the rate of a direction is log(level / noise) / 2: log 2, one bit, at a quarter of its level
    derived = {"derived": levels[0], ONE_BIT: levels[n - 1] / 4}
    recipe = recipe_from(group.shared)
    assert recipe.floor is not None
    floor = (derived[start] if start in derived else float(start), levels[n], recipe.floor[2])
    own = {"recipe": plain_recipe(replace(recipe, floor=floor))}
    result, training, test = train(replace(group, shared=group.shared | own), **arguments)
    data = score_ensemble(result.ensemble, training, test, latents=latents)
    data = data.assign(diverged=("trial", result.diverged.astype(np.int8)))
    data["floor"] = (("trial", "end"), np.tile(floor[:2], (len(group.trials), 1)))
    names = ("factors", "data_seed", "length", "start")
    return with_settings(data, group, **{name: name for name in names})


SCHEDULES = Experiment(
    "schedules",
    "The noise lowered through the levels of the data, in more and fewer steps",
    1,
    _schedule_groups,
    _schedules,
)


def _dense_groups(profile: str) -> list[Group]:
    arms = DENSE_ARMS[:1] if profile == "smoke" else DENSE_ARMS
    return [
        group
        for start, length, learning_rate, runs in arms
        for group in _dense_arm(profile, start, length, learning_rate, range(runs))
    ]


def _dense_arm(
    profile: str, start: str, length: int, learning_rate: float, numbers: range
) -> list[Group]:
    """Groups of one schedule of DenseVAE, for seeds of these numbers."""
    smoke = profile == "smoke"
    grid = {} if smoke else {"n_nodes": DENSE_NODES}
    recipe = make_recipe(COARSE_ANNEALED, learning_rate=learning_rate)
    shared = [
        data_settings(profile, factors, **grid)
        | dense_settings(profile)
        | recipe_settings(profile, recipe.through((1.0, 1e-3), length))
        | {"length": length, "start": start}
        for factors in (("four-modes",) if smoke else ("four-modes", "standard-normal"))
    ]
    seeds = [{"seed": seed} for seed in (numbers[:1] if smoke else numbers)]
    # on a CPU members of networks of this size gain nothing from one process, on a GPU they
    # do; seeds go from set to set, so that a sweep which is interrupted has as many of each
    size = len(seeds) if profile == "paper" else 1
    return [
        Group(own, tuple(seeds[first : first + size]))
        for first in range(0, len(seeds), size)
        for own in shared
    ]


DENSE_SCHEDULES = Experiment(
    "dense_schedules",
    "DenseVAE: the noise lowered through the levels of the data, in more and fewer steps",
    1,
    _dense_groups,
    _schedules,
)


# ----------------------------------------------------------------------- dense_agreement


def _agreement_groups(profile: str) -> list[Group]:
    return _dense_arm(profile, *DENSE_ARMS[0][:3], AGREEMENT_SEEDS)


DENSE_AGREEMENT = Experiment(
    "dense_agreement",
    "DenseVAE: fifty more runs of the slow schedule, whose latents are kept",
    1,
    _agreement_groups,
    functools.partial(_schedules, latents=True),
)

"""Rows T1 and L1 to L5: over-regularisation and the loss around it (sections 4.2 and 4.3)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from dvae.analysis import barrier, chance_of_disentangled, share_text
from dvae.claims.frame import (
    Finding,
    Results,
    by_kind,
    either,
    grade,
    rule_of,
    select_trials,
    with_variables,
)
from dvae.conventions import (
    BARRIER,
    BELOW_LIMIT,
    EQUAL_LOSS,
    EQUAL_MEAN,
    FEW,
    LINE_END,
    OVER_REGULARISED,
    RISE,
    SAME_PATH,
    SHOWN_LOSS,
    SIGNIFICANT,
    START,
    UNLIKE,
)
from dvae.results.dense import phase_arms

__all__ = ["late_rates", "published_paths"]


@rule_of(
    "T1",
    "4.2, theorem 1, fig. 2",
    "an over-regularised VAE decodes mean and variance of the data for every z",
    "equal",
    "chapter-landscape",
    "over_regularised",
)
def _t1_collapsed_decoder(results: Results) -> Finding:
    """PodVAE. If every step takes all data, so that the optimum is reached, the decoder's mean and
    its change with z (both in standard deviations of the data) deviate by less than 1 %; partly, if
    only the mean field does, relative to its norm. The variance is printed and not judged: PodVAE's
    is the data's, node by node, times one number that is calibrated."""
    names = ("mean_error_scaled", "spread_over_z")
    result = results["over_regularised"]
    mini, full = (select_trials(result, kind=kind) for kind in ("mini-batch", "full batch"))
    worst = max(float(abs(full[name]).max()) for name in names)
    variance = float(abs(full["variance_error"]).max())
    mean = float(mini["mean_error"].max())
    found = (
        f"deviations of the mean below {100 * worst:.2g} % with all data in each step (variance "
        f"{100 * variance:.2g} %); with mini-batches the mean field is within {100 * mean:.2g} %"
    )
    return Finding(found, either(worst < EQUAL_MEAN, mean < EQUAL_MEAN))


@rule_of(
    "L1",
    "fig. 3 left",
    "lines from 10 random initialisations to a desirable solution cross a region of "
    "over-regularised local minima",
    "all of 10",
    "chapter-landscape",
    "lines",
)
def _l1_lines(results: Results) -> Finding:
    """An over-regularised minimum strictly inside every line of eq. 26; partly, if there is a
    minimum of any kind inside some."""
    lines = select_trials(results["lines"], case="main", statistics="stored", variance="stored")
    inside = (lines["minimum_alpha"].values > 0) & (lines["minimum_alpha"].values < LINE_END)
    low = inside & (lines["minimum_rate"].values < OVER_REGULARISED)
    n, k, over = lines.sizes["trial"], int(inside.any(1).sum()), int(low.any(1).sum())
    found = f"a minimum inside {share_text(k, n)}, over-regularised in {over}"
    return Finding(found, either(over == n, k > 0))


@rule_of(
    "L2",
    "fig. 3 right",
    "no local minimum along 1000 random directions from a desirable solution",
    "none of 1000",
    "chapter-landscape",
    "directions",
)
def _l2_directions(results: Results) -> Finding:
    """No minimum along any plain direction at a loss below 1000, where the figure ends; partly, if
    along less than a tenth of them. A minimum to which the loss only falls is the bottom of the
    solution's own basin, where training stopped beside it, and is counted apart (since a finer
    spacing of the points showed such)."""
    plain = select_trials(results["directions"], normalisation="norm")
    shallow = plain["minimum_loss"].values < SHOWN_LOSS
    # the first minimum is the basin's own if the lowest loss so far is always the last one
    loss = plain["loss_per_node"].values
    rises = np.diff(loss, axis=1) > 0
    bottom = np.take_along_axis(loss, rises.argmax(1)[:, None], 1)[:, 0]
    first = plain["minimum_loss"].values[:, 0]
    own = shallow[:, 0] & (rises.argmax(1) > 0) & np.isclose(first, bottom)
    shallow[:, 0] &= ~own
    n, k = plain.sizes["trial"], int(shallow.any(1).sum())
    points = (loss < SHOWN_LOSS).sum(1)
    found = (
        f"{share_text(k, n)} have one below a loss of 1000, where {points.min()} to {points.max()} "
        f"(median {np.median(points):.0f}) of the {plain.sizes['point']} points of a direction "
        f"lie; {own.sum()} the bottom of the solution's own basin"
    )
    return Finding(found, either(k == 0, k < FEW * n))


@rule_of(
    "L3",
    "fig. 4",
    "a desirable and an over-regularised run share the first part of their path",
    "shared, then apart",
    "chapter-landscape",
    "dense_phases",
    "dense_runs",
    "paths",
)
def _l3_paths(results: Results) -> Finding:
    """DenseVAE on 33 x 33 nodes and four modes decides where it has runs, else PodVAE; published
    recipe in fewer steps. Most runs with a quarter of the reconstruction phase end
    over-regularised, where the run with the whole phase (same seed, hence the same start by
    construction) does not; partly, if most only pass through zero rate and leave it again."""
    return by_kind({name: _parted(arms) for name, arms in published_paths(results).items()})


def published_paths(results: Results) -> dict[str, dict[str, xr.Dataset]]:
    """Runs of the published recipe by network, the nearest to the paper's in front, and arm.

    Arms are "phase 1" and "phase 0.25", the length of the reconstruction phase over the published
    one, and "constant beta".
    """
    arms = ("phase 1", "phase 0.25", "constant beta")
    pod = {arm: select_trials(results["paths"], arm=arm) for arm in arms}
    if "dense_phases" not in results or "dense_runs" not in results:
        return {"PodVAE": pod}
    dense = phase_arms(results["dense_runs"], results["dense_phases"])
    complete = set(arms) <= set(dense) and dense["phase 1"].sizes["trial"] > 0
    return ({"DenseVAE": dense} if complete else {}) | {"PodVAE": pod}


def _parted(arms: dict[str, xr.Dataset]) -> Finding:
    whole, short = arms["phase 1"], arms["phase 0.25"]
    same = np.ones(whole["history_rate"].shape, bool)
    for name in ("history_rate", "history_distortion"):
        same &= np.isclose(whole[name].values, short[name].values, rtol=SAME_PATH)
    entries = np.isfinite(whole["history_step"].values).sum(1)
    shared = np.where(same.all(1), entries, same.argmin(1)) / entries
    passes = (late_rates(short) < OVER_REGULARISED).any(1)
    ends = short["rate"].values < OVER_REGULARISED
    ends &= whole["rate"].values >= OVER_REGULARISED
    leaves = passes & ~(short["rate"].values < OVER_REGULARISED)
    n = len(shared)
    found = (
        f"the first {100 * np.median(shared):.0f} % (median) shared, by the same seed; "
        f"{passes.sum()} of {n} short ones pass through zero rate, {ends.sum()} end there alone"
    )
    return Finding(found, either(ends.sum() > n / 2, (ends | leaves).sum() > n / 2))


def late_rates(paths: xr.Dataset) -> Float[np.ndarray, "run entry"]:
    """Rates in nats after the first tenth of the training, where all start at zero."""
    kept = np.isfinite(paths["history_step"].values[0])
    rate = paths["history_rate"].values[:, kept]
    return rate[:, int(START * rate.shape[1]) :]


@rule_of(
    "L4",
    "fig. 4",
    "the over-regularised region captures many weights beta; between models of neighbouring "
    "weights the loss has no other minimum",
    "many; none",
    "chapter-landscape",
    "rate_distortion",
)
def _l4_weights(results: Results) -> Finding:
    """Calibrated recipe, two parts. A tenth or more of the converged models with a weight clearly
    below C / n, the linear limit for two latents that describe everything, are over-regularised. No
    model of another weight is a minimum of the loss with beta = 1 on the lines to both of its
    neighbours, higher by 0.05 nats per node or more one point away, and no line has a minimum
    inside."""
    sweep = results["rate_distortion"]
    limit = BELOW_LIMIT * 3 / 2  # three channels, two latents
    below = sweep.isel(trial=np.flatnonzero(sweep["beta"].values < limit))
    over = int((below["rate"] < OVER_REGULARISED).sum())
    lines = sweep["neighbour_minima"].values
    lines = lines[lines >= 0]
    k = int((lines > 0).sum())
    ends, tested = _vertex_minima(sweep)
    found = (
        f"{share_text(over, below.sizes['trial'])} of the models below the limit are "
        f"over-regularised; {share_text(ends, tested)} of the models of another weight are minima "
        f"on both lines; {share_text(k, len(lines))} of the lines have a minimum inside"
    )
    return Finding(found, grade(over >= FEW * below.sizes["trial"], k + ends == 0))


def _vertex_minima(sweep: xr.Dataset) -> tuple[int, int]:
    """How many inner models of another weight than 1 are minima on both lines, and of how many."""
    line, beta = sweep["neighbour_loss"].values, sweep["beta"].values
    # model i lies between the lines i - 1 and i, if both are of its own seed and start
    inner = np.flatnonzero(np.isfinite(line[:-1, 0]) & np.isfinite(line[1:, 0])) + 1
    inner = inner[beta[inner] != 1.0]
    left = line[inner - 1, -2] - line[inner - 1, -1] > RISE
    right = line[inner, 1] - line[inner, 0] > RISE
    return int((left & right).sum()), len(inner)


@rule_of(
    "L5",
    "4.3, fig. 5",
    "two runs that differ in the seed alone have nearly equal losses (-9.50, -9.42); one is "
    "disentangled and one not, with higher losses between them",
    "-9.50 and -9.42",
    "chapter-landscape",
    "seed_pairs",
    "baselines",
)
def _l5_seeds(results: Results) -> Finding:
    """Published recipe. Pairs with losses within 2 %, one end disentangled on training data and the
    other lower in S_D by 0.3 or more, and a barrier of 0.1 nats per node or more (median) as
    trained and after units were matched; partly, if only such a difference with a barrier;
    undecided, if there is none and so few runs that random angles would give no disentangled one
    with a probability of 5 % or more."""
    pairs, data = results["seed_pairs"], results["baselines"]
    with_variables(pairs, "first_disentangled", "second_disentangled")
    theta = select_trials(data, factors="standard-normal", data_seed=0)["theta_train"].values[0]
    loss, score = pairs["loss_per_node"].values, pairs["disentanglement"].values[:, 0]
    ends, walls = loss[:, 0][:, [0, -1]], barrier(loss)
    equal = np.abs(np.diff(ends)[:, 0]) <= EQUAL_LOSS * np.abs(ends).min(1)
    apart = equal & (np.abs(score[:, -1] - score[:, 0]) >= UNLIKE)
    best = np.where(
        score[:, 0] > score[:, -1], pairs["first_disentangled"], pairs["second_disentangled"]
    )
    disentangled = apart & (best > 0)
    members = set(pairs["first"].values) | set(pairs["second"].values)
    missed = (1 - chance_of_disentangled(theta)) ** len(members)
    few = not disentangled.any() and missed >= SIGNIFICANT
    if not apart.any():
        return Finding(f"none of {len(apart)} pairs", "undecided" if few else "not reproduced")
    trained, matched = (np.median(walls[apart, k]) for k in (0, -1))
    runs = len(set(pairs["first"].values[apart]) | set(pairs["second"].values[apart]))
    found = (
        f"{apart.sum()} of {len(apart)} pairs (of {runs} runs) differ so in S_D, the best end has "
        f"{score[apart][:, [0, -1]].max():.2f}, {disentangled.sum()} with a disentangled end; "
        f"barrier {trained:.2g} as trained, {matched:.2g} matched (nats/node)"
    )
    if few:
        return Finding(found, "undecided")
    lowest = np.median(walls[disentangled][:, [0, -1]], 0).min() if disentangled.any() else 0.0
    return Finding(found, either(lowest >= BARRIER, trained >= BARRIER))

"""Rows S1 to S4: training with labels (section 6)."""

from __future__ import annotations

import numpy as np
import xarray as xr
from jaxtyping import Float

from dvae.analysis import holm, kendall_trend
from dvae.analysis.p_values import mann_whitney
from dvae.claims.frame import (
    Finding,
    Results,
    by_kind,
    either,
    grade,
    rule_of,
    select_trials,
)
from dvae.claims.words import direction, listed, p_text, sized
from dvae.conventions import GOOD_SCORE, IDENTICAL, MUCH_WORSE, SIGNIFICANT
from dvae.results.conditions import factors_by_set
from dvae.results.labelled import (
    BETWEEN,
    by_labels,
    by_region,
    disentangled_by_labels,
    regions,
    run_similarity,
)

__all__: list[str] = []


@rule_of(
    "S1",
    "section 6, fig. 14 left",
    "If the factors of about 1 % of the samples are given (labels), runs are consistently well "
    "disentangled. With 3 to 8 % they are nearly identical to each other.",
    "about 1 %",
    "chapter-labels",
    "dense_labels",
    "labels",
    "baselines",
)
def _s1_few_labels(results: Results) -> Finding:
    """DenseVAE on 33 x 33 nodes, one-cycle recipe, decides where it has runs, else PodVAE with the
    calibrated one. Two parts: every run with about 1 % of labels is disentangled, and not every run
    without; the median concordance of two runs (Lin) is above 0.99 at about 3 and 8 %."""
    theta = factors_by_set(results["baselines"])["standard-normal"]
    return by_kind({name: _few_labels(own, theta) for name, own in _tables(results).items()})


def _tables(results: Results) -> dict[str, xr.Dataset]:
    """Tables of ``by_labels`` by network, the nearest to the paper's in front."""
    tables = {}
    if "dense_labels" in results:
        tables["DenseVAE, recipe `one-cycle`"] = by_labels(results["dense_labels"], "one-cycle")
    return tables | {"PodVAE, recipe `calibrated`": by_labels(results["labels"], "calibrated")}


def _few_labels(table: xr.Dataset, theta: Float[np.ndarray, "all 2"]) -> Finding:
    table = table.assign(disentangled=disentangled_by_labels(table, theta))
    scores = {p: _near(table, p)["disentanglement"].values for p in (0, 1, 3, 8)}
    good = {p: int(_near(table, p)["disentangled"].sum()) for p in scores}
    alike = {}
    for percent in (3, 8):
        latents = _near(table, percent)["latent_mean"].transpose("run", "sample", "latent")
        alike[percent] = float(np.median(run_similarity(latents.values)))
    n = len(scores[0])
    ranges = [f"{own.mean():.2f} ({own.min():.2f} to {own.max():.2f})" for own in scores.values()]
    found = (
        f"{good[1]} of {n} runs with about 1 % of labels are disentangled, {good[0]} without "
        f"labels, {good[3]} with 3 % and {good[8]} with 8 %. The latents of two runs agree to "
        f"{alike[3]:.3f} with 3 % and to {alike[8]:.3f} with 8 % (median concordance, 1 if they "
        f"are identical). The mean S_D (range) with 0, 1, 3 and 8 % is {listed(ranges)}."
    )
    same = all(value > IDENTICAL for value in alike.values())
    return Finding(found, grade(good[1] == n and good[0] < n, same))


def _near(table: xr.Dataset, percent: float) -> xr.Dataset:
    """Runs of the ratio of labels nearest to a percentage."""
    return table.isel(n_labels=int(np.abs(100 * table["ratio"].values - percent).argmin()))


@rule_of(
    "S2",
    "section 6, fig. 14 right",
    "The losses at the end of the training do not depend on the number of labels.",
    "constant",
    "chapter-labels",
    "dense_labels",
    "labels",
)
def _s2_losses(results: Results) -> Finding:
    """Networks as in row S1: the training loss without labels does not differ from that with 1 %
    and more (Mann-Whitney), and from 1 % on neither loss nor rate has a trend (Kendall's tau;
    Holm's correction, 5 %); partly, if the loss has no trend from 1 % on, the ratio from which on
    labels help. No difference shown is taken as none."""
    return by_kind({name: _losses(table) for name, table in _tables(results).items()})


def _losses(table: xr.Dataset) -> Finding:
    least = int(_near(table, 1)["n_labels"])
    none = table["loss_per_node_train"].sel(n_labels=0).values
    some = table.isel(n_labels=np.flatnonzero(table["n_labels"].values >= least))
    loss, rate = (
        some[name].transpose("n_labels", "run").values
        for name in ("loss_per_node_train", "rate_train")
    )
    counts = np.repeat(some["n_labels"].values, loss.shape[1])
    trends = [kendall_trend(counts, values.ravel()) for values in (loss, rate)]
    differs = mann_whitney(none, loss.ravel())
    adjusted = holm([differs, *(t.p_value for t in trends)])
    found = (
        f"the median training loss is {np.median(none):.2f} nats per node without labels and "
        f"{np.median(loss):.2f} with {least} and more ({p_text(adjusted[0])}). From {least} labels "
        f"on the loss {direction(trends[0].tau, adjusted[1])} with their number (Kendall's tau "
        f"{trends[0].tau:+.2f}, {p_text(adjusted[1])}), and the rate "
        f"{direction(trends[1].tau, adjusted[2])} (tau {trends[1].tau:+.2f}, "
        f"{p_text(adjusted[2])})."
    )
    no_trend = adjusted[1] > SIGNIFICANT
    return Finding(found, either(adjusted.min() > SIGNIFICANT, no_trend))


@rule_of(
    "S3",
    "section 6, fig. 15",
    "If the factors have four separate modes and just over 1 % of the samples are labelled, the "
    "aggregated posterior matches the distribution p(theta) of the factors better than without "
    "labels. The regions of low density between the modes are kept better too.",
    "one run shown",
    "chapter-labels",
    "low_density",
    "baselines",
    network="PodVAE",
)
def _s3_low_density(results: Results) -> Finding:
    """Calibrated recipe, three parts, Mann-Whitney at 5 %, labels against none: S_KL is lower; the
    share of samples between the modes is nearer to that of the factors of the same samples; the
    error of fields between the modes is lower. (Until it was seen that the factors of these samples
    are there 1.17 times as often as p(theta) has them, the share was compared with p(theta).)"""
    result = results["low_density"]
    few = min(set(result["n_labels"].values.tolist()) - {0})
    result = select_trials(result, prior="standard", recipe="calibrated")
    pair = [select_trials(result, n_labels=n) for n in (0, few)]
    theta = factors_by_set(results["baselines"])["four-modes"]
    exact = (regions(theta) == BETWEEN).mean()
    shape = [runs["shape_score"].values for runs in pair]
    valley = [runs["between_share"].values / exact for runs in pair]
    field = [by_region(runs)["probe_error"].sel(region="between").values for runs in pair]
    measures = {
        "the shape of the posterior": shape,
        "the share of samples between the modes": [np.abs(v - 1) for v in valley],
        "the error of fields there": field,
    }
    better = {
        name: mann_whitney(labelled, without, "less") < SIGNIFICANT
        for name, (without, labelled) in measures.items()
    }
    won = [name for name, wins in better.items() if wins]
    counts = " and ".join(str(len(runs)) for runs in reversed(shape))
    found = (
        f"{len(won)} of {len(better)} measures are better with labels than without, at the 5 % "
        f"level{f' ({listed(won)})' if won else ''}. The mismatch of the shapes, S_KL, is "
        f"{np.median(shape[1]):.2f} nats with labels and {np.median(shape[0]):.2f} without (the "
        f"estimate can be negative). Between the modes lie {np.median(valley[1]):.2f} times as "
        f"many samples with labels as factors, and {np.median(valley[0]):.2f} times as many "
        f"without. Fields from there are reconstructed with an error of "
        f"{100 * np.median(field[1]):.2g} % of their norm with labels and "
        f"{100 * np.median(field[0]):.2g} % without. These numbers are medians over {counts} runs."
    )
    return Finding(found, grade(*better.values()))


@rule_of(
    "S4",
    "section 6, eqs 27 and 28",
    "The loss of eq. 27, the first of two for labelled samples, is unstable: it reacts so strongly "
    "to changes of the network's parameters that it needs unreasonably small learning rates. The "
    "simpler loss of eq. 28 trains well.",
    "stated",
    "chapter-labels",
    "label_objectives",
    network="PodVAE",
)
def _s4_objectives(results: Results) -> Finding:
    """At the learning rate at which eq. 28 trains, with S_D above 0.9 and the smallest error of
    fields, runs of eq. 27 with every assumed label variance diverge or end with ten times that
    error or more. (What both reach at smaller rates in as many steps is printed.)"""
    result = results["label_objectives"]
    names = ["objective", "label_variance", "learning_rate"]
    columns = ["relative_error", "diverged", "disentanglement"]
    frame = result[names + columns].to_dataframe().reset_index(drop=True)
    frame["relative_error"] = frame["relative_error"].where(frame["diverged"] == 0, np.inf)
    medians = frame.groupby(names)[columns].median()
    rate = medians.loc["eq28"]["relative_error"].idxmin()[-1]
    good = medians.loc["eq28"].xs(rate, level="learning_rate").iloc[0]
    other = medians.loc["eq27"].xs(rate, level="learning_rate")["relative_error"]
    stopped = frame[(frame["objective"] == "eq27") & (frame["learning_rate"] == rate)]["diverged"]
    unstable = bool((other > MUCH_WORSE * good["relative_error"]).all())
    best = f"{100 * other.min():.2g} %" if np.isfinite(other.min()) else "infinite"
    found = (
        f"At a learning rate of {rate:g}, the best one for eq. 28, the median error of the fields "
        f"is {100 * good['relative_error']:.2g} % of their norm with eq. 28 and "
        f"{best} with eq. 27 at best, over the label variances that were "
        f"tried. This is {'' if unstable else 'not '}what counts as unstable here: at the same "
        f"learning rate, {MUCH_WORSE} times the error or more with every such variance, or a "
        f"training that diverges, as {int((stopped > 0).sum())} of {len(stopped)} runs of eq. 27 "
        f"do. S_D with eq. 28 is {good['disentanglement']:.2f}."
    )
    slower = [
        f"{100 * medians.loc['eq28'].xs(small, level=1)['relative_error'].min():.2g} and "
        f"{100 * medians.loc['eq27'].xs(small, level=1)['relative_error'].min():.2g} % at "
        f"{sized(small)}"
        for small in sorted(set(frame["learning_rate"]), reverse=True)
        if small < rate
    ]
    if slower:
        found += (
            f" At smaller learning rates the errors with eqs 28 and 27 (at best) are "
            f"{listed(slower)}. Longer trainings at these rates were not run."
        )
    return Finding(found, grade(unstable, good["disentanglement"] > GOOD_SCORE))

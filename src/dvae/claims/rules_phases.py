"""Rows E5 to E8: phases of the training, and what may avoid over-regularisation (section 4).

Each rule was written before its result was looked at; where one was changed then, it says so.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from dvae.analysis import compare_proportions
from dvae.analysis.p_values import fisher
from dvae.claims.frame import Finding, Results, by_kind, either, grade, rule_of, select_trials
from dvae.claims.parts import combine, exceeds_part, power_text
from dvae.claims.rules_disentanglement import variance_left_of
from dvae.claims.rules_elbo import more_often
from dvae.claims.words import FACTORS, counted, listed, p_text, sized
from dvae.conventions import (
    ABOUT,
    ACCURATE,
    ALWAYS,
    CLEAR_SHARE,
    EQUAL_LOSS,
    LEAST_RUNS,
    OVER_REGULARISED,
    SIGNIFICANT,
    START,
)
from dvae.errors import ResultError

__all__ = ["curve_of_weights"]

TEXT_WEIGHT = 1e-7  # per node: "typically around" this, section 4
CODE_FIRST_WEIGHT = 1e-9  # per node, in the code of the authors
FACTORS_OF_E8 = ("standard-normal", "four-modes")


@rule_of(
    "E5",
    "section 4.2, fig. 4",
    "The path of a training that ends well reaches the curve of rate and distortion on which the "
    "models of all weights lie. It does not stop there but goes on to its final solution.",
    "reaches; continues",
    "chapter-paths",
    "paths",
    "rate_distortion",
    network="PodVAE",
)
def _e5_curve(results: Results) -> Finding:
    """Calibrated recipe with its whole first phase, against the curve of models with other weights
    at the end of their training: most runs come within 2 % of the final loss per node of it while
    their rate is a tenth or more away from its final value, not counting the first tenth of the
    training, in which every network is near the end of the curve that has no rate. How many stay so
    near from there on is printed beside it. (Changed after the result was seen: at first the rule
    asked that the rate fall to its final value, and that the path stay near the curve, which the
    paper does not say; and it counted the first tenth.)"""
    paths = select_trials(results["paths"], arm="calibrated, phase 1")
    points = curve_of_weights(results)
    per_node, nodes = points["per_node"], float(points["total_nodes"].iloc[0])
    reach, stay = [], []
    for rate, distortion, loss in zip(
        paths["history_rate"].values,
        paths["history_distortion"].values / nodes,
        paths["loss_per_node"].values,
        strict=True,
    ):
        kept = np.isfinite(rate)
        rate, distortion = rate[kept], distortion[kept]
        inside = (rate >= points["rate"].min()) & (rate <= points["rate"].max())
        gap = distortion - np.interp(rate, points["rate"], per_node)
        near = inside & (abs(gap) <= EQUAL_LOSS * abs(loss))
        near[: int(START * len(near))] = False
        early = near & (abs(rate - rate[-1]) > ABOUT * rate[-1])
        reach.append(early.any())
        stay.append(early.any() and bool(near[early.argmax() :].all()))
    n = len(reach)
    found = (
        f"{counted(sum(reach), n, 'runs')} come near the curve after the first tenth of the "
        f"training, while their rate is still a tenth or more from its final value, and "
        f"{sum(stay)} of them stay near it to the end. Near is a distance of at most "
        f"{100 * EQUAL_LOSS:.0f} % of the final loss."
    )
    return Finding(found, grade(sum(reach) > n / 2))


def curve_of_weights(results: Results) -> pd.DataFrame:
    """Models at the end of their training, from the reconstruction phase: medians by weight, in the
    order of rates, and of how many ``models``."""
    curve = select_trials(results["rate_distortion"], start="reconstruction")
    columns = ["rate", "distortion", "total_nodes"]
    models = pd.DataFrame({name: curve[name].values for name in columns})
    by_weight = models.groupby(curve["beta"].values)
    points = by_weight.median().assign(models=by_weight.size()).sort_values("rate")
    return points.assign(per_node=points["distortion"] / points["total_nodes"])


@rule_of(
    "E6",
    "section 4.2",
    "An additional network for the variance of what is decoded may help to avoid "
    "over-regularisation.",
    "may",
    "chapter-paths",
    "variance_network",
    "dense_phases",
    network="DenseVAE",
)
def _e6_variance_network(results: Results) -> Finding:
    """DenseVAE on 33 x 33 nodes, four modes, standard prior, published recipe in fewer steps with
    the whole weight of the rate from the first one on, where a constant variance over-regularises:
    of the runs with a network for the variance, in a tenth of these steps, fewer end so (Fisher's
    exact test, one-sided, 5 %; if not, undecided unless a difference of half the runs can be
    excluded, Newcombe's interval of 95 %)."""
    arms = {
        "constant": select_trials(
            results["dense_phases"], arm="constant beta", prior="standard", factors="four-modes"
        ),
        "network": results["variance_network"],
    }
    counts, texts, losses = {}, [], []
    for name, runs in arms.items():
        kept = runs["diverged"].values == 0
        counts[name] = int((runs["rate"].values[kept] < OVER_REGULARISED).sum()), int(kept.sum())
        loss = np.median(runs["loss_per_node"].values[kept]) if kept.any() else np.nan
        count, total = counts[name]
        texts.append(f"{count} of {total}")
        losses.append(f"{loss:.2f}")
    part = exceeds_part(*counts["constant"], *counts["network"], CLEAR_SHARE)
    table = [[count, runs - count] for count, runs in counts.values()]
    found = (
        f"{texts[1]} runs with a network for the variance are over-regularised at the end of a "
        f"tenth of the steps, and {texts[0]} with a constant variance at the end of all "
        f"({p_text(fisher(table, 'greater'))} one-sided, {p_text(fisher(table))} two-sided). The "
        f"median losses there are {losses[1]} "
        f"and {losses[0]} nats per node.{power_text(part)}"
    )
    return Finding(found, combine(part))


@rule_of(
    "E7",
    "section 4",
    "If the weight of the rate in the first phase of the training is too small, the rate can grow "
    "so large that the training does not converge.",
    "typically around 1e-7",
    "chapter-paths",
    "first_phase",
    network="PodVAE",
)
def _e7_first_weight(results: Results) -> Finding:
    """PodVAE, published recipe in fewer steps, whole first phase: at some first weight below 1e-7
    most runs fail, and at 1e-7 most do not; partly, if at some smaller one more fail (Fisher's
    exact test, one-sided, Holm's correction, 5 %). Failing: it diverged, leaves more than 5 % of
    the variance of test fields, or ends with a loss more than 2 % above the median at 1e-7."""
    runs = select_trials(results["first_phase"], factors="standard-normal", phase=1.0)
    names = ["first_weight", "loss_per_node", "diverged", "largest_rate"]
    frame = runs[names].to_dataframe().assign(left=variance_left_of(runs))
    usual = frame.loc[frame["first_weight"] == TEXT_WEIGHT, "loss_per_node"].median()
    worse = ~(frame["loss_per_node"] <= usual + EQUAL_LOSS * abs(usual))
    frame["fails"] = (frame["diverged"] > 0) | ~(frame["left"] <= ACCURATE) | worse
    table = frame.groupby("first_weight").agg(
        count=("fails", "sum"), size=("fails", "size"), rate=("largest_rate", "median")
    )
    if TEXT_WEIGHT not in table.index:
        raise ResultError("no run with a first weight of 1e-7 is stored")
    base = table.loc[TEXT_WEIGHT]
    smaller = table[table.index < TEXT_WEIGHT]
    counts = {w: (int(row["count"]), int(row["size"])) for w, row in smaller.iterrows()}
    if not counts:
        raise ResultError("no run with a first weight below 1e-7 is stored")
    texts = [
        f"{row['count']:.0f} of {row['size']:.0f} at {sized(w)} ({row['rate']:.3g} nats)"
        for w, row in table.iterrows()
    ]
    most = (smaller["count"] > smaller["size"] / 2).any() and base["count"] < base["size"] / 2
    more = more_often(counts, (int(base["count"]), int(base["size"])))
    worst = max(counts.values(), key=lambda own: own[0] / own[1])
    found = (
        f"{base['count']:.0f} of {base['size']:.0f} runs fail to converge with the first "
        f"weight of {sized(TEXT_WEIGHT)} per node that the paper names, and at most {worst[0]} of "
        f"{worst[1]} with a smaller one. Failed runs by first weight, with the largest rate on the "
        f"way (median): {listed(texts)}."
    )
    return Finding(found, either(most, more))


@rule_of(
    "E8",
    "section 5.3",
    "If the factors have four separate modes, the training needs a longer first phase for "
    "reconstruction than with standard normal factors.",
    "longer",
    "chapter-paths",
    "first_phase",
    "dense_phases",
)
def _e8_longer_phase(results: Results) -> Finding:
    """Published recipe in fewer steps, standard prior. DenseVAE on 33 x 33 nodes decides where both
    sets of factors have ten runs with a quarter of the phase, else PodVAE. DenseVAE: with the four
    modes more of these runs end over-regularised (Fisher's exact test, two-sided, 5 %); not
    reproduced, if fewer do, or if they are not told apart and a difference of half the runs lies
    outside Newcombe's interval of 95 %; else undecided, as where all runs of a set but one in ten,
    or next to none, end so, and a phase of another length might tell. Runs that diverged are left
    out. PodVAE: the shortest of the phases (0, 1/4, 1/2 and 1 of the published length) from which
    on nine in ten runs succeed is longer for the four modes; undecided, if both sets need no phase
    at all, or none of these is enough for either. Succeeding: not over-regularised, and at most 5 %
    of the variance of test fields left. The part on DenseVAE was mended when one of its runs with
    standard normal factors was stored and not looked at."""
    kinds = {}
    if "dense_phases" in results:
        quarter = select_trials(results["dense_phases"], arm="phase", phase=0.25, prior="standard")
        dense = {name: select_trials(quarter, factors=name) for name in FACTORS_OF_E8}
        if all(own.sizes["trial"] >= LEAST_RUNS for own in dense.values()):
            kinds["DenseVAE"] = _short_phase(dense)
    if "first_phase" in results:
        kinds["PodVAE"] = _least_phases(results["first_phase"])
    return by_kind(kinds)


def _short_phase(runs: dict[str, xr.Dataset]) -> Finding:
    """How many DenseVAEs end over-regularised after a quarter of the phase, by set of factors."""
    counts, texts = [], []
    for factors in reversed(FACTORS_OF_E8):
        rate = runs[factors]["rate"].values[runs[factors]["diverged"].values == 0]
        if not rate.size:
            return Finding(f"All runs with {FACTORS[factors]} diverged.", "undecided")
        ends = int((rate < OVER_REGULARISED).sum())
        counts += [ends, len(rate)]
        texts.append(counted(ends, len(rate), f"runs with {FACTORS[factors]}"))
    four_less_standard = compare_proportions(*counts)
    found = (
        f"After a quarter of the published phase {listed(texts)} end over-regularised "
        f"({p_text(four_less_standard.p_value)}). The difference of the two shares is "
        f"{four_less_standard.difference:+.2f}, with a 95 % interval of "
        f"{four_less_standard.low:+.2f} to {four_less_standard.high:+.2f}."
    )
    if four_less_standard.p_value < SIGNIFICANT:
        return Finding(found, grade(four_less_standard.difference > 0))
    shares = [counts[0] / counts[1], counts[2] / counts[3]]
    if not all(1 - ALWAYS <= share <= ALWAYS for share in shares):
        return Finding(f"{found} A phase of another length might tell.", "undecided")
    same = four_less_standard.high < CLEAR_SHARE
    told = f"A difference of half the runs is {'excluded' if same else 'not excluded'}."
    return Finding(f"{found} {told}", "not reproduced" if same else "undecided")


def _least_phases(runs: xr.Dataset) -> Finding:
    """The shortest phases that are enough for PodVAE, by set of factors."""
    runs = runs.isel(trial=np.flatnonzero(runs["first_weight"].values == CODE_FIRST_WEIGHT))
    needed, texts = {}, []
    for factors in FACTORS_OF_E8:
        own = select_trials(runs, factors=factors)
        good = (own["rate"].values >= OVER_REGULARISED) & (variance_left_of(own) <= ACCURATE)
        share = pd.Series(good, own["phase"].values).groupby(level=0).mean().sort_index()
        if share.empty:
            raise ResultError(f"no run of {factors} is stored")
        enough = (share >= ALWAYS)[::-1].cummin()[::-1]
        needed[factors] = float(enough.index[enough].min()) if enough.any() else np.inf
        shares = listed([f"{100 * value:.0f} % at {phase:g}" for phase, value in share.items()])
        texts.append(
            f"Successful runs with {FACTORS[factors]}, by share of the published phase: {shares}."
        )
    four, standard = (_least(needed[factors]) for factors in ("four-modes", "standard-normal"))
    others = "as with standard normal factors"
    if four != standard:
        others = f"and with standard normal factors {standard}"
    found = f"With four modes at least nine in ten runs succeed {four}, {others}."
    alike = needed["four-modes"] == needed["standard-normal"] in (0.0, np.inf)
    if alike:
        found += " So these runs cannot tell which of the two needs the longer one."
    found = f"{found} {' '.join(texts)}"
    if alike:
        return Finding(found, "undecided")
    return Finding(found, grade(needed["four-modes"] > needed["standard-normal"]))


def _least(phase: float) -> str:
    """The least share of the published phase that is enough, in words."""
    if np.isfinite(phase):
        return f"from {phase:g} of the published phase on" if phase else "without such a phase"
    return "after none of the phases that were tried"

"""Rows P1 to P4: the studies of the supplement."""

from __future__ import annotations

import numpy as np

from dvae.analysis import compare_ranges, kendall_trend, share_text
from dvae.analysis.p_values import fisher
from dvae.claims.frame import Finding, Results, grade, rule_of, select_trials
from dvae.claims.rules_landscape import late_rates
from dvae.conventions import OVER_REGULARISED, SIGNIFICANT
from dvae.errors import ResultError
from dvae.results.networks import PLAIN, REFERENCE

__all__: list[str] = []


@rule_of(
    "P1",
    "supplement, 5.1",
    "with more training samples the reconstruction loss falls and the regularisation "
    "loss rises slightly; too few over-regularise",
    "falls; rises; some",
    "chapter-supplement",
    "training_size",
)
def _p1_training_size(results: Results) -> Finding:
    """Published recipe, Kendall's tau at 5 %: the test distortion falls and the test rate rises
    with the number of samples; and a run on the fewest samples is over-regularised."""
    runs = select_trials(results["training_size"], recipe="published")
    if runs.sizes["trial"] == 0:
        raise ResultError("no run of the published recipe is stored")
    size = runs["size"].values
    distortion, rate = (kendall_trend(size, runs[name].values) for name in ("distortion", "rate"))
    least = runs.isel(trial=np.flatnonzero(size == size.min()))
    over, n = int((least["rate"] < OVER_REGULARISED).sum()), least.sizes["trial"]
    found = (
        f"tau of the distortion {distortion.tau:+.2f}, of the rate {rate.tau:+.2f}; "
        f"{over} of {n} over-regularised with {size.min()} samples"
    )
    falls = distortion.tau < 0 and distortion.p_value < SIGNIFICANT
    return Finding(found, grade(falls, rate.tau > 0 and rate.p_value < SIGNIFICANT, over > 0))


@rule_of(
    "P2",
    "supplement, 4.1",
    "dense blocks were arrived at after other architectures (whether they are better than plain "
    "ones is our question)",
    "dense blocks chosen",
    "chapter-supplement",
    "architecture",
)
def _p2_architecture(results: Results) -> Finding:
    """Reconstruction alone, few steps: the dense reference is better than every plain network,
    convolutional or fully connected, at equal steps and at four times the steps; partly, if in some
    of these comparisons. Better: its worst run has a lower test error than the other's best."""
    result = results["architecture"]
    errors = {
        (name, budget): runs["relative_error"].values
        for name in (REFERENCE, *PLAIN)
        for budget in ("equal steps", "longer")
        if (runs := select_trials(result, architecture=name, budget=budget)).sizes["trial"]
    }
    own = errors[REFERENCE, "equal steps"]
    others = {key: values for key, values in errors.items() if key[0] in PLAIN}
    outcomes = {key: compare_ranges(own, values) for key, values in others.items()}
    found = "; ".join(
        f"{name}, {budget}: {100 * np.median(others[name, budget]):.2g} % ({outcome})"
        for (name, budget), outcome in outcomes.items()
    )
    mean = 100 * float(result["mean_field_error"][0])
    found = (
        f"median test error of the reference {100 * np.median(own):.2g} % (of the mean field "
        f"{mean:.2g} %), of {found}"
    )
    return Finding(found, grade(*(outcome == "better" for outcome in outcomes.values())))


@rule_of(
    "P3",
    "supplement, 4.2",
    "the path of the published training avoids the over-regularised minima",
    "avoids",
    "chapter-landscape",
    "paths",
)
def _p3_path(results: Results) -> Finding:
    """Fewer runs pass through the over-regularised state, and fewer end there, with the published
    training than with a constant weight (Fisher's exact test, one-sided, 5 %)."""
    counts = {}
    for arm in ("phase 1", "constant beta"):
        runs = select_trials(results["paths"], arm=arm)
        passes = int((late_rates(runs) < OVER_REGULARISED).any(1).sum())
        counts[arm] = (passes, int((runs["rate"] < OVER_REGULARISED).sum()), runs.sizes["trial"])
    (p1, e1, n1), (p0, e0, n0) = counts.values()
    found = (
        f"pass through it: {share_text(p1, n1)} against {share_text(p0, n0)}; "
        f"end there: {e1} against {e0}"
    )
    fewer = [
        fisher([[a, n1 - a], [b, n0 - b]], "less") < SIGNIFICANT for a, b in ((p1, p0), (e1, e0))
    ]
    return Finding(found, grade(*fewer))


@rule_of(
    "P4",
    "supplement, 7",
    "correlated factors: no complete disentanglement without labels; the shape must match",
    "stated",
    "chapter-supplement",
    "correlated_factors",
)
def _p4_correlated(results: Results) -> Finding:
    """At every correlation above 0: every run without labels, with either prior, is rotated more
    and has a worse S_KL than all runs with labels for 3 % of the samples; partly, if only one of
    the two holds."""
    result = select_trials(results["correlated_factors"], recipe="annealed")
    rotated, shaped, text = [], [], []
    for level in sorted(set(result["correlation"].values.tolist()) - {0.0}):
        at = select_trials(result, correlation=level)
        labelled = at["n_labels"].values > 0
        angle, shape = np.abs(at["angle"].values), at["shape_score"].values
        rotated.append(angle[~labelled].min() > angle[labelled].max())
        shaped.append(shape[~labelled].min() > shape[labelled].max())
        text.append(
            f"c = {level:g}: {np.median(angle[~labelled]):.0f} degrees and S_KL "
            f"{np.median(shape[~labelled]):.2f} without labels, {np.median(angle[labelled]):.0f} "
            f"and {np.median(shape[labelled]):.2f} with 3 %"
        )
    return Finding("; ".join(text), grade(all(rotated), all(shaped)))

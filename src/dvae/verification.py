"""Computing stored trials again, and what may be said of the difference.

Another machine takes sums in another order. What comes out is then one of four things:

- **identical**: every number is the same;
- **equal within rounding**: no number differs by more than :data:`ROUNDING` of the largest one of
  its variable. Data sets, latents and most of what is stored have single precision, so that a sum
  in another order can change their last digit, by 2^-23 of a number; what is computed from them
  changes by that times a condition number, of which 8 is allowed: 2^-20. Where the largest number
  is below 2^-20 it is taken for that: what would be zero but for rounding, such as a mean over the
  65 x 65 nodes of a grid in double precision, is of the order 65^2 2^-53 = 2^-41;
- **equal as statistics**: training amplifies the last digit until runs are others, as if drawn with
  other seeds. Then the differences must not be larger than those between stored trials with the
  same settings and other seeds, neither one by one (F test) nor in the mean (t test; all tests on
  a group of trials together at the level :data:`LEVEL`, by Holm's correction), no more and no
  fewer numbers may be missing (NaN: a run that collapsed has no angle, a line may have one
  minimum or two) than a permutation test allows (numbers are compared in trials that have equally
  many), and every claim that reads the result must keep its verdict;
- **different**: anything else.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy.special import fdtrc, stdtr

from dvae.analysis import holm
from dvae.claims import CLAIMS, Results, decide
from dvae.errors import DataError, ResultError
from dvae.experiments import find_experiment
from dvae.progress import progress_bar
from dvae.results.store import Store, read_result
from dvae.results.trials import Experiment, check_profile, group_hashes
from dvae.runner import compute_trials

__all__ = ["LEVEL", "OUTCOMES", "ROUNDING", "verify_experiment"]

OUTCOMES = ("identical", "equal within rounding", "equal as statistics", "different")
ROUNDING = 8 * float(np.finfo(np.float32).eps)
LEVEL = 0.01  # of all tests on the trials of a group together
# settings that say which draw a trial is, not what it is drawn from
DRAWS = ("seed", "data_seed", "run", "source", "first", "second", "direction", "line")
PERMUTATIONS = 99_999
FEWEST = 3  # stored trials of a condition that say how far its draws differ


def verify_experiment(
    name: str,
    profile: str,
    *,
    fraction: float = 0.1,
    seed: int = 0,
    device: str = "cpu",
    store: Store | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Recompute a random sample of stored groups and compare.

    Parameters
    ----------
    name, profile : str
        What to verify.
    fraction : float
        Share of the stored groups, at least one.
    seed : int
        Seed of the sample.
    device : str
        Device to recompute on.
    store : Store, optional
        Store to verify.
    progress : bool
        Show progress.

    Returns
    -------
    list of dict
        Per group: ``trials``, their number; ``outcome``, one of ``OUTCOMES``; ``largest``, the
        largest difference of a variable relative to its largest value (to ``ROUNDING`` where that
        is smaller), or None where the two cannot be subtracted; ``variable``, which one that is,
        or None if nothing differs; and ``reason``, what the outcome rests on, in words.

    Raises
    ------
    DataError
        If ``fraction`` is not above 0 and at most 1.
    ResultError
        If nothing is stored.
    """
    experiment, store = find_experiment(name), store or Store.default()
    if not 0 < fraction <= 1:
        raise DataError(f"fraction must be above 0 and at most 1, got {fraction}")
    stored = read_result(store.path(name, check_profile(profile)))
    have = {h: i for i, h in enumerate(stored["hash"].values.tolist())}
    groups = [
        g for g in experiment.groups(profile) if set(group_hashes(experiment, g)) <= set(have)
    ]
    if not groups:
        raise ResultError(f"no complete group of {name!r} at profile {profile!r} is stored")
    count = max(1, round(fraction * len(groups)))
    chosen = np.random.default_rng(seed).choice(len(groups), size=count, replace=False)
    report = []
    for index in progress_bar(sorted(chosen), desc=f"verify {name}", disable=not progress):
        group = groups[index]
        rows = [have[h] for h in group_hashes(experiment, group)]
        new = compute_trials(experiment, group, store, device)
        report.append({"trials": len(rows)} | _compare(experiment, store, stored, rows, new))
    return report


def _compare(
    experiment: Experiment, store: Store, stored: xr.Dataset, rows: list[int], new: xr.Dataset
) -> dict[str, Any]:
    """Outcome, largest difference, its variable and the reason, of trials in some stored rows."""
    differences = _differences(stored.isel(trial=rows), new)
    largest, variable = _largest(differences)
    if largest == 0:
        outcome, reason = "identical", "every number is the same"
    elif largest <= ROUNDING:
        outcome, reason = "equal within rounding", f"{ROUNDING:.1e} is allowed"
    elif math.isinf(largest):
        outcome = "different"
        reason = f"{variable} has other words, another shape or is infinite elsewhere"
    elif not experiment.trained:
        outcome = "different"
        reason = f"{ROUNDING:.1e} is allowed where nothing is trained that amplifies rounding"
        if math.isnan(largest):
            reason = f"other numbers of {variable} are missing, and nothing is trained"
    else:
        differing = [name for name, found in differences.items() if not found <= ROUNDING]
        outcome, reason = _compare_statistics(experiment, store, stored, rows, new, differing)
    return {
        "outcome": outcome,
        "largest": largest if math.isfinite(largest) else None,
        "variable": variable if largest else None,
        "reason": reason,
    }


def _largest(differences: dict[str, float]) -> tuple[float, str | None]:
    """The worst difference and its variable: infinite, then NaN, then by size."""
    order = {n: (d == math.inf, math.isnan(d), d) for n, d in differences.items()}
    if not order:
        return 0.0, None
    variable = max(order, key=order.__getitem__)
    return differences[variable], variable


def _differences(old: xr.Dataset, new: xr.Dataset) -> dict[str, float]:
    """Largest relative difference of every variable.

    NaN where other numbers are missing, infinite where there is no difference to take.
    """
    # a merged file pads the shorter of two curves; wall times always differ
    names = [str(name) for name in new.data_vars if not str(name).endswith("seconds")]
    try:
        old = xr.align(old, new, join="right", exclude="trial")[0]
    except ValueError:  # a dimension without labels has another length
        same = [name for name in names if name in old and old[name].shape == new[name].shape]
        return dict.fromkeys(names, math.inf) | {n: _difference(old[n], new[n]) for n in same}
    return {n: _difference(old[n], new[n]) if n in old.data_vars else math.inf for n in names}


def _difference(stored: xr.DataArray, computed: xr.DataArray) -> float:
    old, new = stored.values, computed.values
    if old.dtype.kind in "OUS":
        return 0.0 if np.array_equal(old.astype(str), new.astype(str)) else math.inf
    old, new = old.astype(float), new.astype(float)
    if np.array_equal(old, new, equal_nan=True):
        return 0.0
    infinite, other = (np.where(np.isinf(values), values, 0.0) for values in (old, new))
    if not np.array_equal(infinite, other):  # another shape too
        return math.inf
    if not np.array_equal(np.isnan(old), np.isnan(new)):
        return math.nan
    finite = np.isfinite(old)
    scale = max(float(np.abs(old[finite]).max()), ROUNDING)
    return float(np.abs(old - new)[finite].max()) / scale


# ----------------------------------------------------------------------------------- statistics


def _compare_statistics(
    experiment: Experiment,
    store: Store,
    stored: xr.Dataset,
    rows: list[int],
    new: xr.Dataset,
    names: Sequence[str],
) -> tuple[str, str]:
    """Outcome and reason for trials that differ by more than rounding in some variables."""
    condition = _conditions(stored)
    p_values: dict[str, float] = {}
    for name in names:
        numbers, computed = _summaries(stored[name]), _summaries(new[name])
        counts, own = _counts(stored[name]), _counts(new[name])
        for kind, value in numbers.items():
            # a mean of two numbers is not compared with one of three
            differences = np.where(own == counts[rows], computed[kind] - value[rows], np.nan)
            found = _exceeds_spread(value, differences, condition, rows)
            p_values |= {f"{test} of {kind}{name}": p for test, p in found.items()}
        counted = _other_counts(counts, own, condition, rows)
        if counted is not None:
            p_values[f"how many numbers {name} has"] = counted
    reasons = []
    if p_values:
        corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
        least = min(corrected, key=corrected.__getitem__)
        if corrected[least] < LEVEL:
            text = f"larger than between seeds: {least}, p = {corrected[least]:.1e}"
            return "different", text
        reasons.append(f"no larger than between seeds (p = {corrected[least]:.2g})")
    kept, changed = _verdicts(experiment, store, stored, rows, new)
    if changed:
        return "different", "verdicts change: " + ", ".join(changed)
    if kept:
        reasons.append(f"verdicts of {', '.join(kept)} are kept")
    if not reasons:
        return "different", "neither other seeds nor claims are stored that it could be judged by"
    return "equal as statistics", "; ".join(reasons)


def _conditions(stored: xr.Dataset) -> Int[np.ndarray, " trial"]:
    """Number of the condition of every stored trial: its settings without those that draw."""
    settings = [json.loads(text) for text in stored["settings"].values.tolist()]
    kept = [{k: v for k, v in s.items() if k not in DRAWS} for s in settings]
    texts = [json.dumps(s, sort_keys=True) for s in kept]
    return np.unique(texts, return_inverse=True)[1]


def _summaries(variable: xr.DataArray) -> dict[str, Float[np.ndarray, " trial"]]:
    """Numbers that stand for a variable, one for each trial, by a word for their kind."""
    values = variable.transpose("trial", ...).values.astype(float)
    if values.ndim == 1:
        return {"": values}
    values = values.reshape(len(values), -1)
    seen = np.isfinite(values)
    count, values = seen.sum(1), np.where(seen, values, 0.0)
    with np.errstate(invalid="ignore"):
        return {"mean ": values.sum(1) / count, "size ": np.sqrt((values**2).sum(1) / count)}


def _counts(variable: xr.DataArray) -> Int[np.ndarray, " trial"]:
    """How many numbers each trial has; those that are missing are not counted, for a file pads."""
    values = variable.transpose("trial", ...).values.astype(float)
    return (~np.isnan(values)).reshape(len(values), -1).sum(1)


def _other_counts(
    counts: Int[np.ndarray, " trial"],
    computed: Int[np.ndarray, " row"],
    condition: Int[np.ndarray, " trial"],
    rows: list[int],
) -> float | None:
    """p-value of how many numbers are there; None where nothing changed or can be judged.

    What is computed again is like further draws, whose counts can be exchanged with those stored
    of the same condition: their sum is compared with that of as many taken from both together
    (it does not see what one trial loses and another gains). A condition with fewer than
    :data:`FEWEST` stored trials cannot be judged.
    """
    if np.array_equal(counts[rows], computed):
        return None
    generator = np.random.default_rng(0)
    found, drawn, judged = 0.0, np.zeros(PERMUTATIONS), False
    for number in np.unique(condition[rows]):
        stored = counts[condition == number]
        new = computed[condition[rows] == number]
        if len(stored) < FEWEST:
            continue
        judged = True
        values, times = np.unique(np.concatenate([stored, new]), return_counts=True)
        expected = len(new) * np.average(values, weights=times)
        samples = generator.multivariate_hypergeometric(times, len(new), PERMUTATIONS)
        found += new.sum() - expected
        drawn += samples @ values - expected
    if not judged:
        return None
    # a sum is equal to another but for rounding
    return (1 + int((np.abs(drawn) >= abs(found) - 1e-9).sum())) / (1 + PERMUTATIONS)


def _exceeds_spread(
    numbers: Float[np.ndarray, " trial"],
    differences: Float[np.ndarray, " row"],
    condition: Int[np.ndarray, " trial"],
    rows: list[int],
) -> dict[str, float]:
    """p-values of differences no larger than those of two draws; none where no spread is known.

    Two draws of a condition differ with twice its variance, which is estimated from the three or
    more stored trials that it has. What no draw changes by more than rounding, such as the length
    of a unit vector, has no such variance, and may not change by more here.
    """
    variance, freedom = np.full(len(rows), np.nan), 0
    for number in np.unique(condition[rows]):
        draws = numbers[condition == number]
        draws = draws[np.isfinite(draws)]
        if len(draws) >= FEWEST:
            variance[condition[rows] == number] = 2 * draws.var(ddof=1)
            freedom += len(draws) - 1
    known = np.isfinite(variance) & np.isfinite(differences)
    variance, differences = variance[known], differences[known]
    if not known.any() or not differences.any():
        return {}
    rounding = ROUNDING * np.abs(numbers[np.isfinite(numbers)]).max()
    fixed = variance <= rounding**2
    if (np.abs(differences[fixed]) > rounding).any():
        return {"difference": 0.0}
    variance, differences = variance[~fixed], differences[~fixed]
    if not differences.any():
        return {}
    sizes = (differences**2 / variance).mean()
    shift = abs(differences.sum()) / np.sqrt(variance.sum())
    return {
        "difference": float(fdtrc(len(differences), freedom, sizes)),
        "shift": float(2 * stdtr(freedom, -shift)),
    }


def _verdicts(
    experiment: Experiment, store: Store, stored: xr.Dataset, rows: list[int], new: xr.Dataset
) -> tuple[list[str], list[str]]:
    """Claims that read a result and keep their verdicts with the new trials, and those that do not.

    Neither if the result is not the one that claims read.
    """
    reading = [name for name, claim in CLAIMS.items() if experiment.name in claim.experiments]
    results = Results(store)
    if experiment.name not in results or not results[experiment.name].identical(stored):
        return [], []
    replaced = stored.copy(deep=True)
    for name in new.data_vars:
        part = new[name].transpose("trial", ...)
        values = replaced[name].transpose(*part.dims).values
        padded = values[rows]
        padded[(slice(None), *(slice(n) for n in part.shape[1:]))] = part.values
        values[rows] = padded
        replaced[name] = (part.dims, values)
    other = Results(store, {experiment.name: replaced})
    kept, changed = [], []
    for name in reading:
        before, after = decide(name, results).verdict, decide(name, other).verdict
        if before == after:
            kept.append(name)
        else:
            changed.append(f"{name} from {before!r} to {after!r}")
    return kept, changed

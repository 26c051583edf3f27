"""Runs of ``disentanglement`` as a table, and what is counted under each condition (section 5).

A condition is a factor set, a prior and a recipe. Scores are computed here from the stored latent
means of the test data, and judged by the thresholds of ``dvae.conventions``.
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import xarray as xr

from dvae.analysis.degenerate import score_runs
from dvae.analysis.rotation import angle_test, rotation_angle
from dvae.analysis.scores import ceiling, disentanglement_score
from dvae.analysis.statistics import compare_proportions, holm, wilson_interval
from dvae.conventions import DIAGONAL, DIAGONAL_WIDTH, DISENTANGLED, OVER_REGULARISED
from dvae.errors import ResultError
from dvae.results.store import Store

__all__ = [
    "FACTORS",
    "PRIORS",
    "RECIPES",
    "angle_table",
    "compare_priors",
    "condition_table",
    "held_out_factors",
    "load_runs",
    "share_with_interval",
]

FACTORS = ("standard-normal", "shifted-normal", "four-modes")
PRIORS = ("standard", "hierarchical", "hierarchical-rectified")
RECIPES = ("calibrated", "annealed", "published")
CONDITION = ["factors", "prior", "recipe"]


def held_out_factors(profile: str, store: Store | None = None) -> dict[str, np.ndarray]:
    """Factors theta (sample, factor) of every set's test data, as ``baselines`` has them.

    Raises
    ------
    ResultError
        If the result of ``baselines`` is not stored.
    """
    # the data of the profiles laptop and paper are the same
    profile = "laptop" if profile == "paper" else profile
    stored = (store or Store.default()).load("baselines", profile)
    first = stored.isel(trial=stored["data_seed"].values == 0)
    return dict(zip(first["factors"].values.tolist(), first["theta"].values, strict=True))


def load_runs(profile: str | None = None, store: Store | None = None) -> pd.DataFrame:
    """One row for every stored run of ``disentanglement``.

    Parameters
    ----------
    profile : str, optional
        Profile; by default the best that is stored.
    store : Store, optional
        Where to look; by default the book's store.

    Returns
    -------
    pandas.DataFrame
        ``factors``, ``prior``, ``recipe``, ``seed``; ``rate`` (nats per sample), ``loss_per_node``
        (paper units), ``relative_error``; ``s_d`` (eq. 6), ``ceiling``, ``angle`` (degrees, modulo
        90, see ``dvae.analysis.rotation_angle``), all of the test data; the booleans
        ``over_regularised`` and ``disentangled``; ``seconds``, the run's share of the wall time of
        its ensemble. A run that diverged has NaN scores and is neither. The attributes of the
        result are in ``.attrs``.

    Raises
    ------
    ResultError
        If nothing is stored.
    """
    result = (store or Store.default()).load("disentanglement", profile)
    theta = held_out_factors(result.attrs["profile"], store)
    missing = set(result["factors"].values.tolist()) - set(theta)
    if missing:
        raise ResultError(f"no factors of {sorted(missing)} are stored; run 'dvae run baselines'")
    names = ["rate", "loss_per_node", "relative_error", "seconds"]
    frame = result[names].reset_coords()[[*CONDITION, "seed", *names]].to_dataframe()
    frame = frame.reset_index(drop=True)
    frame[["s_d", "angle"]] = _scores(result, theta)
    frame["ceiling"] = frame["factors"].map({name: ceiling(t) for name, t in theta.items()})
    frame["over_regularised"] = frame["rate"] < OVER_REGULARISED
    frame["disentangled"] = frame["s_d"] > DISENTANGLED * frame["ceiling"]
    frame.attrs = dict(result.attrs)
    return frame


def _scores(result: xr.Dataset, theta: dict[str, np.ndarray]) -> np.ndarray:
    """S_D and rotation angle of every run."""
    scores = np.full((result.sizes["trial"], 2), np.nan)
    for factors, values in theta.items():
        own = result["factors"].values == factors
        latents = result["latent_mean"].values[own]
        for column, score in enumerate((disentanglement_score, rotation_angle)):
            scores[own, column] = score_runs(score, latents, values)
    return scores


def share_with_interval(flags: pd.Series) -> dict[str, float]:
    """Number of runs, of those flagged, their share and its Wilson interval (95 %)."""
    n, k = len(flags), int(flags.sum())
    interval = wilson_interval(k, n) if n else (np.nan, np.nan)
    return {
        "runs": n,
        "count": k,
        "share": k / n if n else np.nan,
        "low": interval[0],
        "high": interval[1],
    }


def condition_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for every declared condition, whether it has runs or not.

    Parameters
    ----------
    runs : pandas.DataFrame
        From :func:`load_runs`.

    Returns
    -------
    pandas.DataFrame
        Indexed by factors, prior and recipe: ``runs``; ``over_regularised`` and ``disentangled``
        (counts) with ``_low`` and ``_high`` of the Wilson interval of the share; ``failed``, the
        runs that are neither, and ``near_diagonal``, those of them rotated by about 45 degrees;
        ``s_d_mean``, ``s_d_min``, ``s_d_max`` and ``ceiling``; ``loss_per_node`` (median);
        ``seconds``, the wall time of all its runs.
    """
    rows = {}
    for factors in FACTORS:
        for recipe in RECIPES:
            for prior in PRIORS:
                values = zip(CONDITION, (factors, prior, recipe), strict=True)
                own = runs.loc[np.logical_and.reduce([runs[k] == v for k, v in values])]
                rows[factors, recipe, prior] = _summary(own)
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.rename_axis(["factors", "recipe", "prior"])


def _summary(own: pd.DataFrame) -> dict[str, float]:
    row: dict[str, float] = {"runs": len(own)}
    for name in ("over_regularised", "disentangled"):
        counted = share_with_interval(own[name])
        row[name] = counted["count"]
        row[f"{name}_low"], row[f"{name}_high"] = counted["low"], counted["high"]
    failed = own[~own["over_regularised"] & ~own["disentangled"]]
    turned = (failed["angle"].abs() - DIAGONAL).abs() <= DIAGONAL_WIDTH
    return row | {
        "failed": len(failed),
        "near_diagonal": int(turned.sum()),
        "s_d_mean": own["s_d"].mean(),
        "s_d_min": own["s_d"].min(),
        "s_d_max": own["s_d"].max(),
        "ceiling": own["ceiling"].mean(),
        "loss_per_node": own["loss_per_node"].median(),
        "seconds": own["seconds"].sum(),
    }


def compare_priors(table: pd.DataFrame, name: str = "disentangled") -> pd.DataFrame:
    """Compare the priors pairwise, each pair with the same factors and the same recipe.

    Parameters
    ----------
    table : pandas.DataFrame
        From :func:`condition_table`.
    name : {"disentangled", "over_regularised"}
        What is counted.

    Returns
    -------
    pandas.DataFrame
        Indexed by factors, recipe, prior and ``against``, the prior that it is compared with, a
        row for every pair: ``difference`` of the shares, ``low`` and ``high`` of its 95 %
        interval, ``p_value`` of Fisher's exact test (two-sided), and ``p_holm``, corrected for
        all pairs of the table that have been run. NaN where one of the two has not.
    """
    rows = {}
    for factors, recipe in table.index.droplevel("prior").unique():
        for prior, against in itertools.combinations(PRIORS[::-1], 2):
            pair = [table.loc[(factors, recipe, p)] for p in (prior, against)]
            row = dict.fromkeys(("difference", "low", "high", "p_value"), np.nan)
            if min(condition["runs"] for condition in pair) > 0:
                numbers = [int(condition[key]) for condition in pair for key in (name, "runs")]
                row = compare_proportions(*numbers)._asdict()
            rows[factors, recipe, prior, against] = row
    out = pd.DataFrame.from_dict(rows, orient="index")
    out = out.rename_axis(["factors", "recipe", "prior", "against"])
    done = out["p_value"].notna()
    out.loc[done, "p_holm"] = holm(out.loc[done, "p_value"])
    return out


def angle_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Are the rotations of a condition's runs uniformly random, and where do they crowd (row M3)?

    Parameters
    ----------
    runs : pandas.DataFrame
        From :func:`load_runs`; runs that are over-regularised or have no angle are left out.

    Returns
    -------
    pandas.DataFrame
        A row for every condition with 2 such runs or more, indexed by factors, recipe and prior:
        ``runs``; ``near_diagonal``, how many of them are within DIAGONAL_WIDTH of 45 degrees;
        ``center``, ``concentration`` and ``p_value`` of :func:`dvae.analysis.rotation.angle_test`
        and ``p_holm``, corrected for the rows of the table.
    """
    kept = runs[~runs["over_regularised"] & runs["angle"].notna()]
    rows = {}
    for key, own in kept.groupby(["factors", "recipe", "prior"]):
        if len(own) > 1:
            turned = (own["angle"].abs() - DIAGONAL).abs() <= DIAGONAL_WIDTH
            counts = {"runs": len(own), "near_diagonal": int(turned.sum())}
            rows[key] = counts | angle_test(own["angle"].to_numpy())._asdict()
    levels = list(zip(*rows, strict=True)) or [(), (), ()]
    out = pd.DataFrame(
        list(rows.values()),
        index=pd.MultiIndex.from_arrays(levels, names=["factors", "recipe", "prior"]),
        columns=["runs", "near_diagonal", "center", "concentration", "p_value"],
    )
    out["p_holm"] = holm(out["p_value"])
    return out

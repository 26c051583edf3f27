"""Runs of ``disentanglement`` as a table, and what is counted under each condition (section 5).

A condition is a factor set, a prior and a recipe. Scores are computed here from the stored latent
means of the test data, and judged by the thresholds of ``dvae.conventions``.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float

from dvae.analysis import (
    angle_test,
    are_disentangled,
    ceiling,
    compare_proportions,
    disentanglement_scores,
    holm,
    kendall_trend,
    rotation_angles,
    wilson_interval,
)
from dvae.conventions import DIAGONAL, DIAGONAL_WIDTH, OVER_REGULARISED
from dvae.errors import ResultError
from dvae.results.store import Store

__all__ = [
    "AS_CODED",
    "FACTORS",
    "PRIORS",
    "RECIPES",
    "SHORT_NAMES",
    "angle_table",
    "angles_kept",
    "compare_angles",
    "compare_priors",
    "condition_table",
    "crowding",
    "factors_by_set",
    "held_out_factors",
    "load_runs",
    "run_table",
    "shape_runs",
    "shape_trends",
    "share_with_interval",
    "summarise_runs",
]

FACTORS = ("standard-normal", "shifted-normal", "four-modes")
AS_CODED = "hierarchical-rectified"  # what the authors' code builds, hence what they trained
PRIORS = ("standard", "hierarchical", AS_CODED)
RECIPES = ("calibrated", "annealed", "published")
SHORT_NAMES = {"hierarchical": "HP", AS_CODED: "HP as coded"}
CONDITION = ["factors", "prior", "recipe"]
Factors = dict[str, Float[np.ndarray, "sample factor"]]  # by the name of their set


def held_out_factors(profile: str, store: Store | None = None) -> Factors:
    """Factors theta of every set's test data, as ``baselines`` has them.

    Raises
    ------
    ResultError
        If the result of ``baselines`` is not stored.
    """
    # the data of the profiles laptop and paper are the same
    profile = "laptop" if profile == "paper" else profile
    return factors_by_set((store or Store.default()).load("baselines", profile))


def factors_by_set(baselines: xr.Dataset) -> Factors:
    """Factors theta of every set's test data, from the result of ``baselines``."""
    first = baselines.isel(trial=baselines["data_seed"].values == 0)
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
        As :func:`run_table`.

    Raises
    ------
    ResultError
        If nothing is stored.
    """
    result = (store or Store.default()).load("disentanglement", profile)
    return run_table(result, held_out_factors(result.attrs["profile"], store))


def run_table(result: xr.Dataset, theta: Factors) -> pd.DataFrame:
    """One row for every run of a result of ``disentanglement``.

    Parameters
    ----------
    result : xarray.Dataset
        The result.
    theta : dict of str to array (sample, factor)
        Factors of the test data by set, from :func:`factors_by_set`.

    Returns
    -------
    pandas.DataFrame
        ``factors``, ``prior``, ``recipe``, ``seed``; ``rate`` (nats per sample), ``loss_per_node``
        (paper units), ``relative_error``; ``s_d`` (eq. 6), ``ceiling``, ``angle`` (degrees, modulo
        90, see ``dvae.analysis.rotation_angle``), all of the test data; the booleans
        ``over_regularised``, ``disentangled`` and ``diverged``; ``seconds``, the run's share of
        the wall time of its ensemble. A run that diverged has NaN scores and is neither of the
        other two. The attributes of the result are in ``.attrs``.

    Raises
    ------
    ResultError
        If the factors of a set are missing.
    """
    missing = set(result["factors"].values.tolist()) - set(theta)
    if missing:
        raise ResultError(f"no factors of {sorted(missing)} are stored; run 'dvae run baselines'")
    names = ["rate", "loss_per_node", "relative_error", "seconds"]
    frame = result[names].reset_coords()[[*CONDITION, "seed", *names]].to_dataframe()
    frame = frame.reset_index(drop=True)
    frame["s_d"], frame["angle"], frame["disentangled"] = _scores(result, theta)
    frame["diverged"] = result["diverged"].values.astype(bool)
    frame.loc[frame["diverged"], ["s_d", "angle"]] = np.nan
    frame["disentangled"] &= ~frame["diverged"]
    frame["ceiling"] = frame["factors"].map({name: ceiling(t) for name, t in theta.items()})
    frame["over_regularised"] = (frame["rate"] < OVER_REGULARISED) & ~frame["diverged"]
    frame.attrs = dict(result.attrs)
    return frame


def _scores(
    result: xr.Dataset, theta: Factors
) -> tuple[Float[np.ndarray, " run"], Float[np.ndarray, " run"], Bool[np.ndarray, " run"]]:
    """S_D, rotation angle, and whether it is disentangled, of every run."""
    m = result.sizes["trial"]
    score, angle, good = np.full(m, np.nan), np.full(m, np.nan), np.zeros(m, bool)
    for factors, values in theta.items():
        own = result["factors"].values == factors
        latents = result["latent_mean"].values[own]
        score[own] = disentanglement_scores(latents, values)
        angle[own] = rotation_angles(latents, values)
        good[own] = are_disentangled(latents, values)
    return score, angle, good


def share_with_interval(flags: pd.Series) -> dict[str, int | float]:
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


def condition_table(runs: pd.DataFrame, recipes: Sequence[str] = RECIPES) -> pd.DataFrame:
    """A row for every declared condition, whether it has runs or not.

    Parameters
    ----------
    runs : pandas.DataFrame
        From :func:`load_runs` or :func:`dvae.results.dense.load_dense_runs`.
    recipes : sequence of str
        The recipes that are declared for them.

    Returns
    -------
    pandas.DataFrame
        Indexed by factors, prior and recipe: ``runs``; ``over_regularised`` and ``disentangled``
        (counts) with ``_low`` and ``_high`` of the Wilson interval of the share; ``diverged``
        (count); ``failed``, the others, and ``near_diagonal``, those of them rotated by about 45
        degrees;
        ``s_d_mean``, ``s_d_min``, ``s_d_max`` and ``ceiling``; ``loss_per_node`` (median);
        ``seconds``, the wall time of all its runs.
    """
    names = ["factors", "recipe", "prior"]
    runs = pd.DataFrame(runs)
    runs.attrs = {}  # pandas copies them whenever it selects
    stored = dict(iter(runs.groupby(names)))
    rows = {
        condition: summarise_runs(stored.get(condition, runs.iloc[:0]))
        for condition in itertools.product(FACTORS, recipes, PRIORS)
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(names)


def summarise_runs(own: pd.DataFrame) -> dict[str, int | float]:
    """A row of :func:`condition_table` for the runs of one condition."""
    row: dict[str, int | float] = {"runs": len(own)}
    for name in ("over_regularised", "disentangled"):
        counted = share_with_interval(own[name])
        row[name] = counted["count"]
        row[f"{name}_low"], row[f"{name}_high"] = counted["low"], counted["high"]
    failed = own[~own["over_regularised"] & ~own["disentangled"] & ~own["diverged"]]
    turned = (failed["angle"].abs() - DIAGONAL).abs() <= DIAGONAL_WIDTH
    return row | {
        "diverged": int(own["diverged"].sum()),
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
    out.loc[done, "p_holm"] = holm(out.loc[done, "p_value"].to_numpy(float))
    return out


def angles_kept(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs whose angle means something: not over-regularised, and with an angle.

    Parameters
    ----------
    runs : pandas.DataFrame
        From :func:`load_runs`.

    Returns
    -------
    pandas.DataFrame
        Some of the rows, with ``distance`` from the nearest axis, 0 to 45 degrees.
    """
    kept = runs.query("not over_regularised and angle.notna()", engine="python")
    return kept.assign(distance=kept["angle"].abs())


def angle_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Are the rotations of a condition's runs uniformly random, and where do they crowd (row M3)?

    Parameters
    ----------
    runs : pandas.DataFrame
        From :func:`load_runs`; those of :func:`angles_kept` count.

    Returns
    -------
    pandas.DataFrame
        A row for every condition with 2 such runs or more, indexed by factors, recipe and prior:
        ``runs``; ``near_diagonal``, how many of them are within DIAGONAL_WIDTH of 45 degrees;
        ``center``, ``concentration`` and ``p_value`` of :func:`dvae.analysis.rotation.angle_test`
        and ``p_holm``, corrected for the rows of the table.
    """
    rows = {}
    for key, own in angles_kept(runs).groupby(["factors", "recipe", "prior"]):
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
    out["p_holm"] = holm(out["p_value"].to_numpy(float))
    return out


def compare_angles(runs: pd.DataFrame) -> pd.Series:
    """Do angles under the hierarchical priors differ from those under the standard one (row M3)?

    Parameters
    ----------
    runs : pandas.DataFrame
        From :func:`load_runs`; those of :func:`angles_kept` count.

    Returns
    -------
    pandas.Series
        p-value of Kolmogorov's and Smirnov's test of two samples of distances from the nearest
        axis, after Holm's correction, indexed by factors, recipe and prior: a row for every
        hierarchical prior that has runs beside the standard one.
    """
    from scipy.stats import ks_2samp  # takes long: not for `dvae claims`

    rows = []
    for condition, own in angles_kept(runs).groupby(["factors", "recipe"]):
        distances = {prior: group["distance"] for prior, group in own.groupby("prior")}
        for prior in PRIORS[1:]:
            if prior in distances and "standard" in distances:
                test = ks_2samp(distances[prior], distances["standard"])
                rows.append((*condition, prior, test.pvalue))
    out = pd.DataFrame(rows, columns=["factors", "recipe", "prior", "p_holm"])
    out["p_holm"] = holm(out["p_holm"].to_numpy(float))
    return out.set_index(["factors", "recipe", "prior"])["p_holm"]


def crowding(runs: pd.DataFrame, resamples: int = 400, seed: int = 0) -> tuple[float, float, float]:
    """Where angles crowd, with an interval that counts the seeds as the sample.

    Runs that share a seed are related, whatever else differs, so whole seeds are drawn with
    replacement (percentile bootstrap).

    Parameters
    ----------
    runs : pandas.DataFrame
        With columns ``seed`` and ``angle`` (degrees, modulo 90); at least two runs.
    resamples : int
        Samples of the bootstrap.
    seed : int
        Seed of its draws.

    Returns
    -------
    tuple of float
        Centre in [0, 90) as :func:`dvae.analysis.rotation.angle_test` defines it, and the lower
        and upper end of its 95 % interval, which may leave [0, 90): degrees.
    """
    by_seed = [own.to_numpy() for _, own in runs.groupby("seed")["angle"]]
    center = angle_test(runs["angle"].to_numpy()).center
    generator = np.random.default_rng(seed)
    picks = generator.integers(len(by_seed), size=(resamples, len(by_seed)))
    found = [angle_test(np.concatenate([by_seed[i] for i in pick])).center for pick in picks]
    off = (np.array(found) - center + 45) % 90 - 45
    low, high = center % 90 + np.quantile(off, [0.025, 0.975])
    return center % 90, float(low), float(high)


def shape_runs(result: xr.Dataset) -> pd.DataFrame:
    """Trials of ``shape_score`` that have an S_KL and are not over-regularised, one a row."""
    frame = result.to_dataframe().reset_index(drop=True)
    kept = frame[np.isfinite(frame["shape"]) & (frame["rate"] > OVER_REGULARISED)]
    kept.attrs = dict(result.attrs)
    return kept


def shape_trends(shapes: pd.DataFrame) -> pd.DataFrame:
    """Does S_KL (eq. 7) fall as S_D rises (row M6, fig. 13)?

    Parameters
    ----------
    shapes : pandas.DataFrame
        From :func:`shape_runs`.

    Returns
    -------
    pandas.DataFrame
        Indexed by factors and recipe, where there are 3 runs or more: ``runs``; median S_KL (nats)
        of the third with the lowest S_D, ``entangled``, and with the highest, ``disentangled``;
        Kendall's ``tau`` of the two scores and ``p_holm``, corrected for the rows of the table.
    """
    rows = []
    for condition, own in shapes.groupby(["factors", "recipe"]):
        third = len(own) // 3
        if third > 0:
            order = own.sort_values("disentanglement")["shape"]
            medians = order.iloc[:third].median(), order.iloc[-third:].median()
            trend = kendall_trend(own["disentanglement"].to_numpy(), own["shape"].to_numpy())
            rows.append((*condition, len(own), *medians, *trend))
    columns = ["factors", "recipe", "runs", "entangled", "disentangled", "tau", "p_holm"]
    out = pd.DataFrame(rows, columns=columns)
    out["p_holm"] = holm(out["p_holm"].to_numpy(float))
    return out.set_index(["factors", "recipe"])

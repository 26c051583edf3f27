"""Runs of ``dense_runs``, the paper's network under the conditions of section 5, as a table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from dvae.analysis import mean_correlation_coefficient
from dvae.conventions import DISENTANGLED, TWISTED
from dvae.results.conditions import held_out_factors, run_table, summarise_runs
from dvae.results.store import Store

__all__ = [
    "DENSE_NODES",
    "DENSE_RECIPES",
    "PUBLISHED",
    "dense_table",
    "load_dense_runs",
    "of_common_seeds",
    "phase_arms",
]

DENSE_RECIPES = ("one-cycle", "annealed-dense")  # on standardised fields
PUBLISHED = "published"  # on the fields as they are
DENSE_NODES = 33  # nodes per side of the grid on which every condition has runs


def load_dense_runs(profile: str | None = None, store: Store | None = None) -> pd.DataFrame:
    """One row for every stored run of ``dense_runs``.

    Arguments and errors as :func:`dvae.results.conditions.load_runs`.

    Returns
    -------
    pandas.DataFrame
        As :func:`dvae.results.conditions.run_table`, with ``n_nodes``, nodes per side; ``mcc``,
        the mean correlation coefficient of latents and factors; ``twisted``, whether a run scores
        as disentangled in eq. 6 while a latent follows no factor; and ``variance_left``, the share
        of the variance of the test fields that its reconstruction leaves.
    """
    result = (store or Store.default()).load("dense_runs", profile)
    factors = held_out_factors(result.attrs["profile"], store)
    runs = run_table(result, factors)
    runs["n_nodes"] = result["n_nodes"].values
    sets, latents = result["factors"].values, result["latent_mean"].values
    runs["mcc"] = [
        np.nan if bad else mean_correlation_coefficient(z, factors[name])
        for z, name, bad in zip(latents, sets, runs["diverged"], strict=True)
    ]
    high = runs["s_d"] > DISENTANGLED * runs["ceiling"]
    runs["twisted"] = high & (runs["mcc"] < TWISTED)
    runs["variance_left"] = result["variance_left_by_sample"].mean("sample").values
    return runs


def dense_table(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for every grid, recipe, set of factors and prior that has runs.

    Parameters
    ----------
    runs : pandas.DataFrame
        From :func:`load_dense_runs`.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``n_nodes``, ``recipe``, ``factors`` and ``prior``, finer grids first; columns
        as :func:`dvae.results.conditions.condition_table`, with ``twisted`` (count) and the
        median and the largest ``variance_left``.
    """
    names = ["n_nodes", "recipe", "factors", "prior"]
    runs = pd.DataFrame(runs)
    runs.attrs = {}  # pandas copies them whenever it selects
    rows = {}
    for condition, own in runs.groupby(names, sort=False):
        left = own["variance_left"][~own["diverged"]]
        rows[condition] = summarise_runs(own) | {
            "twisted": int(own["twisted"].sum()),
            "variance_left": left.median(),
            "variance_left_worst": left.max(),
        }
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(names)
    return table.sort_index(level="n_nodes", ascending=False, sort_remaining=False, kind="stable")


def phase_arms(
    runs: xr.Dataset, phases: xr.Dataset, prior: str = "standard"
) -> dict[str, xr.Dataset]:
    """DenseVAEs of the published recipe on four modes by the length of their reconstruction phase.

    Parameters
    ----------
    runs, phases : xarray.Dataset
        The results ``dense_runs``, which has those with the whole phase, and ``dense_phases``.
    prior : str
        Which prior.

    Returns
    -------
    dict of str to Dataset
        By arm, longest phase first: "phase 1", "phase 0.25", ..., "constant beta". Trials are in
        the order of their seeds.
    """
    whole = (runs["recipe"] == PUBLISHED) & (runs["n_nodes"] == DENSE_NODES)
    whole &= (runs["factors"] == "four-modes") & (runs["prior"] == prior)
    arms = {"phase 1": runs.isel(trial=np.flatnonzero(whole.values))}
    four = (phases["factors"] == "four-modes") & (phases["prior"] == prior)
    own = phases.isel(trial=np.flatnonzero(four.values))
    kinds = sorted(set(zip(own["arm"].values.tolist(), own["phase"].values.tolist(), strict=True)))
    for arm, phase in reversed(kinds):
        chosen = np.flatnonzero((own["arm"] == arm).values & (own["phase"] == phase).values)
        name = f"phase {phase:g}" if arm == "phase" else arm
        arms[name] = own.isel(trial=chosen)
    return {name: one.isel(trial=np.argsort(one["seed"].values)) for name, one in arms.items()}


def of_common_seeds(arms: dict[str, xr.Dataset]) -> dict[str, xr.Dataset]:
    """Arms of :func:`phase_arms`, each with the trials whose seeds all of these arms have."""
    seeds = set.intersection(*(set(one["seed"].values.tolist()) for one in arms.values()))
    return {
        name: one.isel(trial=np.flatnonzero(np.isin(one["seed"].values, sorted(seeds))))
        for name, one in arms.items()
    }

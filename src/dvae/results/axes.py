"""Angles of trained models against those that the principal directions of the fields predict."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from dvae.analysis import rotation_price
from dvae.conventions import PREFERRED

__all__ = ["DATA_SET", "against_axes", "annealed_runs", "expected_rates"]

DATA_SET = ["factors", "data_seed", "pair_angle", "wells"]  # what a data set is known by


def annealed_runs(draws: xr.Dataset, runs: pd.DataFrame) -> pd.DataFrame:
    """Runs of the annealed recipe without HP on every data set, for :func:`against_axes`.

    Parameters
    ----------
    draws : xarray.Dataset
        Result of ``data_draws``.
    runs : pandas.DataFrame
        Runs of ``disentanglement`` (:func:`dvae.results.conditions.load_runs`), of which those on
        shifted factors are taken; the others are in ``draws``.
    """
    columns = [*DATA_SET, "angle", "disentangled"]
    drawn = draws[["angle", "disentangled"]].to_dataframe().reset_index()
    drawn = drawn[drawn["prior"] == "standard"]
    kind = {"factors": "shifted-normal", "recipe": "annealed", "prior": "standard"}
    shifted = runs[np.all([runs[name] == value for name, value in kind.items()], axis=0)]
    shifted = shifted.assign(data_seed=0, pair_angle=0.0, wells="mirrored")
    every = pd.concat([drawn[columns], shifted[columns]], ignore_index=True)
    return every.astype({"disentangled": int})


def against_axes(
    axes: xr.Dataset, runs: pd.DataFrame, names: Sequence[str] = DATA_SET
) -> pd.DataFrame:
    """What the principal directions predict for every data set, and what training gave.

    Angles count modulo 90 degrees, so that runs are compared with the prediction by their
    difference, wrapped to (-45, 45].

    Parameters
    ----------
    axes : xarray.Dataset
        Result of ``principal_axes``, or another with its variables.
    runs : pandas.DataFrame
        Runs with the columns ``names``, ``angle`` (degrees) and ``disentangled``.
    names : sequence of str
        What a data set is known by, in both.

    Returns
    -------
    pandas.DataFrame
        Indexed by ``names``: ``predicted`` (degrees), ``price`` (nats per sample, what turning
        both latents by 45 degrees against the principal directions costs) and ``preferred``,
        whether that is at least ``dvae.conventions.PREFERRED``; ``runs``,
        ``disentangled`` (count), and ``low``, ``median`` and ``high``: the 10, 50 and 90 %
        quantiles of the difference between the angle of a run and the predicted one (degrees).
        Runs without an angle count as runs, not in the quantiles.
    """
    names = list(names)
    data_sets = axes["angle"].to_dataframe()[names].itertuples(index=False, name=None)
    values = zip(axes["angle"].values.tolist(), axes["level"].values.tolist(), strict=True)
    predicted = dict(zip(data_sets, values, strict=True))
    rows = {}
    for data_set, own in runs.groupby(names):
        if data_set not in predicted:
            continue
        angle, levels = predicted[data_set]
        difference = (own["angle"] - angle + 45) % 90 - 45
        first, second, *_ = levels
        low, median, high = difference.quantile([0.1, 0.5, 0.9])
        rows[data_set] = {
            "predicted": angle,
            "price": rotation_price(first, second, 45.0),
            "runs": len(own),
            "disentangled": int(own["disentangled"].sum()),
            "low": low,
            "median": median,
            "high": high,
        }
    table = pd.DataFrame(rows.values(), pd.MultiIndex.from_tuples(rows, names=names))
    return table.assign(preferred=table["price"] >= PREFERRED)


def expected_rates(
    levels: Float[np.ndarray, " direction"],
    floor: Float[np.ndarray, " noise"],
    n_latents: int,
    total: float,
) -> Float[np.ndarray, "noise latent"]:
    """Rates of a linear VAE whose noise may not fall below a floor, nats per sample.

    The noise f, in units of the mean variance of a value, is the floor or, where that is larger,
    the error itself. With q latents alive the error is what the other directions leave and q f /
    ``total`` for the noise of the latents, so that f = (sum of the other levels) / (total - q), as
    in ``dvae.analysis.linear_collapse``. No more than ``total`` latents can be alive.

    Parameters
    ----------
    levels : array (direction,)
        From ``dvae.analysis.noise_levels``, falling; at least the first ``n_latents``.
    floor : array (noise,)
        Least noise over the mean variance of a value.
    n_latents : int
        Number of latents.
    total : float
        Sum of all levels: number of values over beta per sample, or channels over beta per node.

    Returns
    -------
    array (noise, latent)
        Largest first, 0 for latents that are not alive.
    """
    levels = np.asarray(levels, dtype=float)[:n_latents]
    rates = np.zeros((len(floor), n_latents))
    for row, least in zip(rates, floor, strict=True):
        for q in range(n_latents, 0, -1):
            if q >= total:
                continue
            noise = max(least, (total - levels[:q].sum()) / (total - q))
            if levels[q - 1] > noise:
                row[:q] = 0.5 * np.log(levels[:q] / noise)
                break
    return rates

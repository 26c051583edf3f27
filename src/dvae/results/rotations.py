"""Stored models whose latent space is turned: rates, axes, and the angle in training (M4, M5).

The frames have one row for every trial, with the condition that it belongs to; a flat rate and the
neighbourhood of an angle are what ``dvae.conventions`` says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from dvae.analysis.minima import local_minima
from dvae.analysis.rotation import rotate, rotation_by_labels, total_correlation_of_density
from dvae.analysis.scores import are_disentangled
from dvae.conventions import DIAGONAL, DIAGONAL_WIDTH, FLAT

__all__ = [
    "distance_to_end",
    "has_diagonal_minimum",
    "prior_axes",
    "rate_about_center",
    "rate_minima",
    "turned_by_labels",
]

CONDITION = ["factors", "recipe", "prior"]
TURN = 3.0  # degrees between two angles at which a prior's own axes are looked for
QUADRATURE = 81  # nodes per axis of the integrals for that


def rate_about_center(
    trial: xr.Dataset, angles: Float[np.ndarray, " angle"]
) -> Float[np.ndarray, " angle"]:
    """Change of the rate if latents turn about the *prior's mean*, by the prior stored on its grid.

    A decoder can follow a turn about any point. The curves ``curve_rate`` turn about 0, as section
    5.2 does, so that a prior with a mean also sees its posterior move away.

    Parameters
    ----------
    trial : xarray.Dataset
        A trial of ``priors``.
    angles : array
        Degrees.

    Returns
    -------
    array
        Rate minus that of the latents as they are, in nats per sample. One draw of every q(z|y);
        log p(z) by linear interpolation, so good to a few hundredths of a nat.
    """
    log_prob = _log_density(trial)
    center = trial["prior_sample"].values.astype(float).mean(0)
    noise = np.random.default_rng(0).standard_normal(trial["latent_mean"].shape)
    z = trial["latent_mean"].values + trial["latent_scale"].values * noise - center
    start = log_prob(center + z).mean()
    return np.array([start - log_prob(center + rotate(z, angle)).mean() for angle in angles])


def rate_minima(looks: xr.Dataset) -> pd.DataFrame:
    """Where the rate of every stored model is lowest as its latent space turns (section 5.2).

    Parameters
    ----------
    looks : xarray.Dataset
        Trials of ``priors``.

    Returns
    -------
    pandas.DataFrame
        ``factors``, ``recipe``, ``prior``; ``range`` of the rate over a turn about 0 and
        ``range_about_center`` about the prior's mean (nats per sample); the booleans ``curved``
        (the range is above FLAT), ``lowest_at_start`` (the lowest rate is within DIAGONAL_WIDTH of
        angle 0, where training ended) and ``minimum_near_diagonal`` (a local minimum is as near
        to 45 degrees); the last two are false for a flat rate.
    """
    turn, rows = looks["turn"].values, []
    for index in range(looks.sizes["trial"]):
        trial = looks.isel(trial=index)
        rate = trial["curve_rate"].values.astype(float)
        curved = bool(np.ptp(rate) > FLAT)
        rows.append(
            {
                **{key: str(trial[key].values) for key in CONDITION},
                "range": np.ptp(rate),
                "range_about_center": np.ptp(rate_about_center(trial, turn)),
                "curved": curved,
                "lowest_at_start": curved and bool(abs(turn[rate.argmin()]) <= DIAGONAL_WIDTH),
                "minimum_near_diagonal": curved and has_diagonal_minimum(trial),
            }
        )
    return pd.DataFrame(rows)


def has_diagonal_minimum(trial: xr.Dataset) -> bool:
    """Whether the rate of a stored model has a local minimum within DIAGONAL_WIDTH of 45 degrees.

    Parameters
    ----------
    trial : xarray.Dataset
        A trial of ``priors``.
    """
    rate, error = (trial[name].values.astype(float) for name in ("curve_rate", "curve_rate_error"))
    curve = xr.Dataset({"rate": ("angle", rate), "rate_error": ("angle", error)})
    minima = local_minima(curve.assign_coords(angle=trial["turn"].values))["angle"].values
    return bool((np.abs(np.abs(minima) - DIAGONAL) <= DIAGONAL_WIDTH).any())


def prior_axes(looks: xr.Dataset) -> pd.DataFrame:
    """Axes of every stored prior and of the latents under it.

    Coordinates of a factorised prior are independent: the prior's own axes are where the total
    correlation of its two coordinates is lowest, as its stored density turns by steps of TURN.

    Parameters
    ----------
    looks : xarray.Dataset
        Trials of ``priors``.

    Returns
    -------
    pandas.DataFrame
        ``factors``, ``recipe``, ``prior``; ``divergence`` of the prior from its copy turned by 45
        degrees about 0, and ``own_divergence``, about its own mean (nats, by linear interpolation
        of the stored log-density); ``axis``, the prior's own (degrees from those of z), and
        ``told``, how much the total correlation changes with the angle (nats); the booleans
        ``shaped`` (``own_divergence`` is above FLAT), ``prior_on_axes`` (a shaped prior has its
        axes within DIAGONAL_WIDTH of those of z) and ``latents_on_axes`` (the latents are within
        as much of the factors).
    """
    trials = [looks.isel(trial=index) for index in range(looks.sizes["trial"])]
    about_mean = np.array([_divergence_about_mean(trial) for trial in trials])
    shaped = about_mean > FLAT
    angles = np.arange(-DIAGONAL, DIAGONAL, TURN)
    correlation = np.array([_correlations(trial, angles) for trial in trials])
    axis = 0.0 - angles[correlation.argmin(1)]  # it is turned back there
    return pd.DataFrame(
        {key: looks[key].values.astype(str) for key in CONDITION}
        | {
            "divergence": looks["prior_divergence"].sel(turn=DIAGONAL).values,
            "own_divergence": about_mean,
            "axis": axis,
            "told": np.ptp(correlation, axis=1),
            "shaped": shaped,
            "prior_on_axes": shaped & (np.abs(axis) <= DIAGONAL_WIDTH),
            "latents_on_axes": np.abs(looks["angle"].values) <= DIAGONAL_WIDTH,
        }
    )


def _correlations(
    trial: xr.Dataset, angles: Float[np.ndarray, " angle"]
) -> Float[np.ndarray, " angle"]:
    """Total correlation of the coordinates of a stored prior, turned by each angle, nats."""
    log_prob, draws = _log_density(trial), trial["prior_sample"].values.astype(float)
    low, high = trial["prior_axis"].values[[0, -1]].astype(float)
    mean = draws.mean(0)
    axis = 1.1 * np.linalg.norm(draws - mean, axis=1).max() * np.linspace(-1, 1, QUADRATURE)
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)

    def turned(angle: float) -> Float[np.ndarray, "node node"]:
        z = mean + rotate(nodes, -angle)
        stored = ((low <= z) & (z <= high)).all(1)
        density = np.zeros(len(z))
        density[stored] = np.exp(log_prob(z[stored]))
        return density.reshape(QUADRATURE, QUADRATURE)

    return np.array([total_correlation_of_density(turned(angle)) for angle in angles])


def _divergence_about_mean(trial: xr.Dataset) -> float:
    """KL of a stored prior from its copy that is turned by DIAGONAL about its own mean, nats."""
    log_prob, draws = _log_density(trial), trial["prior_sample"].values.astype(float)
    mean = draws.mean(0)
    turned = mean + rotate(draws - mean, DIAGONAL)
    return float((log_prob(draws) - log_prob(turned)).mean())


def _log_density(trial: xr.Dataset) -> Callable[[np.ndarray], np.ndarray]:
    """Log-density of a stored prior at any points, linear between and beyond those of its grid.

    ``scipy.interpolate`` does this as well, but takes longer to import than all claims to decide.
    """
    axis = trial["prior_axis"].values.astype(float)
    values = np.log(np.maximum(trial["prior_density"].values.astype(float), 1e-30))

    def log_prob(z: Float[np.ndarray, "sample 2"]) -> Float[np.ndarray, " sample"]:
        steps = (z - axis[0]) / (axis[1] - axis[0])
        cell = np.clip(np.floor(steps).astype(int), 0, len(axis) - 2)
        (i, j), (u, v) = cell.T, (steps - cell).T
        low = (1 - v) * values[i, j] + v * values[i, j + 1]
        high = (1 - v) * values[i + 1, j] + v * values[i + 1, j + 1]
        return (1 - u) * low + u * high

    return log_prob


def distance_to_end(history: xr.Dataset) -> pd.DataFrame:
    """How far the latent space still has to turn: median over runs, by training step.

    Parameters
    ----------
    history : xarray.Dataset
        The result ``rotation_history``.

    Returns
    -------
    pandas.DataFrame
        Indexed by recipe and prior, a column for every stop (counted from 0): ``step`` and
        ``degrees``, the median distance between the angle at that step and at the last, modulo
        90 degrees. Runs without an angle at a stop are left out there.
    """
    frame = history[["angle", "step"]].to_dataframe().reset_index()
    frame["degrees"] = frame.groupby("trial")["angle"].transform(
        lambda angle: ((angle - angle.iloc[-1] + 45) % 90 - 45).abs()
    )
    found = frame.groupby(["recipe", "prior", "stop"])[["step", "degrees"]].median()
    return found.unstack("stop")


def turned_by_labels(
    latents: Float[np.ndarray, "run sample 2"],
    theta: Float[np.ndarray, "sample 2"],
    count: int,
    oriented: bool = False,
    draws: int = 10,
    seed: int = 0,
) -> tuple[int, int]:
    """How often runs are disentangled after the rotation that a few labelled samples ask for.

    Parameters
    ----------
    latents, theta : array
        Means of q(z|y) of finished runs, and factors of the same samples.
    count : int
        Labelled samples, drawn anew ``draws`` times for every run.
    oriented : bool
        Whether it is known beforehand if the latents are mirrored against the factors.
    seed : int
        Of the draws.

    Returns
    -------
    int, int
        Disentangled, of so many. Errors as :func:`dvae.analysis.rotation.rotation_by_labels`.
    """
    rng = np.random.default_rng(seed)
    known = (theta - theta.mean(0)) / theta.std(0)
    found = 0
    for z in (latents - latents.mean(1, keepdims=True)) / latents.std(1, keepdims=True):
        mirrored = np.linalg.det(z.T @ known) < 0
        side: Literal[-1, 1] | None = (-1 if mirrored else 1) if oriented else None
        chosen = [rng.choice(len(z), count, replace=False) for _ in range(draws)]
        turned = np.stack([z @ rotation_by_labels(z[i], known[i], side) for i in chosen])
        found += int(are_disentangled(turned, theta).sum())
    return found, draws * len(latents)

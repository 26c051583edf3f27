"""Runs with labels, summarised: the tables of ``labels`` and ``low_density`` (section 6)."""

from __future__ import annotations

import itertools
import json

import numpy as np
import xarray as xr
from jaxtyping import Float, Int

from dvae.analysis._checks import varying
from dvae.analysis.scores import are_disentangled

__all__ = [
    "BETWEEN",
    "REGIONS",
    "by_labels",
    "by_region",
    "disentangled_by_labels",
    "probe_theta",
    "regions",
    "run_similarity",
]

REGIONS = ("near a mode", "between", "flank", "far")
BETWEEN = REGIONS.index("between")


def regions(theta: Float[np.ndarray, "sample 2"]) -> Int[np.ndarray, " sample"]:
    """Index into ``REGIONS`` of points of the four-mode set.

    Near a mode: within one standard deviation (0.5) of a centre (+-1, +-1). Between: in a strip
    of half-width 0.25 about an axis, no further out than the centres. Far: beyond 2 in a factor
    (two standard deviations outside the centres). Flank: everything else.
    """
    size = np.abs(theta)
    region = np.full(len(theta), 2)
    region[(size.min(1) <= 0.25) & (size.max(1) <= 1)] = 1
    region[np.hypot(*(size - 1).T) <= 0.5] = 0
    region[size.max(1) > 2] = 3
    return region


def probe_theta(n_side: int) -> Float[np.ndarray, "probe 2"]:
    """Factors of the probes: a square lattice over [-2.5, 2.5]^2."""
    axis = np.linspace(-2.5, 2.5, n_side)
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)


def by_labels(result: xr.Dataset, recipe: str) -> xr.Dataset:
    """Numbers of the ``labels`` experiment for a recipe, over (n_labels, run), with ``ratio``.

    ``ratio`` is the number of labelled samples over that of the others.
    """
    chosen = result.isel(trial=(result["recipe"] == recipe).values)
    n_train = json.loads(str(chosen["settings"].values[0]))["n_train"]
    chosen = chosen.drop_vars([n for n, c in chosen.coords.items() if c.dtype.kind in "OUS"])
    table = chosen.drop_vars("seed").set_index(trial=["n_labels", "run"]).unstack("trial")
    return table.assign_coords(ratio=table["n_labels"] / n_train)


def disentangled_by_labels(table: xr.Dataset, theta: Float[np.ndarray, "all 2"]) -> xr.DataArray:
    """Which runs of :func:`by_labels` are disentangled, over (n_labels, run).

    Parameters
    ----------
    table : xarray.Dataset
        From :func:`by_labels`; it holds the latents of the first test samples.
    theta : array of shape (N, 2)
        Factors of the test data, from :func:`dvae.results.conditions.held_out_factors`.
    """
    means = table["latent_mean"].transpose("n_labels", "run", "sample", "latent")
    shape = means.shape[:2]
    runs = means.values.reshape(-1, *means.shape[2:])
    good = are_disentangled(runs, theta[: runs.shape[1]]).reshape(shape)
    return means[:, :, 0, 0].drop_vars(["sample", "latent"], errors="ignore").copy(data=good)


def run_similarity(
    latents: Float[np.ndarray, "run sample latent"],
) -> Float[np.ndarray, " pair"]:
    """Agreement of the latents of every two runs: Lin's concordance, averaged over latents.

    With means m, variances v and covariance c it is 2 c / (v_1 + v_2 + (m_1 - m_2)^2): 1 if two
    runs give every sample the same latents, 0 if they have nothing to do with each other. Order,
    sign, scale and shift count, so it needs no labels and forgives nothing. A latent that is
    constant in a run counts 0, also where it is the same constant in both: it tells of no sample
    (:func:`dvae.analysis.degenerate.score_runs`). NaN for a run that diverged.

    References
    ----------
    Lin, Biometrics 45 (1989) 255.
    """
    pairs = []
    for a, b in itertools.combinations(np.asarray(latents, dtype=float), 2):
        covariance = ((a - a.mean(0)) * (b - b.mean(0))).mean(0)
        spread = a.var(0) + b.var(0) + (a.mean(0) - b.mean(0)) ** 2
        constant = np.isfinite(spread) & ~(varying(a) & varying(b))
        concordance = 2 * covariance / np.where(constant, 1.0, spread)
        pairs.append(float(np.where(constant, 0.0, concordance).mean()))
    return np.array(pairs)


def by_region(result: xr.Dataset) -> xr.Dataset:
    """Median errors of the ``low_density`` probes in every region, over (trial, region)."""
    theta = probe_theta(round(result.sizes["probe"] ** 0.5))
    region = xr.DataArray(np.array(REGIONS)[regions(theta)], dims="probe", name="region")
    names = ["probe_error", "surrogate_error", "probe_factor_error"]
    medians = result[names].groupby(region).median().reindex(region=list(REGIONS))
    return medians.assign(samples=region.groupby(region).count().reindex(region=list(REGIONS)))

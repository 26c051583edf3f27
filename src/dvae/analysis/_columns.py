"""Columns of samples: standardised, in quantile bins, and their correlations."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from dvae.analysis._checks import varying
from dvae.errors import DataError

__all__ = [
    "MIN_SAMPLES",
    "checked_bins",
    "correlations",
    "mean_gap",
    "quantile_bins",
    "standardised",
    "value_classes",
]

MIN_SAMPLES = 32  # below this a regressor or a table of bins has nothing to learn from


def standardised(
    columns: Float[np.ndarray, "*run sample column"],
) -> Float[np.ndarray, "*run sample column"]:
    """Columns of mean 0 and variance 1; constant columns become 0."""
    centred = columns - columns.mean(-2, keepdims=True)
    active = varying(columns)[..., None, :]
    return np.where(active, centred / np.where(active, centred.std(-2, keepdims=True), 1.0), 0.0)


def correlations(a: np.ndarray, b: np.ndarray) -> Float[np.ndarray, "column_a column_b"]:
    """Pearson correlations of every column of a with every one of b; 0 for a constant column."""
    return standardised(a).T @ standardised(b) / len(a)


def mean_gap(table: Float[np.ndarray, "latent factor"]) -> float:
    """Largest minus second largest entry of each column, averaged over columns."""
    ordered = np.sort(np.vstack([np.zeros_like(table[:1]), table]), axis=0)
    return float((ordered[-1] - ordered[-2]).mean())


def quantile_bins(columns: np.ndarray, n_bins: int) -> Int[np.ndarray, "sample column"]:
    """Number of the equally populated bin of each entry; equal entries share a bin."""
    rank = rankdata(columns, axis=0) - 0.5
    return (rank * n_bins / len(columns)).astype(int)


def value_classes(column: np.ndarray, n_bins: int) -> Int[np.ndarray, " sample"]:
    """Class of each entry: its value, where there are at most ``n_bins`` values, else its bin."""
    values, index = np.unique(column, return_inverse=True)
    return index if len(values) <= n_bins else quantile_bins(column[:, None], n_bins)[:, 0]


def checked_bins(n_samples: int, n_bins: int | None) -> int:
    """Number of quantile bins: by default the cube root of N, so that N^(1/3) samples share a cell.

    Raises
    ------
    DataError
        If it is below 2 or above N / 2.
    """
    if n_bins is None:
        return max(2, int(np.cbrt(n_samples) + 1e-9))
    if not 2 <= n_bins <= n_samples // 2:
        raise DataError(f"n_bins must be between 2 and {n_samples // 2}, got {n_bins}")
    return n_bins

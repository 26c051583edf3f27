"""Checks that every score makes on its samples before it computes anything."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Shaped

from dvae.errors import DataError

__all__ = ["Latents", "Samples", "as_encoding", "as_pair", "as_runs", "as_samples", "varying"]

# arrays or tensors
Samples = Shaped[Any, "sample dimension"]
Latents = Shaped[Any, "sample latent"]


def as_samples(
    values: Samples, name: str, min_samples: int = 2
) -> Float[np.ndarray, "sample dimension"]:
    """Copy of ``values`` (array or tensor of shape (N, d)) as a float64 array.

    Raises
    ------
    DataError
        If the values are not real numbers of shape (N, d), hold NaN or infinity, or N is below
        ``min_samples``.
    """
    array = _as_float(values, name)
    if array.ndim != 2 or array.shape[1] == 0:
        raise DataError(
            f"{name} must have shape (samples, dimensions), got {array.shape}; "
            "reshape one variable to (samples, 1)"
        )
    if len(array) < min_samples:
        raise DataError(f"{name} holds {len(array)} samples, at least {min_samples} are needed")
    bad = np.flatnonzero(~np.isfinite(array).all(1))
    if len(bad):
        raise DataError(
            f"{name} holds NaN or infinity in {len(bad)} samples, first in sample {bad[0]}; "
            "remove them"
        )
    return array


def _as_float(values: Any, name: str) -> np.ndarray:
    """Copy of an array or tensor in float64; DataError if it holds no real numbers."""
    if hasattr(values, "detach"):  # a tensor; torch itself is not needed here
        values = values.detach().cpu()
        values = (values if values.is_complex() else values.double()).numpy()
    try:
        if np.asarray(values).dtype.kind in "cSU":
            raise TypeError("it holds complex numbers or text")
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} must be an array of real numbers: {error}") from error


def varying(columns: Float[np.ndarray, "*run sample column"]) -> Bool[np.ndarray, "*run column"]:
    """Which columns are not constant, up to rounding in float64."""
    low, high = columns.min(axis=-2), columns.max(axis=-2)
    return high - low > 1e-12 * np.maximum(np.abs(low), np.abs(high))


def as_pair(
    z: Latents, theta: Samples, min_samples: int = 2
) -> tuple[Float[np.ndarray, "sample latent"], Float[np.ndarray, "sample factor"]]:
    """Latents z (N, n) and factors theta (N, s) of the same N samples, as float64 arrays.

    Raises
    ------
    DataError
        As :func:`as_samples`; or if the numbers of samples differ; or if a factor is constant.
    """
    z = as_samples(z, "z", min_samples)
    theta = as_samples(theta, "theta", min_samples)
    if len(z) != len(theta):
        raise DataError(f"z holds {len(z)} samples and theta {len(theta)}; pass the same samples")
    constant = np.flatnonzero(~varying(theta))
    if len(constant):
        raise DataError(
            f"factor {constant[0]} of theta is the same in every sample: no latent can be scored "
            "against it; leave it out"
        )
    return z, theta


def as_runs(
    latents: Shaped[Any, "run sample latent"], theta: Samples
) -> tuple[
    Float[np.ndarray, "run sample latent"],
    Float[np.ndarray, "sample factor"],
    Bool[np.ndarray, " run"],
]:
    """Latents (M, N, n) of M runs and factors (N, s), as float64, and which runs are finite.

    Raises
    ------
    DataError
        As :func:`as_pair`, except that latents which are not finite are no error.
    """
    runs = _as_float(latents, "latents")
    if runs.ndim != 3:
        raise DataError(f"latents must have shape (runs, samples, latents), got {runs.shape}")
    _, theta = as_pair(np.zeros(runs.shape[1:]), theta)
    return runs, theta, np.asarray(np.isfinite(runs).all((1, 2)))


def as_encoding(
    mean: Latents, log_variance: Latents
) -> tuple[Float[np.ndarray, "sample latent"], Float[np.ndarray, "sample latent"]]:
    """Mean and log-variance (N, n) of a factorised q(z|y), as float64 arrays.

    Raises
    ------
    DataError
        As :func:`as_samples`; or if the shapes differ.
    """
    mean = as_samples(mean, "mean", 1)
    log_variance = as_samples(log_variance, "log_variance", 1)
    if mean.shape != log_variance.shape:
        raise DataError(
            f"mean and log_variance must agree in shape, got {mean.shape} and {log_variance.shape}"
        )
    return mean, log_variance

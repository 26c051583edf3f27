"""How much of the fields a reconstruction leaves unexplained (section 5.1)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["mean_field_error", "variance_left"]


def mean_field_error(
    training: Float[Any, "train channel x1 x2"], test: Float[Any, "test channel x1 x2"]
) -> float:
    """Relative error of answering every test field with the mean of the training fields.

    Parameters
    ----------
    training, test : array or tensor of shape (N, C, n1, n2)
        Fields.

    Returns
    -------
    float
        Root of the summed squared error over the summed squares of the test fields, as the
        ``relative_error`` of :meth:`dvae.Ensemble.evaluate`.
    """
    training, test = (np.asarray(fields) for fields in (training, test))
    error = (test - training.mean(0, dtype=np.float64)).ravel()
    size = test.astype(np.float64).ravel()
    return math.sqrt(float(error @ error) / float(size @ size))


def variance_left(
    relative_error: Float[np.ndarray, " trial"],
    mean_field_error: float | Float[np.ndarray, " trial"],
) -> Float[np.ndarray, " trial"]:
    """Share of the variance of test fields about their mean that a reconstruction leaves.

    A relative error divides by the norm of the fields themselves, most of which is the mean field:
    answering every field with the mean scores a small error too.

    Parameters
    ----------
    relative_error : array (trial,)
        Of the reconstructions.
    mean_field_error : float or array (trial,)
        Of the mean field on the same data, from :func:`mean_field_error`.

    Returns
    -------
    array (trial,)
        0 is perfect, 1 as good as the mean field.
    """
    return (np.asarray(relative_error) / mean_field_error) ** 2

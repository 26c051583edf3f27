"""Sizes that no machine has memory for, or that make no sense, refused before anything is made."""

from __future__ import annotations

import math

from dvae.errors import DataError
from dvae.memory import check_memory
from dvae.models import VAE, count_parameters

COPIES = 8  # of the parameters of a member: modules, moments, gradient, and the step itself
BYTES = 4  # of a number in single precision


def check_latents(n_latents: int, n_samples: int, n_values: int) -> None:
    """Raise DataError if there are more latents than samples or values that they could describe."""
    most = min(n_samples, n_values)
    if n_latents > most:
        raise DataError(
            f"{n_latents} latents are more than the {n_samples} training samples or the "
            f"{n_values} values of a sample that vary; give {most} or fewer"
        )


def check_kept(shape: tuple[int, ...]) -> None:
    """Raise DataError if all fields of a data set do not fit into the memory that is free."""
    check_memory(
        2 * BYTES * math.prod(shape),  # as they are collected, and joined
        "the fields, all of which the dense model keeps,",
        "use the pod model, which keeps a few coefficients of each",
    )


def check_sizes(template: VAE, members: int) -> None:
    """Raise DataError if so many members do not fit into the memory that is free."""
    parameters = count_parameters(template)
    check_memory(
        members * parameters * BYTES * COPIES,
        f"{members} members of {parameters:,} parameters",
        "train fewer members at a time, with other seeds, or smaller models",
    )

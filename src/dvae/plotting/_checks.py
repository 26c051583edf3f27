"""What every plot asks of its input: numbers of the right shape, one name for each."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any

import numpy as np

from dvae.errors import DataError

Lists = Sequence[Any]  # numbers in lists, one inside the other, where an array would do


def as_array(
    value: Any, name: str, shape: str, sizes: dict[str, int] | None = None, finite: bool = True
) -> np.ndarray:
    """``value`` as a float64 array whose shape matches ``shape``, e.g. ``"sample 3 x1 x2"``.

    A number is a fixed size; a word is any size of at least one that has to agree with the size
    under that word in ``sizes``, which is filled in on first sight.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not an array of numbers: {error}") from error
    sizes, axes = {} if sizes is None else sizes, shape.split()
    wanted = [int(axis) if axis.isdigit() else sizes.get(axis) for axis in axes]
    if array.ndim != len(axes) or any(
        size == 0 or want not in (None, size)
        for want, size in zip(wanted, array.shape, strict=False)
    ):
        known = ", ".join(f"{k} = {v}" for k, v in sizes.items() if k in axes)
        raise DataError(
            f"{name} has shape {array.shape}, but ({', '.join(axes)}) is needed"
            + (f", where {known}" if known else "")
            + "; select or reshape it before plotting"
        )
    if finite and not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinite values; leave them out before plotting")
    sizes.update({a: s for a, s in zip(axes, array.shape, strict=True) if not a.isdigit()})
    return array


def as_lines(
    value: Any, name: str, shape: str, sizes: dict[str, int], finite: bool = True
) -> np.ndarray:
    """``value`` of a shape with two words, the first of which may be missing for a single line."""
    if np.ndim(value) == 1:
        shape = shape.split()[1]
    return np.atleast_2d(as_array(value, name, shape, sizes, finite))


def as_places(places: Sequence[Any], grid: tuple[int, ...]) -> list[np.ndarray]:
    """Where the nodes lie along the axes of a grid, those of a line along its only one."""
    sizes = [size for size in grid if size > 1] if len(places) < len(grid) else grid
    require_length(places or None, "places", len(sizes))
    return [
        as_array(values, "places", "node", {"node": size})
        for values, size in zip(places, sizes, strict=False)
    ]


def require_length(names: Sequence[Any] | None, name: str, count: int) -> None:
    """Refuse names that are not as many as what they name."""
    if names is not None and len(names) != count:
        raise DataError(f"{len(names)} {name} were given for {count} entries; give one for each")


def require_entries(entries: Sized, name: str) -> None:
    """Refuse what has no entries."""
    if not len(entries):
        raise DataError(f"{name} is empty; give at least one entry")

"""``inspect_file``: what is in a file, and what training would do with it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np

from dvae.errors import DataError
from dvae.models import FieldUnits
from dvae.physics import FieldDataset
from dvae.reading import Contents, StoredArray, open_file
from dvae.reading.layout import ChannelAxis
from dvae.training.split import split_samples
from dvae.workflow._findings import describe_factors, describe_fields, describe_test
from dvae.workflow._limits import check_latents
from dvae.workflow._scores import scored_factors
from dvae.workflow._summary import counted, grid_of

__all__ = ["Inspection", "inspect_file"]

MOST_FACTORS = 16  # columns of an array that may be one of factors

MOST_ARRAYS = 40  # whose values are read and shown
MOST_ATTRIBUTES = 20


class Inspection(str):
    """Lines for people on a file.

    Attributes
    ----------
    trainable : bool
        Whether :func:`dvae.train_file` takes the file with the same options.
    """

    trainable: bool

    def __new__(cls, text: str, trainable: bool) -> Self:
        lines = super().__new__(cls, text)
        lines.trainable = trainable
        return lines


def inspect_file(
    path: str | os.PathLike,
    *,
    fields: str | Sequence[str] | None = None,
    factors: str | Sequence[str] | None = None,
    channels: ChannelAxis | None = None,
    orientation: Literal["ij", "reference"] | None = None,
) -> Inspection:
    """What is in a file of any format, and what :func:`dvae.train_file` would do with it.

    Parameters
    ----------
    path : path-like
        The file.
    fields, factors, channels, orientation : optional
        As for :meth:`dvae.FieldDataset.load`.

    Returns
    -------
    Inspection
        Lines for people: arrays with shapes, types, ranges and missing values; then fields,
        channels, factors, grid, orientation and scaling, or what is not clear and which option
        says it. Its attribute ``trainable`` says whether training would begin.

    Raises
    ------
    DataError
        If the file cannot be read at all.
    """
    contents = open_file(os.fspath(path))
    lines = [f"{contents.path}: {contents.kind}, {counted(len(contents.arrays), 'array')}"]
    lines += _table(contents)
    attributes = list(contents.attributes.items())
    lines += [f"attribute {k}: {_short(v)}" for k, v in attributes[:MOST_ATTRIBUTES]]
    if len(attributes) > MOST_ATTRIBUTES:
        lines.append(f"and {len(attributes) - MOST_ATTRIBUTES} attributes more")
    lines += ["", "dvae train would read it like this:"]
    try:
        with warnings.catch_warnings(record=True):  # the note says the same
            warnings.simplefilter("always")
            data = FieldDataset.load(
                path,
                fields=fields,
                factors=factors,
                channels=channels,
                orientation=orientation,
                exact=True,
            )
    except DataError as error:
        lines.append(f"not yet: {_without_name(error, contents)}")
        lengths = {a.shape[0] for a in contents.arrays.values() if len(a.shape) > 1}
        if factors is None and (names := _possible_factors(contents, lengths)):
            lines.append(_advice(names))
        return Inspection("\n".join(lines), trainable=False)
    lines += _plan(data, contents)
    try:
        split = split_samples(data, 1, source=str(contents.path))  # as train does by default
        units = FieldUnits.from_fields(data.samples[split.training])
        lines += describe_test(split) + describe_fields(data.samples, units)
        check_latents(2, len(split.training), units.n_values)
    except DataError as error:
        lines.append(f"not trainable: {_without_name(error, contents)}")
        return Inspection("\n".join(lines), trainable=False)
    return Inspection("\n".join(lines), trainable=True)


def _without_name(error: DataError, contents: Contents) -> str:
    """An error without the name of the file, which the first line says."""
    return str(error).removeprefix(f"{contents.path}: ")


def _short(value: Any) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 100 else text[:97] + "..."


def _table(contents: Contents) -> list[str]:
    """A line for each array, in columns."""
    arrays = list(contents.arrays.values())
    rows = [("array", "shape", "type", "range", "missing")]
    rows += [_row(array) for array in arrays[:MOST_ARRAYS]]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    if len(arrays) > MOST_ARRAYS:
        lines.append(f"and {len(arrays) - MOST_ARRAYS} arrays more")
    return [f"  {line}" for line in lines]


def _row(array: StoredArray) -> tuple[str, str, str, str, str]:
    """Name, shape with the names of axes, type, range and number of values that are missing."""
    shape = str(array.shape)
    if array.dims:
        shape += f" {', '.join(array.dims)}"
    name, kind = array.name or "(no name)", str(array.dtype)
    if not array.is_real or 0 in array.shape:
        return name, shape, kind, "-", "-"
    low, high, missing = np.inf, -np.inf, 0
    for values in array.pieces():
        finite = values[np.isfinite(values)]
        missing += values.size - finite.size
        if finite.size:
            low, high = min(low, finite.min()), max(high, finite.max())
    found = f"{low:.9g} .. {high:.9g}" if low <= high else "-"
    return name, shape, kind, found, str(missing)


def _plan(data: FieldDataset, contents: Contents) -> list[str]:
    """What training would do with a data set."""
    n, channels, n1, n2 = data.samples.shape
    lines = [
        data.layout_note,
        f"{counted(n, 'sample')} of {counted(channels, 'channel')} "
        f"({', '.join(data.channel_names)}) on {grid_of(n1, n2)} ({_axes(data)})",
        data.orientation_note,
    ]
    if data.theta is None:
        lines.append("no factors: nothing to score disentanglement against, nothing to label with")
        lines.append(_advice(_possible_factors(contents, {n})))
    else:
        names = data.factor_names
        lines.append(f"{counted(len(names), 'factor')}: {', '.join(names)}")
        constant = scored_factors(data.theta.double().numpy(), names, np.arange(n))[1]
        lines += constant + describe_factors(data)
    if n1 != n2 or n1 % 2 == 0:
        lines.append("--model dense needs a square grid with an odd number of nodes; pod takes it")
    return lines


def _axes(data: FieldDataset) -> str:
    """Names of the axes, without the signs that make a formula of x1 and x2."""
    return ", ".join({"$x_1$": "x1", "$x_2$": "x2"}.get(name, name) for name in data.axis_names)


def _possible_factors(contents: Contents, lengths: set[int]) -> list[str]:
    """Names of the arrays that hold a few numbers for each sample."""
    axes = {dim for array in contents.arrays.values() for dim in array.dims}
    return [
        array.name
        for array in contents.arrays.values()
        if array.is_real
        and array.name
        and array.name not in axes  # the coordinate of an axis is no factor
        and len(array.shape) in (1, 2)
        and array.shape[0] in lengths
        and array.shape[1:] <= (MOST_FACTORS,)
    ]


def _advice(names: list[str]) -> str:
    """How to give factors: some arrays of the file, or a file beside it."""
    hint = "give factors with --factors: a CSV file with a row for each sample"
    return hint + (f", or a key: {', '.join(names)}" if names else ", or a key of the file")

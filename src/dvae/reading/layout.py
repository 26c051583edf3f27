"""Which arrays of a file are fields and factors, and how their axes lie; never guessed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Num

from dvae.errors import DataError
from dvae.reading.axes import check_first_axis, fits_another_axis
from dvae.reading.files import HDF5, MATLAB, MATLAB_HDF5, NPY, Contents, StoredArray

__all__ = ["FORMAT", "ChannelAxis", "Coordinate", "Selection", "select_arrays", "split_names"]

FORMAT = "dvae-fields-1"  # attribute "format" of a file that this project wrote

ChannelAxis = Literal["first", "last", "none"]
CHANNEL_AXES = ("first", "last", "none")
PROJECT = {"theta": "generative_params", "permeability": "permeability", "fields": "output"}
FIELD_KEYS = ("output", "fields", "tensor")  # of this project, of any archive, of PDEBench
FACTOR_KEYS = ("generative_params", "factors")
FEW = 4  # nodes along an axis that may as well be channels
SHOWN = 12  # names in a message
REMEDIES = {  # what to do with an array that holds no real numbers, by the kind of its type
    "c": ": store real and imaginary parts as two channels",
    "U": ", and this is text",
    "O": ": bring the fields to one shape and stack them, numpy.stack(list_of_fields)",
}


@dataclass(frozen=True)
class Coordinate:
    """Where the nodes of an axis lie.

    Attributes
    ----------
    values : ndarray of shape (n,)
        Finite, and rising or falling throughout.
    units : str
        Their units; empty where the file gives none.
    """

    values: Float[np.ndarray, " node"]
    units: str = ""


@dataclass
class Selection:
    """Fields and factors of a file.

    Attributes
    ----------
    fields : StoredArray
        Fields (sample, channel, x1, x2), not read yet.
    arrays : dict of str to ndarray
        Where there are any ``theta`` (sample, factor) and ``permeability`` (sample, 1, x1, x2),
        as stored.
    keys : dict of str to str
        Where each comes from, for messages.
    note : str
        A sentence that says what was read as what.
    names : dict of str to str
        Comma-separated ``channels``, ``axes`` and ``factor_names``, where the file gives them.
    coordinates : list of Coordinate
        Of the axes of the grid, where the file gives those of all.
    """

    fields: StoredArray
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    keys: dict[str, str] = field(default_factory=dict)
    note: str = ""
    names: dict[str, str] = field(default_factory=dict)
    coordinates: list[Coordinate] = field(default_factory=list)


def select_arrays(
    contents: Contents,
    fields: str | Sequence[str] | None = None,
    factors: str | Sequence[str] | None = None,
    channels: ChannelAxis | None = None,
) -> Selection:
    """Find fields and factors of a file, and read the latter.

    The arguments are those of ``FieldDataset.load``.

    Raises
    ------
    DataError
        If a key is missing, it is not clear which arrays are meant or how their axes lie, or an
        array is not one of real numbers or has too many axes.
    """
    if channels is not None and channels not in CHANNEL_AXES:
        raise DataError(f"channels is {channels!r}; choose one of {', '.join(CHANNEL_AXES)}.")
    asked = split_names(fields)
    keys = asked or _field_keys(contents)
    ours = contents.attributes.get("format") == FORMAT
    like_ours = contents.kind == HDF5 and keys == ["output"] and channels is None
    if like_ours and (ours or _channels_first(contents.arrays["output"].shape)):
        chosen = _project(contents, ours)
    else:
        chosen = _own_fields(contents, keys, channels or ("first" if ours else None))
    _take_factors(contents, split_names(factors), chosen, contents.arrays[keys[0]])
    return chosen


def split_names(names: str | Sequence[str] | None) -> list[str]:
    """Names that are separated by commas, or a list of such, as one list.

    Raises
    ------
    DataError
        If one of them is there twice.
    """
    given = [names] if isinstance(names, str) else names or []
    parts = [part.strip() for name in given for part in name.split(",") if part.strip()]
    for name in parts:
        if parts.count(name) > 1:
            raise DataError(f"{name!r} is named twice in {', '.join(parts)}: name it once.")
    return parts


# ------------------------------------------------------------------------------ fields


def _field_keys(contents: Contents) -> list[str]:
    """The only array that can be meant."""
    known = [key for key in FIELD_KEYS if key in contents.arrays]
    if known:
        candidates = known
    else:
        others = {*PROJECT.values(), *FACTOR_KEYS}
        arrays = [a for a in contents.arrays.values() if a.name not in others]
        real = [a for a in arrays if a.is_real and 0 not in a.shape]
        large = [array for array in real if len(array.shape) > 2]
        flat = [array for array in real if len(array.shape) == 2 and 1 not in array.shape]
        only = real[: len(real) == 1] or arrays[: len(arrays) == 1]  # the latter to say what it is
        candidates = [array.name for array in large or flat or only]
    if len(candidates) == 1:
        return candidates
    if candidates:
        shapes = listed(contents, candidates)
        raise DataError(
            f"{contents.path}: which of these are the fields? {shapes}; say so with the option "
            "fields (--fields KEY; several keys become channels)."
        )
    raise DataError(
        f"{contents.path}: key 'output' is missing (found: "
        f"{', '.join(contents.arrays) or 'nothing'}); it must hold the fields, of shape (samples, "
        "channels, n1, n2), or another key that the option fields names (--fields KEY)."
    )


def listed(contents: Contents, names: Sequence[str]) -> str:
    """Names of arrays with their shapes."""
    parts = [
        f"{repr(name) if name else 'an array without a name'} {contents.arrays[name].shape}"
        for name in names[:SHOWN]
    ]
    if len(names) > SHOWN:
        parts.append(f"and {len(names) - SHOWN} more")
    return ", ".join(parts)


def _array(contents: Contents, key: str, option: str) -> StoredArray:
    if key not in contents.arrays:
        found = listed(contents, list(contents.arrays))
        raise DataError(
            f"{contents.path}: there is no array {key!r}, which the option {option} names "
            f"(found: {found or 'nothing'})."
            + " A table of factors is a file that ends in .csv."
            * (option == "factors")
        )
    return contents.arrays[key]


def _real(contents: Contents, array: StoredArray) -> StoredArray:
    """The array, after a check that it holds real numbers."""
    if not array.is_real:
        raise DataError(
            f"{contents.path}: {array.label} is of type {array.dtype}; it must be an array of "
            f"real numbers{REMEDIES.get(array.dtype.kind, '')}."
        )
    return array


def _filled(contents: Contents, array: StoredArray) -> StoredArray:
    """The array, after a check that it holds real numbers and one or more of them."""
    if 0 in array.shape:
        what = "samples" if array.shape[0] == 0 else "values"
        raise DataError(
            f"{contents.path}: {array.label} has shape {array.shape}: there are no {what} in it."
        )
    return _real(contents, array)


def _values(contents: Contents, array: StoredArray) -> np.ndarray:
    return _real(contents, array).read()


def _project(contents: Contents, ours: bool) -> Selection:
    """Arrays of a file in this project's layout, which is that of the paper's authors.

    Factors of a file that is not ``ours`` may as well be those of :func:`_take_factors`.
    """
    chosen = Selection(_filled(contents, contents.arrays[PROJECT["fields"]]))
    for name, key in PROJECT.items():
        if key in contents.arrays and (ours or name != "theta"):
            chosen.keys[name] = f"key {key!r}"
            if name != "fields":
                chosen.arrays[name] = _values(contents, contents.arrays[key])
    chosen.note = "fields: key 'output', axes (sample, channel, x1, x2)"
    return chosen


def _own_fields(contents: Contents, keys: list[str], channels: ChannelAxis | None) -> Selection:
    """Fields of one or several arrays, as (sample, channel, x1, x2)."""
    arrays = [_filled(contents, _array(contents, key, "fields")) for key in keys]
    first = arrays[0]
    if any(array.shape != first.shape for array in arrays):
        raise DataError(
            f"{contents.path}: {listed(contents, keys)} have different shapes; "
            "only arrays of one shape become channels of the same fields."
        )
    known = {name: i for i, name in enumerate(first.dims)}
    for array in arrays[1:]:
        moved = any(known.get(name, i) != i for i, name in enumerate(array.dims))
        if moved and array.dims != first.dims:
            raise DataError(
                f"{contents.path}: the axes of {first.label} are ({', '.join(first.dims)}), those "
                f"of {array.label} ({', '.join(array.dims)}); store them in one order to make them "
                "channels of the same fields (xarray: transpose)."
            )
    meanings = {_meaning(contents, array, channels): array for array in arrays}
    if len(meanings) > 1:
        said = "; ".join(f"{array.label} ({words})" for words, array in meanings.items())
        raise DataError(
            f"{contents.path}: the axes of these arrays mean different things: {said}; only arrays "
            "of one kind become channels of the same fields."
        )
    (words,) = meanings
    chosen = Selection(_stacked(arrays, words))
    source = "the array" if contents.kind == NPY else f"key {', '.join(map(repr, keys))}"
    chosen.keys["fields"] = source
    chosen.note = f"fields: {source}, axes ({words})"
    names = [name for array in arrays for name in _channel_names(contents, array, words)]
    named = first.labels or first.units or first.title != first.name
    if named or len(keys) > 1 or (keys[0] and keys[0] not in FIELD_KEYS):
        chosen.names["channels"] = ", ".join(names)
    if first.dims:
        triples = zip(first.dims, first.shape, words.split(", "), strict=True)
        axes = {dim: count for dim, count, word in triples if word.startswith("x")}
        chosen.names["axes"] = ", ".join(axes)
        chosen.coordinates = _coordinates(contents, axes)
        chosen.note += f", in the file ({', '.join(first.dims)})"
    return chosen


def _places(contents: Contents, dim: str, count: int) -> Float[np.ndarray, " node"] | None:
    """Numbers at the positions along an axis: the array of its name; None without one."""
    array = contents.arrays.get(dim)
    if array is None or not array.is_real or array.shape != (count,):
        return None
    return array.read().astype(np.float64)


def _coordinates(contents: Contents, axes: dict[str, int]) -> list[Coordinate]:
    """Coordinates of some axes: arrays of their names; none unless those of all can be drawn."""
    found = []
    for name, count in axes.items():
        values = _places(contents, name, count)
        if values is None or count < 2:
            return []
        steps = np.diff(values)  # NaN beside a value that is not finite
        if not ((steps > 0).all() or (steps < 0).all()) or not np.isfinite(values).all():
            return []
        found.append(Coordinate(values, contents.arrays[name].units))
    return found


def _stacked(arrays: list[StoredArray], words: str) -> StoredArray:
    """Arrays of one shape as one of fields (sample, channel, x1, x2)."""

    def rows(part: slice) -> np.ndarray:
        parts = [_arranged(array.rows(part), words) for array in arrays]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, 1)

    count, channels, *grid = _arranged(np.broadcast_to(0, arrays[0].shape), words).shape
    dtype = np.result_type(*(array.dtype for array in arrays))
    return StoredArray("", (count, len(arrays) * channels, *grid), dtype, rows)


def _channel_names(contents: Contents, array: StoredArray, words: str) -> list[str]:
    """Names of the channels of an array: along its axis of channels, or by its own name."""
    axes = words.split(", ")
    if "channel" not in axes:
        return [_with_units(array.title, array.units)]
    axis = axes.index("channel")
    dim, count = array.dims[axis] if array.dims else "", array.shape[axis]
    if dim in array.labels:
        names = [label.replace(",", " ") for label in array.labels[dim]]
    elif count == 1:
        names = [array.title]
    elif (places := _places(contents, dim, count)) is not None:
        units = contents.arrays[dim].units
        names = [f"{array.title} {f'{place:.9g} {units}'.strip()}" for place in places]
    else:
        names = [f"{array.title} {i + 1}" for i in range(count)]
    return [_with_units(name, array.units) for name in names]


def _with_units(name: str, units: str) -> str:
    """A name with units behind it, if there are any."""
    return f"{name} [{units}]" if units else name


def _meaning(contents: Contents, array: StoredArray, channels: ChannelAxis | None) -> str:
    """What the axes of an array are, in their order: "sample, x1, x2", say."""
    check_first_axis(contents, array)
    shape, where = array.shape, f"{contents.path}: {array.label} has shape"
    named = [i for i, dim in enumerate(array.dims) if i and dim in array.labels]
    if channels is None and named in ([1], [len(shape) - 1]):
        channels = "first" if named == [1] else "last"  # the file names each position: no grid
    elif channels is None:
        last_is_short = len(shape) == 4 and not _channels_first(shape)
        if last_is_short or (len(shape) == 3 and min(shape[1:]) <= FEW):
            raise DataError(
                f"{where} {shape}: are its channels the axis after the samples, the last one, or "
                "is there no such axis? say so with the option channels (--channels first, last "
                "or none)."
            )
        channels = "first" if len(shape) > 3 else "none"
    grid = len(shape) - 1 - (channels != "none")
    if not 1 <= grid <= 2:
        raise DataError(
            f"{where} {shape}, which is no set of fields on a line or a plane "
            f"{'' if channels == 'none' else 'with channels '}with the samples first; values at "
            "points of any other grid can be stored as (samples, points), which the pod model "
            "takes."
        )
    axes = [f"x{i + 1}" for i in range(grid)]
    if channels != "none":
        axes.insert(0 if channels == "first" else grid, "channel")
    return ", ".join(["sample", *axes])


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Whether the second of four axes can be that of the channels without a doubt."""
    return len(shape) == 4 and shape[3] >= shape[1]


def _arranged(
    values: Num[np.ndarray, "*axes"], words: str
) -> Num[np.ndarray, "sample channel x1 x2"]:
    """Values with the axes (sample, channel, x1, x2); a line has one node along x2."""
    axes = words.split(", ")
    if "channel" in axes:
        values = np.moveaxis(values, axes.index("channel"), 1)
    else:
        values = np.expand_dims(values, 1)
    return values if "x2" in axes else np.expand_dims(values, -1)


# ------------------------------------------------------------------------------ factors


def _take_factors(
    contents: Contents, asked: list[str], chosen: Selection, fields: StoredArray
) -> None:
    """Factors of the arrays that are asked for, of a CSV file, or of the known key.

    ``fields`` is their array as the file has it, or the first of several.
    """
    if len(asked) == 1 and asked[0].lower().endswith(".csv") and asked[0] not in contents.arrays:
        theta, names = _csv_factors(Path(asked[0]), contents, fields)
        chosen.keys["theta"] = f"file {asked[0]}"
    else:
        known = [key for key in FACTOR_KEYS if key in contents.arrays]
        if not asked and ("theta" in chosen.arrays or not known):
            return
        keys = asked or known[:1]
        arrays = [_array(contents, key, "factors") for key in keys]
        columns = [_columns(contents, array, fields) for array in arrays]
        theta = np.concatenate(columns, 1)
        names = []
        for key, part in zip(keys, columns, strict=True):
            n = part.shape[1]
            names += [key] if n == 1 else [f"{key} {i + 1}" for i in range(n)]
        chosen.keys["theta"] = f"key {', '.join(map(repr, keys))}"
        if not asked:
            names = []
    chosen.arrays["theta"] = theta
    chosen.note += f"; factors: {chosen.keys['theta']}"
    chosen.names.pop("factor_names", None)
    if names:
        chosen.names["factor_names"] = ", ".join(names)


def _columns(
    contents: Contents, array: StoredArray, fields: StoredArray
) -> Num[np.ndarray, "sample factor"]:
    """An array of one or more factors of every sample, as columns."""
    values, count = _values(contents, array), fields.shape[0]
    if contents.kind in (MATLAB, MATLAB_HDF5) and values.ndim == 2 and len(values) == 1 < count:
        values = values.T  # MATLAB has no arrays of one axis: a row is such a one
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or len(values) != count:
        raise DataError(
            f"{contents.path}: key {array.name!r} has shape {array.shape}; factors of {count} "
            f"samples must be ({count},) or ({count}, factors)."
            + fits_another_axis(contents, fields, values.shape[:1])
        )
    return values


def _csv_factors(
    path: Path, contents: Contents, fields: StoredArray
) -> tuple[Num[np.ndarray, "sample factor"], list[str]]:
    """Factors of a table with a header and a row for each sample, and their names.

    A column ``sample``, if there is one, holds the positions of the rows' samples, from 0.
    """
    import pandas as pd

    count = fields.shape[0]
    try:
        table = pd.read_csv(path, skipinitialspace=True)
    except OSError as error:
        raise DataError(f"factors {path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # pandas' own and UnicodeDecodeError are such
        raise DataError(f"factors {path} are not a CSV table: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # then pandas made one of the first cells
        raise DataError(
            f"factors {path}: rows have more cells than the header; numbers need decimal points, "
            "not commas, and cells commas between them, not semicolons."
        )
    if len(table) != count:
        raise DataError(
            f"factors {path} have {len(table)} rows under their header, but there are {count} "
            "samples; give one row for each. (Labels of some samples go to --labels.)"
            + fits_another_axis(contents, fields, (len(table),))
        )
    for name in table:
        if str(name).startswith("Unnamed: "):  # how pandas calls it
            raise DataError(
                f"factors {path}: column {table.columns.get_loc(name) + 1} has no name; leave it "
                "out if it numbers the rows (pandas: to_csv with index=False), else name it."
            )
        if ";" in str(name):
            raise DataError(
                f"factors {path}: the header {name!r} has semicolons; put commas between the "
                "cells, and decimal points in the numbers."
            )
        if table[name].dtype.kind not in "fiu":
            raise DataError(f"factors {path}: column {name!r} does not hold numbers only.")
    if "sample" in table:
        if sorted(table["sample"]) != list(range(count)):
            raise DataError(
                f"factors {path}: column 'sample' must hold every position from 0 to "
                f"{count - 1} once."
            )
        table = table.sort_values("sample").drop(columns="sample")
    # names are kept as a list between commas
    return table.to_numpy(np.float64, copy=True), [str(name).replace(",", " ") for name in table]

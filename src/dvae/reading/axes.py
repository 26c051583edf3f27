"""Signs that samples do not lie along the first axis of an array, and how to bring them there."""

from __future__ import annotations

from dvae.errors import DataError
from dvae.reading.files import MATLAB, MATLAB_HDF5, NETCDF, ZARR, Contents, StoredArray

__all__ = ["check_first_axis", "fits_another_axis"]

# names of axes in the singular
SAMPLES = {
    *("sample", "run", "case", "realization", "realisation", "member", "simulation", "snapshot"),
    *("draw", "experiment", "ensemble", "ensemble_member"),
}
TIMES = {"time", "t", "date", "day", "month", "year", "step", "n", "index"}
GRID = {
    *("x", "y", "z", "x1", "x2", "i", "j", "k", "lat", "lon", "latitude", "longitude", "depth"),
    *("height", "level", "row", "col", "column", "node", "point", "cell", "nx", "ny", "nz"),
}
PLACES = ("first", "second", "third", "fourth", "fifth")


def check_first_axis(contents: Contents, array: StoredArray) -> None:
    """Raise DataError if the names of the axes say that the samples are not along the first one.

    They are along another axis if it is called like one of samples, and the first one is not. So
    they are if the first one is called like one of a grid, and the other like a time, or has
    arrays of its own that are no coordinates (the causes of each sample).
    """
    first, *names = [dim.lower().removesuffix("s") for dim in array.dims] or [""]
    for axis, name in enumerate(names, 1):
        dim = array.dims[axis]
        own = [a.label for a in contents.arrays.values() if a.dims == (dim,) and a.name != dim]
        if name in SAMPLES and first not in SAMPLES | TIMES:
            reason = "which is called so"
        elif first in GRID and name in TIMES:
            reason = "for the first one is of a grid"
        elif first in GRID and name not in GRID and own:
            reason = f"for {own[0]} does"
        else:
            continue
        raise DataError(
            f"{contents.path}: {array.label} has the axes ({', '.join(array.dims)}): its samples "
            f"seem to lie along {dim!r}, {reason}, and must lie along the first axis: "
            f"{_moved(contents, array, axis)}, or rename the axes if they are something else."
        )


def fits_another_axis(contents: Contents, fields: StoredArray, lengths: tuple[int, ...]) -> str:
    """A sentence, if factors of another length than the first axis have that of another one."""
    axes = [axis for axis, length in enumerate(fields.shape) if axis and (length,) == lengths]
    if not axes:
        return ""
    return (
        f" The {PLACES[axes[-1]]} axis of the fields {fields.shape} is as long: if the samples lie "
        f"along it, {_moved(contents, fields, axes[-1])}."
    )


def _moved(contents: Contents, array: StoredArray, axis: int) -> str:
    """How to bring an axis to the front."""
    if contents.kind in (NETCDF, ZARR):
        how = f"fields.transpose({array.dims[axis]!r}, ...) of xarray"
    elif contents.kind in (MATLAB, MATLAB_HDF5):
        order = [axis, *(other for other in range(len(array.shape)) if other != axis)]
        how = f"permute(fields, [{' '.join(str(other + 1) for other in order)}])"
    else:
        how = f"numpy.moveaxis(fields, {axis}, 0)"
    return f"bring it to the front with {how} and store them again"

"""Reading NetCDF-4 files whole, several times faster than ``xarray.load_dataset``.

``dvae claims`` reads every stored result, and what xarray prepares for reading in pieces (chunks,
encodings, lazy arrays) would take most of its time. Files are written by xarray
(:func:`dvae.results.store.write_result`), and here they are what NetCDF-4 says: HDF5 data sets
with dimension scales, and attributes by the CF conventions.
"""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np
import xarray as xr

__all__ = ["read_netcdf"]

# attributes that say how a variable is stored, not what it is
_LAYOUT = {
    "CLASS",
    "DIMENSION_LIST",
    "NAME",
    "REFERENCE_LIST",
    "_FillValue",
    "_NCProperties",
    "_Netcdf4Coordinates",
    "_Netcdf4Dimid",
    "coordinates",
    "dtype",
}
_NO_VARIABLE = b"This is a netCDF dimension but not a netCDF variable"


def read_netcdf(path: str | os.PathLike) -> xr.Dataset:
    """Dataset in a NetCDF-4 file that xarray wrote, in memory.

    Parameters
    ----------
    path : path
        File of one group, without packed values (``scale_factor``), missing integers or times.

    Returns
    -------
    xarray.Dataset
        What ``xarray.load_dataset`` returns, without ``encoding``.

    Raises
    ------
    OSError
        If the file cannot be read; h5py raises other errors as well on damaged files.
    """
    variables: dict[str, xr.Variable] = {}
    with h5py.File(path, "r") as file:
        coordinates = _coordinates(file)
        for name, stored in file.items():
            if stored.is_scale and stored.attrs["NAME"].startswith(_NO_VARIABLE):
                continue  # only the length of a dimension
            variables[name] = xr.Variable(
                _dimensions(stored), _values(stored), _attributes(stored), fastpath=True
            )
            coordinates |= _coordinates(stored)
        attributes = _attributes(file)
    # xarray takes the variable of a dimension's name for its coordinate
    data = {name: value for name, value in variables.items() if name not in coordinates}
    labels = {name: value for name, value in variables.items() if name in coordinates}
    return xr.Dataset(data, labels, attributes)


def _coordinates(stored: h5py.Dataset | h5py.File) -> set[str]:
    """Names of the coordinates that a variable lists (CF conventions, section 5)."""
    return set(stored.attrs["coordinates"].split()) if "coordinates" in stored.attrs else set()


def _dimensions(stored: h5py.Dataset) -> tuple[str, ...]:
    if stored.is_scale:  # the labels of the dimension of its own name
        return (stored.name.lstrip("/"),)
    return tuple(dimension[0].name.lstrip("/") for dimension in stored.dims)


def _values(stored: h5py.Dataset) -> np.ndarray | np.generic:
    """Values in the types that xarray gives them: text of fixed length, and booleans."""
    if stored.dtype.kind == "O":
        return np.asarray(stored.asstr()[()], dtype=str)
    is_boolean = stored.dtype == np.int8 and stored.attrs.get("dtype") == "bool"
    return stored[()].astype(bool) if is_boolean else stored[()]


def _attributes(stored: h5py.Dataset | h5py.File) -> dict[str, Any]:
    attributes = {name: stored.attrs[name] for name in stored.attrs if name not in _LAYOUT}
    # NetCDF stores a number as an array of one
    return {
        name: value[0] if isinstance(value, np.ndarray) and value.shape == (1,) else value
        for name, value in attributes.items()
    }

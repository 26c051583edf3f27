"""What is in a file: names, shapes and types of its arrays, whatever the format."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np

from dvae.errors import DataError
from dvae.hdf5 import check_hdf5

__all__ = ["Contents", "StoredArray", "open_file"]

HDF5, MATLAB_HDF5, MATLAB = "HDF5 file", "MATLAB 7.3 file", "MATLAB file"
NETCDF, ZARR, NPY, NPZ = "NetCDF file", "Zarr store", "NumPy array", "NumPy archive"
FORMATS = "HDF5, .npy, .npz, NetCDF, Zarr and MATLAB files"
NETCDF_ENDS = (".nc", ".nc4", ".cdf", ".netcdf")
AGAIN = "fetch or generate it again"
PIECE = 2**22  # values that are read at once where not all are needed
DIMENSIONLESS = ("", "1", "-", "dimensionless")
HDF5_ENDS = (".h5", ".hdf5", ".hdf", ".he5")
NUMPY_ENDS = (".npy", ".npz")
TEXT_ENDS = (".csv", ".tsv", ".txt", ".dat", ".asc")


@dataclass(frozen=True)
class StoredArray:
    """An array of a file, not read yet.

    Attributes
    ----------
    name : str
        Its key; ``group/key`` in a group; empty in a file of one array without a name.
    shape : tuple of int
        As numpy sees it; arrays of MATLAB with the axes that MATLAB shows.
    dtype : numpy.dtype
        Type of the values.
    rows : callable
        Gives the values of a slice of the first axis, as they are stored.
    dims : tuple of str
        Names of the axes, where the file gives them to all.
    labels : dict of str to tuple of str
        Names of the positions along an axis, where the file gives them.
    title : str
        Name of the array for people: its ``long_name``, if it has one, or its key.
    units : str
        Units of the values; empty where the file gives none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    rows: Callable[[slice], np.ndarray]
    dims: tuple[str, ...] = ()
    labels: dict[str, tuple[str, ...]] = field(default_factory=dict)
    title: str = ""
    units: str = ""

    @property
    def is_real(self) -> bool:
        """Whether the values are integers or floating-point numbers."""
        return self.dtype.kind in "fiu"

    @property
    def label(self) -> str:
        """What to call the array in a sentence."""
        return f"key {self.name!r}" if self.name else "the array"

    def read(self) -> np.ndarray:
        """All values, as they are stored."""
        return self.rows(slice(None))

    def pieces(self) -> Iterator[np.ndarray]:
        """The values, some rows of the first axis at a time."""
        if not self.shape:
            yield self.read()
            return
        size = max(1, PIECE // max(1, math.prod(self.shape[1:])))
        for first in range(0, self.shape[0], size):
            yield self.rows(slice(first, first + size))


@dataclass(frozen=True)
class Contents:
    """What a file holds.

    Attributes
    ----------
    path : Path
        The file.
    kind : str
        Its format in words.
    arrays : dict of str to StoredArray
        By name, in alphabetical order.
    attributes : dict
        Of the file as a whole, as plain Python values; of a ``.npz`` file what has no axes.
    """

    path: Path
    kind: str
    arrays: dict[str, StoredArray]
    attributes: dict[str, Any] = field(default_factory=dict)


def open_file(path: str | Path) -> Contents:
    """Names, shapes and types of the arrays of a file, by its first bytes and then its name.

    Parameters
    ----------
    path : path-like
        An HDF5, ``.npy``, ``.npz``, NetCDF or MATLAB file, or a Zarr folder.

    Returns
    -------
    Contents
        Arrays are read when asked.

    Raises
    ------
    DataError
        If there is no such file, or it is truncated, damaged or of another format.
    """
    path = Path(path)
    if path.is_dir():
        return _open_xarray(path, ZARR, "zarr")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file; `dvae generate` makes Darcy data.")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from error
    if not start:
        raise DataError(f"{path}: the file is empty (0 bytes); fetch or save it again.")
    end = path.suffix.lower()
    if start.startswith(b"\x93NUMPY"):
        return _open_npy(path)
    if start.startswith(b"PK\x03\x04"):
        return _open_npz(path)
    if start.startswith(b"CDF"):
        return _open_xarray(path, NETCDF, "scipy")
    if start.startswith(b"MATLAB 5.0") or (end == ".mat" and not h5py.is_hdf5(path)):
        return _open_matlab(path)
    if end in NETCDF_ENDS:
        return _open_xarray(path, NETCDF, "h5netcdf")
    if end in HDF5_ENDS or h5py.is_hdf5(path):
        return _open_hdf5(path, start)
    raise DataError(f"{path}: {_unknown(path, end)}.")


def _unknown(path: Path, end: str) -> str:
    """Why a file is of no format, and what to do, by how its name ends."""
    if end in NUMPY_ENDS:
        return f"its first bytes are not those of a NumPy file; it is damaged: {AGAIN}"
    reason = f"not of a format that dvae reads ({FORMATS})"
    if end not in TEXT_ENDS:
        return (
            f"{reason}; save the fields in one of them, for instance as an array (samples, n1, "
            "n2) with numpy.save('fields.npy', fields)"
        )
    comma = ", delimiter=','" if end == ".csv" else ""
    return (
        f"{reason}; numpy.save('fields.npy', numpy.loadtxt({path.name!r}{comma})) makes one of "
        "numbers with a line for each sample (skiprows=1 leaves out a header)"
    )


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    """Turn what a library says of a damaged file into an error that names the file."""
    try:
        yield
    except BlockingIOError as error:
        raise DataError(
            f"{path}: another program has the file open for writing, and HDF5 locks it ({error}): "
            "close it there; or copy it, if that program is not writing now."
        ) from error
    except DataError:
        raise
    except Exception as error:  # libraries raise many kinds on damaged files
        raise DataError(
            f"{path}: not a complete {kind} ({error}); it may be truncated or of another "
            f"format: {AGAIN}."
        ) from error


# ------------------------------------------------------------------------------ HDF5


def _open_hdf5(path: Path, start: bytes) -> Contents:
    arrays: dict[str, StoredArray] = {}
    with _named(path, HDF5):
        check_hdf5(path)
    with _named(path, HDF5), h5py.File(path, "r") as file:
        attributes = {key: _plain(value) for key, value in file.attrs.items()}
        if "_NCProperties" in attributes:
            return _open_xarray(path, NETCDF, "h5netcdf")
        matlab = start.startswith(b"MATLAB") or any(
            "MATLAB_class" in item.attrs for item in map(file.get, file) if item is not None
        )

        def add(name: str, item: h5py.Dataset | h5py.Group | None) -> None:
            if isinstance(item, h5py.Dataset) and not name.startswith("#"):
                arrays[name] = _hdf5_array(path, name, item, matlab)

        file.visititems(add)
        for name in file:  # links, which visititems leaves out
            add(name, file.get(name))
    arrays = dict(sorted(arrays.items()))
    return Contents(path, MATLAB_HDF5 if matlab else HDF5, arrays, attributes)


def _hdf5_array(path: Path, name: str, item: h5py.Dataset, matlab: bool) -> StoredArray:
    """An array; MATLAB stores the first axis as the fastest, which is the last of HDF5."""

    shape = tuple(item.shape or ())

    def rows(part: slice) -> np.ndarray:
        with _named(path, HDF5), h5py.File(path, "r") as file:
            if not shape:
                return file[name][()]
            return file[name][..., part].T if matlab else file[name][part]

    dims = tuple(dim.label for dim in item.dims) if item.shape else ()
    dims = dims if all(dims) else ()
    named = shape[::-1] if matlab else shape
    return StoredArray(name, named, item.dtype, rows, dims, **_described(name, item.attrs))


def _described(name: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Title and units of an array, from the attributes that NetCDF's conventions name."""
    title, units = (
        " ".join(str(_plain(attributes.get(key, ""))).replace(",", " ").split())
        for key in ("long_name", "units")
    )
    return {"title": title or name, "units": "" if units in DIMENSIONLESS else units}


def _plain(value: Any) -> Any:
    """An attribute as a plain Python value."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value


# ------------------------------------------------------------------------------ NumPy


def _open_npy(path: Path) -> Contents:
    """An array of a file of its own; read from where it lies, never mapped to memory as a whole."""
    with _named(path, NPY), path.open("rb") as file:
        shape, fortran, dtype = _npy_header(file)
        start = file.tell()
        held = path.stat().st_size - start
        if not dtype.hasobject and held < math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{held} bytes for an array {shape} of {dtype}")

    def rows(part: slice) -> np.ndarray:
        with _named(path, NPY):
            if fortran or not shape:
                return np.load(path)[part] if shape else np.load(path)
            first, last, _ = part.indices(shape[0])
            row = math.prod(shape[1:])
            count, skipped = (last - first) * row, first * row * dtype.itemsize
            values = np.fromfile(path, dtype, count, offset=start + skipped)
            return values.reshape(last - first, *shape[1:])

    return Contents(path, NPY, {"": StoredArray("", shape, dtype, rows)})


def _npy_header(file: IO[bytes] | BufferedIOBase) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether the first axis is the fastest, and type of an array of NumPy's own format."""
    if np.lib.format.read_magic(file) == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    return np.lib.format.read_array_header_2_0(file)


def _npz_member(file: Any, name: str) -> np.ndarray:
    """An array of an archive; Python objects, which only their pickle could read, are left out."""
    with file.zip.open(f"{name}.npy") as member:
        shape, _, dtype = _npy_header(member)
    return np.empty(shape, dtype) if dtype.hasobject else file[name]


def _open_npz(path: Path) -> Contents:
    # numpy leaves a file that it opens itself open where the archive is damaged
    with _named(path, NPZ), path.open("rb") as stream, np.load(stream) as file:
        if not file.files or not all(f"{name}.npy" in file.zip.namelist() for name in file.files):
            raise DataError(
                f"{path}: a zip archive, but not one of numpy.savez; save its arrays with it, "
                "for instance numpy.savez('fields.npz', fields=..., factors=...)."
            )
        values = {name: _npz_member(file, name) for name in sorted(file.files)}
    arrays = {name: _in_memory(name, value) for name, value in values.items() if value.ndim}
    attributes = {name: value.item() for name, value in values.items() if not value.ndim}
    return Contents(path, NPZ, arrays, attributes)


def _in_memory(name: str, value: np.ndarray) -> StoredArray:
    rows = value.__getitem__ if value.ndim else lambda _: value
    return StoredArray(name, value.shape, value.dtype, rows, title=name)


# ------------------------------------------------------------------------------ MATLAB


def _open_matlab(path: Path) -> Contents:
    """A file of MATLAB before 7.3; whole, since its variables are compressed one by one."""
    from scipy.io import loadmat

    with _named(path, MATLAB):
        values = loadmat(path)
    arrays = {
        name: _in_memory(name, value)
        for name, value in sorted(values.items())
        if isinstance(value, np.ndarray)
    }
    if not arrays:
        raise DataError(f"{path}: holds no arrays; it may be truncated or of another format.")
    return Contents(path, MATLAB, arrays)


# ------------------------------------------------------------------------------ NetCDF and Zarr


def _open_xarray(path: Path, kind: str, engine: str) -> Contents:
    """Variables and coordinates; fill values become NaN."""
    import xarray as xr

    if engine == "zarr":
        _check_zarr(path)
    if engine == "h5netcdf":
        with _named(path, kind):
            check_hdf5(path)

    options = {"scipy": {"mmap": False}, "zarr": {"consolidated": False}}.get(engine)

    def opened() -> xr.Dataset:
        return xr.open_dataset(path, engine=engine, decode_times=False, backend_kwargs=options)

    def rows(name: str, part: slice) -> np.ndarray:
        with _named(path, kind), opened() as data:
            return (data[name][part] if data[name].ndim else data[name]).values

    with _named(path, kind), opened() as data:
        labels = {
            str(name): tuple(str(_plain(label)) for label in variable.values)
            for name, variable in data.variables.items()
            if variable.dims == (name,) and variable.dtype.kind in "OSU"
        }
        arrays = {
            str(name): StoredArray(
                str(name),
                variable.shape,
                variable.dtype,
                functools.partial(rows, str(name)),
                dims := tuple(map(str, variable.dims)),
                {dim: labels[dim] for dim in dims if dim in labels},
                **_described(str(name), variable.attrs),
            )
            for name, variable in sorted(data.variables.items(), key=lambda pair: str(pair[0]))
        }
        attributes = {str(key): _plain(value) for key, value in data.attrs.items()}
    return Contents(path, kind, arrays, attributes)


def _check_zarr(path: Path) -> None:
    """Raise DataError unless a folder is a Zarr store and can be read here."""
    import importlib.util

    if not any((path / name).exists() for name in ("zarr.json", ".zgroup", ".zmetadata")):
        raise DataError(
            f"{path}: a folder, but not a Zarr store; name a file of one of these formats: "
            f"{FORMATS}."
        )
    if importlib.util.find_spec("zarr") is None:
        raise DataError(f"{path}: reading a Zarr store needs zarr: pip install 'dvae[zarr]'")

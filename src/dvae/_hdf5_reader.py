"""Read an HDF5 file to its end: a program of its own, for files that HDF5 may crash on.

``python _hdf5_reader.py FILE`` prints nothing and exits with 0 if everything in the file can be
read; otherwise it prints ``locked`` or ``damaged`` and the reason.
"""

from __future__ import annotations

import sys

import h5py

BLOCK = 2**24  # bytes read at once


def read_attributes(stored: h5py.Dataset | h5py.Group) -> None:
    """Read the attributes of a data set or group."""
    for name in stored.attrs:
        stored.attrs[name]


def read_item(_: str, item: h5py.Dataset | h5py.Group) -> None:
    """Read everything that an item holds, some rows at a time."""
    read_attributes(item)
    if not isinstance(item, h5py.Dataset):
        return
    for dimension in item.dims:
        list(dimension.values())
    if not item.shape:
        item[()]
        return
    rows = max(1, BLOCK * item.shape[0] // max(item.nbytes, 1))
    for first in range(0, item.shape[0], rows):
        item[first : first + rows]


def main(path: str) -> str:
    """What is wrong with a file; empty if nothing is."""
    try:
        with h5py.File(path, "r") as file:
            read_attributes(file)
            file.visititems(read_item)
    except BlockingIOError as error:
        return f"locked {error}"
    except Exception as error:  # h5py raises many kinds on damaged files
        return f"damaged {type(error).__name__}: {error}"
    return ""


if __name__ == "__main__":
    problem = main(sys.argv[1])
    print(problem, end="")
    sys.exit(bool(problem))

"""HDF5 files that are safe to open.

HDF5 takes what it finds in a file for granted, and on a damaged one it may answer with any error,
crash, or never come to an end. Files are therefore compared with the digest beside them
(:mod:`dvae.storage`) before HDF5 sees them; a file without one is read to its end by another
process first, which may crash or be ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from dvae.storage import has_digest

__all__ = ["check_hdf5"]

READER = Path(__file__).with_name("_hdf5_reader.py")
SECONDS = 60.0  # to start a process and to follow the structure of a file
BYTES_PER_SECOND = 5e6  # at least: a slow network, compressed contents


def check_hdf5(path: str | os.PathLike, *, digest: bool = True) -> None:
    """Raise an error unless HDF5 can open a file and read it to its end.

    Parameters
    ----------
    path : path-like
        A file that exists.
    digest : bool
        Compare it with the digest beside it, if there is one, instead of reading it.

    Raises
    ------
    DataError
        If the file is not the one that its digest belongs to.
    BlockingIOError
        If another program has the file open for writing.
    OSError
        If there is no digest, and HDF5 finds the file damaged, crashes, or does not come to an
        end.
    """
    if digest and has_digest(path):
        return
    limit = SECONDS + os.path.getsize(path) / BYTES_PER_SECOND
    # -P: the folder of the script holds modules with names that others may have too
    command = [sys.executable, "-P", str(READER), os.fspath(path)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit
        )
    except subprocess.TimeoutExpired as error:
        raise OSError(f"HDF5 does not come to an end with it in {limit:.0f} s: damaged") from error
    if done.returncode == 0:
        return
    outcome, _, reason = done.stdout.partition(" ")
    if outcome == "locked":
        raise BlockingIOError(reason)
    if outcome == "damaged":
        raise OSError(reason)
    lines = done.stderr.splitlines()
    raise OSError(f"HDF5 ends with code {done.returncode} on it ({(lines or ['no message'])[-1]})")

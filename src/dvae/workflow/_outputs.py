"""What a run leaves in its folder: each part kept, whatever becomes of the others."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

import xarray as xr

from dvae.errors import DvaeError
from dvae.storage import atomic_path


class Outputs:
    """Parts of a run's results, made one after the other; a part that fails does not stop others.

    Attributes
    ----------
    folder : Path
        Where they go.
    failed : dict of str to str
        Parts that could not be made, and why.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.failed: dict[str, str] = {}

    def make(self, part: str, write: Callable[[], object]) -> bool:
        """Call ``write``, which makes a part; False, and the reason kept, if it fails."""
        try:
            write()
        except DvaeError as error:  # says all that is needed
            self.failed[part] = str(error)
        except Exception as error:  # of a library: nothing that was trained may be lost by it
            reason = traceback.format_exception_only(error)[-1].strip()
            self.failed[part] = " ".join(reason.split())[:300]
        return part not in self.failed

    def write_netcdf(self, name: str, data: xr.Dataset) -> None:
        """Write a data set as NetCDF."""
        with atomic_path(self.folder / name) as temporary:
            data.to_netcdf(temporary, engine="h5netcdf")

    def notes(self) -> list[str]:
        """A sentence for each part that is missing."""
        return [f"warning: no {part}: {reason}" for part, reason in self.failed.items()]


def write_text(path: Path, text: str) -> None:
    """Write a text file as a whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")

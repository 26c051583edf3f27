"""What a run has in its folder: which of it is lost, and what was trained, from its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import xarray as xr

from dvae.errors import DvaeError
from dvae.hdf5 import check_hdf5
from dvae.models import load_model
from dvae.outputs import model_path
from dvae.training import Ensemble, Fit, Recipe
from dvae.workflow._scores import lowest_loss

UNREADABLE = (DvaeError, OSError, LookupError, TypeError, ValueError)  # of damaged files


def lost_files(folder: Path, members: int, figures: Sequence[str]) -> list[str]:
    """Names of the files of a finished run that are not there or cannot be read.

    Parameters
    ----------
    folder : Path
        Of the run.
    members : int
        Its models.
    figures : sequence of str
        Figures that belong to it.
    """
    checks: dict[Path, Callable[[Path], object]]
    checks = {model_path(folder, i): load_model for i in range(members)}
    checks |= {folder / "history.nc": _netcdf, folder / "latents.nc": _netcdf}
    checks |= {folder / "scores.csv": lambda path: lowest_loss(pd.read_csv(path))}
    pictures = (f"{name}.png" for name in figures)
    checks |= {folder / name: Path.read_bytes for name in ("summary.txt", *pictures)}
    lost = []
    for path, read in checks.items():
        try:
            read(path)
        except UNREADABLE:
            lost.append(path.relative_to(folder).as_posix())
    return lost


def restore(folder: Path, seeds: Sequence[int], recipe: Recipe) -> Fit | None:
    """What a run trained, as it was; None where a model or the history of the training is lost."""
    try:
        ensemble = Ensemble([load_model(model_path(folder, i)) for i in range(len(seeds))])
        history = _netcdf(folder / "history.nc")
        diverged, seconds = history["diverged"].values, float(history.attrs["seconds"])
    except UNREADABLE:
        return None
    return Fit(ensemble, tuple(seeds), recipe, history, diverged, seconds)


def _netcdf(path: Path) -> xr.Dataset:
    check_hdf5(path)
    return xr.load_dataset(path, engine="h5netcdf")

"""Which files a command may write: none that it reads, none of a run, none of somebody else's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

from dvae.errors import DataError

__all__ = ["check_output", "check_suffix", "model_path", "run_files"]

SETTINGS = "settings.json"
CHECKPOINT = "training.checkpoint"
REPORT = "report.html"
LATENTS_SUFFIXES, FIELDS_SUFFIXES = (".csv",), (".npz", ".nc")  # of files of latents and fields
FIGURES = ("history", "latents", "distributions", "traversals", "reconstruction")
# What a run of ``dvae train`` keeps in its folder beside its settings.
OWN = (
    CHECKPOINT,
    "summary.txt",
    "scores.csv",
    "history.nc",
    "latents.nc",
    "models/member_*.safetensors",
    *(f"{name}.png" for name in FIGURES),
)


def check_output(
    path: str | os.PathLike,
    inputs: Iterable[str | os.PathLike] = (),
    *,
    suffixes: Sequence[str] = (),
    default: str | os.PathLike | None = None,
    force: bool = False,
) -> None:
    """Refuse to write where something would be lost.

    Parameters
    ----------
    path : path-like
        The file to be written.
    inputs : iterable of path-like
        What the same command reads; never replaced.
    suffixes : sequence of str, optional
        Ends of names that say a format that is written; by default any.
    default : path-like, optional
        Where the command writes if nobody names a file: replaced without being asked.
    force : bool
        Replace any other file that is there, unless it is part of a run of ``dvae train``.

    Raises
    ------
    DataError
        If the file is one of ``inputs`` or lies in one that is a folder, belongs to a run, is a
        folder, or is there already; or if its name says another format.
    """
    path = Path(path)
    if any(_is_within(path, source) for source in inputs):
        raise DataError(f"{path} is what is read here, and would be lost; name another output file")
    if (folder := _run_of(path)) is not None:
        raise DataError(
            f"{path} belongs to the run in {folder}, and would be lost; name another output file"
        )
    if suffixes:
        check_suffix(path, suffixes)
    if path.is_dir():
        raise DataError(f"{path} is a folder; name a file in it")
    usual = default is not None and _is_same(path, default)
    if path.exists() and not (force or usual):
        raise DataError(f"{path} is already there; name another file, or replace it with --force")


def check_suffix(path: Path, suffixes: Sequence[str]) -> None:
    """Raise DataError unless the name of a file ends as one of a format that is written."""
    if path.suffix.lower() not in suffixes:
        raise DataError(
            f"{path}: its name must say the format, and end in {' or '.join(suffixes)}; choose "
            "such a name"
        )


def model_path(folder: Path, member: int) -> Path:
    """File of a model of a run."""
    return folder / "models" / f"member_{member:03d}.safetensors"


def run_files(folder: Path) -> list[str]:
    """Names of what is in a folder that a run keeps there, its settings left out."""
    found = (path for pattern in OWN for path in folder.glob(pattern))
    return sorted(path.relative_to(folder).as_posix() for path in found)


def _run_of(path: Path) -> Path | None:
    """Folder of the run that a file is part of; None if it is of none."""
    real = path.resolve()
    for folder in real.parents[:2]:
        name = real.relative_to(folder).as_posix()
        own = any(fnmatch(name, pattern) for pattern in (SETTINGS, *OWN))
        if own and (folder / SETTINGS).is_file():
            return folder
    return None


def _is_same(one: Path, other: str | os.PathLike) -> bool:
    """Whether two names are of one file, whether it is there or not."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return one.resolve() == Path(other).resolve()


def _is_within(path: Path, source: str | os.PathLike) -> bool:
    return _is_same(path, source) or Path(source).resolve() in path.resolve().parents

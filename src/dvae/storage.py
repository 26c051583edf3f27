"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from dvae.errors import DvaeError

__all__ = ["atomic_path", "results_folder"]


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success sync it and rename it to ``path``.

    On any error, an interruption included, the temporary file is removed and ``path`` is left as
    it was.

    Raises
    ------
    DvaeError
        If the file cannot be written (full disk, missing permission), naming path and reason.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.", suffix=".partial"
        )
    except OSError as error:
        raise DvaeError(f"cannot write {target}: {error.strerror or error}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        os.replace(temporary, target)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise DvaeError(
            f"cannot write {target}: {error.strerror or error}; "
            "nothing was changed, free some space or choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def results_folder() -> Path:
    """Folder of the results that the book shows.

    ``$DVAE_RESULTS``, else ``results`` of the source checkout that dvae runs from, else
    ``results`` in the current folder.
    """
    if "DVAE_RESULTS" in os.environ:
        return Path(os.environ["DVAE_RESULTS"])
    checkout = Path(__file__).resolve().parents[2]
    return checkout / "results" if (checkout / "pyproject.toml").exists() else Path("results")

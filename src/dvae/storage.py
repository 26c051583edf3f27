"""Files that a reader sees whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dvae.errors import DvaeError

__all__ = ["atomic_path", "results_folder"]

SUFFIX = ".partial"
STALE_SECONDS = 24 * 3600  # a temporary file that was not touched for so long is nobody's


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success sync it and rename it to ``path``.

    On any error, an interruption included, the temporary file is removed and ``path`` is left as
    it was. What a killed process left of such a file for the same path is removed as well.
    Permissions and the sync of the folder are left out where the file system has no such thing.

    Raises
    ------
    DvaeError
        If the file cannot be written (full disk, missing permission), naming path and reason.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _sweep(target)
        handle, name = tempfile.mkstemp(
            dir=target.parent, prefix=f".{target.name}.{_owner()}.", suffix=SUFFIX
        )
    except OSError as error:
        raise DvaeError(f"cannot write {target}: {error.strerror or error}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary, os.O_RDWR)
        with contextlib.suppress(OSError):
            temporary.chmod(0o644)
        os.replace(temporary, target)
    except OSError as error:
        raise DvaeError(
            f"cannot write {target}: {error.strerror or error}; "
            "nothing was changed, free some space or choose another place"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the file is there, and as safe as this place makes it
        _sync(target.parent, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    """Wait until a file or folder is on the disk, if the file system knows how."""
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(handle)


def _owner() -> str:
    """Who writes a temporary file: machine and process."""
    machine = "".join(c if c.isalnum() else "-" for c in socket.gethostname())
    return f"{machine}_{os.getpid()}"


def _sweep(target: Path) -> None:
    """Remove temporary files for ``target`` whose process has ended."""
    machine = _owner().rpartition("_")[0]
    for path in target.parent.glob(f".{glob.escape(target.name)}.*{SUFFIX}"):
        owner = path.name[len(target.name) + 2 :].split(".")[0]
        writer, _, process = owner.rpartition("_")
        with contextlib.suppress(OSError):
            old = time.time() - path.stat().st_mtime > STALE_SECONDS
            ended = writer == machine and process.isdigit() and not _is_running(int(process))
            if old or ended:
                path.unlink()


def _is_running(process: int) -> bool:
    """Whether a process of this machine runs; True where that cannot be asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def results_folder() -> Path:
    """Folder of the results that the book shows.

    ``$DVAE_RESULTS``, else ``results`` of the source checkout that dvae runs from, else
    ``results`` in the current folder.
    """
    if "DVAE_RESULTS" in os.environ:
        return Path(os.environ["DVAE_RESULTS"])
    checkout = Path(__file__).resolve().parents[2]
    return checkout / "results" if (checkout / "pyproject.toml").exists() else Path("results")

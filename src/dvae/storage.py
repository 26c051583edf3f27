"""Files that a reader sees whole or not at all, and knows again as what was written.

A file may have its *digest* beside it: ``data.h5.sha256`` holds the SHA-256 of ``data.h5``, as
``sha256sum --check`` reads it. While a file is replaced there are two lines, of the file that is
there and of the one that comes, so that a kill at any moment leaves a file that is accepted.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import os
import re
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dvae.errors import DataError, DvaeError

__all__ = [
    "PACKAGED",
    "atomic_path",
    "digest_path",
    "has_digest",
    "results_folder",
    "source_checkout",
    "write_digest",
]

SUFFIX = ".partial"
#: Where a wheel has the stored results (``setup.py``); nothing is there in a checkout.
PACKAGED = Path(__file__).resolve().parent / "stored"
STALE_SECONDS = 24 * 3600  # a temporary file that was not touched for so long is nobody's


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, *, digest: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success sync it and rename it to ``path``.

    On any error, an interruption included, the temporary file is removed and ``path`` is left as
    it was. What a killed process left of such a file for the same path is removed as well.
    Permissions and the sync of the folder are left out where the file system has no such thing.

    Parameters
    ----------
    path : path-like
        The file.
    digest : bool
        Keep the file's digest beside it (:func:`has_digest`). The new digest is accepted before
        the file is there and the old one is dropped afterwards; of several processes only one at
        a time may write a file with a digest.

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
        if digest:
            new = _digest(temporary)
            _accept(target, [*_accepted(target), new])
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
    if digest:
        with contextlib.suppress(DvaeError):  # a digest too many hides no damage
            _accept(target, [new])


# -------------------------------------------------------------------------------------- digests


def digest_path(path: str | os.PathLike) -> Path:
    """Where the digest of a file is kept: beside it, as ``NAME.sha256``."""
    path = Path(path)
    return path.with_name(f"{path.name}.sha256")


def has_digest(path: str | os.PathLike) -> bool:
    """Whether a file has a digest, which it is then compared with.

    Raises
    ------
    DataError
        If the file is not the one that was written, or its digest is none.
    OSError
        If one of them cannot be read.
    """
    path, beside = Path(path), digest_path(path)
    while True:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            # read after the file: what was at this place just now is accepted by then
            accepted = _listed(beside)
            replaced = not os.path.samestat(os.fstat(file.fileno()), os.stat(path))
        if not accepted:
            return False
        if found in accepted:
            return True
        if not replaced:
            raise DataError(
                f"{path} is not the file that {beside.name} beside it belongs to: it was damaged "
                "or changed after it was written; make or fetch it again, or, if it was changed on "
                f"purpose, remove {beside.name}"
            )


def write_digest(path: str | os.PathLike) -> bool:
    """Keep the digest of a file as it is now; False if it is there already.

    Raises
    ------
    DvaeError
        If the file cannot be read, or its digest not be written.
    """
    path = Path(path)
    try:
        current = [_digest(path)]
        if _listed(digest_path(path)) == current:
            return False
    except DataError:
        pass  # what is beside the file is no digest: it is replaced
    except OSError as error:
        raise DvaeError(f"cannot read {path}: {error.strerror or error}") from error
    _accept(path, current)
    return True


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _listed(beside: Path) -> list[str]:
    """Digests in a file of them; none if there is no such file.

    Raises
    ------
    DataError
        If it holds anything else.
    """
    try:
        lines = beside.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    digests = [line[:64].decode("ascii", errors="replace") for line in lines]
    if not digests or not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests):
        raise DataError(f"{beside} holds no digest: it was damaged; remove it to go on")
    return digests


def _accepted(path: Path) -> list[str]:
    """Digests of what is at a path now: those beside it, else its own; none if it is damaged."""
    try:
        return _listed(digest_path(path)) or [_digest(path)]
    except (OSError, DataError):
        return []


def _accept(path: Path, digests: list[str]) -> None:
    """Write the digests beside a file."""
    lines = [f"{digest}  {path.name}\n" for digest in dict.fromkeys(digests)]
    with atomic_path(digest_path(path)) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8", newline="\n")


# ------------------------------------------------------------------------------ temporary files


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

    ``$DVAE_RESULTS``, else ``results`` of the source checkout that dvae runs from, else the
    results that came with the installed package, :data:`PACKAGED`.
    """
    if "DVAE_RESULTS" in os.environ:
        return Path(os.environ["DVAE_RESULTS"])
    checkout = source_checkout()
    return PACKAGED if checkout is None else checkout / "results"


def source_checkout() -> Path | None:
    """Folder of the source checkout that dvae runs from; None if it is installed elsewhere."""
    source, checkout = PACKAGED.parents[1], PACKAGED.parents[2]
    return checkout if source.name == "src" and (checkout / "pyproject.toml").exists() else None

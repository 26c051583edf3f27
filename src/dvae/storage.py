"""Files that a reader sees whole or not at all, and tensors that come back as they were."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dvae.errors import DvaeError, ResultError

__all__ = ["atomic_path", "read_tensors", "tensors_digest", "write_tensors"]


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


def tensors_digest(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    """SHA-256 of names, types, shapes and values of tensors on the CPU, and of metadata."""
    kinds = {name: [str(value.dtype), list(value.shape)] for name, value in tensors.items()}
    digest = hashlib.sha256(json.dumps([kinds, metadata], sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(tensors[name].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_tensors(
    path: str | os.PathLike, tensors: dict[str, Tensor], metadata: dict[str, str]
) -> None:
    """Write a safetensors file with a digest of everything in it; written beside and renamed.

    Raises
    ------
    DvaeError
        If the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        digest = tensors_digest(tensors, metadata)
        save_file(tensors, str(temporary), metadata | {"digest": digest})


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of a file of :func:`write_tensors`, verified.

    Raises
    ------
    ResultError
        If the file cannot be read, is truncated or was altered.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ResultError(f"{path} cannot be read as a safetensors file: {error}") from error
    if metadata.pop("digest", None) != tensors_digest(tensors, metadata):
        raise ResultError(f"{path} is damaged: its checksum does not match")
    return tensors, metadata

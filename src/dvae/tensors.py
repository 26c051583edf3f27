"""Files of tensors that come back as they were, or not at all."""

from __future__ import annotations

import hashlib
import json
import os

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dvae.errors import ResultError
from dvae.storage import atomic_path

__all__ = ["read_tensors", "tensors_digest", "write_tensors"]


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

    Equal tensors and metadata make equal files.

    Raises
    ------
    DvaeError
        If the file cannot be written.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_path(path) as temporary:
        digest = tensors_digest(tensors, metadata)
        try:
            contents = save(tensors, metadata | {"digest": digest})
        except SafetensorError as error:
            raise ResultError(f"{path} cannot be written as a safetensors file: {error}") from error
        temporary.write_bytes(_ordered(contents))


def _ordered(contents: bytes) -> bytes:
    """A safetensors file with its header in alphabetical order, which safetensors leaves to chance.

    The header is JSON behind its length in 8 bytes, filled up with spaces to a multiple of 8; the
    positions of tensors in it count from its end.
    """
    length = int.from_bytes(contents[:8], "little")
    header = json.dumps(
        json.loads(contents[8 : 8 + length]), sort_keys=True, separators=(",", ":")
    ).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + contents[8 + length :]


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
    if "digest" not in metadata:
        raise ResultError(f"{path} has no checksum: it was not written by dvae")
    if metadata.pop("digest") != tensors_digest(tensors, metadata):
        raise ResultError(f"{path} is damaged: its checksum does not match")
    return tensors, metadata

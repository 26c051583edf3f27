"""The settings of a run: what makes it this run, and whose folder a folder is."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvae.errors import DataError
from dvae.outputs import SETTINGS, run_files
from dvae.reading.layout import split_names
from dvae.workflow._outputs import write_text

OPTIONS = {"data": "FILE", "n_latents": "--latents"}  # others are called like their settings


def file_digest(path: str | os.PathLike) -> str:
    """Digest of a file, or of a folder's names and files (a Zarr store)."""
    if Path(path).is_dir():
        files = sorted(item for item in Path(path).rglob("*") if item.is_file())
        parts = [f"{item.relative_to(path).as_posix()} {file_digest(item)}" for item in files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def factor_settings(factors: str | Sequence[str] | None) -> list[str] | None:
    """Keys of the factors, or the digest of the file that they are in."""
    names = split_names(factors)
    return [file_digest(n) if Path(n).is_file() else n for n in names] or None


def claim(folder: Path, settings: dict[str, Any]) -> bool:
    """Write the settings of a run to its folder; False if they are there already.

    Raises
    ------
    DataError
        If the folder holds a run with other settings, or files that the run would replace.
    """
    path = folder / SETTINGS
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if found := run_files(folder):
            raise DataError(
                f"{folder} holds {', '.join(found)}, which a run would replace, and no run of "
                "'dvae train'; choose another output folder"
            ) from None
        write_text(path, json.dumps(settings, indent=2) + "\n")
        return True
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); choose another output folder"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}); choose another output folder") from error
    if not isinstance(stored, dict) or not stored.keys() & settings.keys():
        raise DataError(f"{path} is not of a run of 'dvae train'; choose another output folder")
    changed = [key for key in settings if stored.get(key) != settings[key]]
    if changed:
        differences = "; ".join(_difference(k, stored.get(k), settings[k]) for k in changed)
        raise DataError(
            f"{folder} holds a run with other arguments ({differences}); choose another output "
            "folder, or remove that one"
        )
    return False


def _difference(key: str, there: Any, here: Any) -> str:
    """How a setting differs: "--latents 2 there, 4 here"."""
    option = OPTIONS.get(key, f"--{key.replace('_', '-')}")
    return f"{option} {_value(there)} there, {_value(here)} here"


def _value(value: Any) -> str:
    """A setting as it was given; of a file its digest is known."""
    if value is None:
        return "not given"
    if isinstance(value, list):
        return ",".join(map(_value, value))
    if isinstance(value, bool):
        return "given" if value else "not given"
    found = re.fullmatch("[0-9a-f]{64}", str(value))
    return f"a file of SHA-256 {value[:8]}..." if found else str(value)

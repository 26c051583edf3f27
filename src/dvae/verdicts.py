"""The table of claims as it was decided last, for as long as results and rules are unchanged.

Deciding every claim reads every stored result. ``dvae claims`` keeps the table beside the results,
under a digest of all that it follows from: the files of the results, the code of the rules and of
the analysis that they call, and the versions of the libraries below.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from dvae.errors import DvaeError, UnknownNameError
from dvae.storage import atomic_path

__all__ = ["decided_claims"]

DECIDING = ("claims", "results", "analysis", "conventions.py")  # of the package
LIBRARIES = ("numpy", "pandas", "scipy", "xarray", "h5py")


def decided_claims(root: Path, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Rows of ``dvae.claims.claims_table``, decided anew only after something changed.

    Parameters
    ----------
    root : Path
        Folder of results.
    names : sequence of str, optional
        Rows; by default all, in the order of the paper.

    Returns
    -------
    list of dict
        One for each row: ``claim``, its name, and the columns of the table.

    Raises
    ------
    UnknownNameError
        If a row does not exist.
    """
    path, key = root / ".cache" / "claims.json", _digest(root)
    rows = _kept(path, key)
    if rows is None:
        rows = _decide(root)
        _keep(path, key, rows)
    by_name = {row["claim"]: row for row in rows}
    unknown = [name for name in names or () if name not in by_name]
    if unknown:
        raise UnknownNameError(f"unknown claim {unknown[0]!r}; choose one of {', '.join(by_name)}")
    return [by_name[name] for name in names] if names else rows


def _digest(root: Path) -> str:
    """SHA-256 of the stored results, the code that decides, and the libraries' versions."""
    package = Path(__file__).resolve().parent
    code = [package / part for part in DECIDING]
    files = sorted(
        file for part in code for file in ([part] if part.is_file() else part.glob("*.py"))
    )
    digest = hashlib.sha256(" ".join(map(metadata.version, LIBRARIES)).encode())
    for file in files + sorted(root.glob("*/*.nc")):
        digest.update(f"{file.parent.name}/{file.name}".encode())
        with open(file, "rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _kept(path: Path, key: str) -> list[dict[str, Any]] | None:
    """Rows that were kept under this digest, if there are any."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return kept["rows"] if isinstance(kept, dict) and kept.get("key") == key else None


def _decide(root: Path) -> list[dict[str, Any]]:
    from dvae.claims import claims_table  # this takes seconds
    from dvae.results.store import Store

    table = claims_table(store=Store(root)).reset_index()
    return json.loads(json.dumps(table.to_dict("records")))


def _keep(path: Path, key: str, rows: list[dict[str, Any]]) -> None:
    """Keep rows for the next time, where the folder of results exists and can be written to."""
    if not path.parents[1].is_dir():
        return
    try:
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps({"key": key, "rows": rows}), encoding="utf-8")
    except DvaeError:
        pass  # a read-only checkout: it is decided again next time

"""Tables of latents: what a CSV file of them holds, and which model they come from."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from dvae.errors import DataError
from dvae.storage import atomic_path

ORIGIN = ("member", "model")  # number of the model in its run, and one that no other model has
DIGITS = "%.9g"  # brings single precision back as it was


def latents_member(path: str | os.PathLike) -> int | None:
    """Number of the model that latents in a file come from; None where it does not say.

    Raises
    ------
    DataError
        If the file cannot be read, or holds latents of several models.
    """
    return origin_of(read_latents(Path(path)), os.fspath(path)).get("member")


def origin_of(table: pd.DataFrame, where: str) -> dict[str, int]:
    """What a table of latents says of the model that they come from."""
    names = [name for name in ORIGIN if name in table]
    if not names or not len(table):
        return {name: table.attrs[name] for name in ORIGIN if name in table.attrs}
    rows = table[names].drop_duplicates()
    values = pd.to_numeric(rows.iloc[0], errors="coerce")
    if len(rows) > 1 or not (values % 1 == 0).all():
        raise DataError(
            f"{where}: the columns {' and '.join(names)} must name one model, the same in every "
            "row; decode the latents of each model by themselves, or drop these columns"
        )
    return {name: int(value) for name, value in values.items()}


def read_latents(path: Path) -> pd.DataFrame:
    """The table of a CSV file."""
    try:
        table = pd.read_csv(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a CSV table: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):  # then pandas made one of the first cells
        raise DataError(
            f"{path}: rows have more cells than the header; numbers need decimal points, not commas"
        )
    return table


def latent_values(
    z: pd.DataFrame | np.ndarray, n_latents: int, where: str
) -> Float[np.ndarray, "sample latent"]:
    """Latents of a table or an array in single precision, checked."""
    if isinstance(z, pd.DataFrame):
        columns = [f"z{i + 1}" for i in range(n_latents)]
        if missing := [name for name in columns if name not in z]:
            raise DataError(
                f"{where}: column {', '.join(missing)} is missing; the model has {n_latents} "
                f"latents and needs the columns {', '.join(columns)}"
            )
        names = map(str, z.columns)
        more = [name for name in names if re.fullmatch(r"z\d+", name) and name not in columns]
        if more:
            raise DataError(
                f"{where} has the column {', '.join(more)}, but the model has {n_latents} latents; "
                "decode the table with the model that it comes from, or drop this column"
            )
        z = z[columns].to_numpy()
    if z.ndim != 2 or z.shape[1] != n_latents or not len(z):
        raise DataError(f"{where} has shape {z.shape}; it must be (samples, {n_latents})")
    try:
        values = z.astype(np.float32)
    except ValueError as error:
        raise DataError(f"{where} does not hold numbers only: {error}") from error
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).any(1).argmax())
        raise DataError(f"{where}: row {row} (from 0) holds a value that is not finite; mend it")
    return values


def write_latents(path: str | os.PathLike, table: pd.DataFrame) -> None:
    """Write a table of :meth:`dvae.TrainedRun.encode` as CSV, with the origin in every row."""
    with atomic_path(path) as temporary:
        table.assign(**origin_of(table, "table")).to_csv(temporary, float_format=DIGITS)

"""What comes after training: encode and decode with a stored run, and its report."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float

from dvae.errors import DataError, ResultError
from dvae.models import VAE, UnitsVAE, load_model
from dvae.outputs import REPORT, check_output
from dvae.physics import FieldDataset
from dvae.reading import open_file
from dvae.reading.layout import FORMAT, ChannelAxis, split_names
from dvae.storage import atomic_path
from dvae.workflow._report import write_report
from dvae.workflow._scores import lowest_loss

__all__ = ["TrainedRun", "load_run", "write_fields", "write_latents"]

BATCH = 256  # samples that are encoded or decoded at once
FAR = 10.0  # spreads from the mean field beyond which nothing was learned
FAR_LATENT = 4.0  # standard deviations of the latents: one normal number in 16,000 lies beyond
DIGITS = "%.9g"  # brings single precision back as it was


@dataclass(frozen=True)
class TrainedRun:
    """A folder of :func:`dvae.train_file`, with one of its models.

    Attributes
    ----------
    folder : Path
        Where it is.
    settings : dict
        Arguments that it was trained with.
    member : int
        Number of the model.
    model : VAE
        An ordinary ``torch.nn.Module`` in evaluation mode; takes and gives fields in the units of
        the data that it was trained on.

    Examples
    --------
    >>> run = dvae.load_run("trained")  # doctest: +SKIP
    >>> z = run.encode("fields.npy")  # doctest: +SKIP
    >>> fields = run.decode(z)  # doctest: +SKIP
    """

    folder: Path
    settings: dict[str, Any]
    member: int
    model: VAE

    @torch.no_grad()
    def encode(
        self,
        data: str | os.PathLike | FieldDataset,
        *,
        fields: str | Sequence[str] | None = None,
        channels: ChannelAxis | None = None,
        orientation: Literal["ij", "reference"] | None = None,
    ) -> pd.DataFrame:
        """Mean and standard deviation of q(z|y) for every sample.

        Parameters
        ----------
        data : path-like or FieldDataset
            Fields like those of the training, in the same units.
        fields, channels, orientation : optional
            How a file is read, see :meth:`dvae.FieldDataset.load`; by default as for the training,
            if the file has the same keys, and with the orientation that the file says.

        Returns
        -------
        pandas.DataFrame
            A row for each sample, index ``sample`` from 0; columns ``z1`` to ``zn`` (means) and
            ``std1`` to ``stdn``, dimensionless.

        Raises
        ------
        DataError
            If the file cannot be read, its fields have another shape than those of the training,
            or lack values (NaN) where those had some.

        Warns
        -----
        UserWarning
            If a sample lies far outside the fields of the training, as in other units.
        """
        if not isinstance(data, FieldDataset):
            reading = self._reading(Path(data), split_names(fields), channels, orientation)
            data = FieldDataset.load(data, **reading, exact=True)
        mean, std = [], []
        first = 0
        for part in (part for samples in data.samples for part in samples.split(BATCH)):
            batch = part.to(self.model.field_dtype)
            features = self.model.features(batch)  # checks the shape
            finite = torch.isfinite(self.model.observed(batch)).flatten(1).all(1)
            if not finite.all():
                raise DataError(
                    f"sample {first + int((~finite).nonzero()[0])} lacks values (NaN) where the "
                    "fields of the training had some; fill them, or train on fields like these"
                )
            self._compare(batch, first)
            posterior = self.model.encoder.from_features(features).base_dist
            mean.append(posterior.loc)
            std.append(posterior.scale)
            first += len(batch)
        n = self.model.n_latents
        columns = [f"{name}{i + 1}" for name in ("z", "std") for i in range(n)]
        table = pd.DataFrame(torch.cat([torch.cat(mean), torch.cat(std)], 1).numpy(), None, columns)
        return table.rename_axis("sample")

    def _compare(self, batch: torch.Tensor, first: int) -> None:
        """Warn of a sample that is far away from the fields of the training."""
        if isinstance(self.model, UnitsVAE):
            distance = self.model.units(batch).pow(2).flatten(1).mean(1).sqrt()
            if float(distance.max()) > FAR:
                warnings.warn(
                    f"sample {first + int(distance.argmax())} is {float(distance.max()):.3g} "
                    "spreads away from the mean field of the training: are these fields in the "
                    "same units? The latents mean little here",
                    stacklevel=4,
                )

    def _reading(
        self, path: Path, fields: list[str], channels: str | None, orientation: str | None
    ) -> dict[str, Any]:
        """How to read a file: as asked, else as for the training where the file is like that."""
        contents, trained = open_file(path), self.settings
        keys = trained.get("fields") or []
        if not fields and "format" not in contents.attributes and set(keys) <= set(contents.arrays):
            fields, channels = keys, channels or trained.get("channels")
        if "orientation" not in contents.attributes:
            orientation = orientation or trained.get("orientation")
        return {"fields": fields, "channels": channels, "orientation": orientation}

    @torch.no_grad()
    def decode(
        self, z: str | os.PathLike | pd.DataFrame | Float[np.ndarray, "sample latent"]
    ) -> Float[np.ndarray, "sample channel x1 x2"]:
        """Mean of p(y|z): fields in the units of the training data.

        Parameters
        ----------
        z : path-like, DataFrame or ndarray (sample, latent)
            Latents; of a CSV file or a table the columns ``z1`` to ``zn``, whatever else it holds.

        Returns
        -------
        ndarray of shape (N, C, n1, n2)
            Fields; NaN where values were missing in every sample of the training.

        Raises
        ------
        DataError
            If the file cannot be read or a column is missing or not a finite number.

        Warns
        -----
        UserWarning
            If latents lie far outside those of the training (compared with ``latents.nc``, where
            the folder has it), for fields there are extrapolation.
        """
        values = _latents(z, self.model.n_latents)
        self._compare_latents(values)
        decoded = [
            self.model.decoder(batch).base_dist.loc
            for batch in torch.from_numpy(values).split(BATCH)
        ]
        return torch.cat(decoded).numpy()

    def _compare_latents(self, z: Float[np.ndarray, "sample latent"]) -> None:
        """Warn of latents that are far away from those of the training samples.

        How far is said in standard deviations of the aggregated posterior, whose variance is that
        of the means plus the mean of the variances.
        """
        path = self.folder / "latents.nc"
        if not path.exists():
            return
        with xr.open_dataset(path, engine="h5netcdf") as latents:
            known = latents.isel(member=self.member, sample=latents["role"].values == "training")
            mean, scale = known["latent_mean"].values, known["latent_scale"].values
        spread = np.sqrt(mean.var(0) + (scale**2).mean(0))
        distance = np.abs(z - mean.mean(0)) / spread
        far = (distance > FAR_LATENT).any(1)
        if far.any():
            sample, latent = np.unravel_index(distance.argmax(), distance.shape)
            warnings.warn(
                f"{int(far.sum())} of {len(z)} samples have latents more than {FAR_LATENT:g} "
                "standard deviations away from those that the model was trained on: fields there "
                f"are extrapolation. Farthest is z{latent + 1} = {z[sample, latent]:.4g} of sample "
                f"{sample}, {distance[sample, latent]:.3g} standard deviations away",
                stacklevel=4,
            )

    def report(self, path: str | os.PathLike | None = None) -> Path:
        """Write one HTML page that needs nothing else: summary, losses, figures, scores.

        Parameters
        ----------
        path : path-like, optional
            Name of the page; by default ``report.html`` in the folder of the run.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        DataError
            If the name is that of another part of a run.
        DvaeError
            If it cannot be written.
        """
        target = self.folder / REPORT if path is None else Path(path)
        check_output(target, force=True)
        return write_report(target, self.folder, self.settings)


def load_run(folder: str | os.PathLike = "trained", member: int | None = None) -> TrainedRun:
    """A run of :func:`dvae.train_file`, to encode and decode with and to report.

    Parameters
    ----------
    folder : path-like
        The folder that it was written to.
    member : int, optional
        Number of the model; by default that with the lowest loss.

    Returns
    -------
    TrainedRun
        With its model loaded.

    Raises
    ------
    ResultError
        If the folder holds no finished run, or no such member.
    """
    folder = Path(folder)
    try:
        settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(
            f"{folder}: no run of 'dvae train' (no settings.json in it); name the folder that its "
            "option --output named"
        ) from error
    except ValueError as error:
        raise ResultError(
            f"{folder / 'settings.json'} is damaged ({error}); train again"
        ) from error
    models = sorted((folder / "models").glob("member_*.safetensors"))
    if not models:
        raise ResultError(
            f"{folder}: no models yet; the same 'dvae train' command goes on where it stopped"
        )
    if member is None:
        member = _best(folder) if len(models) > 1 else int(models[0].stem.rpartition("_")[2])
    path = folder / "models" / f"member_{member:03d}.safetensors"
    if path not in models:
        last = models[-1].stem.rpartition("_")[2]
        raise ResultError(f"{folder}: no member {member}; the last one is {int(last)}")
    return TrainedRun(folder, settings, member, load_model(path))


def _best(folder: Path) -> int:
    """Member with the lowest loss, from the table of scores."""
    try:
        return lowest_loss(pd.read_csv(folder / "scores.csv"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{folder / 'scores.csv'} does not tell which member is the best ({error}); say "
            "--member, or run the same 'dvae train' command again, which writes it"
        ) from error


def _latents(
    z: str | os.PathLike | pd.DataFrame | np.ndarray, n_latents: int
) -> Float[np.ndarray, "sample latent"]:
    """Latents of a table or an array in single precision, checked."""
    where = "z"
    if isinstance(z, str | os.PathLike):
        where, path = f"{z}", Path(z)
        try:
            z = pd.read_csv(path)
        except OSError as error:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        except ValueError as error:
            raise DataError(f"{path} is not a CSV table: {error}") from error
        if not isinstance(z.index, pd.RangeIndex):  # then pandas made one of the first cells
            raise DataError(
                f"{path}: rows have more cells than the header; numbers need decimal points, not "
                "commas"
            )
    if isinstance(z, pd.DataFrame):
        columns = [f"z{i + 1}" for i in range(n_latents)]
        if missing := [name for name in columns if name not in z]:
            raise DataError(
                f"{where}: column {', '.join(missing)} is missing; the model has {n_latents} "
                f"latents and needs the columns {', '.join(columns)}"
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
    """Write a table of :meth:`TrainedRun.encode` as CSV, which :meth:`TrainedRun.decode` reads."""
    with atomic_path(path) as temporary:
        table.to_csv(temporary, float_format=DIGITS)


def write_fields(path: str | os.PathLike, fields: Float[np.ndarray, "sample *axes"]) -> None:
    """Write fields as a NumPy archive with the key ``fields``, which ``dvae train`` reads."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, fields=fields, orientation="ij", format=FORMAT)

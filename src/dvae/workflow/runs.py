"""What comes after training: encode and decode with a stored run, and its report."""

from __future__ import annotations

import functools
import json
import os
import re
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
from dvae.outputs import REPORT, SETTINGS, check_output, model_path
from dvae.physics import FieldDataset
from dvae.reading import open_file
from dvae.reading.layout import ChannelAxis, split_names
from dvae.tensors import tensors_digest
from dvae.workflow._fields import differences, write_fields
from dvae.workflow._report import write_report
from dvae.workflow._scores import lowest_loss
from dvae.workflow._tables import ORIGIN, latent_values, origin_of, read_latents

__all__ = ["TrainedRun", "load_run"]

BATCH = 256  # samples that are encoded or decoded at once
FAR = 10.0  # spreads from the mean field beyond which nothing was learned
FAR_LATENT = 4.0  # standard deviations of the latents: one normal number in 16,000 lies beyond
TRAIN_AGAIN = "the same 'dvae train' command trains again what is lost"
MODEL = r"member_\d+\.safetensors"


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
            ``std1`` to ``stdn``, dimensionless. Its ``attrs`` hold :attr:`origin`.

        Raises
        ------
        DataError
            If the file cannot be read, its fields have another shape than those of the training,
            their channels or axes in another order, or an axis that runs the other way, by their
            names and coordinates; or if they lack values (NaN) where those had some.

        Warns
        -----
        UserWarning
            If a sample lies far outside the fields of the training, as in other units, or if the
            names of channels or axes, or the coordinates, are others.
        """
        where = "these fields"
        if isinstance(data, str | os.PathLike):
            where = os.fspath(data)
            reading = self._reading(Path(data), split_names(fields), channels, orientation)
            data = FieldDataset.load(data, **reading, exact=True)
        elif not isinstance(data, FieldDataset):
            raise DataError(
                f"encode reads a file or a FieldDataset, not {type(data).__name__}: of an array "
                "make dvae.FieldDataset(torch.as_tensor(array), exact=True), with the axes "
                "(samples, channels, n1, n2)"
            )
        self._check_shape(data.samples.shape, where)
        if (latents := self._latents()) is not None:
            for message in differences(data, latents, where):
                warnings.warn(message, stacklevel=3)
        mean, std = [], []
        first = 0
        for part in (part for samples in data.samples for part in samples.split(BATCH)):
            batch = part.to(self.model.field_dtype)
            features = self.model.features(batch)
            finite = torch.isfinite(self.model.observed(batch)).flatten(1).all(1)
            if not finite.all():
                raise DataError(
                    f"{where}: sample {first + int((~finite).nonzero()[0])} lacks values (NaN) "
                    "where the fields of the training had some; fill them, or train on fields like "
                    "these"
                )
            self._compare(batch, first, where)
            posterior = self.model.encoder.from_features(features).base_dist
            mean.append(posterior.loc)
            std.append(posterior.scale)
            first += len(batch)
        n = self.model.n_latents
        columns = [f"{name}{i + 1}" for name in ("z", "std") for i in range(n)]
        table = pd.DataFrame(torch.cat([torch.cat(mean), torch.cat(std)], 1).numpy(), None, columns)
        table.attrs = self.origin
        return table.rename_axis("sample")

    @functools.cached_property
    def origin(self) -> dict[str, int]:
        """Where latents of this model come from: ``member``, and ``model``, a number that no other
        model has (32 bits of the SHA-256 of its weights).
        """
        digest = tensors_digest(self.model.state_dict())
        return dict(zip(ORIGIN, (self.member, int(digest[:8], 16)), strict=True))

    def _check_shape(self, shape: tuple[int, ...], where: str) -> None:
        """Raise DataError unless fields have the shape of those of the training."""
        found, expected = tuple(shape[1:]), self.model.field_shape
        if found == expected:
            return
        advice = "bring them to the grid of the training, or train on fields like these"
        if found == (expected[0], *expected[:0:-1]):
            advice = "the two axes of the grid are swapped: transpose them (numpy.swapaxes)"
        elif found[1:] == expected[1:]:
            advice = "name the channels of the training with the option fields (--fields)"
        raise DataError(
            f"{where} holds fields of shape {found} (channels, n1, n2), but those of the "
            f"training were {expected}: {advice}"
        )

    def _compare(self, batch: torch.Tensor, first: int, where: str) -> None:
        """Warn of a sample that is far away from the fields of the training."""
        if isinstance(self.model, UnitsVAE):
            distance = self.model.units(batch).pow(2).flatten(1).mean(1).sqrt()
            if float(distance.max()) > FAR:
                sample = first + int(distance.argmax())
                warnings.warn(
                    f"{where}: sample {sample} is {float(distance.max()):.3g} "
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
            Latents; of a CSV file or a table the columns ``z1`` to ``zn``. What it says of the
            model that they come from (columns of a file, ``attrs`` of a table, as :attr:`origin`)
            must be this one.

        Returns
        -------
        ndarray of shape (N, C, n1, n2)
            Fields; NaN where values were missing in every sample of the training.

        Raises
        ------
        DataError
            If the file cannot be read, a column is missing or not a finite number, there are
            more latents than the model has, or they are those of another model.

        Warns
        -----
        UserWarning
            If latents lie far outside those of the training (compared with ``latents.nc``, where
            the folder has it), for fields there are extrapolation.
        """
        where = "z" if isinstance(z, pd.DataFrame | np.ndarray) else os.fspath(z)
        if not isinstance(z, pd.DataFrame | np.ndarray):
            z = read_latents(Path(z))
        self._check_origin(z, where)
        values = latent_values(z, self.model.n_latents, where)
        self._compare_latents(values)
        decoded = [
            self.model.decoder(batch).base_dist.loc
            for batch in torch.from_numpy(values).split(BATCH)
        ]
        return torch.cat(decoded).numpy()

    def _check_origin(self, z: pd.DataFrame | np.ndarray, where: str) -> None:
        """Raise DataError if latents are said to be those of another model."""
        found = {} if isinstance(z, np.ndarray) else origin_of(z, where)
        member = found.get("member", self.member)
        if member != self.member:
            raise DataError(
                f"{where} holds latents of member {member}, which mean something else to member "
                f"{self.member}; decode them with member {member} (--member {member})"
            )
        if found.get("model", self.origin["model"]) != self.origin["model"]:
            raise DataError(
                f"{where} holds latents of another run than {self.folder}, or of this one before "
                "it was trained again; decode them with that run, or encode the fields again"
            )

    def _compare_latents(self, z: Float[np.ndarray, "sample latent"]) -> None:
        """Warn of latents that are far away from those of the training samples.

        How far is said in standard deviations of the aggregated posterior, whose variance is that
        of the means plus the mean of the variances.
        """
        if (latents := self._latents()) is None:
            return
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

    def write_fields(
        self, path: str | os.PathLike, fields: Float[np.ndarray, "sample channel x1 x2"]
    ) -> None:
        """Write decoded fields to a file: ``.npz`` with the key ``fields``, or NetCDF (``.nc``).

        NetCDF has the names of the channels and axes of the training data, and their coordinates.

        Parameters
        ----------
        path : path-like
            Name of the file, which says the format.
        fields : ndarray of shape (N, C, n1, n2)
            From :meth:`decode`.

        Raises
        ------
        DataError
            If the name ends otherwise.
        DvaeError
            If the file cannot be written.
        """
        write_fields(path, fields, self._latents())

    def _latents(self) -> xr.Dataset | None:
        """The latents of all samples, where the folder has them."""
        path = self.folder / "latents.nc"
        try:
            return xr.load_dataset(path, engine="h5netcdf")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ResultError(
                f"{path} cannot be read ({error}); the same 'dvae train' command makes it again"
            ) from error

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
        If the folder holds no finished run or cannot be read, or has no such member.
    """
    folder = Path(folder)
    settings = _settings(folder)
    members = _members(folder)
    finished = (folder / "summary.txt").exists()
    if not members and not finished:
        raise ResultError(
            f"{folder}: no models yet; the same 'dvae train' command goes on where it stopped"
        )
    if not members:
        raise ResultError(f"{folder}: its models are lost; {TRAIN_AGAIN}")
    if member is None:
        member = _best(folder) if len(members) > 1 else members[0]
    if member not in members and member in range(settings.get("members", 0)):
        raise ResultError(f"{folder}: the model of member {member} is lost; {TRAIN_AGAIN}")
    if member not in members:
        raise ResultError(f"{folder}: no member {member}; the last one is {members[-1]}")
    try:
        return TrainedRun(folder, settings, member, load_model(model_path(folder, member)))
    except ResultError as error:
        raise ResultError(f"{error}; {TRAIN_AGAIN}") from error


def _settings(folder: Path) -> dict[str, Any]:
    """Arguments that a run was trained with."""
    path = folder / SETTINGS
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ResultError(
            f"{folder}: no run of 'dvae train' (no {SETTINGS} in it); name the folder that its "
            "option --output named"
        ) from error
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise ResultError(f"{path} is damaged ({error}); train again") from error


def _members(folder: Path) -> list[int]:
    """Numbers of the models in a folder."""
    models = model_path(folder, 0).parent
    try:
        names = os.listdir(models)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ResultError(f"{models} cannot be read: {error.strerror or error}") from error
    return sorted(int(name[7:-12]) for name in names if re.fullmatch(MODEL, name))


def _best(folder: Path) -> int:
    """Member with the lowest loss, from the table of scores."""
    try:
        return lowest_loss(pd.read_csv(folder / "scores.csv"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultError(
            f"{folder / 'scores.csv'} does not tell which member is the best ({error}); say "
            "--member, or run the same 'dvae train' command again, which writes it"
        ) from error

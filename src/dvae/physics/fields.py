"""Data sets of fields, whatever they are fields of: split, store in HDF5 and load."""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

import h5py
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dvae.errors import DataError
from dvae.memory import check_memory
from dvae.physics.arrays import as_tensor
from dvae.physics.samples import Samples
from dvae.reading import Contents, StoredArray, open_file, select_arrays
from dvae.reading.layout import FORMAT, ChannelAxis, Coordinate
from dvae.storage import atomic_path

__all__ = ["FieldDataset", "StoredDataset"]

# the authors' names of arrays in a file, in the order in which they are stored
KEYS = {"theta": "generative_params", "permeability": "permeability", "fields": "output"}
ORIENTATIONS = ("ij", "reference")
IN_MEMORY = 2**29  # bytes of fields up to which they are read at once


@dataclass(eq=False)
class FieldDataset:
    """Fields, and where known the factors that made them.

    With ``len`` and an index it is a data set for :class:`torch.utils.data.DataLoader`: a sample is
    the field (C, n1, n2), or the pair of field and factors (s,) where these are known.

    Attributes
    ----------
    fields : tensor of shape (N, C, n1, n2)
        Float32, any number of channels C and any grid; axes (sample, channel, x1, x2). Bring
        channels of different units to one scale, or let :class:`dvae.UnitsVAE` do it: the
        likelihood weighs all values alike.
    theta : tensor of shape (N, s), or None
        Generative factors, float32, in any unit; None where unknown.
    metadata : dict
        What made the data; numbers and strings, stored as attributes of the file. ``channels``,
        ``axes`` and ``factor_names`` hold names, separated by commas, where they are known.
    exact : bool
        Keep arrays of double precision as they are, and allow values that are missing (NaN) at the
        same place in every sample: fields as people bring them, for
        :class:`dvae.FieldUnits`.
    orientation_note, layout_note : str
        How fields lay in the file that they were loaded from and what said so, and which of its
        arrays were read as what; empty for data that were not loaded.
    coordinates : list of Coordinate
        Where the nodes of the axes of the grid lie, as :attr:`axis_names`; empty if unknown.

    Raises
    ------
    DataError
        If the shapes do not fit together, or a value is not finite.
    """

    fields: Float[Tensor, "sample channel x1 x2"]
    theta: Float[Tensor, "sample factor"] | None = field(default=None, kw_only=True)
    metadata: dict[str, Any] = field(default_factory=dict, kw_only=True)
    exact: bool = field(default=False, kw_only=True)
    orientation_note: str = field(default="", init=False)
    layout_note: str = field(default="", init=False)
    coordinates: list[Coordinate] = field(default_factory=list, init=False)

    names: ClassVar[tuple[str, ...]] = ("theta", "fields")  # of arrays, in the order of KEYS

    def __post_init__(self) -> None:
        kind = type(self).__name__
        for name, value in self._arrays().items():
            try:
                tensor = as_tensor(value)
            except (TypeError, ValueError, RuntimeError) as error:
                raise DataError(f"{kind}: {name} is not an array of numbers: {error}") from error
            kept = self.exact and tensor.dtype == torch.float64
            value = tensor.to(tensor.dtype if kept else torch.float32).contiguous()
            if not kept and bool((torch.isinf(value) & ~torch.isinf(tensor)).any()):
                raise DataError(
                    f"{kind}: {name} holds numbers beyond 3.4e38, the largest in single precision; "
                    "give it in another unit"
                )
            setattr(self, name, value)
        if problem := _problem(self._arrays(), self.exact):
            raise DataError(f"{kind}: {problem[0]} {problem[1]}.")

    def __len__(self) -> int:
        return len(self.fields)

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, Tensor]:
        """Sample ``index``: its field (C, n1, n2), and its factors (s,) where they are known."""
        return self.fields[index] if self.theta is None else (self.fields[index], self.theta[index])

    @property
    def channel_names(self) -> list[str]:
        """Names of the channels: those of the file, or "channel 1" and so on."""
        count = self.samples.shape[1]
        return self._names("channels", [f"channel {i + 1}" for i in range(count)])

    @property
    def axis_names(self) -> list[str]:
        """Names of the two axes of the grid (the only one of a line): by default "$x_1$", "$x_2$".

        A line is a grid with one node along x2.
        """
        count = 1 if self.samples.shape[3] == 1 else 2
        return self._names("axes", ["$x_1$", "$x_2$"][:count])

    @property
    def factor_names(self) -> list[str]:
        """Names of the factors: those of the file, or "factor 1" and so on."""
        count = 0 if self.theta is None else self.theta.shape[1]
        return self._names("factor_names", [f"factor {i + 1}" for i in range(count)])

    def _names(self, key: str, default: list[str]) -> list[str]:
        """Names that the metadata hold, if they are as many as they must be."""
        found = [name.strip() for name in str(self.metadata.get(key, "")).split(",")]
        return found if len(found) == len(default) and all(found) else default

    @property
    def samples(self) -> Samples:
        """The fields some samples at a time."""
        return Samples.of(self.fields)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={tuple(v.shape)}" for name, v in self._arrays().items())
        return f"{type(self).__name__}({shapes})"

    def _arrays(self) -> dict[str, Tensor]:
        """The arrays that are present, by attribute, in the order in which they are stored."""
        arrays = {name: getattr(self, name) for name in self.names}
        return {name: value for name, value in arrays.items() if value is not None}

    def split(self, n_train: int = 512, n_test: int = 512) -> tuple[Self, Self]:
        """First ``n_train`` samples for training, the ``n_test`` after them for testing.

        Raises
        ------
        DataError
            If there are fewer samples than that.
        """
        if min(n_train, n_test) < 1 or n_train + n_test > len(self):
            raise DataError(
                f"split: {n_train} + {n_test} samples asked of a data set of {len(self)}; both "
                "parts need one or more, and together no more than there are."
            )
        parts = []
        for role, start, stop in [("train", 0, n_train), ("test", n_train, n_train + n_test)]:
            arrays = {name: value[start:stop] for name, value in self._arrays().items()}
            note = {"split": role, "split_start": start, "split_stop": stop}
            part = type(self)(**arrays, metadata=self.metadata | note, exact=self.exact)
            part.orientation_note, part.layout_note = self.orientation_note, self.layout_note
            part.coordinates = self.coordinates
            parts.append(part)
        return parts[0], parts[1]

    def save(
        self, path: str | os.PathLike, *, orientation: Literal["ij", "reference"] = "ij"
    ) -> Path:
        """Store as HDF5 with the authors' keys: ``output``, and what else there is.

        Arrays keep their precision: single, or double where an ``exact`` set has it. Coordinates
        are not stored. The file is written beside ``path`` under a temporary name, synced and
        renamed: under its final name it is complete or absent. Attributes hold the metadata, the
        format, the orientation, the version of dvae and a SHA-256 checksum of the arrays. The
        digest of the whole file is beside it, as ``NAME.sha256``; without it (a file that was
        copied alone) a file is read by another process first, see :func:`dvae.hdf5.check_hdf5`.

        Parameters
        ----------
        path : path-like
            Name of the file; an existing file is replaced.
        orientation : "ij" or "reference"
            "ij" stores axes (sample, channel, x1, x2). "reference" stores each field F as
            ``flipud(F.T)``, like the authors' files: x2 runs up the rows, x1 along the columns.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        DvaeError
            If the file cannot be written (no permission, disk full).
        DataError
            If ``orientation`` is unknown, or a metadata value is no number or string.
        """
        path = Path(path)
        _check_orientation(orientation, ORIENTATIONS)
        arrays = {}
        for name, value in self._arrays().items():
            if orientation == "reference" and name != "theta":
                value = value.transpose(-1, -2).flip(-2)
            precision = "<f8" if value.dtype == torch.float64 else "<f4"
            arrays[KEYS[name]] = np.ascontiguousarray(value.numpy(), dtype=precision)
        attributes = self.metadata | {
            "format": FORMAT,
            "orientation": orientation,
            "dvae_version": _version(),
            "checksum": _checksum(arrays),
        }
        try:
            with atomic_path(path, digest=True) as temporary, h5py.File(temporary, "w") as file:
                for key, array in arrays.items():
                    file.create_dataset(key, data=array)
                file.attrs.update(attributes)
        except (RuntimeError, TypeError) as error:  # HDF5 reports some failures like this
            raise DataError(
                f"{path}: could not be written ({error}); nothing new is stored under this name. "
                "Check the free space, and that metadata holds only numbers and strings."
            ) from error
        return path

    @classmethod
    def load(
        cls,
        path: str | os.PathLike,
        *,
        fields: str | Sequence[str] | None = None,
        factors: str | Sequence[str] | None = None,
        channels: ChannelAxis | None = None,
        orientation: Literal["ij", "reference"] | None = None,
        exact: bool = False,
        progress: bool = False,
    ) -> Self:
        """Read a file of :meth:`save`, of the paper's authors, or of one's own in any format.

        HDF5, ``.npy``, ``.npz``, NetCDF, Zarr (with the extra ``zarr``) and MATLAB files of any
        version. The first axis counts the samples. In HDF5 of this project ``output``
        (N, C, n1, n2) is required; ``generative_params`` (N, s), and for Darcy data
        ``permeability`` (N, 1, n1, n2), are None where the file has none.

        Parameters
        ----------
        path : path-like
            Name of the file, or of the folder of a Zarr store.
        fields : str or sequence of str, optional
            Key of the fields; several, also separated by commas, become channels. By default
            ``output``, ``fields`` or ``tensor``, or the only array that can be meant.
        factors : str or sequence of str, optional
            Keys of arrays (N,) or (N, s), or the name of a CSV file with a header and a row for
            each sample. By default ``generative_params`` or ``factors`` if there is such a key.
        channels : "first", "last" or "none", optional
            Whether the axis of channels follows that of the samples, is the last one, or does not
            exist. By default "first" for arrays of four axes, unless the last one is shorter than
            the second, and "none" for those of fewer, which are fields on a plane (N, n1, n2), or
            on a line or at any points (N, n); the latter become (N, C, n, 1).
        orientation : "ij" or "reference", optional
            How fields lie in the file: with axes (x1, x2), or turned like those of the authors
            (see :meth:`save`). By default as the file's attribute ``orientation`` says, which
            ``save`` writes, and without one as they are, which is "ij": it is never guessed.
        exact : bool
            Double precision is kept, and a mask of missing values allowed (see the class). Fields
            of more than 512 MiB stay in their file (:class:`StoredDataset`).
        progress : bool
            Show progress bars where such fields are read.

        Returns
        -------
        FieldDataset
            In "ij" orientation; ``orientation_note`` and ``layout_note`` say what was done. Of the
            class that ``load`` is called on.

        Raises
        ------
        DataError
            If the file is missing, truncated, damaged or of another format, or holds shapes that
            do not fit or values that are not finite; the message names file and key. If it is not
            clear which arrays are meant or how their axes lie: the message names the option that
            says so. If its attribute ``orientation`` is neither "ij" nor "reference" and none is
            given.

        Warns
        -----
        UserWarning
            If the file has all three keys of the authors' files and nothing says how its fields
            lie, or if ``orientation`` is not what the file says.
        """
        path = Path(path)
        if orientation is not None:
            _check_orientation(orientation, ORIENTATIONS)
        contents = open_file(path)
        chosen = select_arrays(contents, fields, factors, channels)
        attributes = dict(contents.attributes)
        ours = str(attributes.pop("format", None)) == FORMAT
        if ours and "checksum" in attributes:
            _compare_checksum(path, attributes.pop("checksum"), contents)
        declared = str(attributes.pop("orientation")) if "orientation" in attributes else None
        metadata = {k: v for k, v in attributes.items() if isinstance(v, str | int | float)}
        found, note = _orientation(
            path, orientation, declared, set(KEYS.values()) <= set(contents.arrays)
        )
        turned = found == "reference"
        names, coordinates = chosen.names, chosen.coordinates
        if turned and len(axes := names.get("axes", "").split(", ")) == 2:
            names = names | {"axes": ", ".join(reversed(axes))}
            # the axis that is the rows of the file runs down there and up here
            steps = zip(reversed(coordinates), (1, -1), strict=False)  # none, or both
            coordinates = [replace(one, values=one.values[::step]) for one, step in steps]
        elif turned:  # a line becomes one along x2, the rows of the file
            names, coordinates = {k: v for k, v in names.items() if k != "axes"}, []
        metadata |= names
        own = {k: _tensor(v, exact) for k, v in chosen.arrays.items() if k in cls.names}
        stored = chosen.fields
        stays = cls is FieldDataset and exact and _bytes(stored) > IN_MEMORY
        lying = _samples(stored, False, exact, progress) if stays else _tensor(stored.read(), exact)
        if problem := _problem({"fields": lying} | own, exact):
            raise DataError(f"{path}: {chosen.keys[problem[0]]} {problem[1]}.")
        if turned:
            own |= {name: _turned(value) for name, value in own.items() if name != "theta"}
        if isinstance(lying, Samples):
            samples = _samples(stored, turned, exact, progress)
            data = cast(Self, StoredDataset(samples, **own, metadata=metadata))
        else:
            fields_read = _turned(lying) if turned else lying
            data = cls(fields_read, **own, metadata=metadata, exact=exact)
        data.orientation_note, data.layout_note = note, chosen.note
        data.coordinates = coordinates
        return data


class StoredDataset(FieldDataset):
    """Fields that stay in their file, for they may be larger than memory.

    :attr:`samples` gives some at a time; ``fields`` reads them all, and is refused where memory
    does not suffice.

    Parameters
    ----------
    samples : Samples
        The fields, known to be finite or missing at the same place in every sample.
    theta : tensor of shape (N, s), optional
        Generative factors.
    metadata : dict, optional
        As for :class:`FieldDataset`.
    """

    def __init__(
        self,
        samples: Samples,
        *,
        theta: Float[Tensor, "sample factor"] | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        self._samples, self.theta, self.metadata = samples, theta, metadata or {}
        self.exact, self.orientation_note, self.layout_note = True, "", ""
        self.coordinates = []

    @property
    def samples(self) -> Samples:
        """The fields some samples at a time."""
        return self._samples

    @property
    def fields(self) -> Float[Tensor, "sample channel x1 x2"]:  # type: ignore[override]
        """All fields, read at every call."""
        size = 16.0 * math.prod(self.samples.shape)  # in double precision, and once more in pieces
        check_memory(
            size, f"the fields {self.samples.shape}", "read some at a time: iterate over .samples"
        )
        return torch.cat(list(self.samples))

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Tensor | tuple[Tensor, Tensor]:
        row = range(len(self))[index]
        (field_read,) = torch.cat(list(self.samples[row : row + 1]))
        return field_read if self.theta is None else (field_read, self.theta[row])

    def __repr__(self) -> str:
        return f"{type(self).__name__}(fields={self.samples.shape})"

    def split(self, n_train: int = 512, n_test: int = 512) -> tuple[Self, Self]:
        """Not here: take parts of ``samples``."""
        raise DataError("these fields stay in their file; take .samples[:n] and .samples[n:]")


def _bytes(stored: StoredArray) -> int:
    """Size of an array in memory, as it is or in double precision."""
    return math.prod(stored.shape) * (4 if stored.dtype == np.float32 else 8)


def _tensor(values: np.ndarray, exact: bool) -> Tensor:
    """An array in single precision, or in double where it is not single and that is to be kept."""
    kind = np.float64 if exact and values.dtype != np.float32 else np.float32
    return torch.from_numpy(np.ascontiguousarray(values, dtype=kind))


def _turned(fields: Float[Tensor, "*axes x2 x1"]) -> Float[Tensor, "*axes x1 x2"]:
    """Fields of the authors' layout with axes (x1, x2)."""
    return fields.flip(-2).transpose(-1, -2).contiguous()


def _samples(stored: StoredArray, turned: bool, exact: bool, progress: bool) -> Samples:
    """Samples of an array of a file."""

    def read(part: slice) -> Tensor:
        values = _tensor(stored.rows(part), exact)
        return _turned(values) if turned else values

    count, channels, *grid = stored.shape
    return Samples((count, channels, *(grid[::-1] if turned else grid)), read, progress=progress)


def _orientation(
    path: Path, asked: str | None, declared: str | None, like_the_authors: bool
) -> tuple[str, str]:
    """How fields lie in a file, and a sentence that says so and why."""
    meaning = {
        "ij": "'ij' (fields as they lie)",
        "reference": "'reference' (fields turned to axes x1, x2)",
    }
    if asked is not None:
        note = f"orientation {meaning[asked]}, as asked"
        if declared not in (None, asked):
            note += f", although the file says {declared!r}"
            warnings.warn(f"{path}: {note}", stacklevel=3)
        return asked, note
    if declared is not None:
        if declared not in ORIENTATIONS:
            raise DataError(
                f"{path}: its attribute 'orientation' is {declared!r}, neither 'ij' nor "
                "'reference'; say with the option orientation how the fields lie."
            )
        return declared, f"orientation {meaning[declared]}, as the file says"
    note = f"orientation {meaning['ij']}: nothing says otherwise"
    if like_the_authors:
        note += (
            "; the file has all keys of the paper authors' files, whose fields lie transposed and "
            "upside down: if these do too, say so with the option orientation 'reference', if "
            "not, with 'ij'"
        )
        warnings.warn(f"{path}: {note}", stacklevel=3)
    return "ij", note


def _compare_checksum(path: Path, stored: Any, contents: Contents) -> None:
    """Raise DataError unless the arrays are those that were stored."""
    actual = _checksum({k: contents.arrays[k] for k in KEYS.values() if k in contents.arrays})
    if str(stored) != actual:
        raise DataError(
            f"{path}: checksum of the arrays is {actual[:12]}..., the file says "
            f"{str(stored)[:12]}...: its contents were altered or damaged; fetch or "
            "generate it again."
        )


def _problem(arrays: dict[str, Any], exact: bool) -> tuple[str, str] | None:
    """The first array that is not what it must be, and why; None if all are."""
    shape = tuple(arrays["fields"].shape)
    if len(shape) != 4 or min(shape) == 0:
        return "fields", f"has shape {shape}; it must be (samples, channels, n1, n2)"
    count, _, *grid = shape
    for name, value in arrays.items():
        shape = tuple(value.shape)
        if name == "permeability" and shape != (count, 1, *grid):
            return name, f"has shape {shape}; beside these fields it must be {(count, 1, *grid)}"
        if name == "theta" and (len(shape) != 2 or shape[0] != count or shape[1] == 0):
            return name, f"has shape {shape}; beside these fields it must be ({count}, factors)"
        batches = value if isinstance(value, Samples) else [value]
        check = _moving_gap if name == "fields" and exact else _not_finite
        if problem := check(batches):
            return name, problem
    return None


def _not_finite(batches: Iterable[Tensor]) -> str | None:
    """What is wrong with an array that holds values which are not finite; None if none is."""
    finite = np.concatenate([np.isfinite(b.numpy()).reshape(len(b), -1).all(1) for b in batches])
    if finite.all():
        return None
    return (
        f"holds NaN or infinity in {int((~finite).sum())} of {len(finite)} samples, first in "
        f"sample {int((~finite).argmax())}; every value must be finite: remove or mend them"
    )


def _moving_gap(batches: Iterable[Tensor]) -> str | None:
    """What is wrong with fields that hold values which are not finite; None for a fixed mask."""
    always, ever = np.True_, np.False_
    for fields in batches:
        values = fields.numpy()
        always = always & np.isnan(values).all(0)
        ever = ever | ~np.isfinite(values).all(0)
    if always.all():
        return "holds NaN only"
    if (ever == always).all():
        return None
    samples, count, place = 0, 0, None
    for fields in batches:
        wrong = ~np.isfinite(fields.numpy()) & ~always
        if wrong.any() and place is None:
            place = np.argwhere(wrong)[0] + [samples, 0, 0, 0]
        samples, count = samples + len(wrong), count + int(wrong.any((1, 2, 3)).sum())
    assert place is not None
    first, channel, i, j = place
    return (
        f"holds NaN or infinity in {count} of {samples} samples "
        "where other samples hold numbers, first in "
        f"sample {first}, channel {channel} (from 0), node ({i}, {j}); values may be missing only "
        "at the same place in every sample: fill them, or drop the samples that lack some"
    )


def _checksum(arrays: Mapping[str, np.ndarray | StoredArray]) -> str:
    """SHA-256 of keys, types, shapes and contents."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        value = arrays[key]
        digest.update(f"{key} {value.dtype.str} {value.shape}".encode())
        for piece in value.pieces() if isinstance(value, StoredArray) else [value]:
            digest.update(np.ascontiguousarray(piece).data)
    return digest.hexdigest()


def _check_orientation(orientation: str, known: tuple[str, ...]) -> None:
    if orientation not in known:
        raise DataError(f"orientation is {orientation!r}; choose one of {', '.join(known)}.")


def _version() -> str:
    try:
        return importlib.metadata.version("dvae")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

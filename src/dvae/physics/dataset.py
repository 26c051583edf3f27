"""Darcy data sets: draw, solve, split, store in HDF5 and load (section 3.1)."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import h5py
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution
from tqdm import tqdm

from dvae.errors import DataError
from dvae.physics.darcy import solve_darcy
from dvae.physics.factors import factor_distribution
from dvae.physics.kle import KarhunenLoeve
from dvae.storage import atomic_path

__all__ = ["DarcyDataset"]

FORMAT = "dvae-fields-1"
KEYS = {"theta": "generative_params", "permeability": "permeability", "fields": "output"}


@dataclass(eq=False)
class DarcyDataset:
    """Fields, and where known the permeability and the factors that made them.

    Attributes
    ----------
    fields : tensor of shape (N, C, n1, n2)
        Float32. For Darcy data the C = 3 channels are pressure, u1 and u2 (eq. 16), all
        dimensionless; axes (sample, channel, x1, x2). Fields of one's own may have any number of
        channels and any grid.
    permeability : tensor of shape (N, 1, n1, n2), or None
        Float32, dimensionless; None where unknown.
    theta : tensor of shape (N, s), or None
        Generative factors (eq. 20), float32, dimensionless; None where unknown.
    metadata : dict
        What made the data (seed, factors, KLE and solver settings, units, versions); numbers and
        strings, stored as attributes of the file.

    Raises
    ------
    DataError
        If the shapes do not fit together, or a value is not finite.
    """

    fields: Float[Tensor, "sample channel x1 x2"]
    permeability: Float[Tensor, "sample 1 x1 x2"] | None = None
    theta: Float[Tensor, "sample factor"] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self._arrays().items():
            try:
                setattr(self, name, torch.as_tensor(value).to(torch.float32).contiguous())
            except (TypeError, ValueError, RuntimeError) as error:
                raise DataError(
                    f"DarcyDataset: {name} is not an array of numbers: {error}"
                ) from error
        if problem := _problem(self._arrays()):
            raise DataError(f"DarcyDataset: {problem[0]} {problem[1]}.")

    def __len__(self) -> int:
        return len(self.fields)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={tuple(v.shape)}" for name, v in self._arrays().items())
        return f"DarcyDataset({shapes})"

    def _arrays(self) -> dict[str, Tensor]:
        """The arrays that are present, by attribute, in the order in which they are stored."""
        return {name: getattr(self, name) for name in KEYS if getattr(self, name) is not None}

    @classmethod
    def generate(
        cls,
        factors: str | Distribution = "standard-normal",
        n_samples: int = 1024,
        seed: int = 0,
        *,
        n_factors: int = 2,
        n_nodes: int = 65,
        length_scale: float = 0.1,
        correlation: float | None = None,
        batch_size: int = 64,
        device: str | torch.device = "cpu",
        progress: bool = False,
    ) -> DarcyDataset:
        r"""Draw factors, expand them to permeabilities (eq. 20) and solve for the flow (eq. 16).

        Sample i has a random stream of its own, seeded by (``seed``, i): it does not depend on
        ``batch_size``, nor on how many samples are drawn, so that a larger set begins with a
        smaller one. The global random state is left as it was.

        Parameters
        ----------
        factors : str or torch.distributions.Distribution
            A name of ``factor_distribution``, or a distribution of event shape (s,).
        n_samples : int
            Number N of samples.
        seed : int
            Not negative.
        n_factors : int
            Number s of factors and of modes: 2 for KLE2, 100 for KLE100. Taken from ``factors``
            where that is a distribution.
        n_nodes : int
            Nodes n along each side of the unit square.
        length_scale : float
            Correlation length l of the log-permeability (eq. 19).
        correlation : float, optional
            For "correlated-normal".
        batch_size : int
            Samples solved at once; 1024 or more keep a GPU busy.
        device : str or torch.device
            Where to solve; the data set itself lies in the memory of the CPU.
        progress : bool
            Show a progress bar.

        Returns
        -------
        DarcyDataset
            ``theta`` (N, s), ``permeability`` (N, 1, n, n), ``fields`` (N, 3, n, n).

        Raises
        ------
        DataError
            If a number is out of range, or a distribution has another event shape than (s,).
        UnknownNameError
            If there is no factor distribution of that name.
        DeviceError
            If ``device`` is not available.

        Examples
        --------
        >>> data = DarcyDataset.generate("four-modes", n_samples=4, seed=1, n_nodes=17)
        >>> data
        DarcyDataset(theta=(4, 2), permeability=(4, 1, 17, 17), fields=(4, 3, 17, 17))
        """
        for name, value, least in [
            ("n_samples", n_samples, 1),
            ("seed", seed, 0),
            ("batch_size", batch_size, 1),
        ]:
            if value != int(value) or value < least:
                raise DataError(
                    f"DarcyDataset.generate: {name} is {value!r}; give an integer of {least} "
                    "or more."
                )
        if isinstance(factors, Distribution):
            distribution, label = factors, repr(factors)
            if len(distribution.event_shape) != 1 or distribution.batch_shape:
                raise DataError(
                    "DarcyDataset.generate: the distribution of the factors has batch shape "
                    f"{tuple(distribution.batch_shape)} and event shape "
                    f"{tuple(distribution.event_shape)}; they must be () and (s,): wrap it in "
                    "torch.distributions.Independent."
                )
        else:
            distribution, label = (
                factor_distribution(factors, n_factors=n_factors, correlation=correlation),
                factors,
            )
        theta = _draw(distribution, n_samples, seed)
        kle = KarhunenLoeve(theta.shape[1], n_nodes, length_scale)

        permeability = torch.empty(n_samples, 1, n_nodes, n_nodes)
        fields = torch.empty(n_samples, 3, n_nodes, n_nodes)
        with tqdm(total=n_samples, desc="Darcy fields", unit="sample", disable=not progress) as bar:
            for start in range(0, n_samples, batch_size):
                part = slice(start, start + batch_size)
                values = kle.permeability(theta[part])
                solution = solve_darcy(values, device=device, batch_size=batch_size)
                permeability[part, 0] = values.to(torch.float32)
                fields[part, 0] = solution.pressure.to(torch.float32)
                fields[part, 1:] = solution.velocity.to(torch.float32)
                bar.update(len(values))
        metadata = {
            "factors": label,
            "n_factors": theta.shape[1],
            "seed": int(seed),
            "n_nodes": n_nodes,
            "length_scale": kle.length_scale,
            "kernel": "exp(-r / length_scale), mean 0, variance 1, nodal covariance (eqs 18-20)",
            "solver": "vertex-centred finite volumes, geometric-mean faces, PCG to 1e-12",
            "source": "wells of width 1/8 and rate 10 in two corners (eq. 17)",
            "channels": "pressure, u1, u2",
            "units": "dimensionless; unit square",
        }
        if correlation is not None:
            metadata["correlation"] = float(correlation)
        return cls(fields, permeability, theta, metadata)

    def split(self, n_train: int = 512, n_test: int = 512) -> tuple[DarcyDataset, DarcyDataset]:
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
            parts.append(DarcyDataset(**arrays, metadata=self.metadata | note))
        return parts[0], parts[1]

    def save(
        self, path: str | os.PathLike, *, orientation: Literal["ij", "reference"] = "ij"
    ) -> Path:
        """Store as HDF5 with the reference's keys ``generative_params, permeability, output``.

        The file is written beside ``path`` under a temporary name, synced and renamed: under its
        final name it is complete or absent. Attributes hold the metadata, the format, the
        orientation, the version of dvae and a SHA-256 checksum of the arrays.

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
        _check_orientation(orientation, ("ij", "reference"))
        arrays = {}
        for name, value in self._arrays().items():
            if orientation == "reference" and name != "theta":
                value = value.transpose(-1, -2).flip(-2)
            arrays[KEYS[name]] = np.ascontiguousarray(value.numpy(), dtype="<f4")
        attributes = self.metadata | {
            "format": FORMAT,
            "orientation": orientation,
            "dvae_version": _version(),
            "checksum": _checksum(arrays),
        }
        try:
            with atomic_path(path) as temporary, h5py.File(temporary, "w") as file:
                for key, value in arrays.items():
                    file.create_dataset(key, data=value)
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
        orientation: Literal["auto", "ij", "reference"] = "auto",
    ) -> DarcyDataset:
        """Read an HDF5 file of ``save``, of the reference, or of one's own.

        Only ``output`` (N, C, n1, n2) is required; ``generative_params`` (N, s) and
        ``permeability`` (N, 1, n1, n2) are None where the file has none.

        Parameters
        ----------
        path : path-like
            Name of the file.
        orientation : "auto", "ij" or "reference"
            How fields lie in the file. "auto" believes the attribute that ``save`` writes;
            without one, a file with all three of the reference's keys is taken to be in the
            reference's orientation (see ``save``) and is turned, any other is taken as "ij".

        Returns
        -------
        DarcyDataset
            In "ij" orientation, float32.

        Raises
        ------
        DataError
            If the file is missing, truncated or damaged, lacks ``output``, or holds shapes that
            do not fit or values that are not finite; the message names file and key.
        """
        path = Path(path)
        _check_orientation(orientation, ("auto", "ij", "reference"))
        if not path.is_file():
            raise DataError(f"{path}: there is no such file; `DarcyDataset.generate` makes data.")
        try:
            with h5py.File(path, "r") as file:
                attributes = {key: _plain(value) for key, value in file.attrs.items()}
                arrays = {name: _read(file, path, key) for name, key in KEYS.items() if key in file}
                found = sorted(file)
        except (OSError, RuntimeError, KeyError) as error:
            raise DataError(
                f"{path}: not a complete HDF5 file ({error}); it may be truncated or of another "
                "format: fetch or generate it again."
            ) from error
        if "fields" not in arrays:
            raise DataError(
                f"{path}: key 'output' is missing (found: {', '.join(found) or 'nothing'}); it "
                "must hold the fields, of shape (samples, channels, n1, n2)."
            )
        if problem := _problem(arrays):
            raise DataError(f"{path}: key {KEYS[problem[0]]!r} {problem[1]}.")

        stored = attributes.pop("checksum", None)
        if stored is not None:
            actual = _checksum({KEYS[name]: value for name, value in arrays.items()})
            if stored != actual:
                raise DataError(
                    f"{path}: checksum of the arrays is {actual[:12]}..., the file says "
                    f"{str(stored)[:12]}...: its contents were altered or damaged; fetch or "
                    "generate it again."
                )
        declared = attributes.pop("orientation", None)
        attributes.pop("format", None)
        if orientation == "auto":
            orientation = declared or ("reference" if len(arrays) == len(KEYS) else "ij")
        if orientation == "reference":
            for name in arrays.keys() - {"theta"}:
                arrays[name] = np.flip(arrays[name], -2).swapaxes(-1, -2)
        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))
            for name, value in arrays.items()
        }
        return cls(**tensors, metadata=attributes)


def _draw(distribution: Distribution, count: int, seed: int) -> Float[Tensor, "sample factor"]:
    """One draw for each sample from a random stream of its own."""
    draws = []
    with torch.random.fork_rng(devices=[]):
        for index in range(count):
            words = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)
            torch.default_generator.manual_seed(int(words[0]))
            draws.append(distribution.sample())
    return torch.stack(draws).to("cpu", torch.float32)


def _problem(arrays: dict[str, Any]) -> tuple[str, str] | None:
    """The first array that is not what it must be, and why; None if all are."""
    fields = arrays["fields"]
    count, grid = fields.shape[0] if fields.ndim else 0, tuple(fields.shape[2:])
    if fields.ndim != 4 or min(fields.shape) == 0:
        return "fields", f"has shape {tuple(fields.shape)}; it must be (samples, channels, n1, n2)"
    for name, value in arrays.items():
        shape = tuple(value.shape)
        if name == "permeability" and shape != (count, 1, *grid):
            return name, f"has shape {shape}; beside these fields it must be {(count, 1, *grid)}"
        if name == "theta" and (value.ndim != 2 or shape[0] != count or shape[1] == 0):
            return name, f"has shape {shape}; beside these fields it must be ({count}, factors)"
        finite = np.isfinite(np.asarray(value)).reshape(count, -1).all(axis=1)
        if not finite.all():
            return name, (
                f"holds NaN or infinity in {int((~finite).sum())} of {count} samples, first in "
                f"sample {int((~finite).argmax())}; every value must be finite: remove or mend them"
            )
    return None


def _read(file: h5py.File, path: Path, key: str) -> np.ndarray:
    """One numeric array of the file, as stored."""
    item = file[key]
    if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu":
        raise DataError(f"{path}: key {key!r} is {item!r}; it must be an array of real numbers.")
    return item[()]


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of keys, types, shapes and contents."""
    digest = hashlib.sha256()
    for key in sorted(arrays):
        value = np.ascontiguousarray(arrays[key])
        digest.update(f"{key} {value.dtype.str} {value.shape}".encode())
        digest.update(value.data)
    return digest.hexdigest()


def _check_orientation(orientation: str, known: tuple[str, ...]) -> None:
    if orientation not in known:
        raise DataError(f"orientation is {orientation!r}; choose one of {', '.join(known)}.")


def _plain(value: Any) -> Any:
    """An attribute as a plain Python value."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value.item() if isinstance(value, np.generic) else value


def _version() -> str:
    try:
        return importlib.metadata.version("dvae")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"

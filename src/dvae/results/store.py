"""Where results lie: files that are written whole, verified on reading, and merged.

Stored results of an experiment and profile form one file, ``<store>/<experiment>/<profile>.nc``;
groups that finish during a run are parts beside it until they are merged, so that a killed run
loses at most the groups that were being computed. Every file has its digest beside it
(``<profile>.nc.sha256``), which is checked before HDF5 opens it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from filelock import FileLock

from dvae.errors import DataError, ResultError
from dvae.hdf5 import check_hdf5
from dvae.results.netcdf import read_netcdf
from dvae.results.trials import PROFILES, Experiment, Group, check_profile, group_hashes
from dvae.storage import PACKAGED, atomic_path, digest_path, results_folder, write_digest

__all__ = ["Store", "read_result", "write_result"]


def _checksum(data: xr.Dataset) -> str:
    digest = hashlib.sha256()
    for name in sorted(map(str, data.variables)):
        values = data[name].values
        digest.update(name.encode() + repr((data[name].dims, values.shape)).encode())
        if values.dtype.kind in "OUS":
            digest.update(json.dumps(values.astype(str).tolist()).encode())
        else:
            little = values.astype(values.dtype.newbyteorder("<"), copy=False)
            digest.update(np.ascontiguousarray(little).tobytes())
    return digest.hexdigest()


def write_result(data: xr.Dataset, path: Path) -> None:
    """Write a dataset with its checksum, and its digest beside it; one writer at a time."""
    # encodings of files read before would cut longer texts to their width
    data = data.drop_encoding().assign_attrs(checksum=_checksum(data))
    encoding = {
        name: {"zlib": True, "complevel": 6, "shuffle": True}
        for name, value in data.data_vars.items()
        if value.dtype.kind == "f" and value.size > 1000
    }
    with atomic_path(path, digest=True) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def read_result(path: str | os.PathLike, *, digest: bool = True) -> xr.Dataset:
    """Read and verify a stored result.

    Parameters
    ----------
    path : path-like
        The file.
    digest : bool
        Compare it with the digest beside it; otherwise, and without one, another process tries
        first whether HDF5 can read it (:func:`dvae.hdf5.check_hdf5`).

    Raises
    ------
    ResultError
        If the file is missing, cannot be read, or does not match its digest or its checksum.
    """
    path = Path(path)
    if not path.exists():
        raise ResultError(f"no result file {path}; compute it with 'dvae run'")
    try:
        check_hdf5(path, digest=digest)
        data = read_netcdf(path)
    except DataError as error:
        raise ResultError(f"result file {error}; 'dvae run' computes it again") from error
    except Exception as error:  # h5py raises many kinds on damaged files
        raise ResultError(f"result file {path} cannot be read ({error}); run it again") from error
    if data.attrs.get("checksum") != _checksum(data):
        raise ResultError(f"result file {path} is damaged: checksum mismatch; run it again")
    return data


@dataclass(frozen=True)
class Store:
    """Folder of results.

    Parameters
    ----------
    root : Path
        Folder; :meth:`default` is that of the book.
    """

    root: Path

    @classmethod
    def default(cls) -> Store:
        """The store that the book shows: :func:`dvae.storage.results_folder`."""
        return cls(results_folder())

    def path(self, name: str, profile: str) -> Path:
        """Merged file of an experiment and profile."""
        return self.root / name / f"{profile}.nc"

    def parts(self, name: str, profile: str) -> Path:
        """Folder of groups not merged yet."""
        return self.root / ".parts" / name / profile

    def _lock(self, name: str, profile: str) -> FileLock:
        if self.root == PACKAGED:
            raise ResultError(
                f"the results in {self.root} came with dvae and are not changed; name a folder for "
                "new ones with --store or the variable DVAE_RESULTS"
            )
        folder = self.parts(name, profile)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ResultError(
                f"results cannot be kept in {self.root}: {error.strerror or error}; choose another "
                "folder with --store or the variable DVAE_RESULTS"
            ) from error
        return FileLock(folder / "lock")

    def part(self, experiment: Experiment, profile: str, group: Group) -> Path:
        """Part file of a group, named by the hashes of its trials."""
        text = " ".join(group_hashes(experiment, group))
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.parts(experiment.name, profile) / f"{name}.nc"

    def keep(self, experiment: Experiment, profile: str, group: Group, data: xr.Dataset) -> Path:
        """Write the part of a group; its path."""
        part = self.part(experiment, profile, group)
        with self._lock(experiment.name, profile):
            write_result(data, part)
        return part

    def failure(self, experiment: Experiment, profile: str, group: Group) -> Path:
        """File that holds the error of a group that failed."""
        return self.part(experiment, profile, group).with_suffix(".failed.json")

    def load(self, name: str, profile: str | None = None) -> xr.Dataset:
        """Stored result of an experiment.

        Parameters
        ----------
        name : str
            Experiment.
        profile : str, optional
            "smoke", "laptop" or "paper"; by default the more complete of "paper" and "laptop"
            (where both are complete, "paper"), and "smoke" only where neither is stored.

        Returns
        -------
        xarray.Dataset
            Dimension ``trial`` and what the experiment defines; provenance in the attributes.

        Raises
        ------
        UnknownNameError
            If the profile is unknown.
        ResultError
            If nothing is stored, or the file is damaged.
        """
        if profile is not None:
            return read_result(self.path(name, check_profile(profile)))
        if not self.root.is_dir():
            raise ResultError(
                f"there is no folder of results {self.root}; set the variable DVAE_RESULTS to the "
                "folder 'results' of a copy of the project, install the wheel of dvae, which has "
                f"them in it, or compute the result with 'dvae run {name}'"
            )
        there = [p for p in PROFILES if self.path(name, p).exists()]
        if not there:
            raise ResultError(
                f"no result of experiment {name!r} in {self.root}; "
                f"compute it with 'dvae run {name}'"
            )
        read = [p for p in there if p != "smoke"] or there
        found = [read_result(self.path(name, p)) for p in read]
        # sorting is stable: of two that are equally complete the later profile wins
        return max(reversed(found), key=_completeness)

    def stored(self, name: str, profile: str) -> set[str]:
        """Hashes of all readable stored trials, merged or not."""
        return self._read_hashes(name, profile)[0]

    def _files(self, name: str, profile: str) -> list[Path]:
        # parts first: one that another process merges meanwhile is then found in the merged file
        merged = self.path(name, profile)
        parts = sorted(self.parts(name, profile).glob("*.nc"))
        return parts + ([merged] if merged.exists() else [])

    def _read_hashes(self, name: str, profile: str) -> tuple[set[str], list[Path]]:
        """Hashes of all readable trials, and the damaged files."""
        hashes: set[str] = set()
        damaged = []
        for path in self._files(name, profile):
            try:
                hashes |= set(read_result(path)["hash"].values.tolist())
            except ResultError:
                if path.exists():  # else it was merged meanwhile
                    damaged.append(path)
        return hashes, damaged

    def set_aside(
        self, name: str, profile: str, checkpoint_is_sound: Callable[[Path], bool]
    ) -> list[Path]:
        """Rename damaged results and checkpoints to ``*.damaged-*``; return their new names."""
        with self._lock(name, profile):
            damaged = self._read_hashes(name, profile)[1]
            # not those of a name with a dot, which another process is writing (`atomic_path`)
            for path in sorted(self.parts(name, profile).glob("[!.]*.checkpoint*")):
                known = ".damaged-" in path.name
                if not known and not checkpoint_is_sound(path) and path.exists():
                    damaged.append(path)
            aside = []
            for path in damaged:
                aside.append(path.with_name(f"{path.name}.damaged-{time.time_ns()}"))
                os.replace(path, aside[-1])
                digest_path(path).unlink(missing_ok=True)
            return aside

    def update_digests(self) -> list[Path]:
        """Give every merged file the digest of what it is now; those that had another or none.

        For files that did not come from :meth:`merge`. Each is read first, by another process.

        Raises
        ------
        ResultError
            If a file is damaged.
        """
        changed = []
        for path in sorted(self.root.glob("*/*.nc")):
            with self._lock(path.parent.name, path.stem):
                read_result(path, digest=False)
                if write_digest(path):
                    changed.append(path)
        return changed

    def merge(self, experiment: Experiment, profile: str) -> xr.Dataset | None:
        """Merge parts into the experiment's file; drop trials that are no longer declared."""
        with self._lock(experiment.name, profile):
            files = self._files(experiment.name, profile)[::-1]  # later ones replace earlier ones
            if not files:
                return None
            wanted = [h for g in experiment.groups(profile) for h in group_hashes(experiment, g)]
            pieces = [read_result(path) for path in files]
            current = set(pieces[0]["hash"].values) <= set(wanted)
            current &= pieces[0].attrs.get("declared") == str(len(wanted))
            if files == [self.path(experiment.name, profile)] and current:
                return pieces[0]
            order = {h: i for i, h in enumerate(wanted)}
            # stale trials go first: they may have other variables and dimensions
            pieces = [p.isel(trial=[h in order for h in p["hash"].values.tolist()]) for p in pieces]
            pieces = [p for p in pieces if p.sizes["trial"]]
            if not pieces:  # nothing that could replace what is stored: keep it
                return None
            data = xr.concat(
                pieces, dim="trial", join="outer", combine_attrs="override", data_vars="all"
            )
            newest = {h: i for i, h in enumerate(data["hash"].values.tolist())}
            data = data.isel(trial=[newest[h] for h in sorted(newest, key=order.__getitem__)])
            data.attrs = _merged_attributes(experiment, profile, pieces, data, len(wanted))
            write_result(data, self.path(experiment.name, profile))
            for path in files:
                if path != self.path(experiment.name, profile):
                    digest_path(path).unlink(missing_ok=True)
                    path.unlink(missing_ok=True)
            return data

    def status(self, experiment: Experiment, profile: str) -> dict[str, Any]:
        """What is stored, missing, failed, stale and damaged of an experiment and profile."""
        groups = experiment.groups(profile)
        wanted = {h for g in groups for h in group_hashes(experiment, g)}
        stored, damaged = self._read_hashes(experiment.name, profile)
        failed = {}
        for group in groups:
            failure = self.failure(experiment, profile, group)
            if not set(group_hashes(experiment, group)) <= stored:
                with contextlib.suppress(FileNotFoundError):  # or one that succeeds meanwhile
                    failed[failure.name.split(".")[0]] = json.loads(failure.read_text())["error"]
        return {
            "experiment": experiment.name,
            "profile": profile,
            "trials": len(wanted),
            "stored": len(wanted & stored),
            "missing": len(wanted - stored),
            "stale": len(stored - wanted),
            "failed": failed,
            "damaged": [str(path) for path in damaged],
        }


def _completeness(result: xr.Dataset) -> float:
    """Share of the declared trials that a merged file holds."""
    return int(result.attrs["trials"]) / int(result.attrs["declared"])


def _merged_attributes(
    experiment: Experiment, profile: str, pieces: list[xr.Dataset], data: xr.Dataset, declared: int
) -> dict[str, str]:
    def joined(key: str) -> str:
        values = {v for p in pieces for v in str(p.attrs.get(key, "")).split("; ") if v}
        return "; ".join(sorted(values))

    attributes = {k: joined(k) for k in ("commit", "hardware", "dvae", "torch", "python")}
    attributes["created"] = max(str(p.attrs.get("created", "")) for p in pieces)
    return attributes | {
        "experiment": experiment.name,
        "title": experiment.title,
        "version": str(experiment.version),
        "profile": profile,
        "trials": str(data.sizes["trial"]),
        "declared": str(declared),
        "seconds": f"{float(data['seconds'].sum()):.1f}",
    }

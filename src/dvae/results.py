"""Experiments, their trials, and the store of their results.

An experiment is a list of *groups* of trials. A group is the unit of work: its trials train
together as one ensemble, and it is stored as a whole. Each trial has a hash of everything that
determines it. Stored results of an experiment and profile form one file,
``<store>/<experiment>/<profile>.nc``; groups that finish during a run are parts beside it until
they are merged, so that a killed run loses at most the groups that were being computed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from filelock import FileLock
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from dvae.errors import DataError, ResultError, UnknownNameError
from dvae.provenance import provenance
from dvae.storage import atomic_path, read_tensors
from dvae.training.ensemble import check_device

__all__ = [
    "PROFILES",
    "Experiment",
    "Group",
    "Store",
    "experiment",
    "load_result",
    "run_experiment",
    "trial_hash",
]

PROFILES = ("smoke", "laptop", "paper")
Trial = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Trials that are computed together.

    Attributes
    ----------
    shared : dict
        Settings common to the trials (data, model, recipe); plain values only.
    trials : tuple of dict
        What differs between them (seed, number of labels); one entry per trial.
    """

    shared: Trial
    trials: tuple[Trial, ...]

    def settings(self) -> list[Trial]:
        """Full settings of every trial."""
        return [{**self.shared, **trial} for trial in self.trials]


@dataclass(frozen=True)
class Experiment:
    """One study of the book.

    Attributes
    ----------
    name : str
        Name on the command line and in the store.
    title : str
        One line for people.
    version : int
        Part of every trial's hash; raise it when the code changes what a trial gives.
    groups : callable
        ``groups(profile) -> list of Group``.
    compute : callable
        ``compute(group, device, progress, checkpoint) -> xarray.Dataset`` with a dimension
        ``trial`` in the order of ``group.trials`` on every variable. ``checkpoint`` is a path for
        :func:`dvae.fit` or None.
    """

    name: str
    title: str
    version: int
    groups: Callable[[str], list[Group]]
    compute: Callable[..., xr.Dataset]


def experiment(name: str) -> Experiment:
    """Experiment of a given name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    from dvae.experiments import EXPERIMENTS

    if name not in EXPERIMENTS:
        known = ", ".join(sorted(EXPERIMENTS))
        raise UnknownNameError(f"unknown experiment {name!r}; choose one of {known}")
    return EXPERIMENTS[name]


def check_profile(profile: str) -> str:
    """The profile, if it is one (UnknownNameError otherwise)."""
    if profile not in PROFILES:
        raise UnknownNameError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    return profile


def trial_hash(one: Experiment, settings: Trial) -> str:
    """Hash of everything that determines a trial: experiment, version and settings."""
    text = json.dumps([one.name, one.version, settings], sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def group_hashes(one: Experiment, group: Group) -> list[str]:
    """Hashes of a group's trials, in their order."""
    return [trial_hash(one, settings) for settings in group.settings()]


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


def _write(data: xr.Dataset, path: Path) -> None:
    """Write a dataset with its checksum, atomically."""
    # encodings of files read before would cut longer texts to their width
    data = data.drop_encoding().assign_attrs(checksum=_checksum(data))
    encoding = {
        name: {"zlib": True, "complevel": 6, "shuffle": True}
        for name, value in data.data_vars.items()
        if value.dtype.kind == "f" and value.size > 1000
    }
    with atomic_path(path) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)


def read_result(path: str | os.PathLike) -> xr.Dataset:
    """Read and verify a stored result.

    Raises
    ------
    ResultError
        If the file is missing, cannot be read, or does not match its checksum.
    """
    path = Path(path)
    if not path.exists():
        raise ResultError(f"no result file {path}; compute it with 'dvae run'")
    try:
        with xr.open_dataset(path, engine="h5netcdf") as file:
            data = file.load()
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
        By default ``$DVAE_RESULTS``, else ``results`` of the source checkout that dvae runs from,
        else ``results`` in the current folder.
    """

    root: Path

    @classmethod
    def default(cls) -> Store:
        """The store that the book shows."""
        if "DVAE_RESULTS" in os.environ:
            return cls(Path(os.environ["DVAE_RESULTS"]))
        checkout = Path(__file__).resolve().parents[2]
        beside = checkout / "results"
        return cls(beside if (checkout / "pyproject.toml").exists() else Path("results"))

    def path(self, name: str, profile: str) -> Path:
        """Merged file of an experiment and profile."""
        return self.root / name / f"{profile}.nc"

    def parts(self, name: str, profile: str) -> Path:
        """Folder of groups not merged yet."""
        return self.root / ".parts" / name / profile

    def _lock(self, name: str, profile: str) -> FileLock:
        folder = self.parts(name, profile)
        folder.mkdir(parents=True, exist_ok=True)
        return FileLock(folder / "lock")

    def part(self, one: Experiment, profile: str, group: Group) -> Path:
        """Part file of a group, named by the hashes of its trials."""
        text = " ".join(group_hashes(one, group))
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self.parts(one.name, profile) / f"{name}.nc"

    def failure(self, one: Experiment, profile: str, group: Group) -> Path:
        """File that holds the error of a group that failed."""
        return self.part(one, profile, group).with_suffix(".failed.json")

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

    def set_damaged_aside(self, name: str, profile: str) -> list[Path]:
        """Rename damaged results and checkpoints to ``*.damaged-*``; return their new names."""
        with self._lock(name, profile):
            damaged = self._read_hashes(name, profile)[1]
            for path in sorted(self.parts(name, profile).glob("*.checkpoint*")):
                try:
                    read_tensors(path)
                except ResultError:
                    if path.exists() and ".damaged-" not in path.name:
                        damaged.append(path)
            aside = []
            for path in damaged:
                aside.append(path.with_name(f"{path.name}.damaged-{time.time_ns()}"))
                os.replace(path, aside[-1])
            return aside

    def merge(self, one: Experiment, profile: str) -> xr.Dataset | None:
        """Merge parts into the experiment's file; drop trials that are no longer declared."""
        with self._lock(one.name, profile):
            files = self._files(one.name, profile)[::-1]  # later ones replace earlier ones
            if not files:
                return None
            wanted = [h for g in one.groups(profile) for h in group_hashes(one, g)]
            pieces = [read_result(path) for path in files]
            current = set(pieces[0]["hash"].values) <= set(wanted)
            if files == [self.path(one.name, profile)] and current:
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
            data.attrs = _merged_attributes(one, profile, pieces, data)
            _write(data, self.path(one.name, profile))
            for path in files:
                if path != self.path(one.name, profile):
                    path.unlink(missing_ok=True)
            return data

    def status(self, one: Experiment, profile: str) -> dict[str, Any]:
        """What is stored, missing, failed, stale and damaged of an experiment and profile."""
        groups = one.groups(profile)
        wanted = {h for g in groups for h in group_hashes(one, g)}
        stored, damaged = self._read_hashes(one.name, profile)
        failed = {}
        for group in groups:
            failure = self.failure(one, profile, group)
            if failure.exists() and not set(group_hashes(one, group)) <= stored:
                failed[failure.name.split(".")[0]] = json.loads(failure.read_text())["error"]
        return {
            "experiment": one.name,
            "profile": profile,
            "trials": len(wanted),
            "stored": len(wanted & stored),
            "missing": len(wanted - stored),
            "stale": len(stored - wanted),
            "failed": failed,
            "damaged": [str(path) for path in damaged],
        }


def _merged_attributes(one: Experiment, profile: str, pieces, data: xr.Dataset) -> dict[str, str]:
    def joined(key: str) -> str:
        values = {v for p in pieces for v in str(p.attrs.get(key, "")).split("; ") if v}
        return "; ".join(sorted(values))

    attributes = {k: joined(k) for k in ("commit", "hardware", "dvae", "torch", "python")}
    attributes["created"] = max(str(p.attrs.get("created", "")) for p in pieces)
    return attributes | {
        "experiment": one.name,
        "title": one.title,
        "version": str(one.version),
        "profile": profile,
        "trials": str(data.sizes["trial"]),
        "seconds": f"{float(data['seconds'].sum()):.1f}",
    }


def load_result(name: str, profile: str | None = None, store: Store | None = None) -> xr.Dataset:
    """Stored result of an experiment.

    Parameters
    ----------
    name : str
        Experiment.
    profile : str, optional
        "smoke", "laptop" or "paper"; by default the more complete of "paper" and "laptop" (where
        both are complete, "paper"), and "smoke" only where neither is stored.
    store : Store, optional
        Where to look; by default the book's store.

    Returns
    -------
    xarray.Dataset
        Dimension ``trial`` and what the experiment defines; provenance in the attributes.

    Raises
    ------
    UnknownNameError
        If experiment or profile is unknown.
    ResultError
        If nothing is stored, or the file is damaged.
    """
    one, store = experiment(name), store or Store.default()
    if profile is not None:
        return read_result(store.path(name, check_profile(profile)))
    there = [p for p in PROFILES if store.path(name, p).exists()]
    if not there:
        raise ResultError(
            f"no result of experiment {name!r} in {store.root}; compute it with 'dvae run {name}'"
        )
    found = {
        p: read_result(store.path(name, p)) for p in [p for p in there if p != "smoke"] or there
    }

    def share(candidate: str) -> float:
        wanted = {h for g in one.groups(candidate) for h in group_hashes(one, g)}
        return len(wanted & set(found[candidate]["hash"].values.tolist())) / len(wanted)

    return found[max(found, key=lambda p: (share(p), PROFILES.index(p)))]


_TURN = threading.Lock()


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Compute in a defined state of the process, which is put back afterwards.

    torch and the linear algebra of numpy and scipy have one CPU thread, and ``store`` is the
    default one, for experiments that read the results of others. These, and the global random
    state that initialisation seeds, belong to the process: groups that run in threads of one
    process (dask workers) take turns.
    """
    with _TURN:
        before, threads = os.environ.get("DVAE_RESULTS"), torch.get_num_threads()
        os.environ["DVAE_RESULTS"] = str(store.root)
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1):
                yield
        finally:
            torch.set_num_threads(threads)
            if before is None:
                del os.environ["DVAE_RESULTS"]
            else:
                os.environ["DVAE_RESULTS"] = before


def compute_group(
    name: str, profile: str, index: int, device: str, root: str, progress: bool = False
) -> str:
    """Compute one group and store its part; what a worker process runs.

    Every group runs with one CPU thread, so that results do not depend on the number of workers.
    """
    one, store = experiment(name), Store(Path(root))
    group = one.groups(profile)[index]
    part = store.part(one, profile, group)
    checkpoint = part.with_suffix(".checkpoint")
    with _alone(store):
        start = time.perf_counter()
        data = one.compute(group, device=device, progress=progress, checkpoint=checkpoint)
        seconds = time.perf_counter() - start
    m = len(group.trials)
    if data.sizes.get("trial") != m:
        raise ResultError(f"experiment {name!r} returned {data.sizes} for {m} trials")
    settings = [json.dumps(s, sort_keys=True) for s in group.settings()]
    data = data.assign_coords(
        hash=("trial", group_hashes(one, group)), settings=("trial", settings)
    ).assign(seconds=("trial", np.full(m, seconds / m)))
    data.attrs |= provenance(device)
    _write(data, part)
    store.failure(one, profile, group).unlink(missing_ok=True)
    return str(part)


def run_experiment(
    name: str,
    profile: str = "smoke",
    *,
    device: str = "cpu",
    workers: int | None = None,
    executor: Executor | None = None,
    store: Store | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Compute what is missing of an experiment, merge and return its status.

    Parameters
    ----------
    name, profile : str
        What to run.
    device : str
        "cpu" or "cuda".
    workers : int, optional
        Worker processes; by default one per CPU core, one on a GPU. The results do not depend on
        it.
    executor : concurrent.futures.Executor, optional
        Run the groups there instead, e.g. ``dask.distributed.Client(...).get_executor()``; the
        workers must see the same store folder.
    store : Store, optional
        Where to keep results; by default the book's store.
    progress : bool
        Show a progress bar over groups.

    Returns
    -------
    dict
        :meth:`Store.status` after the run, with ``seconds`` and the files ``set_aside``.

    Raises
    ------
    UnknownNameError, DeviceError
        Before anything runs. A group that fails is recorded and reported, the others go on.
    """
    one, store = experiment(name), store or Store.default()
    check_profile(profile)
    if executor is None:
        check_device(device)
    if workers is not None and workers < 1:
        raise DataError(f"workers must be at least 1, got {workers}")
    start = time.perf_counter()
    aside = store.set_damaged_aside(name, profile)
    stored = store.stored(name, profile)
    groups = one.groups(profile)
    todo = [i for i, g in enumerate(groups) if not set(group_hashes(one, g)) <= stored]
    arguments = [(name, profile, i, device, str(store.root.resolve())) for i in todo]
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        workers = 1 if device.startswith("cuda") else cores
    bar = tqdm(total=len(todo), desc=f"{name} {profile}", unit="group", disable=not progress)
    with bar:
        if executor is None and (workers == 1 or len(todo) == 1):
            for index, argument in zip(todo, arguments, strict=True):
                _guard(
                    lambda a=argument: compute_group(*a, progress),
                    one,
                    profile,
                    groups[index],
                    store,
                )
                bar.update()
        elif todo:
            own = None
            if executor is None:
                size = min(workers, len(todo))
                executor = own = ProcessPoolExecutor(size, mp_context=get_context("spawn"))
            try:
                futures = {
                    executor.submit(compute_group, *argument): index
                    for index, argument in zip(todo, arguments, strict=True)
                }
                for future in as_completed(futures):
                    _guard(future.result, one, profile, groups[futures[future]], store)
                    bar.update()
            finally:
                if own is not None:
                    own.shutdown(cancel_futures=True)
    store.merge(one, profile)
    status = store.status(one, profile)
    return status | {
        "computed": len(todo),
        "seconds": time.perf_counter() - start,
        "set_aside": [str(path) for path in aside],
    }


def _guard(call, one: Experiment, profile: str, group: Group, store: Store) -> None:
    """Run or collect a group; keep the error of one that fails."""
    try:
        call()
    except Exception as error:  # one group's failure must not stop the others
        failure = store.failure(one, profile, group)
        with atomic_path(failure) as temporary:
            message = f"{type(error).__name__}: {error}"
            temporary.write_text(json.dumps({"error": message, "shared": group.shared}))


def verify_experiment(
    name: str,
    profile: str,
    *,
    fraction: float = 0.1,
    seed: int = 0,
    device: str = "cpu",
    store: Store | None = None,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Recompute a random sample of stored groups and compare.

    Parameters
    ----------
    name, profile : str
        What to verify.
    fraction : float
        Share of the stored groups, at least one.
    seed : int
        Seed of the sample.
    device : str
        Device to recompute on.
    store : Store, optional
        Store to verify.
    progress : bool
        Show progress.

    Returns
    -------
    list of dict
        Per group: ``trials``, ``identical`` (every number equal) and ``largest`` (largest
        difference of a variable relative to its largest value). Different hardware gives other
        rounding, which long trainings amplify; compare statistics there.

    Raises
    ------
    DataError
        If ``fraction`` is not above 0 and at most 1.
    ResultError
        If nothing is stored.
    """
    one, store = experiment(name), store or Store.default()
    if not 0 < fraction <= 1:
        raise DataError(f"fraction must be above 0 and at most 1, got {fraction}")
    stored = read_result(store.path(name, check_profile(profile)))
    have = {h: i for i, h in enumerate(stored["hash"].values.tolist())}
    groups = [g for g in one.groups(profile) if set(group_hashes(one, g)) <= set(have)]
    if not groups:
        raise ResultError(f"no complete group of {name!r} at profile {profile!r} is stored")
    count = max(1, round(fraction * len(groups)))
    chosen = np.random.default_rng(seed).choice(len(groups), size=count, replace=False)
    report = []
    for index in tqdm(sorted(chosen), desc=f"verify {name}", disable=not progress):
        group = groups[index]
        old = stored.isel(trial=[have[h] for h in group_hashes(one, group)])
        with _alone(store):
            new = one.compute(group, device=device, progress=False, checkpoint=None)
        largest = _largest_difference(old, new)
        report.append({"trials": len(group.trials), "identical": largest == 0, "largest": largest})
    return report


def _largest_difference(old: xr.Dataset, new: xr.Dataset) -> float:
    """Largest relative difference of a variable; infinite where names or shapes differ."""
    # a merged file pads the shorter of two curves; wall times always differ
    names = [name for name in new.data_vars if not str(name).endswith("seconds")]
    try:
        old = xr.align(old, new, join="right", exclude="trial")[0]
    except ValueError:  # a dimension without labels has another size
        return math.inf
    if not set(names) <= set(old.data_vars):
        return math.inf
    return max(_difference(old[name].values, new[name].values) for name in names)


def _difference(old: np.ndarray, new: np.ndarray) -> float:
    if old.dtype.kind in "OUS":
        return 0.0 if np.array_equal(old.astype(str), new.astype(str)) else math.inf
    old, new = old.astype(float), new.astype(float)
    if np.array_equal(old, new, equal_nan=True):
        return 0.0
    others = [np.where(np.isfinite(values), 0.0, values) for values in (old, new)]
    if not np.array_equal(*others, equal_nan=True):  # another shape, or NaN and inf elsewhere
        return math.inf
    finite = np.isfinite(old)
    difference, scale = np.abs(old - new)[finite].max(), np.abs(old[finite]).max()
    return float(difference / scale) if scale > 0 else math.inf


def summarise(statuses: Sequence[dict[str, Any]]) -> str:
    """Statuses as a table for people."""
    lines = [f"{'experiment':<22}{'profile':<9}{'stored':>14}{'missing':>9}{'stale':>7}  notes"]
    for s in statuses:
        notes = [f"{len(s['failed'])} failed"] * bool(s["failed"])
        notes += [f"{len(s['damaged'])} damaged"] * bool(s["damaged"])
        share = f"{s['stored']}/{s['trials']}"
        lines.append(
            f"{s['experiment']:<22}{s['profile']:<9}{share:>14}{s['missing']:>9}{s['stale']:>7}"
            f"  {', '.join(notes)}"
        )
    return "\n".join(lines)

"""Running experiments: compute what is missing, in worker processes or on a cluster."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    as_completed,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from dvae.errors import DataError, DvaeError, ResultError
from dvae.experiments import find_experiment
from dvae.progress import progress_bar
from dvae.provenance import provenance
from dvae.results.store import Store
from dvae.results.trials import Experiment, Group, check_profile, group_hashes
from dvae.storage import atomic_path
from dvae.tensors import read_tensors
from dvae.threads import available_cores, one_thread
from dvae.training.ensemble import check_device

__all__ = ["compute_group", "compute_trials", "run_experiment", "summarise"]

WORKERS_GONE = (
    "the workers are gone: their scheduler has ended, or cannot be reached any more; what is "
    "stored is kept, start the same command again with a scheduler that runs"
)
_TURN = threading.Lock()


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Compute in a defined state of the process, which is put back afterwards.

    One CPU thread, and the global random state that initialisation seeds, belong to the process:
    groups that run in threads of one process (dask workers) take turns.
    """
    with _TURN, one_thread():
        yield


def compute_trials(
    experiment: Experiment,
    group: Group,
    store: Store,
    device: str,
    progress: bool = False,
    checkpoint: Path | None = None,
) -> xr.Dataset:
    """What the trials of a group give; ``store`` goes to those that read others' results."""
    given = {"store": store} if experiment.reads else {}
    with _alone():
        return experiment.compute(
            group, device=device, progress=progress, checkpoint=checkpoint, **given
        )


def compute_group(
    name: str, profile: str, index: int, device: str, root: str, progress: bool = False
) -> str:
    """Compute one group and store its part; what a worker process runs.

    Every group runs with one CPU thread, so that results do not depend on the number of workers.
    """
    experiment, store = find_experiment(name), Store(Path(root))
    group = experiment.groups(profile)[index]
    part = store.part(experiment, profile, group)
    checkpoint = part.with_suffix(".checkpoint")
    start = time.perf_counter()
    data = compute_trials(experiment, group, store, device, progress, checkpoint)
    seconds = time.perf_counter() - start
    m = len(group.trials)
    if data.sizes.get("trial") != m:
        raise ResultError(f"experiment {name!r} returned {data.sizes} for {m} trials")
    settings = [json.dumps(s, sort_keys=True) for s in group.settings()]
    data = data.assign_coords(
        hash=("trial", group_hashes(experiment, group)), settings=("trial", settings)
    ).assign(seconds=("trial", np.full(m, seconds / m)))
    data.attrs |= provenance(device)
    store.keep(experiment, profile, group, data)
    store.failure(experiment, profile, group).unlink(missing_ok=True)
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
        :meth:`Store.status` after the run, with ``seconds``, the number of groups that were
        ``computed`` (without those that failed) and the files ``set_aside``.

    Raises
    ------
    UnknownNameError, DeviceError
        Before anything runs. A group that fails is recorded and reported, the others go on.
    DvaeError
        If the given executor drops its work because its workers are gone.
    """
    experiment, store = find_experiment(name), store or Store.default()
    check_profile(profile)
    if executor is None:
        check_device(device)
    if workers is not None and workers < 1:
        raise DataError(f"workers must be at least 1, got {workers}")
    start = time.perf_counter()
    aside = store.set_aside(name, profile, _is_sound)
    stored = store.stored(name, profile)
    groups = experiment.groups(profile)
    todo = [i for i, g in enumerate(groups) if not set(group_hashes(experiment, g)) <= stored]
    arguments = [(name, profile, i, device, str(store.root.resolve())) for i in todo]
    if workers is None:
        workers = 1 if device.startswith("cuda") else available_cores()
    bar = progress_bar(
        total=len(todo), desc=f"{name} {profile}", unit="group", disable=not progress
    )
    failed = 0

    def collect(call: Callable[[], Any], index: int) -> None:
        nonlocal failed
        failed += not _guard(call, experiment, profile, groups[index], store)
        bar.update()

    with bar:
        if executor is not None:
            try:
                futures = {
                    executor.submit(compute_group, *argument): index
                    for index, argument in zip(todo, arguments, strict=True)
                }
            except BrokenExecutor as error:
                raise DvaeError(WORKERS_GONE) from error
            for future in as_completed(futures):
                _check_workers(future)
                collect(future.result, futures[future])
        elif workers == 1 or len(todo) == 1:
            for index, argument in zip(todo, arguments, strict=True):
                collect(functools.partial(compute_group, *argument, progress), index)
        else:
            _in_processes(compute_group, dict(zip(todo, arguments, strict=True)), workers, collect)
    store.merge(experiment, profile)
    status = store.status(experiment, profile)
    return status | {
        "computed": len(todo) - failed,
        "seconds": time.perf_counter() - start,
        "set_aside": [str(path) for path in aside],
    }


def _check_workers(future: Future) -> None:
    """Raise DvaeError if an executor that was given has lost its workers, and this call with it."""
    try:
        lost = future.exception()
    except CancelledError as error:
        lost = error
    if isinstance(lost, CancelledError | BrokenExecutor):
        raise DvaeError(WORKERS_GONE) from lost


def _in_processes(
    function: Callable[..., Any],
    arguments: Mapping[int, tuple],
    workers: int,
    collect: Callable[[Callable[[], Any], int], None],
) -> None:
    """Call a function in processes of our own and hand every result, or error, to ``collect``.

    When a process is killed, as where memory runs out, every call that runs is lost with the pool.
    Those calls are made again one at a time, each in a process of its own, so that only the one
    that is killed once more has failed; the others go on in a new pool.
    """
    waiting = deque(arguments)
    while waiting:
        running: dict[Future, int] = {}
        lost: list[int] = []
        with _pool(min(workers, len(waiting))) as pool:
            while (waiting and not lost) or running:
                while waiting and not lost and len(running) < workers:
                    index = waiting.popleft()
                    try:
                        running[pool.submit(function, *arguments[index])] = index
                    except BrokenProcessPool:
                        lost.append(index)
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    index = running.pop(future)
                    if isinstance(future.exception(), BrokenProcessPool):
                        lost.append(index)
                    else:
                        collect(future.result, index)
        for index in lost:
            with _pool(1) as alone:
                collect(alone.submit(function, *arguments[index]).result, index)


@contextlib.contextmanager
def _pool(size: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(size, mp_context=get_context("spawn"), initializer=_end_with_parent)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Let this worker process end at once when the process that started it has ended."""
    parent = parent_process()
    assert parent is not None  # only workers call this

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _is_sound(checkpoint: Path) -> bool:
    """Whether a checkpoint can be read as it was written."""
    try:
        read_tensors(checkpoint)
    except ResultError:
        return False
    return True


def _guard(
    call: Callable[[], Any], experiment: Experiment, profile: str, group: Group, store: Store
) -> bool:
    """Run or collect a group; keep the error of one that fails. Whether it went well."""
    try:
        call()
    except Exception as error:  # one group's failure must not stop the others
        failure = store.failure(experiment, profile, group)
        with atomic_path(failure) as temporary:
            message = f"{type(error).__name__}: {error}"
            temporary.write_text(json.dumps({"error": message, "shared": group.shared}))
        return False
    return True


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

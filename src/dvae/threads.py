"""CPU threads: one for every operation, and batches side by side.

An operation that is shared between threads ends when its last thread does, and the others spin
until then. For an operation of microseconds that is dear on a machine where another process keeps
a core busy: with two threads for an operation the Darcy solver then takes tens of times as long
as with one. So loops of small operations run with one thread here, and use more cores by batches
that need not wait for each other.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import ThreadpoolController

from dvae.errors import DataError

__all__ = ["available_cores", "map_batches", "one_thread"]

Batch = TypeVar("Batch")
Result = TypeVar("Result")

_found: tuple[int, ThreadpoolController] | None = None


def available_cores() -> int:
    """CPU cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _libraries() -> ThreadpoolController:
    """The thread pools of numpy's and scipy's BLAS and of OpenMP in this process.

    Looking for them takes milliseconds, so it is done again only after something was imported.
    """
    global _found
    count = len(sys.modules)
    if _found is None or _found[0] != count:
        _found = count, ThreadpoolController()
    return _found[1]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch and the linear algebra of numpy and scipy with one CPU thread.

    The numbers of threads are put back afterwards. torch and OpenMP count threads for each calling
    thread, BLAS for the whole process: where several threads of a process enter this at different
    times, they must take turns.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with _libraries().limit(limits=1):
            yield
    finally:
        torch.set_num_threads(threads)


def _begin_with_one_thread() -> None:
    """In a new thread: one thread for its operations, by torch and by every OpenMP.

    A thread takes torch's setting at its first operation, which may be too late, and that of the
    OpenMP of another library (scikit-learn brings one) from the environment.
    """
    torch.set_num_threads(1)
    _libraries().limit(limits=1)  # nothing to put back: the thread ends, and BLAS has 1 by now


def map_batches(
    function: Callable[[Batch], Result],
    batches: Iterable[Batch],
    *,
    workers: int | None = None,
) -> list[Result]:
    """Results of a function on every batch, in order; batches side by side, one thread each.

    Python threads serve as workers, so ``function`` must leave the interpreter's lock alone for
    most of its time, as operations of torch and numpy on large arrays do. Every operation has one
    CPU thread however many workers there are, so that results do not depend on their number.

    Parameters
    ----------
    function : callable
        Called with one batch.
    batches : iterable
        What it is called with.
    workers : int, optional
        Batches at a time; by default as many as torch has CPU threads, but no more than cores
        that the process may use: 1 inside of :func:`one_thread` or with ``OMP_NUM_THREADS=1``.

    Returns
    -------
    list
        One result for each batch.

    Raises
    ------
    DataError
        If ``workers`` is not an integer of 1 or more.
    Exception
        What ``function`` raises: that of the first batch in order which fails. Batches that have
        not begun by then are left out.
    """
    batches = list(batches)
    if workers is None:
        workers = min(torch.get_num_threads(), available_cores())
    elif workers != int(workers) or workers < 1:
        raise DataError(f"workers is {workers!r}; give an integer of 1 or more")
    workers = min(workers, len(batches))
    with one_thread():
        if workers <= 1:
            return [function(batch) for batch in batches]
        with ThreadPoolExecutor(workers, initializer=_begin_with_one_thread) as pool:
            return list(pool.map(function, batches))

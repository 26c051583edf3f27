"""Workers of a dask scheduler: that there are some, and that they run the same code."""

from __future__ import annotations

import logging
from concurrent.futures import Executor
from typing import Any

from dvae.errors import DvaeError
from dvae.provenance import provenance

__all__ = ["connect"]

SAME = ("dvae", "commit")  # of the provenance: what numbers depend on


def connect(address: str, seconds: float = 60.0) -> tuple[Any, Executor]:
    """Client of a dask scheduler, and its executor for :func:`dvae.run_experiment`.

    Parameters
    ----------
    address : str
        Of the scheduler, e.g. "tcp://host:8786".
    seconds : float
        How long to wait for a first worker, and then for the answers of all.

    Raises
    ------
    DvaeError
        If dask is not installed, no scheduler answers, no worker comes in time, or a worker does
        not answer, cannot import dvae, or has another version or commit of it.
    """
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise DvaeError("--scheduler needs dask: pip install 'dvae[cluster]'") from error
    # their tracebacks of a connection that is lost say no more than the error that follows
    for name in ("distributed.client", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        # not as the default of this process: xarray would ask it for a lock to write a file
        client = Client(address, timeout="10s", set_as_default=False)
    except (OSError, ValueError) as error:
        raise DvaeError(f"no dask scheduler answers at {address}: {error}") from error
    try:
        check_workers(client, address, seconds)
    except BaseException:
        client.close()
        raise
    return client, client.get_executor()


def check_workers(client: Any, address: str, seconds: float) -> None:
    """Raise DvaeError unless there are workers and all of them run this code.

    Parameters are those of :func:`connect`, which see.
    """
    try:
        client.wait_for_workers(1, timeout=seconds)
    except TimeoutError as error:
        raise DvaeError(
            f"the dask scheduler at {address} has no worker, after {seconds:g} s; start some with "
            f"'dask worker {address}' in the environment of dvae"
        ) from error
    ours = provenance()
    try:
        answers = client.sync(client.run, provenance, on_error="return", callback_timeout=seconds)
    except TimeoutError as error:
        raise DvaeError(
            f"not every worker of the dask scheduler at {address} answers in {seconds:g} s; "
            "restart those that hang"
        ) from error
    for worker, answer in sorted(answers.items()):
        if isinstance(answer, Exception):
            raise DvaeError(
                f"the dask worker {worker} cannot use dvae ({answer}); start it in an environment "
                "that has this version"
            )
        for key in SAME:
            if answer[key] != ours[key]:
                raise DvaeError(
                    f"the dask worker {worker} runs another dvae than this process ({key} "
                    f"{answer[key]}, here {ours[key]}); start both from the same installation"
                )

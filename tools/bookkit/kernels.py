"""Kernels that begin where the imports of a chapter end.

To import what every chapter imports takes three seconds or more, as long as many chapters compute.
On Linux a process does it once, before anything has been computed or drawn, and each kernel is a
fork of it (`multiprocessing`'s fork server); elsewhere kernels start as usual.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from unittest.mock import patch

from jupyter_client import AsyncKernelManager
from jupyter_client.provisioning import LocalProvisioner

__all__ = ["ChapterKernel"]

IMPORTED = (
    "ipykernel.kernelapp",
    "dask.array",
    "dvae.chapters",
    "dvae.claims",
    "dvae.experiments",
    "dvae.plotting",
    "dvae.training",
    "matplotlib.pyplot",
    "myst_nb",
    "scipy.stats",
    "seaborn",
    "torch",
)
_FORKS = sys.platform == "linux"  # system libraries of macOS do not survive a fork
_INLINE = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # as ipykernel sets it


@cache
def _start_server() -> None:
    """Start the process that imports everything, once."""
    forkserver.set_forkserver_preload(list(IMPORTED))
    with patch.dict(os.environ, _INLINE):
        forkserver.ensure_running()


def _run(arguments: list[str], environment: dict[str, str], folder: str | Path) -> None:
    """Be a kernel: what a new process would get from its parent is set here."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment | _INLINE)
    os.chdir(folder)
    sys.argv = ["ipykernel_launcher", *arguments]
    import pandas

    # it was imported outside a kernel and took that for a terminal, whose width cuts tables
    pandas.set_option("display.max_columns", 20)
    from ipykernel.kernelapp import launch_new_instance

    # it ends when the server does, which ends with the build
    launch_new_instance(argv=[*arguments, f"--IPKernelApp.parent_handle={os.getppid()}"])


class _Forked(multiprocessing.get_context("forkserver").Process if _FORKS else object):
    """A process with the names of :class:`subprocess.Popen`, which a provisioner calls."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        return self.exitcode

    def wait(self) -> int | None:
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


class _Provisioner(LocalProvisioner):
    """Gives a kernel that is a fork."""

    async def launch_kernel(self, cmd: list[str], **options):
        _start_server()
        arguments = cmd[cmd.index("ipykernel_launcher") + 1 :]
        folder = options.get("cwd") or Path.cwd()
        self.process = _Forked(target=_run, args=(arguments, options["env"], folder), daemon=True)
        self.process.start()
        self.pid = self.pgid = self.process.pid  # it makes a group of its own
        self.cwd = folder
        return self.connection_info


class ChapterKernel(AsyncKernelManager):
    """Manager of a chapter's kernel."""

    async def _async_pre_start_kernel(self, **options):
        if _FORKS and self.provisioner is None:
            self.provisioner = _Provisioner(
                kernel_id=self.kernel_id or "", kernel_spec=self.kernel_spec, parent=self
            )
        return await super()._async_pre_start_kernel(**options)

    async def _async_interrupt_kernel(self) -> None:
        """Do not interrupt before the end.

        A chapter's kernel has nothing to do then, and would report a `KeyboardInterrupt`.
        """

"""Where a number comes from: versions, commit, hardware, time."""

from __future__ import annotations

import datetime
import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch

from dvae.storage import source_checkout

__all__ = ["provenance"]


@functools.lru_cache
def _commit() -> str:
    """Commit of the source tree that this package runs from, "-dirty" if it was changed."""
    folder = source_checkout()
    if folder is None:  # a repository that it is installed in is somebody else's
        return "not in a git checkout"
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return "not in a git checkout"
    return done.stdout.strip()


@functools.lru_cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def provenance(device: str | torch.device = "cpu") -> dict[str, str]:
    """Provenance as strings, for the attributes of a result.

    Parameters
    ----------
    device : str or torch.device
        Device that computed the result.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    hardware = f"{_processor()}, {cores} cores"
    if torch.device(device).type == "cuda":
        hardware = torch.cuda.get_device_name(torch.device(device))
    try:
        version = metadata.version("dvae")
    except metadata.PackageNotFoundError:
        version = "not installed"
    return {
        "commit": _commit(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "hardware": hardware,
        "dvae": version,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }

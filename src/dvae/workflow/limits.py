"""Sizes that no machine has memory for, or that make no sense, refused before anything is made."""

from __future__ import annotations

import os

from dvae.errors import DataError
from dvae.models import VAE, count_parameters

__all__ = ["available_memory", "check_latents", "check_sizes"]

COPIES = 8  # of the parameters of a member: modules, moments, gradient, and the step itself
BYTES = 4  # of a number in single precision


def check_latents(n_latents: int, n_samples: int, n_values: int) -> None:
    """Raise DataError if there are more latents than samples or values that they could describe."""
    most = min(n_samples, n_values)
    if n_latents > most:
        raise DataError(
            f"{n_latents} latents are more than the {n_samples} training samples or the "
            f"{n_values} values of a sample that vary; give {most} or fewer"
        )


def check_sizes(template: VAE, members: int) -> None:
    """Raise DataError if so many members do not fit into the memory that is free."""
    needed = members * count_parameters(template) * BYTES * COPIES
    available = available_memory()
    if available is not None and needed > available:
        raise DataError(
            f"{members} members of {count_parameters(template):,} parameters take about "
            f"{needed / 2**30:.3g} GiB, of which {available / 2**30:.3g} are free; train fewer "
            "members at a time, with other seeds"
        )


def available_memory() -> int | None:
    """Bytes of memory that are free now, or None where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None

"""Memory that something will take, compared with what is free before it is begun."""

from __future__ import annotations

import os

from dvae.errors import DataError

__all__ = ["available_memory", "check_memory"]

GIB = 2**30


def check_memory(needed: float, what: str, advice: str) -> None:
    """Raise DataError if ``needed`` bytes are more than this machine has free.

    Parameters
    ----------
    needed : float
        Bytes.
    what, advice : str
        What would take them, and what to do instead, for the message.
    """
    available = available_memory()
    if available is not None and needed > available:
        raise DataError(
            f"{what} would take about {needed / GIB:.3g} GiB of memory, of which "
            f"{available / GIB:.3g} are free; {advice}"
        )


def available_memory() -> int | None:
    """Bytes of memory that are free now, or all there are, or None where no system call tells."""
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

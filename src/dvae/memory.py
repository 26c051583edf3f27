"""Memory that something will take, compared with what is free before it is begun."""

from __future__ import annotations

import os
from pathlib import Path

from dvae.errors import DataError

__all__ = ["available_memory", "check_memory"]

GIB = 2**30
GROUPS = Path("/sys/fs/cgroup")  # where Linux shows control groups
OWN_GROUPS = Path("/proc/self/cgroup")


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
    """Bytes that this process can still take, or None where no system call tells."""
    known = [limit for limit in (_free(), _left(), _granted()) if limit is not None]
    return min(known, default=None)


def _left() -> int | None:
    """Bytes of address space up to the limit of this process (``ulimit -v``), if it has one."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return None
    return None if limit == resource.RLIM_INFINITY else max(limit - used, 0)


def _granted() -> int | None:
    """Bytes up to the limits of the control groups that this process is in, if any has a limit.

    Containers and the jobs of a cluster run in such groups. A group counts the files that it
    has read as well, which the kernel gives up when memory is asked for.
    """
    try:
        lines = OWN_GROUPS.read_text().splitlines()
    except OSError:
        return None
    granted = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            top, limit, used, total = GROUPS, "memory.max", "memory.current", ""
        elif "memory" in controllers.split(","):
            top = GROUPS / "memory"
            limit, used, total = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"
        else:
            continue
        own = top / path.lstrip("/")
        # a limit of any group above counts; in a container the top itself may be the own group
        for group in (own, *(above for above in own.parents if above.is_relative_to(top))):
            try:
                most, taken = (int((group / name).read_text()) for name in (limit, used))
                rows = (group / "memory.stat").read_text().splitlines()
                stat = dict(row.split() for row in rows)
            except (OSError, ValueError):  # no such group to be seen, or the limit is "max"
                continue
            files = (stat.get(f"{total}{age}_file", 0) for age in ("active", "inactive"))
            granted.append(max(most - taken + sum(map(int, files)), 0))
    return min(granted, default=None)


def _free() -> int | None:
    """Bytes of memory that are free on this machine, or all there are."""
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

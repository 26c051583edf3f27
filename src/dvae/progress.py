"""Progress of long work on standard error: a bar on a terminal or in a notebook, lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]

INTERVAL = 30.0  # seconds between two lines of a log
LINE = "{desc}: {percentage:.0f}% {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"


class _Lines(tqdm):
    """Lines, where what a bar draws over itself would be kept as one endless line."""

    leave: bool

    def display(self, msg=None, pos=None):
        if msg != "":  # which clears a bar
            print(self, file=self.fp, flush=True)
        return False  # nothing is there to be cleared

    def close(self):
        if self.leave and not self.disable:
            self.display()
        self.leave = False  # else an empty line follows
        super().close()


def progress_bar(iterable: Iterable | None = None, *, leave: bool = True, **options: Any) -> Any:
    """A progress bar; in a log (cron, a cluster, CI) a line at both ends and every 30 s.

    Parameters
    ----------
    iterable : iterable, optional
        What to go through.
    leave : bool
        Keep the bar when it is full; a log gets no line of another one that lasts less than 30 s.
    **options
        Of ``tqdm``.

    Returns
    -------
    tqdm
    """
    if not _is_log(sys.stderr):
        return tqdm(iterable, leave=leave, **options)
    delay = 0.0 if leave else INTERVAL
    options |= {"mininterval": INTERVAL, "maxinterval": INTERVAL, "bar_format": LINE}
    return _Lines(iterable, leave=leave, delay=delay, **options)


def _is_log(stream: Any) -> bool:
    """Whether a stream can draw over nothing: a file or a pipe, but not that of a notebook."""
    return not type(stream).__module__.startswith("ipykernel") and not stream.isatty()

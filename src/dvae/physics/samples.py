"""Fields of many samples, some at a time: what is computed on them need not hold them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dvae.errors import DataError
from dvae.progress import progress_bar

__all__ = ["Samples", "in_batches"]

VALUES = 2**21  # of a batch: 16 MiB in double precision


class Samples:
    """Fields (sample, channel, x1, x2) in memory or in a file, handed out in batches.

    Iterating gives tensors (sample, channel, x1, x2) of consecutive samples. How many there are in
    one depends on the size of a field alone, and so do sums over batches.

    Parameters
    ----------
    shape : tuple of int
        (sample, channel, x1, x2) of all that can be read.
    read : callable
        Gives the fields of a slice of samples.
    rows : array of int (sample,), optional
        Which of them, in increasing order; by default all.
    function : callable, optional
        What a batch becomes; the shape stays.
    progress : bool
        Show a progress bar where there are several batches.

    Attributes
    ----------
    shape : tuple of int
        (sample, channel, x1, x2) of the chosen samples.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        read: Callable[[slice], Tensor],
        rows: Int[np.ndarray, " sample"] | None = None,
        function: Callable[[Tensor], Tensor] | None = None,
        progress: bool = False,
    ):
        self._stored, self._read, self._function = shape[0], read, function
        self._rows = np.arange(shape[0]) if rows is None else rows
        self.progress = progress
        self.shape = (len(self._rows), *shape[1:])

    @classmethod
    def of(cls, fields: Float[Tensor, "sample channel x1 x2"]) -> Samples:
        """Samples of a tensor."""
        return cls(tuple(fields.shape), lambda rows: fields[rows])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice | Int[np.ndarray, " some"]) -> Samples:
        """Some of the samples.

        Raises
        ------
        DataError
            Unless they are in increasing order, in which files are read.
        """
        chosen = self._rows[rows]
        if (np.diff(chosen) <= 0).any():
            raise DataError("samples are read in increasing order, none of them twice; sort them")
        return self._changed(rows=chosen)

    def map(self, function: Callable[[Tensor], Tensor]) -> Samples:
        """The same samples, every batch of which goes through a function, after earlier ones."""
        before = self._function
        both = function if before is None else lambda batch: function(before(batch))
        return self._changed(function=both)

    def _changed(self, **changes) -> Samples:
        now = {"rows": self._rows, "function": self._function, "progress": self.progress}
        return Samples((self._stored, *self.shape[1:]), self._read, **now | changes)

    def _batches(self) -> list[Int[np.ndarray, " _"]]:
        """Positions of the samples of each batch, which lie near each other."""
        size = max(1, VALUES // math.prod(self.shape[1:]))
        cuts = np.searchsorted(self._rows, np.arange(size, self._stored, size))
        return [rows for rows in np.split(self._rows, cuts) if len(rows)]

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return len(self._batches())

    def __iter__(self) -> Iterator[Tensor]:
        batches = self._batches()
        hidden = not self.progress or len(batches) == 1
        with progress_bar(
            total=len(self), desc="fields", unit="sample", leave=False, disable=hidden
        ) as bar:
            for rows in batches:
                first, last = int(rows[0]), int(rows[-1]) + 1
                batch = self._read(slice(first, last))
                if len(rows) < last - first:
                    batch = batch[torch.from_numpy(rows - first)]
                yield batch if self._function is None else self._function(batch)
                bar.update(len(rows))


def in_batches(fields: Tensor | Samples) -> Iterable[Tensor]:
    """What to iterate over: a tensor is one batch, and keeps no graph."""
    return [fields.detach()] if isinstance(fields, Tensor) else fields

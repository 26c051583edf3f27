"""Numbers from callers: arrays of any byte order and stride as tensors, counts as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dvae.errors import DataError

__all__ = ["SEEDS", "as_tensor", "check_seed", "whole_number"]

SEEDS = 2**32  # a larger one would be two words of numpy's SeedSequence, beside those of a stream


def as_tensor(values: Any) -> Tensor:
    """A tensor of real numbers; an array is copied, so that a later change of it changes nothing.

    Raises
    ------
    TypeError
        If the values are complex, or no numbers.
    """
    if not isinstance(values, Tensor):
        array = np.asarray(values)
        if array.dtype.kind in "biuf":
            native = array.dtype.newbyteorder("=")
            return torch.from_numpy(np.array(array, dtype=native, order="C"))
        if array.dtype.kind != "c":
            raise TypeError(f"its type is {array.dtype}")
        values = torch.empty(0, dtype=torch.complex64)
    if values.is_complex():
        raise TypeError("complex numbers; give real and imaginary part as channels of their own")
    return values


def whole_number(value: Any, name: str, least: int) -> int:
    """The value as an integer.

    Raises
    ------
    DataError
        If it is no whole number, or less than ``least``.
    """
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        whole = least - 1
    if whole != value or whole < least:
        raise DataError(f"{name} is {value!r}; give an integer of {least} or more.")
    return whole


def check_seed(seed: Any, name: str = "seed") -> int:
    """A seed of random streams as an integer.

    Raises
    ------
    DataError
        Unless it is a whole number from 0 to 2**32 - 1.
    """
    checked = whole_number(seed, name, 0)
    if checked >= SEEDS:
        raise DataError(f"{name} is {seed}; give an integer below 2**32.")
    return checked

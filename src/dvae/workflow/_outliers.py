"""Values and samples so far outside the others that they may be none: fill values, other units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

# A gap between the farthest deviation and the next one counts by its logarithm. In fields with
# heavy tails (log-normal permeability, plumes, velocities at wells) the farthest deviations of
# samples differ by orders of magnitude, and so may the two largest.
LEAST_GAP = 30.0  # farthest deviation over the next one
SPREADS = 3  # gap over what lies between the next one and that of the median sample, as logarithms
FILL_GAP = 5.0  # where the farthest value is one that programs write in place of missing ones
ANY_GAP = 1e6  # a value of more samples than FEW is none of the field's all the same
FEW = 0.1  # share of samples in which an unknown value may be a fill value
CLASSES, REPEATED = 20, 10  # values of a field of classes, each of which it holds so often or more
FILLS = (
    *(10.0**k - 1 for k in range(2, 8)),  # 99 to 9999999
    *(10.0**k for k in (20, 30, 33, 34, 35, 36)),
    *(32767.0, 32768.0, 9.969209968386869e36, float(np.finfo(np.float32).max)),  # of netCDF, GIS
)


@dataclass(frozen=True)
class Extremes:
    """What lies farthest from the median of a channel on one side, in each sample.

    Attributes
    ----------
    value : ndarray of shape (sample,)
        The value that lies farthest.
    deviation : ndarray of shape (sample,)
        How far, 0 if nothing lies on this side.
    following : ndarray of shape (sample,)
        The next lower deviation of the sample.
    node : ndarray of shape (sample,)
        Where it is among the values of a sample.
    """

    value: Float[np.ndarray, " sample"]
    deviation: Float[np.ndarray, " sample"]
    following: Float[np.ndarray, " sample"]
    node: Int[np.ndarray, " sample"]

    @classmethod
    def of(cls, values: Float[Tensor, "sample node"], median: float, side: int) -> Extremes:
        """Of some samples; ``side`` is 1 for values above the median, -1 for those below."""
        above = side * (values - median)
        largest, node = above.max(1)
        following = above.masked_fill(above == largest[:, None], 0.0).amax(1)
        value = values.gather(1, node[:, None])[:, 0]
        deviation = largest.clamp_min(0.0).numpy()
        return cls(value.numpy(), deviation, following.clamp_min(0.0).numpy(), node.numpy())

    @classmethod
    def joined(cls, parts: list[Extremes]) -> Extremes:
        """Of all samples, from those of some."""
        names = ("value", "deviation", "following", "node")
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def are_classes(values: Float[Tensor, "sample node"]) -> bool:
    """Whether values are a few numbers that repeat, such as rock types, which may lie far apart."""
    different = len(torch.unique(values))
    return different <= CLASSES and different * REPEATED <= values.numel()


def far_outside(sides: Sequence[Extremes], where: Int[np.ndarray, "node 2"], classes: bool) -> str:
    """What lies far outside the others of a channel, and what to do about it; empty if nothing.

    Parameters
    ----------
    sides : sequence of Extremes
        Of all samples, above and below the median.
    where : ndarray of shape (node, 2)
        Places of the values of a sample on the grid.
    classes : bool
        Whether the values are classes, among which only known fill values are told.
    """
    usual = _median(np.max([side.deviation for side in sides], axis=0))
    for side in sorted(sides, key=lambda side: -side.deviation.max()):
        first = int(side.deviation.argmax())
        largest, value = side.deviation[first], side.value[first]
        i, j = where[side.node[first]]
        place = f"sample {first} at node ({i}, {j})"
        same = side.value == value
        others = np.where(same, side.following, side.deviation)
        count = int(same.sum())
        known = _is_fill(value) and largest > FILL_GAP * others.max()
        rare = count <= max(1, FEW * len(same)) or largest > ANY_GAP * others.max()
        unusual = largest > usual and not classes
        if known or (unusual and rare and _is_far(largest, others)):
            if count > 1:
                place = f"{count} of {len(same)} samples, first in {place}"
            return (
                f"holds {shown(value)} in {place}, far outside the other values: if it stands for "
                f"a missing value, fill the gap or drop the sample{'s' if count > 1 else ''}"
            )
        if unusual and _is_far(largest, np.delete(side.deviation, first)):
            return (
                f"holds values as far outside those of other samples as {shown(value)}, in "
                f"{place}: if the sample is in other units, or went wrong, mend or drop it"
            )
    return ""


def _is_fill(value: float) -> bool:
    """Whether a value is one that programs write in place of missing ones."""
    return bool(np.isclose(abs(value), FILLS, rtol=1e-6, atol=0.0).any())


def _is_far(largest: float, others: Float[np.ndarray, " sample"]) -> bool:
    """Whether a deviation lies outside those of all other samples, seen as they differ."""
    if (following := others.max()) == 0:
        return bool(largest > 0)
    spread = np.log(following) - np.log(_median(others))
    return bool(np.log(largest) - np.log(following) > max(np.log(LEAST_GAP), SPREADS * spread))


def _median(deviations: Float[np.ndarray, " sample"]) -> float:
    """Median of the deviations that are not 0, as they are where nothing lies on a side."""
    positive = deviations[deviations > 0]
    return float(np.median(positive)) if positive.size else 0.0


def shown(value: float) -> str:
    """A value as it is in a file, so that it can be searched for."""
    return f"{value:.9g}"

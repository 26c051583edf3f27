"""What deserves a sentence in the fields of a file before anything is trained on them."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dvae.models import FieldUnits

OUTLYING = 1e6  # largest deviation over the median one: fill values, or units that were mixed up


def describe_fields(fields: Float[Tensor, "sample channel x1 x2"], units: FieldUnits) -> list[str]:
    """Sentences on missing and constant values, repeated samples, outliers and scaling.

    Parameters
    ----------
    fields : Tensor (sample, channel, x1, x2)
        All samples of a file.
    units : FieldUnits
        Of the training samples.
    """
    lines = [*_left_out(units), *_repeated(fields), *_outlying(fields, units)]
    spreads = ", ".join(f"{s:.3g}" for s in units.scale.tolist())
    lines.append(
        "fields are standardised for training, about their mean field and by the spread of each "
        f"channel ({spreads}); models take and give them in the file's units"
    )
    return lines


def _left_out(units: FieldUnits) -> list[str]:
    lines = []
    values = units.seen.numel()
    if missing := int(units.missing.sum()):
        lines.append(
            f"{missing} of {values} values of a sample are missing (NaN) in every sample: left out "
            "of the loss, blank in figures"
        )
    constant = ~units.seen & ~units.missing
    still = (~units.seen).flatten(1).all(1) & constant.flatten(1).any(1)
    for channel in still.nonzero().flatten().tolist():
        lines.append(
            f"channel {channel + 1} is the same in every training sample: left out of the loss, "
            "given back as it is"
        )
    rest = constant & ~still[:, None, None]
    if count := int(rest.sum()):
        largest = float(units.shift[rest].abs().max())
        lines.append(
            f"{count} of {values} values of a sample never vary (walls, land, fill values; the "
            f"largest is {largest:.3g}): left out of the loss, given back as they are"
        )
    return lines


def _repeated(fields: Float[Tensor, "sample channel x1 x2"]) -> list[str]:
    different = {hashlib.sha256(sample.numpy().tobytes()).digest() for sample in fields}
    if (count := len(fields) - len(different)) == 0:
        return []
    return [
        f"{count} of {len(fields)} samples repeat another one: test samples may be training "
        "samples too, and errors and scores on them say little; drop the copies"
    ]


def _outlying(fields: Float[Tensor, "sample channel x1 x2"], units: FieldUnits) -> list[str]:
    lines = []
    for channel, seen in enumerate(units.seen):
        if not bool(seen.any()):
            continue
        values = fields[:, channel][:, seen].double()
        deviation = (values - values.median()).abs()
        typical, largest = float(deviation.median()), float(deviation.max())
        if typical > 0 and largest > OUTLYING * typical:
            sample, node = np.unravel_index(int(deviation.argmax()), deviation.shape)
            i, j = (int(k) for k in torch.nonzero(seen)[node])
            lines.append(
                f"note: channel {channel + 1} holds {float(values[sample, node]):.3g} in sample "
                f"{sample} at node ({i}, {j}), far outside the other values: if it is a fill "
                "value, replace it by NaN or drop the sample"
            )
    return lines

"""What deserves a sentence in the fields of a file before anything is trained on them."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from dvae.models import FieldUnits
from dvae.physics.samples import Samples
from dvae.training.split import Split
from dvae.workflow._summary import counted

OUTLYING = 1e6  # largest deviation over the median one: fill values, or units that were mixed up
MEANT = 4  # test samples below which their mean error is little more than one of them has


def describe_test(split: Split) -> list[str]:
    """A sentence, if there are so few test samples that other ones would give other errors."""
    if (count := len(split.test)) >= MEANT:
        return []
    return [
        f"note: {counted(count, 'test sample')} of {len(split.training) + count}: losses and "
        "errors of so few say next to nothing about other samples; give more samples, or keep "
        "more of them with --test-fraction"
    ]


def describe_fields(fields: Samples, units: FieldUnits) -> list[str]:
    """Sentences on missing and constant values, repeated samples, outliers and scaling.

    Parameters
    ----------
    fields : Samples
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


def _repeated(fields: Samples) -> list[str]:
    samples = (sample for batch in fields for sample in batch)
    different = {hashlib.sha256(sample.numpy().tobytes()).digest() for sample in samples}
    if (count := len(fields) - len(different)) == 0:
        return []
    return [
        f"{count} of {len(fields)} samples repeat another one: test samples may be training "
        "samples too, and errors and scores on them say little; drop the copies"
    ]


def _outlying(fields: Samples, units: FieldUnits) -> list[str]:
    """The value of each channel that is farthest from the median, which the first batch tells."""
    centre: dict[int, tuple[float, float]] = {}
    farthest: dict[int, tuple[float, str]] = {}
    first = 0
    for batch in fields:
        for channel, seen in enumerate(units.seen):
            if not bool(seen.any()):
                continue
            values = batch[:, channel][:, seen].double()
            if channel not in centre:
                median = float(values.median())
                centre[channel] = median, float((values - median).abs().median())
            median, typical = centre[channel]
            deviation = (values - median).abs()
            largest = float(deviation.max())
            if largest <= max(OUTLYING * typical, farthest.get(channel, (0.0, ""))[0]):
                continue
            sample, node = np.unravel_index(int(deviation.argmax()), deviation.shape)
            i, j = (int(k) for k in torch.nonzero(seen)[node])
            value, place = (
                float(values[sample, node]),
                f"sample {first + sample} at node ({i}, {j})",
            )
            note = (
                f"note: channel {channel + 1} holds {value:.3g} in {place}, far outside the other "
                "values: if it is a fill value, replace it by NaN or drop the sample"
            )
            farthest[channel] = largest, note
        first += len(batch)
    return [farthest[c][1] for c in sorted(farthest) if centre[c][1] > 0]

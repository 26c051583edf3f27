"""What deserves a sentence in the fields of a file before anything is trained on them."""

from __future__ import annotations

import hashlib

import numpy as np

from dvae.models import FieldUnits
from dvae.physics import FieldDataset
from dvae.physics.samples import Samples
from dvae.training.split import Split
from dvae.workflow._outliers import Extremes, are_classes, far_outside, shown
from dvae.workflow._summary import counted

SAME = 1e-6  # difference of factors over their range: rounding in single precision
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


def describe_factors(data: FieldDataset) -> list[str]:
    """A sentence for each factor that is another one again, in whatever unit."""
    if data.theta is None:
        return []
    theta, names, lines = data.theta.double().numpy(), data.factor_names, []
    centred = theta - theta.mean(0)
    size = np.abs(centred).max(0)
    columns = (centred / np.where(size > 0, size, 1.0)).T
    for j in np.flatnonzero(size > 0):
        again = [i for i in range(j) if np.allclose(columns[i], columns[j], rtol=0, atol=SAME)]
        if again:
            lines.append(
                f"note: {names[j]} repeats {names[again[0]]}, up to its unit: scores count it "
                "twice, and no latent can follow one of them alone; leave one out"
            )
    return lines


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
        held = units.shift[rest]
        largest = float(held[held.abs().argmax()])
        farthest = f"farthest from 0: {shown(largest)}" if largest else "all 0"
        lines.append(
            f"{count} of {values} values of a sample never vary (walls, land, fill values; "
            f"{farthest}): left out of the loss, given back as they are"
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
    """A sentence for each channel that holds a value, or a sample, far outside the others."""
    medians: dict[int, float] = {}
    classes: set[int] = set()
    parts: dict[int, list[tuple[Extremes, Extremes]]] = {}
    for batch in fields:
        for channel in units.seen.flatten(1).any(1).nonzero().flatten().tolist():
            values = batch[:, channel][:, units.seen[channel]].double()
            if channel not in medians:
                medians[channel] = float(values.median())
                classes |= {channel} if are_classes(values) else set()
            median = medians[channel]
            both = Extremes.of(values, median, 1), Extremes.of(values, median, -1)
            parts.setdefault(channel, []).append(both)
    lines = []
    for channel, found in parts.items():
        sides = [Extremes.joined(list(side)) for side in zip(*found, strict=True)]
        where = units.seen[channel].nonzero().numpy()
        if text := far_outside(sides, where, channel in classes):
            lines.append(f"note: channel {channel + 1} {text}")
    return lines

"""Which samples of a data file train, which test, and which of them have labels."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from dvae.errors import DataError
from dvae.physics import FieldDataset
from dvae.training.trainer import Labels

__all__ = ["Scaling", "Split", "load_labels", "split_samples"]

FEWEST_TRAINING, FEWEST_TEST = 4, 1  # samples


@dataclass(frozen=True)
class Scaling:
    """Factors as the encoder sees them: (theta - shift) / scale.

    Attributes
    ----------
    shift, scale : ndarray of shape (s,)
        In the units of the factors.
    """

    shift: Float[np.ndarray, " factor"]
    scale: Float[np.ndarray, " factor"]

    @classmethod
    def of(cls, theta: Float[np.ndarray, "labelled factor"], raw: bool) -> Scaling:
        """Standardisation by the labelled samples; none if ``raw``.

        Raises
        ------
        DataError
            If the labelled samples have no spread, or squares of them overflow.
        """
        # models compute in single precision, the spread is computed in double precision
        most = float(np.sqrt(np.finfo(np.float32 if raw else np.float64).max / theta.size))
        if (largest := float(np.abs(theta).max())) > most:
            raise DataError(
                f"a label is as large as {largest:.3g}, and squares of numbers above {most:.1e} "
                "overflow; give the factors in another unit"
                + (", or leave --raw-labels out" if raw else "")
            )
        if raw:
            return cls(np.zeros(theta.shape[1]), np.ones(theta.shape[1]))
        # of equal numbers a spread computed in floating point need not be 0
        varies = np.ptp(theta, axis=0) > 1e-12 * np.abs(theta).max(0)
        if len(theta) < 2 or not varies.all():
            raise DataError(
                "labels are standardised by their own mean and spread, which takes two labelled "
                "samples or more with different values of every factor; label more samples, or "
                "use --raw-labels if the factors have about zero mean and unit variance"
            )
        return cls(theta.mean(0), theta.std(0))

    def __call__(self, theta: Float[np.ndarray, "sample factor"]) -> np.ndarray:
        return (theta - self.shift) / self.scale


@dataclass(frozen=True)
class Split:
    """Which samples train and which test, and what is known of the former.

    Attributes
    ----------
    training, test : ndarray of int
        Positions in the data file.
    labels : Labels or None
        Labelled samples, counted among the training samples, with scaled factors.
    scaling : Scaling or None
        How the factors were scaled.
    """

    training: Int[np.ndarray, " training"]
    test: Int[np.ndarray, " test"]
    labels: Labels | None = None
    scaling: Scaling | None = None


def load_labels(
    path: str | os.PathLike, n_samples: int, n_latents: int
) -> tuple[Int[np.ndarray, " labelled"], Float[np.ndarray, "labelled latent"]]:
    """Read labelled samples from a CSV file and check them.

    The first line is a header. The first column is ``sample``: the position (from 0) of the sample
    in the data file. One column for every latent variable follows, with the factors.

    Parameters
    ----------
    path : path-like
        CSV file.
    n_samples : int
        Samples in the data file.
    n_latents : int
        Latent variables, and so factors, expected.

    Returns
    -------
    tuple of ndarray
        Positions (l,) and factors (l, n).

    Raises
    ------
    DataError
        If the file is missing or no such table, or holds another number of factors, a position
        outside the data or twice, or a value that is not a finite number; naming the line.
    """
    path = Path(path)
    rows = _rows(path)
    if not rows or rows[0][0].strip() != "sample":
        raise DataError(
            f"labels {path}: the first line must be a header that begins with 'sample', such as "
            f"'sample,{','.join(f'theta{i + 1}' for i in range(n_latents))}'"
        )
    if (count := len(rows[0]) - 1) != n_latents:
        raise DataError(
            f"labels {path} have {_mismatch(count, n_latents)}: change --latents or the file"
        )
    if not 1 <= len(rows) - 1 <= n_samples:
        raise DataError(
            f"labels {path} hold {len(rows) - 1} samples, but the data file {n_samples}; "
            "give one line for each labelled sample"
        )
    index, theta = [], []
    for number, row in enumerate(rows[1:], 2):
        try:
            if len(row) != n_latents + 1:
                raise ValueError(f"{len(row)} values where {n_latents + 1} are needed")
            position, values = int(row[0]), [float(cell) for cell in row[1:]]
            if not np.isfinite(values).all():
                raise ValueError("a factor is not finite")
            if not 0 <= position < n_samples:
                raise ValueError(f"sample {position} is not in 0..{n_samples - 1}")
            if position in index:
                raise ValueError(f"sample {position} is labelled twice")
        except ValueError as error:
            raise DataError(f"labels {path}, line {number}: {error}; mend or drop it") from error
        index.append(position)
        theta.append(values)
    return np.array(index), np.array(theta)


def _rows(path: Path) -> list[list[str]]:
    """Lines of a CSV file that are not empty."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"labels {path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"labels {path} are not a CSV text file: {error}") from error


def split_samples(
    data: FieldDataset,
    n_latents: int,
    *,
    seed: int = 0,
    test_fraction: float = 0.2,
    label_fraction: float = 0.0,
    labels: str | os.PathLike | None = None,
    raw_labels: bool = False,
    source: str = "the data set",
) -> Split:
    """Split a data set at random; labelled samples of a table go to the training data.

    The arguments are those of :func:`dvae.train_file`; ``source`` is what messages call the data.

    Raises
    ------
    DataError
        If a fraction is out of range, leaves too few samples, or does not fit the labels.
    """
    n = len(data)
    n_test = _test_size(n, test_fraction, source)
    if not 0 <= label_fraction <= 1:
        raise DataError(f"label_fraction must lie in [0, 1], got {label_fraction}")
    if labels is not None and label_fraction:
        raise DataError("give a file of labels or a fraction of the file's own factors, not both")
    if raw_labels and labels is None and not label_fraction:
        raise DataError("raw_labels says how labels are read, but there are none; leave it out")
    index, theta = np.empty(0, int), np.empty((0, n_latents))
    if labels is not None:
        index, theta = load_labels(labels, n, n_latents)
    order = np.random.default_rng(seed).permutation(n)
    order = np.concatenate([index, order[~np.isin(order, index)]]).astype(int)
    training, test = np.sort(order[: n - n_test]), np.sort(order[n - n_test :])
    if len(index) > len(training):
        raise DataError(
            f"{len(index)} of {n} samples are labelled, which leaves fewer than {n_test} for the "
            "test; lower --test-fraction"
        )
    if labels is not None:
        scaling = Scaling.of(theta, raw_labels)
        given = Labels(np.searchsorted(training, index), scaling(theta))
        return Split(training, test, given, scaling)
    if not label_fraction:
        return Split(training, test)
    theta = _factors(data, n_latents)[training]
    count = max(1, round(label_fraction * len(training)))
    drawn = np.random.default_rng([seed, 1]).choice(len(training), count, replace=False)
    scaling = Scaling.of(theta[drawn], raw_labels)
    return Split(training, test, Labels(drawn, scaling(theta[drawn])), scaling)


def _test_size(n_samples: int, test_fraction: float, source: str) -> int:
    """Number of test samples."""
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    n_test = round(test_fraction * n_samples)
    if n_test < FEWEST_TEST or n_samples - n_test < FEWEST_TRAINING:
        fewest = FEWEST_TRAINING + FEWEST_TEST
        raise DataError(
            f"{source}: {n_samples} {'sample is' if n_samples == 1 else 'samples are'} too few: "
            f"with a test fraction of {test_fraction:g}, {n_samples - n_test} would train and "
            f"{n_test} test, and it takes {FEWEST_TRAINING} and {FEWEST_TEST}; give more samples "
            f"({fewest} at the very least, some hundreds for scores)"
            + (", or another --test-fraction" if n_samples >= fewest else "")
        )
    return n_test


def _mismatch(factors: int, n_latents: int) -> str:
    """That factors are not as many as latent variables."""
    return (
        f"{factors} factor{'s' * (factors != 1)} but the model {n_latents} latent "
        f"variable{'s' * (n_latents != 1)}; labels need one factor for each"
    )


def _factors(data: FieldDataset, n_latents: int) -> Float[np.ndarray, "sample factor"]:
    """The file's own factors, one for each latent variable."""
    if data.theta is None:
        raise DataError(
            "label_fraction needs the factors of the samples, but the file has no key "
            "'generative_params'; add it, name another one with --factors, or give --labels"
        )
    if data.theta.shape[1] != n_latents:
        raise DataError(
            f"the file has {_mismatch(data.theta.shape[1], n_latents)}: change --latents"
        )
    return data.theta.double().numpy()

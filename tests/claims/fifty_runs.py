"""One row of the table of conditions, as the tests of several rules need it."""

from __future__ import annotations


def condition(
    disentangled: int = 0, over_regularised: int = 0, near_diagonal: int = 0
) -> dict[str, float]:
    """Counts of fifty runs, of which those that are neither count as failed."""
    return runs(50, disentangled, over_regularised, near_diagonal)


def runs(
    number: int, disentangled: int = 0, over_regularised: int = 0, near_diagonal: int = 0
) -> dict[str, float]:
    """The same of another number of runs."""
    failed = number - disentangled - over_regularised
    return {
        "runs": number,
        "diverged": 0,
        "disentangled": disentangled,
        "over_regularised": over_regularised,
        "failed": failed,
        "near_diagonal": near_diagonal,
    }

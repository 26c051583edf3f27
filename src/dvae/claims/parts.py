"""Parts of claims that trials decide: each holds, fails, or is undecided with so many trials.

A part is judged by two questions. Could the trials have come out so if the paper's value were
true? Could they if its opposite were? If the first is denied the part fails; if only the second is,
it holds; if neither is, so few trials cannot tell, and the power says how probable it was that
they could.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import bdtr, ndtr, ndtri

from dvae.analysis.p_values import fisher, mann_whitney
from dvae.analysis.statistics import compare_proportions, kendall_trend
from dvae.claims.words import listed
from dvae.conventions import CLEAR_EFFECT, CLEAR_TREND, ENOUGH_POWER, SIGNIFICANT
from dvae.errors import DataError

__all__ = [
    "Part",
    "combine",
    "equal_part",
    "exceeds_part",
    "lower_part",
    "many_part",
    "never_part",
    "no_trend_part",
    "none_part",
    "over_kinds",
    "power_text",
    "share_part",
]

Outcome = Literal["holds", "fails", "undecided"]
Sample = Float[np.ndarray, " trial"]


class Part(NamedTuple):
    """What the trials say of a part, and the power with which they could have told."""

    outcome: Outcome
    power: float


def combine(*parts: Part) -> str:
    """Verdict on a claim of several parts.

    Reproduced if all hold; partly if some do; not reproduced if all fail; else undecided: none
    holds, and of some the trials cannot tell.
    """
    outcomes = [part.outcome for part in parts]
    if "holds" in outcomes:
        return "reproduced" if set(outcomes) == {"holds"} else "partly"
    return "not reproduced" if set(outcomes) == {"fails"} else "undecided"


def power_text(*parts: Part) -> str:
    """The powers of the parts that are undecided, as a sentence; empty if none is."""
    powers = [f"{part.power:.2f}" for part in parts if part.outcome == "undecided"]
    if not powers:
        return ""
    parts_open = "one part" if len(powers) == 1 else f"{len(powers)} parts"
    return (
        f" The trials leave {parts_open} open, which so few decide with a probability (power) of "
        f"{listed(powers)}."
    )


def _check(*runs: int) -> None:
    if min(runs) < 1:
        raise DataError("a share is compared of which no run has ended without diverging")


def share_part(count: int, runs: int, paper: int, opposite: int, paper_runs: int = 50) -> Part:
    """A count against that of the paper, and against what would be its opposite.

    Parameters
    ----------
    count, runs : int
        What was found: so many of so many runs.
    paper, opposite : int
        Of ``paper_runs`` runs: the paper's count, and the one that would mean the contrary.

    Notes
    -----
    Fisher's exact test at 5 %: two-sided against the paper's count (a count far beyond the paper's
    fails as well: it is another finding), one-sided against the opposite, on the side on which the
    paper's lies. The power is the probability that ``runs`` runs of the
    paper's share are told from the opposite.
    """
    side: Literal["greater", "less"] = "greater" if paper > opposite else "less"

    _check(runs)

    def apart(k: int) -> bool:
        return fisher([[k, runs - k], [opposite, paper_runs - opposite]], side) < SIGNIFICANT

    power = _probability(apart, runs, paper / paper_runs)
    if fisher([[count, runs - count], [paper, paper_runs - paper]]) < SIGNIFICANT:
        return Part("fails", power)
    return Part("holds" if apart(count) else "undecided", power)


def exceeds_part(count: int, runs: int, other: int, other_runs: int, clear: float) -> Part:
    """Whether one share is larger than another (Fisher's exact test, one-sided, 5 %).

    If not, the part fails where a difference of ``clear`` is excluded (Newcombe's interval, 95 %).
    The power is the probability of finding a share that is larger than the observed other one by
    ``clear``, or 1 if that would be more.
    """

    _check(runs, other_runs)

    def exceeds(k: int) -> bool:
        return fisher([[k, runs - k], [other, other_runs - other]], "greater") < SIGNIFICANT

    power = _probability(exceeds, runs, min(other / other_runs + clear, 1.0))
    if exceeds(count):
        return Part("holds", power)
    excluded = compare_proportions(count, runs, other, other_runs).high < clear
    return Part("fails" if excluded else "undecided", power)


def never_part(count: int, runs: int, paper_runs: int, chance: float) -> Part:
    """Whether something never happens that chance alone would bring about in a share of the runs.

    It fails if the count is another than that of the paper, none of ``paper_runs`` (Fisher's exact
    test, two-sided, 5 %); it holds if so few would be found with a probability below 5 % were it
    chance (binomial). The power is the probability that it fails if it is chance.
    """

    _check(runs)

    def other_than_none(k: int) -> bool:
        return fisher([[k, runs - k], [0, paper_runs]]) < SIGNIFICANT

    power = _probability(other_than_none, runs, chance)
    if other_than_none(count):
        return Part("fails", power)
    rare = float(bdtr(count, runs, chance)) < SIGNIFICANT
    return Part("holds" if rare else "undecided", power)


def lower_part(values: Sample, others: Float[np.ndarray, " other"]) -> Part:
    """Whether values are lower than others (Mann-Whitney, one-sided, 5 %).

    The power is that of finding a difference of CLEAR_EFFECT standard deviations between two
    normal distributions (asymptotic relative efficiency 3 / pi). Without a difference the part
    fails if that is ENOUGH_POWER or more.
    """
    n, m = len(values), len(others)
    shift = CLEAR_EFFECT * math.sqrt(3 / math.pi * n * m / (n + m))
    power = float(ndtr(shift + ndtri(SIGNIFICANT)))
    return Part(_told(mann_whitney(values, others, "less") < SIGNIFICANT, power), power)


def equal_part(values: Sample, others: Float[np.ndarray, " other"]) -> Part:
    """Whether values are not different from others (Mann-Whitney, two-sided, 5 %).

    The power is as in :func:`lower_part`, two-sided. Without a difference the part holds if that is
    ENOUGH_POWER or more; with one it fails.
    """
    n, m = len(values), len(others)
    shift = CLEAR_EFFECT * math.sqrt(3 / math.pi * n * m / (n + m))
    power = float(ndtr(shift + ndtri(SIGNIFICANT / 2)))
    if mann_whitney(values, others, "two-sided") < SIGNIFICANT:
        return Part("fails", power)
    return Part("holds" if power >= ENOUGH_POWER else "undecided", power)


def many_part(count: int, runs: int, share: float) -> Part:
    """Whether trials of a kind are many: this share of all, or more.

    It holds where they are. It fails if so few would be found with a probability below 5 % were
    their share this one (binomial). The power is the probability that half the share fails.
    """

    def too_few(k: int) -> bool:
        return float(bdtr(k, runs, share)) < SIGNIFICANT

    power = _probability(too_few, runs, share / 2)
    if count >= share * runs:
        return Part("holds", power)
    return Part("fails" if too_few(count) else "undecided", power)


def none_part(count: int, runs: int, share: float) -> Part:
    """Whether no trial is of a kind.

    It fails at the first that is. It holds if there is none and the power, the probability of
    finding one if their share were this one, is ENOUGH_POWER or more.
    """
    power = 1 - (1 - share) ** runs
    if count:
        return Part("fails", power)
    return Part("holds" if power >= ENOUGH_POWER else "undecided", power)


def no_trend_part(x: Sample, y: Sample) -> Part:
    """Whether y has no trend with x (Kendall's tau, two-sided, 5 %).

    The power is that of finding a tau of CLEAR_TREND (normal approximation). Without a trend the
    part holds if that is ENOUGH_POWER or more; with one it fails.
    """
    n = len(x)
    deviation = math.sqrt(2 * (2 * n + 5) / (9 * n * (n - 1)))
    power = float(ndtr(CLEAR_TREND / deviation + ndtri(SIGNIFICANT / 2)))
    if kendall_trend(x, y).p_value < SIGNIFICANT:
        return Part("fails", power)
    return Part("holds" if power >= ENOUGH_POWER else "undecided", power)


def _probability(found: Callable[[int], bool], runs: int, share: float) -> float:
    """Probability of the counts for which ``found`` is true, if each run has this share."""
    return sum(
        math.comb(runs, k) * share**k * (1 - share) ** (runs - k)
        for k in range(runs + 1)
        if found(k)
    )


def _told(found: bool, power: float) -> Outcome:
    if found:
        return "holds"
    return "fails" if power >= ENOUGH_POWER else "undecided"


def over_kinds(verdicts: Iterable[str]) -> str:
    """One verdict for several kinds of one thing: theirs if they agree; else partly.

    Else undecided, if none of the different ones says that anything holds.
    """
    different = set(verdicts)
    if len(different) == 1:
        return different.pop()
    return "partly" if different & {"reproduced", "partly"} else "undecided"

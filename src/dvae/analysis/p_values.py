"""p-values of tests on a few trials, as ``scipy.stats`` has them, without a second to import it.

``dvae claims`` decides with these. The tests of this module compare them with scipy's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, SupportsInt

import numpy as np
from jaxtyping import Num
from scipy.special import bdtrc, ndtr

from dvae.errors import DataError

__all__ = ["binomial_exceeds", "fisher", "kendall", "mann_whitney"]

Side = Literal["two-sided", "less", "greater"]
Sample = Num[np.ndarray, " trial"]


def binomial_exceeds(successes: int, trials: int, share: float) -> float:
    """Probability of so many successes or more if each trial has this share (binomial test)."""
    return 1.0 if successes == 0 else float(bdtrc(successes - 1, trials, share))


def fisher(table: Sequence[Sequence[SupportsInt]], side: Side = "two-sided") -> float:
    """Fisher's exact test of a table of two by two counts, in whole numbers.

    With all margins fixed the first count is hypergeometric. "greater" asks for as much or more of
    it; "two-sided" for what is no more probable than the table.
    """
    (a, b), (c, d) = ([int(count) for count in row] for row in table)
    first, other, drawn = a + b, c + d, a + c
    weights = {
        k: math.comb(first, k) * math.comb(other, drawn - k)
        for k in range(max(0, drawn - other), min(first, drawn) + 1)
    }
    counted = {
        "less": lambda k: k <= a,
        "greater": lambda k: k >= a,
        "two-sided": lambda k: weights[k] <= weights[a],
    }[side]
    return sum(weight for k, weight in weights.items() if counted(k)) / sum(weights.values())


def mann_whitney(x: Sample, y: Num[np.ndarray, " other"], side: Side = "two-sided") -> float:
    """Mann-Whitney test: is x smaller ("less") or larger than y, as a whole?

    From the exact distribution of U for 8 values or fewer without ties, else from the normal
    one, corrected for ties and continuity.

    References
    ----------
    Mann and Whitney, Ann. Math. Statist. 18 (1947) 50.
    """
    x, y = _finite(x), _finite(y)
    n, m = len(x), len(y)
    counts = np.unique(np.concatenate([x, y]), return_counts=True)[1]
    difference = np.subtract.outer(x, y)
    u = float((difference > 0).sum() + 0.5 * (difference == 0).sum())
    largest = {"less": n * m - u, "greater": u, "two-sided": max(u, n * m - u)}[side]
    factor = 2.0 if side == "two-sided" else 1.0
    if min(n, m) <= 8 and counts.max() == 1:
        ways = _coefficients(range(m + 1, m + n + 1), range(1, n + 1), n * m)
        return min(1.0, factor * sum(ways[round(largest) :]) / math.comb(n + m, n))
    ties = float((counts**3 - counts).sum()) / ((n + m) * (n + m - 1))
    deviation = math.sqrt(n * m / 12 * (n + m + 1 - ties))
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.divide(largest - n * m / 2 - 0.5, deviation)
    return min(1.0, factor * float(ndtr(-z)))


def kendall(x: Sample, y: Sample) -> tuple[float, float]:
    """Kendall's tau-b, and the two-sided p-value of no association; neither sample is constant.

    From the exact distribution of the discordant pairs for 33 pairs or fewer without ties, or if
    at most one pair stands out, else from the normal one, corrected for ties.

    References
    ----------
    Kendall, Rank Correlation Methods, 4th ed. (1970), chapter 5.
    """
    x, y = _finite(x), _finite(y)
    n = len(x)
    pairs = n * (n - 1) // 2
    upper = np.triu_indices(n, 1)
    rises, falls = (np.sign(np.subtract.outer(v, v))[upper] for v in (x, y))
    score = int((rises * falls).sum())  # concordant minus discordant pairs
    x_ties, y_ties = (np.unique(v, return_counts=True)[1] for v in (x, y))
    tied = [int((t * (t - 1) // 2).sum()) for t in (x_ties, y_ties)]
    tau = score / math.sqrt(pairs - tied[0]) / math.sqrt(pairs - tied[1])
    fewer = (pairs - abs(score)) // 2
    if tied == [0, 0] and (n <= 33 or fewer <= 1):
        ways = _coefficients(range(1, n + 1), [1] * n, fewer)
        return tau, min(1.0, 2 * sum(ways) / math.factorial(n))
    three = [float((t * (t - 1) * (t - 2)).sum()) for t in (x_ties, y_ties)]
    five = [float((t * (t - 1) * (2 * t + 5)).sum()) for t in (x_ties, y_ties)]
    variance = (2 * pairs * (2 * n + 5) - sum(five)) / 18
    variance += tied[0] * tied[1] / pairs + three[0] * three[1] / (18 * pairs * (n - 2))
    return tau, 2 * float(ndtr(-abs(score) / math.sqrt(variance)))


def _finite(values: Sample) -> np.ndarray:
    """Values in float64, whose differences do not wrap; DataError if one is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if not np.isfinite(array).all():
        raise DataError("a sample to be tested holds NaN or infinity; remove such values")
    return array


def _coefficients(above: Iterable[int], below: Iterable[int], degree: int) -> list[int]:
    """Coefficients, up to a degree, of the product of 1 - q^a over the product of 1 - q^b.

    These polynomials count arrangements by their inversions.
    """
    ways = [1] + [0] * degree
    for a in above:
        for k in range(degree, a - 1, -1):
            ways[k] -= ways[k - a]
    for b in below:
        for k in range(b, degree + 1):
            ways[k] += ways[k - b]
    return ways

"""How findings are written: plain text for the terminal, and the same with symbols for a page.

A finding is a few sentences, the first of which says the most important thing. Rules write them in
plain characters ("S_D", "beta", "8e-14"), which ``dvae claims`` prints; :func:`typeset` makes
formulas of these for the pages of the book.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import SupportsInt

from dvae.analysis import share_text
from dvae.conventions import SIGNIFICANT

__all__ = [
    "FACTORS",
    "counted",
    "direction",
    "first_part",
    "listed",
    "p_text",
    "sized",
    "symbols",
    "typeset",
]

#: What the sets of factors are called in a sentence.
FACTORS = {
    "standard-normal": "standard normal factors",
    "shifted-normal": "shifted factors",
    "four-modes": "four modes",
}
SMALLEST_P = 1e-3  # a smaller p-value is not told in figures

_PLAIN = {
    "N([1, 1], 0.5 I)": r"\N([1, 1], 0.5 I)",
    "N(0, I)": r"\N(0, I)",
    "p(theta)": r"p(\theta)",
    "q(z)": r"q_\phi(z)",
    "C / n": "C / n",
    "S_KL": r"\SKL",
    "S_D": r"\SD",
    "beta": r"\beta",
    "tau": r"\tau",
    "z": "z",
}
_POWER = r"(?P<digits>\d+(?:\.\d+)?)e(?P<exponent>[+-]?\d+)"
_SYMBOL = re.compile(rf"(?<!\w)(?:{_POWER}|{'|'.join(map(re.escape, _PLAIN))})(?!\w)")
_CODE = re.compile(r"(`[^`]*`)")
# Characters that are always shown of what was found, and from which on the rest is folded.
_SHOWN, _FOLDED = 60, 260
_SENTENCE_ENDS = re.compile(r"(?<=[^.\s]\.) (?=[A-Z0-9])(?![^(]*\))")  # not inside brackets
_ABBREVIATED = re.compile(r"\b(?:eqs?|figs?)\.$")


def counted(count: SupportsInt, total: SupportsInt, noun: str) -> str:
    """A count with its noun and the 95 % interval of its share: "3 of 50 runs (2 to 16 %)"."""
    return share_text(count, total).replace(" (", f" {noun} (", 1)


def direction(tau: float, p_value: float) -> str:
    """What a trend does, by its sign and whether it is significant: "falls", "rises", or none."""
    if not p_value < SIGNIFICANT:  # nor where there is none to take
        return "has no trend"
    return "falls" if tau < 0 else "rises"


def first_part(text: str) -> tuple[str, str]:
    """Split a long text after its first sentence; the second part is empty if it is short."""
    if len(text) <= _FOLDED:
        return text, ""
    ends = (found.start() for found in _SENTENCE_ENDS.finditer(text))
    whole = (end for end in ends if end >= _SHOWN and not _ABBREVIATED.search(text[:end]))
    end = next(whole, len(text))
    return text[:end], text[end:].strip()


def listed(items: Sequence[str]) -> str:
    """Items in a row of words: "a, b and c"."""
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def p_text(p_value: float) -> str:
    """A p-value in words: "p-value 0.04", "p-value below 0.001"."""
    if p_value < SMALLEST_P:
        return f"p-value below {SMALLEST_P:g}"
    return f"p-value {p_value:.1g}"


def sized(value: float) -> str:
    """A small number by its order of size, without leading zeros in the exponent: "8e-14"."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    digits, exponent = f"{value:.0e}".split("e")
    return f"{digits}e{int(exponent)}"


def symbols(text: str) -> list[str]:
    """The plain symbols of a text that :func:`typeset` would replace, each once."""
    outside = _CODE.split(text)[::2]
    return list(dict.fromkeys(found[0] for part in outside for found in _SYMBOL.finditer(part)))


def typeset(text: str) -> str:
    """The text with formulas (MyST) where plain symbols and powers of ten stand; code is kept.

    Examples
    --------
    >>> typeset("S_D is 0.9, the error 8e-14 (`S_D` in code)")
    '$\\\\SD$ is 0.9, the error $8 \\\\cdot 10^{-14}$ (`S_D` in code)'
    """
    parts = _CODE.split(text)
    return "".join(
        part if index % 2 else _SYMBOL.sub(_formula, part) for index, part in enumerate(parts)
    )


def _formula(found: re.Match[str]) -> str:
    if found["digits"] is None:
        return f"${_PLAIN[found[0]]}$"
    power = f"10^{{{int(found['exponent'])}}}"
    return f"${power}$" if found["digits"] == "1" else f"${found['digits']} \\cdot {power}$"

"""How findings are written: counts, trends and p-values in words, and symbols for a page."""

from __future__ import annotations

import pytest

from dvae.claims.words import (
    counted,
    direction,
    first_part,
    listed,
    p_text,
    sized,
    symbols,
    typeset,
)

LONG = "A first sentence of more than sixty characters (1; 2. And 3), as many have; "
LONG += "S_D by eq. 28 is in it. " + "More " * 60
FIRST = LONG.index(" More")


def test_a_count_has_its_noun_before_the_interval():
    assert counted(3, 50, "runs") == "3 of 50 runs (2 to 16 %)"


@pytest.mark.parametrize(
    ("tau", "p_value", "said"),
    [(-0.4, 0.01, "falls"), (0.4, 0.01, "rises"), (-0.4, 0.05, "has no trend")],
)
def test_a_trend_is_told_by_its_sign_if_it_is_significant(tau, p_value, said):
    assert direction(tau, p_value) == said


@pytest.mark.parametrize(
    ("items", "text"),
    [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (list("abc"), "a, b and c")],
)
def test_items_in_a_row(items, text):
    assert listed(items) == text


def test_numbers_are_not_written_as_by_a_computer():
    assert p_text(0.0421) == "p-value 0.04"
    assert p_text(4e-7) == "p-value below 0.001"
    assert [sized(value) for value in (8.1e-14, 1e-4, 0.1)] == ["8e-14", "1e-4", "1e-1"]


@pytest.mark.parametrize(
    ("plain", "page"),
    [
        ("S_D and S_KL.", r"$\SD$ and $\SKL$."),
        ("p(theta)'s share, q(z)", r"$p(\theta)$'s share, $q_\phi(z)$"),
        ("with N(0, I) and z", r"with $\N(0, I)$ and $z$"),
        ("beta = 1, tau +0.1", r"$\beta$ = 1, $\tau$ +0.1"),
        ("8e-14, 1e-07 and 1e4", r"$8 \cdot 10^{-14}$, $10^{-7}$ and $10^{4}$"),
        ("`beta` is code, a taut beta2 and size are words", None),
    ],
)
def test_symbols_become_formulas_on_a_page(plain, page):
    assert typeset(plain) == (page or plain)
    assert bool(symbols(plain)) == (page is not None)


def test_each_symbol_is_listed_once():
    assert symbols("S_D, tau, S_D and `q(z)`") == ["S_D", "tau"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Short. And whole.", ("Short. And whole.", "")),
        (LONG, (LONG[:FIRST], ("More " * 60).strip())),
        ("No end " * 60, ("No end " * 60, "")),
    ],
)
def test_long_texts_are_split_after_a_sentence(text, parts):
    assert first_part(text) == parts

"""Parts that trials decide, against counts and powers that are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from dvae.claims.parts import (
    Part,
    combine,
    exceeds_part,
    lower_part,
    many_part,
    never_part,
    no_trend_part,
    none_part,
    over_kinds,
    power_text,
    share_part,
)
from dvae.errors import DataError

HOLDS, FAILS, OPEN = (Part(outcome, 0.4) for outcome in ("holds", "fails", "undecided"))


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [
        ((HOLDS, HOLDS), "reproduced"),
        ((HOLDS, FAILS), "partly"),
        ((HOLDS, OPEN), "partly"),
        ((FAILS, FAILS), "not reproduced"),
        ((FAILS, OPEN), "undecided"),
        ((OPEN,), "undecided"),
    ],
)
def test_parts_make_a_verdict(parts, verdict):
    assert combine(*parts) == verdict


def test_kinds_that_differ_are_partly_right_or_undecided():
    assert over_kinds(["reproduced", "reproduced"]) == "reproduced"
    assert over_kinds(["reproduced", "not reproduced"]) == "partly"
    assert over_kinds(["undecided", "not reproduced"]) == "undecided"


def test_power_is_printed_for_what_is_undecided():
    assert power_text(HOLDS, FAILS) == ""
    assert power_text(OPEN, HOLDS, Part("undecided", 0.123)).endswith("(power) of 0.40 and 0.12.")


@pytest.mark.parametrize(
    ("count", "runs", "outcome"),
    [
        (0, 50, "undecided"),  # two-sided p is 0.056 against 5 of 50, and 1 against none
        (0, 90, "fails"),
        (5, 50, "holds"),
        (2, 50, "undecided"),  # it can be 5 of 50, and none of 50
        (0, 18, "undecided"),
        (20, 50, "fails"),
    ],
)
def test_a_tenth_against_none(count, runs, outcome):
    assert share_part(count, runs, 5, 0).outcome == outcome


def test_power_of_a_share_agrees_with_simulation():
    part = share_part(3, 20, 25, 0)
    drawn = np.random.default_rng(0).binomial(20, 0.5, 4000)
    p = [
        stats.fisher_exact([[k, 20 - k], [0, 50]], alternative="greater").pvalue for k in range(21)
    ]
    found = np.mean([p[k] < 0.05 for k in drawn])
    assert part.power == pytest.approx(found, abs=0.02)


@pytest.mark.parametrize(
    ("count", "runs", "outcome"),
    [(30, 50, "holds"), (2, 50, "fails"), (1, 4, "undecided")],
)
def test_more_than_another(count, runs, outcome):
    assert exceeds_part(count, runs, 2, 50, 0.5).outcome == outcome


def test_more_than_many_is_denied_by_its_interval_and_its_power_is_for_what_was_seen():
    part = exceeds_part(19, 50, 20, 50, 0.1)  # 38 % against 40 %: up to 17 points more
    assert part.outcome == "undecided"
    assert exceeds_part(19, 50, 20, 50, 0.5).outcome == "fails"
    drawn = np.random.default_rng(0).binomial(50, 0.5, 4000)
    tables = [[[k, 50 - k], [20, 30]] for k in range(51)]
    p = [stats.fisher_exact(table, alternative="greater").pvalue for table in tables]
    assert part.power == pytest.approx(np.mean([p[k] < 0.05 for k in drawn]), abs=0.02)


@pytest.mark.parametrize(
    ("count", "runs", "outcome"),
    [
        (0, 50, "holds"),
        (2, 50, "holds"),  # p is 0.02 by chance
        (2, 20, "undecided"),  # as probable by chance as not
        (0, 10, "undecided"),
        (20, 50, "fails"),
        (7, 50, "fails"),
    ],
)
def test_never_against_chance(count, runs, outcome):
    part = never_part(count, runs, 50, 0.141)
    assert part.outcome == outcome
    drawn = np.random.default_rng(0).binomial(runs, 0.141, 4000)
    p = [stats.fisher_exact([[k, runs - k], [0, 50]]).pvalue for k in range(runs + 1)]
    assert part.power == pytest.approx(np.mean([p[k] < 0.05 for k in drawn]), abs=0.025)


def test_a_share_of_no_run_is_no_evidence():
    for part in (
        lambda: share_part(0, 0, 5, 0),
        lambda: never_part(0, 0, 50, 0.1),
        lambda: exceeds_part(0, 10, 0, 0, 0.5),
        lambda: exceeds_part(0, 0, 0, 10, 0.5),
    ):
        with pytest.raises(DataError, match="no run has ended"):
            part()


def test_lower_by_a_standard_deviation():
    rng = np.random.default_rng(0)
    base = rng.standard_normal(50)
    assert lower_part(rng.standard_normal(50) - 1, base).outcome == "holds"
    assert lower_part(rng.standard_normal(50) + 1, base).outcome == "fails"
    assert lower_part(rng.standard_normal(4) + 1, rng.standard_normal(4)).outcome == "undecided"


def test_no_trend():
    x, noise = np.arange(50.0), np.random.default_rng(1).standard_normal(50)
    assert no_trend_part(x, noise).outcome == "holds"
    assert no_trend_part(x, x + 20 * noise).outcome == "fails"
    assert no_trend_part(x[:10], noise[:10]).outcome == "undecided"


def test_power_of_no_trend_agrees_with_simulation():
    # of a normal pair of correlation r Kendall's tau is 2 / pi arcsin r
    r, rng, n = np.sin(0.3 * np.pi / 2), np.random.default_rng(2), 40
    found = []
    for _ in range(1000):
        x, y = rng.standard_normal((2, n))
        found.append(stats.kendalltau(x, r * x + np.sqrt(1 - r**2) * y).pvalue < 0.05)
    assert no_trend_part(np.arange(n) * 1.0, rng.standard_normal(n)).power == pytest.approx(
        np.mean(found), abs=0.06
    )


def test_power_of_lower_agrees_with_simulation():
    rng = np.random.default_rng(1)
    found = np.mean(
        [
            stats.mannwhitneyu(
                rng.standard_normal(17) - 1, rng.standard_normal(18), alternative="less"
            ).pvalue
            < 0.05
            for _ in range(1500)
        ]
    )
    power = lower_part(np.arange(17.0), np.arange(18.0)).power
    assert power == pytest.approx(found, abs=0.04)


@pytest.mark.parametrize(
    ("count", "runs", "outcome"),
    [
        (3, 30, "holds"),
        (0, 28, "undecided"),
        (0, 29, "fails"),
        (2, 30, "undecided"),
        (2, 90, "fails"),
    ],
)
def test_a_tenth_is_many(count, runs, outcome):
    part = many_part(count, runs, 0.1)
    assert part.outcome == outcome
    enough = max((k for k in range(runs) if stats.binom.cdf(k, runs, 0.1) < 0.05), default=-1)
    assert part.power == pytest.approx(stats.binom.cdf(enough, runs, 0.05))


@pytest.mark.parametrize(
    ("count", "runs", "outcome"),
    [(0, 15, "undecided"), (0, 16, "holds"), (1, 16, "fails"), (1, 3, "fails")],
)
def test_none_of_enough(count, runs, outcome):
    part = none_part(count, runs, 0.1)
    assert part.outcome == outcome
    assert part.power == pytest.approx(1 - 0.9**runs)

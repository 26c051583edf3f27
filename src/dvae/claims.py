"""The paper's claims, each with its value there, ours from a stored result, and a verdict by code.

The rules of the verdicts were written before the results were looked at. A share is compared with
the paper's count by Fisher's exact test: "reproduced" if the test cannot tell them apart at 5 %.
Results of the smoke profile are never evidence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd
from scipy import stats

from dvae.errors import ResultError
from dvae.experiments.cells import load_runs
from dvae.results import PROFILES, Store, read_result

__all__ = ["CLAIMS", "Claim", "Finding", "Verdict", "claims_table", "evaluate"]

Verdict = Literal["reproduced", "partly", "not reproduced", "not yet run"]
SIGNIFICANCE = 0.05
PUBLISHED = "paper"  # the recipe that a claim about the published training is judged on


@dataclass(frozen=True)
class Finding:
    """What a stored result says on a claim.

    Attributes
    ----------
    verdict : str
        "reproduced", "partly", "not reproduced" or "not yet run".
    ours : str
        Our value with its interval and number of trials, or why there is none.
    source : str
        Experiment, profile, hardware and commit.
    """

    verdict: Verdict
    ours: str
    source: str = ""


@dataclass(frozen=True)
class Claim:
    """One claim of the paper.

    Attributes
    ----------
    id : str
        Short name, as used in the chapters.
    where : str
        Section or figure of the paper.
    statement : str
        What the paper says.
    paper : str
        The paper's value.
    chapter : str
        File of the chapter that discusses it.
    experiment : str
        Experiment whose result decides.
    judge : callable
        ``judge(store, profile) -> Finding``; raises ResultError where something is not stored.
    """

    id: str
    where: str
    statement: str
    paper: str
    chapter: str
    experiment: str
    judge: Callable[[Store, str], Finding]


def _share(count: int, trials: int) -> str:
    interval = stats.binomtest(count, trials).proportion_ci(method="wilson")
    return f"{count} of {trials} ({interval.low:.0%} to {interval.high:.0%})"


def _agree(count: int, trials: int, paper_count: int, paper_trials: int = 50) -> bool:
    """Whether Fisher's exact test cannot tell the two shares apart."""
    table = [[count, trials - count], [paper_count, paper_trials - paper_count]]
    return bool(stats.fisher_exact(table).pvalue > SIGNIFICANCE)


def _runs(store: Store, profile: str, factors: str, prior: str) -> pd.DataFrame:
    runs = load_runs(profile, store)
    chosen = (
        (runs["recipe"] == PUBLISHED) & (runs["factors"] == factors) & (runs["prior"] == prior)
    )
    if not chosen.any():
        raise ResultError(f"no runs of {factors}, prior {prior}, recipe {PUBLISHED} are stored")
    return runs[chosen]


def _grade(*agreements: bool) -> Verdict:
    if all(agreements):
        return "reproduced"
    return "partly" if any(agreements) else "not reproduced"


def _spread(store: Store, profile: str) -> Finding:
    runs = _runs(store, profile, "standard-normal", "standard")
    low, high = runs["s_d"].min(), runs["s_d"].max()
    top = runs["ceiling"].iloc[0]
    text = f"S_D from {low:.3f} to {high:.3f} over {len(runs)} seeds, ceiling {top:.3f}"
    # nearly entangled: nearer to 1/2 than a quarter of the way to the ceiling
    return Finding(_grade(low < 0.5 + 0.25 * (top - 0.5), high > 0.95 * top), text)


def _shifted(store: Store, profile: str) -> Finding:
    without = _runs(store, profile, "shifted-normal", "standard")
    text = f"without HP {_share(int(without['disentangled'].sum()), len(without))} disentangled"
    never = _agree(int(without["disentangled"].sum()), len(without), 0)
    described = _runs(store, profile, "shifted-normal", "hierarchical")
    coded = _runs(store, profile, "shifted-normal", "hierarchical-rectified")
    better = []
    for name, runs in (("HP as described", described), ("HP as coded", coded)):
        count = int(runs["disentangled"].sum())
        text += f"; {name} {_share(count, len(runs))}"
        table = [
            [count, len(runs) - count],
            [int(without["disentangled"].sum()), int((~without["disentangled"]).sum())],
        ]
        better.append(stats.fisher_exact(table, "greater").pvalue < SIGNIFICANCE)
    return Finding(_grade(never, any(better)), text)


def _over_regularised(store: Store, profile: str) -> Finding:
    without = _runs(store, profile, "four-modes", "standard")
    count = int(without["over_regularised"].sum())
    text = f"without HP {_share(count, len(without))} over-regularised"
    agreements = [_agree(count, len(without), 5)]
    for name, prior in (("as described", "hierarchical"), ("as coded", "hierarchical-rectified")):
        runs = _runs(store, profile, "four-modes", prior)
        count = int(runs["over_regularised"].sum())
        text += f"; HP {name} {_share(count, len(runs))}"
        agreements.append(_agree(count, len(runs), 0))
    return Finding(_grade(*agreements), text)


def _disentangled(store: Store, profile: str) -> Finding:
    without = _runs(store, profile, "four-modes", "standard")
    count = int(without["disentangled"].sum())
    text = f"without HP {_share(count, len(without))} disentangled"
    agreements = [_agree(count, len(without), 0)]
    half = []
    for name, prior in (("as described", "hierarchical"), ("as coded", "hierarchical-rectified")):
        runs = _runs(store, profile, "four-modes", prior)
        count = int(runs["disentangled"].sum())
        text += f"; HP {name} {_share(count, len(runs))}"
        half.append(_agree(count, len(runs), 25))
    return Finding(_grade(agreements[0], any(half)), text)


def _half_turn(store: Store, profile: str) -> Finding:
    texts, agreements = [], []
    for name, prior in (("as described", "hierarchical"), ("as coded", "hierarchical-rectified")):
        runs = _runs(store, profile, "four-modes", prior)
        failed = runs[~runs["disentangled"] & ~runs["over_regularised"]]
        if failed.empty:
            continue
        turned = int((failed["angle"].abs() >= 35).sum())
        texts.append(f"HP {name}: {_share(turned, len(failed))} of the failed runs")
        agreements.append(turned / len(failed) >= 0.9)
    return Finding(_grade(*agreements), "turned by 35 to 45 degrees, " + "; ".join(texts))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "N3",
        "5.1",
        "Disentanglement varies over seeds with the standard prior",
        "from nearly entangled to nearly perfect",
        "05_disentanglement",
        "disentanglement",
        _spread,
    ),
    Claim(
        "G1",
        "5.2",
        "Shifted normal factors: the standard VAE never disentangles, a hierarchical prior does",
        "never without HP; consistently with HP",
        "06_priors",
        "disentanglement",
        _shifted,
    ),
    Claim(
        "M1",
        "5.3",
        "Four modes: over-regularised runs without and with a hierarchical prior",
        "10 % of 50 without HP; none with HP",
        "06_priors",
        "disentanglement",
        _over_regularised,
    ),
    Claim(
        "M2",
        "5.3",
        "Four modes: disentangled runs without and with a hierarchical prior",
        "never without HP; about half of 50 with HP",
        "06_priors",
        "disentanglement",
        _disentangled,
    ),
    Claim(
        "M3",
        "5.3",
        "Four modes: runs with a hierarchical prior that fail are rotated by about 45 degrees",
        "always around 45 degrees",
        "06_priors",
        "disentanglement",
        _half_turn,
    ),
)


def evaluate(claim: Claim, store: Store | None = None) -> Finding:
    """Finding from the best stored tier above smoke, or "not yet run"."""
    store = store or Store.default()
    for profile in reversed(PROFILES[1:]):
        path = store.path(claim.experiment, profile)
        if not path.exists():
            continue
        try:
            attributes = read_result(path).attrs
            finding = claim.judge(store, profile)
        except ResultError as error:
            return Finding("not yet run", str(error))
        source = (
            f"{claim.experiment}, profile {profile}, {attributes['hardware']}, "
            f"commit {attributes['commit']}"
        )
        return Finding(finding.verdict, finding.ours, source)
    return Finding("not yet run", f"no result of {claim.experiment} is stored")


def claims_table(store: Store | None = None) -> pd.DataFrame:
    """Every claim with the paper's value, ours, verdict, chapter and source, indexed by id."""
    rows = []
    for claim in CLAIMS:
        finding = evaluate(claim, store)
        rows.append(
            {
                "id": claim.id,
                "where": claim.where,
                "statement": claim.statement,
                "paper": claim.paper,
                "ours": finding.ours,
                "verdict": finding.verdict,
                "chapter": claim.chapter,
                "source": finding.source,
            }
        )
    return pd.DataFrame(rows).set_index("id")

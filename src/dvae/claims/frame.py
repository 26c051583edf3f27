"""What a claim is, how a rule decides it, and the table of all.

A rule is a function that gets the stored results and returns a :class:`Finding`: what was found,
and one of ``VERDICTS``. It is registered with its claim by :func:`rule_of`. Smoke results decide
nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from dvae.claims.words import first_part, typeset
from dvae.conventions import LEAST_RUNS
from dvae.errors import DataError, ResultError, UnknownNameError
from dvae.results.conditions import (
    AS_CODED,
    condition_table,
    factors_by_set,
    run_table,
)
from dvae.results.dense import DENSE_NODES, DENSE_RECIPES, PUBLISHED
from dvae.results.scope import scope_text
from dvae.results.store import Store
from dvae.results.trials import PROFILES

__all__ = [
    "CLAIMS",
    "VERDICTS",
    "Claim",
    "Finding",
    "Results",
    "badge",
    "by_kind",
    "claims_table",
    "decide",
    "either",
    "grade",
    "markdown",
    "rule_of",
    "select_trials",
    "with_variables",
]

VERDICTS = (
    "reproduced",
    "partly",
    "not reproduced",
    "undecided",  # the trials cannot tell the paper's value from its opposite
    "illustrated",  # shown, and true by construction: no result could contradict it
    "not yet run",
)


class Results:
    """Stored results by name, each read once; a smoke result decides nothing and counts as missing.

    Parameters
    ----------
    store : Store, optional
        Where they are; by default the book's store.
    given : mapping of str to Dataset, optional
        Results to take instead of stored ones.
    """

    def __init__(self, store: Store | None = None, given: Mapping[str, xr.Dataset] | None = None):
        self.store = store or Store.default()
        self._read = dict(given or {})
        self._scopes: dict[str, str] = {}

    def __getitem__(self, name: str) -> xr.Dataset:
        if name not in self._read:
            if not any(self.store.path(name, profile).exists() for profile in PROFILES):
                # no folder's name: this sentence stands in the book
                raise ResultError(f"no result is stored; 'dvae run {name}' computes it")
            result = self.store.load(name)
            if result.attrs["profile"] == "smoke":
                raise ResultError(f"only a smoke result of {name!r} is stored")
            self._read[name] = result
        return self._read[name]

    def __contains__(self, name: str) -> bool:
        try:
            self[name]
        except ResultError:
            return False
        return True

    @cached_property
    def conditions(self) -> pd.DataFrame:
        """Table of the conditions of ``disentanglement`` (``condition_table``)."""
        factors = factors_by_set(self["baselines"])
        return condition_table(run_table(self["disentanglement"], factors))

    @cached_property
    def networks(self) -> list[Network]:
        """Networks with runs of the conditions of section 5, in the order in which they decide.

        Those that train alike with and without HP come first, the nearest to the paper's in
        front. The published recipe has other steps and learning rates with HP, so that a
        difference need not be the prior's; DenseVAE with that recipe is for M1, which asks for it.
        """
        in_full = self["disentanglement"].attrs["profile"] == "paper"
        name = f"{'DenseVAE' if in_full else 'PodVAE'}, 65 x 65"
        networks = [Network(name, "published", self.conditions, self["disentanglement"])]
        if "dense_runs" in self:
            own = [
                self._dense_network(65, "DenseVAE on standardised fields", DENSE_RECIPES),
                self._dense_network(DENSE_NODES, "DenseVAE on standardised fields", DENSE_RECIPES),
                self._dense_network(DENSE_NODES, "DenseVAE", (PUBLISHED,)),
            ]
            networks = [*networks, *own] if in_full else [*own, *networks]
        return networks

    def _dense_network(self, n_nodes: int, name: str, recipes: tuple[str, ...]) -> Network:
        """Runs of ``dense_runs`` on one grid with some of its recipes."""
        runs = self["dense_runs"].query(trial=f"n_nodes == {n_nodes} and recipe in {recipes}")
        table = condition_table(run_table(runs, factors_by_set(self["baselines"])), recipes)
        return Network(f"{name}, {n_nodes} x {n_nodes}", recipes[0], table, runs)

    def deciding_network(
        self, factors: str, priors: Sequence[str] = ("standard", AS_CODED)
    ) -> Network:
        """The first network that has LEAST_RUNS of these factors with every one of these priors.

        Raises
        ------
        ResultError
            If none has.
        """
        for network in self.networks:
            rows = [network.table.loc[(factors, network.recipe, prior)] for prior in priors]
            if all(row["runs"] >= LEAST_RUNS for row in rows):
                return network
        raise ResultError(
            f"no network has {LEAST_RUNS} runs of {factors} with the priors {', '.join(priors)}"
        )

    def condition(self, factors: str, recipe: str, prior: str) -> pd.Series:
        """One condition; ResultError if it has no runs."""
        row = self.conditions.loc[(factors, recipe, prior)]
        if row["runs"] == 0:
            raise ResultError(f"no run of {factors}, {recipe}, {prior} is stored")
        return row

    def _scope(self, name: str) -> str:
        """What a result is about (``scope_text``), read once."""
        if name not in self._scopes:
            self._scopes[name] = f"`{name}`: {scope_text(self[name])}"
        return self._scopes[name]

    def source(self, names: Sequence[str]) -> dict[str, Any]:
        """Scope, profile, trials and commit of the results of these names that are there."""
        found = [self[name].attrs for name in names if name in self]
        return {
            "experiments": tuple(names),
            "scope": ". ".join(self._scope(name) for name in names if name in self),
            "profile": ", ".join(dict.fromkeys(a["profile"] for a in found)),
            "trials": sum(int(a["trials"]) for a in found),
            "commit": "; ".join(dict.fromkeys(c for a in found for c in a["commit"].split("; "))),
        }


class Network(NamedTuple):
    """A network with its grid, the recipe that rules judge it by, its conditions and its runs."""

    name: str
    recipe: str
    table: pd.DataFrame
    result: xr.Dataset


class Finding(NamedTuple):
    """What was found, in sentences with numbers, and one of ``VERDICTS``.

    The first sentence is what a reader is shown first: it says what the verdict rests on. Symbols
    are plain ("S_D", "8e-14"); :func:`dvae.claims.words.typeset` makes formulas of them for a page.
    """

    ours: str
    verdict: str


@dataclass(frozen=True)
class Claim:
    """A statement or figure of the paper.

    Attributes
    ----------
    name : str
        Row of the table of claims, such as "M2".
    where : str
        Section or figure of the paper.
    statement, paper : str
        What it says, in sentences that can be understood alone, and the value that it gives.
    chapter : str
        Label of the chapter of the book that treats it.
    experiments : tuple of str
        Stored results that decide it.
    decide : callable
        ``decide(results) -> Finding``.
    network : str
        The network of all runs that it speaks of, which then stands before what was found; empty
        where the finding names it, or where none is trained.
    """

    name: str
    where: str
    statement: str
    paper: str
    chapter: str
    experiments: tuple[str, ...]
    decide: Callable[[Results], Finding]
    network: str = ""

    @property
    def rule(self) -> str:
        """What it takes to call the claim reproduced."""
        return " ".join((inspect.getdoc(self.decide) or "").split())


CLAIMS: dict[str, Claim] = {}

Rule = Callable[[Results], Finding]


# ------------------------------------------------------------------------- what rules are made of


def rule_of(
    name: str,
    where: str,
    statement: str,
    paper: str,
    chapter: str,
    *experiments: str,
    network: str = "",
) -> Callable[[Rule], Rule]:
    """Decorator that registers a rule with the claim that it decides; see :class:`Claim`."""

    def register(decide: Rule) -> Rule:
        CLAIMS[name] = Claim(name, where, statement, paper, chapter, experiments, decide, network)
        return decide

    return register


def grade(*parts: bool | np.bool_) -> str:
    """Verdict on a claim of several parts: reproduced if all hold, partly if some do.

    Raises
    ------
    ResultError
        If there are no parts, because no run is of the kind that the claim is about.
    """
    if not parts:
        raise ResultError("the stored results hold no run that this claim is about")
    return "reproduced" if all(parts) else "partly" if any(parts) else "not reproduced"


def either(whole: bool | np.bool_, some: bool | np.bool_) -> str:
    """Verdict on a claim with a weaker form: reproduced if it holds, partly if the weaker does."""
    return "reproduced" if whole else "partly" if some else "not reproduced"


def by_kind(findings: Mapping[str, Finding]) -> Finding:
    """Findings on a claim by network or recipe, all of them printed; the first one decides.

    Of several it is said which one does.

    Raises
    ------
    ResultError
        If there are none.
    """
    if not findings:
        raise ResultError("the stored results hold no run that this claim is about")
    first, *others = findings.items()
    decides = " (decides)" if others else ""
    texts = [f"{first[0]}{decides}: {first[1].ours}"]
    texts += [f"{name}: {finding.ours}" for name, finding in others]
    return Finding(" ".join(texts), first[1].verdict)


def select_trials(result: xr.Dataset, **values: Any) -> xr.Dataset:
    """Trials with the given values of coordinates.

    Not ``Dataset.query``, which takes a condition as text: here a variable that a result of an
    older version lacks is told apart from a mistake in the condition.

    Raises
    ------
    ResultError
        If the result has no such coordinate.
    """
    with_variables(result, *values)
    masks = [result[name].values == value for name, value in values.items()]
    return result.isel(trial=np.flatnonzero(np.logical_and.reduce(masks)))


def with_variables(result: xr.Dataset, *names: str) -> xr.Dataset:
    """The result, if it has variables of these names.

    Raises
    ------
    ResultError
        If it lacks one, as a result of an older version may.
    """
    absent = ", ".join(sorted(set(names) - set(map(str, result.variables))))
    if absent:
        raise ResultError(f"the stored result {result.attrs.get('experiment')!r} has no {absent}")
    return result


# -------------------------------------------------------------------------------------- the table


def decide(name: str, results: Results | None = None) -> Finding:
    """Finding on one claim.

    Parameters
    ----------
    name : str
        Row, such as "M2".
    results : Results, optional
        Where to look; by default the book's store.

    Raises
    ------
    UnknownNameError
        If there is no such row.
    """
    if name not in CLAIMS:
        raise UnknownNameError(f"unknown claim {name!r}; choose one of {', '.join(CLAIMS)}")
    try:
        found = CLAIMS[name].decide(results or Results())
    except ResultError as error:
        return Finding(str(error), "not yet run")
    except DataError as error:  # no run is left to judge: all diverged
        return Finding(f"These results cannot be judged: {error}", "undecided")
    network = CLAIMS[name].network
    return found._replace(ours=f"{network}: {found.ours}") if network else found


def claims_table(names: Sequence[str] | None = None, store: Store | None = None) -> pd.DataFrame:
    """The table of claims.

    Parameters
    ----------
    names : sequence of str, optional
        Rows; by default all, in the order of the paper.
    store : Store, optional
        Where the results are; by default the book's store.

    Returns
    -------
    pandas.DataFrame
        Indexed by row: ``where``, ``statement``, ``paper``, ``ours``, ``verdict``, ``rule``,
        ``chapter`` (label), and of the deciding results ``experiments``, ``scope``, ``profile``,
        ``trials`` and ``commit``.

    Raises
    ------
    UnknownNameError
        If a row does not exist.
    """
    results = Results(store)
    rows = {}
    for name in CLAIMS if names is None else names:
        found = decide(name, results)
        claim = CLAIMS[name]
        row = {key: getattr(claim, key) for key in ("where", "statement", "paper")}
        row |= {**found._asdict(), "rule": claim.rule, "chapter": claim.chapter}
        rows[name] = row | results.source(claim.experiments)
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("claim")


def badge(verdict: str) -> str:
    """A verdict for a page of the book: the word, to which the style adds a colour and a symbol."""
    return f'<span class="verdict verdict-{verdict.replace(" ", "-")}">{verdict}</span>'


def markdown(table: pd.DataFrame, caption: str, label: str, *, brief: bool = False) -> str:
    """Rows of :func:`claims_table` as a MyST table with a caption and a label.

    ``brief`` leaves of long findings the first sentence, which says the most important thing.
    The table's class lets the style of the book put the cells of a row below each other on a
    small screen.
    """
    lines = ["| Row | Verdict | The paper | Here |", "|---|---|---|---|"]
    for name, row in table.iterrows():
        found = first_part(row["ours"])[0] if brief else row["ours"]
        statement, value, ours = map(typeset, (row["statement"], row["paper"], found))
        paper = f"{statement.removesuffix('.')} ({row['where']}: *{value}*)."
        lines.append(f"| {name} | {badge(row['verdict'])} | {paper} | {ours} |")
    head = [f":::{{table}} {caption}", f":name: {label}", ":class: claims-table", ""]
    return "\n".join([*head, *lines, ":::"])

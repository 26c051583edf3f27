"""The page of claims: a card for every row of the table, and filters that a script works.

The cards are HTML around MyST, so that what stands in them may refer to figures and chapters.
Without the script all cards are shown and no filter is; the script is `book/_static/claims.js`.
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from dvae.claims import VERDICTS, badge
from dvae.claims.words import first_part, symbols, typeset

from .paper_figures import places

__all__ = ["claims_page"]


def _folded(summary: str, claim: str, *paragraphs: str) -> list[str]:
    """Lines of a fold; those who hear the page are told which claim it belongs to."""
    hidden = f'<span class="visually-hidden"> of {claim}</span>'
    head = f"<details><summary>{summary}{hidden}</summary>"
    return [head, "", *(line for text in paragraphs for line in (text, "")), "</details>"]


def _card(name: str, row: pd.Series) -> list[str]:
    shown = ", ".join(f"{{numref}}`{label}`" for label in places(name))
    head, rest = map(typeset, first_part(row["ours"]))
    statement, paper, rule = (typeset(row[key]) for key in ("statement", "paper", "rule"))
    words = " ".join(symbols(f"{row['statement']} {row['paper']} {row['ours']} {row['rule']}"))
    stored = [one for one in row["experiments"] if f"`{one}`:" in row["scope"]]
    links = ", ".join(f"{{ref}}`{one} <result-{one}>`" for one in stored)
    commits = row["commit"].split("; ")
    made = (
        f"{row['trials']:,} trials, profile {row['profile']}, "
        f"commit{'s' * (len(commits) > 1)} {', '.join(commits)}"
    )
    results = f"{links}: {made}" if stored else "none is stored"
    data = {"claim": name, "verdict": row["verdict"], "chapter": row["chapter"]}
    attributes = " ".join(f'data-{key}="{value}"' for key, value in data.items())
    return [
        f'<article class="claim" aria-label="Claim {name}, {row["verdict"]}" {attributes}>',
        "",
        f"(claim-{name.lower()})=",
        f"**{name}** {badge(row['verdict'])} {statement}",
        "",
        *([f"<p hidden>{words}</p>", ""] if words else []),  # for those who search for plain ones
        '<div class="claim-sides"><div>',
        "",
        f"**The paper**, {row['where']}",
        "",
        f"*{paper}*",
        "",
        "</div><div>",
        "",
        f"**Here**, {shown}, {{ref}}`{row['chapter']}`",
        "",
        head,
        "",
        *(_folded("more of what was found", name, rest) if rest else []),
        "</div></div>",
        *_folded(
            "rule, scope and results",
            name,
            f"**Rule.** {rule}",
            f"**Scope.** {row['scope'] or 'no result yet'}.",
            f"**Results.** {results}.",
        ),
        "</article>",
        "",
    ]


def _buttons(kind: str, legend: str, choices: Mapping[str, tuple[str, int]]) -> list[str]:
    """A group of buttons; of each choice the text that is shown, and the number of claims."""
    return [
        f'<fieldset><legend class="claim-legend">{legend}</legend>',
        *(
            f'<button type="button" aria-pressed="false" data-kind="{kind}" value="{value}">'
            f'{text} <span class="count">{count}</span></button>'
            for value, (text, count) in choices.items()
        ),
        "</fieldset>",
    ]


def claims_page(table: pd.DataFrame, titles: Mapping[str, str]) -> str:
    """Return filters and cards.

    Parameters
    ----------
    table : DataFrame
        From `dvae.claims.claims_table`.
    titles : mapping of str to str
        Titles of the chapters by label, in the order of the book.
    """
    by_verdict, by_chapter = (table[key].value_counts() for key in ("verdict", "chapter"))
    verdicts = {v: (badge(v), by_verdict[v]) for v in VERDICTS if v in by_verdict}
    chapters = {
        label: (titles[label], by_chapter[label]) for label in titles if label in by_chapter
    }
    lines = [
        '<form class="claim-filters" role="search" aria-label="Filter the claims" hidden>',
        *_buttons("verdict", "Verdict", verdicts),
        *_buttons("chapter", "Chapter", chapters),
        '<div class="claim-search"><label>Words <input type="search" autocomplete="off"></label>',
        '<button type="reset">show all</button>',
        f'<output aria-live="polite">{len(table)} of {len(table)} claims</output></div>',
        "</form>",
        "",
    ]
    for name, row in table.iterrows():
        lines += _card(str(name), row)
    return "\n".join([*lines, '<script src="../_static/claims.js"></script>']) + "\n"

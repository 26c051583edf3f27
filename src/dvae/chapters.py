"""What every chapter of the book needs: tables, numbers for its text, marks of smoke results.

Chapters are notebooks, so this module takes IPython and myst-nb, which the extra ``book`` brings.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from dvae.analysis import share_text
from dvae.plotting import caption_source, mark_smoke

__all__ = [
    "glue_numbers",
    "is_smoke",
    "p_cell",
    "plain_number",
    "print_folded",
    "print_source",
    "share_text",
    "shown",
    "source_line",
    "table",
]

COLUMNS = 79  # of printed text that a page shows without a scroll bar

Origin = xr.Dataset | Mapping[str, Any] | str


def _attributes(origin: Origin) -> Mapping[str, Any]:
    """Attributes of a result or table, or those of a live computation at a profile."""
    if isinstance(origin, str):
        return {"profile": origin}
    return origin.attrs if hasattr(origin, "attrs") else origin


def is_smoke(origin: Origin) -> bool:
    """Whether numbers come from a smoke run, which is no evidence.

    Parameters
    ----------
    origin : Dataset, DataFrame, mapping or str
        A stored result or a table made of one, its attributes, or the profile of a chapter.
    """
    return _attributes(origin).get("profile") == "smoke"


def source_line(*origins: Origin) -> str:
    """Profile, trials, hardware and commit of a result in a line, for captions.

    Of several results, which must be stored ones, each is named: "dense_runs: profile laptop, ...
    paths: profile ...".
    """
    every = [_attributes(origin) for origin in origins]
    lines = [caption_source(attributes) for attributes in every]
    if len(every) == 1:
        return lines[0]
    named = zip(every, lines, strict=True)
    return " ".join(f"{own['experiment']}: {text[0].lower()}{text[1:]}" for own, text in named)


def print_folded(text: str) -> None:
    """Print a text whose lines may be long, folded to the width of a page.

    Lines that begin with a space are a table: where it is too wide, its last columns come below.
    """
    for indented, lines in itertools.groupby(text.splitlines(), lambda line: line[:1] == " "):
        block = list(lines)
        heading, *rows = (line.split() for line in block)
        wide = max(map(len, block)) > COLUMNS
        if indented and wide and all(len(row) == len(heading) for row in rows):
            print(pd.DataFrame(rows, columns=heading).to_string(index=False, line_width=COLUMNS))
        else:
            print("\n".join(block if indented else map(_folded, block)))


def _folded(line: str) -> str:
    """A line on as many lines as it needs, the later ones indented."""
    options: dict[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
    return textwrap.fill(line, COLUMNS, subsequent_indent="    ", **options)


def print_source(origin: Origin) -> None:
    """Print the line of :func:`source_line`, folded to the width of a page."""
    print_folded(source_line(origin))


def shown(figure: Figure, *origins: Origin) -> Figure:
    """The figure, marked where its numbers come from a smoke run; the last line of a cell."""
    return mark_smoke(figure) if any(map(is_smoke, origins)) else figure


def plain_number(value: float, digits: int = 2) -> str:
    """A number to so many digits, never as a power of ten: "280", "0.18", "< 0.0001".

    For numbers of 0 or more.
    """
    text = f"{value:.{digits}g}"
    if 0 < value < 1e-4:
        return "< 0.0001"
    return f"{float(text):.0f}" if "e+" in text else text


def p_cell(p_value: float) -> str:
    """A p-value for a table: three decimals, and "< 0.001" or "> 0.999" beyond them."""
    if p_value < 0.001:
        return "< 0.001"
    return "> 0.999" if p_value > 0.999 else f"{p_value:.3f}"


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    caption: str,
    name: str,
    *origins: Origin,
):
    """A numbered table; its cell takes the option ``mystnb: {markdown_format: myst}``.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : iterable of sequences
        Cells, as many as there are columns; written with ``str``.
    caption : str
        What the table shows, with units.
    name : str
        Label for references, such as "table-losses".
    *origins : Dataset, DataFrame, mapping or str
        Where the numbers come from; added to the caption. Of several, each is named.

    Returns
    -------
    IPython.display.Markdown
    """
    from IPython.display import Markdown

    lines = [f"| {' | '.join(map(str, row))} |" for row in [columns, ["---"] * len(columns), *rows]]
    title = " ".join([caption, source_line(*origins)]) if origins else caption
    return Markdown("\n".join([f":::{{table}} {title}", f":name: {name}", "", *lines, ":::"]))


def glue_numbers(prefix: str, numbers: Mapping[str, Any]) -> None:
    """Give numbers or words to the text of a page: ``{glue:text}`prefix-key``` shows them.

    Parameters
    ----------
    prefix : str
        Common start of the keys.
    numbers : mapping of str to float or str
        What is shown, rounded: nbval compares it with what another machine gave.
    """
    from myst_nb import glue

    for key, value in numbers.items():
        glue(f"{prefix}-{key}", value, display=False)

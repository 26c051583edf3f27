"""What every chapter of the book needs: tables, numbers for its text, marks of smoke results.

Chapters are notebooks, so this module takes IPython and myst-nb, which the extra ``book`` brings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr
from matplotlib.figure import Figure

from dvae.analysis import share_text
from dvae.plotting import caption_source, mark_smoke

__all__ = ["glue_numbers", "is_smoke", "share_text", "shown", "source_line", "table"]

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


def source_line(origin: Origin) -> str:
    """Profile, trials, hardware and commit of a result in a line, for captions."""
    return caption_source(_attributes(origin))


def shown(figure: Figure, origin: Origin) -> Figure:
    """The figure, marked where its numbers come from a smoke run; the last line of a cell."""
    return mark_smoke(figure) if is_smoke(origin) else figure


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    caption: str,
    name: str,
    origin: Origin | None = None,
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
    origin : Dataset, DataFrame, mapping or str, optional
        Where the numbers come from; added to the caption.

    Returns
    -------
    IPython.display.Markdown
    """
    from IPython.display import Markdown

    lines = [f"| {' | '.join(map(str, row))} |" for row in [columns, ["---"] * len(columns), *rows]]
    title = caption if origin is None else f"{caption} {source_line(origin)}"
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

"""Where the numbers of a figure come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine, TightLayoutEngine

from dvae.plotting._canvas import count_of
from dvae.plotting.style import COLOURS

__all__ = ["caption_source", "mark_smoke"]


def mark_smoke(figure: Figure) -> Figure:
    """Write "smoke run: not evidence" in a strip at the foot of ``figure``; returns it."""
    strip = 0.25 / figure.get_size_inches()[1]
    engine = figure.get_layout_engine()
    if isinstance(engine, ConstrainedLayoutEngine | TightLayoutEngine):
        engine.set(rect=(0, strip, 1, 1 - strip))
    style: dict[str, Any] = {
        "color": "white",
        "backgroundcolor": COLOURS[3],
        "fontsize": 9,
        "weight": "bold",
    }
    figure.text(0.99, 0.3 * strip, "smoke run: not evidence", ha="right", va="bottom", **style)
    return figure


def caption_source(attributes: Mapping[str, Any]) -> str:
    """Where a result comes from, in a line for a caption.

    Parameters
    ----------
    attributes : those of a stored result (``dataset.attrs``)
        ``profile``, ``trials``, ``hardware`` and ``commit`` are used where present.

    Returns
    -------
    str
        For instance "Profile laptop, 50 trials, 2 CPU cores, commit 0123456."; says so if the
        origin is not recorded, and that a smoke run is not evidence.
    """
    profile, trials, commit = (attributes.get(key) for key in ("profile", "trials", "commit"))
    parts = []
    if profile:
        parts.append(f"profile {profile}" + (" (not evidence)" if profile == "smoke" else ""))
    if trials is not None:
        parts.append(count_of(int(trials), "trial"))
    if attributes.get("hardware"):
        parts.append(str(attributes["hardware"]))
    if commit:
        # shorten hashes (several are joined by "; "), but leave "-dirty" and other texts
        parts.append("commit " + re.sub(r"\b([0-9a-f]{7})[0-9a-f]{,33}\b", r"\1", str(commit)))
    text = ", ".join(parts) or "origin not recorded"
    return text[0].upper() + text[1:] + "."

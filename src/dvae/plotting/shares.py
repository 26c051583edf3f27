"""Shares of runs with their intervals (section 5.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from dvae.errors import DataError
from dvae.plotting._canvas import add_marks, make_axes
from dvae.plotting._checks import Lists, as_array, require_entries, require_length
from dvae.plotting.style import COLOURS, LINE_STYLES

__all__ = ["plot_proportions", "plot_threshold_curves"]

FEW_CURVES = 5  # that leave room for a legend beside them


def plot_proportions(
    labels: Sequence[str],
    successes: Num[Any, " label"] | Lists,
    trials: Num[Any, " label"] | Lists,
    intervals: Num[Any, "label 2"] | Lists,
    reference: Num[Any, " label"] | Lists | None = None,
    xlabel: str = "share of runs",
) -> Figure:
    """Shares of runs with their intervals, and the paper's values (section 5.3).

    Parameters
    ----------
    labels : one text a row, the first on top.
    successes, trials : (label,), counts.
    intervals : (label, 2), lower and upper end as fractions (Wilson's, from the caller).
    reference : (label,), the paper's shares as fractions, NaN where it reports none.
    xlabel : of what the share is.

    Raises
    ------
    DataError
        If lengths do not agree, counts make no sense or a share lies outside its interval.
    """
    sizes = {"label": len(labels)}
    successes = as_array(successes, "successes", "label", sizes)
    trials = as_array(trials, "trials", "label", sizes)
    low, high = as_array(intervals, "intervals", "label 2", sizes).T
    if (trials < 1).any() or (successes < 0).any() or (successes > trials).any():
        raise DataError("successes must lie between 0 and trials, and trials be 1 or more")
    share = successes / trials
    if (share < low - 1e-9).any() or (share > high + 1e-9).any():
        raise DataError(
            "a share lies outside its interval; give intervals as fractions (low, high)"
        )
    figure, [[ax]] = make_axes(1, 1, 0.36 * len(labels) + 1.0)
    row = np.arange(len(labels))
    error = np.clip([share - low, high - share], 0, None)
    ax.errorbar(share, row, xerr=error, fmt="o", color=COLOURS[0], capsize=3, label="here")
    if reference is not None:
        reference = as_array(reference, "reference", "label", sizes, finite=False)
        ax.plot(reference, row, "D", mfc="none", color=COLOURS[1], ms=8, label="paper")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    for i in row:
        text = f"{successes[i]:.0f}/{trials[i]:.0f}"
        ax.text(1.02, i, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.set(yticks=row, yticklabels=labels, xlabel=xlabel, xlim=(-0.02, 1.02))
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def plot_threshold_curves(
    threshold: Num[Any, " threshold"] | Lists,
    shares: Mapping[str, Num[Any, " threshold"] | Lists],
    intervals: Mapping[str, Num[Any, "threshold 2"] | Lists] | None = None,
    chosen: float | None = None,
    groups: Sequence[str] | None = None,
    xlabel: str = "threshold on $S_D$",
    ylabel: str = "share of runs above",
) -> Figure:
    """How a share of runs depends on the threshold that defines it (section 5.3).

    Parameters
    ----------
    threshold : (threshold,).
    shares : name -> (threshold,), fractions.
    intervals : name -> (threshold, 2), lower and upper ends, drawn as bands.
    chosen : the threshold that the counts use.
    groups : the group of each curve; a group has a colour, its curves differ in their dashes.
    xlabel, ylabel : labels of the axes.

    Raises
    ------
    DataError
        If shapes do not agree or there is nothing to draw.
    """
    require_entries(shares, "shares")
    sizes: dict[str, int] = {}
    threshold = as_array(threshold, "threshold", "threshold", sizes)
    require_length(groups, "groups", len(shares))
    figure, [[ax]] = make_axes(1, 1, 3.4)
    looks = _looks(len(shares), groups)
    for (name, share), (colour, dashes) in zip(shares.items(), looks, strict=True):
        style = {"color": COLOURS[colour % len(COLOURS)]}
        style["ls"] = LINE_STYLES[dashes % len(LINE_STYLES)]
        share = as_array(share, f"shares of {name}", "threshold", sizes)
        ax.plot(threshold, share, label=name, **style)
        if intervals is not None and name in intervals:
            band = as_array(intervals[name], f"intervals of {name}", "threshold 2", sizes)
            ax.fill_between(threshold, *band.T, color=style["color"], alpha=0.15, lw=0)
    add_marks(ax, None if chosen is None else {f"used here: {chosen:g}": chosen})
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.02, 1.02))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    if len(shares) > FEW_CURVES:  # inside they would hide each other
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    else:
        ax.legend()
    return figure


def _looks(count: int, groups: Sequence[str] | None) -> list[tuple[int, int]]:
    """Numbers of a colour and of a line style for each curve, by its group if there are any."""
    if groups is None:
        return [(i, i) for i in range(count)]
    names = list(dict.fromkeys(groups))
    return [(names.index(own), list(groups[:i]).count(own)) for i, own in enumerate(groups)]

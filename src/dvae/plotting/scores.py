"""Disentanglement scores of many runs against labels and against another score (figs 13, 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure

from dvae.plotting._canvas import count_of, make_axes
from dvae.plotting._checks import Lists, as_array, require_length
from dvae.plotting.style import COLOURS, MARKERS, SCORE

__all__ = ["plot_score_against_labels", "plot_score_scatter"]


def plot_score_against_labels(
    ratio: Num[Any, " ratio"] | Lists,
    scores: Num[Any, "ratio trial"] | Lists,
    losses: Mapping[str, Num[Any, "ratio trial"] | Lists] | None = None,
    ceiling: float | None = None,
    loss_label: str = "training loss (nats per sample)",
) -> Figure:
    """S_D, and training losses, against the ratio of labelled samples: mean, min, max (fig. 14).

    Parameters
    ----------
    ratio : (ratio,), labelled to unlabelled samples, as a fraction.
    scores : (ratio, trial), the disentanglement score.
    losses : name -> (ratio, trial), in the unit that ``loss_label`` names.
    ceiling : S_D(theta, theta).
    loss_label : label of the second panel.

    Raises
    ------
    DataError
        If shapes do not agree or a value is not finite (say how many runs failed, in the text).
    """
    sizes: dict[str, int] = {}
    ratio = as_array(ratio, "ratio", "ratio", sizes)
    scores = as_array(scores, "scores", "ratio trial", sizes)
    runs = {
        n: as_array(v, f"losses of {n}", "ratio trial", sizes) for n, v in (losses or {}).items()
    }
    order = np.argsort(ratio)
    figure, axes = make_axes(1, 2 if runs else 1, 3.2)
    panels = [(axes[0, 0], {"mean": scores}), (axes[0, -1], runs)]
    for ax, groups in panels:
        for (name, values), colour in zip(groups.items(), COLOURS, strict=False):
            x, values = 100 * ratio[order], values[order]
            ax.fill_between(x, values.min(1), values.max(1), color=colour, alpha=0.25, lw=0)
            ax.plot(x, values.mean(1), "o-", color=colour, ms=4, label=name)
        ax.set_xlabel("labelled / unlabelled samples (%)")
    left, right = axes[0, 0], axes[0, -1]
    left.collections[0].set_label(f"min to max of {count_of(sizes['trial'], 'run')}")
    if ceiling is not None:
        left.axhline(ceiling, color="0.4", ls="--", lw=1, label="ceiling")
    left.set(ylabel=SCORE, ylim=(min(0.0, scores.min()), 1))
    left.legend(loc="lower right")
    if losses:
        right.set_ylabel(loss_label)
        right.legend()
    return figure


def plot_score_scatter(
    s_kl: Num[Any, " run"] | Lists,
    s_d: Num[Any, " run"] | Lists,
    groups: Sequence[str] | None = None,
    ceiling: float | None = None,
) -> Figure:
    """S_KL (eq. 7) against S_D (eq. 6), a dot a run (fig. 13).

    Parameters
    ----------
    s_kl : (run,), nats; low means disentangled.
    s_d : (run,), in [0, 1]; high means disentangled.
    groups : the group of every run, shown by colour and marker.
    ceiling : S_D(theta, theta).

    Raises
    ------
    DataError
        If lengths do not agree.
    """
    sizes: dict[str, int] = {}
    s_kl, s_d = as_array(s_kl, "s_kl", "run", sizes), as_array(s_d, "s_d", "run", sizes)
    require_length(groups, "groups", len(s_d))
    names = np.asarray(["run"] * len(s_d) if groups is None else groups)
    figure, [[ax]] = make_axes(1, 1, 3.6)
    for i, group in enumerate(dict.fromkeys(names.tolist())):
        own = names == group
        style = {
            "marker": MARKERS[i % len(MARKERS)],
            "color": COLOURS[i % len(COLOURS)],
            "alpha": 0.7,
        }
        ax.scatter(s_d[own], s_kl[own], s=24, lw=0, label=group, **style)
    if ceiling is not None:
        ax.axvline(ceiling, color="0.4", ls="--", lw=1, label="ceiling of $S_D$")
    ax.set(xlabel=SCORE, ylabel="shape score $S_{KL}$ (nats)")
    if len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend()
    return figure

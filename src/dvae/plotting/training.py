"""Networks and how they were trained (section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dvae.errors import DataError
from dvae.plotting._canvas import add_marks, add_paper_axis, limit_to, make_axes
from dvae.plotting._checks import Lists, as_array, as_lines
from dvae.plotting.style import BETA, COLOURS, DISTORTION, RATE

__all__ = ["plot_architecture", "plot_history"]


def plot_architecture(stages: Any) -> Figure:
    """The networks of a model as rows of boxes, in the order of the data (section 4.1).

    Parameters
    ----------
    stages : pandas.DataFrame from :func:`dvae.models.architecture.layer_table`
        A box is a stage with parameters: its height grows with the number of nodes per side that
        comes out (short for a vector), its width with the number of channels; the number in it is
        that of its parameters.

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    stages = stages[stages["parameters"] > 0]
    if not len(stages):
        raise DataError("no stage has parameters; pass the table of layer_table(model)")
    networks = list(dict.fromkeys(stages["network"]))
    figure, axes = make_axes(len(networks), 1, 2.3 * len(networks) + 0.2)
    for ax, network in zip(axes[:, 0], networks, strict=True):
        rows, x = stages[stages["network"] == network], 0.0
        for stage in rows.itertuples():
            x += _draw_stage(ax, x, stage.stage, stage.shape, stage.parameters) + 0.35
        ax.set(xlim=(-0.2, max(x, 9)), ylim=(-9.2, 3.6), title=network)
        ax.axis("off")
    return figure


def _draw_stage(ax: Axes, x: float, stage: str, shape: tuple[int, ...], parameters: int) -> float:
    """Draw the box of a stage with its left side at ``x``; returns its width."""
    vector = len(shape) == 1
    height = 3.6 if vector else np.log2(shape[-1])
    width = 0.55 if vector else 0.45 + shape[0] / 50
    kind = "linear" if vector else "dense" if "dense" in stage else "other"
    colour = COLOURS[{"linear": 1, "dense": 2, "other": 0}[kind]]
    ax.bar(x + width / 2, height, width, bottom=-height / 2, color=colour, alpha=0.5)
    style: dict[str, Any] = {"ha": "center", "rotation": 90, "fontsize": 7.5}
    ax.text(x + width / 2, 0, f"{parameters:,}", va="center", **style)
    size = " x ".join(map(str, shape))
    ax.text(x + width / 2, -3.6, f"{_short(stage)}\n{size}", va="top", **style)
    return width


def _short(stage: str) -> str:
    """Words of a stage that fit beside a box."""
    brief = {"transposed convolution": "up", "convolution": "conv", ", stride 2": "/2", " x ": "x"}
    for long, word in brief.items():
        stage = stage.replace(long, word)
    return stage


def plot_history(
    history: Mapping[Any, Num[Any, "*member step"] | Lists],
    n_nodes: int | None = None,
    skip: float = 0.02,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Distortion, rate and beta against the training step (section 5.1).

    Parameters
    ----------
    history : ``Fit.history``, or a mapping
        With ``rate`` and ``distortion`` (nats per sample) and ``beta`` (the weight of the rate in
        eq. 5), each (step,) or (member, step), and the numbers of the steps, ``step``, if they are
        not 0, 1, 2, ... Members are thin lines, their median a thick one. NaN leaves a gap.
    n_nodes : nodes along a side; adds the paper's units of distortion and beta, which are those
        of eq. 5 divided by ``n_nodes ** 2``. The paper's rate is in nats per sample too.
    skip : the first share of the steps, which does not count for the limits of the distortion's
        axis (it starts orders of magnitude higher).
    marks : name -> step of vertical lines, for instance the end of the reconstruction phase.

    Raises
    ------
    DataError
        If a variable is missing or the shapes do not agree.
    """
    step, values = _checked_history(history)
    figure, axes = make_axes(3, 1, 5.6, sharex=True)
    for ax, colour, (name, lines) in zip(axes[:, 0], COLOURS, values.items(), strict=False):
        single = len(lines) == 1
        ax.plot(step, lines.T, color=colour, lw=1.5 if single else 0.6, alpha=1 if single else 0.4)
        if not single:
            ax.plot(step, np.nanmedian(lines, axis=0), color=colour, lw=2)
        add_marks(ax, marks, named=name == "distortion")
    distortion, rate, beta = axes[:, 0]
    limit_to(distortion, values["distortion"][:, int(skip * len(step)) :])
    distortion.set_ylabel(DISTORTION.replace(" (", "\n("))
    if np.nanmax(np.abs(values["rate"]), initial=0.0) > 1:  # below it such an axis has odd ticks
        rate.set_yscale("symlog", linthresh=1)
    rate.set_ylim(bottom=min(0.0, np.nanmin(values["rate"])))
    rate.set_ylabel(RATE.replace(" (", "\n("))
    positive = values["beta"][values["beta"] > 0]
    if positive.size == np.isfinite(values["beta"]).sum():
        beta.set_yscale("log")
    else:
        beta.set_yscale("symlog", linthresh=positive.min(initial=1.0))
    beta.set(xlabel="training step", ylabel=BETA)
    add_paper_axis(distortion, "y", n_nodes, "paper units\n(nats per node)")
    add_paper_axis(beta, "y", n_nodes, r"paper's $\beta$")
    return figure


def _checked_history(history: Mapping) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Numbers of the steps, and name -> (member, step) in the order of the panels."""
    names = ("distortion", "rate", "beta")
    missing = [name for name in names if name not in history]
    if missing:
        raise DataError(f"history lacks {', '.join(missing)}; it needs {', '.join(names)}")
    sizes: dict[str, int] = {}
    values = {
        name: as_lines(history[name], f"history of {name}", "member step", sizes, finite=False)
        for name in names
    }
    if "step" in history:
        return as_array(history["step"], "step", "step", sizes), values
    return np.arange(sizes["step"]), values

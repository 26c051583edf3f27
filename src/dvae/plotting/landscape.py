"""Losses in the rate-distortion plane and in the space of parameters (section 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, FigureBase
from matplotlib.patheffects import Normal, Stroke

from dvae.errors import DataError
from dvae.plotting._canvas import (
    add_colour_bar,
    add_marks,
    add_paper_axis,
    label_outer,
    make_axes,
)
from dvae.plotting._checks import Lists, as_array, as_lines, require_length
from dvae.plotting.style import (
    BETA,
    COLOURS,
    DISTORTION,
    POSITIVE,
    RATE,
    SCORE,
    SEQUENTIAL,
    STARS,
    WIDTH,
)

__all__ = ["plot_line_losses", "plot_plane", "plot_rd_plane"]


def plot_rd_plane(
    paths: Mapping[str, Num[Any, "step 2"] | Lists] | None = None,
    points: Num[Any, "point 2"] | Lists | None = None,
    beta: Num[Any, " point"] | Lists | None = None,
    curve: Num[Any, "knot 2"] | Lists | None = None,
    n_nodes: int | None = None,
    record_every: int = 1,
    distortion_cut: float | None = None,
    figure: FigureBase | None = None,
) -> FigureBase:
    """Training paths and trained models in the rate-distortion plane (fig. 4).

    Everywhere, column 0 is the rate and column 1 the distortion, in nats per sample.

    Parameters
    ----------
    paths : name -> (step, 2), training paths, coloured by step.
    points : (point, 2), trained models.
    beta : (point,), positive, their beta (eq. 5), as colour.
    curve : (knot, 2), the RD curve, drawn in the given order.
    n_nodes : nodes along a side; adds the distortion in the paper's units.
    record_every : training steps between two entries of a path.
    distortion_cut : where the distortion's axis ends, since paths start far out.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not fit, a beta is not positive or there is nothing to draw.
    """
    if not paths and points is None and curve is None:
        raise DataError("nothing to draw; give paths, points or a curve")
    figure, [[ax]] = make_axes(1, 1, 4.6, figure)
    if curve is not None:
        rate, distortion = as_array(curve, "curve", "knot 2").T
        ax.plot(distortion, rate, color="0.5", lw=1, zorder=1, label="RD curve")
    if paths:
        _draw_paths(figure, ax, paths, record_every)
    if points is not None:
        _draw_points(figure, ax, points, beta)
    ax.autoscale_view()
    ax.set_yscale("symlog", linthresh=1)
    low, high = ax.dataLim.intervaly
    ax.set_ylim(min(low, 0) - 0.1, 1.5 * high)
    if distortion_cut is not None:
        ax.set_xlim(right=distortion_cut)
    ax.set(xlabel=DISTORTION, ylabel=RATE)
    add_paper_axis(ax, "x", n_nodes, "distortion in paper units (nats per node)")
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _draw_paths(figure: FigureBase, ax: Axes, paths: Mapping[str, Any], record_every: int) -> None:
    """Training paths coloured by step, from a hollow dot to a mark of their own.

    Each mark is smaller than those before it: where two paths end at one place, both are seen.
    """
    paths = {name: as_array(path, f"path {name}", "step 2") for name, path in paths.items()}
    last = max(len(path) - 1 for path in paths.values()) * record_every
    for i, (name, path) in enumerate(paths.items()):
        line = path[:, ::-1]
        steps = plt.Normalize(0, max(last, 1))
        segments = LineCollection(
            list(np.stack([line[:-1], line[1:]], axis=1)), cmap=SEQUENTIAL, norm=steps, lw=2
        )
        segments.set_array(record_every * np.arange(len(line) - 1))
        ax.add_collection(segments)
        ax.plot(*line[0], "o", color="white", mec="black", ms=5)
        style: dict[str, Any] = {
            "color": COLOURS[i % len(COLOURS)],
            "mec": "black",
            "ms": max(18 - 11 * i, 5),
            "ls": "",
            "zorder": 4 + 0.1 * i,
        }
        ax.plot(*line[-1], STARS[i % len(STARS)], label=name, **style)
    figure.colorbar(segments, ax=ax, label="training step")


def _draw_points(figure: FigureBase, ax: Axes, points: Any, beta: Any) -> None:
    """Trained models, coloured by beta if it is given."""
    sizes: dict[str, int] = {}
    rate, distortion = as_array(points, "points", "point 2", sizes).T
    style: dict[str, Any] = {"color": COLOURS[0]}
    if beta is not None:
        beta = as_array(beta, "beta", "point", sizes)
        if not (beta > 0).all():
            raise DataError("beta is drawn on a logarithmic scale and must be positive")
        style = {"c": beta, "norm": LogNorm(beta.min(), beta.max()), "cmap": POSITIVE}
    dots = ax.scatter(distortion, rate, s=28, ec="black", lw=0.5, zorder=3, **style)
    dots.set_label("trained model")
    if beta is not None:
        figure.colorbar(dots, ax=ax, label=BETA)


def plot_line_losses(
    alpha: Num[Any, " point"] | Lists,
    losses: Num[Any, "*line point"] | Lists,
    scores: Num[Any, "*line point"] | Lists | None = None,
    labels: Sequence[str] | None = None,
    cut: float | None = None,
    marks: Mapping[str, float] | None = None,
    scale: str = "linear",
    xlabel: str = r"$\alpha$ (eq. 26)",
    ylabel: str = r"loss $\mathcal{L}$ (nats per node)",
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Losses along lines in parameter space (figs 3 and 5).

    Parameters
    ----------
    alpha : (point,), position along the lines.
    losses : (line, point) or (point,), in the unit that ``ylabel`` names; the paper's is nats per
        node. Infinite and NaN losses leave a gap.
    scores : as ``losses``; the disentanglement score S_D, dashed on a second axis.
    labels : names of the lines; without them all lines look alike (random directions).
    cut : where the axis of the loss ends, 1000 in the paper's fig. 3.
    marks : name -> alpha of vertical lines, for instance the two ends of eq. 26.
    scale : of the loss, ``"linear"`` or ``"symlog"``.
    xlabel, ylabel : labels of the axes.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not agree.
    """
    sizes: dict[str, int] = {}
    alpha = as_array(alpha, "alpha", "point", sizes)

    losses = as_lines(losses, "losses", "line point", sizes, finite=False)
    losses = np.where(np.isfinite(losses), losses, np.nan)
    sizes["line"] = len(losses)
    require_length(labels, "labels", len(losses))
    figure, [[ax]] = make_axes(1, 1, 3.4, figure)
    alike = labels is None and len(losses) > 1
    style = {"color": COLOURS[0], "lw": 0.8, "alpha": max(0.1, min(0.8, 20 / len(losses)))}
    for i, line in enumerate(losses):
        own = {"color": COLOURS[i % len(COLOURS)], "label": labels[i] if labels else None}
        ax.plot(alpha, line, **(style if alike else own))
    ax.set_yscale(scale)
    if cut is not None and np.nanmax(losses) > cut:
        low = np.nanmin(losses)
        ax.set_ylim(low - 0.03 * (cut - low), cut)
        ylabel += f", cut at {cut:.4g}"
    ax.set(xlabel=xlabel, ylabel=ylabel)
    add_marks(ax, marks)
    if scores is not None:
        scores = as_lines(scores, "scores", "line point", sizes, finite=False)
        _draw_line_scores(ax, alpha, scores, alike)
    if labels:
        ax.legend()
    return figure


def _draw_line_scores(ax: Axes, alpha: np.ndarray, scores: np.ndarray, alike: bool) -> None:
    """S_D dashed on a second axis; a single line has its axes in the colours of its curves."""
    twin = ax.twinx()
    twin.grid(False)
    twin.spines["right"].set_visible(True)
    single = len(scores) == 1
    for i, line in enumerate(scores):
        colour = COLOURS[1] if single or alike else COLOURS[i % len(COLOURS)]
        twin.plot(alpha, line, "--", color=colour, lw=0.8 if alike else 1.5)
    twin.set(ylabel=f"{SCORE} (dashed)", ylim=(0, 1))
    if single:
        ax.yaxis.label.set_color(COLOURS[0])
        twin.yaxis.label.set_color(COLOURS[1])


def plot_plane(
    x: Num[Any, " x"] | Lists,
    y: Num[Any, " y"] | Lists,
    loss: Num[Any, "x y"] | Lists,
    solutions: Mapping[str, tuple[float, float]],
    scores: Num[Any, "x y"] | Lists | None = None,
    cut: float | None = None,
    loss_label: str = r"loss $\mathcal{L}$ (nats per node)",
) -> Figure:
    r"""Loss, and S_D if given, on a plane through solutions in parameter space (section 4.3).

    Parameters
    ----------
    x, y : (x,) and (y,), increasing coordinates in the plane.
    loss : (x, y), in the unit that ``loss_label`` names; NaN leaves a hole.
    solutions : name -> (x, y), the points to mark.
    scores : (x, y), the disentanglement score.
    cut : losses above are shown as this one.
    loss_label : label of the loss's colour bar.

    Raises
    ------
    DataError
        If shapes do not agree or no loss is finite.
    """
    sizes: dict[str, int] = {}
    x, y = as_array(x, "x", "x", sizes), as_array(y, "y", "y", sizes)
    loss = as_array(loss, "loss", "x y", sizes, finite=False)
    if not np.isfinite(loss).any():
        raise DataError("no loss on the plane is finite")
    top = loss[np.isfinite(loss)].max() if cut is None else cut
    cuts = "" if cut is None else f", cut at {cut:.4g}"
    bounds = np.nanmin(loss), top
    panels = [(np.minimum(loss, top), loss_label + cuts, SEQUENTIAL, bounds)]
    if scores is not None:
        scores = as_array(scores, "scores", "x y", sizes, finite=False)
        panels.append((scores, SCORE, POSITIVE, (0.0, 1.0)))
    tall = np.ptp(y) / np.ptp(x) * (WIDTH - 0.8) / len(panels)  # panels are true to scale
    figure, axes = make_axes(1, len(panels), min(tall, 4.2) + 1.6, sharex=True, sharey=True)
    side = "right" if scores is None else "bottom"
    halo = [Stroke(linewidth=3.5, foreground="white"), Normal()]
    hollow: dict[str, Any] = {"mfc": "none", "mec": "black", "mew": 1.2, "ls": ""}
    for ax, (values, label, cmap, (low, high)) in zip(axes[0], panels, strict=True):
        levels = np.linspace(low, high if high > low else low + 1, 21)
        shown = np.ma.masked_invalid(values.T)
        filled = ax.contourf(x, y, shown, levels, cmap=cmap)
        ax.contour(x, y, shown, levels[::2], colors="white", linewidths=0.3)
        add_colour_bar(figure, filled, ax, label, location=side)
        ax.grid(False)
        ax.set_aspect("equal")
        for i, (name, place) in enumerate(solutions.items()):
            mark = STARS[i % len(STARS)]  # hollow: a basin may be smaller than its mark
            size = 18 if mark == "*" else 11
            ax.plot(*place, mark, ms=size, label=name, path_effects=halo, **hollow)
    label_outer(axes, "first direction", "second direction")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure

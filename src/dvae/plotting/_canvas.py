"""What figures are made of: closed figures, images of fields, colour bars, second axes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure, FigureBase
from matplotlib.ticker import MaxNLocator

from dvae.plotting.style import DIVERGING, SEQUENTIAL, WIDTH

LONGEST = 4  # times as long as the other axis: a map of more is not drawn true to scale


@overload
def make_figure(height: float, figure: None = None) -> Figure: ...
@overload
def make_figure(height: float, figure: FigureBase | None) -> FigureBase: ...
def make_figure(height: float, figure: FigureBase | None = None) -> FigureBase:
    """The given figure, or a new one that is closed for pyplot."""
    if figure is None:
        figure = plt.figure(figsize=(WIDTH, height), layout="constrained")
        plt.close(figure)
    return figure


@overload
def make_axes(
    rows: int, columns: int, height: float, figure: None = None, **options: Any
) -> tuple[Figure, Any]: ...
@overload
def make_axes(
    rows: int, columns: int, height: float, figure: FigureBase | None, **options: Any
) -> tuple[FigureBase, Any]: ...
def make_axes(
    rows: int, columns: int, height: float, figure: FigureBase | None = None, **options: Any
) -> tuple[FigureBase, Any]:
    """A figure and its ``rows x columns`` axes."""
    figure = make_figure(height, figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def draw_image(
    axes: Axes,
    field: np.ndarray,
    limit: float,
    signed: bool = True,
    low: float = 0.0,
    places: Sequence[np.ndarray] = (),
) -> ScalarMappable:
    """Show ``field[x1, x2]`` with x1 to the right and x2 upwards, on a scale of +-limit.

    Without signs the scale begins at ``low``. The axes run from 0 to 1, or over the ``places`` of
    the nodes along both: true to scale, unless one is more than ``LONGEST`` times as long as the
    other; then the map is square.
    """
    limit = limit if limit > 0 or (not signed and limit > low) else 1.0
    axes.grid(False)
    axes.spines[:].set_visible(False)
    colours: dict[str, Any] = {
        "cmap": DIVERGING if signed else SEQUENTIAL,
        "vmin": -limit if signed else low,
        "vmax": limit,
    }
    if places:
        lengths = [float(np.ptp(values)) for values in places]
        if max(lengths) <= LONGEST * min(lengths):
            axes.set_aspect("equal")
        else:
            axes.set_box_aspect(1)
        axes.locator_params(nbins=3)
        return axes.pcolormesh(*places, field.T, shading="nearest", **colours)
    half = [0.5 / max(size - 1, 1) for size in field.shape]  # nodes lie in the middle of a pixel
    axes.set(xticks=(0, 1), yticks=(0, 1))
    extent = (-half[0], 1 + half[0], -half[1], 1 + half[1])
    return axes.imshow(field.T, origin="lower", extent=extent, **colours)


def add_colour_bar(
    figure: FigureBase, image: Any, axes: Any, label: str = "", **options: Any
) -> Colorbar:
    """A colour bar without a frame and with few ticks."""
    bar = figure.colorbar(image, ax=axes, label=label, ticks=MaxNLocator(4), **options)
    bar.outline.set_visible(False)
    return bar


def label_outer(axes: np.ndarray, x: str, y: str) -> None:
    """Label the lowest visible axes of each column and the first of each row."""
    for row in axes:
        row[0].set_ylabel(y)
    for column in axes.T:
        [ax for ax in column if ax.get_visible()][-1].set_xlabel(x)


def add_paper_axis(axes: Axes, direction: str, n_nodes: int | None, label: str) -> None:
    """A second axis in the paper's units: divided by the number of nodes of the grid.

    ``n_nodes`` is the number of nodes along a side; without it nothing is added.
    """
    if n_nodes is None:
        return
    total_nodes = n_nodes**2
    where = {"x": "top", "y": "right"}[direction]
    add = getattr(axes, f"secondary_{direction}axis")
    add(where, functions=(lambda v: v / total_nodes, lambda v: v * total_nodes)).set(
        **{f"{direction}label": label}
    )


def add_marks(axes: Axes, marks: Mapping[str, float] | None, named: bool = True) -> None:
    """Dotted vertical lines, their names above the axes."""
    for name, mark in (marks or {}).items():
        axes.axvline(mark, color="0.4", ls=":", lw=1)
        if named:
            place = axes.get_xaxis_transform()
            axes.text(mark, 1.02, name, transform=place, ha="center", fontsize=9)


def limit_to(axes: Axes, values: np.ndarray) -> None:
    """Limit the vertical axis to the finite ``values``."""
    values = values[np.isfinite(values)]
    if values.size:
        low, high = values.min(), values.max()
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)


def count_of(number: int, noun: str) -> str:
    """A number and its noun: "1 run", "2 runs"."""
    return f"{number} {noun}" + ("" if number == 1 else "s")

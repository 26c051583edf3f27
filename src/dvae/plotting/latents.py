"""The latent space: latents against factors, distributions, rotations (sections 5 and 6)."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from scipy.integrate import trapezoid

from dvae.errors import DataError
from dvae.plotting._canvas import make_axes, make_figure
from dvae.plotting._checks import Lists, as_array, as_lines, require_entries, require_length
from dvae.plotting.style import COLOURS, LINE_STYLES, WIDTH

__all__ = ["plot_distributions", "plot_latents", "plot_rotation"]


def plot_latents(
    z_mean: Num[Any, "sample latent"] | Lists,
    theta: Num[Any, "sample factor"] | Lists,
    z_std: Num[Any, "sample latent"] | Lists | None = None,
    test: tuple[Any, ...] | None = None,
    score: float | None = None,
    ceiling: float | None = None,
    title: str = "",
    figure: FigureBase | None = None,
    factors: Sequence[str] | None = None,
) -> FigureBase:
    r"""Every latent against every factor, with the encoder's uncertainty (figs 7, 9, 12).

    Parameters
    ----------
    z_mean : (sample, latent), mean of q(z|y) on training samples, dimensionless.
    theta : (sample, factor), their factors, dimensionless.
    z_std : (sample, latent), standard deviation of q(z|y); bars of one standard deviation.
    test : (z_mean, theta) or (z_mean, theta, z_std) of test samples, drawn over the others.
    score, ceiling : S_D (eq. 6) and S_D(theta, theta), written in the title.
    title : text before the score.
    figure : where to draw; a new figure if None.
    factors : names of the factors.

    Raises
    ------
    DataError
        If shapes do not agree.
    """
    sizes: dict[str, int] = {}
    groups = {"training": _checked_latents("training", (z_mean, theta, z_std), sizes)}
    if test is not None:
        if len(test) not in (2, 3):
            raise DataError("test must be (z_mean, theta) or (z_mean, theta, z_std)")
        groups["test"] = _checked_latents("test", (*test, None)[:3], sizes)
    rows, columns = sizes["latent"], sizes["factor"]
    factors = factors or [rf"factor $\theta_{{{j + 1}}}$" for j in range(columns)]
    require_length(factors, "factors", columns)
    height = min(3.0, WIDTH / columns) * rows + 0.7
    figure, axes = make_axes(rows, columns, height, figure, sharex="col", sharey="row")
    for (name, (z, t, std)), colour in zip(groups.items(), COLOURS, strict=False):
        for i, j in np.ndindex(rows, columns):
            error = None if std is None else std[:, i]
            style = {"color": colour, "ms": 2, "elinewidth": 0.5, "alpha": 0.5, "label": name}
            axes[i, j].errorbar(t[:, j], z[:, i], error, fmt="o", mew=0, **style)
    for i in range(rows):
        axes[i, 0].set_ylabel(rf"latent $z_{{{i + 1}}}$")
    for j in range(columns):
        axes[-1, j].set_xlabel(factors[j])
    if score is not None:
        title += f"{': ' if title else ''}$S_D$ = {score:.3f}"
        title += "" if ceiling is None else f" (ceiling {ceiling:.3f})"
    if title:
        figure.suptitle(title)
    if test is not None:
        axes[0, 0].legend(markerscale=3)
    return figure


def _checked_latents(
    name: str, group: tuple[Any, Any, Any], sizes: dict[str, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Means, factors and spreads of a group, which has a number of samples of its own."""
    sizes.pop("sample", None)
    z, theta, std = group
    return (
        as_array(z, f"z_mean ({name})", "sample latent", sizes),
        as_array(theta, f"theta ({name})", "sample factor", sizes),
        None if std is None else as_array(std, f"z_std ({name})", "sample latent", sizes),
    )


def plot_distributions(
    samples: Mapping[str, Num[Any, "sample 2"] | Lists],
    densities: Mapping[str, tuple[Any, Any, Any]] | None = None,
    bandwidth: float = 0.6,
    symbols: tuple[str, str] = ("first coordinate", "second coordinate"),
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Two-dimensional distributions side by side, and their marginals on top of one another.

    For p(theta), p(z) and the aggregated posterior q(z) (figs 6, 9, 10, 12, 15).

    Parameters
    ----------
    samples : name -> (sample, 2), dimensionless; dots and a kernel density estimate.
    densities : name -> (x (k,), y (l,), density (k, l)), normalised, drawn in place of the estimate
        of that name, which need not have samples.
    bandwidth : factor on Scott's rule, the same for all; below 1 since the modes are narrow.
    symbols : labels of the two coordinates.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If there is nothing to draw or an array does not have two columns.
    """
    drawn = {name: as_array(s, f"samples of {name}", "sample 2") for name, s in samples.items()}
    grids = {name: _checked_density(name, grid) for name, grid in (densities or {}).items()}
    names = list(dict.fromkeys([*drawn, *grids]))
    require_entries(names, "samples")
    figure = make_figure(4.9, figure)
    layout = figure.add_gridspec(2, 1, height_ratios=(1.2, 1))
    upper, lower = layout[0].subgridspec(1, len(names)), layout[1].subgridspec(1, 2)
    joints: list[Axes] = []
    for i in range(len(names)):
        share = joints[0] if joints else None
        joints.append(figure.add_subplot(upper[i], sharex=share, sharey=share, aspect="equal"))
    marginals = [figure.add_subplot(lower[i]) for i in range(2)]

    for name, ax, colour in zip(names, joints, COLOURS, strict=False):
        points, grid = drawn.get(name), grids.get(name)
        _draw_joint(ax, points, grid, colour, bandwidth)
        ax.set(title=name, xlabel=symbols[0], ylabel=symbols[1] if ax is joints[0] else "")
        ax.tick_params(labelleft=ax is joints[0])
        for k, marginal in enumerate(marginals):
            _draw_marginal(marginal, k, points, grid, bandwidth, color=colour, label=name)
    for marginal, symbol in zip(marginals, symbols, strict=True):
        marginal.set(xlabel=symbol, ylabel="")
    marginals[0].set_ylabel("marginal density")
    figure.legend(*marginals[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


Grid = tuple[np.ndarray, np.ndarray, np.ndarray]  # x (k,), y (l,), density (k, l)


def _checked_density(name: str, grid: tuple[Any, Any, Any]) -> Grid:
    x, y, density = grid
    sizes: dict[str, int] = {}
    return (
        as_array(x, f"x of {name}", "x", sizes),
        as_array(y, f"y of {name}", "y", sizes),
        as_array(density, f"density of {name}", "x y", sizes),
    )


def _draw_joint(
    ax: Axes, points: np.ndarray | None, grid: Grid | None, colour: str, bandwidth: float
) -> None:
    """Density in two dimensions, known or estimated, and the samples as dots."""
    import seaborn as sns  # takes long: not for figures without a density

    if grid is not None:
        x, y, density = grid
        levels = density.max() * np.linspace(0.05, 1, 9)
        ax.contourf(x, y, density.T, levels, cmap=sns.light_palette(colour, as_cmap=True))
    elif points is not None and len(points) > 2:
        style = {"color": colour, "bw_adjust": bandwidth, "warn_singular": False}
        x, y = points.T
        with contextlib.suppress(ValueError):  # nearly on a line: no node of the grid is near it
            sns.kdeplot(x=x, y=y, ax=ax, fill=True, levels=9, gridsize=80, **style)
    if points is not None:
        ax.plot(*points.T, "o", color="black", ms=1, mew=0, alpha=0.4)


def _draw_marginal(
    ax: Axes,
    axis: int,
    points: np.ndarray | None,
    grid: Grid | None,
    bandwidth: float,
    **style: Any,
) -> None:
    """Density of a coordinate, from the known one by the trapezoidal rule, or estimated."""
    if grid is not None:
        ax.plot(grid[axis], trapezoid(grid[2], grid[1 - axis], axis=1 - axis), **style)
    elif points is not None and len(points) > 2:
        import seaborn as sns  # takes long

        options = {"bw_adjust": bandwidth, "warn_singular": False, "gridsize": 200}
        sns.kdeplot(x=points[:, axis], ax=ax, **options, **style)


def plot_rotation(
    angle: Num[Any, " angle"] | Lists,
    quantities: Mapping[str, Num[Any, "*line angle"] | Lists],
    labels: Sequence[str] | None = None,
) -> Figure:
    """Losses and scores against the angle by which the latent space is rotated (section 5.2).

    Parameters
    ----------
    angle : (angle,), degrees.
    quantities : name -> (angle,) or (line, angle), or an xarray Dataset of these
        One panel each, under its name, or its attributes ``long_name`` and ``units`` if it has
        them.
    labels : names of the lines, for instance "without HP" and "with HP".

    Raises
    ------
    DataError
        If shapes do not agree or there is nothing to draw.
    """
    require_entries(quantities, "quantities")
    sizes: dict[str, int] = {}
    angle = as_array(angle, "angle", "angle", sizes)
    columns = min(2, len(quantities))
    rows = -(-len(quantities) // columns)
    figure, axes = make_axes(rows, columns, 2.2 * rows + 0.5, sharex=True)
    for ax, (name, value) in zip(axes.flat, quantities.items(), strict=False):
        lines = as_lines(value, name, "line angle", sizes)
        require_length(labels, "labels", len(lines))
        for i, line in enumerate(lines):
            ax.plot(angle, line, ls=LINE_STYLES[i % len(LINE_STYLES)], label=labels and labels[i])
        if np.ptp(lines) <= 1e-9 * np.abs(lines).max():  # constant: do not magnify its rounding
            centre = lines.flat[0]
            ax.set_ylim(centre - 0.5 * (abs(centre) or 1), centre + 0.5 * (abs(centre) or 1))
        attributes = getattr(value, "attrs", {})
        unit = attributes.get("units")
        ax.set_ylabel(attributes.get("long_name", name) + (f" ({unit})" if unit else ""))
    for ax in axes.flat[len(quantities) :]:
        ax.set_visible(False)
    for ax in axes.flat:
        ax.set_xticks(np.arange(45 * np.ceil(angle.min() / 45), angle.max() + 1e-6, 45))
    for column in axes.T:
        lowest = [ax for ax in column if ax.get_visible()][-1]
        lowest.set_xlabel("rotation angle (degrees)")
        lowest.tick_params(labelbottom=True)
    if labels:
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure

"""Images of fields: samples, modes, reconstructions (sections 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure, FigureBase

from dvae.errors import DataError
from dvae.plotting._canvas import add_colour_bar, draw_image, label_outer, make_axes
from dvae.plotting._checks import Lists, as_array, as_places, require_entries, require_length
from dvae.plotting.style import CHANNELS, COLOURS, WIDTH

__all__ = ["plot_modes", "plot_reconstruction", "plot_samples"]


def plot_samples(
    permeability: Num[Any, "sample *channel x1 x2"] | Lists,
    fields: Num[Any, "sample 3 x1 x2"] | Lists,
    labels: Sequence[str] | None = None,
    shared: bool = False,
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Log-permeability, pressure and velocities, one sample a row (fig. 1).

    Parameters
    ----------
    permeability : (sample, x1, x2) or (sample, 1, x1, x2)
        Permeability :math:`K > 0`, not its logarithm.
    fields : (sample, 3, x1, x2)
        Pressure and the two velocities.
    labels : one text a row, for instance "KLE10".
    shared : one colour scale a column, to compare amplitudes between rows; otherwise every row has
        its own scales. The two velocities of a row always share theirs.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not fit together or a permeability is not positive.
    """
    sizes: dict[str, int] = {}
    fields = as_array(fields, "fields", "sample 3 x1 x2", sizes)
    if np.ndim(permeability) == 4:
        permeability = as_array(permeability, "permeability", "sample 1 x1 x2", sizes)[:, 0]
    permeability = as_array(permeability, "permeability", "sample x1 x2", sizes)
    if not (permeability > 0).all():
        raise DataError("permeability is not positive; pass K itself, not its logarithm")
    rows = len(fields)
    require_length(labels, "labels", rows)

    images = np.concatenate([np.log(permeability)[:, None], fields], axis=1)
    limits = _sample_limits(images, shared)
    height = 1.45 * rows + (1.1 if shared else 0.4)
    figure, axes = make_axes(rows, 4, height, figure, sharex=True, sharey=True)
    for row, column in np.ndindex(rows, 4):
        image = draw_image(axes[row, column], images[row, column], float(limits[row, column]))
        if not shared and column != 2:  # the scale of u1 is that of u2, right beside it
            add_colour_bar(figure, image, axes[row, column], shrink=0.85, pad=0.02)
    for column, title in enumerate((r"$\log K$", *CHANNELS)):
        axes[0, column].set_title(title)
        if shared:
            add_colour_bar(figure, axes[0, column].images[0], axes[:, column], location="bottom")
    label_outer(axes, "$x_1$", "$x_2$")
    for row, label in enumerate(labels or ()):
        axes[row, 0].set_ylabel(f"{label}\n$x_2$")
    return figure


def _sample_limits(images: np.ndarray, shared: bool) -> np.ndarray:
    """Largest magnitude for every image of ``(sample, 4, x1, x2)``, the same for u1 and u2."""
    limits = np.abs(images).max(axis=(2, 3))
    limits[:, 2:] = limits[:, 2:].max(axis=1, keepdims=True)
    return np.broadcast_to(limits.max(axis=0), limits.shape) if shared else limits


def plot_modes(
    modes: Num[Any, "mode x1 x2"] | Lists,
    eigenvalues: Num[Any, " mode"] | Lists | None = None,
    count: int = 10,
) -> Figure:
    r"""The first modes :math:`\phi_i` of the Karhunen-Loeve expansion, on one scale (eqs 18 to 20).

    Parameters
    ----------
    modes : (mode, x1, x2), dimensionless
        Eigenvectors of unit Euclidean norm.
    eigenvalues : (mode,), dimensionless; written over the modes.
    count : how many to show, five a row.

    Raises
    ------
    DataError
        If shapes do not fit together.
    """
    sizes: dict[str, int] = {}
    modes = as_array(modes, "modes", "mode x1 x2", sizes)[:count]
    if eigenvalues is not None:
        eigenvalues = as_array(eigenvalues, "eigenvalues", "mode", sizes)
    columns = min(5, len(modes))
    rows = -(-len(modes) // columns)
    figure, axes = make_axes(rows, columns, 1.5 * rows + 0.3, sharex=True, sharey=True)
    for i, ax in enumerate(axes.flat):
        if i >= len(modes):
            ax.set_visible(False)
            continue
        image = draw_image(ax, modes[i], np.abs(modes).max())
        title = rf"$\phi_{{{i + 1}}}$"
        if eigenvalues is not None:
            title += rf", $\lambda_{{{i + 1}}}$ = {eigenvalues[i]:#.4g}"
        ax.set_title(title, fontsize=9)
        ax.tick_params(labelbottom=i + columns >= len(modes))
    label_outer(axes, "$x_1$", "$x_2$")
    add_colour_bar(figure, image, axes, "mode (unit norm)", shrink=0.8)
    return figure


def plot_reconstruction(
    truth: Num[Any, "channel x1 x2"] | Lists,
    mean: Num[Any, "channel x1 x2"] | Lists | Mapping[str, Num[Any, "channel x1 x2"] | Lists],
    channels: Sequence[str] | None = None,
    titles: tuple[str, str] = ("truth", "reconstruction"),
    signed: bool = True,
    figure: FigureBase | None = None,
    axes_names: Sequence[str] = ("$x_1$", "$x_2$"),
    places: Sequence[Num[Any, " _"] | Lists] = (),
) -> FigureBase:
    """Truth beside reconstruction and error, a channel a row (figs 2, 6, 8, 11).

    Truth and reconstructions of a channel share one scale, their errors (reconstruction minus
    truth) another; nodes where the truth is NaN, outside of the domain, stay blank; the number
    in an error's corner is its norm relative to the truth's. On a grid with one node along an
    axis, which is a line, they are curves.

    Parameters
    ----------
    truth : (channel, x1, x2), dimensionless.
    mean : (channel, x1, x2), the decoder's mean, or a mapping from a model's name to it, to compare
        several models on the same scales.
    channels : names of the rows; pressure and velocities for three channels if None.
    titles : what to call truth and reconstruction (for instance "data mean", "decoder mean").
    signed : False for positive quantities such as variances, which get a sequential scale from 0.
    figure : where to draw; a new figure if None.
    axes_names : names of the axes of the grid.
    places : where the nodes lie along each of them, rising or falling; from 0 to 1 if not given.

    Raises
    ------
    DataError
        If shapes do not agree.
    """
    sizes: dict[str, int] = {}
    truth = as_array(truth, "truth", "channel x1 x2", sizes, finite=False)
    blank = np.isnan(truth)
    models = mean if isinstance(mean, Mapping) else {"": mean}
    require_entries(models, "mean")
    means = [
        as_array(m, f"mean {name}".strip(), "channel x1 x2", sizes, finite=False)
        for name, m in models.items()
    ]
    for field, name in [(truth, "truth"), *zip(means, models, strict=True)]:
        as_array(np.where(blank, 0.0, field), name or "mean", "channel x1 x2")
    if channels is None:
        default = CHANNELS if len(truth) == 3 else [f"channel {i + 1}" for i in range(len(truth))]
        channels = default
    require_length(channels, "channels", len(truth))
    places = as_places(places, truth.shape[1:])
    if 1 in truth.shape[1:]:
        name = axes_names[0 if truth.shape[2] == 1 else -1]
        return _draw_curves(
            truth, dict(zip(models, means, strict=True)), channels, titles, name, places, figure
        )

    rows, columns = len(truth), 1 + 2 * len(means)
    height = min(1.9, (WIDTH - 0.6) / columns) * rows + 0.6
    figure, axes = make_axes(rows, columns, height, figure, sharex=True, sharey=True)
    for row, name in enumerate(channels):
        _draw_channel(figure, axes[row], truth[row], [mean[row] for mean in means], signed, places)
        axes[row, 0].set_ylabel(f"{name}\n{axes_names[-1]}")
    size = 10 if columns == 3 else 9
    axes[0, 0].set_title(titles[0], fontsize=size)
    for i, name in enumerate(models):
        axes[0, 1 + 2 * i].set_title(f"{name}\n{titles[1]}".strip(), fontsize=size)
        axes[0, 2 + 2 * i].set_title(f"{name}\nerror".strip(), fontsize=size)
    for ax in axes[-1]:
        ax.set_xlabel(axes_names[0])
    return figure


def _draw_curves(
    truth: np.ndarray,
    models: Mapping[str, np.ndarray],
    channels: Sequence[str],
    titles: tuple[str, str],
    axis_name: str,
    places: Sequence[np.ndarray],
    figure: FigureBase | None,
) -> FigureBase:
    """``plot_reconstruction`` on a line: curves of truth and models, and of the errors."""
    rows, x = len(truth), places[0] if places else np.linspace(0, 1, truth[0].size)
    figure, axes = make_axes(rows, 2, 2.0 * rows + 0.6, figure, sharex=True)
    for row, name in enumerate(channels):
        axes[row, 0].plot(x, truth[row].ravel(), color="black", label=titles[0])
        for (model, mean), colour in zip(models.items(), COLOURS, strict=False):
            label = f"{model} {titles[1]}".strip()
            axes[row, 0].plot(x, mean[row].ravel(), "--", color=colour, label=label)
            axes[row, 1].plot(x, (mean[row] - truth[row]).ravel(), color=colour)
        axes[row, 0].set_ylabel(name)
        axes[row, 1].set_ylabel("error")
    axes[0, 0].legend()
    for ax in axes[-1]:
        ax.set_xlabel(axis_name)
    return figure


def _largest(field: np.ndarray) -> float:
    """Largest magnitude of what is drawn; 0 of nothing."""
    return float(np.abs(np.nan_to_num(field)).max())


def _draw_channel(
    figure: FigureBase,
    axes: np.ndarray,
    truth: np.ndarray,
    means: Sequence[np.ndarray],
    signed: bool,
    places: Sequence[np.ndarray],
) -> None:
    """A row of ``plot_reconstruction``: the truth, then each mean and its error."""
    means = [np.where(np.isnan(truth), np.nan, mean) for mean in means]
    errors = [mean - truth for mean in means]
    limit = max(_largest(field) for field in (truth, *means))
    error_limit = max(_largest(field) for field in errors)
    image = draw_image(axes[0], truth, limit, signed, places=places)
    norm = np.linalg.norm(np.nan_to_num(truth))
    for i, (mean, error) in enumerate(zip(means, errors, strict=True)):
        draw_image(axes[1 + 2 * i], mean, limit, signed, places=places)
        error_image = draw_image(axes[2 + 2 * i], error, error_limit, places=places)
        if norm > 0:
            box = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1.5}
            relative = f"{100 * np.linalg.norm(np.nan_to_num(error)) / norm:.2g} %"
            corner = {"transform": axes[2 + 2 * i].transAxes} if places else {}
            axes[2 + 2 * i].text(0.02, 0.02, relative, fontsize=9, bbox=box, **corner)
    add_colour_bar(figure, image, axes[:-1], shrink=0.9, location="left", pad=0.01)
    add_colour_bar(figure, error_image, axes[-1], shrink=0.9)

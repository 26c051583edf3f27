"""What each latent does to the decoded fields (section 5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure

from dvae.errors import DataError
from dvae.plotting._canvas import add_colour_bar, draw_image, label_outer, make_axes
from dvae.plotting._checks import Lists, as_array, as_places, require_length
from dvae.plotting.style import SEQUENTIAL, WIDTH

__all__ = ["plot_traversals"]


def plot_traversals(
    centre: Num[Any, "channel x1 x2"] | Lists,
    fields: Num[Any, "latent step channel x1 x2"] | Lists,
    values: Num[Any, " step"] | Lists,
    latents: Sequence[str] | None = None,
    channels: Sequence[str] | None = None,
    axes_names: Sequence[str] = ("$x_1$", "$x_2$"),
    places: Sequence[Num[Any, " _"] | Lists] = (),
) -> Figure:
    """Decoded fields while one latent moves and the others stay at 0, a latent and channel a row.

    On a plane the first column shows the decoded mean at z = 0 and the others the change from it,
    on one scale for each channel; on a line all are curves in one panel. A decoded mean far from 0
    (temperatures in kelvin) has a scale from its least to its largest value. Values that are NaN
    stay blank.

    Parameters
    ----------
    centre : (channel, x1, x2), decoded at z = 0, in the units of the fields.
    fields : (latent, step, channel, x1, x2), decoded where one latent has one of ``values``.
    values : (step,), of the latent that moves.
    latents : names of the latents; by default those of all, from the first.
    channels : names of the channels.
    axes_names : names of the axes of the grid.
    places : where the nodes lie along each of them, rising or falling; from 0 to 1 if not given.

    Raises
    ------
    DataError
        If shapes do not agree.
    """
    sizes: dict[str, int] = {}
    centre = as_array(centre, "centre", "channel x1 x2", sizes, finite=False)
    fields = as_array(fields, "fields", "latent step channel x1 x2", sizes, finite=False)
    values = as_array(values, "values", "step", sizes)
    count, n_channels = sizes["latent"], sizes["channel"]
    latents = latents or [f"$z_{{{i + 1}}}$" for i in range(count)]
    channels = channels or [f"channel {i + 1}" for i in range(n_channels)]
    require_length(latents, "latents", count)
    require_length(channels, "channels", n_channels)
    if not np.isfinite(np.where(np.isnan(centre), 0.0, fields)).all():
        raise DataError("fields hold values that are not finite where the centre has numbers")
    places = as_places(places, centre.shape[1:])
    if 1 in centre.shape[1:]:
        name = axes_names[0 if centre.shape[2] == 1 else -1]
        return _curves(centre, fields, values, latents, channels, name, places)
    return _images(centre, fields, values, latents, channels, axes_names, places)


def _images(
    centre: np.ndarray,
    fields: np.ndarray,
    values: np.ndarray,
    latents: Sequence[str],
    channels: Sequence[str],
    axes_names: Sequence[str],
    places: Sequence[np.ndarray],
) -> Figure:
    rows, columns = len(latents) * len(channels), 1 + len(values)
    height = min(1.6, (WIDTH - 1.0) / columns) * rows + 0.6
    figure, axes = make_axes(rows, columns, height, sharex=True, sharey=True)
    changes = fields - centre
    for row in range(rows):
        latent, channel = divmod(row, len(channels))
        limits = [
            np.nanmax(np.abs(a), initial=0.0) for a in (centre[channel], changes[:, :, channel])
        ]
        image = _draw_centre(axes[row, 0], centre[channel], limits[0], places)
        add_colour_bar(figure, image, axes[row, 0], shrink=0.9, location="left", pad=0.01)
        for column, value in enumerate(values):
            ax = axes[row, 1 + column]
            image = draw_image(ax, changes[latent, column, channel], limits[1], places=places)
            ax.set_title(f"{latents[latent]} = {value:g}", fontsize=9)
        add_colour_bar(figure, image, axes[row, -1], shrink=0.9)
        axes[row, 0].set_title(f"{channels[channel]}, z = 0", fontsize=9)
    label_outer(axes, *axes_names)
    figure.suptitle("decoded mean at z = 0, and its change with one latent", fontsize=10)
    return figure


def _draw_centre(
    axes: Axes, field: np.ndarray, largest: float, places: Sequence[np.ndarray]
) -> ScalarMappable:
    """The decoded mean: on a scale about 0, unless its values lie far from 0 and close together."""
    values = field[np.isfinite(field)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 0.0)
    if 0 < high - low < min(abs(low), abs(high)):
        return draw_image(axes, field, high, signed=False, low=low, places=places)
    return draw_image(axes, field, largest, places=places)


def _curves(
    centre: np.ndarray,
    fields: np.ndarray,
    values: np.ndarray,
    latents: Sequence[str],
    channels: Sequence[str],
    axis_name: str,
    places: Sequence[np.ndarray],
) -> Figure:
    rows, columns = len(channels), len(latents)
    figure, axes = make_axes(rows, columns, 2.2 * rows + 0.5, sharex=True, sharey="row")
    # without the ends of the colour map, which are close to black and to white
    colours = colormaps[SEQUENTIAL](np.linspace(0, 1, len(values) + 2)[1:-1])
    x = places[0] if places else np.linspace(0, 1, centre[0].size)
    for channel, latent in np.ndindex(rows, columns):
        ax = axes[channel, latent]
        for value, curve, colour in zip(values, fields[latent, :, channel], colours, strict=True):
            ax.plot(x, curve.ravel(), color=colour, label=f"{value:g}")
        ax.plot(x, centre[channel].ravel(), color="black", lw=1, ls="--", label="0")
        ax.set_title(latents[latent], fontsize=10)
    label_outer(axes, axis_name, "")
    for row, name in enumerate(channels):
        axes[row, 0].set_ylabel(name)
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=len(names), title="latent")
    return figure

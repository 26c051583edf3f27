"""Small inputs, and what can be read off a figure that was drawn from them."""

from types import SimpleNamespace

import numpy as np
import xarray as xr

N = 9
RNG = np.random.default_rng(0)
FIELDS = RNG.normal(size=(2, 3, N, N))
PERMEABILITY = np.exp(RNG.normal(size=(2, N, N)))
SCORES = np.array([[0.2, 0.5, 0.8], [0.9, 0.9, 0.6]])
PLANE = np.add.outer(np.linspace(-1, 1, 5) ** 2, np.linspace(-1, 1, 7) ** 2)


def panels(figure):
    """The axes that hold data (not colour bars)."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def shown(ax, x1, x2):
    """The value of the image under the point (x1, x2)."""
    x, y = ax.transData.transform((x1, x2))
    return float(ax.images[0].get_cursor_data(SimpleNamespace(x=x, y=y)))


def segments(container):
    """The ends of the error bars of an errorbar container, in order."""
    return np.array(container.lines[2][0].get_segments())


def history(members=3, steps=50):
    step = 10 * np.arange(steps)
    distortion = 1e6 * np.exp(-np.arange(steps)) - 500.0 + np.zeros((members, 1))
    rate = 5.0 + np.arange(members)[:, None] + np.zeros(steps)
    variables = {"distortion": distortion, "rate": rate, "beta": np.full((members, steps), 81.0)}
    data = {name: (("member", "step"), v) for name, v in variables.items()}
    return xr.Dataset(data, coords={"step": step})

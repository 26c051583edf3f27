"""Figures of a run, as PNG."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from dvae import plotting
from dvae.models import VAE, UnitsVAE
from dvae.outputs import FIGURES
from dvae.physics import FieldDataset
from dvae.storage import atomic_path
from dvae.training import Fit
from dvae.workflow._outputs import Outputs

if TYPE_CHECKING:  # else a second passes before training shows that it has begun
    from matplotlib.figure import FigureBase

STEPS = (-2.0, -1.0, 1.0, 2.0)  # of a latent in a traversal, in spreads of a standard normal prior
MOST_LATENTS = 6  # in the figure of traversals
# axes of files whose second one is drawn to the right
UPRIGHT = (["y", "x"], ["lat", "lon"], ["latitude", "longitude"])

SHORT = {"degrees_east": "°E", "degrees_north": "°N", "degrees": "°"}  # units of the conventions


def figure_names(fields: FieldDataset, n_latents: int) -> list[str]:
    """Figures that belong to a run."""
    left_out = {"latents"} if fields.theta is None else set()
    left_out |= set() if n_latents == 2 else {"distributions"}
    return [name for name in FIGURES if name not in left_out]


def draw_figures(
    outputs: Outputs, result: Fit, fields: FieldDataset, latents: xr.Dataset, best: int
) -> None:
    """History of all models; reconstruction and latents of the one with the lowest loss."""
    chosen = latents.isel(member=best)
    test = chosen["role"].values == "test"
    drawings: dict[str, Callable[[], FigureBase]] = {
        "history": lambda: plotting.plot_history(result.history),
        "reconstruction": lambda: _reconstruction(result.models[best], fields, test),
        "traversals": lambda: _traversals(result.models[best], fields, chosen),
        "latents": lambda: _latents_against_factors(chosen, test, fields.factor_names),
        "distributions": lambda: _distributions(chosen, test),
    }
    if not outputs.make("figures", plotting.use_style):
        return
    for name in figure_names(fields, latents.sizes["latent"]):
        draw = functools.partial(_save, outputs, name, drawings[name])
        outputs.make(f"figure {name}.png", draw)


def _save(outputs: Outputs, name: str, draw: Callable[[], FigureBase]) -> None:
    from matplotlib.figure import Figure

    figure = draw()
    assert isinstance(figure, Figure)  # not a part of one: none was given
    with atomic_path(outputs.folder / f"{name}.png") as temporary:
        figure.savefig(temporary, format="png")


def _reconstruction(model: VAE, fields: FieldDataset, test: np.ndarray) -> FigureBase:
    """A test sample beside its reconstruction, both as departures from the mean training field.

    Fields may lie around a constant that would hide what varies.
    """
    assert isinstance(model, UnitsVAE)
    (truth,) = fields.samples[np.flatnonzero(test)[:1]]
    with torch.no_grad():
        mean = model.decoder(model.encoder(truth).base_dist.loc).base_dist.loc
    centre = model.units.inverse(torch.zeros_like(truth))[0]
    return plotting.plot_reconstruction(
        _as_drawn(truth[0] - centre, fields),
        _as_drawn(mean[0] - centre, fields),
        channels=_plain(fields.channel_names),
        titles=("truth - mean field", "reconstruction"),
        **_axes_drawn(fields),
    )


def _is_upright(fields: FieldDataset) -> bool:
    return [name.lower() for name in fields.axis_names] in UPRIGHT


def _as_drawn(values: torch.Tensor, fields: FieldDataset) -> torch.Tensor:
    """Fields as they are drawn, the first axis to the right: y and x, lat and lon change places."""
    return values.transpose(-1, -2) if _is_upright(fields) else values


def _axes_drawn(fields: FieldDataset) -> dict[str, Any]:
    """Names of the axes as they are drawn, and where their nodes lie if the file says it."""
    order = -1 if _is_upright(fields) else 1
    names, found = _plain(fields.axis_names), fields.coordinates
    if found:
        units = _plain([SHORT.get(coordinate.units, coordinate.units) for coordinate in found])
        names = [f"{n} [{u}]" if u else n for n, u in zip(names, units, strict=True)]
    places = [coordinate.values for coordinate in found]
    return {"axes_names": names[::order], "places": places[::order]}


def _plain(names: list[str]) -> list[str]:
    """Names of a file as they are drawn: a dollar sign of theirs begins no formula."""
    return [name if name in ("$x_1$", "$x_2$") else name.replace("$", r"\$") for name in names]


def _traversals(model: VAE, fields: FieldDataset, chosen: xr.Dataset) -> FigureBase:
    """Decoded means while one latent moves, for those that tell most."""
    moved = np.sort(chosen["information"].values.argsort()[::-1][:MOST_LATENTS])
    z = torch.zeros(len(moved), len(STEPS), model.n_latents)
    for row, latent in enumerate(moved.tolist()):
        z[row, :, latent] = torch.tensor(STEPS)
    with torch.no_grad():
        decoded = model.decoder(z.flatten(0, 1)).base_dist.loc.unflatten(0, z.shape[:2])
        centre = model.decoder(torch.zeros(1, model.n_latents)).base_dist.loc[0]
    return plotting.plot_traversals(
        _as_drawn(centre, fields),
        _as_drawn(decoded, fields),
        STEPS,
        latents=[f"$z_{{{i + 1}}}$" for i in moved.tolist()],
        channels=_plain(fields.channel_names),
        **_axes_drawn(fields),
    )


def _latents_against_factors(
    chosen: xr.Dataset, test: np.ndarray, factors: list[str]
) -> FigureBase:
    z, scale, theta = (chosen[n].values for n in ("latent_mean", "latent_scale", "theta"))
    held_out = z[test], theta[test], scale[test]
    return plotting.plot_latents(z[~test], theta[~test], test=held_out, factors=_plain(factors))


def _distributions(chosen: xr.Dataset, test: np.ndarray) -> FigureBase:
    z = chosen["latent_mean"].values
    groups = {"q(z), training": z[~test], "q(z), test": z[test]}
    return plotting.plot_distributions(groups, symbols=("$z_1$", "$z_2$"))

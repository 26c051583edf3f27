"""What a stored result is about, in a line: network, grid, recipes, data sets, trials."""

from __future__ import annotations

import json
from typing import Any

import xarray as xr

from dvae.conventions import PUBLISHED_STEPS

__all__ = ["scope_text"]

NETWORKS = {"pod": "PodVAE", "dense": "DenseVAE", "plain": "plain network"}


def scope_text(result: xr.Dataset) -> str:
    """Networks, grids, recipes with their steps, data sets and trials of a stored result.

    Parameters
    ----------
    result : xarray.Dataset
        From :meth:`dvae.results.store.Store.load`: the settings of every trial are in it.

    Returns
    -------
    str
        For example "PodVAE, 65 x 65: calibrated (4,000 steps), published (52,000 steps, all of the
        published); 1 data set; 1,350 trials".
    """
    settings = [json.loads(str(text)) for text in result["settings"].values]
    kinds: dict[str, dict[str, None]] = {}  # ordered sets
    for own in settings:
        recipes = kinds.setdefault(_network(own), {})
        if "recipe" in own:
            recipes[_recipe(own["recipe"])] = None
    parts = [
        f"{kind}: {', '.join(recipes)}" if recipes else kind for kind, recipes in kinds.items()
    ]
    draws = {
        (own["factors"], own["data_seed"], own.get("pair_angle", 0.0), own.get("wells", ""))
        for own in settings
        if "data_seed" in own and "factors" in own
    }
    seeds = len({draw[1:] for draw in draws})
    data = [f"{seeds} data set{'s' if seeds > 1 else ''} of each kind of factors"] if seeds else []
    return "; ".join([*filter(None, parts), *data, f"{len(settings):,} trials"])


def _network(settings: dict[str, Any]) -> str:
    """Network and grid of a trial; empty where none is trained."""
    if "model" not in settings:
        return ""
    name = NETWORKS.get(settings["model"], settings["model"])
    form = " on standardised fields" if settings.get("standardised") else ""
    nodes = settings.get("n_nodes")
    return f"{name}{form}" + (f", {nodes} x {nodes}" if nodes else "")


def _recipe(recipe: dict[str, Any]) -> str:
    """Name and steps of a recipe; of a published one also the share of the published steps."""
    name, steps = recipe["name"], recipe["steps"]
    whole = PUBLISHED_STEPS.get(name.split(",")[0])
    share = "" if whole is None else f", {100 * steps / whole:.3g} % of the published"
    return f"{name} ({steps:,} steps{share})"

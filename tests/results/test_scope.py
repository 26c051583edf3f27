"""The line that says what a stored result is about."""

from __future__ import annotations

import json

import xarray as xr

from dvae.results.scope import scope_text


def trial(**settings) -> str:
    return json.dumps(settings)


def recipe(name: str, steps: int) -> dict:
    return {"name": name, "steps": steps}


def test_networks_recipes_data_and_trials_are_named_once():
    common = {"factors": "four-modes", "n_nodes": 65}
    fast = recipe("published, 12 times faster", 4333)
    trials = [
        trial(**common, model="pod", data_seed=0, seed=0, recipe=recipe("calibrated", 4000)),
        trial(**common, model="pod", data_seed=0, seed=1, recipe=recipe("calibrated", 4000)),
        trial(**common, model="pod", data_seed=1, seed=0, recipe=fast),
        trial(
            factors="four-modes",
            n_nodes=33,
            model="dense",
            standardised=True,
            data_seed=1,
            recipe=recipe("one-cycle", 600),
        ),
    ]
    assert scope_text(xr.Dataset(coords={"settings": ("trial", trials)})) == (
        "PodVAE, 65 x 65: calibrated (4,000 steps), published, 12 times faster (4,333 steps, "
        "8.33 % of the published); DenseVAE on standardised fields, 33 x 33: one-cycle (600 "
        "steps); 2 data sets of each kind of factors; 4 trials"
    )


def test_a_result_without_networks_has_trials():
    trials = [trial(kind="manufactured", n_nodes=17)] * 2
    assert scope_text(xr.Dataset(coords={"settings": ("trial", trials)})) == "2 trials"

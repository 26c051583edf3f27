"""The map of collapse and the release from it: what is declared."""

from __future__ import annotations

from dvae.experiments.common import plain_recipe
from dvae.experiments.dense_collapse import DENSE_MAP, RELEASE
from dvae.experiments.dense_runs import COARSE_RECIPE


def test_the_map_holds_the_recipe_and_changes_rate_and_phase_alone():
    recipe = plain_recipe(COARSE_RECIPE)
    changed = {"learning_rate", "reconstruction_steps", "schedule", "ramp_steps"}
    cases = {}
    for group in DENSE_MAP.groups("paper"):
        own = group.shared
        cases[own["learning_rate"], own["phase"], own["arrival"]] = own["recipe"]
    annealed = cases.pop((2e-3, 0.0, "annealed"))
    assert annealed["steps"] == 3000 and "floor" in annealed
    assert len(cases) == 16
    assert cases[8e-3, 1.0, "ramp"] == recipe
    for (rate, phase, arrival), own in cases.items():
        assert own["learning_rate"] == rate
        assert own["reconstruction_steps"] == round(phase * recipe["reconstruction_steps"])
        assert own["schedule"] == arrival
        rest = {key: value for key, value in own.items() if key not in changed}
        assert rest == {key: value for key, value in recipe.items() if key not in changed}


def test_a_release_presses_first():
    for group in RELEASE.groups("laptop"):
        recipe = group.shared["recipe"]
        assert recipe["beta_initial"] > 1.5 > recipe["beta"] == group.shared["weight"]
        assert 0 < recipe["reconstruction_steps"] == group.shared["press_steps"] < recipe["steps"]
        assert recipe["schedule"] == "jump"

"""The map of collapse and the release from it: what is declared, and smoke runs."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.experiments import find_experiment
from dvae.experiments.common import plain_recipe
from dvae.experiments.dense_collapse import DENSE_MAP, RELEASE
from dvae.experiments.dense_runs import COARSE_RECIPE
from dvae.results.store import Store
from dvae.results.trials import group_hashes
from dvae.runner import run_experiment

STUDIES = (DENSE_MAP, RELEASE)


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_a_gpu_groups_the_same_trials(study):
    def hashes(profile):
        return {h for group in study.groups(profile) for h in group_hashes(study, group)}

    assert hashes("laptop") == hashes("paper")
    assert len(study.groups("paper")) < len(study.groups("laptop"))


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


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)
def test_smoke_runs(study, tmp_path):
    assert find_experiment(study.name) is study
    store = Store(tmp_path)
    status = run_experiment(study.name, "smoke", workers=1, store=store, progress=False)
    assert status["missing"] == 0
    assert status["failed"] == {}
    result = store.load(study.name, "smoke")
    assert result.sizes["trial"] == status["trials"]
    assert np.isfinite(result["rate"].values).all()

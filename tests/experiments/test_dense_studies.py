"""Labels, numbers of samples and phases on DenseVAE: what is declared, and smoke runs."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.experiments import find_experiment
from dvae.experiments.dense_collapse import DENSE_MAP, RELEASE
from dvae.experiments.dense_runs import DENSE_RUNS
from dvae.experiments.dense_studies import (
    DENSE_LABELS,
    DENSE_PHASES,
    DENSE_SIZES,
    VARIANCE_NETWORK,
)
from dvae.results.store import Store
from dvae.results.trials import group_hashes
from dvae.runner import run_experiment

STUDIES = (DENSE_LABELS, DENSE_SIZES, DENSE_PHASES, VARIANCE_NETWORK, DENSE_MAP, RELEASE)


@pytest.mark.parametrize("study", [*STUDIES, DENSE_RUNS], ids=lambda study: study.name)
def test_a_gpu_groups_the_same_trials(study):
    def hashes(profile):
        return {h for group in study.groups(profile) for h in group_hashes(study, group)}

    assert hashes("laptop") == hashes("paper")
    assert len(study.groups("paper")) < len(study.groups("laptop"))


def test_phases_differ_from_the_published_runs_in_the_phase_alone():
    whole = {
        group.shared["prior"]: group.shared
        for group in DENSE_RUNS.groups("paper")
        if group.shared["recipe_name"] == "published"
    }
    seen = set()
    for group in DENSE_PHASES.groups("paper"):
        own, other = dict(group.shared), dict(whole[group.shared["prior"]])
        factors = own.pop("factors")  # row E8 compares two sets; the published runs have one
        assert other.pop("factors") == "four-modes"
        arm, phase = own.pop("arm"), own.pop("phase")
        assert other.pop("recipe_name") == "published"
        recipe, published = dict(own.pop("recipe")), dict(other.pop("recipe"))
        steps = recipe.pop("reconstruction_steps")
        assert steps == round(phase * published.pop("reconstruction_steps"))
        assert (recipe.pop("schedule") == "jump") == (arm == "constant beta")
        assert published.pop("schedule") == "published"
        assert recipe == published
        assert own == other
        seen.add((factors, own["prior"], arm, phase))
    assert len(seen) == 9
    assert [case for case in seen if case[0] != "four-modes"] == [
        ("standard-normal", "standard", "phase", 0.25)
    ]


def test_a_variance_network_is_all_that_differs_from_a_constant_weight():
    (network,) = VARIANCE_NETWORK.groups("paper")
    (constant,) = (
        group
        for group in DENSE_PHASES.groups("paper")
        if (group.shared["arm"], group.shared["prior"]) == ("constant beta", "standard")
    )
    own, other = dict(network.shared), dict(constant.shared)
    assert own.pop("variance_network") is True
    recipe, longer = dict(own.pop("recipe")), dict(other.pop("recipe"))
    assert recipe.pop("steps") < longer.pop("steps")
    assert not recipe.pop("learning_rate_steps")
    assert longer.pop("learning_rate_steps")[0][0] > network.shared["recipe"]["steps"]
    assert (own, recipe) == (other, longer)
    assert network.trials == constant.trials


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
    assert (result["diverged"] == 0).all()

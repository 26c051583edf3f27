"""Experiments of section 4 at smoke size: what they declare and store, known relations."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.experiments import EXPERIMENTS
from dvae.experiments.beta_sweep import with_weight
from dvae.experiments.common import published_recipe
from dvae.experiments.dense_landscape import WAYS
from dvae.experiments.dense_runs import COARSE_RECIPE
from dvae.experiments.lines import TREATMENTS
from dvae.experiments.paths import BETAS, PHASES, SPEED
from dvae.loading import load_result
from dvae.results.store import Store
from dvae.runner import run_experiment
from dvae.training import RECIPES

NAMES = (
    "over_regularised",
    "lines",
    "directions",
    "rate_distortion",
    "seed_pairs",
    "planes",
    "paths",
)
DENSE_NAMES = ("dense_lines", "dense_directions", "dense_sweep", "dense_pairs")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("results"))


def run(name: str, store: Store):
    """Result of a smoke run, which a second run does not compute again."""
    for computed in (True, False):
        status = run_experiment(name, workers=1, store=store, progress=False)
        assert status["missing"] == 0, status["failed"]
        assert bool(status["computed"]) is computed
    return load_result(name, "smoke", store)


def test_declared_trials_are_those_of_the_paper():
    declared = {n: sum(len(g.trials) for g in EXPERIMENTS[n].groups("laptop")) for n in NAMES}
    assert declared["directions"] == 2 * 1000
    assert declared["paths"] == 7 * 50
    assert len(BETAS) >= 20
    assert declared["rate_distortion"] == 2 * 3 * len(BETAS)
    (main,) = EXPERIMENTS["lines"].groups("laptop")
    assert [t["line"] for t in main.trials] == 2 * list(range(10))
    dense = {n: EXPERIMENTS[n].groups("laptop") for n in DENSE_NAMES}
    counts = {n: sum(len(g.trials) for g in groups) for n, groups in dense.items()}
    assert counts == {
        "dense_lines": 4 * 10,
        "dense_directions": 250,
        "dense_sweep": 5 * 10,
        "dense_pairs": 3 * 15,
    }
    assert all(1.0 in [t["beta"] for t in g.trials] for g in dense["dense_sweep"])
    seeds = [{t[end] for t in g.trials for end in t} for g in dense["dense_pairs"]]
    assert set.union(*seeds) == set(range(3 * 6)) and sum(map(len, seeds)) == 3 * 6
    assert sorted(t["direction"] for g in dense["dense_directions"] for t in g.trials) == list(
        range(250)
    )
    for name in NAMES:
        models = {g.shared["model"] for g in EXPERIMENTS[name].groups("paper")}
        assert models == {"dense"}


def test_published_recipe_is_the_authors_at_paper_and_keeps_its_walk_when_it_is_faster():
    base = RECIPES["published"]
    assert published_recipe("paper", SPEED) == base
    fast = published_recipe("laptop", SPEED)
    # Adam moves the log-variance by one learning rate a step: the way must be as long
    assert fast.steps * fast.learning_rate == pytest.approx(
        base.steps * base.learning_rate, rel=1e-3
    )
    assert fast.nu == pytest.approx(SPEED * base.nu)
    assert fast.name != base.name
    phases = [published_recipe("paper", SPEED, phase).reconstruction_steps for phase in PHASES]
    assert phases == [32000, 16000, 8000, 0]


def test_over_regularised(store):
    data = run("over_regularised", store)
    assert set(data["kind"].values) == {"mini-batch", "full batch", "desirable"}
    assert np.isfinite(data["released_rate"]).all()
    first = data.isel(trial=0)
    assert np.isfinite(first["sample"]).all()
    error = np.linalg.norm(first["decoder_mean"] - first["data_mean"])
    expected = error / np.linalg.norm(first["data_mean"])
    assert float(first["mean_error"]) == pytest.approx(expected, rel=1e-3)


def test_lines_and_directions(store):
    lines = run("lines", store)
    main = lines.isel(trial=np.flatnonzero(lines["case"].values == "main"))
    alpha = main["alpha"].values[0]
    end = main["loss_per_node"].values[:, np.argmin(np.abs(alpha - 1))]
    stored, calibrated = (end[main["variance"].values == v] for v in ("stored", "calibrated"))
    assert np.ptp(stored) == pytest.approx(0, abs=1e-4)  # all lines end at the same solution
    assert (calibrated <= stored + 1e-6).all()
    directions = run("directions", store)
    start = directions["loss_per_node"].values[:, 0]
    assert np.ptp(start) == pytest.approx(0, abs=1e-5)
    assert start[0] == pytest.approx(stored[0], abs=1e-4)  # the same solution in both


def test_lines_and_directions_of_the_papers_network(store):
    """All from and to one solution; batch normalisation changes the loss, also that of the ends."""
    lines = run("dense_lines", store)
    end = np.argmin(np.abs(lines["alpha"].values[0] - 1))
    loss = lines["loss_per_node"].groupby(["statistics", "variance"])
    at_the_end = {}
    for name, group in loss:
        values = group.values[:, end]
        assert np.ptp(values) == pytest.approx(0, abs=1e-4), name
        at_the_end[name] = values[0]
    for statistics in ("stored", "recomputed"):
        stored, calibrated = (at_the_end[statistics, v] for v in ("stored", "calibrated"))
        assert calibrated <= stored + 1e-6
    assert at_the_end["stored", "stored"] != pytest.approx(at_the_end["recomputed", "stored"])
    directions = run("dense_directions", store)
    # two groups find the same solution and the same end of the axis
    assert np.ptp(directions["loss_per_node"].values[:, 0]) == pytest.approx(0, abs=1e-5)
    assert np.ptp(directions["alpha"].values, axis=0) == pytest.approx(0)
    assert len(np.unique(directions["loss_per_node"].values[:, -1])) == directions.sizes["trial"]


def test_sweep(store):
    for name, seeds in (("rate_distortion", 2 * 2), ("dense_sweep", 1)):
        sweep = run(name, store)
        last_of_a_seed = sweep["neighbour_minima"].values == -1
        assert (np.isnan(sweep["neighbour_barrier"].values) == last_of_a_seed).all()
        assert last_of_a_seed.sum() == seeds
    assert (sweep["neighbour_minima"] == -1).equals(sweep["neighbour_minima_best"] == -1)


def test_another_weight_starts_as_far_below_it():
    recipe = with_weight(COARSE_RECIPE, BETAS[0])
    assert recipe.beta == BETAS[0]
    ratio = COARSE_RECIPE.beta_initial / COARSE_RECIPE.beta
    assert recipe.beta_initial == pytest.approx(ratio * BETAS[0])
    assert with_weight(COARSE_RECIPE, COARSE_RECIPE.beta) == COARSE_RECIPE


def test_paths(store):
    paths = run("paths", store)
    for seed in np.unique(paths["seed"]):
        own = paths.isel(trial=np.flatnonzero(paths["seed"].values == seed))
        arms = dict(zip(own["arm"].values.tolist(), own["history_distortion"].values, strict=True))
        shared = int(own["reconstruction_steps"].values[own["arm"].values == "phase 0.25"][0])
        # same seed, same path until the shorter phase ends
        np.testing.assert_allclose(arms["phase 1"][:shared], arms["phase 0.25"][:shared], rtol=1e-5)


def test_pairs_and_planes(store):
    pairs = run("seed_pairs", store)
    assert pairs["treatment"].values.tolist() == list(TREATMENTS)
    # matching is exact: it changes what lies between the ends, not the ends (but latent noise that
    # is not permuted with the latents, hence a tolerance for the loss)
    for name, tolerance in (("rate", 1e-4), ("disentanglement", 1e-4), ("loss_per_node", 5e-3)):
        ends = pairs[name].values[:, :, [0, -1]]
        np.testing.assert_allclose(ends[:, 1:], ends[:, :1].repeat(2, 1), rtol=tolerance)
    dense = run("dense_pairs", store)
    assert dense["treatment"].values.tolist() == list(WAYS)
    for name, tolerance in (("rate", 1e-4), ("disentanglement", 1e-4), ("loss_per_node", 5e-3)):
        ends = dense[name].values[:, :3, [0, -1]]  # with the statistics of training
        np.testing.assert_allclose(ends[:, 1:], ends[:, :1].repeat(2, 1), rtol=tolerance)
    planes = run("planes", store)
    x, y = planes["solution_x"].values, planes["solution_y"].values
    np.testing.assert_allclose(np.stack([x[:, 0], y[:, 0], y[:, 1]]), 0.0, atol=1e-6)
    assert (x[:, 1] > 0).all() and (y[:, 2] > 0).all()

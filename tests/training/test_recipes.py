"""Recipes as published and as measured, their validation and their table."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from dvae.conventions import PUBLISHED_STEPS
from dvae.errors import DataError, UnknownNameError
from dvae.training import RECIPES, Recipe, make_recipe


def test_published_numbers():
    """512 samples in batches of 64: 8 steps per epoch."""
    paper, hierarchical = RECIPES["published"], RECIPES["published-hierarchical"]
    assert (paper.steps, paper.reconstruction_steps) == (52_000, 32_000)
    assert (paper.learning_rate, paper.learning_rate_steps) == (5e-4, ((47_200, 1e-4),))
    assert (hierarchical.steps, hierarchical.reconstruction_steps) == (112_000, 52_000)
    assert hierarchical.learning_rate == 3e-4
    assert hierarchical.learning_rate_steps == ((52_000, 5e-5), (100_000, 2.5e-5))
    for recipe in (paper, hierarchical):
        assert (recipe.batch_size, recipe.variance, recipe.schedule) == (64, "learned", "published")
        assert (recipe.beta_initial, recipe.nu, recipe.tau) == (1e-9, 0.005, 1.0)
    # the code averages the KL over the two latents without HP, and sums it with HP
    assert (paper.beta, hierarchical.beta) == (0.5, 1.0)


def test_learning_rates_and_floors_of_steps():
    recipe = Recipe(
        "r", 10, learning_rate=1.0, learning_rate_steps=((4, 0.5), (7, 0.1)), floor=(1.0, 0.01, 4)
    )
    expected = [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.1, 0.1, 0.1]
    np.testing.assert_allclose(recipe.learning_rates(0, 10), expected)
    np.testing.assert_allclose(recipe.learning_rates(3, 6), expected[3:6])
    floors = [1, 10**-0.5, 0.1, 10**-1.5, 0, 0]
    np.testing.assert_allclose(recipe.floors(0, 6), floors)
    np.testing.assert_allclose(recipe.floors(2, 5), floors[2:5])
    assert (RECIPES["published"].floors(0, 3) == 0).all()


@pytest.mark.parametrize(("steps", "warm_up"), [(40, 0.3), (1200, 0.25)])
def test_one_cycle_is_torchs(steps, warm_up):
    recipe = Recipe(
        "r", steps, learning_rate=0.1, learning_rate_schedule="one-cycle", warm_up=warm_up
    )
    adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    cycle = torch.optim.lr_scheduler.OneCycleLR(adam, 0.1, total_steps=steps, pct_start=warm_up)
    expected = []
    for _ in range(steps):
        expected.append(adam.param_groups[0]["lr"])
        adam.step()
        if len(expected) < steps:
            cycle.step()
    got = recipe.learning_rate * recipe.learning_rates(0, steps)
    np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_array_equal(got[7:20], 0.1 * recipe.learning_rates(7, 20))


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate_schedule": "one-cycle", "warm_up": 1.0}, "between 0 and 1"),
        (
            {"learning_rate_schedule": "one-cycle", "learning_rate_steps": ((2, 0.1),)},
            "no learning_rate_steps",
        ),
        ({"schedule": "ramp"}, "needs ramp_steps"),
        ({"ramp_steps": 5}, "needs ramp_steps"),
        ({"learning_rate_schedule": "cosine"}, "one of steps, one-cycle"),
    ],
)
@pytest.mark.wrong_types
def test_settings_that_contradict_each_other_are_refused(changes, message):
    with pytest.raises(DataError, match=message):
        Recipe("r", 10, **changes)


@pytest.mark.parametrize("name", RECIPES)
def test_a_shortened_recipe_keeps_its_proportions(name):
    whole = RECIPES[name]
    short = whole.shortened(0.01)
    assert short.steps == round(whole.steps / 100)
    assert short.reconstruction_steps == round(whole.reconstruction_steps / 100)
    assert short.nu * short.steps == pytest.approx(whole.nu * whole.steps)
    for (step, rate), (long_step, long_rate) in zip(
        short.learning_rate_steps, whole.learning_rate_steps, strict=True
    ):
        assert (step, rate) == (round(long_step / 100), long_rate)
    if whole.floor is not None:
        assert short.floor == (*whole.floor[:2], round(whole.floor[2] / 100))
    assert short.ramp_steps == round(whole.ramp_steps / 100)
    same = asdict(replace(short, **{k: asdict(whole)[k] for k in CHANGED}))
    assert same == asdict(whole)
    tiny = whole.shortened(1e-9)
    assert tiny.steps == 1 and (tiny.reconstruction_steps > 0) == (whole.reconstruction_steps > 0)


CHANGED = ("steps", "learning_rate_steps", "reconstruction_steps", "floor", "nu", "ramp_steps")


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"labelled_batch": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"beta": -1.0},
        {"label_variance": 0.0},
        {"variance": "learned", "floor": (1.0, 0.1, 5)},
        {"variance": "fixed"},
        {"schedule": "linear"},
        {"semi_supervision": "eq29"},
        {"reconstruction_steps": -1},
        {"floor": (1.0, 0.0, 5)},
        {"floor": (1.0, 0.1, 0)},
        {"beta_initial": 0.0, "schedule": "published"},
        {"learning_rate_steps": ((5, 0.1), (2, 0.05))},
        {"learning_rate_steps": ((5, -0.1),)},
        {"learning_rate_steps": ((5, float("inf")),)},
        {"label_weight": -1.0},
        {"label_weight": float("nan")},
        {"nu": float("nan")},
        {"tau": float("inf")},
        {"beta": float("inf")},
        {"floor": (1.0, float("nan"), 5)},
        {"ramp_steps": -5},
        {"steps": 10.5},
        {"batch_size": 4.0},
    ],
)
@pytest.mark.wrong_types
def test_impossible_settings_are_refused(changes):
    with pytest.raises(DataError, match="'calibrated'"):
        make_recipe("calibrated", **changes)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("inf")])
def test_impossible_shortenings_are_refused(factor):
    with pytest.raises(DataError):
        RECIPES["published"].shortened(factor)


def test_names_and_changes():
    assert make_recipe("published") is RECIPES["published"]
    changed = make_recipe("published", steps=10)
    assert (changed.steps, changed.learning_rate) == (10, 5e-4)
    assert make_recipe(changed) is changed
    with pytest.raises(UnknownNameError, match="calibrated"):
        make_recipe("papre")


def test_table_shows_beta_in_both_conventions():
    table = RECIPES["published"].table(total_nodes=4225)["published"]
    assert table["beta, per node"] == "1e-09 then 0.5 (published)"
    assert table["beta, per sample (eq. 5)"] == "4.225e-06 then 2112.5"
    assert table["learning rate (Adam)"] == "0.0005, 0.0001 from step 47,200"
    assert table["steps"] == "52,000"
    assert "4,000 steps" in RECIPES["annealed"].table()["annealed"]["variance floor"]
    names = [set(recipe.table().index) for recipe in RECIPES.values()]
    assert all(index == names[0] for index in names)


def test_a_faster_recipe_keeps_its_walk():
    base = RECIPES["published"]
    fast = base.faster(4)
    assert (fast.steps, fast.learning_rate) == (base.steps / 4, 4 * base.learning_rate)
    assert fast.reconstruction_steps == base.reconstruction_steps / 4
    walks = [
        one.learning_rate * one.learning_rates(0, one.steps).sum() for one in (base, fast)
    ]  # the farthest that Adam can move a parameter
    assert walks[0] == pytest.approx(walks[1], rel=1e-9)
    with pytest.raises(DataError, match="speed"):
        base.faster(0)


def test_published_steps_of_the_conventions_are_those_of_the_recipes():
    steps = {name: recipe.steps for name, recipe in RECIPES.items() if "published" in name}
    assert steps == PUBLISHED_STEPS


def test_a_derived_schedule_falls_through_the_levels_and_keeps_the_end():
    annealed = make_recipe("annealed")
    derived = annealed.through((1.75, 1.25, 0.01), 1000)
    assert derived.floor == (1.75, 0.01, 1000)
    assert derived.steps == 3000  # 2000 steps with free noise, as before
    assert derived.learning_rate_steps == ((1500, 5e-4), (2500, 1e-4))
    floors = derived.floors(0, derived.steps)
    assert floors[0] == 1.75
    assert floors[999] == pytest.approx(0.01, rel=0.01)
    assert not floors[1000:].any()
    for levels in ((1.0,), (1.0, 1.0), (0.5, 1.0), (1.0, 0.0)):
        with pytest.raises(DataError, match="falls"):
            annealed.through(levels, 1000)

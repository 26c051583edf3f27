"""Choosing among runs without factors, on runs of which the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.analysis import latent_agreement, rotation_matrix, typical_run
from dvae.errors import DataError
from dvae.results.choices import chosen_runs, drawn_groups, groups_in_turn


def turned(angles: list[float]) -> np.ndarray:
    z = np.random.default_rng(0).standard_normal((500, 2))
    return latent_agreement(np.stack([z @ rotation_matrix(angle).T for angle in angles]))


def test_groups_hold_different_runs():
    np.testing.assert_array_equal(groups_in_turn(7, 3), [[0, 1, 2], [3, 4, 5]])
    drawn = drawn_groups(6, 4, draws=3000)
    assert drawn.shape == (3000, 4)
    assert all(len(set(group)) == 4 for group in drawn.tolist())
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / 3000, 4 / 6, atol=0.04)
    for make in (groups_in_turn, drawn_groups):
        with pytest.raises(DataError, match="cannot be made of 3 runs"):
            make(3, 4)


def test_the_run_in_the_middle_and_the_one_with_the_lowest_loss_are_chosen():
    agreement = turned([0, 3, 40, 1, 20, 45, 2, 30])
    loss = np.array([3.0, 2.0, 1.0, 4.0, np.nan, -np.inf, 5.0, 6.0])
    groups = groups_in_turn(8, 4)
    found = chosen_runs(agreement, loss, groups)
    assert found["loss"].tolist() == [2, 6]
    assert found["agreement"][0] == 3  # 1, 2 and 39 degrees from the others
    for group, run in zip(groups, found["agreement"], strict=True):
        assert run == group[typical_run(agreement[np.ix_(group, group)])]


def test_runs_that_diverged_are_never_chosen():
    agreement = turned([0, 3, 40, 1])
    agreement[1], agreement[:, 1] = np.nan, np.nan
    loss = np.array([2.0, np.nan, 3.0, 4.0])
    found = chosen_runs(agreement, loss, drawn_groups(4, 4, draws=20))
    assert set(found["loss"]) == {0}
    assert 1 not in set(found["agreement"])
    # nor by a loss that is finite all the same
    loss[1] = 0.0
    assert set(chosen_runs(agreement, loss, drawn_groups(4, 4, draws=20))["loss"]) == {0}
    with pytest.raises(DataError, match="fewer than two"):
        chosen_runs(agreement, loss, np.array([[0, 1]]))


def test_a_choice_among_equals_is_worth_nothing_and_a_vote_is_worth_much():
    # angles anywhere: no run is more typical than another, and the loss is a random number
    rng, good, kept = np.random.default_rng(1), [], []
    for _ in range(30):
        angles = rng.uniform(0, 90, 30)
        near = np.minimum(angles, 90 - angles) < 15
        groups = groups_in_turn(30, 10)
        found = chosen_runs(turned(list(angles)), rng.standard_normal(30), groups)
        good.append(near.mean())
        kept.append([near[found["loss"]].mean(), near[found["agreement"]].mean()])
    # a third is near; 90 choices of each kind have a standard error of 5 points
    assert np.mean(good) == pytest.approx(1 / 3, abs=0.06)
    np.testing.assert_allclose(np.mean(kept, axis=0), 1 / 3, atol=0.15)
    # two thirds at the axes, the others anywhere: the vote of ten is right far more often
    angles = np.where(np.arange(60) % 3 > 0, rng.normal(0, 3, 60), rng.uniform(15, 75, 60))
    groups = drawn_groups(60, 10, draws=1000)
    found = chosen_runs(turned(list(angles)), rng.standard_normal(60), groups)
    assert (np.abs(angles[found["agreement"]]) < 10).mean() > 2 / 3 + 0.2

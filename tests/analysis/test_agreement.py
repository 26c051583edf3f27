"""Agreement of runs: closed forms for rotations, and what it does not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.analysis import (
    agreement_of_runs,
    agreement_of_turned,
    latent_agreement,
    rotation_matrix,
    typical_run,
)
from dvae.errors import DataError


def normal(samples: int = 4000, latents: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((samples, latents))


@pytest.mark.parametrize("degrees", [0.0, 10.0, 30.0, 45.0, 60.0, 90.0])
def test_turned_normal_latents_agree_by_the_closed_form(degrees):
    z = normal(40_000)
    found = latent_agreement(np.stack([z, z @ rotation_matrix(degrees).T]))[0, 1]
    correlation = np.cos(np.radians(min(degrees, 90 - degrees)))
    assert found == pytest.approx(6 / np.pi * np.arcsin(correlation / 2), abs=0.01)


def test_order_sign_scale_and_monotone_functions_do_not_count():
    z = normal(200, 3)
    other = np.stack([5 - 2 * z[:, 2], np.exp(z[:, 0]), z[:, 1] ** 3], axis=1)
    np.testing.assert_allclose(latent_agreement(np.stack([z, other])), 1.0)


def test_it_is_symmetric_and_the_same_for_two_runs_alone_and_among_others():
    runs = np.stack([normal(100, 3, seed) for seed in range(4)])
    every = latent_agreement(runs)
    np.testing.assert_array_equal(every, every.T)
    assert every[1, 3] == latent_agreement(runs[[1, 3]])[0, 1]
    assert every[np.triu_indices(4, 1)].max() < 0.3  # they have nothing to do with each other


def test_a_dead_latent_counts_nothing_and_a_diverged_run_is_left_out():
    z = normal(300)
    dead = z * np.array([1.0, 0.0])
    lost = np.where(np.arange(300)[:, None] == 7, np.nan, z)
    table = latent_agreement(np.stack([z, dead, lost, dead]))
    assert table[0, 1] == pytest.approx(0.5)
    assert table[1, 3] == pytest.approx(0.5)  # the same constant tells of no sample either
    assert np.isnan(table[2]).all() and np.isnan(table[:, 2]).all()
    median = agreement_of_runs(table)
    np.testing.assert_allclose(median[[0, 1, 3]], 0.5)
    assert np.isnan(median[2])


def test_the_typical_run_is_the_one_in_the_middle():
    z = normal(1000)
    angles = [0.0, 3.0, 5.0, 40.0, 7.5, 20.0]  # 3 is 4.5 from the others in the median, 5 is 5
    table = latent_agreement(np.stack([z @ rotation_matrix(a).T for a in angles]))
    assert typical_run(table) == 1
    order = [4, 2, 0, 5, 3, 1]
    assert typical_run(table[np.ix_(order, order)]) == order.index(1)


def test_chance_is_that_of_random_rotations():
    # two latents: the mean over angles from 0 to 45 degrees
    angle = np.linspace(0, np.pi / 4, 100_001)
    exact = np.mean(6 / np.pi * np.arcsin(np.cos(angle) / 2))
    assert agreement_of_turned(2) == pytest.approx(exact, abs=0.003)
    assert agreement_of_turned(1) == 1.0
    # three latents, by agreement itself
    z = normal(3000, 3)
    turns = np.linalg.qr(np.random.default_rng(1).standard_normal((60, 3, 3)))[0]
    table = latent_agreement(np.einsum("si,rij->rsj", z, turns))
    assert table[np.triu_indices(60, 1)].mean() == pytest.approx(agreement_of_turned(3), abs=0.01)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="shape"):
        latent_agreement(np.zeros((3, 1, 2)))
    with pytest.raises(DataError, match="two runs"):
        typical_run(latent_agreement(normal()[None]))
    with pytest.raises(DataError, match="two runs"):
        typical_run(latent_agreement(np.full((3, 10, 2), np.nan)))
    with pytest.raises(DataError, match="at least one"):
        agreement_of_turned(0)

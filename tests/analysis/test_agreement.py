"""Agreement of runs: closed forms for rotations, and what it does not depend on."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.analysis import (
    agreement_by_chance,
    agreement_of_runs,
    latent_agreement,
    latent_information,
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


def test_two_runs_agree_alone_as_among_others_and_in_any_order():
    runs = np.stack([normal(100, 3, seed) for seed in range(4)])
    every = latent_agreement(runs)
    np.testing.assert_allclose(latent_agreement(runs[::-1])[::-1, ::-1], every, rtol=1e-12)
    assert every[1, 3] == latent_agreement(runs[[1, 3]])[0, 1]
    assert every[np.triu_indices(4, 1)].max() < 0.3  # they have nothing to do with each other


def test_a_latent_out_of_use_is_left_out_and_a_run_that_is_not_finite_too():
    z = normal(300)
    dead = z * np.array([1.0, 0.0])
    lost = np.where(np.arange(300)[:, None] == 7, np.nan, z)
    table = latent_agreement(np.stack([z, dead, lost, dead, 0 * z]))
    assert table[0, 1] == pytest.approx(0.5)  # one of two latents
    assert table[1, 3] == pytest.approx(1.0)  # the only one that either uses
    assert np.isnan(table[2]).all() and np.isnan(table[:, 2]).all()
    np.testing.assert_array_equal(table[4, [0, 1, 3, 4]], 0)
    np.testing.assert_allclose(agreement_of_runs(table), [0.5, 0.5, np.nan, 0.5, 0])
    # a latent that hardly varies has ranks like any other: who knows better says so
    faint = np.stack([z, 0.3 + 1e-9 * z, 0.3 + 1e-9 * z])
    assert latent_agreement(faint)[1, 2] == pytest.approx(1.0)
    in_use = latent_information(faint, np.ones_like(faint)) > 0.1
    assert in_use.sum() == 2
    np.testing.assert_array_equal(latent_agreement(faint, in_use)[1], 0)
    # rounding of a constant is no latent
    noisy = 0.3 + 1e-16 * normal(300, 2, seed=1)
    assert latent_agreement(np.stack([z, noisy]))[1, 1] == 0


def test_information_of_a_latent_is_that_of_a_gaussian_channel():
    mean, scale = 2.0 * normal(50_000)[None], np.full((1, 50_000, 2), 0.5)
    np.testing.assert_allclose(latent_information(mean, scale), 0.5 * np.log(1 + 16), rtol=0.01)


def test_the_typical_run_is_the_one_in_the_middle():
    z = normal(1000)
    angles = [0.0, 3.0, 5.0, 40.0, 7.5, 20.0]  # 3 is 4.5 from the others in the median, 5 is 5
    table = latent_agreement(np.stack([z @ rotation_matrix(a).T for a in angles]))
    assert typical_run(table) == 1
    order = [4, 2, 0, 5, 3, 1]
    assert typical_run(table[np.ix_(order, order)]) == order.index(1)


def test_chance_is_that_of_random_rotations():
    # two runs of two latents: the mean over angles from 0 to 45 degrees
    angle = np.linspace(0, np.pi / 4, 100_001)
    pair = 6 / np.pi * np.arcsin(np.cos(angle) / 2)
    assert agreement_by_chance(2, 2, draws=3000).mean() == pytest.approx(pair.mean(), abs=0.003)
    # many: the median over angles
    many = agreement_by_chance(2, 40, draws=20)
    assert many.mean() == pytest.approx(np.median(pair), abs=0.01)
    np.testing.assert_array_equal(agreement_by_chance(1, 3), 1.0)
    # three latents, by agreement itself: as often above the 95 % quantile as it should be
    z, rng = normal(1000, 3), np.random.default_rng(1)
    limit = np.quantile(agreement_by_chance(3, 5, draws=400), 0.95)
    turns = np.linalg.qr(rng.standard_normal((200, 5, 3, 3)))[0]
    tables = (latent_agreement(np.einsum("si,rij->rsj", z, own)) for own in turns)
    above = sum(np.median(agreement_of_runs(table)) > limit for table in tables)
    assert 1 <= above <= 25  # 10 expected; more or fewer once in 2000


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(DataError, match="shape"):
        latent_agreement(np.zeros((3, 1, 2)))
    with pytest.raises(DataError, match="shape"):
        latent_agreement(np.zeros((3, 10, 0)))
    with pytest.raises(DataError, match="two runs"):
        typical_run(latent_agreement(normal()[None]))
    with pytest.raises(DataError, match="two runs"):
        typical_run(latent_agreement(np.full((3, 10, 2), np.nan)))
    for arguments in (0, 2), (2, 1), (2, 2, 0):
        with pytest.raises(DataError, match="or more"):
            agreement_by_chance(*arguments)

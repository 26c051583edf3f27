"""More factors: the derived recipe on a known spectrum, the plane of a pair, chance."""

import numpy as np
import pytest
import torch

from dvae.analysis import chance_of_disentangled, rotate, rotation_angle
from dvae.experiments import find_experiment
from dvae.experiments.annealing import spectrum
from dvae.experiments.many_factors import chance_scores, derived_recipe, plane_latents
from dvae.physics import DarcyDataset
from dvae.results.trials import group_hashes


@pytest.fixture(scope="module")
def fields():
    """Fields that vary in four directions."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(400, 4, generator=generator, dtype=torch.float64)
    scores = torch.linalg.qr(scores - scores.mean(0))[0] * 20  # uncorrelated, of variance 1
    waves = torch.linalg.qr(torch.randn(48, 4, generator=generator, dtype=torch.float64))[0].T
    amplitudes = torch.tensor([[2.0], [1.5], [1.0], [0.3]], dtype=torch.float64)
    return (scores @ (amplitudes * waves)).view(400, 3, 4, 4)


def test_the_weight_holds_the_latents_and_the_noise_ends_where_the_linear_vae_does(fields):
    levels = spectrum(fields)[1]  # they add up to the channels
    for n in (1, 2, 3):
        rest = levels[n:].sum()
        largest = 3 * levels[n - 1] / (rest + n * levels[n - 1])
        recipe, alive = derived_recipe(fields, n, "half", falling=100)
        assert alive == n
        assert recipe.beta == recipe.label_weight == pytest.approx(largest / 2)
        noise = rest / (3 - n * recipe.beta)
        start, end, falling = recipe.floor
        assert start == pytest.approx(levels[0] / recipe.beta)
        assert end == pytest.approx(min(levels[n] / recipe.beta, noise))
        assert (falling, recipe.steps) == (100, 150)
    assert derived_recipe(fields, 2, "elbo")[0].beta == 1 / 16
    assert derived_recipe(fields, 2, "paper")[0].beta == 1


def test_at_the_papers_weight_no_latent_of_many_equal_directions_is_alive():
    noise = torch.randn(300, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    # 48 directions of about 3 / 48 of the variance: all levels below 1
    assert derived_recipe(noise, 3, "paper")[1] == 0
    assert derived_recipe(noise, 3, "half")[1] == 3


def test_a_plane_is_found_whatever_the_angle_within_it():
    theta = np.linalg.qr(np.random.default_rng(0).standard_normal((300, 4)))[0]
    theta = np.linalg.qr(theta - theta.mean(0))[0]
    share, pair = plane_latents(rotate(theta, 30, (1, 2))[:, [3, 2, 0, 1]], theta)
    assert share == pytest.approx(1)
    assert pair == (1, 3)
    # half of factor 3 is in a latent that holds half of factor 1
    share, _ = plane_latents(rotate(theta, 45, (0, 2)), theta)
    assert share == pytest.approx(0.75)


def test_chance_is_that_of_a_uniform_rotation():
    theta = np.random.default_rng(0).standard_normal((300, 2))
    theta = np.linalg.qr(theta - theta.mean(0))[0]  # no sample correlation
    chance = chance_scores(theta, 300)
    # the mean of the larger of |cos| and |sin|, 0.09 apart in its standard deviation, of 300 draws
    assert chance["chance_mcc"] == pytest.approx(2 * np.sqrt(2) / np.pi, abs=0.025)
    assert chance["chance_disentangled"] == pytest.approx(chance_of_disentangled(theta), abs=0.08)
    assert chance["chance_mcc"] < chance["high_mcc"] < 1
    three = chance_scores(np.random.default_rng(0).standard_normal((300, 3)), 50)
    assert three["chance_mcc"] < chance["chance_mcc"]
    assert 0.5 < three["chance_plane"] < 1


def test_every_condition_is_declared_once():
    experiment = find_experiment("many_factors")
    groups = experiment.groups("laptop")
    hashes = [h for group in groups for h in group_hashes(experiment, group)]
    assert len(set(hashes)) == len(hashes)
    for group in groups:
        shared = group.shared
        assert shared["factor_options"]["n_factors"] == shared["n_latents"] <= shared["n_modes"]
    plain = [g for g in groups if g.shared["weight"] == "half" and not g.trials[0]["n_labels"]]
    assert {len(g.trials) for g in plain} == {50}
    assert {g.shared["n_latents"] for g in plain} == {2, 3, 5, 10}
    assert {g.shared["n_latents"] for g in groups if g.trials[0]["n_labels"]} == {3}


def test_runs_are_scored_beside_what_the_fields_predict():
    experiment = find_experiment("many_factors")
    group = experiment.groups("smoke")[2]
    data = experiment.compute(group, device="cpu", progress=False, checkpoint=None)
    assert group.shared["n_latents"] == 3
    assert data["n_labels"].values.tolist() == [4, 4]
    # the rates of the latents are those of the whole; latents beyond the third do not exist
    rate = data["latent_rate"].sum("latent", skipna=True)
    np.testing.assert_allclose(rate, data["rate"], rtol=1e-4)
    assert np.isnan(data["latent_rate"].values[:, 3:]).all()
    assert (data["predicted_alive"] == 3).all()
    for name in ("mcc", "disentanglement", "dci_disentanglement", "plane"):
        assert ((data[name] >= 0) & (data[name] <= 1)).all(), name
        assert np.ptp(data[f"predicted_{name}"].values) == 0
    assert (abs(data["plane_angle"]) <= 45).all()


def test_the_degenerate_pair_lies_at_45_degrees_by_the_mirror_of_the_wells():
    data = DarcyDataset.generate(n_samples=200, n_factors=3, n_nodes=17)
    basis, _ = spectrum(data.fields)
    coefficients = basis.project(data.fields)[:, :3].double().numpy()
    theta = data.theta.double().numpy()
    share, pair = plane_latents(coefficients, theta)
    assert share > 0.9
    angle = rotation_angle(coefficients[:, pair], theta[:, [1, 2]])
    # the sample correlation of 200 draws, 0.07, turns a little
    assert abs(angle) == pytest.approx(45, abs=8)

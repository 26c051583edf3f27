"""Experiments of chapters 5 and 6: they run at smoke, and their numbers are right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvae.analysis import (
    disentanglement_score,
    mean_correlation_coefficient,
    rotation_angle,
    variance_left,
)
from dvae.errors import ResultError
from dvae.experiments import EXPERIMENTS, find_experiment, latent_scores, priors
from dvae.experiments.common import load_data, make_model, recipe_from
from dvae.experiments.darcy import trapezoid
from dvae.experiments.data_draws import asymmetric_wells
from dvae.experiments.disentanglement import DISENTANGLEMENT
from dvae.loading import load_result
from dvae.models import count_parameters, make_prior
from dvae.physics import well_source
from dvae.results import conditions
from dvae.results.store import Store, write_result
from dvae.results.trials import PROFILES, group_hashes
from dvae.runner import compute_group, run_experiment
from dvae.training import fit

NAMES = (
    "dense_vae",
    "dense_runs",
    "baselines",
    "priors",
    "rotation_history",
    "shape_score",
    "latent_scores",
    "beta_sweep",
    "first_phase",
    "data_draws",
)


def first_group(name, **arguments):
    """An experiment's group at smoke, and its result."""
    one = find_experiment(name)
    group = one.groups("smoke")[arguments.pop("index", 0)]
    return group, one.compute(group, device="cpu", progress=False, checkpoint=None)


@pytest.mark.parametrize("name", NAMES)
def test_every_profile_declares_trials_with_hashes_of_their_own(name):
    one = EXPERIMENTS[name]
    for profile in PROFILES:
        hashes = [h for g in one.groups(profile) for h in group_hashes(one, g)]
        assert hashes
        assert len(set(hashes)) == len(hashes)


@pytest.fixture(scope="module")
def baselines(tmp_path_factory):
    """A store with the baselines at smoke, and the status of the run."""
    store = Store(tmp_path_factory.mktemp("results"))
    return store, run_experiment("baselines", "smoke", store=store, workers=1, progress=False)


def test_baselines_run_at_smoke_and_are_idempotent(baselines):
    store, status = baselines
    assert (status["stored"], status["missing"], status["failed"]) == (6, 0, {})
    assert run_experiment("baselines", "smoke", store=store, progress=False)["computed"] == 0
    data = load_result("baselines", "smoke", store)
    for i in range(data.sizes["trial"]):
        theta = data["theta"].values[i]
        assert data["ceiling"].values[i] == pytest.approx(disentanglement_score(theta, theta))
        z = data["pca_latent"].values[i]
        own = disentanglement_score(z, theta)
        assert data["pca_disentanglement"].values[i] == pytest.approx(own, abs=1e-5)
        # ICA turns the principal components and must keep both of them
        assert np.linalg.matrix_rank(data["ica_latent"].values[i], tol=1e-3) == 2


def test_dense_vae_stores_what_the_figures_need():
    group, data = first_group("dense_vae")
    assert group.shared["model"] == "dense"
    assert data["example"].shape == data["example_mean"].shape == (1, 3, 17, 17)
    assert data["latent_mean_train"].shape == data["latent_scale_train"].shape == (1, 48, 2)
    assert (data["latent_scale"] > 0).all()
    score = disentanglement_score(data["latent_mean"].values[0], data["theta"].values[0])
    assert float(data["disentanglement"][0]) == pytest.approx(score, abs=1e-5)
    steps = data["history_step"].values[0]
    assert np.nanmax(steps) == group.shared["recipe"]["steps"]


def test_dense_vae_is_the_papers_network_but_at_smoke():
    recipes = {}
    for group in find_experiment("dense_vae").groups("laptop"):
        model = make_model(group.shared, torch.randn(2, 3, 65, 65))
        # a calibrated variance map of 65 x 65 nodes is not trained
        assert count_parameters(model) == 779_582 - 65**2
        standardised = bool((model.encoder.standardisation.scale != 1).any())
        recipe = group.shared["recipe"]
        assert (recipe["batch_size"], recipe["variance"]) == (32, "calibrated")
        key = (group.shared["recipe_name"], recipe["steps"], standardised)
        recipes[key] = recipes.get(key, 0) + len(group.trials)
    assert recipes == {
        ("one-cycle", 1200, True): 10,
        ("calibrated, long", 8000, False): 4,
        ("one-cycle, raw fields", 1200, False): 2,
    }


def test_dense_runs_begin_with_what_is_asked_first():
    groups = find_experiment("dense_runs").groups("laptop")
    names = ("n_nodes", "factors", "prior", "recipe_name")
    cells = [tuple(g.shared[name] for name in names) for g in groups]
    published = [cell for cell in cells if cell[3] == "published"]
    assert {cells.count(cell) for cell in published} == {10}
    assert {cells.count(cell) for cell in cells} - {10} == {50}
    assert {cell[1:] for cell in cells if cell[0] == 65} == {
        ("four-modes", "standard", "one-cycle"),
        ("four-modes", "hierarchical-rectified", "one-cycle"),
    }
    assert set(cells[:100]) == {
        (33, "four-modes", "standard", "one-cycle"),
        (33, "four-modes", "hierarchical-rectified", "one-cycle"),
    }
    annealed = {cell[1:3] for cell in cells if cell[3] == "annealed-dense"}
    assert annealed == {(factors, "standard") for factors in conditions.FACTORS}
    steps = {(g.shared["n_nodes"], g.shared["recipe"]["steps"]) for g in groups}
    assert steps == {(33, 600), (65, 1200), (33, 6500), (33, 14000)}
    assert not any(
        "standardised" in g.shared for g in groups[100:] if g.shared["recipe_name"] == "published"
    )


def test_dense_runs_keep_every_samples_share_of_the_variance_left():
    _, data = first_group("dense_runs")
    left = variance_left(data["relative_error"].values, data["mean_field_error"].values)
    # one divides by the deviations from the mean field, the other by the same in another order
    np.testing.assert_allclose(data["variance_left_by_sample"].mean("sample"), left, rtol=1e-4)


def test_priors_measure_the_bound_and_the_rotation():
    _, data = first_group("priors", index=1)
    one = data.isel(trial=0)
    assert float(one["bound_gap"]) > -3 * float(one["bound_gap_error"])
    turn = one["turn"].values
    # eq. of appendix A: under N(0, I) the rate does not see the angle
    assert float(np.ptp(one["curve_rate_standard"].values)) < 1e-4
    assert float(one["prior_divergence"].values[turn == 0][0]) == pytest.approx(0, abs=1e-5)
    step = float(one["prior_axis"][1] - one["prior_axis"][0])
    assert 0.5 < float(one["prior_density"].sum()) * step**2 < 1.1
    at_rest = float(one["curve_disentanglement"].values[turn == 0][0])
    assert at_rest == pytest.approx(float(one["disentanglement"]), abs=1e-5)


@pytest.mark.wrong_types
def test_gap_is_the_divergence_to_the_exact_posterior_of_xi():
    """With p(z|xi) and q(xi|z) fixed by hand the gap of the bound has a closed form."""

    class Model:
        prior = make_prior("hierarchical", 2)

    prior = Model.prior
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.zero_()
        # p(z|xi) = N(0, 1) whatever xi, so the posterior of xi is N(0, I);
        # q(xi|z) = N(m, I) with m = 0.5 then misses it by |m|^2 / 2 = 0.25 nats
        prior.encoder.mean.bias.fill_(0.5)
    mean, scale = np.zeros((200, 2), np.float32), np.ones((200, 2), np.float32)
    gap, error = priors._bound_gap(Model, mean, scale)
    assert gap == pytest.approx(0.25, abs=max(4 * error, 0.03))


def test_rotation_history_ends_with_the_whole_run():
    group, data = first_group("rotation_history")
    whole = group.shared["recipe"]["steps"]
    assert data["step"].values[0, -1] == whole
    assert (np.diff(data["step"].values[0]) > 0).all()
    training, test = load_data(group.shared)
    seeds = [trial["seed"] for trial in group.trials]
    model = make_model(group.shared, training.fields)
    result = fit(model, training.fields, recipe_from(group.shared), seeds, progress=False)
    z = result.ensemble.encode(test.fields)[0].numpy()
    own = [disentanglement_score(one, test.theta.numpy()) for one in z]
    np.testing.assert_allclose(data["disentanglement"].values[:, -1], own, atol=1e-6)


def test_shape_score_reads_the_runs_it_names(tmp_path):
    store = Store(tmp_path)
    one = find_experiment("shape_score")
    group = one.groups("smoke")[0]
    with pytest.raises(ResultError):
        one.compute(group, store=store, device="cpu")  # nothing is stored yet
    compute_group("disentanglement", "smoke", 0, "cpu", str(tmp_path))
    store.merge(DISENTANGLEMENT, "smoke")
    data = one.compute(group, store=store, device="cpu")
    source = load_result("disentanglement", "smoke", store)
    assert data["seed"].values.tolist() == source["seed"].values.tolist()
    np.testing.assert_allclose(data["rate"], source["rate"])
    np.testing.assert_allclose(data["disentanglement"], source["disentanglement"], atol=1e-5)
    assert np.isfinite(data["shape"].values).all()


def test_known_codes_are_what_they_are_called():
    theta = np.random.default_rng(1).standard_normal((400, 2))
    codes = {name: latent_scores.known_code(theta, name) for name in latent_scores.CODES[:-2]}
    assert rotation_angle(codes["turned"], theta) == pytest.approx(45, abs=5)
    np.testing.assert_array_equal(codes["repeated"][:, 0], codes["repeated"][:, 1])
    assert np.ptp(codes["single"], axis=0)[1] == 0
    assert abs(np.corrcoef(codes["noise"].T, theta.T)[:2, 2:]).max() < 0.2
    # noise of the factors' variance leaves half of the variance, a correlation of 1 / sqrt(2)
    found = mean_correlation_coefficient(codes["noisy"], theta)
    assert found == pytest.approx(0.5**0.5, abs=0.05)
    assert mean_correlation_coefficient(codes["warped"], theta, rank=True) == pytest.approx(1)


@pytest.fixture(scope="module")
def scored(baselines):
    """Codes and runs of one condition at smoke; the first run is made to diverge."""
    store, _ = baselines
    codes, runs = find_experiment("latent_scores").groups("smoke")[:2]
    compute_group("disentanglement", "smoke", 0, "cpu", str(store.root))
    source = store.merge(DISENTANGLEMENT, "smoke")
    source["latent_mean"][0, 3] = np.nan
    write_result(source, store.path("disentanglement", "smoke"))
    compute = find_experiment("latent_scores").compute
    return compute(codes, store=store), compute(runs, store=store), source


def test_latent_scores_of_the_factors_are_ideal(scored):
    codes = scored[0].set_index(trial="code")
    ideal = codes.sel(trial="factors")
    assert float(ideal["s_d"]) == float(ideal["s_d_ceiling"])
    for name in ("mcc", "sap", "dci_informativeness"):
        assert float(ideal[name]) > 0.9
    assert float(codes["s_d"].sel(trial="single")) == pytest.approx(
        (0.5 + float(codes["s_d"].sel(trial="repeated"))) / 2
    )
    assert np.isinf(codes["s_kl"].sel(trial="single"))


def test_latent_scores_reads_the_runs_it_names(scored):
    _, runs, source = scored
    assert runs["seed"].values.tolist() == source["seed"].values.tolist()
    np.testing.assert_allclose(runs["s_d"][1:], source["disentanglement"][1:], atol=1e-5)
    # a run that diverged has no score at all
    assert all(np.isnan(runs[name][0]) for name in runs.data_vars)
    assert np.isfinite(runs["mig"][1:]).all()


def test_beta_sweep_has_the_elbo_and_the_weight_of_the_code():
    groups = find_experiment("beta_sweep").groups("laptop")
    for group in groups:
        s = group.shared
        assert s["recipe"]["beta"] * s["n_nodes"] ** 2 == pytest.approx(s["weight"])
    kinds = {(g.shared["model"], g.shared["weight"]) for g in groups}
    assert {("pod", 1.0), ("pod", 65.0**2), ("dense", 1.0), ("dense", 33.0**2)} <= kinds


def test_first_phase_contains_the_published_recipe_once():
    groups = find_experiment("first_phase").groups("laptop")
    kinds = [tuple(g.shared[n] for n in ("factors", "phase", "first_weight")) for g in groups]
    assert kinds.count(("standard-normal", 1.0, 1e-9)) == 1
    assert len(set(kinds)) == len(kinds)


def test_asymmetric_wells_balance_and_have_no_symmetry():
    source = asymmetric_wells(33)
    assert (trapezoid(33) * source).sum() == pytest.approx(0.0, abs=1e-12)
    injection = source.clip(0)
    np.testing.assert_array_equal(injection, well_source(33).clip(0))
    for image in (
        source[::-1, ::-1],
        source[::-1],
        source[:, ::-1],
        source.T,
        source[::-1, ::-1].T,
    ):
        assert min(abs(source - image).max(), abs(source + image).max()) > 1

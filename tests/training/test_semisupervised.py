"""The semi-supervised objective against closed forms (eqs 27 and 28)."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from dvae import DataError, DenseVAE, Labels, PodVAE, fit, make_recipe
from dvae.training.objective import labelled_terms


def toy_fields(n: int = 40, seed: int = 0) -> torch.Tensor:
    """Fields that are a linear image of three coefficients."""
    rng = np.random.default_rng(seed)
    modes = np.linalg.qr(rng.normal(size=(36, 3)))[0].T
    fields = rng.normal(size=(n, 3)) * [3.0, 2.0, 1.0] @ modes
    return torch.tensor(fields.reshape(n, 1, 6, 6), dtype=torch.float32)


def linear_vae(fields: torch.Tensor) -> PodVAE:
    return PodVAE.from_fields(fields, 3, hidden=(), n_latents=2)


def test_without_labels_it_is_the_unsupervised_run_bit_for_bit():
    fields = toy_fields()
    model = PodVAE.from_fields(fields, 3, hidden=(8,))
    recipe = make_recipe("calibrated").shortened(0.01)
    none = Labels(np.empty(0, int), np.empty((0, 2)))
    arguments = {"recipe": recipe, "seeds": (0, 1), "progress": False}
    plain = fit(model, fields, **arguments)
    empty = fit(model, fields, labels=[none, none], **arguments)
    one = Labels(np.array([0]), np.zeros((1, 2)))
    labelled = fit(model, fields, labels=one, **arguments)
    assert torch.equal(plain.ensemble.parameters, empty.ensemble.parameters)
    assert not torch.equal(plain.ensemble.parameters, labelled.ensemble.parameters)


def test_all_labelled_and_linear_reaches_least_squares():
    """Each field comes twice, with labels W y + e and W y - e: the maximum of eq. 28 is then the
    least-squares regression with standard deviation e in every sample."""
    half = toy_fields(32)
    fields = torch.cat([half, half])
    design = np.c_[np.ones(32), half.flatten(1).numpy()]
    rng = np.random.default_rng(1)
    truth = design @ rng.normal(size=(37, 2)) / 6
    noise = np.array([0.3, 0.1])
    theta = np.concatenate([truth + noise, truth - noise])
    regression = design @ np.linalg.lstsq(np.r_[design, design], theta, rcond=None)[0]
    recipe = make_recipe(
        "calibrated",
        steps=1000,
        learning_rate=0.02,
        learning_rate_steps=((600, 2e-3), (850, 2e-4)),
        reconstruction_steps=0,
        beta=1e-9,
        label_weight=1e4,
        labelled_batch=64,
    )
    labels = Labels(np.arange(64), theta)
    model = fit(linear_vae(fields), fields, recipe, labels=labels, progress=False).model
    with torch.no_grad():
        posterior = model.encoder(half).base_dist
    np.testing.assert_allclose(posterior.loc.numpy(), regression, atol=2e-3)
    np.testing.assert_allclose(posterior.scale.numpy(), np.tile(noise, (32, 1)), rtol=0.01)


@pytest.fixture
def encoded():
    """A model, six features, and the closed-form ingredients of the label terms of two of them."""
    fields = toy_fields()
    model = linear_vae(fields)
    features = model.features(fields)
    posterior = model.encoder.from_features(features[:2]).base_dist
    theta = torch.tensor([[0.5, -1.0], [2.0, 0.0]])
    return model, features, posterior.loc, posterior.scale, theta


def label_term(encoded, objective, theta, variance=0.25):
    model, features, _, _, _ = encoded
    recipe = make_recipe("calibrated", semi_supervision=objective, label_variance=variance)
    noise = torch.zeros(4, model.noise_size)
    terms, label = labelled_terms(recipe, model, features[2:6], noise, None, features[:2], theta)
    model.eval()
    plain = model.loss_terms(features[2:6], noise)
    torch.testing.assert_close(terms.rate, plain.rate)
    return label


def test_eq28_is_the_negative_log_density_of_the_label(encoded):
    *_, mean, scale, theta = encoded
    expected = (
        0.5 * ((theta - mean) / scale) ** 2 + scale.log() + 0.5 * math.log(2 * math.pi)
    ).sum(1)
    torch.testing.assert_close(label_term(encoded, "eq28", theta), expected)


def test_eq27_is_minus_the_divergence_from_the_label(encoded):
    *_, mean, scale, theta = encoded
    ratio = scale**2 / 0.25
    divergence = 0.5 * (ratio + (mean - theta) ** 2 / 0.25 - 1 - ratio.log()).sum(1)
    torch.testing.assert_close(label_term(encoded, "eq27", theta), -divergence)
    torch.testing.assert_close(label_term(encoded, "eq27-reversed", theta), divergence)


def test_eq27_falls_without_bound_as_the_encoder_leaves_the_label(encoded):
    terms = [label_term(encoded, "eq27", encoded[4] + far).sum() for far in (10.0, 100.0, 1000.0)]
    assert terms[0] > terms[1] > terms[2]
    assert terms[2] < -1e6


@pytest.mark.parametrize(
    ("index", "theta", "message"),
    [
        ([0, 1], [[0.0, 0.0]], "one row per labelled sample"),
        ([0], [[0.0, 0.0, 0.0]], "one factor per latent"),
        ([0, 1], [[0.0, 0.0], [0.0, math.nan]], "label 1 .sample 1. is not finite"),
        ([40], [[0.0, 0.0]], "0..39"),
        ([3, 3], [[0.0, 0.0], [1.0, 1.0]], "twice"),
    ],
)
@pytest.mark.wrong_types
def test_labels_that_do_not_fit_are_refused(index, theta, message):
    fields = toy_fields()
    labels = Labels(np.array(index), np.array(theta))
    with pytest.raises(DataError, match=message):
        fit(linear_vae(fields), fields, labels=labels, progress=False)


def test_members_without_labels_do_not_share_batch_normalisation():
    fields = torch.randn(8, 1, 17, 17)
    model = DenseVAE(17, 1, blocks=(1, 1, 1))
    none = Labels(np.empty(0, int), np.empty((0, 2)))
    one = Labels(np.array([0]), np.zeros((1, 2)))
    with pytest.raises(DataError, match="fit of their own"):
        fit(model, fields, seeds=(0, 1), labels=[none, one], progress=False)

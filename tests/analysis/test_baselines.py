"""PCA, ICA and label baselines on fields whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from tolerances import rounding

from dvae.analysis import baselines
from dvae.analysis.rotation import rotation_angle
from dvae.analysis.scores import mean_correlation_coefficient
from dvae.errors import DataError


def fields_of(theta: np.ndarray) -> np.ndarray:
    """Linear response of two channels, of very different size, to two factors."""
    modes = np.linalg.qr(np.random.default_rng(0).standard_normal((2 * 5 * 6, 2)))[0].T
    fields = (theta @ modes).reshape(-1, 2, 5, 6)
    return fields * np.array([1.0, 1e-3])[:, None, None] + 7.0


@pytest.fixture(scope="module")
def uniform():
    rng = np.random.default_rng(1)
    return rng.uniform(-1, 1, (800, 2)) * [3.0, 1.0], rng.uniform(-1, 1, (300, 2)) * [3.0, 1.0]


def test_pca_latents_span_the_factors_and_are_white_in_training(uniform):
    train, test = uniform
    z, z_test = baselines.pca_latents(fields_of(train), fields_of(test), 2)
    assert z.shape == (800, 2)
    assert z_test.shape == (300, 2)
    # sums over 800 samples of fields that lie 7 away from zero and vary by 1e-3
    assert_allclose(np.cov(z.T), np.eye(2), atol=rounding(800, 7e3))
    # the test latents are the training map applied to other fields
    design, design_test = (np.column_stack([np.ones(len(t)), t]) for t in (train, test))
    coefficients = np.linalg.lstsq(design, z, rcond=None)[0]
    assert_allclose(design_test @ coefficients, z_test, atol=1e-6)


def test_channels_are_brought_to_one_scale(uniform):
    fields = fields_of(uniform[0])
    other = fields * np.array([1.0, 1e5])[:, None, None]
    same = baselines.pca_latents(other, other, 2)[0]
    assert_allclose(np.abs(same), np.abs(baselines.pca_latents(fields, fields, 2)[0]), atol=1e-6)


def test_a_channel_that_does_not_vary_changes_nothing(uniform):
    """Its rounding errors are not brought to unit variance."""
    train, test = (fields_of(theta) for theta in uniform)
    ramp = np.linspace(0.1, 300.0, 30).reshape(1, 1, 5, 6) / 3
    with_ramp = [
        np.concatenate([y, np.broadcast_to(ramp, (len(y), 1, 5, 6))], 1) for y in (train, test)
    ]
    ours, plain = baselines.pca_latents(*with_ramp, 2), baselines.pca_latents(train, test, 2)
    for z, expected in zip(ours, plain, strict=True):
        assert_allclose(np.abs(z), np.abs(expected), atol=1e-6)


def test_ica_unmixes_factors_that_pca_leaves_mixed(uniform):
    train, test = (t / [3.0, 1.0] for t in uniform)  # equal variances: PCA has no preferred axes
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    pca = baselines.pca_latents(fields_of(train @ turn), fields_of(test @ turn), 2)[1]
    ica = baselines.ica_latents(fields_of(train @ turn), fields_of(test @ turn), 2)[1]
    assert mean_correlation_coefficient(ica, test) > 0.99
    assert mean_correlation_coefficient(ica, test) > mean_correlation_coefficient(pca, test)


def test_tensors_are_accepted(uniform):
    train, test = (fields_of(t) for t in uniform)
    found = baselines.pca_latents(torch.tensor(train), torch.tensor(test), 2)[1]
    assert_allclose(found, baselines.pca_latents(train, test, 2)[1])


@pytest.mark.parametrize("n", [0, 60])
def test_number_of_components_is_checked(uniform, n):
    fields = fields_of(uniform[0])
    with pytest.raises(DataError, match="n must be"):
        baselines.pca_latents(fields, fields, n)


@pytest.mark.wrong_types
def test_fields_must_have_one_shape(uniform):
    fields = fields_of(uniform[0])
    with pytest.raises(DataError, match="agree"):
        baselines.pca_latents(fields, fields[:, :1], 2)


@pytest.mark.parametrize("reflect", [1.0, -1.0])
def test_procrustes_undoes_a_rotation_with_three_labels(reflect):
    rng = np.random.default_rng(2)
    theta = rng.standard_normal((4000, 2))
    theta -= theta.mean(0)
    theta = theta @ np.linalg.inv(np.linalg.cholesky(np.cov(theta.T))).T  # exactly white
    angle = np.radians(33)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    z = 0.2 * theta * [1.0, reflect] @ turn.T + [4.0, -1.0]
    found = baselines.procrustes_latents(z[:3], theta[:3], z)
    assert_allclose(found, theta, atol=1e-9)


def test_procrustes_needs_fewer_labels_than_regression():
    """With noisy latents and 3 labels, one angle is fitted better than a whole matrix."""
    errors = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        theta = rng.standard_normal((500, 2))
        z = theta @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 0.2 * rng.standard_normal((500, 2))
        errors.append(
            [
                np.mean((method(z[:3], theta[:3], z) - theta) ** 2)
                for method in (baselines.procrustes_latents, baselines.linear_regression_latents)
            ]
        )
    assert np.median(errors, axis=0)[0] < np.median(errors, axis=0)[1]
    assert abs(rotation_angle(baselines.procrustes_latents(z[:30], theta[:30], z), theta)) < 5


def test_linear_regression_recovers_any_linear_map():
    rng = np.random.default_rng(3)
    z = rng.standard_normal((100, 2))
    theta = z @ np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]]) + 1.0
    assert_allclose(baselines.linear_regression_latents(z[:3], theta[:3], z), theta, atol=1e-9)


@pytest.mark.parametrize(
    ("z_labelled", "theta_labelled", "z"),
    [
        (np.ones((3, 2)), np.ones((4, 2)), np.eye(5)[:, :2]),
        (np.ones((3, 2)), np.ones((3, 2)), np.eye(5)[:, :3]),
        (np.ones((3, 2)), np.ones((3, 3)), np.eye(5)[:, :2]),
        (np.ones((3, 2)), np.eye(3)[:, :2], np.eye(5)[:, :2]),
        (np.eye(3)[:, :2], np.eye(3)[:, :2], np.ones((5, 2))),
        (np.eye(1, 2), np.eye(1, 2), np.eye(5)[:, :2]),
    ],
)
@pytest.mark.wrong_types
def test_bad_labels_are_refused(z_labelled, theta_labelled, z):
    with pytest.raises(DataError):
        baselines.procrustes_latents(z_labelled, theta_labelled, z)

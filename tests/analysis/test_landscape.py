"""Landscapes: closed forms, end points, invariances, minima of known curves, theory."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from toy_models import N, fields, pod_models

from dvae.analysis import landscape as module
from dvae.analysis.directions import random_direction
from dvae.analysis.landscape import Landscape, loss_per_node
from dvae.analysis.minima import strict_minima
from dvae.errors import DataError
from dvae.models import VAE, DenseVAE, PodVAE
from dvae.models.priors import LOG_2PI, diagonal_normal
from dvae.models.units import FieldUnits, UnitsVAE
from dvae.models.vae import Decoder, DecoderVariance, Encoder
from dvae.training import Ensemble, initialise

ALPHA = np.linspace(-0.5, 1.5, 9)


class FixedEncoder(Encoder):
    """q(z|y) that does not depend on y."""

    def __init__(self, mean, log_variance):
        super().__init__()
        self.register_buffer("moments", torch.stack([mean, log_variance]))

    def from_features(self, features):
        mean, log_variance = self.moments.expand(len(features), *self.moments.shape).unbind(1)
        return diagonal_normal(mean, log_variance)


class ConstantDecoder(Decoder):
    """p(y|z) = N(mu, sigma^2) for every z; mu and log sigma^2 are the parameters."""

    def __init__(self, shape):
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(shape))
        self.variance = DecoderVariance(shape, 1, "learned")

    def forward(self, z):
        mean = self.mean.expand(len(z), *self.mean.shape)
        return diagonal_normal(mean, self.variance.log_variance, 3)

    def squared_error(self, features, z):
        return (features - self.mean) ** 2

    def data_variance(self, features):
        return features.var(0, correction=0)


def constant_vae(shape, mean=(0.0, 0.0), log_variance=(0.0, 0.0)) -> VAE:
    encoder = FixedEncoder(torch.tensor(mean), torch.tensor(log_variance))
    return VAE(encoder, ConstantDecoder(shape), "standard", 2, shape)


def test_quadratic_toy_model_equals_its_closed_form():
    y = fields(12, 5, 1)
    shape = tuple(y.shape[1:])
    model = constant_vae(shape, mean=(0.7, -0.2), log_variance=(0.3, -0.4))
    landscape = Landscape(model, y, n_samples=3)
    start = landscape.states(model)[0]
    direction = torch.zeros_like(start)
    size = math.prod(shape)
    direction[:size] = torch.randn(size)  # move mu, leave the log-variance 0 alone
    data = landscape.line(start, start + direction, ALPHA)

    values, d = y.double().flatten(1).numpy(), direction[:size].double().numpy()
    quadratic = [0.5 * ((values - a * d) ** 2).sum(1).mean() for a in ALPHA]
    distortion = np.array(quadratic) + 0.5 * size * LOG_2PI
    rate = 0.5 * sum(math.exp(v) + m**2 - 1 - v for m, v in [(0.7, 0.3), (-0.2, -0.4)])
    np.testing.assert_allclose(data["distortion"][0].mean("draw"), distortion, rtol=1e-6)
    np.testing.assert_allclose(data["rate"], rate, rtol=1e-5)
    loss = loss_per_node(data, beta=0.5)[0].mean("draw")
    np.testing.assert_allclose(loss, distortion / 25 + 0.5 * rate, rtol=1e-6)
    best = strict_minima(loss.values)
    vertex = (values.mean(0) @ d) / (d @ d)
    assert (len(best.index) == 1) == bool(ALPHA[1] < vertex < ALPHA[-2])


def test_theorem_1_for_an_encoder_with_zero_rate():
    """Any decoder other than (data mean, data variance) has a higher loss, and it is stationary."""
    y = fields(30, 5, 1)
    shape = tuple(y.shape[1:])
    model = constant_vae(shape)  # q(z|y) = p(z): L_REG = 0
    model.decoder.mean.data = y.mean(0)
    model.decoder.variance.log_variance.data = y.var(0, correction=0).log()
    landscape = Landscape(model, y, n_samples=2)
    best = landscape.states(model)[0]
    data = landscape.evaluate(best[None])
    m = math.prod(shape)
    expected = 0.5 * (m * (LOG_2PI + 1) + float(y.double().var(0, correction=0).log().sum()))
    np.testing.assert_allclose(data["rate"], 0.0, atol=1e-7)
    np.testing.assert_allclose(data["distortion"], expected, rtol=1e-6)
    rays = landscape.rays(best, np.array([-1e-1, -1e-2, 0.0, 1e-2, 1e-1]), range(20))
    loss = loss_per_node(rays).mean("draw").values
    assert (loss[:, [0, 1, 3, 4]] > loss[:, [2]]).all()
    # the slope at the point vanishes: odd differences are of third order
    slope = np.abs(loss[:, 3] - loss[:, 1]) / (loss[:, 3] + loss[:, 1] - 2 * loss[:, 2])
    assert slope.max() < 0.05


@pytest.mark.parametrize("kind", ["learned", "calibrated"])
def test_ends_of_a_line_are_the_models_and_batches_do_not_matter(kind, monkeypatch):
    models, y = pod_models(3, variance=kind)
    theta = np.random.default_rng(0).normal(size=(N, 2))
    landscape = Landscape(models[0], y, theta, n_samples=4, seed=5)
    states = landscape.states(models)
    data = landscape.line(states[:2], states[2], np.array([0.0, 0.3, 1.0]))
    expected = Ensemble(models).evaluate(y, n_samples=4, seed=5)
    for name in ("rate", "distortion"):
        ends = data[name].mean("draw").values
        np.testing.assert_allclose(ends[:, 0], expected[name][:2], rtol=2e-6)
        np.testing.assert_allclose(ends[:, 2], expected[name][[2, 2]], rtol=2e-6)
    monkeypatch.setattr(module, "FLOATS_AT_ONCE", 1)
    again = landscape.line(states[:2], states[2], np.array([0.0, 0.3, 1.0]))
    for name in data.data_vars:
        np.testing.assert_allclose(again[name], data[name], rtol=2e-6)


def test_fields_with_a_large_mean_are_read_as_the_model_reads_them():
    y = 101325 + 0.01 * torch.randn(N, 1, 5, 5, dtype=torch.float64)
    units = FieldUnits.from_fields(y)
    scaled = units(y)
    models = [
        UnitsVAE(initialise(PodVAE.from_fields(scaled, 4, hidden=(5,)), seed), units).eval()
        for seed in (0, 1)
    ]
    landscape = Landscape(models[0], y, n_samples=4, seed=5)
    found = landscape.evaluate(landscape.states(models))
    expected = Ensemble(models).evaluate(y, n_samples=4, seed=5)
    for name in ("rate", "distortion"):
        np.testing.assert_allclose(found[name].mean("draw"), expected[name], rtol=1e-5)


def test_a_variance_that_depends_on_z_is_refused():
    model = DenseVAE(17, blocks=(1, 1, 1), variance_network=True).eval()
    with pytest.raises(DataError, match="network for the decoder's variance"):
        Landscape(model, torch.zeros(4, 3, 17, 17))


def test_model_of_a_state_is_the_model():
    models, y = pod_models(2)
    landscape = Landscape(models[0], y)
    back = landscape.model(landscape.states(models)[1])
    for name, value in models[1].state_dict().items():
        torch.testing.assert_close(back.state_dict()[name], value)
    with pytest.raises(DataError, match="another architecture"):
        landscape.states(PodVAE.from_fields(y, 6, hidden=(4,)))
    with pytest.raises(DataError, match="shape"):
        landscape.evaluate(landscape.states(models)[:, :-1])


def test_calibrated_variance_is_the_best_variance():
    models, y = pod_models(1)
    stored = Landscape(models[0], y, n_samples=5)
    calibrated = Landscape(models[0], y, n_samples=5, variance="calibrated")
    state = stored.states(models)
    distortion = calibrated.evaluate(state)["distortion"].mean().item()
    log_variances = torch.linspace(-8, 8, 4001)
    states = state.repeat(len(log_variances), 1)
    states[:, stored.n_parameters] = log_variances  # buffers follow the parameters
    scanned = stored.evaluate(states)["distortion"].mean("draw").values
    assert distortion <= scanned.min() + 1e-7 * abs(distortion)
    assert distortion == pytest.approx(scanned.min(), rel=1e-5)


def test_same_seeds_same_curves():
    models, y = pod_models(1)
    curves = []
    for _ in range(2):
        landscape = Landscape(models[0], y, n_samples=2, seed=1)
        state = landscape.states(models)[0]
        curves.append(loss_per_node(landscape.rays(state, ALPHA, (4, 5))).values)
    np.testing.assert_array_equal(curves[0], curves[1])
    alone = loss_per_node(landscape.rays(state, ALPHA, (5,))).values
    np.testing.assert_allclose(alone[0], curves[0][1], rtol=1e-6)
    other = loss_per_node(landscape.rays(state, ALPHA, (6,))).values
    assert np.abs(other[0] / curves[0][1] - 1).max() > 1e-3


def test_random_directions_have_the_promised_lengths():
    models, _ = pod_models(1)
    model = models[0]
    whole = torch.cat([p.flatten() for p in model.parameters()])
    assert random_direction(model, 0).norm() == pytest.approx(
        float(whole.detach().norm()), rel=1e-5
    )
    drawn = random_direction(model, 0, "filter")
    for parameter, part in zip(
        model.parameters(), drawn.split([p.numel() for p in model.parameters()]), strict=True
    ):
        if parameter.ndim == 2:
            part = part.reshape(parameter.shape)
            torch.testing.assert_close(part.norm(dim=1), parameter.detach().norm(dim=1))
        else:
            assert not part.any()


@pytest.mark.wrong_types
def test_an_unknown_normalisation_is_refused():
    with pytest.raises(DataError, match="normalisation"):
        random_direction(torch.nn.Linear(2, 2), 0, "layer")


def test_filter_normalised_curves_ignore_a_scale_that_batch_norm_removes():
    y = fields(24, 17, 3)
    plain = initialise(DenseVAE(17, blocks=(1, 1, 1)).use_variance("learned"), 0)
    scaled = initialise(DenseVAE(17, blocks=(1, 1, 1)).use_variance("learned"), 0)
    for trunk in (scaled.encoder.mean, scaled.encoder.log_variance):
        trunk[0].weight.data *= 4.0  # batch normalisation comes before anything else sees it
    curves = {}
    for normalisation in ("filter", "norm"):
        for model in (plain, scaled):
            landscape = Landscape(model, y, n_samples=2, statistics="recomputed", batch_size=24)
            data = landscape.rays(
                landscape.states(model)[0], np.array([0.0, 0.5, 1.0]), range(3), normalisation
            )
            curves[normalisation, model is scaled] = data["rate"].mean("draw").values
    kept = np.abs(curves["filter", True] / curves["filter", False] - 1)
    lost = np.abs(curves["norm", True] / curves["norm", False] - 1)
    assert kept.max() < 1e-2 < 1e-1 < lost.max()


def test_recomputed_statistics_are_those_of_training_mode():
    y = fields(16, 17, 3)
    model = initialise(DenseVAE(17, blocks=(1, 1, 1)).use_variance("learned"), 0)
    results = {}
    for statistics in ("stored", "recomputed"):
        landscape = Landscape(model, y, n_samples=1, statistics=statistics, batch_size=16)
        results[statistics] = landscape.evaluate(landscape.states(model))["distortion"].item()
    features, noise = model.features(y), landscape.noise[0]
    with torch.no_grad():
        expected = model.train().loss_terms(features, noise).distortion.mean().item()
        fresh = initialise(model, 0).eval()
        stored = fresh.loss_terms(features, noise).distortion.mean().item()
    assert results["recomputed"] == pytest.approx(expected, rel=1e-5)
    assert results["stored"] == pytest.approx(stored, rel=1e-5)
    assert abs(expected / stored - 1) > 1e-4


def test_plane_passes_through_its_solutions():
    models, y = pod_models(3)
    landscape = Landscape(models[0], y, n_samples=2)
    states = landscape.states(models)
    data = landscape.plane(states, resolution=3, margin=0.0)
    own = loss_per_node(landscape.evaluate(states)).mean("draw").values
    loss = loss_per_node(data).mean("draw")
    x, y_ = data["solution_x"].values, data["solution_y"].values
    distance = np.hypot(x[:, None] - x, y_[:, None] - y_)
    np.testing.assert_allclose(distance, torch.cdist(states, states).numpy(), rtol=1e-3, atol=1e-3)
    at = loss.sel(x=x[0], y=y_[0], method="nearest")
    assert float(at) == pytest.approx(own[0], rel=1e-5)
    with pytest.raises(DataError, match="one line"):
        landscape.plane(torch.stack([states[0], states[1], 2 * states[1] - states[0]]))


def test_lowest_curvature_by_iteration_is_that_of_the_whole_hessian(monkeypatch):
    models, y = pod_models(1)
    landscape = Landscape(models[0], y, n_samples=1)
    state = landscape.states(models)[0]
    whole = landscape.lowest_curvature(state)
    monkeypatch.setattr(module, "DENSE_HESSIAN", 0)
    assert landscape.lowest_curvature(state) == pytest.approx(whole, rel=1e-2)

"""The theory of the linear VAE against models that stand at its solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from toy_models import NODES, fields

from dvae.analysis.landscape import Landscape
from dvae.analysis.linear_vae import linear_collapse
from dvae.errors import DataError
from dvae.models import PodVAE


def linear_vae(y: torch.Tensor, beta: float, active: int):
    """Linear VAE at the stationary point of the theory, as a model."""
    model = PodVAE.from_fields(y, 40, hidden=())
    basis = model.encoder.basis
    variances, m = basis.spread.double().numpy() ** 2, math.prod(y.shape[1:])
    solutions = linear_collapse(variances, m, 2, beta, basis.log_jacobian)
    one = next(s for s in solutions if s.active == active)
    encoder, decoder = model.encoder.network[0], model.decoder.network[0]
    for parameter in model.parameters():
        parameter.data.zero_()
    for i in range(active):
        gain = math.sqrt(variances[i] - beta * one.noise)
        encoder.weight.data[i, i] = gain / variances[i] * float(basis.spread[0])
        encoder.bias.data[2 + i] = math.log(beta * one.noise / variances[i])
        decoder.weight.data[i, i] = gain / float(basis.spread[i])
    model.decoder.variance.log_variance.fill_(math.log(one.noise))
    return model, one, variances, m


@pytest.mark.parametrize("active", [0, 1, 2])
def test_linear_theory_gives_the_losses_of_a_linear_vae(active):
    y = fields()
    model, one, _, _ = linear_vae(y, 0.3 * NODES**2, active)
    landscape = Landscape(model, y, n_samples=200, variance="calibrated")
    data = landscape.evaluate(landscape.states(model)).mean()
    assert float(data["rate"]) == pytest.approx(one.rate, abs=1e-4)
    assert float(data["distortion"]) == pytest.approx(one.distortion, rel=1e-3)


def test_collapsed_linear_vae_turns_from_saddle_to_minimum_at_the_predicted_beta():
    y = fields()
    model, _, variances, m = linear_vae(y, 1.0, 0)
    landscape = Landscape(model, y, n_samples=1)
    critical = m * variances[0] / variances.sum() / NODES**2
    state = landscape.states(model)[0]
    assert landscape.lowest_curvature(state, 0.9 * critical) < -1e-4
    assert landscape.lowest_curvature(state, 1.1 * critical) > -1e-9


def test_limits_of_the_linear_theory():
    variances, m = np.array([3.0, 2.0, 0.5]), 30
    assert [s.active for s in linear_collapse(variances, m, 2, 1e-3)] == [0, 1, 2]
    assert [s.active for s in linear_collapse(variances, m, 2, 1e3)] == [0]
    limits = [s.exists_below for s in linear_collapse(variances, m, 2, 1e-3)]
    assert limits == pytest.approx([math.inf, 30 * 3 / 5.5, 30 * 2 / (0.5 + 4)])
    assert limits[2] <= m / 2
    with pytest.raises(DataError, match="decreasing"):
        linear_collapse(np.array([1.0, 2.0]), m, 1, 1.0)

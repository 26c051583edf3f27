"""A linear VAE is probabilistic PCA: the ensemble reaches its closed-form maximum likelihood."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal

from dvae.models import PodVAE
from dvae.training import Recipe, fit

N, SIDE, LATENTS = 200, 4, 2
SIZE = SIDE * SIDE


@pytest.fixture(scope="module")
def fields():
    """Draws from a linear Gaussian model, nodes of unlike size."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((LATENTS, SIZE)) * np.array([[2.0], [1.0]])
    y = generator.standard_normal((N, LATENTS)) @ weights
    y = (y + 0.5 * generator.standard_normal((N, SIZE)) + 3) * np.linspace(1, 2, SIZE)
    return torch.from_numpy(y.reshape(N, 1, SIDE, SIDE))


def maximum_log_likelihood(fields, scale):
    """Tipping and Bishop (1999): per sample, for fields divided node by node by ``scale``."""
    x = (fields / scale).flatten(1).numpy()
    values = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    noise = values[LATENTS:].mean()
    logs = np.log(values[:LATENTS]).sum() + (SIZE - LATENTS) * np.log(noise)
    return -0.5 * (SIZE * math.log(2 * math.pi) + logs + SIZE) - float(scale.log().sum())


def test_linear_ensemble_reaches_probabilistic_pca(fields):
    model = PodVAE.from_fields(fields, SIZE, n_latents=LATENTS, hidden=()).double()
    recipe = Recipe(
        "ppca",
        steps=800,
        batch_size=N,
        learning_rate=2e-2,
        learning_rate_steps=((400, 5e-3), (650, 1e-3)),
        beta=1 / SIZE,  # eq. 5 as it stands
    )
    result = fit(model, fields, recipe, [0, 1], progress=False)
    basis = model.encoder.basis
    expected = maximum_log_likelihood(fields, basis.scale)
    losses = result.ensemble.evaluate(fields, n_samples=100, relative_error=False)
    elbo = -(losses["rate"] + losses["distortion"]).values
    for k, member in enumerate(result.models):
        layer = member.decoder.network[0]
        modes = (basis.modes * basis.scale).flatten(1)
        weights = (layer.weight * basis.spread[:, None]).T @ modes
        mean = basis.mean.flatten() + (layer.bias * basis.spread) @ modes
        noise = torch.diag(member.decoder.variance.log_variance.exp() * basis.scale.flatten() ** 2)
        marginal = MultivariateNormal(mean, weights.T @ weights + noise)
        reached = float(marginal.log_prob(fields.flatten(1)).mean())
        assert reached <= expected + 1e-9  # nothing exceeds the maximum
        assert reached == pytest.approx(expected, rel=1e-3)
        assert elbo[k] <= reached + 0.02
        assert elbo[k] == pytest.approx(expected, rel=5e-3)
    one_latent_less = PodVAE.from_fields(fields, SIZE, n_latents=1, hidden=()).double()
    worse = fit(one_latent_less, fields, recipe, 0, progress=False).ensemble.evaluate(fields)
    assert float(-(worse["rate"] + worse["distortion"])[0]) < expected - 0.5

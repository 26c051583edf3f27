"""Small fields and PodVAEs that the tests of the landscape and of its neighbours share."""

from __future__ import annotations

import torch

from dvae.models import VAE, PodVAE
from dvae.training import initialise

__all__ = ["CHANNELS", "NODES", "N", "fields", "pod_models"]

N, CHANNELS, NODES = 40, 2, 17


def fields(n_samples: int = N, n_nodes: int = NODES, channels: int = CHANNELS) -> torch.Tensor:
    """Fields on a curved two-dimensional manifold, with a little noise."""
    generator = torch.Generator().manual_seed(3)
    theta = torch.randn(n_samples, 2, generator=generator)
    basis = torch.randn(5, channels, n_nodes, n_nodes, generator=generator)
    weights = torch.cat([theta, theta**2, theta[:, :1] * theta[:, 1:]], 1)
    noise = torch.randn(n_samples, channels, n_nodes, n_nodes, generator=generator)
    return torch.tensordot(weights, basis, dims=1) + 0.3 * noise + 1.5


def pod_models(count: int = 2, variance="calibrated", **options) -> tuple[list[VAE], torch.Tensor]:
    y = fields()
    template = PodVAE.from_fields(y, 6, hidden=(7, 5), **options).use_variance(variance)
    models = [initialise(template, seed) for seed in range(count)]
    for i, model in enumerate(models):
        model.decoder.variance.log_variance.data.fill_(-1.0 - i)
    return models, y

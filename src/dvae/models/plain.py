"""PlainVAE: convolutional and fully connected encoder-decoders to set beside DenseVAE."""

from __future__ import annotations

import itertools
import math
from typing import Literal

from torch import Tensor, nn
from torch.distributions import Independent

from dvae.errors import DataError
from dvae.models.dense import FieldDecoder, Standardisation
from dvae.models.priors import Prior
from dvae.models.vae import VAE, Encoder, encoding_distribution

__all__ = ["PlainVAE"]


class _PlainEncoder(Encoder):
    """q(z|y) from one network with 2 n outputs: mean and log-variance."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def from_features(self, features: Tensor) -> Independent:
        mean, log_variance = self.network(features).chunk(2, -1)
        return encoding_distribution(mean, log_variance)


def _chain(layers: list[nn.Module]) -> list[nn.Module]:
    """Layers with a ReLU between every two."""
    return [m for layer in layers for m in (layer, nn.ReLU())][:-1]


class PlainVAE(VAE):
    """VAE without dense blocks, for the architecture study (supplement, section 4.1).

    Parameters
    ----------
    n_nodes : int
        Nodes per side of the grid; for "convolutional" 2^k m + 1 with k the number of widths.
    channels : int
        Number of fields per sample.
    n_latents : int
        Dimension n of z.
    kind : {"convolutional", "mlp"}
        Strided 3x3 convolutions and their transposes, or fully connected layers, with ReLUs.
    widths : tuple of int
        Feature maps (convolutional) or hidden units (mlp) of the encoder's layers; the decoder
        has them in the opposite order.
    prior : str or Prior
        See :func:`dvae.make_prior`.

    Raises
    ------
    DataError
        If the kind is unknown or the grid cannot be halved that often.
    """

    def __init__(
        self,
        n_nodes: int = 65,
        channels: int = 3,
        n_latents: int = 2,
        kind: Literal["convolutional", "mlp"] = "convolutional",
        widths: tuple[int, ...] = (8, 16, 32),
        prior: str | Prior = "standard",
    ):
        shape = (channels, n_nodes, n_nodes)
        if kind == "convolutional":
            if (n_nodes - 1) % 2 ** len(widths) or n_nodes - 1 < 2 ** len(widths):
                raise DataError(
                    f"{len(widths)} convolutions of stride 2 need a grid of 2^{len(widths)} m + 1 "
                    f"nodes per side, got {n_nodes}; take fewer widths"
                )
            small = (n_nodes - 1) // 2 ** len(widths) + 1
            flat = widths[-1] * small**2
            pairs = list(zip((channels, *widths[:-1]), widths, strict=True))
            down = _chain([nn.Conv2d(a, b, 3, 2, 1) for a, b in pairs])
            up = _chain([nn.ConvTranspose2d(b, a, 3, 2, 1) for a, b in reversed(pairs)])
            encoder = [*down, nn.ReLU(), nn.Flatten(), nn.Linear(flat, 2 * n_latents)]
            start = [
                nn.Linear(n_latents, flat),
                nn.ReLU(),
                nn.Unflatten(1, (widths[-1], small, small)),
            ]
            decoder = [*start, *up]
        elif kind == "mlp":
            sizes = (math.prod(shape), *widths)
            down = [nn.Linear(*pair) for pair in itertools.pairwise((*sizes, 2 * n_latents))]
            up = [nn.Linear(*pair) for pair in itertools.pairwise((n_latents, *reversed(sizes)))]
            encoder = [nn.Flatten(), *_chain(down)]
            decoder = [*_chain(up), nn.Unflatten(1, shape)]
        else:
            raise DataError(f"kind must be 'convolutional' or 'mlp', got {kind!r}")
        super().__init__(
            _PlainEncoder(nn.Sequential(*encoder)),
            FieldDecoder(nn.Sequential(*decoder), Standardisation.identity(shape)),
            prior,
            n_latents,
            shape,
        )

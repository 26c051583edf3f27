"""DenseVAE: the densely connected convolutional VAE of section 4.1."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent

from dvae.errors import DataError
from dvae.models.priors import Prior, diagonal_normal
from dvae.models.vae import (
    CONSTANT,
    VAE,
    Decoder,
    DecoderVariance,
    Encoder,
    encoding_distribution,
    working_precision,
)

__all__ = ["DenseDecoder", "DenseEncoder", "DenseVAE", "FieldDecoder", "Standardisation"]


class Standardisation(nn.Module):
    """Fixed shift and scale of the fields: the networks see (y - m) / s, losses are those of y.

    The mean field m and the spread s of each channel are data, not parameters: the members of an
    ensemble share them. They change what the weights of a network mean and where training starts,
    not which functions the network can be.

    Parameters
    ----------
    shift : Tensor (channel, x1, x2)
        Mean field m.
    scale : Tensor (channel,)
        Positive spread s of every channel.
    """

    shared_between_members = True
    shift: Tensor
    scale: Tensor

    def __init__(self, shift: Float[Tensor, "channel x1 x2"], scale: Float[Tensor, " channel"]):
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("scale", scale)

    @classmethod
    def identity(cls, shape: tuple[int, ...]) -> Standardisation:
        """The fields as they are, as published."""
        return cls(torch.zeros(shape), torch.ones(shape[0]))

    @classmethod
    def from_fields(cls, fields: Float[Tensor, "sample channel x1 x2"]) -> Standardisation:
        """Mean field, and root mean square of every channel's deviations from it.

        Raises
        ------
        DataError
            If ``fields`` is not 4-dimensional, has fewer than 2 samples, is not finite, or has a
            channel that is the same in all samples.
        """
        if fields.ndim != 4 or fields.shape[0] < 2:
            raise DataError(
                "standardisation needs fields of shape (sample, channel, x1, x2) with at least 2 "
                f"samples, got {tuple(fields.shape)}"
            )
        y = fields.detach().double()
        shift = y.mean(0)
        scale = (y - shift).pow(2).mean((0, 2, 3)).sqrt()
        least = CONSTANT[working_precision(fields.dtype)] * shift.abs().amax((1, 2))
        if not bool((scale > least).all() & torch.isfinite(scale).all()):
            raise DataError(
                "standardisation needs finite fields that vary between samples in every channel; "
                f"the spreads are {scale.tolist()}: leave such a channel out"
            )
        dtype = working_precision(fields.dtype)
        return cls(shift.to(dtype), scale.to(dtype))

    def forward(
        self, fields: Float[Tensor, "sample channel x1 x2"]
    ) -> Float[Tensor, "sample channel x1 x2"]:
        """Standardised fields."""
        return (fields - self.shift) / self.scale[:, None, None]

    def inverse(
        self, standardised: Float[Tensor, "sample channel x1 x2"]
    ) -> Float[Tensor, "sample channel x1 x2"]:
        """Fields from standardised ones."""
        return self.shift + self.scale[:, None, None] * standardised

    def squared_error(
        self, difference: Float[Tensor, "sample channel x1 x2"]
    ) -> Float[Tensor, "sample x1 x2"]:
        """Squared error of the fields at every node from a difference of standardised ones."""
        return (difference**2 * self.scale[:, None, None] ** 2).sum(1)


def _conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False),
    )


def _up(inputs: int, outputs: int, kernel: int, grow_by_one: bool) -> nn.Module:
    return nn.Sequential(
        nn.BatchNorm2d(inputs),
        nn.ReLU(),
        nn.ConvTranspose2d(inputs, outputs, kernel, 2, 1, int(grow_by_one), bias=False),
    )


def _channels_last(x: Tensor) -> Tensor:
    """The same numbers with the channels of a node side by side in memory, on a CPU.

    Convolutions of a few channels are faster so (`benchmarks/bench_training.py`, part "layout"),
    and what follows keeps the order. The grouped ones of members that share operations
    (``torch.func.vmap``, which does not know the order and says so) are not.
    """
    if x.device.type != "cpu":
        return x
    try:
        return x.contiguous(memory_format=torch.channels_last)
    except RuntimeError:
        return x


class _Fields(nn.Unflatten):
    """Numbers to fields of some shape, in the order in memory of :func:`_channels_last`."""

    def forward(self, x: Tensor) -> Tensor:
        return _channels_last(super().forward(x))


class DenseBlock(nn.Module):
    """Layers that each append ``growth`` feature maps to everything before them."""

    def __init__(self, inputs: int, layers: int, growth: int):
        super().__init__()
        self.layers = nn.ModuleList(
            _conv(inputs + i * growth, growth, 3, padding=1) for i in range(layers)
        )
        self.outputs = inputs + layers * growth

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


class _Trunk(nn.Sequential):
    """Fields to n numbers: strided convolution, dense blocks with transitions down, two linears."""

    def __init__(self, channels, n_nodes, n_latents, blocks, growth, features):
        layers: list[nn.Module] = [nn.Conv2d(channels, features, 7, 2, 2, bias=False)]
        size = (n_nodes - 1) // 2
        self.sizes = [size]
        for n_layers in blocks:
            block = DenseBlock(features, n_layers, growth)
            features = block.outputs // 2
            down = (_conv(block.outputs, features, 1), _conv(features, features, 3, 2, 1))
            layers += [block, *down]
            size = (size - 1) // 2 + 1
            self.sizes.append(size)
        self.shape = (features, size, size)
        flat = math.prod(self.shape)
        layers += [nn.Flatten(), nn.Linear(flat, flat // 2), nn.ReLU()]
        super().__init__(*layers, nn.Linear(flat // 2, n_latents))

    def forward(self, fields: Tensor) -> Tensor:
        return super().forward(_channels_last(fields))


class DenseEncoder(Encoder):
    """q(z|y) with separate dense convolutional networks for mean and log-variance."""

    def __init__(self, standardisation, n_latents, blocks, growth, features):
        super().__init__()
        self.standardisation = standardisation
        channels, n_nodes, _ = standardisation.shift.shape
        arguments = (channels, n_nodes, n_latents, blocks, growth, features)
        self.mean = _Trunk(*arguments)
        self.log_variance = _Trunk(*arguments)

    def features(self, fields):
        return self.standardisation(fields)

    def from_features(self, features: Float[Tensor, "sample channel x1 x2"]) -> Independent:
        return encoding_distribution(self.mean(features), self.log_variance(features))


class FieldDecoder(Decoder):
    """p(y|z) from a network for the standardised mean, one variance per node for all channels."""

    def __init__(self, mean: nn.Sequential, standardisation: Standardisation):
        super().__init__()
        self.mean, self.standardisation = mean, standardisation
        channels, *nodes = standardisation.shift.shape
        self.variance = DecoderVariance(tuple(nodes), channels)

    def forward(self, z: Float[Tensor, "sample latent"]) -> Independent:
        mean = self.standardisation.inverse(self.mean(z))
        return diagonal_normal(mean, self.variance.log_variance, event_dims=3)

    def squared_error(self, features, z):
        return self.standardisation.squared_error(features - self.mean(z))

    def data_variance(self, features):
        about_mean = self.standardisation.squared_error(features - features.mean(0))
        return about_mean.mean(0) / self.variance.count


class DenseDecoder(FieldDecoder):
    """p(y|z): the mirror image of the encoder, with one variance per node shared by channels.

    With ``variance_network`` a second network of the same kind, with one channel, adds to the
    log-variance of every node: Var[y(x)|z] = v(x) exp(s(x, z)), as section 4.2 considers. Its
    last convolution starts at 0, however the model is initialised, so that training starts from
    the model without it.
    """

    def __init__(
        self, standardisation, n_latents, blocks, growth, shape, sizes, variance_network=False
    ):
        channels = standardisation.shift.shape[0]
        arguments = (n_latents, blocks, growth, shape, sizes)
        super().__init__(_mirror(channels, *arguments), standardisation)
        self.variance_network = None
        if variance_network:
            self.variance_network = _mirror(1, *arguments, last=_ZeroConvolution)

    def forward(self, z):
        mean = self.standardisation.inverse(self.mean(z))
        shift = self.variance_shift(z)
        log_variance = self.variance.log_variance
        if shift is not None:
            log_variance = (log_variance + shift)[:, None]
        return diagonal_normal(mean, log_variance, event_dims=3)

    def variance_shift(self, z):
        return None if self.variance_network is None else self.variance_network(z)[:, 0]


class _ZeroConvolution(nn.Conv2d):
    """A convolution whose weights start at 0."""

    starts_at_zero = True

    def reset_parameters(self) -> None:
        nn.init.zeros_(self.weight)


def _mirror(
    channels, n_latents, blocks, growth, shape, sizes, last: type[nn.Conv2d] = nn.Conv2d
) -> nn.Sequential:
    """n numbers to fields: two linears, dense blocks with transitions up."""
    features, flat = shape[0], math.prod(shape)
    layers: list[nn.Module] = [
        nn.Linear(n_latents, flat // 2),
        nn.ReLU(),
        nn.Linear(flat // 2, flat),
        _Fields(1, shape),
    ]
    for i, n_layers in enumerate(blocks):
        block = DenseBlock(features, n_layers, growth)
        features = block.outputs // 2
        layers += [block, _conv(block.outputs, features, 1)]
        if i < len(blocks) - 1:
            layers.append(_up(features, features, 3, grow_by_one=sizes[-2 - i] % 2 == 0))
    layers.append(_up(features, channels, 4, grow_by_one=True))
    return nn.Sequential(*layers, last(channels, channels, 5, padding=2, bias=False))


class DenseVAE(VAE):
    """Densely connected convolutional VAE (section 4.1).

    Parameters
    ----------
    n_nodes : int
        Nodes per side of the grid: odd, 17 or more.
    channels : int
        Number of fields per sample.
    n_latents : int
        Dimension n of z.
    blocks : tuple of int
        Layers of each dense block, an odd number of blocks: the first half in the encoder, the
        others in the decoder. The default has 779,582 parameters, near the paper's "around
        800,000"; the published configuration (4, 6, 4) has 7,996,642.
    growth : int
        Feature maps that each dense layer adds.
    features : int
        Feature maps after the first convolution.
    prior : str or Prior
        See :func:`dvae.make_prior`.
    standardisation : Standardisation, optional
        Shift and scale of the fields, see :meth:`from_fields`; none by default, as published.
    variance_network : bool
        Let the decoder's log-variance depend on z by a network of its own (section 4.2). Only
        with a learned variance (a recipe's ``variance="learned"``).

    Raises
    ------
    DataError
        If the grid is even or too small for the blocks, the blocks are not an odd number, a
        count is below 1, or a variance network meets a calibrated variance.

    Examples
    --------
    >>> model = DenseVAE(n_nodes=17, blocks=(1, 2, 1))
    >>> posterior, z, decoding = model(torch.randn(4, 3, 17, 17))
    >>> posterior.mean.shape, decoding.mean.shape
    (torch.Size([4, 2]), torch.Size([4, 3, 17, 17]))
    """

    encoder: DenseEncoder
    decoder: DenseDecoder

    def __init__(
        self,
        n_nodes: int = 65,
        channels: int = 3,
        n_latents: int = 2,
        blocks: Sequence[int] = (3, 4, 6, 4, 3),
        growth: int = 4,
        features: int = 2,
        prior: str | Prior = "standard",
        standardisation: Standardisation | None = None,
        variance_network: bool = False,
    ):
        if n_nodes % 2 == 0 or n_nodes < 17:
            raise DataError(f"n_nodes must be odd and at least 17, got {n_nodes}")
        if len(blocks) % 2 == 0 or min(blocks) < 1:
            raise DataError(f"blocks must be an odd number of positive integers, got {blocks}")
        if min(channels, n_latents, growth, features) < 1:
            raise DataError(
                "channels, n_latents, growth and features must be at least 1, "
                f"got {channels}, {n_latents}, {growth} and {features}"
            )
        half = len(blocks) // 2
        if (n_nodes - 1) // 2 < 2 ** (half + 1):
            raise DataError(f"a grid of {n_nodes} nodes is too small for {half} encoder blocks")
        if standardisation is None:
            standardisation = Standardisation.identity((channels, n_nodes, n_nodes))
        encoder = DenseEncoder(standardisation, n_latents, blocks[:half], growth, features)
        trunk = encoder.mean
        decoder = DenseDecoder(
            standardisation,
            n_latents,
            blocks[half:],
            growth,
            trunk.shape,
            trunk.sizes,
            variance_network,
        )
        super().__init__(encoder, decoder, prior, n_latents, (channels, n_nodes, n_nodes))
        self.n_nodes = n_nodes
        self.configuration = {
            "n_nodes": n_nodes,
            "channels": channels,
            "n_latents": n_latents,
            "blocks": tuple(blocks),
            "growth": growth,
            "features": features,
            "prior": prior,
        }
        if variance_network:  # a setting that came later: models without it are stored as before
            self.configuration["variance_network"] = True
            self.use_variance("learned")

    def use_variance(self, kind):
        if kind == "calibrated" and self.decoder.variance_network is not None:
            raise DataError(
                "a variance network needs a learned variance: train it with a recipe whose "
                "variance is 'learned', such as 'published'"
            )
        return super().use_variance(kind)

    @classmethod
    def from_fields(cls, fields: Float[Tensor, "sample channel x1 x2"], **arguments) -> DenseVAE:
        """DenseVAE on standardised fields; grid, channels, shift and scale are those of ``fields``.

        The published network sees the fields as they are, and most of its training goes into
        learning their mean and the scale of each channel. Losses and fields are physical in both.
        The model is in double precision if the fields are.

        Raises
        ------
        DataError
            If the grid is not square, or as :meth:`Standardisation.from_fields` and the class.
        """
        standardisation = Standardisation.from_fields(fields)
        _, channels, n1, n2 = fields.shape
        if n1 != n2:
            raise DataError(f"DenseVAE needs a square grid, got {n1} x {n2} nodes; use PodVAE")
        model = cls(n1, channels, standardisation=standardisation, **arguments)
        return model.to(standardisation.shift.dtype)

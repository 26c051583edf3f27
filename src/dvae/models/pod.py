"""PodVAE: a VAE on proper-orthogonal-decomposition coefficients with a likelihood of the fields."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

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
from dvae.physics.samples import Samples, in_batches

__all__ = ["PodBasis", "PodVAE"]


LARGE = 2048  # samples and values from which on eigenvectors take longer than products
OVERSAMPLED, PASSES, SETTLED = 20, 20, 1e-7  # of subspace iteration: directions more, its end


class PodBasis(nn.Module):
    """Proper orthogonal decomposition of fields scaled node by node.

    With mean field m and node scales d(x) shared by the channels, (y - m) / d = U c + r, where
    the columns of U are orthonormal and r is orthogonal to them. The basis is data, not a
    parameter: the members of an ensemble share it.

    Parameters
    ----------
    mean : Tensor (channel, x1, x2)
        Mean field.
    scale : Tensor (x1, x2)
        Positive scale of every node.
    modes : Tensor (mode, channel, x1, x2)
        Orthonormal modes of the scaled fields.
    spread : Tensor (mode,)
        Standard deviation of every coefficient over the training data.
    """

    shared_between_members = True
    mean: Tensor
    scale: Tensor
    modes: Tensor
    spread: Tensor

    def __init__(self, mean: Tensor, scale: Tensor, modes: Tensor, spread: Tensor):
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.register_buffer("modes", modes)
        self.register_buffer("spread", spread)

    @classmethod
    def from_fields(
        cls, fields: Float[Tensor, "sample channel x1 x2"] | Samples, n_modes: int = 40
    ) -> PodBasis:
        """Basis of the leading ``n_modes`` modes of a data set (fewer if it has a lower rank).

        Samples in several batches are gone through a few times, and never held at once.

        Raises
        ------
        DataError
            If ``fields`` is not 4-dimensional, has fewer than 2 samples or does not vary, or
            ``n_modes`` is below 1.
        """
        count = len(fields)
        if len(fields.shape) != 4 or count < 2:
            raise DataError(
                "POD needs fields of shape (sample, channel, x1, x2) with at least 2 samples, "
                f"got {tuple(fields.shape)}"
            )
        if n_modes < 1:
            raise DataError(f"POD needs n_modes of at least 1, got {n_modes}")
        batches = in_batches(fields)
        mean = _sum(y.double().sum(0) for y in batches) / count
        squares = _sum((y.double() - mean).pow(2).sum((0, 1)) for y in batches)
        scale = (squares / (count * fields.shape[1])).sqrt()
        dtype = working_precision(next(iter(batches)).dtype)
        largest, least = float(scale.max()), CONSTANT[dtype] * float(mean.abs().max())
        if not math.isfinite(largest) or largest <= least:
            raise DataError("POD needs fields that are finite and vary between samples")
        scale = scale.clamp_min(1e-3 * largest)
        modes, energy = _principal(_Rows(fields, mean, scale), n_modes)
        k = len(modes)
        largest_entry = modes.abs().argmax(1, keepdim=True)
        modes = modes * modes.gather(1, largest_entry).sign()
        spread = (energy / count).sqrt()
        return cls(
            mean.to(dtype),
            scale.to(dtype),
            modes.reshape(k, *fields.shape[1:]).to(dtype),
            spread.to(dtype),
        )

    @property
    def n_modes(self) -> int:
        """Number of modes."""
        return self.modes.shape[0]

    @property
    def log_jacobian(self) -> float:
        """Log-determinant of the scaling, sum of log d over all field values."""
        return self.mean.shape[0] * float(self.scale.double().log().sum())

    def project(
        self, fields: Float[Tensor, "sample channel x1 x2"]
    ) -> Float[Tensor, "sample feature"]:
        """Coefficients c of every sample and, last, the squared norm of the residual r."""
        scaled = ((fields - self.mean) / self.scale).flatten(1)
        modes = self.modes.flatten(1)
        coefficients = scaled @ modes.T
        residual = (scaled - coefficients @ modes).pow(2).sum(1, keepdim=True)
        return torch.cat([coefficients, residual], 1)

    def reconstruct(
        self, coefficients: Float[Tensor, "sample mode"]
    ) -> Float[Tensor, "sample channel x1 x2"]:
        """Fields from coefficients."""
        return self.mean + self.scale * torch.tensordot(coefficients, self.modes, dims=1)


@dataclass(frozen=True)
class _Rows:
    """Centred and scaled fields as rows (sample, value), a batch at a time."""

    fields: Tensor | Samples
    mean: Tensor
    scale: Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and values."""
        return len(self.fields), self.mean.numel()

    @property
    def whole(self) -> bool:
        """Whether all rows are in one batch."""
        return isinstance(self.fields, Tensor) or self.fields.n_batches == 1

    def __iter__(self) -> Iterator[Float[Tensor, "batch value"]]:
        for batch in in_batches(self.fields):
            yield (batch.double() - self.mean).div_(self.scale).flatten(1)

    def gram(self, span: Tensor | None = None) -> Tensor:
        """Products R^T R of the rows R, or R^T R S with the columns S of a span."""
        return _sum(rows.T @ (rows if span is None else rows @ span) for rows in self)


def _sum(parts: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, parts)


def _principal(
    rows: _Rows, n_modes: int
) -> tuple[Float[Tensor, "mode value"], Float[Tensor, " mode"]]:
    """Leading orthonormal directions of rows and their energies; fewer if the rank is lower.

    From the Gram matrix of the values, or of the samples (method of snapshots) where these are
    fewer and in one batch; otherwise by subspace iteration (Halko, Martinsson and Tropp 2011,
    algorithm 4.4), which goes through the rows a number of times.
    """
    samples, values = rows.shape
    large = min(samples, values) > LARGE and n_modes + OVERSAMPLED < LARGE
    if not large and values < samples:
        energy, vectors = torch.linalg.eigh(rows.gram())
        directions = vectors.T
    elif not large and rows.whole:
        (only,) = rows
        energy, vectors = torch.linalg.eigh(only @ only.T)
        energy, vectors = energy.flip(0), vectors.flip(1)
        k = _rank(energy, n_modes)
        return (vectors[:, :k].T @ only) / energy[:k].sqrt()[:, None], energy[:k]
    else:
        energy, directions = _subspace(rows, n_modes)
    energy, directions = energy.flip(0), directions.flip(0)
    k = _rank(energy, n_modes)
    return directions[:k], energy[:k]


def _subspace(
    rows: _Rows, n_modes: int
) -> tuple[Float[Tensor, " size"], Float[Tensor, "size value"]]:
    """Increasing energies and directions of a subspace found by iteration.

    It starts from the span of the first batch's rows and of random directions, and ends when a
    pass through all rows raises the energy in the leading modes by less than a share of
    :data:`SETTLED`, or after :data:`PASSES`.
    """
    size = min(n_modes + OVERSAMPLED, *rows.shape)
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(rows.shape[1], size, generator=generator, dtype=torch.double)
    first = next(iter(rows))
    start[:, :n_modes] = first.T @ (first @ start[:, :n_modes])
    span, before = torch.linalg.qr(start)[0], 0.0
    for _ in range(PASSES):
        image = rows.gram(span)
        energy, turned = torch.linalg.eigh(span.T @ image)
        held = float(energy[-n_modes:].sum())
        if held - before <= SETTLED * held:
            break
        span, before = torch.linalg.qr(image)[0], held
    return energy, (span @ turned).T


def _rank(energy: Float[Tensor, " mode"], n_modes: int) -> int:
    """Number of modes that carry energy, at most ``n_modes``."""
    return min(n_modes, int((energy > 1e-10 * energy[0]).sum()))


def _mlp(inputs: int, hidden: Sequence[int], outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(inputs, width), nn.SiLU()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, outputs))


class PodEncoder(Encoder):
    """q(z|y) by a multilayer perceptron on POD coefficients in units of the first one's spread."""

    def __init__(self, basis: PodBasis, hidden: Sequence[int], n_latents: int):
        super().__init__()
        self.basis = basis
        self.network = _mlp(basis.n_modes, hidden, 2 * n_latents)

    def features(self, fields):
        return self.basis.project(fields)

    def from_features(self, features: Float[Tensor, "sample feature"]) -> Independent:
        return self.from_inputs(features[:, :-1] / self.basis.spread[0])

    def pseudo_inputs(self, count):
        """Normal coefficients with the variances of those of the training data."""
        spread = (self.basis.spread / self.basis.spread[0]).to(next(self.network.parameters()))
        return spread * torch.randn(count, len(spread)).to(spread)

    def from_inputs(self, inputs):
        mean, log_variance = self.network(inputs).chunk(2, -1)
        return encoding_distribution(mean, log_variance)


class PodDecoder(Decoder):
    """p(y|z) = N(m + d U c(z), v d^2): one variance v in units of the node scales."""

    def __init__(self, basis: PodBasis, hidden: Sequence[int], n_latents: int):
        super().__init__()
        self.basis = basis
        self.network = _mlp(n_latents, hidden, basis.n_modes)
        nodes = basis.scale.numel()
        self.variance = DecoderVariance(
            (),
            basis.mean.numel(),
            log_jacobian=basis.log_jacobian,
            # a learned variance starts at 1 in physical units (geometric mean), as published
            initial_log_variance=-2 * float(basis.scale.double().log().sum()) / nodes,
        )

    def coefficients(self, z: Float[Tensor, "sample latent"]) -> Float[Tensor, "sample mode"]:
        """Decoded POD coefficients."""
        return self.network(z) * self.basis.spread

    def forward(self, z):
        log_variance = self.variance.log_variance + 2 * self.basis.scale.log()
        return diagonal_normal(self.basis.reconstruct(self.coefficients(z)), log_variance, 3)

    def squared_error(self, features, z):
        error = features[:, :-1] - self.coefficients(z)
        return error.pow(2).sum(-1) + features[:, -1]

    def data_variance(self, features):
        coefficients, residual = features[:, :-1], features[:, -1]
        about_mean = (coefficients - coefficients.mean(0)).pow(2).sum(-1)
        return (about_mean + residual).mean() / self.variance.count


class PodVAE(VAE):
    """VAE whose networks work on POD coefficients; its losses are those of the fields.

    The decoder's variance is v d(x)^2 with one v, and its mean lies in the span of the modes.
    Under these two conditions the squared error of the whole field is that of the coefficients
    plus the residual energy of the sample, a constant, so rate and distortion compare with those
    of :class:`dvae.DenseVAE` at a small fraction of the cost.

    Parameters
    ----------
    basis : PodBasis
        From :meth:`PodBasis.from_fields` on the training data.
    n_latents : int
        Dimension n of z.
    hidden : tuple of int
        Widths of the hidden layers (SiLU) of encoder and decoder; ``()`` gives a linear VAE.
    prior : str or Prior
        See :func:`dvae.make_prior`.

    Examples
    --------
    >>> fields = torch.randn(20, 3, 17, 17)
    >>> model = PodVAE.from_fields(fields, n_modes=12)
    >>> posterior, z, decoding = model(fields)
    >>> z.shape, decoding.mean.shape
    (torch.Size([20, 2]), torch.Size([20, 3, 17, 17]))
    """

    encoder: PodEncoder
    decoder: PodDecoder

    def __init__(
        self,
        basis: PodBasis,
        n_latents: int = 2,
        hidden: Sequence[int] = (64, 64),
        prior: str | Prior = "standard",
    ):
        super().__init__(
            PodEncoder(basis, hidden, n_latents),
            PodDecoder(basis, hidden, n_latents),
            prior,
            n_latents,
            tuple(basis.mean.shape),
        )
        self.configuration = {
            "n_latents": n_latents,
            "hidden": tuple(hidden),
            "prior": prior,
        }

    @classmethod
    def from_fields(
        cls, fields: Float[Tensor, "sample channel x1 x2"] | Samples, n_modes: int = 40, **arguments
    ) -> PodVAE:
        """PodVAE on the POD basis of ``fields``, in double precision if they are.

        Other arguments are those of the class.
        """
        basis = PodBasis.from_fields(fields, n_modes)
        return cls(basis, **arguments).to(basis.mean.dtype)

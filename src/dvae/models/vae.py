"""The variational autoencoder of section 2: encoder, decoder, prior and the terms of its loss."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Independent

from dvae.errors import DataError
from dvae.models.priors import LOG_2PI, Prior, diagonal_normal, make_prior

__all__ = [
    "VAE",
    "Decoder",
    "DecoderVariance",
    "Encoder",
    "LossTerms",
    "Passage",
    "count_parameters",
]


VarianceKind = Literal["learned", "calibrated"]


class LossTerms(NamedTuple):
    """Terms of the loss of each sample in nats (eq. 5)."""

    rate: Tensor
    distortion: Tensor


class Passage(NamedTuple):
    """What a model makes of fields: q(z|y), a draw z from it, and p(y|z) at the draw."""

    posterior: Independent
    z: Tensor
    decoding: Independent


class DecoderVariance(nn.Module):
    """Variance of the decoding distribution, shared by all samples (section 4.1).

    The squared errors of one sample come summed over ``groups`` of ``count`` field values that
    share a variance (a node's channels, or the whole field), so that for group variances v_g

    .. math:: -\\log p(y|z) = \\tfrac12 \\sum_g [c \\log(2\\pi v_g) + e_g / v_g] + \\log|J|.

    Parameters
    ----------
    groups : tuple of int
        Shape of the array of groups; ``()`` for one variance.
    count : int
        Field values per group.
    kind : {"learned", "calibrated"}
        "learned": log-variance is a parameter, as published. "calibrated": at each training step
        the maximum-likelihood value, i.e. the mean squared error of the batch (Rybkin et al.
        2021); a running mean of its logarithm serves in evaluation mode.
    log_jacobian : float
        Logarithm of the Jacobian of a fixed scaling of the fields, in nats per sample.
    initial_log_variance : float
        Start of a learned log-variance.
    momentum : float
        Weight of the newest batch in the running mean.
    """

    log_variance: Tensor
    count: int | Tensor

    def __init__(
        self,
        groups: tuple[int, ...],
        count: int,
        kind: VarianceKind = "calibrated",
        log_jacobian: float = 0.0,
        initial_log_variance: float = 0.0,
        momentum: float = 0.05,
    ):
        super().__init__()
        self.log_jacobian, self.momentum = log_jacobian, momentum
        self.count = count
        self.register_buffer("log_variance", torch.full(groups, float(initial_log_variance)))
        self.kind: VarianceKind = "calibrated"
        self.set_kind(kind)

    def set_kind(self, kind: VarianceKind) -> None:
        """Choose how the variance is found from here on; its value stays.

        Raises
        ------
        DataError
            If the kind is unknown.
        """
        if kind not in get_args(VarianceKind):
            raise DataError(f"decoder variance must be 'learned' or 'calibrated', got {kind!r}")
        if kind == self.kind:
            return
        value = self.log_variance.detach()
        del self.log_variance
        if kind == "learned":
            self.log_variance = nn.Parameter(value)
        else:
            self.register_buffer("log_variance", value)
        self.kind = kind

    def restrict(self, count: int | Int[Tensor, "*groups"]) -> None:
        """Count fewer values: of every group, or of each (0 where it has none).

        The errors of the values that are left out must be 0.
        """
        if isinstance(count, Tensor):
            del self.count
            self.register_buffer("count", count, persistent=False)
        else:
            self.count = count

    def per_value(self, squared_error: Tensor, samples: float | Tensor = 1) -> Tensor:
        """Mean squared error of a value in every group; 1 in a group without values."""
        if isinstance(self.count, Tensor):
            mean = squared_error / (self.count.clamp_min(1) * samples)
            return torch.where(self.count > 0, mean, 1.0)
        return squared_error / (self.count * samples)

    def forward(
        self,
        squared_error: Float[Tensor, "sample *groups"],
        floor: Tensor | None = None,
        shift: Float[Tensor, "sample *groups"] | None = None,
    ) -> Float[Tensor, " sample"]:
        """Distortion -log p(y|z) of each sample in nats.

        ``floor`` bounds a calibrated variance below; ``shift`` is added to the log-variance of
        each sample (:meth:`Decoder.variance_shift`).
        """
        log_variance = self.log_variance
        if self.kind == "calibrated" and self.training:
            variance = self.per_value(squared_error.mean(0))
            if floor is not None:
                variance = torch.maximum(variance, floor.expand_as(variance))
            log_variance = variance.log()
            with torch.no_grad():
                self.log_variance.mul_(1 - self.momentum)
                self.log_variance.add_(self.momentum * log_variance.detach())
        if shift is not None:
            log_variance = log_variance + shift
        scaled = squared_error * torch.exp(-log_variance)
        per_group = 0.5 * (self.count * (LOG_2PI + log_variance) + scaled)
        return per_group.reshape(len(per_group), -1).sum(1) + self.log_jacobian

    @torch.no_grad()
    def set_variance(self, variance: Tensor) -> None:
        """Set the variance of every group."""
        self.log_variance.copy_(variance.log())


# range or spread of a value over its magnitude that rounding in the precision of fields leaves
CONSTANT = {torch.float32: 4 * torch.finfo(torch.float32).eps, torch.float64: 1e-12}
LEAST_LOG_VARIANCE = -80.0  # of q(z|y): in single precision 1 / variance overflows below -88


def working_precision(dtype: torch.dtype) -> torch.dtype:
    """Precision of a model of fields of some type: double or single as they are, else torch's."""
    return dtype if dtype in (torch.float32, torch.float64) else torch.get_default_dtype()


def encoding_distribution(
    mean: Float[Tensor, "sample latent"], log_variance: Float[Tensor, "sample latent"]
) -> Independent:
    """q(z|y) from its mean and log-variance, the latter raised to ``LEAST_LOG_VARIANCE``.

    In a long reconstruction phase little holds the log-variance back, and where the variance or
    its inverse leaves the range of single precision the rate or its gradient would be infinite.
    The gradient passes unchanged, so that the rate pulls the log-variance back once it has weight.
    """
    raised = log_variance.detach().clamp_min(LEAST_LOG_VARIANCE)
    passed = log_variance - log_variance.detach()  # 0, with the gradient of the log-variance
    return diagonal_normal(mean, raised + passed)


class Encoder(nn.Module):
    """Encoding distribution q(z|y).

    :meth:`features` is everything about the fields that does not depend on trained parameters;
    it is computed once before training.
    """

    def features(self, fields: Tensor) -> Tensor:
        """What the trained part of the encoder reads; by default the fields themselves."""
        return fields

    def from_features(self, features: Tensor) -> Independent:
        """Encoding distribution q(z|y) from precomputed features."""
        raise NotImplementedError

    def pseudo_inputs(self, count: int) -> Float[Tensor, "count input"]:
        """Random inputs of the network for a VampPrior, where the encoder takes any.

        Raises
        ------
        DataError
            By default. With batch normalisation the posterior of an input depends on its batch.
        """
        raise DataError(
            f"a VampPrior needs the posterior of single inputs, which a {type(self).__name__} "
            "does not give; take a PodVAE, or another prior"
        )

    def from_inputs(self, inputs: Float[Tensor, "sample input"]) -> Independent:
        """Encoding distribution q(z|y) of inputs of the network, see :meth:`pseudo_inputs`."""
        raise NotImplementedError

    def forward(self, fields: Float[Tensor, "sample channel x1 x2"]) -> Independent:
        """Encoding distribution q(z|y): factorised normal over z (sample, latent)."""
        return self.from_features(self.features(fields))


class Decoder(nn.Module):
    """Decoding distribution p(y|z); ``variance`` is its :class:`DecoderVariance`."""

    variance: DecoderVariance

    def forward(self, z: Float[Tensor, "sample latent"]) -> Independent:
        """Decoding distribution p(y|z): factorised normal over fields."""
        raise NotImplementedError

    def squared_error(self, features: Tensor, z: Tensor) -> Float[Tensor, "sample *groups"]:
        """Squared error of the decoded mean, summed over each variance group."""
        raise NotImplementedError

    def variance_shift(self, z: Float[Tensor, "sample latent"]) -> Tensor | None:
        """What a network of z adds to the log-variance of every group; nothing by default."""
        return None

    def data_variance(self, features: Tensor) -> Float[Tensor, "*groups"]:
        """Variance of the data about their mean field in every variance group (theorem 1)."""
        raise NotImplementedError


class VAE(nn.Module):
    """Variational autoencoder: encoder q(z|y), decoder p(y|z) and prior p(z).

    Parameters
    ----------
    encoder : Encoder
        Maps fields (sample, channel, x1, x2) to a factorised normal over z.
    decoder : Decoder
        Maps z (sample, latent) to a factorised normal over fields.
    prior : str or Prior
        Name (see :func:`dvae.make_prior`) or prior.
    n_latents : int
        Dimension n of z.
    field_shape : tuple of int
        (channel, x1, x2).

    Attributes
    ----------
    configuration : dict
        Arguments that build the model again (of the models that can be saved).
    """

    configuration: dict[str, Any]
    log_variance_name: ClassVar[str] = "decoder.variance.log_variance"  # of the buffer or parameter

    def __init__(
        self,
        encoder: Encoder,
        decoder: Decoder,
        prior: str | Prior,
        n_latents: int,
        field_shape: tuple[int, ...],
    ):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder
        self.prior = make_prior(prior, n_latents)
        self.prior.attach(encoder)
        self.n_latents, self.field_shape = n_latents, tuple(field_shape)

    def use_variance(self, kind: VarianceKind) -> VAE:
        """Choose how the decoder variance is found, in place (:func:`dvae.fit` asks its recipe).

        Parameters
        ----------
        kind : {"learned", "calibrated"}
            Trained as a parameter, or at its maximum-likelihood value.

        Returns
        -------
        VAE
            The model itself.

        Raises
        ------
        DataError
            If the kind is unknown.
        """
        self.decoder.variance.set_kind(kind)
        return self

    @property
    def total_nodes(self) -> int:
        """Number of grid nodes in all: the paper's losses are divided by it."""
        return math.prod(self.field_shape[1:])

    @property
    def noise_size(self) -> int:
        """Standard normal numbers per sample that :meth:`loss_terms` consumes."""
        return self.n_latents + self.prior.noise_size

    @property
    def field_dtype(self) -> torch.dtype:
        """Precision in which fields are read: that of the parameters."""
        return next(self.parameters()).dtype

    def observed(self, fields: Float[Tensor, "*axes channel x1 x2"]) -> Tensor:
        """The values of fields that the model reads: all of them."""
        return fields

    def features(self, fields: Float[Tensor, "sample channel x1 x2"]) -> Tensor:
        """Features of the fields, in the model's precision, after a check of their shape.

        Raises
        ------
        DataError
            If the fields do not have the shape that the model was built for.
        """
        if tuple(fields.shape[1:]) != self.field_shape:
            raise DataError(
                "the model is built for fields of shape "
                f"(sample, {', '.join(map(str, self.field_shape))}) "
                f"but got {tuple(fields.shape)}; build it with the shape of the data"
            )
        return self.encoder.features(fields.to(self.field_dtype))

    def forward(self, fields: Float[Tensor, "sample channel x1 x2"]) -> Passage:
        """Encode, draw and decode: q(z|y), z and p(y|z) of section 2.

        Parameters
        ----------
        fields : Tensor (sample, channel, x1, x2)
            Samples y.

        Returns
        -------
        Passage
            The encoding distribution, one draw from it by torch's random state, differentiable
            in the encoder's parameters, and the decoding distribution at the draw.

        Raises
        ------
        DataError
            If the fields do not have the shape that the model was built for.
        """
        posterior = self.encoder.from_features(self.features(fields))
        z = posterior.rsample()
        return Passage(posterior, z, self.decoder(z))

    def loss_terms(
        self,
        features: Tensor,
        noise: Float[Tensor, "sample noise"],
        floor: Tensor | None = None,
        posterior: Independent | None = None,
    ) -> LossTerms:
        """Rate and distortion of each sample with one latent draw (eqs 4 and 5), in nats.

        Parameters
        ----------
        features : Tensor
            Output of :meth:`features`, first axis sample.
        noise : Tensor (sample, noise_size)
            Standard normal numbers: the first ``n_latents`` draw z, the others the prior's xi.
        floor : Tensor, optional
            Lower bound of a calibrated decoder variance, per variance group.
        posterior : Independent, optional
            q(z|y) of these samples where it is known already.
        """
        if posterior is None:
            posterior = self.encoder.from_features(features)
        mean, scale = posterior.base_dist.loc, posterior.base_dist.scale
        z = mean + scale * noise[:, : self.n_latents]
        rate = self.prior.rate(posterior, z, noise[:, self.n_latents :])
        error, shift = self.decoder.squared_error(features, z), self.decoder.variance_shift(z)
        distortion = self.decoder.variance(error, floor, shift)
        return LossTerms(rate, distortion)


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)

"""Priors p(z) of the latents: Gaussian, hierarchical (section 2.3), mixtures, and a flow.

Every prior estimates the rate KL[q(z|y) || p(z)] of a batch from given noise, so that training is
a deterministic function of its random numbers, and has a density and samples for plots and checks.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from dvae.errors import DataError, UnknownNameError

__all__ = [
    "CorrelatedPrior",
    "FlowPrior",
    "GaussianPrior",
    "HierarchicalPrior",
    "MixturePrior",
    "Prior",
    "PseudoEncoder",
    "VampPrior",
    "diagonal_normal",
    "make_prior",
]

LOG_2PI = math.log(2 * math.pi)


def diagonal_normal(mean: Tensor, log_variance: Tensor, event_dims: int = 1) -> Independent:
    """Factorised normal distribution from its mean and log-variance (last axes are the event)."""
    scale = torch.exp(0.5 * log_variance).expand_as(mean)
    return Independent(Normal(mean, scale, validate_args=False), event_dims, validate_args=False)


def _normal_log_prob(x: Tensor, mean: Tensor | float, log_variance: Tensor | float) -> Tensor:
    """Log-density of a factorised normal, summed over the last axis."""
    log_variance = torch.as_tensor(log_variance, dtype=x.dtype, device=x.device)
    return -0.5 * (LOG_2PI + log_variance + (x - mean) ** 2 * torch.exp(-log_variance)).sum(-1)


@runtime_checkable
class PseudoEncoder(Protocol):
    """What a :class:`VampPrior` asks of the encoder of its model."""

    def pseudo_inputs(self, count: int) -> Float[Tensor, "count input"]:
        """Random inputs that look like data to the encoder's network, in the network's units."""
        ...

    def from_inputs(self, inputs: Float[Tensor, "sample input"]) -> Independent:
        """Encoding distribution q(z|y) of inputs of the network."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """The encoder and its parts."""
        ...


class Prior(nn.Module):
    """Base of the priors over ``n_latents`` latent variables.

    Attributes
    ----------
    n_latents : int
        Dimension n of z.
    noise_size : int
        Standard normal numbers per sample that :meth:`rate` consumes.
    """

    def __init__(self, n_latents: int, noise_size: int = 0):
        super().__init__()
        if n_latents < 1:
            raise DataError(f"n_latents must be at least 1, got {n_latents}")
        self.n_latents = n_latents
        self.noise_size = noise_size

    def attach(self, encoder: PseudoEncoder) -> None:
        """Take note of the encoder of the model that this prior is part of."""

    def rate(
        self,
        posterior: Independent,
        z: Float[Tensor, "sample latent"],
        noise: Float[Tensor, "sample noise"],
    ) -> Float[Tensor, " sample"]:
        """KL[q(z|y) || p(z)] of each sample in nats (first term of eq. 5), exact or estimated.

        The default is the one-sample estimate log q(z|y) - log p(z) with the entropy of q exact.
        """
        return -posterior.entropy() - self.log_prob(z)

    def log_prob(self, z: Float[Tensor, "sample latent"]) -> Float[Tensor, " sample"]:
        """Log-density log p(z) in nats."""
        raise NotImplementedError

    def sample(self, n_samples: int) -> Float[Tensor, "sample latent"]:
        """Independent draws from p(z)."""
        raise NotImplementedError


class GaussianPrior(Prior):
    """Zero-mean normal prior N(0, diag(scale^2)); ``scale = 1`` is the paper's standard normal.

    Parameters
    ----------
    n_latents : int
        Dimension of z.
    scale : float or sequence of float
        Standard deviation, common or one per latent; positive.
    """

    log_variance: Tensor

    def __init__(self, n_latents: int, scale: float | tuple[float, ...] = 1.0):
        super().__init__(n_latents)
        scales = torch.as_tensor(scale, dtype=torch.get_default_dtype())
        if scales.shape not in ((), (n_latents,)) or not bool((scales > 0).all()):
            raise DataError(
                f"the prior's scale must be a positive number, or one for each of the {n_latents} "
                f"latents, got {scale}"
            )
        self.register_buffer("log_variance", 2 * scales.expand(n_latents).log())

    def rate(self, posterior, z, noise):
        """Closed form of KL[q || p] for two factorised normals, summed over latents."""
        mean, variance = posterior.base_dist.loc, posterior.base_dist.scale**2
        log_ratio = self.log_variance - variance.log()
        ratio = (variance + mean**2) * torch.exp(-self.log_variance)
        return 0.5 * (log_ratio + ratio - 1).sum(-1)

    def log_prob(self, z):
        return _normal_log_prob(z, 0.0, self.log_variance)

    def distribution(self) -> Distribution:
        """The prior as a torch distribution."""
        return diagonal_normal(torch.zeros_like(self.log_variance), self.log_variance)

    def sample(self, n_samples):
        return self.distribution().sample((n_samples,))


class CorrelatedPrior(Prior):
    """Zero-mean normal prior N(0, S) whose correlation matrix S is learned; not in the paper.

    S = L L^T with a lower triangular L of rows of length 1, so that every latent keeps the
    variance 1: the scale of a latent is free anyhow, its network can take any. S starts at I,
    the standard normal prior.

    Parameters
    ----------
    n_latents : int
        Dimension of z.
    """

    def __init__(self, n_latents: int):
        super().__init__(n_latents)
        self.below = nn.Parameter(torch.zeros(n_latents, n_latents))  # its lower triangle counts

    def factor(self) -> Float[Tensor, "latent latent"]:
        """Cholesky factor L of the correlation matrix."""
        rows = self.below.tril(-1) + torch.eye(self.n_latents).to(self.below)
        return rows / rows.norm(dim=-1, keepdim=True)

    def _whitening(self) -> tuple[Tensor, Tensor]:
        """Inverse of L, and log det S."""
        factor = self.factor()
        identity = torch.eye(self.n_latents).to(factor)
        inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
        return inverse, 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def rate(self, posterior, z, noise):
        """Closed form of KL[q || p] of a factorised normal from one with covariance S."""
        mean, variance = posterior.base_dist.loc, posterior.base_dist.scale**2
        inverse, log_det = self._whitening()
        spread = variance @ (inverse**2).sum(-2)  # trace of S^-1 diag(variance)
        distance = (mean @ inverse.mT).pow(2).sum(-1)
        return 0.5 * (spread + distance - self.n_latents + log_det - variance.log().sum(-1))

    def log_prob(self, z):
        inverse, log_det = self._whitening()
        return _normal_log_prob(z @ inverse.mT, 0.0, 0.0) - 0.5 * log_det

    @torch.no_grad()
    def sample(self, n_samples):
        return torch.randn(n_samples, self.n_latents).to(self.below) @ self.factor().mT


class MixturePrior(Prior):
    """Factorised learned prior: each latent has its own one-dimensional Gaussian mixture.

    It is never rotation-invariant unless it degenerates to equal Gaussians, and its density is
    exact. This prior is not in the paper; it isolates what a learned factorised prior does.

    Parameters
    ----------
    n_latents : int
        Dimension of z.
    n_components : int
        Mixture components per latent; means start evenly spaced in [-2, 2], unit weights.
    """

    def __init__(self, n_latents: int, n_components: int = 8):
        super().__init__(n_latents)
        if n_components < 1:
            raise DataError(f"a mixture needs at least 1 component, got {n_components}")
        start = torch.linspace(-2, 2, n_components)
        width = 4 / max(n_components - 1, 1)
        self.logits = nn.Parameter(torch.zeros(n_latents, n_components))
        self.means = nn.Parameter(start.expand(n_latents, -1).clone())
        self.log_variances = nn.Parameter(
            torch.full((n_latents, n_components), 2 * math.log(width))
        )

    def log_prob(self, z):
        z = z.unsqueeze(-1)
        component = -0.5 * (
            LOG_2PI + self.log_variances + (z - self.means) ** 2 * torch.exp(-self.log_variances)
        )
        weighted = torch.log_softmax(self.logits, -1) + component
        return torch.logsumexp(weighted, -1).sum(-1)

    @torch.no_grad()
    def sample(self, n_samples):
        choice = torch.distributions.Categorical(logits=self.logits).sample((n_samples,))
        latent = torch.arange(self.n_latents, device=choice.device)
        mean, log_variance = self.means[latent, choice], self.log_variances[latent, choice]
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


class _ConditionalNormal(nn.Module):
    """Normal distribution whose mean, and on request log-variance, is a small ReLU network."""

    def __init__(self, size: int, hidden: Sequence[int], variance: str, rectified: bool):
        super().__init__()
        widths = (size, *hidden)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.mean = nn.Linear(widths[-1], size)
        self.rectified = rectified
        self.log_variance: Tensor | nn.Linear
        if variance == "constant":
            self.log_variance = nn.Parameter(torch.zeros(size))
        else:
            self.log_variance = nn.Linear(widths[-1], size)

    def extra_repr(self) -> str:
        return f"rectified={self.rectified}"

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        mean = torch.relu(self.mean(h)) if self.rectified else self.mean(h)
        if isinstance(self.log_variance, nn.Linear):
            return mean, self.log_variance(h)
        return mean, self.log_variance.expand_as(mean)


class HierarchicalPrior(Prior):
    """Hierarchical prior p(z) = E_{p(xi)} p(z|xi), learned with its own encoder (eqs 10 to 15).

    The rate is bounded from above (eqs 13 to 15) by

    .. math:: E_q[\\log q(z|y)] + KL[q(\\xi|z) || p(\\xi)] - E_{q(\\xi|z)} \\log p(z|\\xi),

    each expectation over xi estimated with one draw. With more levels, xi has a hierarchical
    prior of its own.

    Parameters
    ----------
    n_latents : int
        Dimension of z and of every xi.
    rectified : bool
        False: prior decoder "as described" in the paper. True: "as coded" by the authors, whose
        prior decoder is Linear-ReLU-Linear-ReLU, so that E[z|xi] >= 0 in every coordinate.
    variance : {"constant", "network"}
        Constant learned log-variances (the authors' choice), or parameterised by the networks.
    encoder_hidden, decoder_hidden : tuple of int, optional
        Widths of the hidden layers. By default the authors': encoder (16, 16), decoder (16,) when
        ``rectified`` and (16, 16) as described.
    levels : int
        Number of hierarchical variables.

    Raises
    ------
    DataError
        If ``levels`` is below 1 or ``variance`` is unknown.
    """

    def __init__(
        self,
        n_latents: int,
        rectified: bool = False,
        variance: Literal["constant", "network"] = "constant",
        encoder_hidden: Sequence[int] = (16, 16),
        decoder_hidden: Sequence[int] | None = None,
        levels: int = 1,
    ):
        if levels < 1:
            raise DataError(f"a hierarchical prior needs at least 1 level, got {levels}")
        if variance not in ("constant", "network"):
            raise DataError(f"variance must be 'constant' or 'network', got {variance!r}")
        if decoder_hidden is None:
            decoder_hidden = (16,) if rectified else (16, 16)
        if levels == 1:
            parent: GaussianPrior | HierarchicalPrior = GaussianPrior(n_latents)
        else:
            parent = HierarchicalPrior(
                n_latents, rectified, variance, encoder_hidden, decoder_hidden, levels - 1
            )
        super().__init__(n_latents, noise_size=n_latents + parent.noise_size)
        self.encoder = _ConditionalNormal(n_latents, encoder_hidden, variance, rectified=False)
        self.decoder = _ConditionalNormal(n_latents, decoder_hidden, variance, rectified)
        self.parent = parent

    def rate(self, posterior, z, noise):
        """Upper bound on KL[q(z|y) || p(z)], eqs 13 to 15 without the reconstruction term."""
        return -posterior.entropy() - self.log_prob_bound(z, noise)

    def log_prob_bound(
        self, z: Float[Tensor, "*sample latent"], noise: Float[Tensor, "*sample noise"]
    ) -> Float[Tensor, "*sample"]:
        """Lower bound on log p(z) from one draw of xi (negative of eq. 12), in nats."""
        mean, log_variance = self.encoder(z)
        posterior = diagonal_normal(mean, log_variance)
        n = self.n_latents
        xi = mean + torch.exp(0.5 * log_variance) * noise[..., :n]
        rate = self.parent.rate(posterior, xi, noise[..., n:])
        return _normal_log_prob(z, *self.decoder(xi)) - rate

    def log_prob(self, z, n_samples: int = 4096, generator: torch.Generator | None = None):
        """Log-density by importance sampling, eq. 10 with the logarithm outside the mean.

        Half of the xi come from the prior encoder and half from p(xi), weighted as one mixture, so
        that the weights are bounded also where the encoder misses p(xi|z). Consistent as
        ``n_samples`` grows.
        """
        n, half = self.n_latents, (n_samples + 1) // 2
        chain, top = [self], self.parent
        while isinstance(top, HierarchicalPrior):
            chain.append(top)
            top = top.parent
        shape = (2, half, *z.shape[:-1], n * len(chain))
        noise = torch.randn(shape, dtype=z.dtype, device=z.device, generator=generator)
        upward, downward = (part.split(n, -1) for part in noise)
        up, xi = [], z.expand(half, *z.shape)
        for prior, epsilon in zip(chain, upward, strict=True):
            mean, log_variance = prior.encoder(xi)
            xi = mean + torch.exp(0.5 * log_variance) * epsilon
            up.append(xi)
        down = [torch.exp(0.5 * top.log_variance) * downward[-1]]
        for prior, epsilon in zip(chain[:0:-1], downward[-2::-1], strict=True):
            mean, log_variance = prior.decoder(down[-1])
            down.append(mean + torch.exp(0.5 * log_variance) * epsilon)
        child = z.expand(2 * half, *z.shape)
        log_encoder = log_joint = log_likelihood = z.new_zeros(())
        for prior, pair in zip(chain, zip(up, reversed(down), strict=True), strict=True):
            xi = torch.cat(pair)
            log_encoder = log_encoder + _normal_log_prob(xi, *prior.encoder(child))
            conditional = _normal_log_prob(child, *prior.decoder(xi))
            if prior is self:
                log_likelihood = conditional
            else:
                log_joint = log_joint + conditional
            child = xi
        log_joint = log_joint + top.log_prob(child)
        log_proposal = torch.logaddexp(log_encoder, log_joint) - math.log(2)
        log_weight = log_likelihood + log_joint - log_proposal
        return torch.logsumexp(log_weight, 0) - math.log(2 * half)

    @torch.no_grad()
    def sample(self, n_samples):
        mean, log_variance = self.decoder(self.parent.sample(n_samples))
        return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


class VampPrior(Prior):
    """Mixture of the posteriors of learned pseudo-inputs u_k, in equal parts.

    .. math:: p(z) = \\frac1K \\sum_k q(z | u_k)

    The loss is least where p(z) is the posterior averaged over the data; this prior has the form
    of that average, with K learned inputs in the place of the samples. It has no network of its
    own: ``attach`` (which a model calls) tells it the model's encoder, which it refers to without
    making it a part of itself. The density is exact.

    Parameters
    ----------
    n_latents : int
        Dimension of z.
    n_inputs : int
        Number K of pseudo-inputs, in the units of what the encoder's network reads.

    Raises
    ------
    DataError
        If ``n_inputs`` is below 1, the prior is asked for a density without a model, is made part
        of a second model, or the model's encoder takes no pseudo-inputs.

    References
    ----------
    Tomczak and Welling, VAE with a VampPrior, AISTATS 2018.
    """

    inputs: nn.Parameter

    def __init__(self, n_latents: int, n_inputs: int = 50):
        super().__init__(n_latents)
        if n_inputs < 1:
            raise DataError(f"a VampPrior needs at least 1 pseudo-input, got {n_inputs}")
        self.n_inputs = n_inputs
        self._encoders: tuple[PseudoEncoder, ...] = ()  # in a tuple it is no submodule

    def attach(self, encoder):
        if self._encoders:
            if self._encoders[0] not in encoder.modules():  # it is, inside of units
                raise DataError("a VampPrior belongs to one model; give each model its own")
            return
        self.inputs = nn.Parameter(encoder.pseudo_inputs(self.n_inputs))
        self._encoders = (encoder,)

    def reset_parameters(self) -> None:
        """Draw the pseudo-inputs anew."""
        with torch.no_grad():
            self.inputs.copy_(self._encoder.pseudo_inputs(self.n_inputs))

    @property
    def _encoder(self) -> PseudoEncoder:
        if not self._encoders:
            raise DataError("a VampPrior has a density only as part of a model, with its encoder")
        return self._encoders[0]

    def _components(self) -> tuple[Tensor, Tensor]:
        """Means and log-variances of the components (component, latent)."""
        components = self._encoder.from_inputs(self.inputs).base_dist
        return components.loc, 2 * components.scale.log()

    def log_prob(self, z):
        component = _normal_log_prob(z.unsqueeze(-2), *self._components())
        return torch.logsumexp(component, -1) - math.log(self.n_inputs)

    @torch.no_grad()
    def sample(self, n_samples):
        mean, log_variance = self._components()
        choice = torch.randint(self.n_inputs, (n_samples,), device=mean.device)
        scale = torch.exp(0.5 * log_variance[choice])
        return mean[choice] + scale * torch.randn_like(mean[choice])


class FlowPrior(Prior):
    """Neural spline flow: a standard normal, transformed by splines with learned knots.

    Autoregressive transformations of monotonic rational-quadratic splines on [-5, 5], the
    identity outside, one latent after the other in turning order (library zuko). The density is
    exact, and any density is a limit of such ones.

    Parameters
    ----------
    n_latents : int
        Dimension of z.
    transforms : int
        Number of transformations.
    bins : int
        Bins of every spline.
    hidden : tuple of int
        Widths of the hidden layers of the networks that give the knots.

    Raises
    ------
    DataError
        If ``transforms`` is below 1 or ``bins`` below 2.

    References
    ----------
    Durkan, Bekasov, Murray and Papamakarios, Neural spline flows, NeurIPS 2019.
    """

    def __init__(
        self,
        n_latents: int,
        transforms: int = 2,
        bins: int = 8,
        hidden: Sequence[int] = (16, 16),
    ):
        super().__init__(n_latents)
        if transforms < 1 or bins < 2:
            raise DataError(
                f"a flow needs at least 1 transform and 2 bins, got {transforms} and {bins}"
            )
        checks = Distribution._validate_args
        from zuko.flows import NSF

        Distribution.set_default_validate_args(checks)  # the import switches them off
        self.transform = NSF(
            n_latents, transforms=transforms, bins=bins, hidden_features=list(hidden)
        ).transform

    def log_prob(self, z):
        base, log_determinant = self.transform().call_and_ladj(z)
        return _normal_log_prob(base, 0.0, 0.0) + log_determinant

    @torch.no_grad()
    def sample(self, n_samples):
        parameter = next(self.parameters())
        base = torch.randn(
            n_samples, self.n_latents, dtype=parameter.dtype, device=parameter.device
        )
        return self.transform().inv(base)


PRIORS: dict[str, Callable[[int], Prior]] = {
    "standard": GaussianPrior,
    "correlated": CorrelatedPrior,
    "hierarchical": HierarchicalPrior,
    "hierarchical-rectified": lambda n: HierarchicalPrior(n, rectified=True),
    "mixture": MixturePrior,
    "vamp": VampPrior,
    "flow": FlowPrior,
}


def make_prior(prior: str | Prior, n_latents: int) -> Prior:
    """Prior of a given name over ``n_latents`` latents, or the given prior after a check.

    Parameters
    ----------
    prior : str or Prior
        "standard"; "hierarchical" is the prior as the paper describes it and
        "hierarchical-rectified" as coded; "correlated", "mixture", "vamp" and "flow" are
        :class:`CorrelatedPrior`, :class:`MixturePrior`, :class:`VampPrior` and :class:`FlowPrior`.
    n_latents : int
        Dimension of z.

    Raises
    ------
    UnknownNameError
        If the name is not one of the above.
    DataError
        If a prior is given whose dimension is not ``n_latents``.

    Examples
    --------
    >>> prior = make_prior("hierarchical", n_latents=2)
    >>> prior.sample(5).shape
    torch.Size([5, 2])
    """
    if isinstance(prior, Prior):
        if prior.n_latents != n_latents:
            raise DataError(
                f"the prior has {prior.n_latents} latents but the model {n_latents}; "
                "build both with the same number"
            )
        return prior
    if prior not in PRIORS:
        raise UnknownNameError(f"unknown prior {prior!r}; choose one of {', '.join(PRIORS)}")
    return PRIORS[prior](n_latents)

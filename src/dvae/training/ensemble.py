"""Ensembles: many VAEs of one architecture as one program.

The parameters of M members form a matrix (member, parameter), so training, checkpoints and walks
through parameter space are operations on rows. Members never mix: every operation is batched
over the member axis (``torch.func.vmap``). Where members share an operation, convolutions become
grouped convolutions; batch normalisation has its own exact statistics per member.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import math
import threading
from collections.abc import Callable, Sequence
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, vmap

from dvae.errors import DataError, DeviceError
from dvae.models.vae import VAE, LossTerms
from dvae.physics.samples import Samples, in_batches
from dvae.threads import one_thread

__all__ = ["Ensemble", "check_device", "initialise"]

Arguments = ParamSpec("Arguments")
Returned = TypeVar("Returned")

CONVOLVE_TOGETHER = 33**2  # most grid nodes for which members share convolutions on a CPU
_GLOBAL_GENERATOR = threading.Lock()  # groups may train in several threads of a cluster's worker


def check_device(device: str | torch.device) -> torch.device:
    """The device, after a check that this machine has it.

    Raises
    ------
    DeviceError
        If the name is unknown or the device is not there.
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {device!r}; use 'cpu' or 'cuda'") from error
    if chosen.type not in ("cpu", "cuda"):
        raise DeviceError(f"device {device!r} is not supported; use 'cpu' or 'cuda'")
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            f"device {device!r} was asked for but torch {torch.__version__} sees no CUDA GPU; "
            "use device='cpu', or install a CUDA build of torch on a machine with a GPU"
        )
    if chosen.type == "cuda" and (chosen.index or 0) >= (count := torch.cuda.device_count()):
        raise DeviceError(
            f"device {device!r} was asked for but this machine has {count} of them, counted from 0"
        )
    return chosen


def initialise(template: VAE, seed: int, scheme: Literal["default", "xavier"] = "default") -> VAE:
    """Copy of a model with weights drawn anew from ``seed``.

    Parameters
    ----------
    template : VAE
        Architecture; parameters of modules without a random initialisation keep their values.
    seed : int
        Seed of the draw; the same on every device.
    scheme : {"default", "xavier"}
        torch's defaults, or Glorot's uniform initialisation of all weights (section 4.2); what
        ``starts_at_zero`` does so in either.
    """
    model = copy.deepcopy(template)
    with _GLOBAL_GENERATOR, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
        if scheme == "xavier":
            for module in model.modules():
                if getattr(module, "starts_at_zero", False):
                    continue
                if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
                    nn.init.xavier_uniform_(module.weight)
    return model


def _with_own_arithmetic(
    method: Callable[Concatenate[Ensemble, Arguments], Returned],
) -> Callable[Concatenate[Ensemble, Arguments], Returned]:
    """A method of an ensemble that computes within :meth:`Ensemble.arithmetic`."""

    @functools.wraps(method)
    def run(self: Ensemble, *arguments: Arguments.args, **options: Arguments.kwargs) -> Returned:
        with self.arithmetic():
            return method(self, *arguments, **options)

    return run


class Ensemble:
    """M models of one architecture with stacked parameters.

    Parameters
    ----------
    models : sequence of VAE
        Members, all of the same architecture.

    Attributes
    ----------
    parameters : Tensor (member, parameter)
        Trainable parameters, one flat row per member.
    buffers : dict of str to Tensor (member, ...)
        Running statistics and variances of every member.
    """

    def __init__(self, models: Sequence[VAE]):
        if not models:
            raise DataError("an ensemble needs at least one member")
        self.template = copy.deepcopy(models[0])
        named = list(self.template.named_parameters())
        self.names = [name for name, _ in named]
        self.shapes = [p.shape for _, p in named]
        self.sizes = [p.numel() for _, p in named]
        rows = []
        for model in models:
            shapes = [p.shape for p in model.parameters()]
            if shapes != self.shapes or repr(model) != repr(self.template):
                raise DataError("the members of an ensemble must have the same architecture")
            rows.append(torch.cat([p.detach().flatten() for p in model.parameters()]))
        self.parameters = torch.stack(rows)
        shared = tuple(
            name + "."
            for name, module in self.template.named_modules()
            if getattr(module, "shared_between_members", False)
        )
        states = [dict(model.named_buffers()) for model in models]
        for name in (name for name in states[0] if name.startswith(shared)):
            if not all(torch.equal(state[name], states[0][name]) for state in states[1:]):
                raise DataError(
                    f"the members of an ensemble must share one {name.rsplit('.', 1)[0]}"
                )
        self.buffers = {
            name: torch.stack([state[name] for state in states]).clone()
            for name in states[0]
            if not name.startswith(shared)
        }

    @classmethod
    def from_seeds(
        cls,
        template: VAE,
        seeds: Sequence[int],
        scheme: Literal["default", "xavier"] = "default",
    ) -> Ensemble:
        """Ensemble whose members are :func:`initialise`-d from the given seeds."""
        return cls([initialise(template, seed, scheme) for seed in seeds])

    @property
    def n_members(self) -> int:
        """Number of members M."""
        return self.parameters.shape[0]

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.parameters.device

    @property
    def members_per_call(self) -> int | None:
        """Members that share one batched operation: all (None), or 1.

        One at a time where the model convolves on a large grid and the device is a CPU, for there
        grouped convolutions are slower than as many plain ones; on small grids the time goes into
        starting operations, and sharing them pays (`benchmarks/measured.json`, "dense", "grids").
        """
        large = self.template.total_nodes > CONVOLVE_TOGETHER
        return 1 if self._convolves and large and self.device.type == "cpu" else None

    @property
    def _convolves(self) -> bool:
        return any(isinstance(m, nn.Conv2d | nn.ConvTranspose2d) for m in self.template.modules())

    def arithmetic(self) -> contextlib.AbstractContextManager[None]:
        """How these members compute: threads of a CPU, precision and order of sums on a GPU.

        On a CPU one thread where nothing convolves: the products of PodVAE's small matrices take
        microseconds, and two threads that wait for each other cost more than they save as soon as
        another process is busy (`benchmarks/bench_training.py`, part "threads"). On a GPU
        convolutions add in a fixed order and in the precision of their numbers, which torch by
        default rounds to TensorFloat-32.
        """
        if self.device.type == "cuda":
            return torch.backends.cudnn.flags(
                enabled=True, benchmark=False, deterministic=True, allow_tf32=False
            )
        return contextlib.nullcontext() if self._convolves else one_thread()

    def to(self, device: torch.device | str) -> Ensemble:
        """Move to a device, in place."""
        self.template.to(device)
        self.parameters = self.parameters.to(device)
        self.buffers = {name: value.to(device) for name, value in self.buffers.items()}
        return self

    def with_parameters(self, parameters: Float[Tensor, "member parameter"]) -> Ensemble:
        """Ensemble of other parameter vectors; buffers are those of the first member, copied.

        Raises
        ------
        DataError
            If the vectors do not have the length of this architecture's parameters.
        """
        if parameters.ndim != 2 or parameters.shape[1] != self.parameters.shape[1]:
            raise DataError(
                f"expected parameters of shape (member, {self.parameters.shape[1]}), "
                f"got {tuple(parameters.shape)}"
            )
        other = copy.copy(self)
        other.parameters = parameters
        m = len(parameters)
        other.buffers = {
            name: value[:1].expand(m, *value.shape[1:]).clone()
            for name, value in self.buffers.items()
        }
        return other

    def part(self, members: slice) -> Ensemble:
        """Some of the members; parameters and buffers are views."""
        part = copy.copy(self)
        part.parameters = self.parameters[members]
        part.buffers = {name: value[members] for name, value in self.buffers.items()}
        return part

    def split(self, parameters: Tensor) -> dict[str, Tensor]:
        """Named views ``(member, *shape)`` of a parameter matrix."""
        pieces = parameters.split(self.sizes, dim=1)
        return {
            name: piece.reshape(-1, *shape)
            for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)
        }

    def member(self, index: int) -> VAE:
        """One member as an ordinary module, in evaluation mode, on the CPU."""
        model = copy.deepcopy(self.template).cpu()
        row = self.split(self.parameters[index : index + 1].detach().cpu())
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(row[name][0])
            for name, buffer in model.named_buffers():
                if name in self.buffers:
                    buffer.copy_(self.buffers[name][index].cpu())
        return model.eval()

    def call(self, function, parameters: Tensor, *arguments, in_dims=0):
        """``function(model, *arguments)`` for every member at once.

        ``in_dims`` is the member axis of each argument (None where it is shared).
        """
        if not isinstance(in_dims, tuple):
            in_dims = (in_dims,) * len(arguments)
        wrapper = _Call(self.template, function)

        def call_member(parameters, buffers, *arguments):
            state = {f"model.{k}": v for k, v in {**parameters, **buffers}.items()}
            return functional_call(wrapper, state, arguments)

        members = self.split(parameters)
        if self.members_per_call == 1 or len(parameters) == 1:
            # one at a time without vmap, which would make grouped convolutions of plain ones
            return _stacked(
                [
                    call_member(
                        {name: value[i] for name, value in members.items()},
                        {name: value[i] for name, value in self.buffers.items()},
                        *(
                            a if dim is None else a.select(dim, i)
                            for a, dim in zip(arguments, in_dims, strict=True)
                        ),
                    )
                    for i in range(len(parameters))
                ]
            )
        batched = vmap(call_member, in_dims=(0, 0, *in_dims))
        return batched(members, self.buffers, *arguments)

    def loss_terms(self, parameters: Tensor, *arguments, in_dims=0) -> LossTerms:
        """:meth:`VAE.loss_terms` of every member: rate and distortion (member, sample)."""
        return self.call(
            lambda model, *a: model.loss_terms(*a), parameters, *arguments, in_dims=in_dims
        )

    @_with_own_arithmetic
    @torch.no_grad()
    def encode(
        self, fields: Float[Tensor, "sample channel x1 x2"] | Samples, batch_size: int = 64
    ) -> tuple[Float[Tensor, "member sample latent"], Float[Tensor, "member sample latent"]]:
        """Mean and standard deviation of q(z|y) of every member, in evaluation mode."""
        self.template.eval()
        means, scales = [], []

        def encode(model, features):
            posterior = model.encoder.from_features(features).base_dist
            return posterior.loc, posterior.scale

        for batch in self._features(fields).split(batch_size):
            mean, scale = self.call(encode, self.parameters, batch, in_dims=(None,))
            means.append(mean)
            scales.append(scale)
        return torch.cat(means, 1), torch.cat(scales, 1)

    def _features(self, fields: Tensor | Samples) -> Tensor:
        """Features of the fields, on the device of the members."""
        parts = [self.template.features(part.to(self.device)) for part in in_batches(fields)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    @_with_own_arithmetic
    @torch.no_grad()
    def decode(
        self, z: Float[Tensor, "member sample latent"]
    ) -> Float[Tensor, "member sample channel x1 x2"]:
        """Mean of p(y|z) of every member, in evaluation mode."""
        self.template.eval()
        return self.call(lambda model, z: model.decoder(z).base_dist.loc, self.parameters, z)

    @_with_own_arithmetic
    @torch.no_grad()
    def calibrate(
        self,
        features: Tensor,
        n_samples: int = 4,
        seed: int = 0,
        batch_size: int = 64,
        weights: Float[Tensor, "member sample"] | None = None,
    ) -> None:
        """Set calibrated decoder variances to the mean squared error over ``features``.

        Evaluation mode, ``n_samples`` latent draws per sample; no effect on learned variances.
        ``weights`` (1 where a sample belongs to a member's training data, else 0) restricts the
        mean to each member's own samples.
        """
        if self.template.decoder.variance.kind != "calibrated":
            return
        self.template.eval()
        generator = torch.Generator().manual_seed(seed)
        n = self.template.n_latents
        if weights is None:
            weights = features.new_ones(self.n_members, len(features))

        def error(model, features, noise, weights):
            posterior = model.encoder.from_features(features).base_dist
            z = posterior.loc + posterior.scale * noise
            return torch.tensordot(weights, model.decoder.squared_error(features, z), 1)

        total = features.new_zeros(())
        for batch, weight in zip(
            features.split(batch_size), weights.split(batch_size, 1), strict=True
        ):
            for _ in range(n_samples):
                noise = torch.randn(len(batch), n, generator=generator).to(features)
                total = total + self.call(
                    error, self.parameters, batch, noise, weight, in_dims=(None, None, 0)
                )
        drawn = n_samples * weights.sum(1).view(-1, *[1] * (total.ndim - 1))
        variance = self.template.decoder.variance.per_value(total, drawn)
        self.buffers[self.template.log_variance_name].copy_(variance.log())

    @_with_own_arithmetic
    @torch.no_grad()
    def evaluate(
        self,
        fields: Float[Tensor, "sample channel x1 x2"] | Samples,
        n_samples: int = 10,
        seed: int = 0,
        batch_size: int = 64,
        relative_error: bool = True,
        by_sample: bool = False,
    ) -> xr.Dataset:
        """Losses of every member on a data set, in evaluation mode.

        Parameters
        ----------
        fields : Tensor (sample, channel, x1, x2) or Samples
            Data.
        n_samples : int
            Latent draws per sample; every member sees the same standard normal numbers.
        seed : int
            Seed of those numbers.
        batch_size : int
            Samples per evaluation.
        relative_error : bool
            Also decode the latent means and compare fields.
        by_sample : bool
            Also give ``loss_by_sample`` (member, sample), whose mean is ``loss_per_node``: a few
            extreme samples may decide it, which the median shows.

        Returns
        -------
        xarray.Dataset
            Over ``member``: ``rate`` and ``distortion`` (nats per sample), ``loss_per_node``
            (distortion / total_nodes + rate: the paper's printed L with beta = 1) and
            ``relative_error``, the root of the summed squared error of the decoded latent means
            over the summed squares of the fields (of a :class:`dvae.UnitsVAE` both over the
            values that the model sees).
        """
        self.template.eval()
        generator = torch.Generator().manual_seed(seed)
        features = self._features(fields)
        rates, distortions = [], []
        for batch in features.split(batch_size):
            rate_sum = distortion_sum = torch.zeros((), dtype=torch.double)
            for _ in range(n_samples):
                noise = torch.randn(len(batch), self.template.noise_size, generator=generator)
                noise = noise.to(batch)
                terms = self.loss_terms(self.parameters, batch, noise, in_dims=(None, None))
                rate_sum = rate_sum + terms.rate.double()
                distortion_sum = distortion_sum + terms.distortion.double()
            rates.append(rate_sum / n_samples)
            distortions.append(distortion_sum / n_samples)
        rate, distortion = (torch.cat(parts, 1).cpu().numpy() for parts in (rates, distortions))
        loss = distortion / self.template.total_nodes + rate
        values: dict[str, tuple[Any, np.ndarray]] = {
            "rate": ("member", rate.mean(1)),
            "distortion": ("member", distortion.mean(1)),
            "loss_per_node": ("member", loss.mean(1)),
        }
        if by_sample:
            values["loss_by_sample"] = (("member", "sample"), loss)
        if relative_error:
            values["relative_error"] = ("member", self._relative_error(fields, batch_size))
        data = xr.Dataset(values)
        for name in ("rate", "distortion"):
            data[name].attrs["units"] = "nats per sample"
        data["loss_per_node"].attrs["units"] = "nats per node (paper units, beta = 1)"
        return data

    def _relative_error(self, fields: Tensor | Samples, batch_size: int) -> np.ndarray:
        # decode only as many members at a time as fit in about 256 MiB of fields
        size = max(1, int(2**26 // (batch_size * math.prod(self.template.field_shape))))
        error, squares = torch.zeros(self.n_members, dtype=torch.float64), 0.0
        for batch in in_batches(fields):
            latents, _ = self.encode(batch, batch_size)
            batch = self.template.observed(batch.to(self.device))
            squares += float(batch.double().pow(2).sum())
            for first in range(0, self.n_members, size):
                members = slice(first, first + size)
                part = self.part(members)
                for z, y in zip(
                    latents[members].split(batch_size, 1), batch.split(batch_size), strict=True
                ):
                    difference = self.template.observed(part.decode(z)) - y
                    error[members] += difference.double().pow(2).flatten(1).sum(1).cpu()
        return (error / squares).sqrt().numpy()


def _stacked(results):
    """Results of single members, tensors or (named) tuples of them, as vmap would return them."""
    first = results[0]
    if isinstance(first, Tensor):
        return torch.stack(results)
    parts = [_stacked(part) for part in zip(*results, strict=True)]
    return first._make(parts) if hasattr(first, "_make") else tuple(parts)


class _Call(nn.Module):
    """Lets ``functional_call`` run any function of a model."""

    def __init__(self, model: VAE, function):
        super().__init__()
        self.model, self.function = model, function

    def forward(self, *arguments):
        return self.function(self.model, *arguments)

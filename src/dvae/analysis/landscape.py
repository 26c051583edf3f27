r"""The loss as a function of a model's parameters: lines, planes, directions (section 4.2).

A *state* is everything that a model holds, as one flat vector: its parameters, then its buffers
(running statistics of batch normalisation, a calibrated log-variance). A line between two states
is eq. 26 for the parameters and the same interpolation for the buffers, so that its ends are the
two models. Losses are estimated with the same latent noise at every state (common random numbers),
so that differences along a line are not noise of the estimate.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.distributions import Independent, Normal
from torch.func import functional_call, vmap

from dvae.analysis.degenerate import score_runs
from dvae.analysis.directions import random_direction
from dvae.analysis.scores import disentanglement_score
from dvae.errors import DataError
from dvae.models.vae import VAE
from dvae.training.ensemble import Ensemble, check_device

__all__ = ["Landscape", "loss_per_node"]

State = Float[Tensor, " state"]
States = Float[Tensor, "vector state"]
DENSE_HESSIAN = 512  # parameters up to which the whole Hessian is computed
FLOATS_AT_ONCE = 2**20  # feature values in flight: bounds memory, does not change results


class Landscape:
    """Rate and distortion of any model on given data, as a function of the model's state.

    Parameters
    ----------
    model : VAE or Ensemble
        Architecture; its values are not used.
    fields : Tensor (sample, channel, x1, x2)
        Data on which losses are computed, all of it for every state.
    theta : array (sample, factor), optional
        Factors of the data; adds S_D (eq. 6) of the latent means.
    n_samples : int
        Latent draws per data sample (the paper uses 10).
    seed : int
        Seed of the draws, which are common to all states; with ``batch_size`` 64 they are those
        of :meth:`Ensemble.evaluate`.
    statistics : {"stored", "recomputed"}
        Batch normalisation: with the running statistics in the state (interpolated along a line,
        those of the centre along a random direction), or with those of each mini-batch of the
        data, as in training.
    variance : {"stored", "calibrated"}
        Decoder variance: as in the state (a learned log-variance is a parameter of eq. 26, a
        calibrated one a buffer that is interpolated likewise), or its maximum-likelihood value on
        the data at every state.
    batch_size : int
        Samples per mini-batch of ``statistics="recomputed"``.
    device : str
        "cpu" or "cuda".

    Raises
    ------
    DataError
        If the fields do not fit the model or an option is unknown.
    DeviceError
        If the device is not there.
    """

    def __init__(
        self,
        model: VAE | Ensemble,
        fields: Float[Tensor, "sample channel x1 x2"],
        theta: Float[np.ndarray, "sample factor"] | Tensor | None = None,
        *,
        n_samples: int = 10,
        seed: int = 0,
        statistics: Literal["stored", "recomputed"] = "stored",
        variance: Literal["stored", "calibrated"] = "stored",
        batch_size: int = 64,
        device: str = "cpu",
    ):
        if statistics not in ("stored", "recomputed"):
            raise DataError(f"statistics must be 'stored' or 'recomputed', got {statistics!r}")
        if variance not in ("stored", "calibrated"):
            raise DataError(f"variance must be 'stored' or 'calibrated', got {variance!r}")
        if n_samples < 1 or batch_size < 1:
            raise DataError("n_samples and batch_size must be at least 1")
        where = check_device(device)
        first = model.member(0) if isinstance(model, Ensemble) else model
        self._ensemble = Ensemble([first]).to(where)
        self._buffers = {
            name: value.shape[1:]
            for name, value in self._ensemble.buffers.items()
            if value.is_floating_point()
        }
        template = self._ensemble.template
        if (
            template.decoder.variance_shift(torch.zeros(1, template.n_latents).to(where))
            is not None
        ):
            raise DataError(
                "the landscape of a model with a network for the decoder's variance is not "
                "computed: its distortion is not a function of mean squared errors"
            )
        self.total_nodes = template.total_nodes
        self.statistics, self.variance = statistics, variance
        self.theta = None if theta is None else np.asarray(theta, dtype=float)
        self.batch_size, self.n_samples = batch_size, n_samples
        with torch.no_grad():
            features = template.features(fields.to(where, template.field_dtype))
            self.features = features.to(self._ensemble.parameters)
        generator = torch.Generator().manual_seed(seed)
        sizes = [len(batch) for batch in self.features.split(batch_size)]
        noise = [
            torch.stack(
                [
                    torch.randn(size, template.noise_size, generator=generator)
                    for _ in range(n_samples)
                ]
            )
            for size in sizes
        ]
        self.noise: Float[Tensor, "draw sample noise"] = torch.cat(noise, 1).to(self.features)

    @property
    def n_parameters(self) -> int:
        """Number of leading entries of a state that are parameters; buffers follow."""
        return self._ensemble.parameters.shape[1]

    def states(self, models: VAE | Sequence[VAE] | Ensemble) -> States:
        """States of one or several models of this architecture, one a row.

        Raises
        ------
        DataError
            If a model has another architecture.
        """
        if isinstance(models, VAE):
            models = [models]
        ensemble = models if isinstance(models, Ensemble) else Ensemble(models)
        if ensemble.shapes != self._ensemble.shapes:
            raise DataError("the models have another architecture than the landscape")
        m = ensemble.n_members
        parts = [ensemble.parameters, *(ensemble.buffers[n].reshape(m, -1) for n in self._buffers)]
        return torch.cat([part.detach().to(self.features) for part in parts], 1)

    def model(self, state: State) -> VAE:
        """Model of a state, in evaluation mode, on the CPU."""
        return self._members(state[None]).member(0)

    def _members(self, states: States) -> Ensemble:
        """Ensemble whose members have the given states."""
        size = self.n_parameters + sum(math.prod(shape) for shape in self._buffers.values())
        if states.ndim != 2 or states.shape[1] != size:
            raise DataError(
                f"states must have the shape (vector, {size}), got {tuple(states.shape)}; "
                "get them from Landscape.states"
            )
        ensemble = self._ensemble.with_parameters(states[:, : self.n_parameters].contiguous())
        first = self.n_parameters
        for name, shape in self._buffers.items():
            last = first + math.prod(shape)
            ensemble.buffers[name] = states[:, first:last].reshape(-1, *shape).clone()
            first = last
        return ensemble

    # ------------------------------------------------------------------------------ evaluation

    def evaluate(self, states: States) -> xr.Dataset:
        """Losses at the given states.

        Parameters
        ----------
        states : Tensor (vector, state)
            From :meth:`states`, or combinations of such.

        Returns
        -------
        xarray.Dataset
            ``rate`` and ``distortion`` over (vector, draw), nats per sample, averaged over the
            data for each of the common draws; ``disentanglement`` over vector if factors are
            known (collapsed or diverged latents: :func:`dvae.analysis.degenerate.score_runs`).
        """
        states = states.to(self.features)
        return self._evaluate(lambda index: states[index], len(states))

    @torch.no_grad()
    def _evaluate(self, rows: Callable[[Tensor], States], count: int) -> xr.Dataset:
        template = self._ensemble.template
        template.train(self.statistics == "recomputed")
        width = math.prod(self.features.shape[1:])
        in_flight = max(1, FLOATS_AT_ONCE // width)  # decoded samples at a time
        draws = 1
        if self.statistics == "stored":  # draws may share a batch only if they do not interact
            draws = max(1, min(self.n_samples, in_flight // self.batch_size))
        at_once = max(1, in_flight // (self.batch_size * draws))
        pieces = []
        for index in torch.arange(count).split(at_once):
            pieces.append(self._chunk(rows(index), draws))
        rate, distortion, score = (np.concatenate(part) for part in zip(*pieces, strict=True))
        data = xr.Dataset(
            {"rate": (("vector", "draw"), rate), "distortion": (("vector", "draw"), distortion)},
            attrs={"total_nodes": self.total_nodes},
        )
        for name in data.data_vars:
            data[name].attrs["units"] = "nats per sample"
        if self.theta is not None:
            data["disentanglement"] = ("vector", score)
        return data

    def _chunk(self, states: States, draws: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rate and distortion (vector, draw) and S_D (vector,) of some states."""
        ensemble, n = self._members(states), len(self.features)
        rate = error = torch.zeros((), dtype=torch.double)
        means, dims = [], (0, 0, None, None)
        for batch, noise in zip(
            self.features.split(self.batch_size), self.noise.split(self.batch_size, 1), strict=True
        ):
            mean, scale = ensemble.call(_encode, ensemble.parameters, batch, in_dims=(None,))
            means.append(mean)
            parts = [
                ensemble.call(_decode, ensemble.parameters, mean, scale, batch, part, in_dims=dims)
                for part in noise.split(draws)
            ]
            rate = rate + torch.cat([r for r, _ in parts], 1).double() / n
            error = error + torch.cat([e for _, e in parts], 1).double() / n
        distortion = self._distortion(ensemble, error)
        score = np.zeros(len(states))
        if self.theta is not None:
            latents = torch.cat(means, 1).cpu().numpy()
            score = score_runs(disentanglement_score, latents, self.theta)
        return rate.cpu().numpy(), distortion.cpu().numpy(), score

    def _distortion(self, ensemble: Ensemble, error: Tensor) -> Float[Tensor, "vector draw"]:
        """Distortion from mean squared errors (vector, draw, *groups), in which it is linear."""
        template = self._ensemble.template
        module, name = template.decoder.variance, template.log_variance_name
        if self.variance == "calibrated":
            log_variance = module.per_value(error.mean(1)).log()
        elif name in ensemble.buffers:
            log_variance = ensemble.buffers[name].double()
        else:
            log_variance = ensemble.split(ensemble.parameters)[name].double()
        module = copy.deepcopy(module).eval()

        def member_distortion(log_variance, error):
            return functional_call(module, {"log_variance": log_variance}, (error,))

        return vmap(member_distortion)(log_variance, error)

    # ------------------------------------------------------------------- lines, rays and planes

    def line(
        self, start: State | States, end: State | States, alpha: Float[np.ndarray, " point"]
    ) -> xr.Dataset:
        r"""Losses along lines :math:`P(\alpha) = (1 - \alpha) P_i + \alpha P_T` (eq. 26).

        Parameters
        ----------
        start, end : Tensor (state,) or (line, state)
            P_i at alpha = 0 and P_T at alpha = 1; a single one is common to all lines.
        alpha : array (point,)
            Positions.

        Returns
        -------
        xarray.Dataset
            :meth:`evaluate`, over (line, point) instead of vector, with the coordinate ``alpha``.
        """
        start, end = (torch.atleast_2d(x).to(self.features) for x in (start, end))
        n_lines = max(len(start), len(end))
        if any(len(x) not in (1, n_lines) for x in (start, end)):
            raise DataError(f"{len(start)} starts and {len(end)} ends do not pair up")
        weight = torch.as_tensor(np.asarray(alpha), dtype=torch.float64).to(self.features)
        a, b = start.expand(n_lines, -1), end.expand(n_lines, -1)

        def rows(index: Tensor) -> States:
            line, w = index // len(weight), weight[index % len(weight)][:, None]
            return (1 - w) * a[line] + w * b[line]

        return _folded(self._evaluate(rows, n_lines * len(weight)), "line", n_lines, alpha)

    def rays(
        self,
        centre: State,
        alpha: Float[np.ndarray, " point"],
        seeds: Sequence[int],
        normalisation: Literal["norm", "filter"] = "norm",
    ) -> xr.Dataset:
        r"""Losses along random directions :math:`P_T + \alpha d` from a state (fig. 3, right).

        Parameters
        ----------
        centre : Tensor (state,)
            P_T.
        alpha : array (point,)
            Positions, in units of the direction's normalisation.
        seeds : sequence of int
            One direction each, see :func:`~dvae.analysis.directions.random_direction`.
        normalisation : {"norm", "filter"}
            As for :func:`~dvae.analysis.directions.random_direction`.

        Returns
        -------
        xarray.Dataset
            :meth:`evaluate`, over (line, point) instead of vector, with the coordinate ``alpha``.
        """
        weight = torch.as_tensor(np.asarray(alpha), dtype=torch.float64).to(self.features)
        seeds = tuple(int(s) for s in seeds)
        model, centre = self.model(centre), centre.to(self.features)

        @functools.lru_cache(maxsize=2)
        def direction(line: int) -> State:
            drawn = random_direction(model, seeds[line], normalisation)
            padding = len(centre) - len(drawn)
            return torch.nn.functional.pad(drawn.to(self.features), (0, padding))

        def rows(index: Tensor) -> States:
            w = weight[index % len(weight)]
            directions = [direction(line) for line in (index // len(weight)).tolist()]
            return torch.stack([centre + x * d for x, d in zip(w, directions, strict=True)])

        return _folded(self._evaluate(rows, len(seeds) * len(weight)), "line", len(seeds), alpha)

    def plane(self, solutions: States, resolution: int = 41, margin: float = 0.3) -> xr.Dataset:
        """Losses on the plane through three states (a 2-D section of the landscape).

        Parameters
        ----------
        solutions : Tensor (3, state)
            Three states that are not on one line. The first is the origin, the second lies on the
            first axis; axes are orthonormal in the space of states.
        resolution : int
            Points per axis.
        margin : float
            Border around the three states as a share of their extent.

        Returns
        -------
        xarray.Dataset
            :meth:`evaluate`, over (x, y) instead of vector, with ``x``, ``y`` and, over
            ``solution``, the places ``solution_x`` and ``solution_y`` of the three states.

        Raises
        ------
        DataError
            If there are not three states or they lie on one line.
        """
        if solutions.shape[0] != 3:
            raise DataError(f"a plane needs three states, got {solutions.shape[0]}")
        a, b, c = solutions.to(self.features)
        first, second = (b - a).double(), (c - a).double()
        u = first / first.norm()
        second_length = second.norm()
        rest = second - (second @ u) * u
        if not first.norm() > 0 or not rest.norm() > 1e-6 * second_length:
            raise DataError("the three states lie on one line")
        v = rest / rest.norm()
        places = np.array(
            [[0.0, 0.0], [float(first @ u), 0.0], [float(second @ u), float(second @ v)]]
        )
        axes = []
        for values in places.T:
            low, high = values.min(), values.max()
            border = margin * (high - low)
            axes.append(np.linspace(low - border, high + border, resolution))
        x, y = (torch.from_numpy(axis).to(self.features) for axis in axes)
        u, v = u.to(self.features), v.to(self.features)

        def rows(index: Tensor) -> States:
            i, j = index // resolution, index % resolution
            return a + x[i][:, None] * u + y[j][:, None] * v

        data = self._evaluate(rows, resolution**2)
        data = _folded(data, "x", resolution, axes[1], "y").assign_coords(x=axes[0])
        return data.assign(
            solution_x=("solution", places[:, 0]), solution_y=("solution", places[:, 1])
        )

    def lowest_curvature(self, state: State, beta: float = 1.0) -> float:
        """Lowest eigenvalue of the Hessian of the loss per node at a state.

        Negative at a saddle. The parameters move, buffers (a calibrated variance) stay. From the
        whole Hessian, or for more than a few hundred parameters by Lanczos iteration, on
        exact Hessian-vector products in 64 bits, with the first latent draw, whitened, and its
        mirror image, so that sampling errors of the noise's first moments do not tilt the result.

        Parameters
        ----------
        state : Tensor (state,)
            Where; the gradient should vanish there for the sign to mean anything.
        beta : float
            Weight of the rate per node.
        """
        model = self.model(state).to(self.features.device, torch.float64)
        parameters = list(model.parameters())
        with torch.enable_grad():
            draw = self.noise[0].double()
            loss = draw.new_zeros(())
            factor = torch.linalg.cholesky(draw.T @ draw / len(draw))
            draw = torch.linalg.solve_triangular(factor, draw.T, upper=False).T
            for noise in (draw, -draw):
                terms = model.loss_terms(self.features.double(), noise)
                loss = loss + (terms.distortion / self.total_nodes + beta * terms.rate).mean() / 2
            gradient = torch.autograd.grad(loss, parameters, create_graph=True)
        flat = torch.cat([g.flatten() for g in gradient])

        def product(vector: np.ndarray) -> np.ndarray:
            v = torch.from_numpy(np.ascontiguousarray(vector.ravel())).to(flat)
            found = torch.autograd.grad(flat @ v, parameters, retain_graph=True)
            return torch.cat([f.flatten() for f in found]).cpu().numpy()

        size = len(flat)
        if size <= DENSE_HESSIAN:
            hessian = np.stack([product(unit) for unit in np.eye(size)])
            return float(np.linalg.eigvalsh((hessian + hessian.T) / 2)[0])
        start = np.random.default_rng(0).standard_normal(size)
        operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
        (lowest,) = eigsh(operator, k=1, which="SA", v0=start, tol=1e-3, return_eigenvectors=False)
        return float(lowest)


def _encode(model: VAE, features: Tensor) -> tuple[Tensor, Tensor]:
    posterior = model.encoder.from_features(features).base_dist
    return posterior.loc, posterior.scale


def _decode(
    model: VAE, mean: Tensor, scale: Tensor, features: Tensor, noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Rate (draw,) and squared error (draw, *groups), summed over the samples of a batch."""
    k, b, _ = noise.shape
    n = model.n_latents
    # draws are the outer part of the batch axis: (draw * sample, ...)
    mean, scale, noise = mean.repeat(k, 1), scale.repeat(k, 1), noise.reshape(k * b, -1)
    z = mean + scale * noise[:, :n]
    posterior = Independent(Normal(mean, scale, validate_args=False), 1, validate_args=False)
    rate = model.prior.rate(posterior, z, noise[:, n:])
    features = features.repeat(k, *[1] * (features.ndim - 1))
    error = model.decoder.squared_error(features, z)
    return rate.reshape(k, b).sum(1), error.reshape(k, b, *error.shape[1:]).sum(1)


def _folded(
    data: xr.Dataset, outer: str, count: int, inner_values: np.ndarray, inner: str = "point"
) -> xr.Dataset:
    """Split the dimension vector into (outer, inner)."""
    size = len(inner_values)
    folded = {
        name: (
            (outer, inner, *value.dims[1:]),
            value.values.reshape(count, size, *value.shape[1:]),
            value.attrs,
        )
        for name, value in data.data_vars.items()
    }
    name = "alpha" if inner == "point" else inner
    return xr.Dataset(folded, attrs=data.attrs).assign_coords(
        {name: (inner, np.asarray(inner_values, dtype=float))}
    )


def loss_per_node(data: xr.Dataset, beta: float = 1.0) -> xr.DataArray:
    """Loss D / total_nodes + beta R in the paper's printed units, of what a landscape returned.

    Parameters
    ----------
    data : xarray.Dataset
        With ``rate``, ``distortion`` (nats per sample) and the attribute ``total_nodes``.
    beta : float
        Weight of the rate per node; per sample (eq. 5) it is ``beta * total_nodes``.
    """
    loss = data["distortion"] / data.attrs["total_nodes"] + beta * data["rate"]
    return loss.assign_attrs(units="nats per node")

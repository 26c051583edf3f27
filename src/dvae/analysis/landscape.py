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
from typing import Literal, NamedTuple

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from scipy.signal import find_peaks
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn
from torch.distributions import Independent, Normal
from torch.func import functional_call, vmap

from dvae.analysis.scores import disentanglement_score
from dvae.errors import DataError
from dvae.models.dense import DenseVAE
from dvae.models.pod import PodVAE
from dvae.models.priors import GaussianPrior
from dvae.models.vae import VAE
from dvae.training.ensemble import Ensemble, check_device

__all__ = [
    "Landscape",
    "LinearCollapse",
    "Minima",
    "barrier",
    "linear_collapse",
    "loss_per_node",
    "match_hidden_units",
    "match_latents",
    "random_direction",
    "signed_permutation",
    "strict_minima",
]

State = Float[Tensor, " state"]
States = Float[Tensor, "vector state"]
LOG_VARIANCE = "decoder.variance.log_variance"
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
        self.total_nodes, self.statistics, self.variance = (
            template.total_nodes,
            statistics,
            variance,
        )
        self.theta = None if theta is None else np.asarray(theta, dtype=float)
        self.batch_size, self.n_samples = batch_size, n_samples
        with torch.no_grad():
            self.features = template.features(fields.to(self._ensemble.parameters))
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
            known (NaN where a latent is constant or not finite).
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
        rate, error, means, dims = 0.0, 0.0, [], (0, 0, None, None)
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
            score = np.array([_score(z, self.theta) for z in latents])
        return rate.cpu().numpy(), distortion.cpu().numpy(), score

    def _distortion(self, ensemble: Ensemble, error: Tensor) -> Float[Tensor, "vector draw"]:
        """Distortion from mean squared errors (vector, draw, *groups), in which it is linear."""
        module = self._ensemble.template.decoder.variance
        if self.variance == "calibrated":
            log_variance = (error.mean(1) / module.count).log()
        elif LOG_VARIANCE in ensemble.buffers:
            log_variance = ensemble.buffers[LOG_VARIANCE].double()
        else:
            log_variance = ensemble.split(ensemble.parameters)[LOG_VARIANCE].double()
        module = copy.deepcopy(module).eval()

        def one(log_variance, error):
            return functional_call(module, {"log_variance": log_variance}, (error,))

        return vmap(one)(log_variance, error)

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
            One direction each, see :func:`random_direction`.
        normalisation : {"norm", "filter"}
            As for :func:`random_direction`.

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
            loss, draw = 0.0, self.noise[0].double()
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


def _score(z: np.ndarray, theta: np.ndarray) -> float:
    if not np.isfinite(z).all() or (np.ptp(z, axis=0) == 0).any():
        return float("nan")
    return disentanglement_score(z, theta)


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


# ------------------------------------------------------------------------------- directions


def _filters(model: VAE) -> dict[str, int]:
    """Axis that counts the filters of every weight that has filters, by parameter name.

    A filter is what produces one output: a row of a linear layer's weight, an output channel of a
    convolution.
    """
    axes = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            axes[f"{name}.weight"] = 0
        elif isinstance(module, nn.ConvTranspose2d):
            axes[f"{name}.weight"] = 1
    return axes


def random_direction(
    model: VAE, seed: int, normalisation: Literal["norm", "filter"] = "norm"
) -> Float[Tensor, " parameter"]:
    """Random direction in parameter space, scaled to a model.

    Parameters
    ----------
    model : VAE
        Where the direction starts.
    seed : int
        Seed; entries are independent standard normal numbers before they are scaled.
    normalisation : {"norm", "filter"}
        "norm": the direction is as long as the model's vector of parameters. "filter": each filter
        of the direction is as long as the model's filter (Li et al. 2018), where a filter is a
        row of a linear layer's weight or an output channel of a convolution, and everything else
        (biases, batch normalisation, log-variance) does not move.

    Returns
    -------
    Tensor (parameter,)
        Float32, in the order of ``model.parameters()``.

    References
    ----------
    Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018.
    """
    named = dict(model.named_parameters())
    total = sum(p.numel() for p in named.values())
    drawn = np.random.default_rng(seed).standard_normal(total, dtype=np.float32)
    direction = torch.from_numpy(drawn)
    length = torch.cat([p.detach().flatten().cpu() for p in named.values()]).norm()
    if normalisation == "norm":
        return direction * (length / direction.norm())
    if normalisation != "filter":
        raise DataError(f"normalisation must be 'norm' or 'filter', got {normalisation!r}")
    axes, parts = _filters(model), []
    for (name, parameter), part in zip(
        named.items(), direction.split([p.numel() for p in named.values()]), strict=True
    ):
        part = part.reshape(parameter.shape)
        if name not in axes:
            parts.append(torch.zeros(parameter.numel()))
            continue
        others = [d for d in range(parameter.ndim) if d != axes[name]]
        norms = [
            x.pow(2).sum(others, keepdim=True).sqrt() for x in (parameter.detach().cpu(), part)
        ]
        parts.append((part * norms[0] / norms[1]).flatten())
    return torch.cat(parts)


# --------------------------------------------------------------------------- minima, barriers


class Minima(NamedTuple):
    """Strict local minima of a curve: positions, climbs, and the standard errors of the climbs."""

    index: Int[np.ndarray, " minimum"]
    climb: Float[np.ndarray, " minimum"]
    error: Float[np.ndarray, " minimum"]


def strict_minima(
    losses: Float[np.ndarray, "*draw point"],
    n_sigma: float = 3.0,
    resolution: float = 1e-5,
) -> Minima:
    """Strict local minima of a loss along a line, beyond Monte-Carlo noise.

    The criterion: (1) the loss, averaged over the draws, is below that of both neighbours, or of
    both sides of a plateau; the ends of the line do not count. (2) Its *climb* (topographic
    prominence), the least rise on the way to a lower loss or to an end of the line, exceeds
    ``n_sigma`` times its standard error. Draws are common to all points, so this is the standard
    error over draws of the paired difference between the top of the climb and the minimum. (3) The
    climb exceeds ``resolution`` times the larger of 1 and the absolute loss, so that rounding is
    not counted. Losses that are not finite count as infinitely high.

    Parameters
    ----------
    losses : array (point,) or (draw, point)
        Loss, for every latent draw if there are several.
    n_sigma : float
        Threshold in standard errors; without draws only (1) and (3) are asked.
    resolution : float
        Least climb relative to the loss.

    Returns
    -------
    Minima
        Indices of the points, by position; climbs and errors in the loss's unit.

    Raises
    ------
    DataError
        If there are fewer than 3 points.
    """
    draws = np.atleast_2d(np.asarray(losses, dtype=float))
    if draws.ndim != 2 or draws.shape[1] < 3:
        raise DataError(f"a curve needs at least 3 points, got losses of shape {draws.shape}")
    mean = draws.mean(0)
    finite = np.isfinite(mean)
    top = mean[finite].max(initial=0.0)
    curve = np.where(finite, mean, top + 1 + abs(top))
    index, found = find_peaks(-curve, prominence=np.finfo(float).tiny)
    climb = found["prominences"]
    error = np.zeros(len(index))
    if len(draws) > 1:
        bases = np.stack([found["left_bases"], found["right_bases"]])
        # the lower of the two tops limits the climb
        passes = bases[curve[bases].argmin(0), np.arange(len(index))] if len(index) else index
        difference = np.where(finite[passes], draws[:, passes] - draws[:, index], 0.0)
        error = difference.std(0, ddof=1) / math.sqrt(len(draws))
    keep = (climb > n_sigma * error) & (climb > resolution * np.maximum(1.0, np.abs(curve[index])))
    return Minima(index[keep], climb[keep], error[keep])


def barrier(losses: Float[np.ndarray, "*line point"]) -> Float[np.ndarray, "*line"]:
    """Height of the highest loss on a line above the higher of its two ends (0 if none is higher).

    Parameters
    ----------
    losses : array (point,) or (line, point)
        Losses, first and last point are the ends.
    """
    losses = np.asarray(losses, dtype=float)
    return np.max(losses, axis=-1) - np.maximum(losses[..., 0], losses[..., -1])


# ----------------------------------------------------------------- symmetries of a second model


def match_latents(
    reference: Float[np.ndarray, "sample latent"], other: Float[np.ndarray, "sample latent"]
) -> tuple[Int[np.ndarray, " latent"], Int[np.ndarray, " latent"]]:
    """Signed permutation of the latents of a second model that fits a first model best.

    Parameters
    ----------
    reference, other : array (sample, latent)
        Latent means of the two models on the same samples.

    Returns
    -------
    permutation, sign : array of int (latent,)
        ``sign * other[:, permutation]`` has the largest sum of absolute correlations with
        ``reference`` among all permutations, and positive ones.

    Raises
    ------
    DataError
        If the shapes differ.
    """
    reference, other = np.asarray(reference, dtype=float), np.asarray(other, dtype=float)
    if reference.shape != other.shape or reference.ndim != 2:
        raise DataError(f"latents of two models must agree, got {reference.shape}, {other.shape}")
    correlation = _correlation(reference, other)
    _, permutation = linear_sum_assignment(-np.abs(correlation))
    sign = np.where(correlation[np.arange(len(permutation)), permutation] < 0, -1, 1)
    return permutation, sign


def _correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Correlations (column of a, column of b), 0 where a column is constant."""
    a, b = a - a.mean(0), b - b.mean(0)
    a, b = (x / np.where((norm := np.linalg.norm(x, axis=0)) > 0, norm, 1.0) for x in (a, b))
    return a.T @ b


@torch.no_grad()
def signed_permutation(
    model: VAE, permutation: Sequence[int] | np.ndarray, sign: Sequence[int] | np.ndarray
) -> VAE:
    """The same model with its latent axes permuted and signed, by an exact change of parameters.

    Latent i of the new model is ``sign[i]`` times latent ``permutation[i]`` of the old one; the
    decoder undoes this, so rate, distortion and decoded fields are unchanged.

    Parameters
    ----------
    model : VAE
        A :class:`DenseVAE` or :class:`PodVAE` with a prior that the change leaves alone.
    permutation, sign : sequence of int (latent,)
        From :func:`match_latents`.

    Raises
    ------
    DataError
        If the model is of another class, its prior is not a normal one of equal scales, or the
        permutation or the signs are not of its latents.
    """
    n = model.n_latents
    permutation, sign = torch.as_tensor(permutation), torch.as_tensor(sign)
    if sorted(permutation.tolist()) != list(range(n)) or not torch.equal(
        sign.abs(), torch.ones(n, dtype=sign.dtype)
    ):
        raise DataError(f"give a permutation of {n} latents and a sign, 1 or -1, for each")
    prior = model.prior
    if (
        not isinstance(prior, GaussianPrior)
        or float(prior.log_variance.max() - prior.log_variance.min()) > 0
    ):
        raise DataError("only an isotropic normal prior is unchanged by permuting and signing axes")
    new = copy.deepcopy(model)
    if isinstance(new, PodVAE):
        heads = [(new.encoder.network[-1], 0, True), (new.encoder.network[-1], n, False)]
        entrance = new.decoder.network[0]
    elif isinstance(new, DenseVAE):
        heads = [(new.encoder.mean[-1], 0, True), (new.encoder.log_variance[-1], 0, False)]
        entrance = new.decoder.mean[0]
    else:
        raise DataError(
            f"latent axes of {type(model).__name__} are not known, only Pod and DenseVAE"
        )
    for layer, first, signed in heads:
        rows = slice(first, first + n)
        factor = sign.to(layer.weight) if signed else torch.ones(n).to(layer.weight)
        layer.weight[rows] = factor[:, None] * layer.weight[rows][permutation]
        layer.bias[rows] = factor * layer.bias[rows][permutation]
    entrance.weight.copy_(sign.to(entrance.weight) * entrance.weight[:, permutation])
    return new


@torch.no_grad()
def match_hidden_units(reference: PodVAE, model: PodVAE, fields: Tensor) -> PodVAE:
    """The second of two PodVAEs with its hidden units permuted to fit the first, exactly.

    Layer by layer, units are paired by the correlation of their activations over the data (the
    decoder's over the reference's latent means). Permuting hidden units changes the parameters
    but not the function, the symmetry behind most barriers between two trained networks.

    Parameters
    ----------
    reference, model : PodVAE
        Of one architecture; match their latents first.
    fields : Tensor (sample, channel, x1, x2)
        Data.

    Returns
    -------
    PodVAE
        The same functions as ``model``.

    References
    ----------
    Ainsworth, Hayase and Srinivasa, Git Re-Basin, ICLR 2023 (activation matching).
    """
    new = copy.deepcopy(model)
    features = reference.features(fields)
    latents = reference.encoder.from_features(features).base_dist.loc
    inputs = {"encoder": features[:, :-1] / reference.encoder.basis.spread[0], "decoder": latents}
    for part, x in inputs.items():
        first, second = getattr(reference, part).network, getattr(new, part).network
        a, b = x, x
        for k in range(0, len(first) - 1, 2):  # linear, activation, linear, activation, ..., linear
            a = first[k + 1](first[k](a))
            b = second[k + 1](second[k](b))
            order = linear_sum_assignment(-_correlation(a.double().numpy(), b.double().numpy()))[1]
            order = torch.from_numpy(order)
            second[k].weight.copy_(second[k].weight[order])
            second[k].bias.copy_(second[k].bias[order])
            second[k + 2].weight.copy_(second[k + 2].weight[:, order])
            b = b[:, order]
    return new


# ------------------------------------------------------------------ theory of the linear VAE


class LinearCollapse(NamedTuple):
    r"""Solution of the linear VAE with calibrated noise and q active latents (section 4.2).

    Attributes
    ----------
    active : number q of active latents.
    noise : decoder variance v.
    rate, distortion : nats per sample.
    exists_below : beta (eq. 5, per sample) below which the solution with q active latents exists.
    """

    active: int
    noise: float
    rate: float
    distortion: float
    exists_below: float


def linear_collapse(
    variances: Float[np.ndarray, " direction"],
    n_values: int,
    n_latents: int,
    beta: float,
    log_jacobian: float = 0.0,
) -> list[LinearCollapse]:
    r"""Stationary points of a linear VAE whose decoder variance is calibrated, for a given beta.

    With principal variances :math:`\lambda_1 \ge \lambda_2 \ge \dots` of data of m values, noise v
    and q active latents, the optimum over encoder and decoder leaves an error :math:`\beta v` in
    every active direction and costs the rate :math:`\tfrac12 \log(\lambda_i / (\beta v))`, which
    is positive only while :math:`\lambda_i > \beta v`. Calibration asks m v to be the mean squared
    error, :math:`m v = \sum_{i > q} \lambda_i + q \beta v`, hence

    .. math:: v = \frac{\sum_{i>q} \lambda_i}{m - q \beta}, \qquad
       \beta < \beta_q = \frac{m \lambda_q}{\sum_{i>q} \lambda_i + q \lambda_q} \le \frac{m}{q}.

    The collapsed point q = 0 always exists and is unstable for
    :math:`\beta < m \lambda_1 / \sum_i \lambda_i` = :math:`\beta_1`.

    Parameters
    ----------
    variances : array (direction,)
        Principal variances, decreasing, all of them (their sum is the total variance).
    n_values : int
        Number m of values of a sample.
    n_latents : int
        Largest q.
    beta : float
        Weight of the rate per sample (eq. 5).
    log_jacobian : float
        Log-Jacobian of a scaling of the data, added to the distortion.

    Returns
    -------
    list of LinearCollapse
        For q = 0, 1, ..., those that exist at this beta.

    References
    ----------
    Lucas et al., Don't blame the ELBO!, NeurIPS 2019; Tipping and Bishop 1999 for beta = 1.
    """
    variances = np.asarray(variances, dtype=float)
    if (np.diff(variances) > 0).any() or (variances < 0).any():
        raise DataError("principal variances must be decreasing and not negative")
    solutions = []
    for q in range(n_latents + 1):
        rest = variances[q:].sum()
        limit = math.inf if q == 0 else n_values * variances[q - 1] / (rest + q * variances[q - 1])
        if not beta < limit:
            continue
        noise = rest / (n_values - q * beta)
        rate = 0.5 * np.log(variances[:q] / (beta * noise)).sum()
        distortion = 0.5 * n_values * (math.log(2 * math.pi * noise) + 1) + log_jacobian
        solutions.append(LinearCollapse(q, noise, float(rate), float(distortion), limit))
    return solutions

"""Beyond the paper: what disentangled latents are worth in a surrogate, an inversion, a design.

The same tasks with PodVAEs that are trained without labels so that the angle is left to chance
(calibrated recipe) and so that it is found (annealed), and with labels, and with two principal
components of the fields. All of
them have the unlabelled training fields and the same few labelled samples. Factors are read from
latents by two regressions: on all latents, and on one latent for each factor, which is right for
disentangled latents alone and needs fewer labels.

- *surrogate*: fields from factors, by a regression from factors to latents and the decoder;
- *inversion*: factors and log-permeability from the pressure at nine noisy sensors, with
  credible intervals as they come, and calibrated by leaving out one label after the other. Said
  before any was computed: calibrated ones hold the true factor as often as they say, but for the
  models that are trained with the labels, to which a label that is left out is nothing new. Said
  before those of the permeability: they err as those of the factors do, which the log-permeability
  is linear in, and calibrated ones hold what they say at every place, with the same exception;
- *design*: where to drill a well that measures the pressure, to learn most of the first factor.

The training fields are the same for all runs. Labels, test samples and noise are those of the run
alone, so that means over runs have the error that Student's t gives them.

What it costs is stored beside the errors, all by one thread of one process, so that the ratios can
be compared though other processes may have run beside it: seconds to learn, for a field of the
surrogate and for an inversion (one of all the test samples, which share the grid of latents), and
for a field by the solver.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from scipy.special import ndtr, ndtri

from dvae.analysis import are_disentangled
from dvae.analysis.inverse import (
    LinearPredictor,
    calibrated_levels,
    coverage_position,
    draw_from_grid,
    follow_factors,
    grid_posterior,
)
from dvae.experiments.common import data_settings, factors_of, model_settings, recipe_settings
from dvae.experiments.labelling import draw_labels, fit_labelled, load_labelled
from dvae.models import PodBasis
from dvae.physics import DarcyDataset, KarhunenLoeve, solve_darcy
from dvae.results.trials import Experiment, Group

__all__ = ["COUNTS", "LEVELS", "MODELS", "PLAIN", "TASKS"]

T = TypeVar("T")

COUNTS = (5, 8, 15, 41)  # labelled samples
RUNS = 10
MODELS = {"unlabelled": "calibrated", "annealed": "annealed", "labelled": "calibrated"}
NOISE = 0.1  # standard deviation of a measurement over that of the pressure in the data
SENSORS = (0.2, 0.5, 0.8)  # their coordinates, in sides of the square
GRID, REACH = 81, 4.5  # nodes of an axis of the latent grid, and how far it goes
DRAWS = 200  # of every posterior
LEVELS = (0.5, 0.8, 0.9, 0.95)  # of credible intervals
INTERVAL = (0.05, 0.95)  # quantiles at the ends of the interval whose width is stored
CANDIDATES = 12  # places of an axis at which a sensor may be put, and permeability is looked at
TIMED = 32  # fields that the solver is timed with
TEST_SEED = 1000  # of the test samples of run 0; those of run r have the r-th after it
PLAIN = ("components", "direct")  # no VAE: principal components, and regression alone


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    data = data_settings(profile) | {"n_pool": 48 if smoke else 512}
    pairs = [(count, run) for count in COUNTS for run in range(RUNS)]
    if smoke:
        pairs = pairs[:1]
    groups = []
    for kind, recipe in MODELS.items():
        shared = data | model_settings("laptop") | recipe_settings(profile, recipe)
        trials = tuple(
            {
                "labels": count,
                "n_labels": count if kind == "labelled" else 0,
                "run": run,
                "seed": run,
            }
            for count, run in pairs
        )
        groups.append(Group(shared | {"kind": kind}, trials))
    trials = tuple({"labels": count, "run": run} for count, run in pairs)
    return groups + [Group(data | {"kind": kind}, trials) for kind in PLAIN]


@dataclass
class _Representation:
    """Latents of the samples, and the fields of latents, of whatever encodes and decodes."""

    encode: Callable[[torch.Tensor], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]
    seconds: float  # to learn it


def _of_model(model, seconds: float) -> _Representation:
    def encode(fields):
        with torch.no_grad():
            return model.encoder(fields).mean.double().numpy()

    def decode(z):
        with torch.no_grad():
            return model.decoder(torch.from_numpy(z).float()).mean.double().numpy()

    return _Representation(encode, decode, seconds)


def _of_components(fields: torch.Tensor) -> _Representation:
    """The first two principal components, each with variance 1."""
    basis, seconds = _timed(lambda: PodBasis.from_fields(fields, 2))
    spread = basis.spread.double().numpy()

    def encode(other):
        return basis.project(other)[:, :-1].double().numpy() / spread

    def decode(z):
        return basis.reconstruct(torch.from_numpy(z * spread).float()).double().numpy()

    return _Representation(encode, decode, seconds)


def _compute(group: Group, **arguments: Any) -> xr.Dataset:
    training, _, pool = load_labelled(group.shared)
    kind = group.shared["kind"]
    if kind in MODELS:
        found = _trained(group, training, pool, **arguments)
    elif kind == "components":
        found = [_of_components(training.fields)] * len(group.trials)
    else:
        found = [None] * len(group.trials)
    runs = [trial["run"] for trial in group.trials]
    rows: dict[int, xr.Dataset] = {}
    for run in dict.fromkeys(runs):
        task = _Tasks(_Data(training, _test_samples(group.shared, run), pool, run))
        for i in (i for i, other in enumerate(runs) if other == run):
            rows[i] = task.solve(found[i], group.trials[i]["labels"], run)
    data = xr.concat([rows[i] for i in range(len(rows))], "trial")
    return data.assign_coords(
        level=list(LEVELS),
        kind=("trial", [kind] * len(rows)),
        labels=("trial", [trial["labels"] for trial in group.trials]),
        run=("trial", runs),
    )


def _test_samples(shared: dict[str, Any], run: int) -> DarcyDataset:
    return DarcyDataset.generate(
        shared["factors"], shared["n_test"], TEST_SEED + run, n_nodes=shared["n_nodes"]
    )


def _trained(group: Group, training, pool, **arguments: Any) -> list[_Representation | None]:
    """Models of the trials; those that are trained without labels are one for each run."""
    keys = [(trial["n_labels"], trial["run"]) for trial in group.trials]
    members = tuple(
        {"n_labels": count, "run": run, "seed": run} for count, run in dict.fromkeys(keys)
    )
    fits = fit_labelled(Group(group.shared, members), training, pool, **arguments)
    found = [(model, fit.seconds / len(fit.models)) for fit in fits for model in fit.models]
    models = dict(zip(dict.fromkeys(keys), found, strict=True))
    return [_of_model(*models[key]) for key in keys]


class _Data:
    """Data, sensors and noise of the tasks, and the errors of what they ask for."""

    def __init__(self, training, test, pool, run):
        self.fields, self.test_fields = training.fields, test.fields.double().numpy()
        self.test, self.pool = test, pool
        self.theta, self.theta_pool = factors_of(test), factors_of(pool)
        side = self.fields.shape[-1]
        at = [round(x * (side - 1)) for x in SENSORS]
        self.rows, self.columns = (a.ravel() for a in np.meshgrid(at, at, indexing="ij"))
        pressure = self.fields[:, 0].double().numpy()
        self.noise = NOISE * pressure.std(0).mean()
        self.measured = self.measure(self.test_fields, np.random.default_rng(run))
        inner = np.linspace(0, side - 1, CANDIDATES + 2).round().astype(int)[1:-1]
        self.candidates = np.meshgrid(inner, inner, indexing="ij")
        kle = KarhunenLoeve(self.theta.shape[1], n_nodes=side)
        # the log-permeability is linear in the factors: what a factor of 1 contributes
        self.modes = np.log(kle.permeability(np.eye(self.theta.shape[1])))
        rows, columns = self.candidates
        self.modes_placed = self.modes[:, rows.ravel(), columns.ravel()]
        some = torch.from_numpy(kle.permeability(self.theta[:TIMED].astype(float)))
        self.solver_seconds = _timed(lambda: solve_darcy(some))[1] / len(some)

    def sensed(self, fields: Float[np.ndarray, "sample channel x1 x2"]):
        """Pressure at the sensors."""
        return fields[:, 0, self.rows, self.columns]

    def measure(self, fields: Float[np.ndarray, "sample channel x1 x2"], rng):
        """Pressure at the sensors, with noise."""
        sensed = self.sensed(fields)
        return sensed + self.noise * rng.standard_normal(sensed.shape)

    def placed(self, fields: Float[np.ndarray, "sample channel x1 x2"]):
        """Pressure at the places where a sensor may be put."""
        rows, columns = (a.ravel() for a in self.candidates)
        return fields[:, 0, rows, columns]

    def field_error(self, fields) -> float:
        """Median relative error of the test fields."""
        error = np.linalg.norm((fields - self.test_fields).reshape(len(fields), -1), axis=1)
        return float(
            np.median(error / np.linalg.norm(self.test_fields.reshape(len(fields), -1), axis=1))
        )

    def permeability_error(self, theta) -> float:
        """Root mean square error of the log-permeability over its spread in the data."""
        found, true = (np.tensordot(t, self.modes, 1) for t in (theta, self.theta))
        return float(np.sqrt(((found - true) ** 2).mean() / (true**2).mean()))


class _Tasks:
    """How well the tasks are solved with latents, and without any."""

    def __init__(self, data: _Data):
        self.data = data

    def solve(self, own: _Representation | None, count: int, run: int) -> xr.Dataset:
        """Errors of the tasks with so many labels; NaN for what a method cannot do."""
        chosen = draw_labels(count, run, len(self.data.pool))
        fields, theta = self.data.pool.fields[chosen], self.data.theta_pool[chosen]
        names = ("surrogate", "surrogate_own", "factor", "factor_own", "permeability")
        values: dict[str, Any] = dict.fromkeys((*names, "width", "regret", "disentangled"), np.nan)
        values["solver_seconds"] = self.data.solver_seconds
        if own is None:
            values |= self._direct(fields, theta, run)
            return xr.Dataset(values)
        labelled, test = own.encode(fields), own.encode(self.data.test.fields)
        values["disentangled"] = float(are_disentangled(test[None], self.data.theta)[0])
        follows = follow_factors(labelled, theta)
        decoded, seconds = _timed(lambda: self._surrogate(own, labelled, theta, None))
        values["surrogate"] = self.data.field_error(decoded)
        decoded = self._surrogate(own, labelled, theta, follows)
        values["surrogate_own"] = self.data.field_error(decoded)
        values["learn_seconds"] = own.seconds
        values["surrogate_seconds"] = seconds / len(decoded)
        return xr.Dataset(values | self._invert(own, labelled, theta, follows, chosen, run))

    def _surrogate(self, own, labelled, theta, follows) -> Float[np.ndarray, "sample c x1 x2"]:
        """Test fields from their factors."""
        predicted = np.empty((len(self.data.theta), labelled.shape[1]))
        for latent in range(labelled.shape[1]):
            # the factors that a latent may depend on: all, or the one that it follows
            used = (
                np.arange(theta.shape[1]) if follows is None else np.flatnonzero(follows == latent)
            )
            line = LinearPredictor.fit(theta[:, used], labelled[:, latent])
            predicted[:, latent] = line.predict(self.data.theta[:, used])[0]
        return own.decode(predicted)

    def _direct(self, fields, theta, run) -> dict[str, Any]:
        """Gaussian processes from factors to coefficients of POD, and from sensors to factors."""
        basis = PodBasis.from_fields(self.data.fields, 12)
        targets = basis.project(fields)[:, :-1].double().numpy()
        forward, learning = _timed(lambda: _Processes(theta, targets, run))

        def decode():
            coefficients = forward.predict(self.data.theta)[0]
            return basis.reconstruct(torch.from_numpy(coefficients).float()).double().numpy()

        decoded, decoding = _timed(decode)
        rng = np.random.default_rng([run, len(theta)])
        sensed = self.data.measure(fields.double().numpy(), rng)
        backward, more = _timed(lambda: _Processes(sensed, theta, run))
        (mean, scale), inverting = _timed(lambda: backward.predict(self.data.measured))
        position = self._normal_positions(self.data.theta, mean, scale)
        left_out = []
        for i, others in _each_left_out(len(theta)):
            found = _Processes(sensed[others], theta[others], run).predict(sensed[[i]])
            left_out.append(self._normal_positions(theta[[i]], *found))
        return {
            "surrogate": self.data.field_error(decoded),
            "factor": _root_mean_square(mean - self.data.theta),
            "width": float(np.median(np.ptp(ndtri(INTERVAL)) * scale)),
            "permeability": self.data.permeability_error(mean),
            "learn_seconds": learning + more,
            "surrogate_seconds": decoding / len(decoded),
            "inversion_seconds": inverting / len(mean),
            **_intervals(position, left_out),
        }

    def _normal_positions(self, theta, mean, scale) -> _Positions:
        """Where true values lie in independent normal distributions of the factors."""
        modes = self.data.modes_placed
        placed = ndtr(((theta - mean) @ modes) / np.sqrt(scale**2 @ modes**2))
        return _Positions(ndtr((theta - mean) / scale), placed)

    def _invert(self, own, labelled, theta, follows, chosen, run) -> dict[str, Any]:
        rng = np.random.default_rng([run, len(theta)])

        def read():
            plane = _LatentPlane(own, self.data)
            z = plane.draw(self.data.measured, rng)
            return plane, z, _Reading(labelled, theta, z)

        (plane, z, found), seconds = _timed(read)
        alone = np.stack(
            [
                _Reading(labelled[:, [latent]], theta[:, [factor]], z[..., [latent]]).mean[:, 0]
                for factor, latent in enumerate(follows)
            ],
            1,
        )
        drawn = found.draw(rng)
        position = self._positions(found, self.data.theta, drawn)
        left_out = self._left_out(plane, labelled, theta, chosen, run)
        return {
            "factor": _root_mean_square(found.mean - self.data.theta),
            "factor_own": _root_mean_square(alone - self.data.theta),
            "width": float(np.median(np.ptp(np.quantile(drawn, INTERVAL, axis=1), axis=0))),
            "permeability": self.data.permeability_error(found.mean),
            "regret": self._regret(plane, labelled, theta),
            "inversion_seconds": seconds / len(z),
            **_intervals(position, left_out),
        }

    def _positions(self, found: _Reading, theta, drawn) -> _Positions:
        """Where true values lie in a posterior: exactly for factors, by draws for permeability."""
        modes = self.data.modes_placed
        below = drawn @ modes < (theta @ modes)[:, None]
        return _Positions(found.position(theta), below.mean(1))

    def _left_out(self, plane, labelled, theta, chosen, run) -> list[_Positions]:
        """Position of every labelled sample in what the others say of it."""
        rng = np.random.default_rng([run, len(theta), 1])
        sensed = self.data.measure(self.data.pool.fields[chosen].double().numpy(), rng)
        z = plane.draw(sensed, rng)
        positions = []
        for i, others in _each_left_out(len(theta)):
            found = _Reading(labelled[others], theta[others], z[[i]])
            positions.append(self._positions(found, theta[[i]], found.draw(rng)))
        return positions

    def _regret(self, plane, labelled, theta) -> float:
        """What the chosen place leaves unknown of the first factor, over what the best one does."""
        weights = np.exp(plane.log_prior)
        factor = LinearPredictor.fit(labelled, theta[:, 0]).predict(plane.nodes)[0]
        expected = _unknown(plane.places, factor, self.data.noise, weights / weights.sum())
        true = self.data.placed(self.data.test_fields)
        even = np.full(len(true), 1 / len(true))
        left = _unknown(true, self.data.theta[:, 0], self.data.noise, even)
        return float(left[expected.argmin()] / left.min())


class _LatentPlane:
    """A grid of latents, with their prior and the pressures that the decoder expects."""

    def __init__(self, own: _Representation, data: _Data):
        encoded = own.encode(data.fields)
        # the prior on latents is the normal distribution of those of the unlabelled fields
        self.center, covariance = encoded.mean(0), np.cov(encoded.T)
        self.root = np.linalg.cholesky(covariance)
        axis = np.linspace(-REACH, REACH, GRID)
        self.spacing = axis[1] - axis[0]
        self.square = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
        self.nodes = self.center + self.square @ self.root.T
        self.log_prior = -0.5 * (self.square**2).sum(1)
        parts = [own.decode(z) for z in np.array_split(self.nodes, 1 + len(self.nodes) // 512)]
        self.sensed = np.concatenate([data.sensed(part) for part in parts])
        self.places = np.concatenate([data.placed(part) for part in parts])
        error = data.sensed(data.fields.double().numpy()) - data.sensed(own.decode(encoded))
        noise = data.noise**2 * np.eye(error.shape[1])
        self.covariance = error.T @ error / len(error) + noise

    def draw(self, measured, rng) -> Float[np.ndarray, "sample draw n"]:
        """Draws of the posterior of latents, given measurements at the sensors."""
        weights = grid_posterior(self.sensed, measured, self.covariance, self.log_prior)
        draws = draw_from_grid(weights, self.square, self.spacing, DRAWS, rng)
        return self.center + draws @ self.root.T


class _Reading:
    """Posterior of factors by a regression on labels, from draws of the posterior of latents."""

    def __init__(
        self,
        labelled: Float[np.ndarray, "label n"],
        theta: Float[np.ndarray, "label factor"],
        z: Float[np.ndarray, "sample draw n"],
    ):
        lines = [LinearPredictor.fit(labelled, own) for own in theta.T]
        read = [line.predict(z.reshape(-1, z.shape[-1])) for line in lines]
        # a Student t distribution for every draw and factor: (sample, draw, factor)
        shape = (*z.shape[:2], len(lines))
        self.location, self.scale = (
            np.stack(part, -1).reshape(shape) for part in zip(*read, strict=True)
        )
        self.degrees = lines[0].degrees
        self.mean = self.location.mean(1)

    def position(
        self, truth: Float[np.ndarray, "sample factor"]
    ) -> Float[np.ndarray, "sample factor"]:
        """Posterior probability below the true factors."""
        columns = range(truth.shape[1])
        return np.stack(
            [
                coverage_position(
                    truth[:, i], self.location[..., i], self.scale[..., i], self.degrees
                )
                for i in columns
            ],
            1,
        )

    def draw(self, rng: np.random.Generator) -> Float[np.ndarray, "sample draw factor"]:
        """One draw of the factors for every draw of the latents."""
        return self.location + self.scale * rng.standard_t(self.degrees, self.location.shape)


class _Positions(NamedTuple):
    """Posterior probability below the true values."""

    factors: Float[np.ndarray, "sample factor"]
    places: Float[np.ndarray, "sample place"]  # of the log-permeability


def _each_left_out(n: int) -> list[tuple[int, Int[np.ndarray, " others"]]]:
    """Every sample with the indices of all others."""
    return [(i, np.delete(np.arange(n), i)) for i in range(n)]


def _unknown(pressure, factor, noise, weights) -> Float[np.ndarray, " place"]:
    """Variance of a factor that a cubic in the noisy pressure leaves, place by place."""
    root = np.sqrt(weights)
    left = []
    centred = factor - weights @ factor
    for own in pressure.T:
        mean = weights @ own
        spread = np.sqrt(weights @ (own - mean) ** 2)
        x = (own - mean) / spread
        regressors = np.vander(x, 4) * root[:, None]
        # noise in the pressure: its square over that of the signal, on the slope of the fit
        line = np.linalg.lstsq(regressors, centred * root, rcond=None)[0]
        slope = np.polyval(np.polyder(line), x)
        residual = centred - np.polyval(line, x)
        left.append(weights @ residual**2 + (noise / spread) ** 2 * (weights @ slope**2))
    return np.array(left)


class _Processes:
    """Gaussian processes, one for each target."""

    def __init__(self, x, y, seed):
        # these take long to import, and every experiment would wait for them
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        self.center, self.spread = x.mean(0), x.std(0) + 1e-12
        self.processes = []
        for target in y.T:
            kernel = ConstantKernel(1.0) * RBF(2.0, (0.3, 30.0)) + WhiteKernel(0.01, (1e-6, 1.0))
            process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
            self.processes.append(process.fit((x - self.center) / self.spread, target))

    def predict(self, new) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, (sample, target)."""
        x = (new - self.center) / self.spread
        found = [process.predict(x, return_std=True) for process in self.processes]
        mean, scale = zip(*found, strict=True)
        return np.stack(mean, 1), np.stack(scale, 1)


def _timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call gives, and the seconds it took."""
    start = time.perf_counter()
    found = call()
    return found, time.perf_counter() - start


def _coverage(
    position: Float[np.ndarray, "sample *factor"], levels: Float[np.ndarray, " level"]
) -> Float[np.ndarray, " level"]:
    """Share of true factors inside the central interval of each level; NaN where that is."""
    inside = np.abs(2 * position[..., None] - 1) <= levels
    return np.where(np.isnan(levels), np.nan, inside.reshape(-1, len(levels)).mean(0))


def _intervals(position: _Positions, left_out: list[_Positions]) -> dict[str, Any]:
    """How often intervals hold the truth, as they come and calibrated by labels left out."""
    values = {}
    for name, own, labels in zip(
        ("", "permeability_"), position, zip(*left_out, strict=True), strict=True
    ):
        values[f"{name}coverage"] = ("level", _coverage(own, np.array(LEVELS)))
        values[f"{name}calibrated"] = ("level", _calibrated(own, np.concatenate(labels)))
    return values


def _calibrated(
    position: Float[np.ndarray, "sample factor"], left_out: Float[np.ndarray, "label factor"]
) -> Float[np.ndarray, " level"]:
    """Coverage of intervals at the levels that labels which are left out ask for.

    The levels are those of every column (factor or place) by itself; their coverages are averaged.
    """
    covered = [
        _coverage(own, calibrated_levels(labels, np.array(LEVELS)))
        for own, labels in zip(position.T, left_out.T, strict=True)
    ]
    return np.mean(covered, 0)


def _root_mean_square(error: np.ndarray) -> float:
    return float(np.sqrt((error**2).mean()))


TASKS = Experiment(
    "tasks",
    "Surrogate, inversion and design with entangled, disentangled and labelled latents",
    4,
    _groups,
    _compute,
)

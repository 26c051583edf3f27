"""Beyond the paper: what disentangled latents are worth in a surrogate, an inversion, a design.

The same tasks with PodVAEs that are trained without labels so that the angle is left to chance
(calibrated recipe) and so that it is found (annealed), and with labels, and with two principal
components of the fields. All of
them have the unlabelled training fields and the same few labelled samples. Factors are read from
latents by two regressions: on all latents, and on one latent for each factor, which is right for
disentangled latents alone and needs fewer labels.

- *surrogate*: fields from factors, by a regression from factors to latents and the decoder;
- *inversion*: factors and log-permeability from the pressure at nine noisy sensors;
- *design*: where to measure the pressure, to learn most of the first factor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from dvae.analysis import are_disentangled
from dvae.analysis.inverse import (
    LinearPredictor,
    coverage_position,
    draw_from_grid,
    follow_factors,
    grid_posterior,
)
from dvae.experiments.common import data_settings, factors_of, model_settings, recipe_settings
from dvae.experiments.labelling import draw_labels, fit_labelled, load_labelled
from dvae.models import PodBasis
from dvae.physics import KarhunenLoeve
from dvae.results.trials import Experiment, Group

__all__ = ["COUNTS", "LEVELS", "MODELS", "PLAIN", "TASKS"]

COUNTS = (5, 8, 15, 41)  # labelled samples
RUNS = 10
MODELS = {"unlabelled": "calibrated", "annealed": "annealed", "labelled": "calibrated"}
NOISE = 0.1  # standard deviation of a measurement over that of the pressure in the data
SENSORS = (0.2, 0.5, 0.8)  # their coordinates, in sides of the square
GRID, REACH = 81, 4.5  # nodes of an axis of the latent grid, and how far it goes
DRAWS = 200  # of every posterior
LEVELS = (0.5, 0.8, 0.9, 0.95)  # of credible intervals
INTERVAL = (0.05, 0.95)  # quantiles at the ends of the interval whose width is stored
CANDIDATES = 12  # places of an axis at which a sensor may be put
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


def _of_model(model) -> _Representation:
    def encode(fields):
        with torch.no_grad():
            return model.encoder(fields).mean.double().numpy()

    def decode(z):
        with torch.no_grad():
            return model.decoder(torch.from_numpy(z).float()).mean.double().numpy()

    return _Representation(encode, decode)


def _of_components(fields: torch.Tensor) -> _Representation:
    """The first two principal components, each with variance 1."""
    basis = PodBasis.from_fields(fields, 2)
    spread = basis.spread.double().numpy()

    def encode(other):
        return basis.project(other)[:, :-1].double().numpy() / spread

    def decode(z):
        return basis.reconstruct(torch.from_numpy(z * spread).float()).double().numpy()

    return _Representation(encode, decode)


def _compute(group: Group, **arguments: Any) -> xr.Dataset:
    training, test, pool = load_labelled(group.shared)
    kind = group.shared["kind"]
    if kind in MODELS:
        found = _trained(group, training, pool, **arguments)
    elif kind == "components":
        found = [_of_components(training.fields)] * len(group.trials)
    else:
        found = [None] * len(group.trials)
    task = _Tasks(training, test, pool)
    rows = [
        task.solve(own, trial["labels"], trial["run"])
        for own, trial in zip(found, group.trials, strict=True)
    ]
    data = xr.concat(rows, "trial").assign_coords(level=list(LEVELS))
    return data.assign_coords(
        kind=("trial", [kind] * len(rows)),
        labels=("trial", [trial["labels"] for trial in group.trials]),
        run=("trial", [trial["run"] for trial in group.trials]),
    )


def _trained(group: Group, training, pool, **arguments: Any) -> list[_Representation | None]:
    """Models of the trials; those that are trained without labels are one for each run."""
    keys = [(trial["n_labels"], trial["run"]) for trial in group.trials]
    members = tuple(
        {"n_labels": count, "run": run, "seed": run} for count, run in dict.fromkeys(keys)
    )
    fits = fit_labelled(Group(group.shared, members), training, pool, **arguments)
    models = dict(zip(dict.fromkeys(keys), (m for fit in fits for m in fit.models), strict=True))
    return [_of_model(models[key]) for key in keys]


class _Tasks:
    """Data, sensors and noise of the tasks, and how well they are solved."""

    def __init__(self, training, test, pool):
        self.fields, self.test_fields = training.fields, test.fields.double().numpy()
        self.test, self.pool = test, pool
        self.theta, self.theta_pool = factors_of(test), factors_of(pool)
        side = self.fields.shape[-1]
        at = [round(x * (side - 1)) for x in SENSORS]
        self.rows, self.columns = (a.ravel() for a in np.meshgrid(at, at, indexing="ij"))
        pressure = self.fields[:, 0].double().numpy()
        self.noise = NOISE * pressure.std(0).mean()
        rng = np.random.default_rng(0)
        self.measured = self.sensed(self.test_fields)
        self.measured = self.measured + self.noise * rng.standard_normal(self.measured.shape)
        self.kle = KarhunenLoeve(self.theta.shape[1], n_nodes=side)
        inner = np.linspace(0, side - 1, CANDIDATES + 2).round().astype(int)[1:-1]
        self.candidates = np.meshgrid(inner, inner, indexing="ij")

    def sensed(self, fields: Float[np.ndarray, "sample channel x1 x2"]):
        """Pressure at the sensors."""
        return fields[:, 0, self.rows, self.columns]

    def solve(self, own: _Representation | None, count: int, run: int) -> xr.Dataset:
        """Errors of the tasks with so many labels; NaN for what a method cannot do."""
        chosen = draw_labels(count, run, len(self.pool))
        fields, theta = self.pool.fields[chosen], self.theta_pool[chosen]
        values: dict[str, Any] = {"coverage": ("level", np.full(len(LEVELS), np.nan))}
        names = ("surrogate", "surrogate_own", "factor", "factor_own", "permeability")
        values |= dict.fromkeys((*names, "width", "regret", "disentangled"), np.nan)
        if own is None:
            values |= self._direct(fields, theta, run)
            return xr.Dataset(values)
        labelled, test = own.encode(fields), own.encode(self.test.fields)
        values["disentangled"] = float(are_disentangled(test[None], self.theta)[0])
        follows = follow_factors(labelled, theta)
        values["surrogate"] = self._surrogate(own, labelled, theta, None)
        values["surrogate_own"] = self._surrogate(own, labelled, theta, follows)
        return xr.Dataset(values | self._invert(own, labelled, theta, follows, run))

    def _surrogate(self, own, labelled, theta, follows) -> float:
        """Median relative error of test fields from their factors."""
        predicted = np.empty((len(self.theta), labelled.shape[1]))
        for latent in range(labelled.shape[1]):
            # the factors that a latent may depend on: all, or the one that it follows
            used = (
                np.arange(theta.shape[1]) if follows is None else np.flatnonzero(follows == latent)
            )
            line = LinearPredictor.fit(theta[:, used], labelled[:, latent])
            predicted[:, latent] = line.predict(self.theta[:, used])[0]
        return self._field_error(own.decode(predicted))

    def _field_error(self, fields) -> float:
        error = np.linalg.norm((fields - self.test_fields).reshape(len(fields), -1), axis=1)
        return float(
            np.median(error / np.linalg.norm(self.test_fields.reshape(len(fields), -1), axis=1))
        )

    def _direct(self, fields, theta, run) -> dict[str, Any]:
        """Gaussian processes from factors to coefficients of POD, and from sensors to factors."""
        basis = PodBasis.from_fields(self.fields, 12)
        targets = basis.project(fields)[:, :-1].double().numpy()
        coefficients = _process(theta, targets, self.theta, run)[0]
        decoded = basis.reconstruct(torch.from_numpy(coefficients).float()).double().numpy()
        rng = np.random.default_rng([run, len(theta)])
        sensed = self.sensed(fields.double().numpy())
        sensed = sensed + self.noise * rng.standard_normal(sensed.shape)
        mean, scale = _process(sensed, theta, self.measured, run)
        position = ndtr((self.theta - mean) / scale)
        return {
            "surrogate": self._field_error(decoded),
            "factor": _root_mean_square(mean - self.theta),
            "width": float(np.median(np.ptp(ndtri(INTERVAL)) * scale)),
            "coverage": ("level", _coverage(position)),
            "permeability": self._permeability_error(mean),
        }

    def _permeability_error(self, theta) -> float:
        """Root mean square error of the log-permeability over its spread in the data."""
        found, true = (np.log(self.kle.permeability(t)) for t in (theta, self.theta))
        return float(np.sqrt(((found - true) ** 2).mean() / (true**2).mean()))

    def _invert(self, own, labelled, theta, follows, run) -> dict[str, Any]:
        encoded = own.encode(self.fields)
        # the prior on latents is the normal distribution of those of the unlabelled fields
        center, covariance = encoded.mean(0), np.cov(encoded.T)
        root = np.linalg.cholesky(covariance)
        axis = np.linspace(-REACH, REACH, GRID)
        square = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
        nodes = center + square @ root.T
        decoded = np.concatenate(
            [self._probe(own, part) for part in np.array_split(nodes, 1 + len(nodes) // 512)]
        )
        sensed = decoded[:, : len(self.rows)]
        error = self.sensed(self.fields.double().numpy()) - self.sensed(own.decode(encoded))
        within = error.T @ error / len(error) + self.noise**2 * np.eye(sensed.shape[1])
        weights = grid_posterior(sensed, self.measured, within, -0.5 * (square**2).sum(1))
        rng = np.random.default_rng([run, len(theta)])
        draws = draw_from_grid(weights, square, axis[1] - axis[0], DRAWS, rng)
        z = center + draws @ root.T
        values: dict[str, Any] = {}
        means, positions, widths = {}, [], []
        for end, regressors in (("", [slice(None)] * 2), ("_own", [[i] for i in follows])):
            located = []
            for factor, used in enumerate(regressors):
                line = LinearPredictor.fit(labelled[:, used], theta[:, factor])
                read = z[..., used]
                predicted = line.predict(read.reshape(-1, read.shape[-1]))
                location, scale = (a.reshape(read.shape[:2]) for a in predicted)
                located.append(location.mean(1))
                if not end:
                    truth = self.theta[:, factor]
                    positions.append(coverage_position(truth, location, scale, line.degrees))
                    drawn = location + scale * rng.standard_t(line.degrees, location.shape)
                    widths.append(np.ptp(np.quantile(drawn, INTERVAL, axis=1), axis=0))
            means[end] = np.stack(located, 1)
            values[f"factor{end}"] = _root_mean_square(means[end] - self.theta)
        values["coverage"] = ("level", _coverage(np.stack(positions, 1)))
        values["width"] = float(np.median(np.stack(widths, 1)))
        values["permeability"] = self._permeability_error(means[""])
        values["regret"] = self._regret(
            decoded[:, len(self.rows) :], nodes, square, labelled, theta
        )
        return values

    def _probe(self, own, nodes) -> Float[np.ndarray, "node place"]:
        """Decoded pressure at the sensors, and at the places where one may be put."""
        pressure = own.decode(nodes)[:, 0]
        rows, columns = (a.ravel() for a in self.candidates)
        return np.concatenate(
            [pressure[:, self.rows, self.columns], pressure[:, rows, columns]], axis=1
        )

    def _regret(self, pressure, nodes, square, labelled, theta) -> float:
        """What the chosen place leaves unknown of the first factor, over what the best one does."""
        weights = np.exp(-0.5 * (square**2).sum(1))
        factor = LinearPredictor.fit(labelled, theta[:, 0]).predict(nodes)[0]
        expected = _unknown(pressure, factor, self.noise, weights / weights.sum())
        rows, columns = (a.ravel() for a in self.candidates)
        true = self.test_fields[:, 0, rows, columns]
        even = np.full(len(true), 1 / len(true))
        left = _unknown(true, self.theta[:, 0], self.noise, even)
        return float(left[expected.argmin()] / left.min())


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


def _process(x, y, new, seed) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of Gaussian processes, one for each target."""
    # these take long to import, and every experiment would wait for them
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    center, spread = x.mean(0), x.std(0) + 1e-12
    mean, scale = np.empty((len(new), y.shape[1])), np.empty((len(new), y.shape[1]))
    for i in range(y.shape[1]):
        kernel = ConstantKernel(1.0) * RBF(2.0, (0.3, 30.0)) + WhiteKernel(0.01, (1e-6, 1.0))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=seed)
        process.fit((x - center) / spread, y[:, i])
        mean[:, i], scale[:, i] = process.predict((new - center) / spread, return_std=True)
    return mean, scale


def _coverage(position: Float[np.ndarray, "sample factor"]) -> Float[np.ndarray, " level"]:
    """Share of true factors inside the central interval of each level."""
    return np.array([(np.abs(2 * position - 1) <= level).mean() for level in LEVELS])


def _root_mean_square(error: np.ndarray) -> float:
    return float(np.sqrt((error**2).mean()))


TASKS = Experiment(
    "tasks",
    "Surrogate, inversion and design with entangled, disentangled and labelled latents",
    2,
    _groups,
    _compute,
)

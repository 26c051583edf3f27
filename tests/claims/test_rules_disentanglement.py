"""Rows N1 to N3 on results whose verdict is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from fifty_runs import condition
from given import Given, decide

from dvae.claims import Results
from dvae.claims.frame import Network
from dvae.results.store import Store


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.52, 0.98, "reproduced"), (0.52, 0.8, "partly"), (0.8, 0.9, "not reproduced")],
)
def test_range_of_scores(low, high, verdict, tmp_path):
    results = Results(Store(tmp_path))
    row = condition(2) | {"s_d_min": low, "s_d_max": high, "ceiling": 0.99}
    key = ("standard-normal", "published", "standard")
    results.networks = [
        Network("N", "published", pd.DataFrame.from_dict({key: row}, "index"), xr.Dataset())
    ]
    assert decide("N3", results).verdict == verdict


def dense_runs(
    left: list[float], turn: float = 0.0, factor: float = 1.0, loss: float = -9.4
) -> xr.Dataset:
    """DenseVAEs that leave some of the variance, on latents turned by an angle and rescaled."""
    m, rng = len(left), np.random.default_rng(0)
    theta = rng.standard_normal((2, 512, 2))
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    z = factor * np.sqrt(0.99) * theta @ matrix
    samples = ("trial", "sample", "latent")
    data = {
        "theta": (("trial", "sample", "factor"), np.tile(theta[0], (m, 1, 1))),
        "theta_train": (("trial", "sample", "factor"), np.tile(theta[1], (m, 1, 1))),
        "latent_mean": (samples, np.tile(z[0], (m, 1, 1))),
        "latent_mean_train": (samples, np.tile(z[1], (m, 1, 1))),
        "latent_scale": (samples, np.full((m, 512, 2), 0.1)),
        "example": (("trial", "x1", "x2"), np.zeros((m, 9, 9))),
    }
    data |= {name: ("trial", np.ones(m)) for name in ("rate", "distortion")}
    data["loss_per_node"] = ("trial", np.full(m, loss))
    data["mean_field_error"] = ("trial", np.full(m, 0.5))
    data["relative_error"] = ("trial", 0.5 * np.sqrt(left))
    return xr.Dataset(data, {"recipe": ("trial", ["calibrated"] * m)})


@pytest.mark.parametrize(
    ("runs", "verdict"),
    [
        (dense_runs([0.001, 0.04]), "reproduced"),
        (dense_runs([0.001, 0.06]), "partly"),
        (dense_runs([0.001], turn=0.5), "reproduced"),  # the prior's shape at any angle
        (dense_runs([0.001], factor=3.0), "partly"),
        (dense_runs([0.001], loss=-9.2), "partly"),  # the paper has -9.5
        (dense_runs([0.5], factor=3.0, loss=-8.0), "not reproduced"),
    ],
)
def test_reconstruction_and_shape(runs, verdict):
    assert decide("N1", {"dense_vae": runs}).verdict == verdict


class Stored(Given):
    """Runs of DenseVAEs and one condition of the fifty runs."""

    networks = (Network("PodVAE", "published", pd.DataFrame(), xr.Dataset()),)

    def __init__(self, runs: xr.Dataset, disentangled: int):
        super().__init__({"dense_vae": runs})
        self.disentangled = disentangled

    def condition(self, *_):
        return pd.Series(condition(self.disentangled))


@pytest.mark.parametrize(
    ("turn", "runs", "disentangled", "verdict"),
    [
        (0.0, 1, 0, "reproduced"),
        (np.pi / 2, 1, 0, "reproduced"),
        (np.pi / 4, 20, 3, "partly"),
        (np.pi / 4, 20, 0, "not reproduced"),
        (np.pi / 4, 19, 0, "undecided"),  # 0.86^19 is just above 5 %
    ],
)
def test_a_factor_for_each_latent(turn, runs, disentangled, verdict):
    results = Stored(dense_runs([0.001] * runs, turn), disentangled)
    assert decide("N2", results).verdict == verdict


def test_a_factor_for_each_latent_needs_training_and_test_data():
    runs = dense_runs([0.001] * 20)
    turned = dense_runs([0.001] * 20, turn=np.pi / 4)["latent_mean_train"]
    results = Stored(runs.assign(latent_mean_train=turned), 0)
    assert decide("N2", results).verdict == "not reproduced"

"""Turned latent spaces: closed forms of normal priors, and curves whose minima are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dvae.analysis.rotation import rotate
from dvae.results.rotations import (
    distance_to_end,
    prior_axes,
    rate_about_center,
    rate_minima,
    turned_by_labels,
)

TURN = np.arange(-90.0, 90.1, 7.5)


def gaussian_trial(mean, scale, latents):
    """What ``priors`` stores of a model whose prior is a factorised normal."""
    axis = np.linspace(-14, 14, 281)
    square = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1)
    density = np.exp(-0.5 * (((square - mean) / scale) ** 2).sum(-1)) / (2 * np.pi * np.prod(scale))
    sample = mean + scale * np.array([[1.0, 1], [-1, 1], [1, -1], [-1, -1]])
    return xr.Dataset(
        {
            "prior_axis": ("grid", axis),
            "prior_density": (("grid", "grid2"), density),
            "prior_sample": (("draw", "latent"), sample),
            "latent_mean": (("sample", "latent"), latents),
            "latent_scale": (("sample", "latent"), np.zeros_like(latents)),
        }
    )


def test_turn_about_the_mean_of_a_stretched_normal_prior():
    # a latent at distance 2 along the wide axis; turned by 90 degrees it lies along the narrow one
    mean, scale = np.array([3.0, -1.0]), np.array([2.0, 1.0])
    trial = gaussian_trial(mean, scale, mean + np.array([[2.0, 0.0]]))
    change = rate_about_center(trial, np.array([0.0, 45.0, 90.0, 180.0]))
    # half of squared distance in units of the scales: 1, 1/2 + 2, 4, 1
    assert change == pytest.approx([0, 0.5 * (2.5 - 1), 0.5 * (4 - 1), 0], abs=5e-3)


def test_turn_of_a_round_prior_changes_nothing_wherever_its_mean_is():
    latents = np.random.default_rng(0).normal(2, 1, (200, 2))
    trial = gaussian_trial(np.array([2.0, -2.0]), np.ones(2), latents)
    assert np.ptp(rate_about_center(trial, TURN)) < 0.01


def stored(**variables):
    """A result like that of ``priors``, with a trial for every row of the variables."""
    rng = np.random.default_rng(0)
    round_prior = gaussian_trial(np.zeros(2), np.ones(2), rng.normal(size=(50, 2)))
    data = xr.concat([round_prior] * len(next(iter(variables.values()))), "trial")
    for name, values in variables.items():
        values = np.asarray(values, float)
        data[name] = (("trial", "turn")[: values.ndim], values)
    names = {"factors": "four-modes", "recipe": "annealed", "prior": "hierarchical"}
    labels = {key: ("trial", [value] * data.sizes["trial"]) for key, value in names.items()}
    return data.assign_coords(turn=TURN, **labels)


def test_minima_of_known_curves():
    angle = np.radians(TURN)
    curves = [
        np.sin(2 * angle) ** 2,  # minima at 0 and 90
        np.cos(2 * angle) ** 2,  # minima at 45
        0.02 * np.cos(2 * angle) ** 2,  # flat
        np.sin(angle - np.radians(30)) ** 2,  # one minimum, at 30
    ]
    found = rate_minima(stored(curve_rate=curves, curve_rate_error=np.zeros((4, len(TURN)))))
    assert found["range"].tolist() == pytest.approx([1, 1, 0.02, 1])
    assert found["curved"].tolist() == [True, True, False, True]
    assert found["lowest_at_start"].tolist() == [True, False, False, False]
    assert found["minimum_near_diagonal"].tolist() == [False, True, False, False]
    assert (found["range_about_center"] < 0.01).all()  # the stored prior is round
    assert found[["factors", "recipe", "prior"]].drop_duplicates().shape == (1, 3)


def looks_with(priors, **variables):
    """Trials whose priors are normals: mean, two standard deviations, and degrees of their turn."""
    axis = np.linspace(-12, 12, 161)
    nodes = np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2)
    noise = np.random.default_rng(0).standard_normal((4000, 2))
    densities, draws = [], []
    for mean, spread, angle in priors:
        own = rotate(nodes - mean, -angle) / spread
        density = np.exp(-0.5 * (own**2).sum(1)) / (2 * np.pi * np.prod(spread))
        densities.append(density.reshape(161, 161))
        draws.append(mean + rotate(noise * spread, angle))
    looks = stored(**variables).drop_vars(["prior_sample", "prior_axis", "prior_density"])
    return looks.assign(
        prior_axis=(("trial", "grid"), np.tile(axis, (len(priors), 1))),
        prior_density=(("trial", "grid", "grid2"), densities),
        prior_sample=(("trial", "draw", "latent"), draws),
    )


def test_axes_of_normal_priors_are_found():
    mean, spread = np.array([0.5, -0.3]), np.array([1.5, 0.75])
    divergence = np.outer([0.5, 0.4, 0.3, 0.2], TURN == 45)
    found = prior_axes(
        looks_with(
            [(mean, spread, 0), (mean, spread, 30), (mean, spread, -9), (mean, [1.0, 1.0], 0)],
            prior_divergence=divergence,
            angle=[3, -44, 40, 0],
        )
    )
    assert found["divergence"].tolist() == [0.5, 0.4, 0.3, 0.2]
    assert found["axis"].tolist()[:3] == [0, 30, -9]
    # KL of N(0, diag(a, b)) from itself turned by 45 degrees: (a + b)^2 / (4 a b) - 1
    a, b = spread**2
    shape = (a + b) ** 2 / (4 * a * b) - 1
    assert found["own_divergence"].tolist() == pytest.approx([shape] * 3 + [0], rel=0.1, abs=0.01)
    # turned to 45 degrees the coordinates have the correlation (a - b) / (a + b)
    told = -0.5 * np.log1p(-(((a - b) / (a + b)) ** 2))
    assert found["told"].tolist() == pytest.approx([told] * 3 + [0], rel=0.02, abs=1e-3)
    assert found["shaped"].tolist() == [True, True, True, False]
    assert found["prior_on_axes"].tolist() == [True, False, True, False]
    assert found["latents_on_axes"].tolist() == [True, False, False, True]


def test_a_prior_whose_grid_does_not_hold_its_turns_keeps_its_axes():
    """Nothing is known of the density beyond the stored grid; it counts as 0 there."""
    looks = looks_with(
        [(np.zeros(2), np.array([2.5, 0.5]), 12)],
        prior_divergence=np.zeros((1, len(TURN))),
        angle=[0.0],
    )
    # a second bump beyond the grid, towards which the density rises at its edge
    axis = looks["prior_axis"].values[0]
    bump = np.exp(-2 * (axis[:, None] - 8) ** 2 - 2 * (axis - 8) ** 2)
    looks["prior_density"] = looks["prior_density"] + 1e-3 * bump
    inner = np.abs(axis) < 6
    cut = looks.isel(grid=inner, grid2=inner)
    assert prior_axes(cut)["axis"].tolist() == [12]


def test_distance_to_the_final_angle_counts_modulo_90():
    angle = np.array([[44.0, -44.0, -44.0], [10.0, 20.0, 16.0], [np.nan, 0.0, 8.0]])
    history = xr.Dataset(
        {
            "angle": (("trial", "stop"), angle),
            "step": (("trial", "stop"), np.tile([5.0, 10, 20], (3, 1))),
        },
        coords={"recipe": ("trial", ["annealed"] * 3), "prior": ("trial", ["standard"] * 3)},
    )
    row = distance_to_end(history).loc[("annealed", "standard")]
    # 2 and 6 degrees away at the first stop; 0, 4 and 8 at the second
    assert row["degrees"].tolist() == [4, 4, 0]
    assert row["step"].tolist() == [5, 10, 20]


def test_labels_turn_latents_to_the_factors():
    rng = np.random.default_rng(0)
    theta = 1 + 0.7 * rng.standard_normal((300, 2))
    c = np.sqrt(0.5)
    turns = np.array([[[c, -c], [c, c]], [[c, c], [c, -c]]])  # one rotated, one mirrored too
    latents = 3 * theta @ turns
    assert turned_by_labels(latents, theta, 2) == (20, 20)
    assert turned_by_labels(latents, theta, 1, oriented=True) == (20, 20)
    rough = latents + 3 * rng.standard_normal(latents.shape)
    few, many = (turned_by_labels(rough, theta, count, draws=50)[0] for count in (2, 100))
    assert few < many

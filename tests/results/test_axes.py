"""Angles against the principal directions: known differences, also across the wrap at 45."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dvae.analysis import linear_collapse, noise_levels, rotation_price
from dvae.results.axes import DATA_SET, against_axes, annealed_runs, expected_rates


def test_differences_count_modulo_90_degrees():
    axes = xr.Dataset(
        {
            "angle": ("trial", [40.0, 0.0]),
            "level": (("trial", "direction"), [[1.8, 1.2, 0.1], [1.5, 1.5, 0.1]]),
        },
        coords={
            "factors": ("trial", ["four-modes"] * 2),
            "data_seed": ("trial", [0, 1]),
            "pair_angle": ("trial", [0.0, 0.0]),
            "wells": ("trial", ["mirrored"] * 2),
        },
    )
    own = {"factors": "four-modes", "pair_angle": 0.0, "wells": "mirrored"}
    near = [{"data_seed": 0, "angle": (a + 45) % 90 - 45} for a in (38.0, 42.0, 50.0, np.nan)]
    other = [{"data_seed": 1, "angle": 3.0}, {"data_seed": 7, "angle": 3.0}]  # 7 has no prediction
    runs = pd.DataFrame([own | row | {"disentangled": 1} for row in near + other])
    table = against_axes(axes, runs)
    assert table.index.names == DATA_SET
    assert len(table) == 2
    first = table.loc[("four-modes", 0, 0.0, "mirrored")]
    assert first["median"] == pytest.approx(2.0)  # of -2, 2 and 10 degrees
    assert (first["runs"], first["disentangled"]) == (4, 4)
    assert first["price"] == pytest.approx(rotation_price(1.8, 1.2, 45.0))
    assert table.loc[("four-modes", 1, 0.0, "mirrored"), "price"] == 0
    assert table["preferred"].tolist() == [True, False]


def test_data_sets_may_be_known_by_another_name():
    axes = xr.Dataset(
        {
            "angle": ("trial", [0.0, -28.0]),
            "level": (("trial", "direction"), [[4.0, 1.0, 0.1], [1.0, 1.0, 0.1]]),
        },
        coords={"case": ("trial", ["long", "turned"])},
    )
    rows = {"case": ["turned", "long"], "angle": [-25.0, 1.0], "disentangled": [0, 1]}
    table = against_axes(axes, pd.DataFrame(rows), ["case"])
    assert table.index.names == ["case"]
    assert table.loc[("turned",), "median"] == pytest.approx(3.0)
    assert table.loc[("long",), "price"] == pytest.approx(rotation_price(4.0, 1.0, 45.0))


def test_runs_of_all_data_sets_come_together():
    draws = xr.Dataset(
        {"angle": ("trial", [1.0, 2.0]), "disentangled": ("trial", np.array([1, 0], np.int8))},
        coords={
            "factors": ("trial", ["four-modes"] * 2),
            "data_seed": ("trial", [3, 3]),
            "pair_angle": ("trial", [45.0] * 2),
            "wells": ("trial", ["asymmetric"] * 2),
            "prior": ("trial", ["standard", "hierarchical"]),
        },
    )
    columns = ["factors", "recipe", "prior", "angle", "disentangled"]
    rows = [
        ("shifted-normal", "annealed", "standard", -8.0, False),
        ("shifted-normal", "published", "standard", 9.0, True),
        ("shifted-normal", "annealed", "hierarchical", 9.0, True),
        ("four-modes", "annealed", "standard", 9.0, True),
    ]
    runs = annealed_runs(draws, pd.DataFrame(rows, columns=columns))
    assert runs["angle"].tolist() == [1.0, -8.0]
    assert runs["disentangled"].tolist() == [1, 0]
    assert runs.iloc[1][DATA_SET].tolist() == ["shifted-normal", 0, 0.0, "mirrored"]


@pytest.mark.parametrize("beta", [1.0, 20.0])
def test_rates_without_a_floor_are_those_of_the_calibrated_linear_vae(beta):
    variances = np.array([4.0, 1.5, 0.1, 0.05] + [0.0] * 56)
    levels = noise_levels(variances, len(variances), beta)
    for n in (1, 2, 3):
        rates = expected_rates(levels, np.array([1e-9]), n, len(variances) / beta)
        most = linear_collapse(variances, len(variances), n, beta)[-1]
        assert (rates > 0).sum() == most.active
        assert rates.sum() == pytest.approx(most.rate)


def test_a_floor_above_the_error_is_the_noise():
    rates = expected_rates(np.array([1.8, 1.1, 0.1]), np.array([4.0, 1.5, 0.5]), 2, 3.0)
    expected = [[0, 0], [0.5 * np.log(1.8 / 1.5), 0], 0.5 * np.log([1.8 / 0.5, 1.1 / 0.5])]
    np.testing.assert_allclose(rates, expected)


def test_three_channels_at_weight_one_hold_no_three_latents():
    rates = expected_rates(np.array([1.1, 1.0, 0.8, 0.05]), np.geomspace(1e-6, 0.5, 9), 4, 3.0)
    assert (rates[:, 2:] == 0).all()
    assert (rates[0, :2] > 0).all()

"""Rows D1 and D2 on results whose verdict is known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from given import decide


def darcy(order: float = 2.0, imbalance: float = 1e-14, sets=(2, 10, 100, 1000)) -> xr.Dataset:
    """Errors of a scheme of a given order on three grids, and fields of some sets."""
    nodes = np.array([17, 33, 65] + [65] * len(sets))
    error = np.where(np.arange(len(nodes)) < 3, (nodes - 1.0) ** -order, np.nan)
    kind = ["manufactured"] * 3 + ["fields"] * len(sets)
    balance = np.full((len(nodes), 4), np.nan)
    balance[3:] = imbalance
    return xr.Dataset(
        {
            "pressure_error": ("trial", error),
            "velocity_error": ("trial", error),
            "imbalance": (("trial", "sample"), balance),
            "mean_pressure": (("trial", "sample"), balance),
        },
        {
            "kind": ("trial", kind),
            "n_nodes": ("trial", nodes),
            "n_modes": ("trial", [0, 0, 0, *sets]),
        },
    )


@pytest.mark.parametrize(
    ("values", "d1", "d2"),
    [
        ({}, "illustrated", "reproduced"),
        ({"order": 1.0}, "illustrated", "partly"),
        ({"imbalance": 1e-6}, "illustrated", "partly"),
        ({"imbalance": 1e-12}, "illustrated", "reproduced"),  # of the order of the tolerance
        ({"imbalance": 1e-9}, "illustrated", "partly"),
        ({"imbalance": -5.0}, "illustrated", "partly"),
        ({"imbalance": np.nan}, "illustrated", "partly"),
        ({"order": 1.0, "imbalance": 1e-6}, "illustrated", "not reproduced"),
        ({"sets": (2, 10)}, "not yet run", "reproduced"),
    ],
)
def test_order_and_conservation(values, d1, d2):
    results = {"darcy": darcy(**values)}
    assert decide("D1", results).verdict == d1
    assert decide("D2", results).verdict == d2


def test_order_is_stated():
    assert "1.50 to 1.50 for the pressure" in decide("D2", {"darcy": darcy(order=1.5)}).ours

"""Row A1 on results whose verdict is known."""

from __future__ import annotations

import pytest
import xarray as xr
from given import decide


def sizes(standard: int, described: int, coded: int) -> xr.Dataset:
    """Parameters of the default network with three priors."""
    priors = ["standard", "hierarchical", "hierarchical-rectified"]
    labels = {"network": ("trial", ["default"] * 3), "prior": ("trial", priors)}
    return xr.Dataset({"parameters": ("trial", [standard, described, coded])}, labels)


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ((800_000, 800_384, 800_100), "reproduced"),  # 384 of 800,000 are 0.048 %
        ((800_000, 800_100, 800_384), "reproduced"),  # one of the two kinds is enough
        ((800_000, 800_100, 800_100), "partly"),
        ((500_000, 500_240, 500_100), "partly"),
        ((500_000, 500_100, 500_100), "not reproduced"),
    ],
)
def test_parameters(counts, verdict):
    assert decide("A1", {"model_size": sizes(*counts)}).verdict == verdict

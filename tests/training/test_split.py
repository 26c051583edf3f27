"""How labels are scaled, and which cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from dvae.errors import DataError
from dvae.training.split import Scaling

STEPS = np.arange(8.0)[:, None]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("unit", [1e-30, 1.0, 1e25, 1e38, 1e150])
def test_labels_in_any_unit_are_standardised(unit):
    scaled = Scaling.of(unit * STEPS, raw=False)(unit * STEPS)
    np.testing.assert_allclose(scaled, (STEPS - STEPS.mean()) / STEPS.std(), rtol=1e-12)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e25])
def test_labels_with_a_constant_factor_are_refused(value):
    """The spread of three times 0.1 is not 0 in floating point."""
    theta = np.c_[STEPS[:3], np.full(3, value)]
    with pytest.raises(DataError, match="different values of every factor"):
        Scaling.of(theta, raw=False)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("unit", "raw"), [(1e300, False), (1e25, True), (1e38, True)])
def test_labels_whose_squares_overflow_are_refused(unit, raw):
    with pytest.raises(DataError, match=r"a label is as large as 7e\+.*in another unit") as caught:
        Scaling.of(unit * STEPS, raw=raw)
    assert ("leave --raw-labels out" in str(caught.value)) == raw

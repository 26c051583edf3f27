"""Eigenvalues and errors: shares of the variance, observed orders."""

import numpy as np
import pytest

from dvae import plotting


def test_eigenvalues_show_the_share_of_the_variance():
    left, right = plotting.plot_eigenvalues([4.0, 3.0, 1.0], marked=(2, 10), total=10).axes
    np.testing.assert_allclose(right.lines[0].get_ydata(), [0.4, 0.7, 0.8])
    assert [text.get_text() for text in right.texts] == ["KLE2: 70%"]
    assert left.get_yscale() == "log"


def test_convergence_reports_the_order_of_a_power_law():
    h = np.array([0.1, 0.05, 0.025])
    (ax,) = plotting.plot_convergence(h, {"p": 3 * h**2, "u": h**1.5}).axes
    names = [text.get_text() for text in ax.get_legend().get_texts()]
    assert names == ["p: observed order 2.00", "u: observed order 1.50", "order 2"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0.1", "0.05", "0.025"]
    first, second = ax.lines[:2]  # hollow, one inside the other
    assert first.get_markersize() > second.get_markersize()
    assert first.get_markerfacecolor() == "none"
    x, y = ax.lines[-1].get_data()
    assert np.log(y[1] / y[0]) / np.log(x[1] / x[0]) == pytest.approx(2.0)

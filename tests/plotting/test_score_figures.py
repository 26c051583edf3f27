"""Scores of many runs: bands, groups."""

import numpy as np
from figure_parts import SCORES

from dvae import plotting


def test_score_band_runs_from_minimum_to_maximum_in_order_of_the_ratio():
    ratio = np.array([0.08, 0.0])
    left, right = plotting.plot_score_against_labels(ratio, SCORES, {"rate": SCORES}, 0.94).axes
    np.testing.assert_allclose(left.lines[0].get_xydata(), [[0, 0.8], [8, 0.5]])
    band = left.collections[0].get_paths()[0].vertices
    at = {x: band[np.isclose(band[:, 0], x), 1] for x in (0, 8)}
    assert (at[0].min(), at[0].max()) == (0.6, 0.9)
    assert (at[8].min(), at[8].max()) == (0.2, 0.8)
    assert left.lines[1].get_ydata()[0] == 0.94
    assert "%" in left.get_xlabel()
    assert right.get_ylabel() == "training loss (nats per sample)"


def test_scatter_groups_runs():
    (ax,) = plotting.plot_score_scatter([1, 2, 3], [0.3, 0.2, 0.1], ["a", "b", "a"], 0.94).axes
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[0.3, 1], [0.1, 3]])
    assert len(ax.collections) == 2
    assert "nats" in ax.get_ylabel()

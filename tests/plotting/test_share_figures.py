"""Shares of runs: intervals, counts, the paper's value."""

import numpy as np
from figure_parts import segments

from dvae import plotting


def test_proportions_show_interval_counts_and_the_papers_value():
    intervals = [[0.0, 0.07], [0.4, 0.65]]
    figure = plotting.plot_proportions(["no HP", "HP"], [0, 26], [50, 50], intervals, [0.1, np.nan])
    (ax,) = figure.axes
    np.testing.assert_allclose(segments(ax.containers[0])[:, :, 0], intervals)
    np.testing.assert_allclose(ax.containers[0].lines[0].get_xdata(), [0, 0.52])
    assert [text.get_text() for text in ax.texts] == ["0/50", "26/50"]
    assert ax.yaxis_inverted()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["no HP", "HP"]
    assert ax.lines[-1].get_xdata()[0] == 0.1


def test_threshold_curves_show_bands_and_the_stated_threshold():
    band = {"HP": [[0.8, 1.0], [0.0, 0.2]]}
    figure = plotting.plot_threshold_curves([0, 1], {"HP": [0.9, 0.1]}, band, chosen=0.9)
    (ax,) = figure.axes
    vertices = ax.collections[0].get_paths()[0].vertices
    assert (vertices[:, 1].min(), vertices[:, 1].max()) == (0.0, 1.0)
    assert ax.lines[-1].get_xdata()[0] == 0.9
    assert ax.texts[0].get_text() == "used here: 0.9"


def test_curves_of_a_group_share_a_colour_and_differ_in_their_dashes():
    curves = {name: [1.0, 0.0] for name in ("a1", "b1", "a2")}
    (ax,) = plotting.plot_threshold_curves([0, 1], curves, groups=["a", "b", "a"]).axes
    one, other, again = ax.lines
    assert one.get_color() == again.get_color() != other.get_color()
    assert one.get_linestyle() == other.get_linestyle() != again.get_linestyle()

"""Paths, lines and planes: what lies along which axis, cuts, marks."""

import numpy as np
from figure_parts import panels
from matplotlib.collections import LineCollection

from dvae import plotting


def test_rd_plane_has_distortion_along_and_rate_upwards():
    path = np.array([[9.0, 0.0], [5.0, -9.0], [4.0, -20.0]])
    points = np.array([[5.0, -9.0], [1.0, -2.0]])
    figure = plotting.plot_rd_plane({"run": path}, points, [1, 4], n_nodes=2, record_every=100)
    ax = figure.axes[0]
    (drawn,) = [c for c in ax.collections if isinstance(c, LineCollection)]
    np.testing.assert_array_equal(drawn.get_segments()[-1], [[-9, 5], [-20, 4]])
    np.testing.assert_array_equal(drawn.get_array(), [0, 100])
    assert drawn.get_clim() == (0, 200)
    dots = ax.collections[-1]
    np.testing.assert_array_equal(dots.get_offsets(), points[:, ::-1])
    assert ax.get_ylim()[1] > 9
    figure.draw_without_rendering()
    np.testing.assert_allclose(ax.child_axes[0].get_xlim(), np.array(ax.get_xlim()) / 4)
    assert len(figure.axes) == 3  # plane and the colour bars of step and beta


def test_paths_that_end_at_one_place_have_marks_one_inside_the_other():
    end = [[9.0, 0.0], [4.0, -20.0]]
    figure = plotting.plot_rd_plane({"one": end, "two": end})
    marks = [line for line in figure.axes[0].lines if line.get_label() in ("one", "two")]
    sizes = [mark.get_markersize() for mark in marks]
    assert sizes[0] > 1.5 * sizes[1]
    assert marks[1].get_zorder() > marks[0].get_zorder()


def test_line_losses_are_cut_and_scores_get_their_own_axis():
    losses = np.array([[2000.0, -9.5, np.inf]])
    figure = plotting.plot_line_losses(
        [0, 1, 2], losses, [[0.9, 0.5, 0.1]], cut=1000, marks={"P": 1}
    )
    ax, twin = figure.axes
    assert ax.get_ylim()[1] == 1000
    assert ax.get_ylim()[0] < -9.5
    assert "cut at 1000" in ax.get_ylabel()
    assert "S_D" in twin.get_ylabel()
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2000.0, -9.5, np.nan])
    np.testing.assert_array_equal(twin.lines[0].get_ydata(), [0.9, 0.5, 0.1])
    assert twin.get_ylim() == (0, 1)
    (uncut,) = plotting.plot_line_losses([0, 1, 2], np.zeros((40, 3)), cut=1000).axes
    assert "cut" not in uncut.get_ylabel()
    assert len(uncut.lines) == 40


def test_plane_marks_its_solutions_in_the_right_place():
    x, y = np.arange(3.0), np.arange(4.0)
    loss = np.full((3, 4), 9.0)
    loss[2, 0] = -1.0
    figure = plotting.plot_plane(x, y, loss, {"seed 1": (2, 0)}, scores=loss / 10, cut=5)
    left, right = panels(figure)
    for ax in (left, right):
        np.testing.assert_array_equal(ax.lines[0].get_xydata(), [[2, 0]])
        assert ax.lines[0].get_markerfacecolor() == "none"  # a basin may be smaller than its mark
    low, high = left.collections[0].get_clim()
    assert (low, high) == (-1.0, 5.0)
    deepest = left.collections[0].get_paths()[0].vertices  # the band around the minimum
    assert deepest[:, 0].min() > 1
    assert deepest[:, 1].max() < 1
    assert figure.legends[0].get_texts()[0].get_text() == "seed 1"

"""Latents, distributions, rotations: columns, bars, exact marginals."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from figure_parts import RNG, segments

from dvae import plotting


def test_latents_put_factors_in_columns_and_one_standard_deviation_in_bars():
    z, theta = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0, 7.0], [8.0, 9.0, 10.0]])
    std = np.array([[0.1, 0.2], [0.3, 0.4]])
    test = (z[:1], theta[:1])
    figure = plotting.plot_latents(z, theta, std, test=test, score=0.5, ceiling=0.94, title="four")
    axes = np.array(figure.axes).reshape(2, 3)
    for i, j in np.ndindex(2, 3):
        train, tested = axes[i, j].containers
        np.testing.assert_array_equal(
            train.lines[0].get_xydata(), np.stack([theta[:, j], z[:, i]], 1)
        )
        ends = segments(train)[:, :, 1]
        np.testing.assert_allclose(ends, np.stack([z[:, i] - std[:, i], z[:, i] + std[:, i]], 1))
        assert len(tested.lines[0].get_xdata()) == 1
        assert not tested.has_yerr
        assert train.lines[0].get_color() != tested.lines[0].get_color()
    assert axes[1, 2].get_xlabel() == r"factor $\theta_{3}$"
    assert axes[1, 0].get_ylabel() == "latent $z_{2}$"
    assert figure.get_suptitle() == "four: $S_D$ = 0.500 (ceiling 0.940)"


def test_a_sample_far_from_all_others_leaves_a_figure_of_dots():
    """The estimated density then lies between the nodes of its grid, and has no contours."""
    points = np.random.default_rng(0).normal(size=(160, 2))
    points[5] = 1e6, -1e6
    figure = plotting.plot_distributions({"q": points})
    (dots,) = figure.axes[0].lines
    np.testing.assert_array_equal(dots.get_xydata(), points)


def test_distributions_share_axes_and_marginals_of_densities_are_exact():
    grid = np.linspace(-6, 6, 241)
    normal = np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi)
    wide = np.exp(-0.125 * grid**2) / np.sqrt(8 * np.pi)
    samples = {"q(z)": RNG.normal([2.0, 0.0], size=(400, 2)), "collapsed": np.zeros((9, 2))}
    density = {"p(z)": (grid, grid, np.outer(normal, wide))}
    figure = plotting.plot_distributions(samples, density)
    *joints, first, second = figure.axes
    assert [ax.get_title() for ax in joints] == ["q(z)", "collapsed", "p(z)"]
    assert len({ax.get_xlim() for ax in joints}) == len({ax.get_ylim() for ax in joints}) == 1
    np.testing.assert_array_equal(joints[0].lines[-1].get_xydata(), samples["q(z)"])
    for ax, exact in ((first, normal), (second, wide)):
        np.testing.assert_allclose(ax.lines[-1].get_ydata(), exact, atol=3e-3)
    for ax, centre in ((first, 2.0), (second, 0.0)):  # the estimate integrates to 1 about its mean
        x, y = ax.lines[0].get_data()
        assert np.trapezoid(y, x) == pytest.approx(1.0, abs=0.02)
        assert np.trapezoid(x * y, x) == pytest.approx(centre, abs=0.2)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "q(z)"
    assert names[-1] == "p(z)"


def test_rotation_does_not_magnify_the_rounding_of_an_invariant():
    angle = np.linspace(0, 90, 10)
    data = xr.Dataset({"rate": ("angle", 7 + 1e-14 * angle), "s": ("angle", angle / 90)})
    data["rate"].attrs = {"long_name": "regularisation loss", "units": "nats per sample"}
    invariant, other = plotting.plot_rotation(angle, data).axes
    assert np.ptp(invariant.get_ylim()) > 1
    assert invariant.get_ylabel() == "regularisation loss (nats per sample)"
    assert np.ptp(other.get_ylim()) == pytest.approx(1.1)
    assert 45 in invariant.get_xticks()
    (ax,) = plotting.plot_rotation(angle, {"a": np.stack([angle, -angle])}, ["no HP", "HP"]).axes
    assert len(ax.lines) == 2


def test_plots_compose_as_subfigures():
    figure = plt.figure(layout="constrained")
    parts = figure.subfigures(1, 2)
    try:
        for part in parts:
            z = RNG.normal(size=(5, 2))
            assert plotting.plot_latents(z, z, figure=part, score=1.0) is part
        assert len(figure.axes) == 8
    finally:
        plt.close(figure)

"""What the figures show: orientation, scales, labels, bands; never pixels."""

import warnings
from types import SimpleNamespace

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex

from dvae import plotting
from dvae.errors import DataError

N = 9
RNG = np.random.default_rng(0)
FIELDS = RNG.normal(size=(2, 3, N, N))
PERMEABILITY = np.exp(RNG.normal(size=(2, N, N)))
DATA = (PERMEABILITY, FIELDS)
SCORES = np.array([[0.2, 0.5, 0.8], [0.9, 0.9, 0.6]])


@pytest.fixture(autouse=True)
def style():
    """Draw under the book's style, and let no figure stay behind in pyplot."""
    with plt.rc_context():
        plotting.use_style()
        yield
    assert plt.get_fignums() == []


def panels(figure):
    """The axes that hold data (not colour bars)."""
    return [ax for ax in figure.axes if ax.get_label() != "<colorbar>"]


def shown(ax, x1, x2):
    """The value of the image under the point (x1, x2)."""
    x, y = ax.transData.transform((x1, x2))
    return float(ax.images[0].get_cursor_data(SimpleNamespace(x=x, y=y)))


def segments(container):
    """The ends of the error bars of an errorbar container, in order."""
    return np.array(container.lines[2][0].get_segments())


def history(members=3, steps=50):
    step = 10 * np.arange(steps)
    distortion = 1e6 * np.exp(-np.arange(steps)) - 500.0 + np.zeros((members, 1))
    rate = 5.0 + np.arange(members)[:, None] + np.zeros(steps)
    variables = {"distortion": distortion, "rate": rate, "beta": np.full((members, steps), 81.0)}
    data = {name: (("member", "step"), v) for name, v in variables.items()}
    return xr.Dataset(data, coords={"step": step})


PLANE = np.add.outer(np.linspace(-1, 1, 5) ** 2, np.linspace(-1, 1, 7) ** 2)
EVERY_FIGURE = {
    "samples": lambda: plotting.plot_samples(PERMEABILITY, FIELDS),
    "samples, shared": lambda: plotting.plot_samples(PERMEABILITY, FIELDS, shared=True),
    "modes": lambda: plotting.plot_modes(FIELDS[0], [3.0, 2.0, 1.0]),
    "eigenvalues": lambda: plotting.plot_eigenvalues(1 / np.arange(1, 30.0)),
    "convergence": lambda: plotting.plot_convergence([0.1, 0.05], [0.01, 0.0025]),
    "reconstruction": lambda: plotting.plot_reconstruction(*FIELDS),
    "history": lambda: plotting.plot_history(history(), n_nodes=N),
    "latents": lambda: plotting.plot_latents(RNG.normal(size=(20, 2)), RNG.normal(size=(20, 3))),
    "distributions": lambda: plotting.plot_distributions({"q": RNG.normal(size=(50, 2))}),
    "rate-distortion": lambda: plotting.plot_rd_plane(
        {"run": [[9, 0], [5, -9]]}, [[5, -9], [1, -2]], [1, 4], [[5, -9], [1, -2]], n_nodes=N
    ),
    "lines": lambda: plotting.plot_line_losses([0, 1], [[1, 2], [3, 4]], SCORES[:, :2]),
    "plane": lambda: plotting.plot_plane(
        np.arange(5), np.arange(7), PLANE, {"solution": (0, 0)}, scores=PLANE / 2
    ),
    "labels": lambda: plotting.plot_score_against_labels([0, 0.1], SCORES, {"rate": SCORES}),
    "rotation": lambda: plotting.plot_rotation([0, 45, 90], {"a": [1, 2, 1], "b": [1, 1, 1]}),
    "scatter": lambda: plotting.plot_score_scatter([1, 2], [0.5, 0.2]),
    "proportions": lambda: plotting.plot_proportions(["a"], [1], [2], [[0.1, 0.9]]),
    "thresholds": lambda: plotting.plot_threshold_curves([0, 1], {"a": [1, 0]}, chosen=0.5),
}


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_every_outer_axis_is_labelled_and_nothing_warns(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = EVERY_FIGURE[name]()
        plotting.mark_smoke(figure)
        figure.draw_without_rendering()
    for ax in figure.axes:
        if not ax.get_visible() or ax.get_label() == "<colorbar>":
            continue
        shows_x = any(t.get_visible() and t.get_text() for t in ax.get_xticklabels())
        shows_y = any(t.get_visible() and t.get_text() for t in ax.get_yticklabels())
        assert ax.get_xlabel() or not (shows_x and ax.xaxis.get_visible())
        assert ax.get_ylabel() or not shows_y or name in ("distributions", "proportions")
    assert any("not evidence" in text.get_text() for text in figure.texts)


def test_style_is_colour_blind_safe_and_seven_inches_wide():
    from seaborn import color_palette

    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert cycle == [to_hex(c) for c in color_palette("colorblind")]
    assert plotting.plot_score_scatter([1, 2], [0.5, 0.2]).get_size_inches()[0] == 7.0


# ------------------------------------------------------------------------------------- fields


def test_images_have_x1_to_the_right_and_x2_upwards():
    field = np.zeros((3, N, N))
    field[:, N - 1, 0] = 2.0  # x1 = 1, x2 = 0
    field[:, 0, N - 1] = -1.0  # x1 = 0, x2 = 1
    samples = plotting.plot_samples(np.exp(field[:1, None]), field[None])
    modes = plotting.plot_modes(field)
    reconstruction = plotting.plot_reconstruction(0 * field, field)
    for figure in (samples, modes, reconstruction):
        figure.draw_without_rendering()
    images = [*panels(samples), *panels(modes), *panels(reconstruction)[1::3]]
    assert len(images) == 4 + 3 + 3
    for ax in images:
        corner = ax.transAxes.inverted().transform(ax.transData.transform((0.0, 0.0)))
        assert (corner < 0.2).all()  # the origin lies at the lower left
        assert shown(ax, 1, 0) == pytest.approx(2.0)
        assert shown(ax, 0, 1) == pytest.approx(-1.0)
        assert shown(ax, 0, 0) == shown(ax, 1, 1) == 0.0


def test_samples_scales_are_centred_and_shared_where_asked():
    own = np.array([ax.images[0].get_clim() for ax in panels(plotting.plot_samples(*DATA))])
    assert (own[:, 0] == -own[:, 1]).all()
    own = own[:, 1].reshape(2, 4)
    velocity = np.abs(FIELDS[:, 1:]).max(axis=(1, 2, 3))
    np.testing.assert_allclose(own[:, 2:], np.stack([velocity, velocity], 1))
    np.testing.assert_allclose(own[:, 1], np.abs(FIELDS[:, 0]).max(axis=(1, 2)))
    shared = plotting.plot_samples(*DATA, labels=["KLE2", "KLE10"], shared=True)
    shared_limits = [ax.images[0].get_clim()[1] for ax in panels(shared)]
    np.testing.assert_allclose(np.reshape(shared_limits, (2, 4)), np.tile(own.max(0), (2, 1)))
    assert [panels(shared)[i].get_ylabel().split("\n")[0] for i in (0, 4)] == ["KLE2", "KLE10"]


def test_torch_and_xarray_give_the_same_images():
    tensors = [torch.tensor(a, requires_grad=True) for a in DATA]
    dims = (("sample", "x1", "x2"), ("sample", "channel", "x1", "x2"))
    arrays = [xr.DataArray(a, dims=d) for a, d in zip(DATA, dims, strict=True)]
    images = [
        [ax.images[0].get_array() for ax in panels(plotting.plot_samples(*data))]
        for data in (DATA, tensors, arrays)
    ]
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_reconstructions_share_the_scale_of_the_truth_and_errors_their_own():
    truth = FIELDS[0]
    good, bad = truth + 0.01, truth + 0.1
    figure = plotting.plot_reconstruction(truth, {"good": good, "bad": bad})
    grid = np.array(panels(figure)).reshape(3, 5)
    for row in range(3):
        limits = [ax.images[0].get_clim() for ax in grid[row]]
        assert limits[0] == limits[1] == limits[3]
        assert limits[0][1] == max(np.abs(f[row]).max() for f in (truth, good, bad))
        assert limits[2] == limits[4] == pytest.approx((-0.1, 0.1))
        np.testing.assert_allclose(grid[row, 2].images[0].get_array(), 0.01)
        relative = 10 * N / np.linalg.norm(truth[row])
        assert grid[row, 4].texts[0].get_text() == f"{relative:.2g} %"
    assert [ax.get_title() for ax in grid[0, 3:]] == ["bad\nreconstruction", "bad\nerror"]


def test_reconstruction_of_one_positive_channel_and_of_a_constant():
    variance = np.ones((1, N, N))
    figure = plotting.plot_reconstruction(variance, variance, signed=False)
    truth, mean, error = panels(figure)
    assert truth.images[0].get_clim() == mean.images[0].get_clim() == (0.0, 1.0)
    assert error.images[0].get_clim() == (-1.0, 1.0)  # no error at all: any scale but an empty one


def test_modes_share_one_scale_and_leave_no_empty_axes():
    modes = RNG.normal(size=(7, N, N))
    figure = plotting.plot_modes(modes, np.arange(7.0, 0, -1), count=6)
    visible = [ax for ax in panels(figure) if ax.get_visible()]
    assert len(visible) == 6
    assert {ax.images[0].get_clim()[1] for ax in visible} == {np.abs(modes[:6]).max()}
    assert r"\lambda_{2}$ = 6.000" in visible[1].get_title()


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
    x, y = ax.lines[-1].get_data()
    assert np.log(y[1] / y[0]) / np.log(x[1] / x[0]) == pytest.approx(2.0)


# ----------------------------------------------------------------------------------- training


def test_history_shows_members_median_and_the_papers_units():
    figure = plotting.plot_history(history(), n_nodes=N, marks={"released": 100})
    distortion, rate, beta = figure.axes
    assert len(rate.lines) == 3 + 1 + 1  # members, median, mark
    np.testing.assert_array_equal(rate.lines[3].get_ydata(), 6.0)
    np.testing.assert_array_equal(rate.lines[0].get_xdata(), 10 * np.arange(50))
    assert rate.get_ylim()[0] == 0
    assert distortion.get_ylim()[1] < 5e5  # the first step, at a million, does not set the scale
    assert distortion.texts[0].get_text() == "released"
    for ax in (distortion, beta):
        second = ax.child_axes[0]
        figure.draw_without_rendering()
        np.testing.assert_allclose(second.get_ylim(), np.array(ax.get_ylim()) / N**2)
        assert "paper" in second.get_ylabel()
    assert not rate.child_axes


def test_history_of_one_run_without_steps_and_with_beta_zero():
    data = {"rate": [1.0, np.nan, 2.0], "distortion": [3.0, 2.0, 1.0], "beta": [0.0, 0.0, 1.0]}
    distortion, _, beta = plotting.plot_history(data).axes
    np.testing.assert_array_equal(distortion.lines[0].get_xdata(), [0, 1, 2])
    assert beta.get_yscale() == "symlog"


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
    low, high = left.collections[0].get_clim()
    assert (low, high) == (-1.0, 5.0)
    deepest = left.collections[0].get_paths()[0].vertices  # the band around the minimum
    assert deepest[:, 0].min() > 1
    assert deepest[:, 1].max() < 1
    assert figure.legends[0].get_texts()[0].get_text() == "seed 1"


# ----------------------------------------------------------------------------- disentanglement


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


def test_scatter_groups_runs():
    (ax,) = plotting.plot_score_scatter([1, 2, 3], [0.3, 0.2, 0.1], ["a", "b", "a"], 0.94).axes
    np.testing.assert_array_equal(ax.collections[0].get_offsets(), [[0.3, 1], [0.1, 3]])
    assert len(ax.collections) == 2
    assert "nats" in ax.get_ylabel()


# --------------------------------------------------------------------------------- statistics


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


# ------------------------------------------------------------------------ composition, provenance


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


def test_smoke_mark_keeps_clear_of_the_axes():
    figure = plotting.mark_smoke(plotting.plot_score_scatter([1, 2], [0.5, 0.2]))
    figure.draw_without_rendering()
    (text,) = figure.texts
    assert text.get_text() == "smoke run: not evidence"
    box = text.get_window_extent()
    assert not box.overlaps(figure.axes[0].get_tightbbox())
    assert figure.bbox.contains(box.x0, box.y0)
    assert figure.bbox.contains(box.x1, box.y1)


def test_caption_says_where_a_result_comes_from():
    attributes = {"profile": "laptop", "trials": 50, "hardware": "2 cores", "commit": "0123456789"}
    text = plotting.caption_source(attributes)
    assert text == "Profile laptop, 50 trials, 2 cores, commit 0123456."
    assert plotting.caption_source({"profile": "smoke"}) == "Profile smoke (not evidence)."
    several = {"commit": "0123456789-dirty; not in a git checkout", "trials": "1"}
    text = plotting.caption_source(several)
    assert text == "1 trial, commit 0123456-dirty; not in a git checkout."
    assert plotting.caption_source({}) == "Origin not recorded."


# ------------------------------------------------------------------------------------- errors

ROW = [0.0, 1.0]
WRONG = {
    "fields has shape": lambda: plotting.plot_samples(PERMEABILITY, FIELDS[:, :2]),
    "permeability has shape": lambda: plotting.plot_samples(PERMEABILITY[:1], FIELDS),
    "not positive": lambda: plotting.plot_samples(-PERMEABILITY, FIELDS),
    "1 labels": lambda: plotting.plot_samples(PERMEABILITY, FIELDS, labels=["one"]),
    "fields holds NaN": lambda: plotting.plot_samples(PERMEABILITY, np.nan * FIELDS),
    "eigenvalues has shape": lambda: plotting.plot_modes(FIELDS[0], [1.0, 2.0]),
    "decreasing": lambda: plotting.plot_eigenvalues([1.0, 2.0]),
    "two grids": lambda: plotting.plot_convergence([0.1], [0.1]),
    "mean HP has shape": lambda: plotting.plot_reconstruction(FIELDS[0], {"HP": FIELDS}),
    "history lacks beta": lambda: plotting.plot_history({"rate": ROW, "distortion": ROW}),
    "history of rate has shape": lambda: plotting.plot_history(
        {"rate": [0.0], "distortion": ROW, "beta": ROW}
    ),
    "z_std": lambda: plotting.plot_latents(np.ones((4, 2)), np.ones((4, 2)), np.ones((4, 1))),
    "theta \\(test\\) has": lambda: plotting.plot_latents(
        np.ones((4, 2)), np.ones((4, 2)), test=(np.ones((3, 2)), np.ones((2, 2)))
    ),
    "samples of q": lambda: plotting.plot_distributions({"q": np.ones((5, 3))}),
    "samples is empty": lambda: plotting.plot_distributions({}),
    "nothing to draw": lambda: plotting.plot_rd_plane(),
    "beta is drawn": lambda: plotting.plot_rd_plane(points=[[1, 2]], beta=[0]),
    "losses has shape": lambda: plotting.plot_line_losses(ROW, np.ones((3, 4))),
    "scores has shape": lambda: plotting.plot_line_losses(ROW, np.ones((3, 2)), np.ones((2, 2))),
    "loss has shape": lambda: plotting.plot_plane(np.arange(3), np.arange(4), np.ones((4, 3)), {}),
    "no loss": lambda: plotting.plot_plane(ROW, ROW, np.full((2, 2), np.nan), {}),
    "scores holds NaN": lambda: plotting.plot_score_against_labels(ROW, np.full((2, 3), np.nan)),
    "quantities is empty": lambda: plotting.plot_rotation(ROW, {}),
    "s_d has shape": lambda: plotting.plot_score_scatter(ROW, [1.0]),
    "successes must": lambda: plotting.plot_proportions(["a"], [3], [2], [[0, 1]]),
    "outside its interval": lambda: plotting.plot_proportions(["a"], [1], [2], [[60, 90]]),
    "shares of a has shape": lambda: plotting.plot_threshold_curves(ROW, {"a": [1.0]}),
    "not an array of numbers": lambda: plotting.plot_score_scatter(["a"], [1.0]),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_input_is_refused_in_words(message):
    with pytest.raises(DataError, match=message):
        WRONG[message]()

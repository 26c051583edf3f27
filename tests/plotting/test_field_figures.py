"""Images of fields: orientation, scales, labels."""

import itertools

import numpy as np
import pytest
import torch
import xarray as xr
from figure_parts import FIELDS, PERMEABILITY, RNG, N, panels, shown

from dvae import DataError, plotting

DATA = (PERMEABILITY, FIELDS)


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


def test_fields_on_a_line_are_curves():
    truth, mean = FIELDS[..., :1]
    figure = plotting.plot_reconstruction(truth, mean, axes_names=["position"])
    grid = np.array(panels(figure)).reshape(3, 2)
    for row in range(3):
        drawn = [line.get_ydata() for line in grid[row, 0].lines]
        np.testing.assert_array_equal(drawn, [truth[row].ravel(), mean[row].ravel()])
        np.testing.assert_allclose(grid[row, 1].lines[0].get_ydata(), (mean - truth)[row].ravel())
    assert grid[2, 0].get_xlabel() == "position"
    across = plotting.plot_reconstruction(truth.transpose(0, 2, 1), mean.transpose(0, 2, 1))
    assert panels(across)[-1].get_xlabel() == "$x_2$"


def test_traversals_show_the_change_from_the_decoded_centre():
    moved = FIELDS[0] + np.arange(1.0, 7.0).reshape(2, 3, 1, 1, 1)  # two latents, three values
    figure = plotting.plot_traversals(FIELDS[0], moved, [-1, 1, 2])
    grid = np.array(panels(figure)).reshape(6, 4)
    np.testing.assert_array_equal(grid[1, 0].images[0].get_array(), FIELDS[0, 1].T)
    np.testing.assert_allclose(grid[4, 3].images[0].get_array(), 6.0)
    assert {ax.images[0].get_clim() for ax in grid[:, 1:].flat} == {(-6.0, 6.0)}
    assert grid[4, 3].get_title() == "$z_{2}$ = 2"
    warm = FIELDS[0] - FIELDS[0].min((1, 2), keepdims=True) + [[[280]], [[-280]], [[0]]]
    figure = plotting.plot_traversals(warm, moved, [-1, 1, 2])
    scales = [ax.images[0].get_clim() for ax in panels(figure)]
    for channel in (0, 1):  # a scale about 0 would show one colour only
        assert scales[4 * channel] == (warm[channel].min(), warm[channel].max())
    assert scales[8] == (-warm[2].max(), warm[2].max())
    curves = plotting.plot_traversals(FIELDS[0][..., :1], moved[..., :1], [-1, 1, 2])
    drawn = [line.get_ydata() for line in np.array(panels(curves)).reshape(3, 2)[2, 1].lines]
    np.testing.assert_array_equal(drawn[:3], moved[1, :, 2, :, 0])
    np.testing.assert_array_equal(drawn[3], FIELDS[0, 2, :, 0])


def test_maps_over_coordinates_that_fall_and_are_not_even():
    """Every node lies in the pixel around its place, whichever way the coordinate runs."""
    x, y = np.array([0.0, 1, 2, 6]), np.array([3.0, 1, 0])
    truth = np.arange(12.0).reshape(1, 4, 3)
    figure = plotting.plot_reconstruction(
        truth, truth + 1, axes_names=["x [m]", "y"], places=(x, y)
    )
    ax = panels(figure)[1]
    (mesh,) = ax.collections
    np.testing.assert_array_equal(mesh.get_array(), truth[0].T + 1)
    corners = mesh.get_coordinates()  # (y, x) of the corners of the pixels
    for (i, left), (j, low) in itertools.product(enumerate(x), enumerate(y)):
        around = corners[j : j + 2, i : i + 2].reshape(-1, 2)
        assert (around.min(0) < (left, low)).all() and (around.max(0) > (left, low)).all()
    assert ax.get_ylim()[0] < 0 < 3 < ax.get_ylim()[1]  # upwards
    assert ax.get_aspect() == 1.0 and ax.get_xlabel() == "x [m]"
    flat = plotting.plot_traversals(truth, truth[None, None], [1], places=(5 * x, y))
    assert panels(flat)[0].get_box_aspect() == 1  # 30 m by 3 m would be a stripe


def test_curves_over_coordinates():
    places = [np.geomspace(1, 100, N)]
    for figure in (
        plotting.plot_reconstruction(*FIELDS[..., :1], places=places),
        plotting.plot_traversals(FIELDS[0][..., :1], FIELDS[:1, None, ..., :1], [1], places=places),
    ):
        for line in panels(figure)[0].lines:
            np.testing.assert_array_equal(line.get_xdata(), places[0])


@pytest.mark.parametrize(
    ("places", "message"),
    [([np.arange(N)], "1 places were given for 2"), ([np.arange(N), np.arange(3)], "places has")],
)
def test_places_that_do_not_fit_the_grid(places, message):
    with pytest.raises(DataError, match=message):
        plotting.plot_reconstruction(*FIELDS, places=places)

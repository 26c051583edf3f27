"""Transport by wind against a manufactured solution, its balance and its symmetries."""

import numpy as np
import pytest
import torch
from tolerances import rounding

from dvae.errors import DataError
from dvae.physics import FieldDataset, gaussian_source, solve_transport, transport_dataset

# A flux or a decay is a product and a few sums; the solution has been eliminated in a band of 2 n
# unknowns, backward stable, so that every row is balanced to as many roundings of its terms.
OPERATIONS = 200


def manufactured(n, wind, diffusivity, decay):
    """c = sin(pi x1) sin(2 pi x2) exp(x1 x2 / 2), which is 0 on the walls, and its source."""
    x1, x2 = np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij")
    a, b = np.pi, 2 * np.pi
    s1, s2, c1, c2 = np.sin(a * x1), np.sin(b * x2), np.cos(a * x1), np.cos(b * x2)
    growth = np.exp(x1 * x2 / 2)
    g1, g2 = x2 / 2, x1 / 2  # derivatives of the exponent
    c = s1 * s2 * growth
    d1 = (a * c1 + g1 * s1) * s2 * growth
    d2 = s1 * (b * c2 + g2 * s2) * growth
    d11 = (-(a**2) * s1 + 2 * g1 * a * c1 + g1**2 * s1) * s2 * growth
    d22 = s1 * (-(b**2) * s2 + 2 * g2 * b * c2 + g2**2 * s2) * growth
    return c, wind[0] * d1 + wind[1] * d2 - diffusivity * (d11 + d22) + decay * c


def test_second_order_on_a_manufactured_solution():
    wind, constants = np.array([0.7, -0.4]), {"diffusivity": 0.1, "decay": 1.5}
    errors = []
    for n in (17, 33, 65):
        exact, source = manufactured(n, wind, **constants)
        (found,) = solve_transport(wind[None], source, **constants)
        errors.append([np.sqrt(((found - exact) ** 2).mean()), np.abs(found - exact).max()])
    order = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert ((order > 1.9) & (order < 2.1)).all(), order


def test_every_volume_is_balanced():
    n, kappa, decay = 33, 0.05, 2.0
    wind = np.array([[0.3, -0.5], [0.0, 0.0], [-1.0, 0.2]])
    source = gaussian_source(n, centre=(0.4, 0.6), widths=(0.2, 0.05), angle=20)
    found, h = solve_transport(wind, source, diffusivity=kappa, decay=decay), 1 / (n - 1)
    for c, (v1, v2) in zip(found, wind, strict=True):
        # what a face of length h lets through; nothing is counted twice in the sum over volumes
        flux1 = h * (v1 * (c[1:] + c[:-1]) / 2 - kappa * np.diff(c, axis=0) / h)[:, 1:-1]
        flux2 = h * (v2 * (c[:, 1:] + c[:, :-1]) / 2 - kappa * np.diff(c, axis=1) / h)[1:-1]
        gained = h**2 * (source - decay * c)[1:-1, 1:-1]
        left = np.diff(flux1, axis=0) + np.diff(flux2, axis=1)
        allowed = rounding(OPERATIONS) * 8 * kappa * c.max()
        assert np.abs(left - gained).max() < allowed
        through_walls = flux1[-1].sum() - flux1[0].sum() + flux2[:, -1].sum() - flux2[:, 0].sum()
        assert abs(through_walls - gained.sum()) < allowed * n**2
        assert through_walls > 0.01 * gained.sum()
        assert (c >= 0).all()


def test_mirrored_and_exchanged_winds_mirror_and_exchange_the_fields():
    source = gaussian_source(33, widths=(0.2, 0.05))
    wind = np.array([[0.3, 0.1], [-0.3, 0.1], [0.3, -0.1]])
    there, mirrored1, mirrored2 = solve_transport(wind, source)
    allowed = rounding(33**2) * there.max()
    np.testing.assert_allclose(mirrored1, there[::-1], atol=allowed)
    np.testing.assert_allclose(mirrored2, there[:, ::-1], atol=allowed)
    (exchanged,) = solve_transport(wind[:1, ::-1], source.T)
    np.testing.assert_allclose(exchanged, there.T, atol=allowed)
    assert np.abs(mirrored1 - there).max() > 0.1 * there.max()


def test_the_bump_has_its_widths_and_its_angle():
    source = gaussian_source(129, widths=(0.08, 0.03), angle=30)
    x = np.linspace(-0.5, 0.5, 129)
    x1, x2 = np.meshgrid(x, x, indexing="ij")
    second = np.array([[(source * a * b).sum() for a in (x1, x2)] for b in (x1, x2)])
    values, vectors = np.linalg.eigh(second / source.sum())
    np.testing.assert_allclose(np.sqrt(values), [0.03, 0.08], rtol=1e-4)
    assert np.degrees(np.arctan2(*vectors[::-1, 1])) % 180 == pytest.approx(30, abs=0.01)
    off = gaussian_source(65, centre=(0.25, 0.75))
    assert np.unravel_index(off.argmax(), off.shape) == (16, 48)


def test_a_data_set_holds_winds_and_what_they_make():
    source = gaussian_source(17)
    data = transport_dataset(source, 6, seed=3, speed=0.1)
    assert isinstance(data, FieldDataset)
    assert data.channel_names == ["concentration"]
    assert data.factor_names == ["wind along x1", "wind along x2"]
    again = solve_transport(0.1 * data.theta.double().numpy(), source)
    torch.testing.assert_close(data.fields[:, 0], torch.from_numpy(again).float())
    fewer = transport_dataset(source, 2, seed=3, speed=0.1)
    assert torch.equal(fewer.fields, data.fields[:2])
    assert not torch.equal(transport_dataset(source, 2, seed=4).theta, fewer.theta)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diffusivity": 0.0}, "diffusivity is 0.0"),
        ({"diffusivity": float("nan")}, "diffusivity is nan"),
        ({"decay": -1.0}, "decay -1.0"),
        ({"wind": np.array([[np.nan, 0.0]])}, "wind holds NaN"),
        ({"source": np.full((9, 9), np.inf)}, "source holds NaN"),
        ({"wind": np.array([[0.0, 3.0]])}, "a wind of 3 is too fast for 9 nodes"),
    ],
)
def test_bad_input_is_refused(changes, message):
    arguments = {"wind": np.zeros((1, 2)), "source": np.ones((9, 9))} | changes
    with pytest.raises(DataError, match=message):
        solve_transport(**arguments)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"wind": np.zeros(2)}, r"wind has shape \(2,\)"),
        ({"wind": np.zeros((1, 3))}, r"wind has shape \(1, 3\)"),
        ({"source": np.ones((9, 8))}, r"source has shape \(9, 8\)"),
        ({"source": np.ones((2, 2))}, r"source has shape \(2, 2\)"),
    ],
)
def test_wrong_shapes_are_refused(changes, message):
    arguments = {"wind": np.zeros((1, 2)), "source": np.ones((9, 9))} | changes
    with pytest.raises(DataError, match=message):
        solve_transport(**arguments)


def test_bad_sources_and_draws_are_refused():
    with pytest.raises(DataError, match="widths positive"):
        gaussian_source(9, widths=(0.1, 0.0))
    with pytest.raises(DataError, match="must be finite"):
        gaussian_source(9, centre=(0.5, float("nan")))
    with pytest.raises(DataError, match="n_nodes is 2"):
        gaussian_source(2)
    with pytest.raises(DataError, match="n_samples is 0"):
        transport_dataset(np.ones((9, 9)), 0)
    with pytest.raises(DataError, match="speed is 0"):
        transport_dataset(np.ones((9, 9)), 2, speed=0)

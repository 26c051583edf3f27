"""The solver against manufactured solutions, conservation, symmetry and other schemes."""

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg
import torch
from tolerances import rounding

from dvae.errors import DataError, DeviceError
from dvae.physics import KarhunenLoeve, solve_darcy, well_source


def trapezoid(n):
    side = np.full(n, 1 / (n - 1))
    side[[0, -1]] /= 2
    return np.outer(side, side)


def fields(n_modes, count, n=65, seed=0):
    theta = np.random.default_rng(seed).standard_normal((count, n_modes))
    return KarhunenLoeve(n_modes, n).permeability(theta)


def manufactured(n):
    """K = exp(g), p with zero normal derivative, u = -K grad p and f = div u, in closed form."""
    x1, x2 = np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij")
    field = np.exp(0.8 * np.sin(2 * x1 + 1) - 0.6 * x2 + 0.5 * x1 * x2)
    g1, g2 = 1.6 * np.cos(2 * x1 + 1) + 0.5 * x2, -0.6 + 0.5 * x1
    a, b = np.pi, 2 * np.pi
    p = np.cos(a * x1) * np.cos(b * x2) + 0.3 * np.cos(b * x1)
    p1 = -a * np.sin(a * x1) * np.cos(b * x2) - 0.3 * b * np.sin(b * x1)
    p2 = -b * np.cos(a * x1) * np.sin(b * x2)
    laplacian = -(a**2 + b**2) * np.cos(a * x1) * np.cos(b * x2) - 0.3 * b**2 * np.cos(b * x1)
    velocity = -field * np.stack([p1, p2])
    return field, p, velocity, -field * (laplacian + g1 * p1 + g2 * p2)


def test_second_order_on_a_manufactured_solution_with_variable_permeability():
    errors = []
    for n in (17, 33, 65, 129):
        field, p, velocity, source = manufactured(n)
        weights = trapezoid(n)
        source = source - (source * weights).sum()  # what the trapezoidal rule misses of 0
        solution = solve_darcy(field[None], source)
        exact = p - (p * weights).sum()
        errors.append(
            [
                np.sqrt((weights * (solution.pressure[0] - exact) ** 2).sum()),
                np.abs(solution.pressure[0] - exact).max(),
                np.sqrt((weights * (solution.velocity[0] - velocity) ** 2).sum()),
            ]
        )
    order = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert ((order > 1.9) & (order < 2.1)).all(), order


def test_a_cosine_is_solved_exactly_where_the_permeability_is_constant():
    n, k = 33, 3
    x = np.linspace(0, 1, n)
    source = np.cos(k * np.pi * x)[:, None] * np.ones(n)
    eigenvalue = (2 * (n - 1) * np.sin(k * np.pi / (2 * (n - 1)))) ** 2
    solution = solve_darcy(np.full((1, n, n), 2.5), source)
    np.testing.assert_allclose(solution.pressure[0], source / eigenvalue / 2.5, atol=1e-13)


def imbalance(field, pressure, source):
    """Outflow of every control volume by the scheme's definition, minus its source."""
    n = field.shape[-1]
    side = np.full(n, 1.0)
    side[[0, -1]] = 0.5
    flux1 = -np.sqrt(field[:, 1:] * field[:, :-1]) * np.diff(pressure, axis=1) * side
    flux2 = -np.sqrt(field[:, :, 1:] * field[:, :, :-1]) * np.diff(pressure, axis=2) * side[:, None]
    out = np.zeros_like(pressure)
    out[:, :-1] += flux1
    out[:, 1:] -= flux1
    out[:, :, :-1] += flux2
    out[:, :, 1:] -= flux2
    return out - source * trapezoid(n)


def allowed_imbalance(field, source, pressure):
    """What the stopping rule, |K^-1/2 r| <= 1e-12 |K^-1/2 b| in the 2-norm, leaves in each volume.

    It bounds each |r_i| by sqrt(K_i) times its right side: how far below the last step lands is a
    matter of rounding. The residual that is updated parts from the true one by as many roundings
    of |A| |p| as there are steps, here fewer than 100.
    """
    load = source * trapezoid(len(source))
    stop = 1e-12 * np.sqrt((load**2 / field).sum((1, 2), keepdims=True)) * np.sqrt(field)
    checkers = (-1.0) ** np.indices(source.shape).sum(0)  # with these signs no flux cancels another
    flux = np.abs(imbalance(field, checkers * np.abs(pressure), 0 * source))
    return stop + rounding(100) * flux.max((1, 2), keepdims=True)


@pytest.mark.parametrize(("n_modes", "n"), [(2, 65), (100, 65), (1000, 65), (1089, 33), (256, 16)])
def test_mass_balance_and_zero_mean(n_modes, n):
    field = fields(n_modes, 6, n)
    pressure, velocity = solve_darcy(field)
    allowed = allowed_imbalance(field, well_source(n), pressure)
    assert (np.abs(imbalance(field, pressure, well_source(n))) < allowed).all()
    injected = (well_source(n).clip(0) * trapezoid(n)).sum()
    assert allowed.max() < 1e-11 * injected  # so that this bound still says something
    # Two sums of n^2 terms with weights that add up to 1: the one subtracted and this one.
    mean = (pressure * trapezoid(n)).sum((1, 2))
    assert (np.abs(mean) < rounding(2 * n * n + 2) * np.abs(pressure).max((1, 2))).all()
    assert (velocity[:, 0, [0, -1], :] == 0).all()
    assert (velocity[:, 1, :, [0, -1]] == 0).all()


def nonconservative(field, source):
    """-K lap p - grad K . grad p = f by central differences, ghost nodes at the boundary."""
    n = len(field)
    h = 1 / (n - 1)
    first = sp.diags_array([-np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1]).tolil() / (2 * h)
    second = (
        sp.diags_array([np.ones(n - 1), -2 * np.ones(n), np.ones(n - 1)], offsets=[-1, 0, 1]) / h**2
    )
    first, second = first.tolil(), second.tolil()
    first[0, :] = first[-1, :] = 0  # the ghost node mirrors its neighbour
    second[0, 1] = second[-1, -2] = 2 / h**2
    eye = sp.eye_array(n)
    gradient = [sp.kron(first, eye), sp.kron(eye, first)]
    laplacian = sp.kron(second, eye) + sp.kron(eye, second)
    k = field.ravel()
    matrix = -sp.diags_array(k) @ laplacian
    for derivative in gradient:
        matrix = matrix - sp.diags_array(derivative @ k) @ derivative
    weights = trapezoid(n).ravel()[None]
    bordered = sp.block_array([[matrix, np.ones((n * n, 1))], [weights, None]], format="csc")
    solution = scipy.sparse.linalg.spsolve(bordered, np.append(source.ravel(), 0))[:-1]
    velocity = [-k * (derivative @ solution) for derivative in gradient]
    return solution.reshape(n, n), np.stack(velocity).reshape(2, n, n)


def test_agrees_with_an_independent_nonconservative_scheme():
    field = fields(2, 20, seed=3)
    solution = solve_darcy(field)
    other = [nonconservative(k, well_source(65)) for k in field]
    distance = np.empty((20, 2))
    for i, pair in enumerate(other):
        for j, theirs in enumerate(pair):
            distance[i, j] = np.linalg.norm(solution[j][i] - theirs) / np.linalg.norm(theirs)
    assert distance[:, 0].max() < 1e-3  # pressure of every sample
    assert np.sqrt((distance**2).mean(axis=0)).max() < 1e-3  # and over the set, velocity too
    assert distance.max() < 2e-3


def conservative(field, source):
    """The scheme's own equations, written node by node and solved by a sparse direct method."""
    n = len(field)
    index = np.arange(n * n).reshape(n, n)
    rows, columns, values = [], [], []
    for axis in (0, 1):
        for near, far in zip(
            np.moveaxis(index, axis, 0)[:-1], np.moveaxis(index, axis, 0)[1:], strict=True
        ):
            for position, (i, j) in enumerate(zip(near, far, strict=True)):
                k = np.sqrt(field.flat[i] * field.flat[j])
                k *= 0.5 if position in (0, n - 1) else 1.0
                rows += [i, i, j, j]
                columns += [i, j, j, i]
                values += [k, -k, k, -k]
    matrix = sp.coo_array((values, (rows, columns)), shape=(n * n, n * n))
    weights = trapezoid(n).reshape(1, -1)
    bordered = sp.block_array([[matrix, weights.T], [weights, None]], format="csc")
    load = np.append(source.ravel() * weights[0], 0)
    return scipy.sparse.linalg.spsolve(bordered, load)[:-1].reshape(n, n)


@pytest.mark.parametrize(("n_modes", "n", "scale"), [(2, 17, 1), (256, 16, 1), (1089, 33, 2)])
def test_agrees_with_a_direct_solution_of_its_own_equations(n_modes, n, scale):
    field = fields(n_modes, 3, n, seed=1) ** scale
    pressure = solve_darcy(field).pressure
    for k, ours in zip(field, pressure, strict=True):
        exact = conservative(k, well_source(n))
        np.testing.assert_allclose(ours, exact, atol=1e-9 * np.abs(exact).max())


def test_response_to_the_symmetries_of_the_square():
    field, source = fields(100, 2, 33), well_source(33)
    p, u = solve_darcy(field)
    close = {"rtol": 0, "atol": 1e-11}  # each solution stops at 1e-12; kernels need up to 1e-12

    # Transposition leaves the wells where they are and exchanges the axes.
    q, v = solve_darcy(field.swapaxes(1, 2))
    np.testing.assert_allclose(q, p.swapaxes(1, 2), **close)
    np.testing.assert_allclose(v, u.swapaxes(2, 3)[:, ::-1], **close)

    # Rotation by 180 degrees exchanges injection and production: pressure changes its sign.
    q, v = solve_darcy(field[:, ::-1, ::-1].copy())
    np.testing.assert_allclose(q, -p[:, ::-1, ::-1], **close)
    np.testing.assert_allclose(v, u[:, :, ::-1, ::-1], **close)

    # Reflections, with the source reflected too, turn one component around.
    q, v = solve_darcy(field[:, ::-1].copy(), source[::-1].copy())
    np.testing.assert_allclose(q, p[:, ::-1], **close)
    np.testing.assert_allclose(v[:, 0], -u[:, 0, ::-1], **close)
    np.testing.assert_allclose(v[:, 1], u[:, 1, ::-1], **close)
    q, v = solve_darcy(field[:, :, ::-1].copy(), source[:, ::-1].copy())
    np.testing.assert_allclose(q, p[:, :, ::-1], **close)
    np.testing.assert_allclose(v[:, 0], u[:, 0, :, ::-1], **close)
    np.testing.assert_allclose(v[:, 1], -u[:, 1, :, ::-1], **close)


def test_scaling_the_permeability_scales_the_pressure_only():
    field = fields(100, 2, 17)
    p, u = solve_darcy(field)
    q, v = solve_darcy(1e6 * field)
    np.testing.assert_allclose(1e6 * q, p, atol=1e-12)
    np.testing.assert_allclose(v, u, atol=1e-11)


def test_flow_runs_from_the_injection_to_the_production_well():
    n = 65
    pressure, velocity = solve_darcy(np.ones((1, n, n)))
    assert pressure[0].argmax() == 0
    assert pressure[0].argmin() == n * n - 1
    # What crosses the diagonal x1 + x2 = 1 is what the well injects.
    diagonal = velocity[0].sum(0)[np.arange(n), np.arange(n)[::-1]]
    injected = (well_source(n).clip(0) * trapezoid(n)).sum()
    assert np.trapezoid(diagonal, dx=1 / (n - 1)) == pytest.approx(injected, rel=1e-3)


def test_a_sample_does_not_depend_on_its_companions():
    field = np.concatenate([fields(2, 3, 33), fields(1089, 3, 33)])
    together = solve_darcy(field)
    in_twos = solve_darcy(field, batch_size=2)
    # Each stops at 1e-12 of its load; the kernels need up to 2e-13 (pressure) and 3e-12 (velocity).
    np.testing.assert_allclose(in_twos.pressure, together.pressure, rtol=0, atol=2e-12)
    for i in range(6):
        alone = solve_darcy(field[i : i + 1])
        np.testing.assert_allclose(alone.pressure[0], together.pressure[i], rtol=0, atol=2e-12)
        np.testing.assert_allclose(alone.velocity[0], together.velocity[i], rtol=0, atol=3e-11)


def test_one_source_for_each_sample():
    field = fields(2, 2, 17)
    sources = np.stack([well_source(17), 2 * well_source(17)[::-1]])
    together = solve_darcy(field, sources, batch_size=1)
    for i in range(2):
        alone = solve_darcy(field[i : i + 1], sources[i])
        np.testing.assert_allclose(together.pressure[i], alone.pressure[0], rtol=0, atol=1e-13)


def test_no_source_no_flow():
    pressure, velocity = solve_darcy(np.ones((2, 9, 9)), np.zeros((9, 9)))
    assert (pressure == 0).all()
    assert (velocity == 0).all()


def test_a_sample_that_is_done_early_stays_as_it_is():
    n = 17
    wave = np.cos(np.pi * np.linspace(0, 1, n))[:, None] * np.ones(n)
    sources = np.stack([np.zeros((n, n)), wave, well_source(n), well_source(n), well_source(n)])
    field = np.concatenate([np.ones((2, n, n)), fields(289, 3, n)])
    pressure = solve_darcy(field, sources).pressure
    assert (pressure[0] == 0).all()
    np.testing.assert_allclose(
        pressure[1], wave / (2 * (n - 1) * np.sin(np.pi / (2 * (n - 1)))) ** 2, atol=1e-13
    )
    np.testing.assert_allclose(pressure[2:], solve_darcy(field[2:]).pressure, atol=1e-12)


def test_tensor_in_tensor_out_and_float32_is_promoted():
    field = torch.tensor(fields(2, 2, 17), dtype=torch.float32)
    solution = solve_darcy(field)
    assert isinstance(solution.pressure, torch.Tensor)
    assert solution.pressure.dtype == solution.velocity.dtype == torch.float64
    as_array = solve_darcy(field.numpy())
    assert isinstance(as_array.pressure, np.ndarray)
    np.testing.assert_array_equal(as_array.velocity, solution.velocity)
    assert solve_darcy(field[:0]).velocity.shape == (0, 2, 17, 17)


@pytest.mark.parametrize("n", [9, 16, 17, 65, 66])
def test_well_source(n):
    source = well_source(n)
    x = np.linspace(0, 1, n)
    for i in range(n):
        for j in range(n):
            expected = 0.0
            if max(abs(x[i] - 1 / 16), abs(x[j] - 1 / 16)) <= 1 / 16 + 1e-9:
                expected = 10.0
            if max(abs(x[i] - 15 / 16), abs(x[j] - 15 / 16)) <= 1 / 16 + 1e-9:
                expected = -10.0
            assert source[i, j] == expected
    assert (source * trapezoid(n)).sum() == pytest.approx(0, abs=1e-14)
    if n == 65:
        assert (source == 10).sum() == (source == -10).sum() == 81


@pytest.mark.wrong_types
def test_bad_input_is_refused():
    good = np.ones((3, 9, 9))
    for shape in [(9, 9), (3, 9, 8), (3, 1, 9, 9), (3, 2, 2)]:
        with pytest.raises(DataError, match=r"permeability has shape"):
            solve_darcy(np.ones(shape))
    for value in (0.0, -1.0, np.nan, np.inf):
        bad = good.copy()
        bad[1, 4, 5] = value
        with pytest.raises(DataError, match=r"sample 1 is .* at node \(4, 5\).*exp\(G\)"):
            solve_darcy(bad)
    with pytest.raises(DataError, match=r"source has shape \(8, 9\)"):
        solve_darcy(good, np.zeros((8, 9)))
    sources = np.stack([well_source(9)] * 3)
    sources[2] += 1e-3
    with pytest.raises(DataError, match=r"mean of source 2 is 1.000e-03.*subtract the mean"):
        solve_darcy(good, sources)
    sources[2, 0, 0] = np.nan
    with pytest.raises(DataError, match="source 2 holds a value that is not finite"):
        solve_darcy(good, sources)
    with pytest.raises(DeviceError, match="cuda:99"):
        solve_darcy(good, device="cuda:99")
    with pytest.raises(DeviceError, match="no-such-device"):
        solve_darcy(good, device="no-such-device")


def test_no_convergence_names_the_sample():
    field = np.concatenate([np.ones((2, 17, 17)), fields(289, 2, 17)])
    with pytest.raises(DataError, match=r"sample 2 has not converged .* in 3 iterations"):
        solve_darcy(field, max_iterations=3, batch_size=2)


@pytest.mark.parametrize("exponent", [30, 150, 300])
def test_a_hopeless_contrast_is_an_error_and_never_a_wrong_field(exponent):
    field = np.ones((1, 9, 9))
    field[0, ::2, ::2], field[0, 1::2, 1::2] = 10.0**exponent, 10.0**-exponent
    with pytest.raises(DataError, match="sample 0 has not converged"):
        solve_darcy(field, max_iterations=200)


def test_a_solution_does_not_depend_on_the_number_of_workers():
    field = fields(256, 11, 16)
    expected = solve_darcy(field, batch_size=2, workers=1)
    for workers in (2, 5, None):
        solution = solve_darcy(field, batch_size=2, workers=workers)
        np.testing.assert_array_equal(solution.pressure, expected.pressure)
        np.testing.assert_array_equal(solution.velocity, expected.velocity)
    with pytest.raises(DataError, match="workers is 0"):
        solve_darcy(field, workers=0)


def test_of_several_batches_that_fail_the_first_is_named():
    field = fields(289, 8, 17)
    with pytest.raises(DataError, match="sample 0 has not converged"):
        solve_darcy(field, max_iterations=3, batch_size=1, workers=3)


@pytest.mark.wrong_types
@pytest.mark.parametrize("size", [0, -1, 2.5, "many"])
def test_a_batch_has_a_whole_number_of_samples(size):
    with pytest.raises(DataError, match=r"batch_size is .*; give an integer of 1 or more"):
        solve_darcy(np.ones((2, 9, 9)), batch_size=size)


@pytest.mark.wrong_types
def test_views_and_foreign_byte_orders_are_taken():
    field = np.exp(np.random.default_rng(0).normal(size=(2, 9, 9)))
    pressure, _ = solve_darcy(field[:, ::-1])
    np.testing.assert_array_equal(pressure, solve_darcy(field[:, ::-1].copy()).pressure)
    foreign = solve_darcy(field.astype(">f8"))
    np.testing.assert_array_equal(foreign.pressure, solve_darcy(field).pressure)
    with pytest.raises(DataError, match="complex"):
        solve_darcy(field.astype(complex))


def test_a_device_that_holds_no_numbers_is_refused():
    with pytest.raises(DeviceError, match="'meta' cannot compute"):
        solve_darcy(np.ones((1, 9, 9)), device="meta")

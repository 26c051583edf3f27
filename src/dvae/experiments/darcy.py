"""Rows D1 and D2: the Darcy solver against exact solutions, refinement and another scheme."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import xarray as xr
from jaxtyping import Float
from scipy.interpolate import RectBivariateSpline
from scipy.sparse.linalg import spsolve

from dvae.analysis.baselines import pca_latents
from dvae.analysis.scores import ceiling, disentanglement_score
from dvae.physics import DarcyDataset, KarhunenLoeve, solve_darcy, well_source
from dvae.results.trials import Experiment, Group

__all__ = [
    "DARCY",
    "exact_wells",
    "manufactured",
    "mass_imbalance",
    "nonconservative_darcy",
    "relative_error",
    "rotated_pair",
    "trapezoid",
]


def trapezoid(n: int) -> Float[np.ndarray, "x1 x2"]:
    """Weights of the trapezoidal rule on n x n nodes of the unit square; they add up to 1."""
    side = np.full(n, 1 / (n - 1))
    side[[0, -1]] /= 2
    return np.outer(side, side)


def relative_error(value: np.ndarray, truth: np.ndarray) -> float:
    """Norm of ``value - truth`` over that of ``truth`` (both (..., n, n)), by trapezoidal sums."""
    weights = trapezoid(truth.shape[-1])
    return float(np.sqrt((weights * (value - truth) ** 2).sum() / (weights * truth**2).sum()))


def manufactured(
    n: int,
) -> tuple[
    Float[np.ndarray, "x1 x2"],
    Float[np.ndarray, "x1 x2"],
    Float[np.ndarray, "x1 x2"],
    Float[np.ndarray, "2 x1 x2"],
]:
    r"""A solution of eq. 16 in closed form: permeability, source, pressure and velocity.

    .. math::
        \log K = 0.8 \sin(2 x_1 + 1) - 0.6 x_2 + 0.5 x_1 x_2, \quad
        p = \cos \pi x_1 \cos 2 \pi x_2 + 0.3 \cos 2 \pi x_1,

    u = -K grad p, which has no normal component on the boundary, and f = div u. All (n, n) but
    the velocity (2, n, n), dimensionless.
    """
    x1, x2 = np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij")
    field = np.exp(0.8 * np.sin(2 * x1 + 1) - 0.6 * x2 + 0.5 * x1 * x2)
    a, b = np.pi, 2 * np.pi
    pressure = np.cos(a * x1) * np.cos(b * x2) + 0.3 * np.cos(b * x1)
    p1 = -a * np.sin(a * x1) * np.cos(b * x2) - 0.3 * b * np.sin(b * x1)
    p2 = -b * np.cos(a * x1) * np.sin(b * x2)
    laplacian = -(a**2 + b**2) * np.cos(a * x1) * np.cos(b * x2) - 0.3 * b**2 * np.cos(b * x1)
    g1, g2 = 1.6 * np.cos(2 * x1 + 1) + 0.5 * x2, -0.6 + 0.5 * x1
    source = -field * (laplacian + g1 * p1 + g2 * p2)
    return field, source, pressure, -field * np.stack([p1, p2])


def exact_wells(n: int, rate: float = 10.0, width: float = 1 / 8) -> Float[np.ndarray, "x1 x2"]:
    """The wells of eq. 17 with the weight 1/2 on the nodes of their inner edges (1/4 in corners).

    Each well then injects exactly ``rate * width**2`` by the trapezoidal rule, as in eq. 17, if
    its edge runs through nodes; with :func:`dvae.well_source` it injects more.
    """
    distance = np.linspace(0, 1, n) - width
    side = np.where(distance < -1e-12, 1.0, np.where(distance < 1e-12, 0.5, 0.0))
    well = np.outer(side, side)
    return rate * (well - well[::-1, ::-1])


def mass_imbalance(
    field: Float[np.ndarray, "x1 x2"],
    pressure: Float[np.ndarray, "x1 x2"],
    source: Float[np.ndarray, "x1 x2"],
) -> float:
    """Largest imbalance of a control volume (outflow minus source), over what the wells inject.

    Fluxes are written here from the definition of the scheme of :func:`dvae.solve_darcy`.
    """
    side = np.ones(len(field))
    side[[0, -1]] = 0.5
    balance = -source * trapezoid(len(field))
    flux = -np.sqrt(field[1:] * field[:-1]) * np.diff(pressure, axis=0) * side
    balance[:-1] += flux
    balance[1:] -= flux
    flux = -np.sqrt(field[:, 1:] * field[:, :-1]) * np.diff(pressure, axis=1) * side[:, None]
    balance[:, :-1] += flux
    balance[:, 1:] -= flux
    injected = (source.clip(0) * trapezoid(len(field))).sum()
    return float(np.abs(balance).max() / injected)


def nonconservative_darcy(
    field: Float[np.ndarray, "x1 x2"], source: Float[np.ndarray, "x1 x2"]
) -> tuple[Float[np.ndarray, "x1 x2"], Float[np.ndarray, "2 x1 x2"], float]:
    """Eq. 16 as ``-K lap p - grad K . grad p = f``: the kind of scheme that the authors' code has.

    Central differences at the nodes, mirrored ghost nodes at the boundary, a sparse direct
    solution. It shares nothing with :func:`dvae.solve_darcy`. The equations of such a scheme do not
    add up to zero, so they have no solution for most sources: a constant is added to the source.

    Parameters
    ----------
    field, source : ndarray of shape (n, n)
        Permeability and right-hand side, dimensionless.

    Returns
    -------
    pressure, velocity, defect : ndarray (n, n), ndarray (2, n, n), float
        Zero-mean pressure, velocity at the nodes, and the constant that had to be added, times
        the area and over what the wells inject: the share of the mass that is not conserved.
    """
    n = len(field)
    h = 1 / (n - 1)
    ones = np.ones(n - 1)
    first = sp.diags_array([-ones, ones], offsets=[-1, 1], shape=(n, n)).tolil() / (2 * h)
    second = sp.diags_array([ones, np.full(n, -2.0), ones], offsets=[-1, 0, 1]).tolil() / h**2
    first[[0, -1], :] = 0
    second[0, 1] = second[-1, -2] = 2 / h**2
    eye = sp.eye_array(n)
    gradient = [sp.kron(first, eye), sp.kron(eye, first)]
    k = field.ravel()
    matrix = -sp.diags_array(k) @ (sp.kron(second, eye) + sp.kron(eye, second))
    # Across the boundary "first" is 0, as grad p is; the grad K that it multiplies does not matter.
    for derivative in gradient:
        matrix = matrix - sp.diags_array(derivative @ k) @ derivative
    weights = trapezoid(n)
    bordered = sp.block_array(
        [[matrix, np.ones((n * n, 1))], [weights.reshape(1, -1), None]], format="csc"
    )
    *pressure, constant = spsolve(bordered, np.append(source.ravel(), 0))
    velocity = np.stack([-k * (derivative @ pressure) for derivative in gradient])
    injected = (source.clip(0) * weights).sum()
    return (
        np.reshape(pressure, (n, n)),
        velocity.reshape(2, n, n),
        float(abs(constant) / injected),
    )


def rotated_pair(
    kle: KarhunenLoeve, theta: Float[np.ndarray, "sample 2"], degrees: float
) -> Float[np.ndarray, "sample x1 x2"]:
    """Permeability of KLE2 with modes 2 and 3 rotated by an angle within their plane.

    Parameters
    ----------
    kle : KarhunenLoeve
        With 3 modes.
    theta : ndarray of shape (N, 2)
        Factors of mode 1 and of the rotated mode 2.
    degrees : float
        0 gives mode 2 of our convention, 90 gives mode 3.
    """
    angle = np.deg2rad(degrees)
    factors = np.stack([np.cos(angle) * theta[:, 1], np.sin(angle) * theta[:, 1]], axis=1)
    return kle.permeability(np.concatenate([theta[:, :1], factors], axis=1))


def _groups(profile: str) -> list[Group]:
    smoke = profile == "smoke"
    grids = (9, 17, 33) if smoke else (17, 33, 65, 129, 257)
    angles = (-45.0, 0.0, 45.0) if smoke else tuple(float(a) for a in range(-45, 50, 15))
    modes = (2, 10) if smoke else (2, 10, 100, 1000)
    kle = {"n_nodes": 17 if smoke else 65, "samples": 2 if smoke else 16, "seed": 0}
    data = {"n_nodes": 17 if smoke else 65, "samples": 32 if smoke else 1024, "seed": 0}
    data |= {"components": 2}
    return [
        Group({"kind": "manufactured"}, tuple({"n_nodes": n} for n in grids)),
        Group(
            {"kind": "wells", "truth": 2 * (grids[-1] - 1) + 1},
            tuple({"n_nodes": n, "wells": w} for w in ("nodes", "exact") for n in grids),
        ),
        Group({"kind": "fields", **kle}, tuple({"n_modes": s} for s in modes)),
        Group({"kind": "pair", **data}, tuple({"angle": a} for a in angles)),
    ]


def _solved(
    permeability: np.ndarray, source: np.ndarray | None, device: str
) -> tuple[np.ndarray, np.ndarray]:
    """Pressures and velocities of :func:`dvae.solve_darcy`, as arrays."""
    solution = solve_darcy(permeability, source, device=device)
    return np.asarray(solution.pressure), np.asarray(solution.velocity)


def _errors(
    solution: tuple[np.ndarray, np.ndarray], pressure: np.ndarray, velocity: np.ndarray
) -> tuple[float, float]:
    return relative_error(solution[0][0], pressure), relative_error(solution[1][0], velocity)


def _manufactured(group: Group, device: str) -> xr.Dataset:
    errors = []
    for trial in group.trials:
        field, source, pressure, velocity = manufactured(trial["n_nodes"])
        weights = trapezoid(len(field))
        source = source - (source * weights).sum()  # what the trapezoidal rule misses of 0
        solution = _solved(field[None], source, device)
        errors.append(_errors(solution, pressure - (pressure * weights).sum(), velocity))
    return _columns(errors, "pressure_error", "velocity_error")


def _wells(group: Group, device: str) -> xr.Dataset:
    fine = group.shared["truth"]
    true_pressure, true_velocity = _solved(manufactured(fine)[0][None], exact_wells(fine), device)
    errors = []
    for trial in group.trials:
        n = trial["n_nodes"]
        step = (fine - 1) // (n - 1)
        source = exact_wells(n) if trial["wells"] == "exact" else well_source(n)
        solution = _solved(manufactured(n)[0][None], source, device)
        on_grid = true_pressure[0, ::step, ::step], true_velocity[0, :, ::step, ::step]
        injected = (source.clip(0) * trapezoid(n)).sum() / (10.0 / 64)
        errors.append((*_errors(solution, *on_grid), injected))
    return _columns(errors, "pressure_error", "velocity_error", "injected")


def _columns(rows: list[tuple], *names: str) -> xr.Dataset:
    return xr.Dataset(
        {
            name: ("trial", np.array(column))
            for name, column in zip(names, zip(*rows, strict=True), strict=True)
        }
    )


def _fields(group: Group, device: str) -> xr.Dataset:
    n, count = group.shared["n_nodes"], group.shared["samples"]
    largest = max(trial["n_modes"] for trial in group.trials)
    theta = np.random.default_rng(group.shared["seed"]).standard_normal((count, largest))
    coarse, fine = KarhunenLoeve(largest, n), KarhunenLoeve(largest, 2 * n - 1)
    names = (
        "imbalance",
        "mean_pressure",
        "agreement_pressure",
        "agreement_velocity",
        "defect",
        "grid_error_pressure",
        "grid_error_velocity",
        "other_grid_error_pressure",
        "other_grid_error_velocity",
    )
    values = np.empty((len(group.trials), count, len(names)))
    for row, trial in zip(values, group.trials, strict=True):
        factors = np.where(np.arange(largest) < trial["n_modes"], theta, 0.0)
        fields = coarse.permeability(factors)
        pressure, velocity = _solved(fields, None, device)
        wells, weights = well_source(n), trapezoid(n)
        # One continuous field: the fine expansion, by cubic splines on a grid finer again.
        smooth = np.log(fine.permeability(factors))
        for i in range(count):
            p, u, defect = nonconservative_darcy(fields[i], wells)
            row[i, :5] = (
                mass_imbalance(fields[i], pressure[i], wells),
                abs((pressure[i] * weights).sum()) / np.abs(pressure[i]).max(),
                relative_error(pressure[i], p),
                relative_error(velocity[i], u),
                defect,
            )
            row[i, 5:] = _grid_errors(smooth[i], n, device)
    return xr.Dataset(
        {name: (("trial", "sample"), values[:, :, k]) for k, name in enumerate(names)}
    )


def _grid_errors(log_field: Float[np.ndarray, "x1 x2"], n: int, device: str) -> list[float]:
    """Errors of both schemes at n nodes against 4n - 3 nodes, for one continuous field."""
    x, finest = np.linspace(0, 1, 2 * n - 1), np.linspace(0, 1, 4 * n - 3)
    spline = RectBivariateSpline(x, x, log_field)
    field = np.exp(spline(finest, finest))
    pressure, velocity = _solved(field[None], exact_wells(4 * n - 3), device)
    truth = pressure[0, ::4, ::4], velocity[0, :, ::4, ::4]
    field, wells = np.ascontiguousarray(field[::4, ::4]), exact_wells(n)
    ours = _solved(field[None], wells, device)
    other = nonconservative_darcy(field, wells)
    return [
        *_errors(ours, *truth),
        relative_error(other[0], truth[0]),
        relative_error(other[1], truth[1]),
    ]


def _pair(group: Group, device: str) -> xr.Dataset:
    shared = group.shared
    data = DarcyDataset.generate(
        factors="standard-normal",
        n_samples=shared["samples"],
        seed=shared["seed"],
        n_nodes=shared["n_nodes"],
    )
    assert data.theta is not None  # generated
    theta, half = data.theta.double().numpy(), shared["samples"] // 2
    kle = KarhunenLoeve(3, shared["n_nodes"])
    rows = []
    for trial in group.trials:
        pressure, velocity = _solved(rotated_pair(kle, theta, trial["angle"]), None, device)
        fields = np.concatenate([pressure[:, None], velocity], axis=1)
        components = pca_latents(fields[:half], fields[half:], shared["components"])[1]
        centred = fields - fields.mean(0)
        distance = np.linalg.norm(fields - data.fields.numpy()) / np.linalg.norm(centred)
        scaled = centred[:half] / centred.std((0, 2, 3), keepdims=True)
        energy = np.linalg.svd(scaled.reshape(half, -1), compute_uv=False) ** 2
        rows.append(
            (
                disentanglement_score(components, theta[half:]),
                ceiling(theta[half:]),
                distance,
                energy[0] / energy.sum(),
                energy[1] / energy.sum(),
            )
        )
    return _columns(rows, "pca_score", "ceiling", "distance", "share_1", "share_2")


KINDS = {"manufactured": _manufactured, "wells": _wells, "fields": _fields, "pair": _pair}


def _compute(group: Group, device: str, **_) -> xr.Dataset:
    data = KINDS[group.shared["kind"]](group, device)
    settings = group.settings()
    return data.assign_coords(
        kind=("trial", [s["kind"] for s in settings]),
        wells=("trial", [s.get("wells", "") for s in settings]),
        n_nodes=("trial", [s.get("n_nodes", 0) for s in settings]),
        n_modes=("trial", [s.get("n_modes", 0) for s in settings]),
        angle=("trial", [s.get("angle", np.nan) for s in settings]),
    )


DARCY = Experiment(
    "darcy",
    "Order and conservation of the Darcy solver, and what KLE2 depends on (section 3)",
    1,
    _groups,
    _compute,
    trained=False,
)

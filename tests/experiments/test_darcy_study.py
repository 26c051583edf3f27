"""The verification of the Darcy solver: its exact solutions, its second scheme, its result."""

import numpy as np
import pytest
from tolerances import rounding

from dvae import KarhunenLoeve, solve_darcy, well_source
from dvae.conventions import BALANCED
from dvae.experiments.darcy import (
    exact_wells,
    manufactured,
    mass_imbalance,
    nonconservative_darcy,
    relative_error,
    rotated_pair,
    trapezoid,
)
from dvae.loading import load_result
from dvae.results.store import Store
from dvae.runner import run_experiment


def test_manufactured_solution_satisfies_the_equations():
    n = 257
    field, source, pressure, velocity = manufactured(n)
    gradient = np.stack(np.gradient(pressure, 1 / (n - 1), edge_order=2))
    np.testing.assert_allclose(-field * gradient, velocity, atol=5e-3 * np.abs(velocity).max())
    divergence = sum(np.gradient(velocity[i], 1 / (n - 1), axis=i, edge_order=2) for i in (0, 1))
    np.testing.assert_allclose(divergence, source, atol=5e-3 * np.abs(source).max())
    assert np.abs(velocity[0, [0, -1]]).max() < 1e-12
    assert np.abs(velocity[1, :, [0, -1]]).max() < 1e-12


@pytest.mark.parametrize("n", [9, 17, 65])
def test_exact_wells_inject_what_equation_17_says(n):
    source = exact_wells(n)
    assert (source.clip(0) * trapezoid(n)).sum() == pytest.approx(10 / 64, rel=1e-12)
    np.testing.assert_allclose(source, -source[::-1, ::-1], atol=0)
    coded = well_source(n)
    assert ((source != 0) == (coded != 0)).all()  # they differ on the edge alone
    edge = (n - 1) // 8
    assert source[0, edge] == 5
    assert source[edge, edge] == 2.5
    np.testing.assert_array_equal(source[:edge, :edge], coded[:edge, :edge])


def test_mass_imbalance_of_a_solution_and_of_something_else():
    n = 17
    field = KarhunenLoeve(20, n).permeability(np.ones((1, 20)))[0]
    source = well_source(n)
    pressure = solve_darcy(field[None]).pressure[0]
    assert mass_imbalance(field, pressure, source) < BALANCED
    injected = (source.clip(0) * trapezoid(n)).sum()
    # without pressure nothing flows: all of an inner node's source is missing
    at_rest = mass_imbalance(field, 0 * pressure, source)
    assert at_rest == pytest.approx(10 / (n - 1) ** 2 / injected, rel=1e-12)
    # one changed node: the flux to a neighbour is the mean permeability times the change
    pressure[8, 8] += 1.0
    flux = sum(np.sqrt(field[8, 8] * field[i]) for i in ((7, 8), (9, 8), (8, 7), (8, 9)))
    assert mass_imbalance(field, pressure, source) == pytest.approx(flux / injected, rel=1e-9)


def test_the_other_scheme_on_a_cosine():
    n, k = 33, 3
    x = np.linspace(0, 1, n)
    source = np.cos(k * np.pi * x)[:, None] * np.ones(n)
    eigenvalue = (2 * (n - 1) * np.sin(k * np.pi / (2 * (n - 1)))) ** 2
    pressure, velocity, defect = nonconservative_darcy(np.full((n, n), 2.5), source)
    np.testing.assert_allclose(pressure, source / eigenvalue / 2.5, atol=1e-12)
    slope = -np.sin(k * np.pi * x) * np.sin(k * np.pi / (n - 1)) * (n - 1)
    exact = -2.5 * slope[:, None] * np.ones(n) / eigenvalue / 2.5
    np.testing.assert_allclose(velocity[0], exact, atol=1e-11)
    assert np.abs(velocity[1]).max() < 1e-11
    assert defect < 1e-11


def test_the_other_scheme_is_of_second_order():
    errors = []
    for n in (17, 33, 65):
        field, source, pressure, velocity = manufactured(n)
        p, u, _ = nonconservative_darcy(field, source)
        exact = pressure - (pressure * trapezoid(n)).sum()
        errors.append([relative_error(p, exact), relative_error(u, velocity)])
    order = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
    assert ((order > 1.8) & (order < 2.2)).all(), order


def test_relative_error():
    truth = np.ones((2, 5, 5))
    assert relative_error(truth, truth) == 0
    assert relative_error(0.9 * truth, truth) == pytest.approx(0.1)


def test_rotated_pair():
    kle, theta = KarhunenLoeve(3, 17), np.array([[0.4, 1.1], [-0.3, 0.7]])
    ours = KarhunenLoeve(2, 17).permeability(theta)
    np.testing.assert_allclose(rotated_pair(kle, theta, 0.0), ours, rtol=1e-12)
    np.testing.assert_allclose(rotated_pair(kle, theta, 90.0), ours.swapaxes(1, 2), rtol=1e-12)
    np.testing.assert_allclose(
        rotated_pair(kle, theta * [1, -1], -45.0),
        rotated_pair(kle, theta, -45.0).swapaxes(1, 2),
        rtol=1e-12,
    )


def test_runs_at_smoke_and_is_idempotent(tmp_path):
    store = Store(tmp_path)
    options = {"store": store, "workers": 1, "progress": False}
    first = run_experiment("darcy", "smoke", **options)
    assert first["stored"] == first["trials"] > 0
    assert not first["failed"]
    assert run_experiment("darcy", "smoke", **options)["computed"] == 0

    result = load_result("darcy", "smoke", store)
    exact = result.where(result.kind == "manufactured", drop=True)
    for name in ("pressure_error", "velocity_error"):
        order = np.log2(exact[name].values[:-1] / exact[name].values[1:])
        assert ((order > 1.9) & (order < 2.1)).all(), order
    fields = result.where(result.kind == "fields", drop=True)
    assert fields.imbalance.max() < BALANCED
    assert fields.mean_pressure.max() < rounding(2 * 17**2 + 2)  # two sums over the nodes
    pair = result.where((result.kind == "pair") & (result.angle == 0), drop=True)
    assert float(pair.distance[0]) < 1e-6  # the data set itself, but for 32 bits

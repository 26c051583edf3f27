"""The expansion against closed forms, dense eigensolvers and its own stated conventions."""

import numpy as np
import pytest
import scipy.linalg
import torch

from dvae.errors import DataError
from dvae.physics import KarhunenLoeve


def covariance(n, length_scale=0.1):
    x = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij"), -1).reshape(-1, 2)
    return np.exp(-np.linalg.norm(x[:, None] - x[None, :], axis=-1) / length_scale)


def sign_weight(n):
    """The weight of the documented sign rule, 1 / (h + sqrt(x1^2 + 3 x2^2))."""
    x1, x2 = np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij")
    return 1 / (1 / (n - 1) + np.sqrt(x1**2 + 3 * x2**2))


# What eigh promises for a matrix A of order n, at most 1089 here: products of two eigenvectors to
# n u = 1e-13, eigenvalues to n u |A|, a vector to n u |A| over the gap to the next eigenvalue (of
# the same symmetry in ours, 1e-3 among the first 60 of a dense matrix: 4e-9 at worst). No kernel
# has needed more than a hundredth of the tolerances below.


@pytest.fixture(scope="module")
def all_modes():
    return KarhunenLoeve(n_modes=4225, n_nodes=65, length_scale=0.1)


def test_leading_eigenvalues_of_the_paper_grid():
    kle = KarhunenLoeve(n_modes=5)
    np.testing.assert_allclose(
        kle.eigenvalues, [214.5425, 167.9743, 167.9743, 134.9145, 118.8196], atol=5e-5
    )


def test_all_4225_modes(all_modes):
    values, modes = all_modes.eigenvalues, all_modes.modes.reshape(4225, -1)
    assert values.sum() == pytest.approx(4225, rel=1e-12)
    assert (np.diff(values) <= 0).all()
    assert values.min() > 0
    some = np.arange(0, 4225, 13)
    np.testing.assert_allclose(modes[some] @ modes.T, np.eye(4225)[some], atol=1e-10)
    x = np.stack(np.meshgrid(*2 * [np.linspace(0, 1, 65)], indexing="ij"), -1).reshape(-1, 2)
    exact = np.exp(-np.linalg.norm(x[some, None] - x[None, :], axis=-1) / 0.1)
    np.testing.assert_allclose((modes[:, some].T * values) @ modes, exact, atol=1e-10)


@pytest.mark.parametrize("n", [2, 3, 16, 17, 32, 33])
@pytest.mark.parametrize("length_scale", [0.03, 0.1, 2.0])
def test_every_grid_reconstructs_its_covariance(n, length_scale):
    kle = KarhunenLoeve(n * n, n, length_scale)
    modes = kle.modes.reshape(n * n, -1)
    np.testing.assert_allclose(modes @ modes.T, np.eye(n * n), atol=1e-10)
    exact = covariance(n, length_scale)
    np.testing.assert_allclose((modes.T * kle.eigenvalues) @ modes, exact, atol=1e-10)
    assert kle.eigenvalues.sum() == pytest.approx(n * n, rel=1e-12)


def resolved_by_convention(n, count, eigh):
    """Leading modes from a dense eigensolver, made unique by the documented conventions."""
    values, vectors = eigh(covariance(n))
    values, vectors = values[::-1], vectors[:, ::-1]
    modes, start = [], 0
    while len(modes) < count:
        stop = start + 1
        while stop < len(values) and values[start] - values[stop] < 1e-9:
            stop += 1
        space = vectors[:, start:stop]
        if stop - start == 1:
            modes.append(space[:, 0].reshape(n, n))
        else:  # within the pair, keep what is odd in x1
            grid = space.T.reshape(-1, n, n)
            odd = ((grid - grid[:, ::-1]) / 2).reshape(len(grid), -1)
            assert np.linalg.matrix_rank(odd, tol=1e-6) == 1
            mode = np.linalg.svd(odd, full_matrices=False)[2][0].reshape(n, n)
            mode *= np.sign(np.vdot(sign_weight(n), mode))
            modes += [mode, mode.T]
            start = stop
            continue
        modes[-1] = modes[-1] * np.sign(np.vdot(sign_weight(n), modes[-1]))
        start = stop
    return np.stack(modes[:count])


@pytest.mark.parametrize("n", [16, 33])
@pytest.mark.parametrize(
    "eigh",
    [
        lambda matrix: scipy.linalg.eigh(matrix, driver="evd"),
        lambda matrix: scipy.linalg.eigh(matrix, driver="evr"),
        np.linalg.eigh,
    ],
    ids=["evd", "evr", "numpy"],
)
def test_same_modes_as_a_dense_eigensolver(n, eigh):
    kle = KarhunenLoeve(60, n)
    np.testing.assert_allclose(kle.modes, resolved_by_convention(n, 60, eigh), atol=1e-9)


@pytest.mark.parametrize("driver", ["ev", "evd", "evr"])
def test_every_lapack_driver_gives_the_same_modes_and_signs(driver, monkeypatch):
    expected = KarhunenLoeve(289, 17)
    solve = scipy.linalg.eigh

    def other(matrix, **options):
        return solve(matrix, driver=driver)

    monkeypatch.setattr(scipy.linalg, "eigh", other)
    again = KarhunenLoeve(289, 17)
    np.testing.assert_allclose(again.eigenvalues, expected.eigenvalues, rtol=1e-12)
    np.testing.assert_allclose(again.modes, expected.modes, atol=1e-8)


def test_sign_rule_is_far_from_ambiguous_for_all_4225_modes(all_modes):
    weight = sign_weight(65)
    size = np.tensordot(all_modes.modes, weight / np.linalg.norm(weight), 2)
    # Of a degenerate pair the first decides; elsewhere the product itself is positive.
    pair = np.flatnonzero(np.diff(all_modes.eigenvalues) == 0) + 1
    decisive = np.delete(size, pair)
    assert decisive.min() > 1e-9


def test_degenerate_pair_by_the_stated_convention(all_modes):
    second, third = all_modes.modes[1:3]
    assert all_modes.eigenvalues[1] == all_modes.eigenvalues[2]
    np.testing.assert_allclose(second, -second[::-1], atol=1e-14)  # odd in x1, by construction
    np.testing.assert_allclose(second, second[:, ::-1], atol=1e-14)  # even in x2
    np.testing.assert_array_equal(third, second.T)
    assert second[:32].sum() > 0  # positive on the side of the injection well


def test_few_modes_are_the_first_of_many(all_modes):
    few = KarhunenLoeve(100)
    np.testing.assert_allclose(few.eigenvalues, all_modes.eigenvalues[:100], rtol=1e-12)
    np.testing.assert_allclose(few.modes, all_modes.modes[:100], atol=1e-10)


def test_signs_agree_between_grids():
    coarse, fine = KarhunenLoeve(10, 33), KarhunenLoeve(10, 65)
    product = np.einsum("kij,kij->k", coarse.modes, fine.modes[:, ::2, ::2]) * 2
    np.testing.assert_allclose(product, 1, atol=0.02)


def test_permeability_is_the_exponential_of_the_sum():
    kle = KarhunenLoeve(3, 9)
    theta = np.array([[0.5, -1.0, 2.0], [0.0, 0.0, 0.0]])
    log_field = np.zeros((9, 9))
    for value, factor, mode in zip(kle.eigenvalues, theta[0], kle.modes, strict=True):
        log_field += np.sqrt(value) * factor * mode
    field = kle.permeability(theta)
    assert isinstance(field, np.ndarray)
    np.testing.assert_allclose(field[0], np.exp(log_field), rtol=1e-12)
    np.testing.assert_array_equal(field[1], 1)
    as_tensor = kle.permeability(torch.tensor(theta, dtype=torch.float32))
    assert as_tensor.dtype == torch.float64
    np.testing.assert_allclose(as_tensor, field, rtol=1e-12)


def test_the_full_expansion_samples_the_covariance():
    kle = KarhunenLoeve(81, 9, 0.3)
    theta = np.random.default_rng(0).standard_normal((20000, 81))
    log_field = np.log(kle.permeability(theta)).reshape(20000, -1)
    np.testing.assert_allclose(np.cov(log_field.T), covariance(9, 0.3), atol=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "n_modes is 0"),
        ((10, 3), "modes 1 to 9"),
        ((1.5,), "n_modes is 1.5"),
        ((2, 1), "n_nodes is 1"),
        ((2, 65, 0.0), "length_scale is 0.0"),
        ((2, 65, float("nan")), "length_scale is nan"),
    ],
)
@pytest.mark.wrong_types
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        KarhunenLoeve(*arguments)


def test_bad_factors_are_refused():
    kle = KarhunenLoeve(2, 5)
    with pytest.raises(DataError, match=r"shape \(4, 3\).*\(samples, 2\)"):
        kle.permeability(np.zeros((4, 3)))
    theta = np.zeros((4, 2))
    theta[2, 1] = np.nan
    with pytest.raises(DataError, match="sample 2 is not finite"):
        kle.permeability(theta)


def test_modes_of_a_grid_that_memory_does_not_hold_are_refused_at_once(monkeypatch):
    monkeypatch.setattr("dvae.memory.available_memory", lambda: 2**30)
    assert KarhunenLoeve(2, 65).n_nodes == 65
    with pytest.raises(DataError, match=r"modes of a grid of 513 x 513 .* take fewer nodes"):
        KarhunenLoeve(2, 513)

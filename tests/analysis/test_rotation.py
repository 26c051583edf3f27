"""Rotated encodings and reconstructions; angles that were put in."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats
from scipy.linalg import orthogonal_procrustes
from tolerances import rounding

from dvae.analysis.linear_vae import rotation_price
from dvae.analysis.rotation import (
    angle_test,
    rotate,
    rotated_encoding,
    rotation_angle,
    rotation_angles,
    rotation_by_labels,
    rotation_matrix,
    total_correlation_of_density,
    turned_correlation,
)
from dvae.errors import DataError

RNG = np.random.default_rng(0)
MEAN = RNG.standard_normal((60, 2)) * [1.5, 0.5]
LOG_VARIANCE = RNG.uniform(-4, 0, (60, 2))


def test_matrix_turns_the_first_latent_towards_the_second():
    close = rounding(16)  # products of four terms that are themselves rounded, none above 1
    assert_allclose(rotation_matrix(90) @ [1, 0], [0, 1], atol=close)
    matrix = rotation_matrix(30, 4, (1, 3))
    assert_allclose(matrix @ matrix.T, np.eye(4), atol=close)
    assert_allclose(matrix @ np.eye(4)[1], [0, np.sqrt(0.75), 0, 0.5])
    with pytest.raises(DataError, match="plane"):
        rotation_matrix(30, 2, (0, 2))


def test_rotated_encoding_is_that_of_rotated_draws():
    mean, covariance = rotated_encoding(MEAN, LOG_VARIANCE, 25)
    noise = RNG.standard_normal((200_000, 2))
    draws = rotate(MEAN[0] + np.exp(0.5 * LOG_VARIANCE[0]) * noise, 25)
    scale = np.sqrt(np.trace(covariance[0]))
    assert_allclose(draws.mean(0), mean[0], atol=0.01 * scale)
    assert_allclose(np.cov(draws.T), covariance[0], atol=0.01 * scale**2)
    # a quarter turn swaps the variances
    quarter = rotated_encoding(MEAN, LOG_VARIANCE, 90)[1]
    assert_allclose(quarter[:, 0, 0], np.exp(LOG_VARIANCE[:, 1]))
    assert_allclose(quarter[:, 0, 1], 0, atol=rounding(16) * np.exp(LOG_VARIANCE).max())


@pytest.mark.parametrize("angle", [20.0, -45.0])
def test_a_linear_decoder_that_undoes_the_rotation_keeps_the_reconstruction(angle):
    """E |y - W A^T z|^2 over q_A, in closed form, is that over q for every A."""
    decoder = RNG.standard_normal((7, 2))
    y = RNG.standard_normal((60, 7))

    def error(matrix: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
        spread = np.einsum("ij,bjk,ik->b", matrix, covariance, matrix)
        return ((y - mean @ matrix.T) ** 2).sum(1) + spread

    plain = error(decoder, MEAN, np.exp(LOG_VARIANCE)[:, :, None] * np.eye(2))
    undone = decoder @ rotation_matrix(angle).T
    rotated = rotated_encoding(MEAN, LOG_VARIANCE, angle)
    assert_allclose(error(undone, *rotated), plain)
    assert not np.allclose(error(decoder, *rotated), plain)
    assert_allclose(rotate(rotate(MEAN, angle), -angle), MEAN)


# --- Angles ---------------------------------------------------------------------------------

SIGNED_PERMUTATIONS = [
    np.array(rows, dtype=float)
    for rows in ([[1, 0], [0, 1]], [[0, 1], [1, 0]], [[-1, 0], [0, 1]], [[0, -1], [1, 0]])
]
# A lattice with the symmetry of a square: any rotation of it has uncorrelated coordinates.
LATTICE = np.stack(np.meshgrid(np.arange(-3.0, 4), np.arange(-3.0, 4)), -1).reshape(-1, 2)


@pytest.mark.parametrize("permutation", SIGNED_PERMUTATIONS)
@pytest.mark.parametrize(
    ("turned", "expected"),
    [(0, 0), (10, 10), (44, 44), (-30, -30), (50, -40), (100, 10), (170, -10), (-45, 45)],
)
def test_angle_modulo_flips_and_swaps_of_the_latents(permutation, turned, expected):
    c, s = np.cos(np.radians(turned)), np.sin(np.radians(turned))
    turn = np.array([[c, -s], [s, c]])
    z = LATTICE @ turn.T @ permutation.T * [3.0, 0.1] + [5.0, 0.0]
    found = rotation_angle(z, LATTICE * [1.0, 7.0] - 2)
    if abs(expected) == 45:  # rounding may fall on either side of the seam
        assert abs(found) == pytest.approx(45)
    else:
        assert found == pytest.approx(expected)


def test_angle_stays_in_its_range():
    rng = np.random.default_rng(0)
    angles = [rotation_angle(rng.normal(size=(8, 2)), rng.normal(size=(8, 2))) for _ in range(200)]
    assert min(angles) > -45
    assert max(angles) <= 45
    assert np.std(angles) == pytest.approx(90 / np.sqrt(12), rel=0.15)  # uniform


def test_angle_of_a_finite_gaussian_sample_is_recovered_to_sampling_error():
    theta = np.random.default_rng(0).standard_normal((512, 2))
    c, s = np.cos(np.radians(20)), np.sin(np.radians(20))
    assert rotation_angle(theta @ np.array([[c, -s], [s, c]]).T, theta) == pytest.approx(20, abs=2)


@pytest.mark.wrong_types
def test_angle_is_for_two_latents_that_vary():
    assert np.isnan(rotation_angle(LATTICE * [1, 0], LATTICE))
    with pytest.raises(DataError, match="2 latents"):
        rotation_angle(LATTICE[:, :1], LATTICE)


def test_uniform_angles_are_not_taken_for_crowded_ones():
    rng = np.random.default_rng(0)
    p_values = [angle_test(rng.uniform(-45, 45, 50)).p_value for _ in range(400)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("center", [0.0, 20.0, -30.0, 45.0])
def test_center_of_crowded_angles_wherever_it_is(center):
    spread = np.linspace(-12, 12, 49)
    found = angle_test(rotated := (center + spread + 45) % 90 - 45)
    assert abs((found.center - center + 45) % 90 - 45) == pytest.approx(0, abs=1e-9)
    # mean of cos(4 x) over the spread, by hand
    assert found.concentration == pytest.approx(np.cos(np.radians(4 * spread)).mean())
    assert found.p_value < 0.05
    assert angle_test(rotated + 90 * np.arange(49)) == pytest.approx(found)


def test_two_angles_by_hand():
    # distances 15 and 30 of 45: the step function is off the diagonal by a third at most
    found = angle_test([15.0, -30.0])
    assert found.p_value == pytest.approx(stats.kstwo.sf(1 / 3, 2))
    with pytest.raises(DataError, match="angles"):
        angle_test([np.nan, 1.0])


def test_angles_of_runs_at_once_are_those_of_single_runs():
    rng = np.random.default_rng(3)
    theta = rng.normal(size=(200, 2))
    runs = theta @ rng.normal(size=(20, 2, 2)) + rng.normal(size=(20, 200, 2))
    runs[3], runs[4, 7, 0] = 1.0, np.nan  # collapsed, diverged
    found = rotation_angles(runs, theta)
    kept = np.isfinite(found)
    assert np.flatnonzero(~kept).tolist() == [3, 4]
    assert found[kept].tolist() == [rotation_angle(z, theta) for z in runs[kept]]
    # and the orthogonal map is the best one: the angle that explains most covariance
    z, standard = stats.zscore(runs[0]), stats.zscore(theta)
    covariance = z.T @ standard
    turns = np.radians(np.arange(-180, 180, 0.01))
    trace = np.cos(turns) * np.trace(covariance)
    trace += np.sin(turns) * (covariance[1, 0] - covariance[0, 1])
    flipped = np.cos(turns) * (covariance[0, 0] - covariance[1, 1])
    flipped -= np.sin(turns) * (covariance[1, 0] + covariance[0, 1])
    best = np.degrees(turns[np.argmax(trace if trace.max() > flipped.max() else flipped)])
    assert (best - found[0] + 45) % 90 - 45 == pytest.approx(0, abs=0.01)


@pytest.mark.wrong_types
def test_angles_of_three_latents_are_refused():
    with pytest.raises(DataError, match="2 latents"):
        rotation_angles(np.ones((4, len(LATTICE), 3)), LATTICE)


@pytest.mark.parametrize("angle", [0.0, 20.0, 45.0, 90.0])
def test_total_correlation_of_a_turned_normal_is_hadamards(angle):
    normal = stats.multivariate_normal(cov=np.diag([1.5, 0.4]))
    expected = rotation_price(1.5, 0.4, angle)  # a covariance costs as much as its inverse
    assert turned_correlation(normal.logpdf, angle) == pytest.approx(expected, abs=1e-6)


def test_total_correlation_of_turned_modes():
    """Apart, two modes an axis have three marginal modes at 45 degrees: 2 H(1/4, 1/2, 1/4)."""

    def narrow(points):
        left, right = stats.norm([[-1], [1]], 0.1).logpdf(points[:, None]).transpose(1, 0, 2)
        return (np.logaddexp(left, right) - np.log(2)).sum(1)

    assert turned_correlation(narrow, 0, limit=2.0) == pytest.approx(0, abs=1e-9)
    expected = 2 * stats.entropy([0.25, 0.5, 0.25]) - np.log(4)
    assert turned_correlation(narrow, 45, limit=2.0) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(DataError, match="holds"):
        turned_correlation(narrow, 0, limit=1.0)
    with pytest.raises(DataError, match="holds 2 of"):  # not normalised
        turned_correlation(lambda z: narrow(z) + np.log(2), 0, limit=2.0)
    with pytest.raises(DataError, match="or more nodes"):
        turned_correlation(narrow, 0, limit=2.0, n_nodes=11)


def test_an_angle_of_45_degrees_keeps_its_sign():
    rng = np.random.default_rng(0)
    for _ in range(100):  # one in ten of them is found a rounding above 45
        z = rng.standard_normal((20, 2))
        z = z - z.mean(0)
        z = z @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T, bias=True))).T
        assert abs(rotation_angle(rotate(z, 45.0), z)) == pytest.approx(45)
        assert rotation_angle(rotate(z, 45.0), z) > -45


def test_total_correlation_on_a_grid_is_that_of_a_table():
    # two coins: independent, the same, and a density that is not normalised
    assert total_correlation_of_density(np.full((2, 3), 7.0)) == pytest.approx(0, abs=1e-15)
    assert total_correlation_of_density(5 * np.eye(2)) == pytest.approx(np.log(2))
    table = np.array([[0.4, 0.1], [0.2, 0.3]])
    entropies = [stats.entropy(p) for p in (table.sum(0), table.sum(1), table.ravel())]
    assert total_correlation_of_density(table) == pytest.approx(
        entropies[0] + entropies[1] - entropies[2]
    )


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("density", "message"),
    [
        (np.ones(3), "density must be"),
        (np.array([[1.0, -1.0]]), "density must be"),
        (np.array([[np.nan, 1.0]]), "density must be"),
        (np.zeros((2, 2)), "0 at every node"),
    ],
)
def test_total_correlation_of_no_density_is_refused(density, message):
    with pytest.raises(DataError, match=message):
        total_correlation_of_density(density)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_rotation_by_labels_is_found_again(n):
    rng = np.random.default_rng(n)
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    side = round(np.linalg.det(turn))
    theta = rng.standard_normal((40, n))
    z = theta @ turn.T
    for labels, orientation in ((40, None), (n, None), (n - 1, side)):
        found = rotation_by_labels(z[:labels], theta[:labels], orientation)
        np.testing.assert_allclose(found, turn, atol=1e-8)
    noisy = z + 0.3 * rng.standard_normal(z.shape)
    expected = orthogonal_procrustes(noisy, theta)[0]
    np.testing.assert_allclose(rotation_by_labels(noisy, theta), expected, atol=1e-10)
    mirrored = rotation_by_labels(noisy, theta, -side)
    assert round(np.linalg.det(mirrored)) == -side
    np.testing.assert_allclose(mirrored @ mirrored.T, np.eye(n), atol=1e-10)
    with pytest.raises(
        DataError, match=rf"{n - 1} labels determine no rotation here; at least {n}"
    ):
        rotation_by_labels(z[: n - 1], theta[: n - 1])
    with pytest.raises(DataError, match="of shape"):
        rotation_by_labels(z, theta[:5])
    with pytest.raises(DataError, match="finite"):
        rotation_by_labels(np.nan * z, theta)

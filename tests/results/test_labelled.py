"""Agreement of runs and regions of the factors, where the answers are known."""

from __future__ import annotations

import numpy as np

from dvae.results.labelled import REGIONS, probe_theta, regions, run_similarity


def test_similarity_of_runs():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4000, 2))
    same, flipped, independent = z, -z, rng.normal(size=z.shape)
    values = run_similarity(np.stack([z, same, flipped, independent]))
    # pairs (0,1) (0,2) (0,3) (1,2) (1,3) (2,3); a flip about the mean of zero is -1
    np.testing.assert_allclose(values[[0, 1, 3]], [1, -1, -1], atol=0.01)
    np.testing.assert_allclose(values[[2, 4, 5]], 0, atol=0.05)
    # a shift by one standard deviation: 2 / (1 + 1 + 1)
    shifted = run_similarity(np.stack([z, z + z.std(0)]))
    np.testing.assert_allclose(shifted, 2 / 3, atol=1e-6)


def test_similarity_of_runs_that_collapsed_or_diverged():
    z = np.random.default_rng(0).normal(size=(400, 2))
    half, constant, diverged = z * [1, 0] + [0, 0.1], np.full_like(z, 0.1), np.full_like(z, np.nan)
    values = run_similarity(np.stack([half, half, constant, constant, diverged]))
    # pairs (0,1) (0,2) (0,3) (0,4) (1,2) (1,3) (1,4) (2,3) (2,4) (3,4)
    nan = np.nan
    np.testing.assert_allclose(values, [0.5, 0, 0, nan, 0, 0, nan, 0, nan, nan], atol=1e-12)


def test_regions_of_the_four_modes():
    points = [(1, 1), (-1, 0.6), (0, 0), (0.2, -0.9), (2.2, 0), (-2.4, 2.4), (1.7, 1), (0, 1.5)]
    names = [REGIONS[i] for i in regions(np.array(points, dtype=float))]
    assert names == [
        "near a mode",
        "near a mode",
        "between",
        "between",
        "far",
        "far",
        "flank",
        "flank",
    ]
    assert set(regions(probe_theta(21))) == {0, 1, 2, 3}

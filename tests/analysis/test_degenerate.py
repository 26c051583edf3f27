"""The one rule for latents that collapsed and latents that diverged."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvae.analysis import (
    disentanglement_score,
    is_diverged,
    mean_correlation_coefficient,
    rotation_angle,
    score_runs,
    shape_score,
    total_correlation,
)
from dvae.errors import DataError

THETA = np.random.default_rng(0).standard_normal((64, 2))
COLLAPSED = np.full(THETA.shape, 0.3)
HALF = np.column_stack([THETA[:, 0], COLLAPSED[:, 0]])
NAN, INFINITE = THETA.copy(), THETA.copy()
NAN[5, 1], INFINITE[7, 0] = np.nan, np.inf
RUNS = (THETA, COLLAPSED, HALF, NAN, INFINITE)


@pytest.mark.parametrize(
    ("score", "collapsed"),
    [
        (disentanglement_score, 0.5),
        (mean_correlation_coefficient, 0.0),
        (shape_score, np.inf),
        (rotation_angle, np.nan),
    ],
)
def test_collapsed_runs_have_their_value_and_diverged_ones_none(score, collapsed):
    found = score_runs(score, RUNS, THETA)
    assert found[0] == score(THETA, THETA)
    np.testing.assert_equal(found[1], collapsed)
    np.testing.assert_equal(found[2], score(HALF, THETA))
    assert np.isnan(found[3:]).all()


def test_a_score_without_factors():
    found = score_runs(total_correlation, RUNS)
    assert found[1] == found[2] == 0
    assert np.isnan(found[3:]).all()


def test_an_ensemble_is_given_as_one_array_or_tensor_with_options():
    runs = np.stack(RUNS)
    expected = score_runs(disentanglement_score, RUNS, THETA, correlation=True)
    np.testing.assert_array_equal(
        score_runs(disentanglement_score, runs, THETA, correlation=True), expected
    )
    tensors = torch.from_numpy(runs).requires_grad_()
    np.testing.assert_array_equal(
        score_runs(disentanglement_score, tensors, THETA, correlation=True), expected
    )
    assert score_runs(total_correlation, []).shape == (0,)


@pytest.mark.wrong_types
def test_other_mistakes_are_not_hidden():
    with pytest.raises(DataError, match="same samples"):
        score_runs(disentanglement_score, [THETA[:-1]], THETA)
    with pytest.raises(DataError, match="factor 1"):
        score_runs(disentanglement_score, [THETA], HALF)


@pytest.mark.parametrize(
    ("run", "expected"), list(zip(RUNS, [False, False, False, True, True], strict=True))
)
def test_collapsed_is_not_diverged(run, expected):
    assert is_diverged(run) is expected
    assert is_diverged(torch.from_numpy(run)) is expected

"""Mini-batches and noise as functions of (seed, step) alone."""

import numpy as np
import pytest

from dvae.training.streams import LABELLED, batch_indices, latent_noise


@pytest.mark.parametrize(("batch", "n_samples"), [(4, 12), (5, 12), (16, 6), (1, 1)])
def test_every_epoch_is_a_permutation(batch, n_samples):
    steps = 6 * n_samples
    flat = batch_indices(3, 0, steps, batch, n_samples).ravel()
    epochs = flat[: len(flat) // n_samples * n_samples].reshape(-1, n_samples)
    assert (np.sort(epochs, axis=1) == np.arange(n_samples)).all()
    if n_samples > 6:
        assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_batches_do_not_depend_on_how_the_steps_are_cut():
    whole = batch_indices(5, 0, 50, 7, 30)
    parts = [batch_indices(5, a, b, 7, 30) for a, b in [(0, 1), (1, 13), (13, 14), (14, 50)]]
    assert (np.concatenate(parts) == whole).all()


def test_noise_does_not_depend_on_how_the_steps_are_cut():
    whole = latent_noise(5, 0, 200, 3, 4)
    parts = [latent_noise(5, a, b, 3, 4) for a, b in [(0, 63), (63, 64), (64, 65), (65, 200)]]
    assert whole.shape == (200, 3, 4)
    assert (np.concatenate(parts) == whole).all()
    assert len(np.unique(whole)) > 0.99 * whole.size


def test_noise_is_standard_normal():
    noise = latent_noise(0, 0, 640, 64, 2).reshape(-1, 2).astype(float)
    n = len(noise)
    assert abs(noise.mean()) < 5 / np.sqrt(2 * n)
    assert np.abs(np.cov(noise.T) - np.eye(2)).max() < 5 * np.sqrt(2 / n)
    assert np.mean(noise**4) == pytest.approx(3, abs=5 * np.sqrt(96 / (2 * n)))
    assert abs(np.corrcoef(noise[:-1, 0], noise[1:, 0])[0, 1]) < 5 / np.sqrt(n)


def test_seeds_and_kinds_have_streams_of_their_own():
    draws = [
        batch_indices(s, 0, 5, 8, 40, kind).ravel() for s in (0, 1, 2) for kind in (0, LABELLED)
    ]
    assert all((a != b).any() for i, a in enumerate(draws) for b in draws[:i])
    assert (latent_noise(0, 0, 5, 8, 2) != latent_noise(1, 0, 5, 8, 2)).all()

"""Random numbers of a run as functions of (seed, step): nothing to store, nothing to share.

Mini-batches and latent noise of a member depend on its seed and the step alone. A resumed run,
another device, other companions or another ensemble size see the same numbers.
"""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Float, Int

__all__ = ["batch_indices", "latent_noise"]

BLOCK = 64  # steps whose noise is drawn together
_BATCHES, _NOISE, LABELLED = 0, 1, 2


@functools.lru_cache(maxsize=512)
def _permutation(kind: int, seed: int, epoch: int, size: int) -> np.ndarray:
    return np.random.default_rng([kind, seed, epoch]).permutation(size)


@functools.lru_cache(maxsize=256)
def _noise_block(seed: int, block: int, batch: int, size: int) -> np.ndarray:
    generator = np.random.default_rng([_NOISE, seed, block])
    return generator.standard_normal((BLOCK, batch, size), dtype=np.float32)


def batch_indices(
    seed: int, first: int, last: int, batch: int, n_samples: int, kind: int = _BATCHES
) -> Int[np.ndarray, "step batch"]:
    """Sample indices of steps first <= step < last: random permutations in a row, cut in batches.

    An epoch need not be a whole number of batches; with fewer samples than a batch, samples repeat.
    """
    position = np.arange(first * batch, last * batch)
    epochs = position // n_samples
    parts = [
        _permutation(kind, seed, int(epoch), n_samples)[position[epochs == epoch] % n_samples]
        for epoch in np.unique(epochs)
    ]
    return np.concatenate(parts).reshape(last - first, batch)


def latent_noise(
    seed: int, first: int, last: int, batch: int, size: int
) -> Float[np.ndarray, "step batch size"]:
    """Standard normal numbers of steps first <= step < last."""
    blocks = range(first // BLOCK, (last - 1) // BLOCK + 1)
    drawn = np.concatenate([_noise_block(seed, block, batch, size) for block in blocks])
    offset = first - blocks[0] * BLOCK
    return drawn[offset : offset + last - first]

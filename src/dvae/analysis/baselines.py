"""Baselines beside every disentanglement score: PCA, ICA, and what a few labels alone can do."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from scipy.linalg import orthogonal_procrustes

from dvae.analysis._checks import Latents, as_samples, varying
from dvae.errors import DataError

__all__ = ["ica_latents", "linear_regression_latents", "pca_latents", "procrustes_latents"]

TrainFields = Shaped[Any, "train channel x1 x2"]
TestFields = Shaped[Any, "test channel x1 x2"]
Labelled = Shaped[Any, "label latent"]
Labels = Shaped[Any, "label factor"]


def _flattened(train: TrainFields, test: TestFields) -> tuple[np.ndarray, np.ndarray]:
    """Fields as rows, every channel divided by its standard deviation over the training data."""
    if train.ndim != 4 or test.ndim != 4 or train.shape[1:] != test.shape[1:]:
        raise DataError(
            "fields must have shape (samples, channels, n, n) and agree but for the samples, got "
            f"{tuple(train.shape)} and {tuple(test.shape)}"
        )
    shape = train.shape[1:]
    train = as_samples(train.reshape(len(train), -1), "train_fields")
    test = as_samples(test.reshape(len(test), -1), "test_fields", 1)
    # spread about the mean field, one number per channel
    deviation = (train - train.mean(0)).reshape(-1, *shape).std((0, 2, 3))
    rounding = 1e-12 * np.abs(train).reshape(-1, *shape).max((0, 2, 3))
    scale = np.repeat(np.where(deviation > rounding, deviation, 1.0), shape[1] * shape[2])
    return train / scale, test / scale


def pca_latents(
    train_fields: TrainFields, test_fields: TestFields, n: int
) -> tuple[Float[np.ndarray, "train latent"], Float[np.ndarray, "test latent"]]:
    """Scores of the first n principal components of the fields, of unit variance in training.

    Channels are first brought to one scale, so that none counts for more because of its unit.

    Parameters
    ----------
    train_fields : array or tensor of shape (N, C, n1, n2)
        Fields that determine mean, scale and components.
    test_fields : array or tensor of shape (M, C, n1, n2)
        Fields to project as well.
    n : int
        Number of components, at least 1 and below N and C n1 n2.

    Returns
    -------
    tuple of ndarray, shapes (N, n) and (M, n)
        Latents of the training and of the test fields, by decreasing variance explained; signs
        are scikit-learn's.

    Raises
    ------
    DataError
        If shapes or values are invalid or n is out of range.
    """
    # scikit-learn takes long to import: not for experiments without these baselines
    from sklearn.decomposition import PCA

    train, test = _flattened(train_fields, test_fields)
    if not 1 <= n < min(train.shape):
        raise DataError(f"n must be between 1 and {min(train.shape) - 1}, got {n}")
    pca = PCA(n, whiten=True, svd_solver="arpack", random_state=0).fit(train)
    return pca.transform(train), pca.transform(test)


def ica_latents(
    train_fields: TrainFields, test_fields: TestFields, n: int, seed: int = 0
) -> tuple[Float[np.ndarray, "train latent"], Float[np.ndarray, "test latent"]]:
    """FastICA of the first n principal components: the rotation of least Gaussian latents.

    For Gaussian factors no rotation is preferred, and FastICA settles on an arbitrary one (and
    may warn that it did not converge).

    Parameters
    ----------
    train_fields, test_fields, n
        As in :func:`pca_latents`, which also raises the errors.
    seed : int
        Seed of FastICA's first guess.

    Returns
    -------
    tuple of ndarray, shapes (N, n) and (M, n)
        Latents of unit variance in training, in no particular order.
    """
    from sklearn.decomposition import FastICA  # takes long

    train, test = pca_latents(train_fields, test_fields, n)
    # white already; FastICA's own whitening would lose a latent where it has nothing to turn
    ica = FastICA(whiten=False, random_state=seed, max_iter=1000).fit(train)
    return ica.transform(train), ica.transform(test)


def _labelled(z_labelled: Labelled, theta_labelled: Labels, z: Latents, min_labels: int):
    z_labelled = as_samples(z_labelled, "z_labelled", min_labels)
    theta_labelled = as_samples(theta_labelled, "theta_labelled", min_labels)
    z = as_samples(z, "z")
    if len(z_labelled) != len(theta_labelled) or z_labelled.shape[1] != z.shape[1]:
        raise DataError(
            "z_labelled and theta_labelled must hold the same samples and z_labelled and z the "
            f"same latents, got shapes {z_labelled.shape}, {theta_labelled.shape}, {z.shape}"
        )
    return z_labelled, theta_labelled, z


def procrustes_latents(
    z_labelled: Labelled, theta_labelled: Labels, z: Latents
) -> Float[np.ndarray, "sample factor"]:
    """Latents turned onto the factors by the rotation or reflection that suits a few labels best.

    All z are whitened (which takes no labels); on the labelled samples an orthogonal matrix, one
    scale and a shift are fitted to the factors by least squares; all z are then mapped with them.
    It answers what l labels are worth if the latents are right up to a rotation.

    Parameters
    ----------
    z_labelled : array or tensor of shape (l, n)
        Latents of the labelled samples, l at least 2.
    theta_labelled : array or tensor of shape (l, n)
        Their factors.
    z : array or tensor of shape (N, n)
        All latents to map, N above n.

    Returns
    -------
    ndarray of shape (N, n)
        Estimates of the factors, in the factors' unit.

    Raises
    ------
    DataError
        If shapes or values are invalid, a latent is constant or depends linearly on others, or
        all labelled latents are equal.
    """
    z_labelled, theta_labelled, z = _labelled(z_labelled, theta_labelled, z, 2)
    n = z.shape[1]
    if theta_labelled.shape[1] != n:
        raise DataError(f"got {n} latents but {theta_labelled.shape[1]} factors; they must agree")
    if not varying(z_labelled).any():
        raise DataError("all labelled latents are equal: they determine no rotation")
    centre = z.mean(0)
    if not varying(z).all() or np.linalg.matrix_rank(z - centre) < n:
        raise DataError("the latents are constant or linearly dependent and cannot be whitened")
    values, vectors = np.linalg.eigh(np.cov(z.T).reshape(n, n))
    whiten = vectors / np.sqrt(values)
    z, z_labelled = (z - centre) @ whiten, (z_labelled - centre) @ whiten
    z_mean, theta_mean = z_labelled.mean(0), theta_labelled.mean(0)
    spread = np.sum((z_labelled - z_mean) ** 2)
    rotation, scale = orthogonal_procrustes(z_labelled - z_mean, theta_labelled - theta_mean)
    return (z - z_mean) @ rotation * (scale / spread) + theta_mean


def linear_regression_latents(
    z_labelled: Labelled, theta_labelled: Labels, z: Latents
) -> Float[np.ndarray, "sample factor"]:
    """Factors predicted from latents by least squares on a few labelled samples.

    With n + 1 labels or fewer the fit is exact, and of minimum norm; expect it to be poor.

    Parameters
    ----------
    z_labelled : array or tensor of shape (l, n)
        Latents of the labelled samples.
    theta_labelled : array or tensor of shape (l, s)
        Their factors.
    z : array or tensor of shape (N, n)
        All latents to map.

    Returns
    -------
    ndarray of shape (N, s)
        Estimates of the factors, in the factors' unit.

    Raises
    ------
    DataError
        If shapes or values are invalid.
    """
    from sklearn.linear_model import LinearRegression  # takes long

    z_labelled, theta_labelled, z = _labelled(z_labelled, theta_labelled, z, 1)
    return LinearRegression().fit(z_labelled, theta_labelled).predict(z)

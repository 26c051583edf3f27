"""Karhunen-Loeve expansion of the log-permeability on the unit square (eqs 18 to 20)."""

from __future__ import annotations

from typing import overload

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor

from dvae.errors import DataError
from dvae.memory import check_memory
from dvae.physics.arrays import as_tensor

__all__ = ["KarhunenLoeve"]

PEAK = 3.5  # memory while a symmetry block is solved, over that of the block (measured: 3.3)


class KarhunenLoeve:
    r"""Leading eigenpairs of the covariance :math:`\exp(-\lVert x - x' \rVert_2 / l)` (eqs 18-20).

    The field has mean 0 and variance 1 on the ``n_nodes`` x ``n_nodes`` vertices of the unit
    square; eigenpairs are those of the ``n_nodes**2`` square matrix of nodal covariances.

    The covariance is invariant under the eight symmetries of the square, so that matrix falls
    apart into smaller ones: even or odd in x1, even or odd in x2, and, where both parities agree,
    symmetric or antisymmetric under the swap of x1 and x2. Each is solved by itself.

    Notes
    -----
    A mode of mixed parity and its transpose share one eigenvalue (modes 2 and 3 do), and an
    eigensolver may return any rotation of the two. These conventions make every mode unique:

    - modes are sorted by decreasing eigenvalue;
    - of a degenerate pair, the mode that is **odd in x1** and even in x2 comes first, and the
      second is its transpose;
    - the sign is that for which :math:`\sum_x \phi(x) / (h + \sqrt{x_1^2 + 3 x_2^2}) > 0`, with
      the node spacing h (of a pair, the first mode decides). The weight favours the corner (0, 0)
      of the injection well, where the leading modes are therefore positive. It has none of the
      square's symmetries and is singular enough that its product with each of the 4225 modes of
      the 65 x 65 grid is thousands of times the rounding error.

    Parameters
    ----------
    n_modes : int
        Number of modes s, from 1 to ``n_nodes**2``.
    n_nodes : int
        Nodes along each side, at least 2; even and odd numbers are both fine.
    length_scale : float
        Correlation length l in units of the side of the square.

    Attributes
    ----------
    eigenvalues : ndarray of shape (s,)
        Decreasing, dimensionless; all ``n_nodes**2`` of them add up to ``n_nodes**2``.
    modes : ndarray of shape (s, n, n)
        Eigenvectors of unit 2-norm on the grid, axes (mode, x1, x2).

    Raises
    ------
    DataError
        If an argument is out of its range.

    References
    ----------
    Zhu, Y. and Zabaras, N. (2018), Bayesian deep convolutional encoder-decoder networks for
    surrogate modeling and uncertainty quantification. J. Comput. Phys. 366, 415-447.

    Examples
    --------
    >>> kle = KarhunenLoeve(n_modes=2)
    >>> kle.eigenvalues.round(4).tolist()
    [214.5425, 167.9743]
    """

    def __init__(self, n_modes: int, n_nodes: int = 65, length_scale: float = 0.1) -> None:
        if n_nodes != int(n_nodes) or n_nodes < 2:
            raise DataError(f"KarhunenLoeve: n_nodes is {n_nodes!r}; give an integer of 2 or more.")
        if n_modes != int(n_modes) or not 1 <= n_modes <= n_nodes**2:
            raise DataError(
                f"KarhunenLoeve: n_modes is {n_modes!r}; a grid of {n_nodes} x {n_nodes} nodes has "
                f"modes 1 to {n_nodes**2}: give an integer in that range."
            )
        if not (np.isfinite(length_scale) and length_scale > 0):
            raise DataError(
                f"KarhunenLoeve: length_scale is {length_scale!r}; give a positive, finite number "
                "(in units of the side of the square)."
            )
        self.n_modes = int(n_modes)
        self.n_nodes = int(n_nodes)
        self.length_scale = float(length_scale)
        check_memory(
            PEAK * 8.0 * (n_nodes / 2) ** 4,  # a symmetry block has a quarter of the nodes
            f"the modes of a grid of {n_nodes} x {n_nodes} nodes",
            "take fewer nodes",
        )
        self.eigenvalues, self.modes = _eigenpairs(self.n_modes, self.n_nodes, self.length_scale)

    def __repr__(self) -> str:
        return (
            f"KarhunenLoeve(n_modes={self.n_modes}, n_nodes={self.n_nodes}, "
            f"length_scale={self.length_scale})"
        )

    @overload
    def permeability(
        self, theta: Float[Tensor, "sample mode"]
    ) -> Float[Tensor, "sample x1 x2"]: ...
    @overload
    def permeability(
        self, theta: Float[np.ndarray, "sample mode"]
    ) -> Float[np.ndarray, "sample x1 x2"]: ...
    def permeability(self, theta):
        r"""Permeability :math:`K = \exp(\sum_i \sqrt{\lambda_i} \theta_i \phi_i)` (eqs 18, 20).

        Parameters
        ----------
        theta : tensor or ndarray of shape (B, s)
            Generative factors, dimensionless.

        Returns
        -------
        tensor or ndarray of shape (B, n, n)
            Permeability, dimensionless, axes (sample, x1, x2), in float64; a tensor on theta's
            device for a tensor, an array for an array.

        Raises
        ------
        DataError
            If theta has another shape or holds a value that is not finite.
        """
        try:
            factors = as_tensor(theta).to(torch.float64)
        except TypeError as error:
            raise DataError(f"permeability: theta is no array of numbers: {error}.") from error
        if factors.ndim != 2 or factors.shape[1] != self.n_modes:
            raise DataError(
                f"permeability: theta has shape {tuple(factors.shape)}; this expansion needs "
                f"(samples, {self.n_modes}), one column per mode."
            )
        bad = ~torch.isfinite(factors).all(dim=1)
        if bad.any():
            raise DataError(
                f"permeability: theta of sample {int(bad.nonzero()[0])} is not finite "
                f"({int(bad.sum())} such samples); remove or mend them."
            )
        scaled = np.sqrt(self.eigenvalues)[:, None] * self.modes.reshape(self.n_modes, -1)
        field = torch.exp(factors @ torch.from_numpy(scaled).to(factors.device))
        field = field.reshape(-1, self.n_nodes, self.n_nodes)
        return field if isinstance(theta, Tensor) else field.numpy()


def _eigenpairs(
    n_modes: int, n: int, length_scale: float
) -> tuple[Float[np.ndarray, " mode"], Float[np.ndarray, "mode x1 x2"]]:
    """Solve every symmetry block, put the results in order, and expand those that are kept."""
    steps = np.arange(n) / (n - 1)
    covariance = np.exp(-np.hypot(steps[:, None], steps[None, :]) / length_scale)
    even, odd = _parity_basis(n, +1), _parity_basis(n, -1)

    # One entry per mode: (eigenvalue, rank inside its pair, block, column).
    blocks, table = [], []
    for first, second, swap in [
        (even, even, +1),
        (even, even, -1),
        (odd, odd, +1),
        (odd, odd, -1),
        (odd, even, 0),
    ]:
        matrix = _block(covariance, first, second)
        rows, columns = first.shape[1], second.shape[1]
        if swap:  # both axes have one parity: symmetrise or antisymmetrise in (x1, x2)
            i, j = np.triu_indices(rows, k=0 if swap > 0 else 1)
            weight = np.where(i == j, np.sqrt(0.5), 1.0)
            kept, mirrored = i * columns + j, j * columns + i
            matrix = matrix[np.ix_(kept, kept)] + swap * matrix[np.ix_(kept, mirrored)]
            matrix *= weight[:, None] * weight[None, :]
        if not len(matrix):
            continue
        values, vectors = _leading(matrix, n_modes)
        if swap:
            coefficients = np.zeros((len(values), rows * columns))
            coefficients[:, kept] += vectors.T * (weight * np.sqrt(0.5))
            coefficients[:, mirrored] += swap * vectors.T * (weight * np.sqrt(0.5))
        else:
            coefficients = vectors.T
        blocks.append((first, second, coefficients.reshape(-1, rows, columns)))
        for partner in range(1 if swap else 2):
            table += [(-value, partner, len(blocks) - 1, k) for k, value in enumerate(values)]
    table.sort()

    weight = 1 / (steps[1] + np.sqrt(steps[:, None] ** 2 + 3 * steps[None, :] ** 2))
    eigenvalues, modes = np.empty(n_modes), np.empty((n_modes, n, n))
    for index, (value, partner, block, column) in enumerate(table[:n_modes]):
        first, second, coefficients = blocks[block]
        mode = first @ coefficients[column] @ second.T
        mode *= np.copysign(1.0, np.vdot(weight, mode))
        eigenvalues[index] = max(-value, 0.0)  # the kernel is positive: below 0 is rounding
        modes[index] = mode.T if partner else mode
    return eigenvalues, modes


def _parity_basis(n: int, parity: int) -> Float[np.ndarray, "node basis"]:
    """Orthonormal basis of the vectors that are even (+1) or odd (-1) under reflection."""
    size = (n + 1) // 2 if parity > 0 else n // 2
    basis = np.zeros((n, size))
    k = np.arange(size)
    basis[k, k] += np.sqrt(0.5)
    basis[n - 1 - k, k] += parity * np.sqrt(0.5)
    return basis / np.linalg.norm(basis, axis=0)


def _block(
    covariance: Float[np.ndarray, "distance1 distance2"],
    first: Float[np.ndarray, "node basis1"],
    second: Float[np.ndarray, "node basis2"],
) -> Float[np.ndarray, "row row"]:
    """Covariance between products of basis vectors of two parities, one parity per axis."""
    n = len(covariance)
    along = []
    for basis in (first, second):
        size = basis.shape[1]
        k = np.arange(size)
        near = np.abs(k[:, None] - k[None, :])
        far = np.abs(n - 1 - k[:, None] - k[None, :])
        parity = np.sign(basis[-1, 0])
        # A basis vector lives on two nodes; the central node of an odd grid counts half.
        half = np.where(2 * k == n - 1, np.sqrt(0.5), 1.0)
        along.append((near, far, parity, half[:, None] * half[None, :]))
    (near1, far1, parity1, half1), (near2, far2, parity2, half2) = along
    partial = (covariance[near1] + parity1 * covariance[far1]) * half1[:, :, None]
    full = (partial[:, :, near2] + parity2 * partial[:, :, far2]) * half2
    size = first.shape[1] * second.shape[1]
    return full.transpose(0, 2, 1, 3).reshape(size, size)


def _leading(
    matrix: Float[np.ndarray, "row row"], count: int
) -> tuple[Float[np.ndarray, " value"], Float[np.ndarray, "row value"]]:
    """Eigenpairs of largest eigenvalue, in decreasing order."""
    size = len(matrix)
    count = min(count, size)
    if 4 * count > size > 1:  # older scipy gives "evd" too little room for a single number
        values, vectors = scipy.linalg.eigh(matrix, driver="evd", overwrite_a=True)
    else:
        values, vectors = scipy.linalg.eigh(
            matrix, driver="evr", subset_by_index=(size - count, size - 1), overwrite_a=True
        )
    return values[::-1][:count], vectors[:, ::-1][:, :count]

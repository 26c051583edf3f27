"""Darcy flow through a heterogeneous medium on the unit square (eqs 16 and 17)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dvae.errors import DataError, DeviceError
from dvae.physics.arrays import as_tensor, whole_number
from dvae.threads import map_batches

__all__ = ["DarcySolution", "solve_darcy", "well_source"]


class DarcySolution(NamedTuple):
    """Pressure (B, n, n) and velocity (B, 2, n, n), float64, dimensionless, axes ``ij``."""

    pressure: Float[Tensor, "sample x1 x2"] | Float[np.ndarray, "sample x1 x2"]
    velocity: Float[Tensor, "sample axis x1 x2"] | Float[np.ndarray, "sample axis x1 x2"]


def well_source(
    n_nodes: int = 65, *, rate: float = 10.0, width: float = 1 / 8
) -> Float[np.ndarray, "x1 x2"]:
    """Source term of eq. 17: an injection well at (0, 0), a production well at (1, 1).

    Parameters
    ----------
    n_nodes : int
        Nodes along each side.
    rate : float
        Strength r of the wells: volume produced per unit of volume and time, dimensionless.
    width : float
        Side w of the square wells, in units of the side of the domain.

    Returns
    -------
    ndarray of shape (n, n)
        ``rate`` on the nodes of the first well, ``-rate`` on those of the second (nodes on the
        edge of a well belong to it: 9 x 9 nodes of 65 x 65), 0 elsewhere. The two wells mirror
        each other, so that the source has zero mean on every grid.
    """
    steps = np.arange(n_nodes)
    inside = (steps <= width * (n_nodes - 1) * (1 + 1e-12)).astype(float)
    well = np.outer(inside, inside)
    return rate * (well - well[::-1, ::-1])


def solve_darcy(
    permeability: Float[Tensor, "sample x1 x2"] | Float[np.ndarray, "sample x1 x2"],
    source: Float[Tensor, "*sample x1 x2"] | Float[np.ndarray, "*sample x1 x2"] | None = None,
    *,
    device: str | torch.device | None = None,
    tol: float = 1e-12,
    max_iterations: int = 10_000,
    batch_size: int | None = None,
    workers: int | None = None,
) -> DarcySolution:
    r"""Pressure and velocity of steady Darcy flow without flux through the boundary (eq. 16).

    Vertex-centred finite volumes, conservative and of second order: the control volume of a node
    reaches half-way to its neighbours, so that on the boundary it is a half and in a corner a
    quarter, and integrals are trapezoidal sums. The permeability of the face between two nodes
    is the **geometric mean** of theirs. For a log-permeability that is interpolated linearly
    this is its value at the face, hence of second order; and it is the one mean for which
    scaling by :math:`K^{-1/2}` turns the matrix into that of the Laplacian plus a diagonal.

    The scaled system is solved for all samples at once by conjugate gradients in double
    precision, preconditioned with the Laplacian plus each sample's mean diagonal, which a small
    cosine matrix on either side inverts (in single precision: that only steers the search). A
    sample stops when its own residual is small enough, whatever its companions do; that its
    fluxes then balance its source is checked. The velocity :math:`-K \nabla p` is taken at the
    nodes by central differences; its normal component on the boundary is 0.

    Parameters
    ----------
    permeability : tensor or ndarray of shape (B, n, n)
        Positive nodal values, dimensionless, axes (sample, x1, x2), n of 3 or more.
    source : tensor or ndarray of shape (n, n) or (B, n, n), optional
        Right-hand side f with zero trapezoidal mean, dimensionless; by default
        ``well_source(n)``, eq. 17.
    device : str or torch.device, optional
        Where to compute; by default where ``permeability`` lies. The solution is returned where
        ``permeability`` lies.
    tol : float
        Stop when the 2-norm of the scaled residual has fallen by this factor.
    max_iterations : int
        Give up after so many steps of conjugate gradients.
    batch_size : int, optional
        Samples solved at once; by default 32 on a CPU and 1024 elsewhere. Affects speed and
        memory, and results by no more than rounding.
    workers : int, optional
        Batches solved side by side on a CPU, each on one thread
        (:func:`dvae.threads.map_batches`); by default as many as torch has CPU threads, but no
        more than the process may use cores. Results do not depend on it.

    Returns
    -------
    DarcySolution
        ``pressure`` (B, n, n) with zero trapezoidal mean and ``velocity`` (B, 2, n, n), float64,
        dimensionless; arrays for arrays, tensors for tensors.

    Raises
    ------
    DataError
        If a shape is wrong, a permeability is not positive and finite, the source is not finite
        or its mean is not zero, or a sample does not converge (its permeability may vary by more
        than double precision can resolve, about 12 decades).
    DeviceError
        If ``device`` is not available.

    References
    ----------
    Concus, P. and Golub, G. H. (1973), Use of fast direct methods for the efficient numerical
    solution of nonseparable elliptic equations. SIAM J. Numer. Anal. 10, 1103-1120.

    Examples
    --------
    >>> pressure, velocity = solve_darcy(np.ones((1, 17, 17)))
    >>> pressure[0, 0, 0], pressure[0, -1, -1]  # at the two wells
    (np.float64(0.3076), np.float64(-0.3076))
    """
    try:
        given = as_tensor(permeability)
    except TypeError as error:
        raise DataError(f"solve_darcy: permeability is no array of numbers: {error}.") from error
    if given.ndim != 3 or given.shape[1] != given.shape[2] or given.shape[1] < 3:
        raise DataError(
            f"solve_darcy: permeability has shape {tuple(given.shape)}; it must be (samples, n, n) "
            "with 3 nodes or more along a side (add an axis of length 1 for a single sample)."
        )
    device = given.device if device is None else _available(device)
    count, n, _ = given.shape
    field = given.detach().to(device, torch.float64)
    _check_positive(field)
    load = _checked_source(source, count, n, _trapezoid(n, device))

    on_cpu = device.type == "cpu"
    size = 32 if on_cpu else 1024
    if batch_size is not None:
        size = whole_number(batch_size, "solve_darcy: batch_size", 1)
    pressure = torch.empty_like(field)
    velocity = torch.zeros(count, 2, n, n, dtype=torch.float64, device=device)

    def solve(start: int) -> None:
        part = slice(start, start + size)
        right = load if len(load) == 1 else load[part]
        pressure[part] = _solve(field[part], right, tol, max_iterations, first_sample=start)
        _add_velocity(velocity[part], field[part], pressure[part])

    map_batches(solve, range(0, count, size), workers=workers if on_cpu else 1)
    pressure, velocity = pressure.to(given.device), velocity.to(given.device)
    if not isinstance(permeability, Tensor):
        return DarcySolution(pressure.numpy(), velocity.numpy())
    return DarcySolution(pressure, velocity)


def _check_positive(field: Float[Tensor, "sample x1 x2"]) -> None:
    """Raise DataError unless every permeability is positive and finite."""
    # NaN passes through both extremes and fails both comparisons.
    bad = ~((field.amin((1, 2)) > 0) & (field.amax((1, 2)) < torch.inf))
    if not bad.any():
        return
    sample = int(bad.nonzero()[0])
    wrong = ~(torch.isfinite(field[sample]) & (field[sample] > 0))
    where = tuple(wrong.nonzero()[0].tolist())
    raise DataError(
        f"solve_darcy: permeability of sample {sample} is {float(field[sample][where])} at "
        f"node {where} ({int(bad.sum())} of {len(field)} samples are affected); it must be "
        "positive and finite everywhere: pass exp(G), not G, and reduce a G that overflows."
    )


def _available(device: str | torch.device) -> torch.device:
    """The device, or an error if this machine has no such device."""
    try:
        device = torch.device(device)
        torch.empty(0, device=device, dtype=torch.float64).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise DeviceError(
            f"solve_darcy: device {str(device)!r} cannot compute in float64 here ({error}); "
            "use device='cpu'."
        ) from error
    return device


def _trapezoid(n: int, device: torch.device) -> Float[Tensor, "x1 x2"]:
    """Areas of the control volumes: the weights of the trapezoidal rule."""
    side = torch.full((n,), 1 / (n - 1), dtype=torch.float64, device=device)
    side[0] = side[-1] = 0.5 / (n - 1)
    return torch.outer(side, side)


def _checked_source(
    source: Tensor | np.ndarray | None, count: int, n: int, weights: Float[Tensor, "x1 x2"]
) -> Float[Tensor, "sample x1 x2"]:
    """Source integrated over the control volumes; one for all samples or one for each."""
    given = torch.as_tensor(well_source(n) if source is None else source).detach()
    given = given.to(weights.device, torch.float64)
    if given.shape not in [(n, n), (count, n, n)]:
        raise DataError(
            f"solve_darcy: source has shape {tuple(given.shape)}; for this permeability it must be "
            f"{(n, n)} or {(count, n, n)}."
        )
    load = given.reshape(-1, n, n) * weights
    size = load.abs().sum((1, 2))
    if not torch.isfinite(size).all():
        sample = int((~torch.isfinite(size)).nonzero()[0])
        raise DataError(
            f"solve_darcy: source {sample} holds a value that is not finite; remove or mend it."
        )
    total = load.sum((1, 2))
    bad = total.abs() > 1e-10 * size
    if bad.any():
        sample = int(bad.nonzero()[0])
        raise DataError(
            f"solve_darcy: the trapezoidal mean of source {sample} is {float(total[sample]):.3e}, "
            "not 0: without flux through the boundary no pressure balances it; subtract the mean."
        )
    return load - total[:, None, None] * weights  # what rounding had left


class _Preconditioner:
    """Inverse of the Laplacian plus one number for each sample, in single precision.

    The cosine modes V = C D make V^T (Laplacian + shift) V diagonal and V^T weights V = 1.
    """

    def __init__(self, n: int, shift: Float[Tensor, " sample"]):
        k = torch.arange(n, dtype=torch.float64, device=shift.device)
        self.cosine = torch.cos(math.pi / (n - 1) * torch.outer(k, k)).to(torch.float32)
        norm = torch.full_like(k, 2.0)
        norm[0] = norm[-1] = 1.0
        frequency = (2 * (n - 1) * torch.sin(math.pi / (2 * (n - 1)) * k)) ** 2
        spectrum = (frequency[:, None] + frequency[None, :])[:, None] + shift[:, None]
        self.inverse = (torch.outer(norm, norm)[:, None] / spectrum).to(torch.float32)
        self.spare = torch.empty(2, *self.inverse.shape, device=shift.device)

    def keep(self, samples: Int[Tensor, " kept"]) -> None:
        """Go on with some of the samples."""
        self.inverse = self.inverse[:, samples]
        self.spare = torch.empty(2, *self.inverse.shape, device=self.inverse.device)

    def __call__(
        self, residual: Float[Tensor, "x1 sample x2"], out: Float[Tensor, "x1 sample x2"]
    ) -> Float[Tensor, "x1 sample x2"]:
        """Apply it; in this order of axes each cosine transform is a single matrix product."""
        (first, second), cosine, n = self.spare, self.cosine, len(residual)
        torch.mm(cosine, first.copy_(residual).view(n, -1), out=second.view(n, -1))
        torch.mm(second.view(-1, n), cosine, out=first.view(-1, n)).mul_(self.inverse.view(-1, n))
        torch.mm(cosine, first.view(n, -1), out=second.view(n, -1))
        torch.mm(second.view(-1, n), cosine, out=first.view(-1, n))
        return out.copy_(first)


def _dot(
    a: Float[Tensor, "x1 sample x2"],
    b: Float[Tensor, "x1 sample x2"],
    spare: Float[Tensor, "x1 sample x2"],
) -> Float[Tensor, " sample"]:
    """Inner product for each sample."""
    return torch.mul(a, b, out=spare).sum((0, 2))


def _solve(
    field: Float[Tensor, "sample x1 x2"],
    load: Float[Tensor, "#sample x1 x2"],
    tol: float,
    max_iterations: int,
    first_sample: int,
) -> Float[Tensor, "sample x1 x2"]:
    """Pressure of zero mean: scale the system, solve it, check the balance of every volume."""
    root = field.sqrt().transpose(0, 1).contiguous()  # axes (x1, sample, x2) from here on
    load = load.transpose(0, 1)
    residual = (load / root).contiguous()
    spare = torch.empty_like(root)
    size = _dot(residual, residual, spare).sqrt()
    residual /= torch.where(size > 0, size, 1.0)[:, None]  # unit norm for each sample
    result, solved = _conjugate_gradients(root, residual, tol, max_iterations)
    pressure = result.mul_(size[:, None]).div_(root)

    # Check what was asked for, not the recurrence: rounding parts the two where contrast is huge.
    lost = _add_outflow(-load.expand_as(pressure), pressure, spare, root)
    solved &= lost.abs_().amax((0, 2)) <= 1e-6 * load.abs().sum((0, 2))
    if not solved.all():
        sample = int((~solved).nonzero()[0])
        raise DataError(
            f"solve_darcy: sample {first_sample + sample} has not converged to tol={tol:g} in "
            f"{max_iterations} iterations of double precision (its permeability spans "
            f"{float(field[sample].min()):.3g} to {float(field[sample].max()):.3g}); reduce the "
            "contrast, or raise max_iterations or tol."
        )
    pressure = pressure.transpose(0, 1)
    weights = _trapezoid(field.shape[-1], field.device)
    return pressure - (pressure * weights).sum((1, 2), keepdim=True)


def _conjugate_gradients(
    root: Float[Tensor, "x1 sample x2"],
    residual: Float[Tensor, "x1 sample x2"],
    tol: float,
    max_iterations: int,
) -> tuple[Float[Tensor, "x1 sample x2"], Bool[Tensor, " sample"]]:
    """Solve K^-1/2 A K^-1/2 = Laplacian + diagonal for right-hand sides of unit norm.

    ``residual`` is overwritten. Also told is for which samples it fell below ``tol``.
    """
    # sqrt(K) spans the null space of the scaled matrix, which gives its diagonal part.
    spare = torch.empty_like(root)
    diagonal = _add_outflow(torch.zeros_like(root), root, spare).neg_().div_(root)
    precondition = _Preconditioner(len(root), diagonal.sum((0, 2)).clamp_min(1e-3))
    solution = torch.zeros_like(residual)
    direction = torch.zeros_like(residual)
    rho = root.new_ones(root.shape[1])
    result = torch.zeros_like(residual)
    # The loop allocates nothing: fresh pages cost a CPU more than the arithmetic on them.
    image = torch.empty_like(residual)
    open_samples = torch.arange(root.shape[1], device=root.device)
    for _ in range(max_iterations + 1):
        busy = ~(_dot(residual, residual, spare).sqrt() <= tol)  # NaN never converges
        if int(busy.sum()) <= 0.75 * len(open_samples):  # drop what has converged
            result[:, open_samples] = solution
            keep = busy.nonzero()[:, 0]
            open_samples, rho, busy = open_samples[keep], rho[keep], busy[keep]
            diagonal, residual, solution, direction = (
                v[:, keep] for v in (diagonal, residual, solution, direction)
            )
            if not len(keep):
                break
            precondition.keep(keep)
            spare, image = torch.empty_like(residual), torch.empty_like(residual)
        z = precondition(residual, out=spare)
        rho, last = _dot(residual, z, image), rho
        beta = torch.where(busy, rho / last, 0.0)[:, None]
        torch.addcmul(z, direction, beta, out=direction)
        _add_outflow(torch.mul(diagonal, direction, out=image), direction, spare)
        alpha = torch.where(busy, rho / _dot(direction, image, spare), 0.0)[:, None]
        solution.addcmul_(alpha, direction)
        residual.addcmul_(alpha, image, value=-1)
    result[:, open_samples] = solution
    solved = torch.ones(root.shape[1], dtype=torch.bool, device=root.device)
    solved[open_samples[busy]] = False
    return result, solved


def _add_outflow(
    out: Float[Tensor, "x1 sample x2"],
    pressure: Float[Tensor, "x1 sample x2"],
    spare: Float[Tensor, "x1 sample x2"],
    root: Float[Tensor, "x1 sample x2"] | None = None,
) -> Float[Tensor, "x1 sample x2"]:
    """Add what leaves each control volume, from the square root of K (None: K is 1)."""
    last = len(pressure) - 1
    flux = torch.sub(pressure[:-1], pressure[1:], out=spare[:-1])
    if root is not None:
        flux.mul_(root[:-1]).mul_(root[1:])
    flux[..., ::last] *= 0.5  # on the boundary a face has half the width
    out[:-1] += flux
    out[1:] -= flux
    flux = torch.sub(pressure[..., :-1], pressure[..., 1:], out=spare[..., :-1])
    if root is not None:
        flux.mul_(root[..., :-1]).mul_(root[..., 1:])
    flux[::last] *= 0.5
    out[..., :-1] += flux
    out[..., 1:] -= flux
    return out


def _add_velocity(
    velocity: Float[Tensor, "sample axis x1 x2"],
    field: Float[Tensor, "sample x1 x2"],
    pressure: Float[Tensor, "sample x1 x2"],
) -> None:
    """Add -K grad p at the nodes by central differences; nothing through the boundary."""
    half = field * (0.5 * (field.shape[-1] - 1))
    along1, along2 = pressure[:, :-2] - pressure[:, 2:], pressure[..., :-2] - pressure[..., 2:]
    velocity[:, 0, 1:-1].addcmul_(half[:, 1:-1], along1)
    velocity[:, 1, :, 1:-1].addcmul_(half[..., 1:-1], along2)

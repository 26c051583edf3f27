"""Steady transport of a substance by a wind: a physics beside Darcy's, with two factors."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float
from scipy.sparse.linalg import splu

from dvae.errors import DataError
from dvae.memory import check_memory
from dvae.physics.factors import draw_factors, factor_distribution
from dvae.physics.fields import FieldDataset

__all__ = ["gaussian_source", "solve_transport", "transport_dataset"]

DIFFUSIVITY, DECAY, SPEED = 0.05, 2.0, 0.2


def gaussian_source(
    n_nodes: int = 65,
    *,
    centre: tuple[float, float] = (0.5, 0.5),
    widths: tuple[float, float] = (0.1, 0.1),
    angle: float = 0.0,
) -> Float[np.ndarray, "x1 x2"]:
    r"""Source of one Gaussian bump, :math:`\exp(-a^2 / 2 w_a^2 - b^2 / 2 w_b^2)`.

    The axes a and b of the bump are x1 and x2, turned counter-clockwise about its centre.

    Parameters
    ----------
    n_nodes : int
        Nodes along each side of the unit square, 3 or more.
    centre : tuple of float
        (x1, x2) of the largest value, which is 1.
    widths : tuple of float
        Standard deviations w along the two axes, positive, in units of the side.
    angle : float
        Degrees.

    Returns
    -------
    ndarray of shape (n, n)
        Substance released per unit of area and time, dimensionless, axes (x1, x2).

    Raises
    ------
    DataError
        If a number is not finite, a width is not positive, or there are fewer than 3 nodes.
    """
    if n_nodes != int(n_nodes) or n_nodes < 3:
        raise DataError(f"gaussian_source: n_nodes is {n_nodes!r}; give an integer of 3 or more.")
    if not (np.isfinite([*centre, *widths, angle]).all() and min(widths) > 0):
        raise DataError(
            f"gaussian_source: centre {centre}, widths {widths}, angle {angle}; all must be finite "
            "and the widths positive."
        )
    x = np.linspace(0, 1, n_nodes)
    x1, x2 = np.meshgrid(x - centre[0], x - centre[1], indexing="ij")
    cosine, sine = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = cosine * x1 + sine * x2, cosine * x2 - sine * x1
    return np.exp(-0.5 * ((along / widths[0]) ** 2 + (across / widths[1]) ** 2))


def solve_transport(
    wind: Float[np.ndarray, "sample 2"],
    source: Float[np.ndarray, "x1 x2"],
    *,
    diffusivity: float = DIFFUSIVITY,
    decay: float = DECAY,
) -> Float[np.ndarray, "sample x1 x2"]:
    r"""Steady concentration of a substance that a uniform wind carries and diffusion spreads.

    .. math:: \nabla \cdot (v c - \kappa \nabla c) + r c = f, \qquad c = 0 \text{ on the boundary}

    Vertex-centred finite volumes of second order: the flux through the face between two nodes has
    the mean of their concentrations and the difference quotient, so that the substance is balanced
    in every volume to rounding. A direct solve for every wind.

    Parameters
    ----------
    wind : array of shape (B, 2)
        Components v of the wind along x1 and x2, dimensionless.
    source : array of shape (n, n)
        Source f at the nodes, axes (x1, x2), n of 3 or more; the values on the boundary do not
        count.
    diffusivity : float
        Diffusivity kappa, positive.
    decay : float
        Rate r at which the substance decays, not negative.

    Returns
    -------
    ndarray of shape (B, n, n)
        Concentration, float64, dimensionless, axes (sample, x1, x2).

    Raises
    ------
    DataError
        If a shape is wrong, a value is not finite, ``diffusivity`` is not positive, ``decay`` is
        negative, or a wind passes more than 2 ``diffusivity`` over the distance of two nodes:
        central differences oscillate then.

    Examples
    --------
    >>> winds = np.array([[0.0, 0.0], [0.2, 0.0]])
    >>> calm, windy = solve_transport(winds, gaussian_source(33))
    >>> # down the wind and up
    >>> calm[20, 16] / calm[12, 16], windy[20, 16] / windy[12, 16]
    (np.float64(1.0), np.float64(1.33))
    """
    wind, source = _checked(wind, source, diffusivity, decay)
    n = len(source)
    h = 1 / (n - 1)
    inner = n - 2
    # along one axis: what leaves a volume through its two faces, per unit of volume
    ones = np.ones(inner - 1)
    spread = sp.diags_array([-ones, np.full(inner, 2.0), -ones], offsets=[-1, 0, 1]) / h**2
    carry = sp.diags_array([-ones, ones], offsets=[-1, 1]) / (2 * h)
    same = sp.eye_array(inner)
    still = diffusivity * (sp.kron(spread, same) + sp.kron(same, spread))
    still = (still + decay * sp.eye_array(inner**2)).tocsc()
    carry1, carry2 = sp.kron(carry, same).tocsc(), sp.kron(same, carry).tocsc()
    load = source[1:-1, 1:-1].ravel()
    concentration = np.zeros((len(wind), n, n))
    for field, (v1, v2) in zip(concentration, wind, strict=True):
        matrix = still + v1 * carry1 + v2 * carry2
        factors = splu(matrix, permc_spec="MMD_AT_PLUS_A")  # its pattern is symmetric
        field[1:-1, 1:-1] = factors.solve(load).reshape(inner, inner)
    return concentration


def _checked(
    wind: np.ndarray, source: np.ndarray, diffusivity: float, decay: float
) -> tuple[Float[np.ndarray, "sample 2"], Float[np.ndarray, "x1 x2"]]:
    """Wind and source in double precision, or DataError."""
    wind, source = np.asarray(wind, dtype=float), np.asarray(source, dtype=float)
    if wind.ndim != 2 or wind.shape[1] != 2:
        raise DataError(f"solve_transport: wind has shape {wind.shape}; it must be (samples, 2).")
    if source.ndim != 2 or source.shape[0] != source.shape[1] or len(source) < 3:
        raise DataError(
            f"solve_transport: source has shape {source.shape}; it must be (n, n) with 3 nodes or "
            "more along a side."
        )
    if not (0 < diffusivity < np.inf and 0 <= decay < np.inf):
        raise DataError(
            f"solve_transport: diffusivity is {diffusivity} and decay {decay}; the first must be "
            "positive, the second not negative, and both finite."
        )
    for name, values in (("wind", wind), ("source", source)):
        if not np.isfinite(values).all():
            raise DataError(f"solve_transport: {name} holds NaN or infinity; mend it.")
    fastest = np.abs(wind).max(initial=0.0)
    if fastest > 2 * diffusivity * (len(source) - 1):
        raise DataError(
            f"solve_transport: a wind of {fastest:.3g} is too fast for {len(source)} nodes and the "
            f"diffusivity {diffusivity:g}: up to {2 * diffusivity * (len(source) - 1):.3g} does "
            "not oscillate; take more nodes."
        )
    return wind, source


def transport_dataset(
    source: Float[np.ndarray, "x1 x2"],
    n_samples: int = 1024,
    seed: int = 0,
    *,
    speed: float = SPEED,
    diffusivity: float = DIFFUSIVITY,
    decay: float = DECAY,
) -> FieldDataset:
    """Concentrations under random winds, whose components are the factors.

    Sample i has a random stream of its own, as in :meth:`dvae.DarcyDataset.generate`.

    Parameters
    ----------
    source : array of shape (n, n)
        For example of :func:`gaussian_source`.
    n_samples : int
        Number N of samples, 1 or more.
    seed : int
        Not negative.
    speed : float
        Standard deviation of a component of the wind, positive.
    diffusivity, decay : float
        As in :func:`solve_transport`.

    Returns
    -------
    FieldDataset
        ``fields`` (N, 1, n, n), the concentration; ``theta`` (N, 2), the components of the wind
        over ``speed``, independent and standard normal.

    Raises
    ------
    DataError
        If a number is out of range, or as :func:`solve_transport`.

    Examples
    --------
    >>> transport_dataset(gaussian_source(17), n_samples=4)
    FieldDataset(theta=(4, 2), fields=(4, 1, 17, 17))
    """
    for name, value, least in [("n_samples", n_samples, 1), ("seed", seed, 0)]:
        if value != int(value) or value < least:
            raise DataError(
                f"transport_dataset: {name} is {value!r}; give an integer of {least} or more."
            )
    if not 0 < speed < np.inf:
        raise DataError(f"transport_dataset: speed is {speed!r}; it must be positive and finite.")
    check_memory(
        12.0 * n_samples * np.size(source),
        f"{n_samples} samples of {np.shape(source)}",
        "generate fewer samples or a coarser grid",
    )
    theta = draw_factors(factor_distribution("standard-normal"), n_samples, seed)
    concentration = solve_transport(
        speed * theta.double().numpy(), source, diffusivity=diffusivity, decay=decay
    )
    metadata = {
        "channels": "concentration",
        "factor_names": "wind along x1, wind along x2",
        "seed": int(seed),
        "speed": float(speed),
        "diffusivity": float(diffusivity),
        "decay": float(decay),
        "units": "dimensionless; unit square",
    }
    fields = torch.from_numpy(concentration)[:, None].float()
    return FieldDataset(fields, theta=theta, metadata=metadata)

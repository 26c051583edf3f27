"""Darcy data: draw factors, expand them to permeabilities, solve for the flow (section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from dvae.errors import DataError
from dvae.memory import check_memory
from dvae.physics.arrays import check_seed, whole_number
from dvae.physics.darcy import solve_darcy
from dvae.physics.factors import draw_factors, factor_distribution
from dvae.physics.fields import FieldDataset
from dvae.physics.kle import KarhunenLoeve
from dvae.progress import progress_bar
from dvae.threads import map_batches

__all__ = ["DarcyDataset"]

NOTES = {
    "kernel": "exp(-r / length_scale), mean 0, variance 1, nodal covariance (eqs 18-20)",
    "solver": "vertex-centred finite volumes, geometric-mean faces, PCG to 1e-12",
    "source": "wells of width 1/8 and rate 10 in two corners (eq. 17)",
    "channels": "pressure, u1, u2",
    "units": "dimensionless; unit square",
}


@dataclass(eq=False, repr=False)
class DarcyDataset(FieldDataset):
    """Fields of Darcy flow, and where known the permeability and the factors that made them.

    Attributes
    ----------
    fields : tensor of shape (N, 3, n, n)
        Float32, dimensionless: pressure, u1 and u2 (eq. 16); axes (sample, channel, x1, x2).
    permeability : tensor of shape (N, 1, n, n), or None
        Float32, dimensionless; None where unknown.
    theta : tensor of shape (N, s), or None
        Generative factors (eq. 20), float32, dimensionless; None where unknown.
    metadata : dict
        What made the data (seed, factors, KLE and solver settings, units, versions).

    See Also
    --------
    FieldDataset : Errors, files, and data that are not of Darcy flow.
    """

    permeability: Float[Tensor, "sample 1 x1 x2"] | None = field(default=None, kw_only=True)

    names: ClassVar[tuple[str, ...]] = ("theta", "permeability", "fields")

    @classmethod
    def generate(
        cls,
        factors: str | Distribution = "standard-normal",
        n_samples: int = 1024,
        seed: int = 0,
        *,
        n_factors: int = 2,
        n_nodes: int = 65,
        length_scale: float = 0.1,
        correlation: float | None = None,
        batch_size: int = 64,
        workers: int | None = None,
        device: str | torch.device = "cpu",
        progress: bool = False,
    ) -> DarcyDataset:
        r"""Draw factors, expand them to permeabilities (eq. 20) and solve for the flow (eq. 16).

        Sample i has a random stream of its own, seeded by (``seed``, i): it does not depend on
        ``batch_size``, nor on how many samples are drawn, so that a larger set begins with a
        smaller one. The global random state is left as it was.

        Parameters
        ----------
        factors : str or torch.distributions.Distribution
            A name of ``factor_distribution``, or a distribution of event shape (s,).
        n_samples : int
            Number N of samples.
        seed : int
            From 0 to 2**32 - 1.
        n_factors : int
            Number s of factors and of modes: 2 for KLE2, 100 for KLE100. Taken from ``factors``
            where that is a distribution.
        n_nodes : int
            Nodes n along each side of the unit square.
        length_scale : float
            Correlation length l of the log-permeability (eq. 19).
        correlation : float, optional
            For "correlated-normal".
        batch_size : int
            Samples solved at once; 1024 or more keep a GPU busy.
        workers : int, optional
            Batches made side by side on a CPU, as in :func:`dvae.solve_darcy`; samples do not
            depend on it.
        device : str or torch.device
            Where to solve; the data set itself lies in the memory of the CPU.
        progress : bool
            Show a progress bar.

        Returns
        -------
        DarcyDataset
            ``theta`` (N, s), ``permeability`` (N, 1, n, n), ``fields`` (N, 3, n, n).

        Raises
        ------
        DataError
            If a number is out of range, or a distribution has another event shape than (s,).
        UnknownNameError
            If there is no factor distribution of that name.
        DeviceError
            If ``device`` is not available.

        Examples
        --------
        >>> data = DarcyDataset.generate("four-modes", n_samples=4, seed=1, n_nodes=17)
        >>> data
        DarcyDataset(theta=(4, 2), permeability=(4, 1, 17, 17), fields=(4, 3, 17, 17))
        """
        caller = "DarcyDataset.generate:"
        n_samples = whole_number(n_samples, f"{caller} n_samples", 1)
        batch_size = whole_number(batch_size, f"{caller} batch_size", 1)
        seed = check_seed(seed, f"{caller} seed")
        check_memory(
            4.0 * n_samples * 4 * n_nodes**2,
            f"{n_samples} samples on {n_nodes} x {n_nodes} nodes",
            "generate fewer samples or a coarser grid, or several files with other seeds",
        )
        distribution, label = _distribution(factors, n_factors, correlation)
        theta = draw_factors(distribution, n_samples, seed)
        kle = KarhunenLoeve(theta.shape[1], n_nodes, length_scale)
        permeability, fields = _flow(kle, theta, batch_size, workers, device, progress)
        metadata = {
            "factors": label,
            "n_factors": theta.shape[1],
            "seed": seed,
            "n_nodes": n_nodes,
            "length_scale": kle.length_scale,
        } | NOTES
        if correlation is not None:
            metadata["correlation"] = float(correlation)
        return cls(fields, permeability=permeability, theta=theta, metadata=metadata)


def _distribution(
    factors: str | Distribution, n_factors: int, correlation: float | None
) -> tuple[Distribution, str]:
    """Distribution of the factors, event shape (s,), and what the metadata call it."""
    if isinstance(factors, Distribution) and correlation is not None:
        raise DataError(
            "DarcyDataset.generate: a distribution has the correlation that it has; leave the "
            "argument correlation out."
        )
    if not isinstance(factors, Distribution):
        named = factor_distribution(factors, n_factors=n_factors, correlation=correlation)
        return named, factors
    if len(factors.event_shape) != 1 or factors.batch_shape:
        raise DataError(
            "DarcyDataset.generate: the distribution of the factors has batch shape "
            f"{tuple(factors.batch_shape)} and event shape {tuple(factors.event_shape)}; they "
            "must be () and (s,): wrap it in torch.distributions.Independent."
        )
    return factors, repr(factors)


def _flow(
    kle: KarhunenLoeve,
    theta: Float[Tensor, "sample factor"],
    batch_size: int,
    workers: int | None,
    device: str | torch.device,
    progress: bool,
) -> tuple[Float[Tensor, "sample 1 x1 x2"], Float[Tensor, "sample 3 x1 x2"]]:
    """Permeability, and pressure and velocity, of every sample; batches side by side on a CPU."""
    n_samples, n = len(theta), kle.n_nodes
    permeability, fields = torch.empty(n_samples, 1, n, n), torch.empty(n_samples, 3, n, n)
    bar = progress_bar(total=n_samples, desc="Darcy fields", unit="sample", disable=not progress)

    def make(start: int) -> None:
        part = slice(start, start + batch_size)
        values = kle.permeability(theta[part])
        wrong = ~(torch.isfinite(values) & (values > 0)).flatten(1).all(1)
        if wrong.any():
            first = start + int(wrong.nonzero()[0, 0])
            raise DataError(
                f"DarcyDataset.generate: the factors {theta[first].tolist()} of sample {first} "
                "make a permeability beyond what double precision holds; draw smaller factors."
            )
        solution = solve_darcy(values, device=device, batch_size=batch_size, workers=1)
        permeability[part, 0] = values.to(torch.float32)
        fields[part, 0] = torch.as_tensor(solution.pressure)
        fields[part, 1:] = torch.as_tensor(solution.velocity)
        with bar.get_lock():
            bar.update(len(values))

    with bar:
        starts = range(0, n_samples, batch_size)
        map_batches(make, starts, workers=workers if str(device) == "cpu" else 1)
    return permeability, fields

"""The recipe for fields of one's own: the loss of eq. 5, its noise annealed by the data's spectrum.

The recipes of the paper weigh the rate by beta per *node* (:mod:`dvae.training.recipes`), which is
as many times more per sample as a field has nodes. With calibrated noise a direction of the data
carries information only below a limit of beta
(:func:`dvae.analysis.linear_vae.linear_collapse`), and for one or two channels that limit lies
below the paper's weight: every model then ignores the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from dvae.errors import DataError
from dvae.models import PodBasis
from dvae.physics.samples import Samples, in_batches
from dvae.training.recipes import Recipe

__all__ = ["Spectrum", "elbo_recipe"]

LEAST_NOISE = 1e-6  # share of the data variance at which annealing ends at the latest
STEPS, ANNEALED = 6000, 4000


@dataclass(frozen=True)
class Spectrum:
    """Variances of the leading principal directions of fields, in units of the node scales.

    Attributes
    ----------
    leading : array (direction,)
        Variances of the leading directions, decreasing.
    total : float
        Sum over all directions.
    n_values : int
        Number m of values of a sample.
    """

    leading: Float[np.ndarray, " direction"]
    total: float
    n_values: int

    @classmethod
    def of(
        cls,
        basis: PodBasis,
        fields: Float[torch.Tensor, "sample channel x1 x2"] | Samples,
        n_values: int,
    ) -> Spectrum:
        """Spectrum of the fields that a basis is of; ``n_values`` of their values vary."""
        scaled = ((batch - basis.mean) / basis.scale for batch in in_batches(fields))
        total = sum(float(batch.double().pow(2).sum()) for batch in scaled) / len(fields)
        return cls(basis.spread.double().numpy() ** 2, total, n_values)

    def variances(self) -> Float[np.ndarray, " direction"]:
        """Variances of all directions: those after the leading ones as equal parts of the rest."""
        rest = max(self.total - float(self.leading.sum()), 0.0)
        parts = int(np.ceil(rest / self.leading[-1]))
        return np.concatenate([self.leading, np.full(parts, rest / max(parts, 1))])

    def noise(self, direction: int, beta: float) -> float:
        """Share of the data variance below which the noise lets a direction carry information.

        With noise v per value the linear VAE uses direction i while :math:`\\beta v < \\lambda_i`;
        the data variance per value is :math:`\\sum_i \\lambda_i / m`.
        """
        return self.n_values * float(self.leading[direction]) / (beta * self.total)


def elbo_recipe(spectrum: Spectrum, total_nodes: int, beta: float = 1.0) -> Recipe:
    """Recipe whose loss is eq. 5 with ``beta`` per sample, the evidence lower bound for beta = 1.

    The decoder variance is calibrated and kept above a floor, which falls from where the first
    principal direction begins to carry information (at least the data variance) to where the last
    of the leading ones does: the directions switch on one after the other. Labels, if there are
    any, weigh as much as the rate, as in eq. 28.

    Parameters
    ----------
    spectrum : Spectrum
        Of the training data.
    total_nodes : int
        Number of grid nodes, see :attr:`dvae.VAE.total_nodes`: recipes have beta per node.
    beta : float
        Weight of the rate per sample.

    Raises
    ------
    DataError
        If ``beta`` is not positive.
    """
    if not 0 < beta < np.inf:
        raise DataError(f"beta must be a positive number, got {beta}")
    start = max(1.0, spectrum.noise(0, beta))
    end = min(max(spectrum.noise(-1, beta), LEAST_NOISE), 0.1)
    return Recipe(
        "elbo",
        steps=STEPS,
        learning_rate=2e-3,
        learning_rate_steps=((4500, 5e-4), (5500, 1e-4)),
        beta=beta / total_nodes,
        label_weight=beta / total_nodes,
        floor=(start, end, ANNEALED),
    )

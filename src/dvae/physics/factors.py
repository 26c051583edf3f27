"""Distributions of the generative factors (section 3.1 and section 5 of the paper)."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from dvae.errors import DataError, UnknownNameError
from dvae.physics.arrays import check_seed

__all__ = ["FACTOR_NAMES", "draw_factors", "factor_distribution"]

FACTOR_NAMES = ("standard-normal", "shifted-normal", "four-modes", "bimodal", "correlated-normal")


def factor_distribution(
    name: str, *, n_factors: int = 2, correlation: float | None = None
) -> Distribution:
    r"""Generative parameter distribution :math:`p(\theta)` by name.

    ===================  ==================================================  ==================
    name                 :math:`p(\theta)`                                   paper
    ===================  ==================================================  ==================
    standard-normal      :math:`N(0, I)`                                     section 5.1
    shifted-normal       :math:`N(1, I/2)`                                   section 5.2
    four-modes           :math:`\frac14 \sum N((\pm1, \pm1), I/4)`           section 5.3
    bimodal              each factor :math:`\frac12 \sum N(\pm1, 1/16)`      not in the paper
    correlated-normal    unit variances, one correlation between all pairs   section 6
    ===================  ==================================================  ==================

    "bimodal" is a set of the authors' data script that the paper does not show: modes at +1 and
    -1 of standard deviation 0.25. It is read here as independent factors of two modes each, so
    that two factors have four narrow modes on the corners of a square.

    Parameters
    ----------
    name : str
        One of ``FACTOR_NAMES``.
    n_factors : int
        Number s of factors; "four-modes" exists for 2 only.
    correlation : float, optional
        For "correlated-normal" only, by default 0.5; between -1/(s - 1) and 1, exclusive.

    Returns
    -------
    torch.distributions.Distribution
        ``event_shape`` (s,), dimensionless; ``log_prob`` in nats.

    Raises
    ------
    UnknownNameError
        If there is no distribution of that name.
    DataError
        If an option is out of range or does not apply to that name.

    Examples
    --------
    >>> factor_distribution("four-modes").sample((512,)).shape
    torch.Size([512, 2])
    """
    if name not in FACTOR_NAMES:
        raise UnknownNameError(
            f"factor_distribution: there is no {name!r}; choose one of {', '.join(FACTOR_NAMES)}."
        )
    if n_factors != int(n_factors) or n_factors < 1:
        raise DataError(
            f"factor_distribution: n_factors is {n_factors!r}; give an integer of 1 or more."
        )
    if correlation is not None and name != "correlated-normal":
        raise DataError(
            f"factor_distribution: {name!r} has no correlation to set; use 'correlated-normal'."
        )
    zeros, ones = torch.zeros(n_factors), torch.ones(n_factors)
    if name == "standard-normal":
        return Independent(Normal(zeros, ones), 1)
    if name == "shifted-normal":
        return Independent(Normal(ones, 0.5**0.5 * ones), 1)
    if name == "four-modes":
        if n_factors != 2:
            raise DataError(
                f"factor_distribution: 'four-modes' is defined for 2 factors, not {n_factors}; "
                "'bimodal' exists for any number."
            )
        centres = torch.cartesian_prod(torch.tensor([-1.0, 1.0]), torch.tensor([-1.0, 1.0]))
        modes = Independent(Normal(centres, 0.5 * torch.ones(4, 2)), 1)
        return MixtureSameFamily(Categorical(logits=torch.zeros(4)), modes)
    if name == "bimodal":
        pairs = Normal(torch.stack([-ones, ones], dim=1), 0.25 * torch.ones(n_factors, 2))
        return Independent(MixtureSameFamily(Categorical(torch.ones(n_factors, 2)), pairs), 1)
    correlation = 0.5 if correlation is None else correlation
    lowest = -1 / (n_factors - 1) if n_factors > 1 else -1.0
    if not lowest < correlation < 1:
        raise DataError(
            f"factor_distribution: correlation is {correlation!r}; for {n_factors} factors it must "
            f"lie between {lowest:.4g} and 1, exclusive."
        )
    covariance = (1 - correlation) * torch.eye(n_factors) + correlation
    return MultivariateNormal(zeros, covariance)


def draw_factors(
    distribution: Distribution, count: int, seed: int
) -> Float[Tensor, "sample factor"]:
    """One draw for each sample, from a random stream of its own seeded by (``seed``, index).

    The first samples of a larger draw are those of a smaller one; the global random state is left
    as it was.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Of event shape (s,).
    count : int
        Number of samples.
    seed : int
        From 0 to 2**32 - 1.

    Returns
    -------
    tensor of shape (count, s)
        Float32, on the CPU.

    Raises
    ------
    DataError
        If the seed is out of range.
    """
    seed = check_seed(seed, "draw_factors: seed")
    draws = []
    with torch.random.fork_rng(devices=[]):
        for index in range(count):
            words = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)
            torch.default_generator.manual_seed(int(words[0]))
            draws.append(distribution.sample())
    return torch.stack(draws).to("cpu", torch.float32)

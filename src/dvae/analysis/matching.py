"""Symmetries of a second model: its latents and hidden units in the order of a first one."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from dvae.analysis._columns import correlations
from dvae.errors import DataError
from dvae.models.dense import DenseVAE
from dvae.models.pod import PodVAE
from dvae.models.priors import GaussianPrior
from dvae.models.vae import VAE

__all__ = ["match_hidden_units", "match_latents", "signed_permutation"]


def match_latents(
    reference: Float[np.ndarray, "sample latent"], other: Float[np.ndarray, "sample latent"]
) -> tuple[Int[np.ndarray, " latent"], Int[np.ndarray, " latent"]]:
    """Signed permutation of the latents of a second model that fits a first model best.

    Parameters
    ----------
    reference, other : array (sample, latent)
        Latent means of the two models on the same samples.

    Returns
    -------
    permutation, sign : array of int (latent,)
        ``sign * other[:, permutation]`` has the largest sum of absolute correlations with
        ``reference`` among all permutations, and positive ones.

    Raises
    ------
    DataError
        If the shapes differ.
    """
    reference, other = np.asarray(reference, dtype=float), np.asarray(other, dtype=float)
    if reference.shape != other.shape or reference.ndim != 2:
        raise DataError(f"latents of two models must agree, got {reference.shape}, {other.shape}")
    correlation = correlations(reference, other)
    _, permutation = linear_sum_assignment(-np.abs(correlation))
    sign = np.where(correlation[np.arange(len(permutation)), permutation] < 0, -1, 1)
    return permutation, sign


@torch.no_grad()
def signed_permutation(
    model: VAE, permutation: Sequence[int] | np.ndarray, sign: Sequence[int] | np.ndarray
) -> VAE:
    """The same model with its latent axes permuted and signed, by an exact change of parameters.

    Latent i of the new model is ``sign[i]`` times latent ``permutation[i]`` of the old one; the
    decoder undoes this, so rate, distortion and decoded fields are unchanged.

    Parameters
    ----------
    model : VAE
        A :class:`DenseVAE` or :class:`PodVAE` with a prior that the change leaves alone.
    permutation, sign : sequence of int (latent,)
        From :func:`match_latents`.

    Raises
    ------
    DataError
        If the model is of another class, its prior is not a normal one of equal scales, or the
        permutation or the signs are not of its latents.
    """
    n = model.n_latents
    order, signs = torch.as_tensor(permutation), torch.as_tensor(sign)
    if sorted(order.tolist()) != list(range(n)) or not torch.equal(
        signs.abs(), torch.ones(n, dtype=signs.dtype)
    ):
        raise DataError(f"give a permutation of {n} latents and a sign, 1 or -1, for each")
    prior = model.prior
    if (
        not isinstance(prior, GaussianPrior)
        or float(prior.log_variance.max() - prior.log_variance.min()) > 0
    ):
        raise DataError("only an isotropic normal prior is unchanged by permuting and signing axes")
    new = copy.deepcopy(model)
    if isinstance(new, PodVAE):
        head, entrance = _linear(new.encoder.network[-1]), _linear(new.decoder.network[0])
        heads = [(head, 0, True), (head, n, False)]
    elif isinstance(new, DenseVAE):
        trunks = ((new.encoder.mean, True), (new.encoder.log_variance, False))
        heads = [(_linear(trunk[-1]), 0, signed) for trunk, signed in trunks]
        entrance = _linear(new.decoder.mean[0])
    else:
        raise DataError(
            f"latent axes of {type(model).__name__} are not known, only Pod and DenseVAE"
        )
    for layer, first, signed in heads:
        rows = slice(first, first + n)
        factor = signs.to(layer.weight) if signed else torch.ones(n).to(layer.weight)
        layer.weight[rows] = factor[:, None] * layer.weight[rows][order]
        layer.bias[rows] = factor * layer.bias[rows][order]
    entrance.weight.copy_(signs.to(entrance.weight) * entrance.weight[:, order])
    return new


def _linear(module: nn.Module) -> nn.Linear:
    """A layer of a network whose layers torch calls no more than modules."""
    assert isinstance(module, nn.Linear)
    return module


@torch.no_grad()
def match_hidden_units(reference: PodVAE, model: PodVAE, fields: Tensor) -> PodVAE:
    """The second of two PodVAEs with its hidden units permuted to fit the first, exactly.

    Layer by layer, units are paired by the correlation of their activations over the data (the
    decoder's over the reference's latent means). Permuting hidden units changes the parameters
    but not the function, the symmetry behind most barriers between two trained networks.

    Parameters
    ----------
    reference, model : PodVAE
        Of one architecture; match their latents first.
    fields : Tensor (sample, channel, x1, x2)
        Data.

    Returns
    -------
    PodVAE
        The same functions as ``model``.

    References
    ----------
    Ainsworth, Hayase and Srinivasa, Git Re-Basin, ICLR 2023 (activation matching).
    """
    new = copy.deepcopy(model)
    features = reference.features(fields)
    latents = reference.encoder.from_features(features).base_dist.loc
    inputs = {"encoder": features[:, :-1] / reference.encoder.basis.spread[0], "decoder": latents}
    for part, x in inputs.items():
        first, second = getattr(reference, part).network, getattr(new, part).network
        a, b = x, x
        for k in range(0, len(first) - 1, 2):  # linear, activation, linear, activation, ..., linear
            a = first[k + 1](first[k](a))
            b = second[k + 1](second[k](b))
            order = linear_sum_assignment(-correlations(a.double().numpy(), b.double().numpy()))[1]
            order = torch.from_numpy(order)
            second[k].weight.copy_(second[k].weight[order])
            second[k].bias.copy_(second[k].bias[order])
            second[k + 2].weight.copy_(second[k + 2].weight[:, order])
            b = b[:, order]
    return new

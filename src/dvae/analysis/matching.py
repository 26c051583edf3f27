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
from dvae.models.dense import DenseBlock, DenseVAE
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
        head, entrances = _linear(new.encoder.network[-1]), [_linear(new.decoder.network[0])]
        heads = [(head, 0, True), (head, n, False)]
    elif isinstance(new, DenseVAE):
        trunks = ((new.encoder.mean, True), (new.encoder.log_variance, False))
        heads = [(_linear(trunk[-1]), 0, signed) for trunk, signed in trunks]
        networks = [new.decoder.mean, new.decoder.variance_network]
        entrances = [_linear(network[0]) for network in networks if network is not None]
    else:
        raise DataError(
            f"latent axes of {type(model).__name__} are not known, only Pod and DenseVAE"
        )
    for layer, first, signed in heads:
        rows = slice(first, first + n)
        factor = signs.to(layer.weight) if signed else torch.ones(n).to(layer.weight)
        layer.weight[rows] = factor[:, None] * layer.weight[rows][order]
        layer.bias[rows] = factor * layer.bias[rows][order]
    for entrance in entrances:
        entrance.weight.copy_(signs.to(entrance.weight) * entrance.weight[:, order])
    return new


def _linear(module: nn.Module) -> nn.Linear:
    """A layer of a network whose layers torch calls no more than modules."""
    assert isinstance(module, nn.Linear)
    return module


@torch.no_grad()
def match_hidden_units(
    reference: VAE, model: VAE, fields: Float[Tensor, "sample channel x1 x2"]
) -> VAE:
    """The second of two models with its hidden units permuted to fit the first, exactly.

    Layer by layer, units (of a convolution: feature maps) are paired by the correlation of their
    values over the data (the decoder's over the reference's latent means): activations of PodVAE,
    what goes into batch normalisation or a rectifier of DenseVAE. Permuting hidden units changes
    the parameters but not the function, a symmetry behind barriers between trained networks.

    Parameters
    ----------
    reference, model : PodVAE or DenseVAE
        Of one architecture and kind of variance; match their latents first.
    fields : Tensor (sample, channel, x1, x2)
        Data.

    Returns
    -------
    PodVAE or DenseVAE
        The same functions as ``model``, in evaluation mode.

    Raises
    ------
    DataError
        If the models are of another class or of two architectures.

    References
    ----------
    Ainsworth, Hayase and Srinivasa, Git Re-Basin, ICLR 2023 (activation matching).
    """
    shapes = [[p.shape for p in one.parameters()] for one in (reference, model)]
    if type(reference) is not type(model) or shapes[0] != shapes[1]:
        raise DataError("hidden units are matched between two models of one architecture")
    reference, new = copy.deepcopy(reference).eval(), copy.deepcopy(model).eval()
    features = reference.features(fields)
    latents = reference.encoder.from_features(features).base_dist.loc
    for (first, x), (second, _) in zip(
        _networks(reference, features, latents), _networks(new, features, latents), strict=True
    ):
        _match_layers(first, second, x, x, torch.arange(x.shape[1]))
    return new


def _networks(model: VAE, features: Tensor, latents: Tensor) -> list[tuple[nn.Module, Tensor]]:
    """Networks of a model with what goes into them."""
    if isinstance(model, PodVAE):
        inputs = features[:, :-1] / model.encoder.basis.spread[0]
        return [(model.encoder.network, inputs), (model.decoder.network, latents)]
    if isinstance(model, DenseVAE):
        encoder, decoder = model.encoder, model.decoder
        networks = [(encoder.mean, features), (encoder.log_variance, features)]
        others = [decoder.mean, decoder.variance_network]
        return networks + [(one, latents) for one in others if one is not None]
    raise DataError(
        f"hidden units of {type(model).__name__} are not known, only those of PodVAE and DenseVAE"
    )


def _match_layers(
    first: nn.Module, second: nn.Module, a: Tensor, b: Tensor, order: Tensor, inner: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Permute the units of a second network to fit the first; the last ones only if ``inner``.

    ``a`` and ``b`` are what goes into the networks, matched unit by unit; unit i of ``b`` was
    ``order[i]`` when the second network was trained. Returns the same three for what comes out.
    """
    layers = list(zip(_layers(first), _layers(second), strict=True))
    for k, (one, other) in enumerate(layers):
        following = layers[k + 1][0] if k + 1 < len(layers) else None
        if isinstance(one, DenseBlock) and isinstance(other, DenseBlock):
            for p, q in zip(one.layers, other.layers, strict=True):
                grown_a, grown_b, grown = _match_layers(p, q, a, b, order, inner=True)
                order = torch.cat([order, grown + a.shape[1]])
                a, b = torch.cat([a, grown_a], 1), torch.cat([b, grown_b], 1)
            continue
        _take_inputs(other, order)
        maps = a[0, 0].numel() if isinstance(one, nn.Flatten) else 1  # numbers of a unit
        a, b = one(a), other(b)
        if isinstance(one, nn.Flatten):
            order = _every_number(order, maps)
        elif isinstance(one, nn.Unflatten):
            maps = a[0, 0].numel()
            order = order[::maps] // maps
        elif isinstance(other, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
            order = torch.arange(b.shape[1])
            if following is not None or inner:
                order = _fitting(a, b, following)
                _give_outputs(other, order)
                b = b[:, order]
    return a, b, order


def _layers(network: nn.Module) -> list[nn.Module]:
    """Layers of a network in turn, without those that only hold others."""
    if not isinstance(network, nn.Sequential):
        return [network]
    return [layer for part in network for layer in _layers(part)]


def _fitting(a: Tensor, b: Tensor, following: nn.Module | None) -> Int[Tensor, " unit"]:
    """Which units of ``b`` are most like those of ``a``.

    After a smooth activation that follows; before a rectifier, which is 0 for all samples in some
    units.
    """
    maps = 1
    if isinstance(following, nn.Unflatten):
        a, b = following(a), following(b)
        maps = a[0, 0].numel()
    elif isinstance(following, nn.SiLU):
        a, b = following(a), following(b)
    rows = (x.movedim(1, -1).reshape(-1, x.shape[1]).double().numpy() for x in (a, b))
    found = linear_sum_assignment(-correlations(*rows))[1]
    return _every_number(torch.from_numpy(found), maps)


def _every_number(order: Int[Tensor, " unit"], maps: int) -> Int[Tensor, " number"]:
    """An order of units as one of the numbers that they consist of."""
    return (order[:, None] * maps + torch.arange(maps)).flatten()


def _take_inputs(layer: nn.Module, order: Tensor) -> None:
    """Let a layer read its inputs in another order."""
    if isinstance(layer, nn.BatchNorm2d):
        for values in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
            assert values is not None
            values.copy_(values[order])
    elif isinstance(layer, nn.Linear | nn.Conv2d):
        layer.weight.copy_(layer.weight[:, order])
    elif isinstance(layer, nn.ConvTranspose2d):
        layer.weight.copy_(layer.weight[order])


def _give_outputs(layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, order: Tensor) -> None:
    """Let a layer write its outputs in another order."""
    if isinstance(layer, nn.ConvTranspose2d):
        layer.weight.copy_(layer.weight[:, order])
    else:
        layer.weight.copy_(layer.weight[order])
    if layer.bias is not None:
        layer.bias.copy_(layer.bias[order])

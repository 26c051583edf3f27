"""Random directions in the space of a model's parameters (fig. 3, right)."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from dvae.errors import DataError
from dvae.models.vae import VAE

__all__ = ["random_direction"]


def _filters(model: VAE) -> dict[str, int]:
    """Axis that counts the filters of every weight that has filters, by parameter name.

    A filter is what produces one output: a row of a linear layer's weight, an output channel of a
    convolution.
    """
    axes = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            axes[f"{name}.weight"] = 0
        elif isinstance(module, nn.ConvTranspose2d):
            axes[f"{name}.weight"] = 1
    return axes


def random_direction(
    model: VAE, seed: int, normalisation: Literal["norm", "filter"] = "norm"
) -> Float[Tensor, " parameter"]:
    """Random direction in parameter space, scaled to a model.

    Parameters
    ----------
    model : VAE
        Where the direction starts.
    seed : int
        Seed; entries are independent standard normal numbers before they are scaled.
    normalisation : {"norm", "filter"}
        "norm": the direction is as long as the model's vector of parameters. "filter": each filter
        of the direction is as long as the model's filter (Li et al. 2018), where a filter is a
        row of a linear layer's weight or an output channel of a convolution, and everything else
        (biases, batch normalisation, log-variance) does not move.

    Returns
    -------
    Tensor (parameter,)
        Float32, in the order of ``model.parameters()``.

    References
    ----------
    Li et al., Visualizing the loss landscape of neural nets, NeurIPS 2018.
    """
    named = dict(model.named_parameters())
    total = sum(p.numel() for p in named.values())
    drawn = np.random.default_rng(seed).standard_normal(total, dtype=np.float32)
    direction = torch.from_numpy(drawn)
    length = torch.cat([p.detach().flatten().cpu() for p in named.values()]).norm()
    if normalisation == "norm":
        return direction * (length / direction.norm())
    if normalisation != "filter":
        raise DataError(f"normalisation must be 'norm' or 'filter', got {normalisation!r}")
    axes, parts = _filters(model), []
    for (name, parameter), part in zip(
        named.items(), direction.split([p.numel() for p in named.values()]), strict=True
    ):
        part = part.reshape(parameter.shape)
        if name not in axes:
            parts.append(torch.zeros(parameter.numel()))
            continue
        others = [d for d in range(parameter.ndim) if d != axes[name]]
        norms = [
            x.pow(2).sum(others, keepdim=True).sqrt() for x in (parameter.detach().cpu(), part)
        ]
        parts.append((part * norms[0] / norms[1]).flatten())
    return torch.cat(parts)

"""The architecture of a model as a table, read off the model itself (section 4.1)."""

from __future__ import annotations

import pandas as pd
import torch
from torch import nn

from dvae.models.vae import VAE, count_parameters

__all__ = ["layer_table"]


@torch.no_grad()
def layer_table(model: VAE) -> pd.DataFrame:
    """Stages of every network of a model, with the shapes that pass and the parameters they hold.

    One sample is sent through the model while hooks look on; a stage is an entry of a network's
    top level (a dense block is one stage).

    Parameters
    ----------
    model : VAE
        Any model whose networks are ``nn.Sequential``.

    Returns
    -------
    pandas.DataFrame
        A row per stage in the order of the data: ``network`` (such as "encoder.mean"), ``stage``
        (what it is), ``layers`` (number of convolutions and linear layers), ``shape`` (what comes
        out of it, without the sample axis), ``parameters``.
    """
    named = {
        name.replace(".inner.", ".", 1): module  # of a model inside of units
        for name, module in model.named_modules()
        if isinstance(module, nn.Sequential)
    }
    networks = {name: module for name, module in named.items() if name.count(".") == 1}
    rows, hooks = [], []
    for name, network in networks.items():
        for module in network:

            def look(module, _, output, name=name):
                rows.append(
                    {
                        "network": name,
                        "stage": _describe(module),
                        "layers": sum(_is_layer(part) for part in module.modules()),
                        "shape": tuple(output.shape[1:]),
                        "parameters": count_parameters(module),
                    }
                )

            hooks.append(module.register_forward_hook(look))
    was_training = model.training
    try:
        model.eval()
        device = next(model.parameters()).device
        fields = torch.zeros(1, *model.field_shape, dtype=model.field_dtype, device=device)
        model(fields)
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return pd.DataFrame(rows)


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)


def _describe(module: nn.Module) -> str:
    """What a stage is, in words, from its modules."""
    if not isinstance(module, nn.Sequential):
        name = type(module).__name__
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            return _describe_convolution(module)
        words = {"DenseBlock": "dense block", "Linear": "linear", "Flatten": "flatten"}
        return words.get(name, name)
    return ", ".join(
        _describe_convolution(part)
        for part in module.modules()
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d)
    )


def _describe_convolution(module: nn.Conv2d | nn.ConvTranspose2d) -> str:
    kind = "transposed convolution" if isinstance(module, nn.ConvTranspose2d) else "convolution"
    size = " x ".join(map(str, module.kernel_size))
    stride = f", stride {module.stride[0]}" if module.stride[0] > 1 else ""
    return f"{size} {kind}{stride}"

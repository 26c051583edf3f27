"""Sizes that no machine has memory for, or that make no sense, refused before anything is made."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from dvae.errors import DataError
from dvae.memory import check_memory
from dvae.models import VAE, count_parameters
from dvae.training import Ensemble
from dvae.workflow._summary import counted

COPIES = 8  # of the parameters of a member: modules, moments, gradient, and the step itself
BYTES = 4  # of a number in single precision


def check_latents(n_latents: int, n_samples: int, n_values: int) -> None:
    """Raise DataError if there are more latents than samples or values that they could describe."""
    most = min(n_samples, n_values)
    if n_latents > most:
        raise DataError(
            f"{n_latents} latents are more than the "
            f"{counted(n_samples, 'training sample')}, or the varying "
            f"{counted(n_values, 'value')} of a sample; give {most} or fewer"
            + ("; 'dvae inspect' says why so few vary" if n_values < n_latents else "")
        )


def check_kept(shape: tuple[int, ...]) -> None:
    """Raise DataError if all fields of a data set do not fit into the memory that is free."""
    check_memory(
        2 * BYTES * math.prod(shape),  # as they are collected, and joined
        "the fields, all of which the dense model keeps,",
        "use the pod model, which keeps a few coefficients of each",
    )


def check_sizes(template: VAE, members: int, batch_size: int, device: str) -> None:
    """Raise DataError if training so many members does not fit into the memory that is free.

    Parameters
    ----------
    template : VAE
        Model whose members are to be trained.
    members : int
        Number of members.
    batch_size : int
        Samples of a step of each member.
    device : str
        Where a step is computed; what it keeps on a GPU is not counted.
    """
    parameters = count_parameters(template)
    needed = members * parameters * BYTES * COPIES
    if torch.device(device).type == "cpu":
        together = Ensemble([template]).members_per_call or members
        needed += together * batch_size * kept_for_gradient(template)
    check_memory(
        needed,
        f"{members} members of {parameters:,} parameters",
        "train fewer members at a time, with other seeds, or smaller models",
    )


def kept_for_gradient(template: VAE) -> int:
    """Bytes that the loss of one sample keeps until the gradient is computed."""
    model = copy.deepcopy(template).train()  # batch normalisation changes with every batch

    def kept(n_samples: int) -> int:
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        fields = torch.zeros(n_samples, *model.field_shape, dtype=model.field_dtype)
        features = model.features(fields).to(next(model.parameters()).dtype)
        with saved_tensors_hooks(note, lambda tensor: tensor):
            terms = model.loss_terms(features, features.new_zeros(n_samples, model.noise_size))
        assert terms.distortion.requires_grad  # and what it keeps is still there
        return sum(sizes.values())

    return (kept(4) - kept(2)) // 2  # without what does not depend on the samples

"""Saving and loading trained models: safetensors, with the architecture in the file's metadata."""

from __future__ import annotations

import json
import os
from pathlib import Path

from dvae.errors import DataError, ResultError
from dvae.models.dense import DenseVAE
from dvae.models.pod import PodBasis, PodVAE
from dvae.models.units import FieldUnits, UnitsVAE
from dvae.models.vae import VAE
from dvae.tensors import read_tensors, write_tensors

__all__ = ["load_model", "save_model"]

FORMAT = "dvae-model-1"
UNITS = "encoder.units."
SHARED = ("basis", "standardisation", "units")  # of encoder and decoder
KINDS = {"DenseVAE": DenseVAE, "PodVAE": PodVAE}


def save_model(path: str | os.PathLike, model: VAE) -> Path:
    """Write weights and architecture of a :class:`DenseVAE` or :class:`PodVAE`.

    Raises
    ------
    DataError
        If the model is of another class or has a prior that no name describes.
    DvaeError
        If the file cannot be written.
    """
    kind = model.kind if isinstance(model, UnitsVAE) else type(model).__name__
    if kind not in KINDS:
        raise DataError(f"only {', '.join(KINDS)} can be saved, not {kind}")
    if not isinstance(model.configuration["prior"], str):
        raise DataError("a model can be saved only if its prior was given by name")
    metadata = {
        "format": FORMAT,
        "kind": kind,
        "configuration": json.dumps(
            model.configuration | {"variance": model.decoder.variance.kind},
            default=lambda value: value.tolist(),  # numbers and arrays of numpy
        ),
    }
    # a model inside of units is stored as it is without them, beside the units; and what encoder
    # and decoder share once
    shared = tuple(f"decoder.{name}." for name in SHARED)
    named = {name.replace(".inner.", ".", 1): v for name, v in model.state_dict().items()}
    tensors = {name: v for name, v in named.items() if not name.startswith(shared)}
    write_tensors(path, tensors, metadata)
    return Path(path)


def load_model(path: str | os.PathLike) -> VAE:
    """Model written by :func:`save_model`, in evaluation mode.

    Raises
    ------
    ResultError
        If the file is missing, damaged or of another format.
    """
    path = Path(path)
    if not path.is_file():
        raise ResultError(f"{path}: there is no such file; train a model with 'dvae train'")
    tensors, metadata = read_tensors(path)
    units = {k.removeprefix(UNITS): tensors.pop(k) for k in list(tensors) if k.startswith(UNITS)}
    if metadata.get("format") != FORMAT or metadata.get("kind") not in KINDS:
        raise ResultError(f"{path}: not a model file of dvae (format {metadata.get('format')!r})")
    configuration = json.loads(metadata["configuration"])
    variance = configuration.pop("variance")
    if metadata["kind"] == "PodVAE":
        parts = ("mean", "scale", "modes", "spread")
        basis = PodBasis(*(tensors[f"encoder.basis.{part}"] for part in parts))
        model: VAE = PodVAE(basis, **configuration)
    else:
        model = DenseVAE(**configuration)
    model.use_variance(variance)
    shared = tuple(f"encoder.{name}." for name in SHARED)
    tensors |= {
        k.replace("encoder", "decoder", 1): v for k, v in tensors.items() if k.startswith(shared)
    }
    dtype = next(value.dtype for value in tensors.values() if value.is_floating_point())
    try:
        model.to(dtype).load_state_dict(tensors)
    except RuntimeError as error:
        raise ResultError(f"{path}: weights do not fit the architecture: {error}") from error
    return (UnitsVAE(model, FieldUnits(**units)) if units else model).eval()

"""The stored decoders of the latent explorer: arrays as 16-bit integers, and what they decode.

`tools/explorer.py` trains the models and stores them in `book/explorer.json`; a build of the book
trains nothing. The arithmetic here, in double precision from the stored numbers, is that of
`book/_static/explorer.js`.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np

from .chapters import ROOT

__all__ = ["ASSET", "coefficients", "decode", "load", "pack", "unpack"]

ASSET = ROOT / "book" / "explorer.json"
LARGEST = 2**15 - 1  # of a 16-bit integer


def pack(values: np.ndarray) -> dict[str, object]:
    """Return an array as 16-bit integers in base64, with a scale for each entry of its first axis.

    No number is off by more than half its scale.
    """
    values = np.asarray(values, dtype=np.float64)
    scale = np.abs(values).reshape(len(values), -1).max(1) / LARGEST
    scale[scale == 0] = 1.0
    integers = np.rint(values / scale.reshape(-1, *[1] * (values.ndim - 1))).astype("<i2")
    return {
        "shape": list(values.shape),
        "scale": scale.tolist(),
        "int16": base64.b64encode(integers.tobytes()).decode("ascii"),
    }


def unpack(packed: dict) -> np.ndarray:
    """Return the array that `pack` stored, in double precision."""
    integers = np.frombuffer(base64.b64decode(packed["int16"]), "<i2").reshape(packed["shape"])
    return integers * np.reshape(packed["scale"], (-1, *[1] * (integers.ndim - 1)))


def load(path: Path = ASSET) -> dict:
    """Return the stored asset; the arrays of its basis stay packed."""
    return json.loads(path.read_text(encoding="utf-8"))


def coefficients(basis: dict, layers: list[dict], z: np.ndarray) -> np.ndarray:
    """Return the coefficients (sample, mode) of latents: what the network gives times the spread.

    The network has linear layers with SiLU, x / (1 + exp(-x)), between them.
    """
    x = np.asarray(z, dtype=np.float64)
    for i, layer in enumerate(layers):
        x = x @ np.transpose(layer["weight"]) + layer["bias"]
        if i + 1 < len(layers):
            x = x / (1 + np.exp(-x))
    return x * basis["spread"]


def decode(basis: dict, layers: list[dict], z: np.ndarray) -> np.ndarray:
    """Return the decoded fields (sample, channel, x1, x2) of latents (sample, latent).

    The mean field plus, scaled node by node, the sum of modes times coefficients (`dvae.PodVAE`).
    """
    change = np.tensordot(coefficients(basis, layers, z), unpack(basis["modes"]), axes=1)
    return unpack(basis["mean"]) + unpack(basis["node_scale"]) * change

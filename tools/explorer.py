"""Train the models of the page "Move the latents" and store them: book/explorer.json.

    python tools/explorer.py      (or: make explorer; two minutes on one core)

Eight runs of each of three ways to train one PodVAE on the same 512 fields of four-mode factors
(section 5.3 of the paper). Chosen are: of the calibrated recipe without labels the run with the
lowest S_D on test data, to show what entangled means; of the others the first, seed 0. The scores
of all runs are stored beside the chosen ones, and the page shows them.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

import dvae
from bookkit import decoders
from dvae.analysis import are_disentangled, ceiling
from dvae.provenance import provenance

DATA = {"factors": "four-modes", "n_samples": 1024, "seed": 0, "n_nodes": 65}
N_TRAIN = 512
MODEL = {"n_modes": 12, "hidden": (24, 24)}
SEEDS = range(8)
N_LABELS = 8
WAYS = {
    "entangled": {"recipe": "calibrated", "labels": 0},
    "annealed": {"recipe": "annealed", "labels": 0},
    "labelled": {"recipe": "calibrated", "labels": N_LABELS},
}
REFERENCES = [[0.0, 0.0], [1.0, 0.0], [0.0, -1.5], [0.7, 0.9]]  # latents whose fields are stored
EVERY = 8  # nodes between two that are stored of these fields
ABOUT = (
    "Decoders of the page book/explorer.md, made by tools/explorer.py, which says how the runs "
    "were chosen. Arrays are 16-bit integers times a scale for each entry of the first axis "
    "(tools/bookkit/decoders.py); references are fields that the library decoded before that, at "
    "every eighth node."
)


def main() -> None:
    data = dvae.DarcyDataset.generate(**DATA)
    training, test = data.split(N_TRAIN, DATA["n_samples"] - N_TRAIN)
    model = dvae.PodVAE.from_fields(training.fields, **MODEL)
    models = {}
    for name, way in WAYS.items():
        models[name] = train(model, training, test, name, way)
    asset = {
        "about": ABOUT,
        "made": provenance(),
        "data": DATA | {"n_train": N_TRAIN, "ceiling": round(ceiling(test.theta), 4)},
        "limits": limits(test.fields.numpy()),
        "basis": stored_basis(model.decoder.basis),
        "models": models,
    }
    write(asset, decoders.ASSET)
    print(f"{decoders.ASSET.name}: {decoders.ASSET.stat().st_size / 1e6:.2f} MB")


def train(
    model: dvae.PodVAE,
    training: dvae.DarcyDataset,
    test: dvae.DarcyDataset,
    name: str,
    way: dict,
) -> dict:
    """Train the runs of one way and return the chosen one as it is stored."""
    theta_train, theta = training.theta.numpy(), test.theta.numpy()
    labelled = np.arange(way["labels"])
    labels = dvae.Labels(labelled, theta_train[labelled]) if way["labels"] else None
    fit = dvae.fit(model, training, way["recipe"], SEEDS, labels=labels, progress=False)
    latents, _ = (x.numpy() for x in fit.ensemble.encode(test.fields))
    scores = [dvae.disentanglement_score(z, theta) for z in latents]
    chosen = int(np.argmin(scores)) if name == "entangled" else 0
    losses = fit.ensemble.evaluate(test.fields)
    z_train = fit.ensemble.encode(training.fields)[0][chosen].numpy()
    print(f"{name}: seed {SEEDS[chosen]}, S_D of all runs {np.round(scores, 3)}")
    return way | {
        "seed": SEEDS[chosen],
        "scores": np.round(scores, 4).tolist(),
        "disentangled": int(are_disentangled(latents, theta).sum()),
        "loss_per_node": round(float(losses["loss_per_node"][chosen]), 3),
        "relative_error": round(float(losses["relative_error"][chosen]), 6),
        "layers": stored_layers(fit.models[chosen].decoder.network),
        "latents": np.round(latents[chosen].astype(float), 3).tolist(),
        "map": linear_map(z_train, theta_train, latents[chosen], theta),
        "references": references(fit.models[chosen]),
    }


def linear_map(
    z_train: np.ndarray, theta_train: np.ndarray, z: np.ndarray, theta: np.ndarray
) -> dict:
    """Least squares from latents to factors on training data, and what it explains of test data."""
    with_one = np.column_stack([np.ones(len(z_train)), z_train])
    offset, *matrix = np.linalg.lstsq(with_one, theta_train, rcond=None)[0]
    matrix = np.transpose(matrix)
    left = (theta - offset - z @ matrix.T).var(0) / theta.var(0)
    return {
        "matrix": np.round(matrix.astype(float), 4).tolist(),
        "offset": np.round(offset.astype(float), 4).tolist(),
        "explained": np.round(1 - left.astype(float), 4).tolist(),
    }


def limits(fields: np.ndarray) -> list[list[float]]:
    """Scales of colours, one for each channel: all but the outermost half per mille of values.

    The pressure's is symmetric and the velocities share theirs, which begins at 0.
    """
    low, high = np.percentile(fields, [0.05, 99.95], axis=(0, 2, 3))
    pressure = round(float(max(-low[0], high[0])), 2)
    velocity = round(float(high[1:].max()), 2)
    return [[-pressure, pressure], [0.0, velocity], [0.0, velocity]]


def stored_basis(basis: dvae.PodBasis) -> dict:
    """Mean field, node scales and modes as integers; spreads of the coefficients as they are."""
    return {
        "n_nodes": basis.mean.shape[-1],
        "spread": exactly(basis.spread),
        "mean": decoders.pack(basis.mean.numpy()),
        "node_scale": decoders.pack(basis.scale.numpy()[None]),
        "modes": decoders.pack(basis.modes.numpy()),
    }


def stored_layers(network: torch.nn.Sequential) -> list[dict]:
    """Weights and biases of the linear layers."""
    linear = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    return [{"weight": exactly(one.weight), "bias": exactly(one.bias)} for one in linear]


def references(model: dvae.PodVAE) -> dict:
    """What the library decodes at a few latents, at some of the nodes."""
    with torch.no_grad():
        fields = model.decoder(torch.tensor(REFERENCES)).mean[..., ::EVERY, ::EVERY]
    return {"z": REFERENCES, "every": EVERY, "fields": exactly(fields)}


def exactly(values: torch.Tensor) -> list:
    """Single-precision numbers with the nine digits that give them back."""
    array = values.detach().numpy()
    digits = [float(f"{value:.9g}") for value in array.ravel()]
    return np.reshape(digits, array.shape).tolist()


def write(asset: dict, path: Path) -> None:
    """Write JSON with one part of the asset in a line."""
    lines = [f"{json.dumps(name)}: {json.dumps(part)}" for name, part in asset.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

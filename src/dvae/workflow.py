"""From a file of fields to trained models, scores and figures: what ``dvae train`` runs."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float
from matplotlib.figure import Figure, FigureBase

from dvae import plotting
from dvae.analysis import (
    ceiling,
    disentanglement_score,
    mean_correlation_coefficient,
    score_runs,
    shape_score,
    total_correlation,
)
from dvae.conventions import OVER_REGULARISED
from dvae.errors import DataError
from dvae.models import VAE, DenseVAE, PodVAE, save_model
from dvae.physics import FieldDataset
from dvae.provenance import provenance
from dvae.storage import atomic_path
from dvae.training import Fit, Recipe, fit, make_recipe
from dvae.training.ensemble import check_device
from dvae.training.split import Split, split_samples

__all__ = ["train_file"]

MIN_SCORED = 32  # test samples below which no score is computed
POD_MODES, POD_HIDDEN = 40, (64, 64)
CHANNEL_RATIO = 30.0  # spread of two channels above which the summary warns


def train_file(
    data: str | os.PathLike,
    output: str | os.PathLike = "trained",
    *,
    model: Literal["pod", "dense"] = "pod",
    prior: str = "standard",
    recipe: str = "annealed",
    n_latents: int = 2,
    members: int = 1,
    seed: int = 0,
    steps: int | None = None,
    test_fraction: float = 0.2,
    label_fraction: float = 0.0,
    labels: str | os.PathLike | None = None,
    raw_labels: bool = False,
    orientation: Literal["ij", "reference"] | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Train VAEs on a file of fields, score them, and store models, results and figures.

    Everything is checked before training starts. A run that was interrupted goes on from its
    checkpoint when called again with the same arguments, and one that is complete is not repeated.

    Parameters
    ----------
    data : path-like
        HDF5 file for :meth:`dvae.FieldDataset.load`: ``output`` (N, C, n1, n2), any number of
        channels and any grid (``model="dense"`` needs a square grid with an odd number of nodes),
        and optionally ``generative_params`` (N, s).
    output : path-like
        Folder to write to.
    model : {"pod", "dense"}
        Architecture.
    prior, recipe : str
        See :func:`dvae.make_prior` and :func:`dvae.make_recipe`.
    n_latents : int
        Latent variables n.
    members : int
        Models with different seeds.
    seed : int
        Seed of the first model, of the split and of the choice of labelled samples.
    steps : int, optional
        Length of training; the recipe's phases are shortened or stretched alike.
    test_fraction : float
        Share of samples kept for losses and scores.
    label_fraction : float
        Share of training samples whose ``generative_params`` are used (eq. 28), the same ones for
        every member.
    labels : path-like, optional
        CSV file of labelled samples instead (:func:`dvae.training.split.load_labels`); they go to
        the training data.
    raw_labels : bool
        Labels as they are, as in the paper, whose factors have about the prior's mean and
        variance; otherwise standardised by the labelled samples.
    orientation : {"ij", "reference"}, optional
        How the fields lie in the file, see :meth:`dvae.FieldDataset.load`; by default as the
        file's attribute says, and without one as they are. The summary says which.
    device : str
        "cpu" or "cuda".
    progress : bool
        Show progress bars.

    Returns
    -------
    str
        Summary for people, also in ``output/summary.txt``. Beside it: ``models/*.safetensors``
        (:func:`dvae.load_model`), ``scores.csv``, ``history.nc``, ``latents.nc``, figures as PNG,
        and ``settings.json``.

    Raises
    ------
    DataError
        If data, labels or arguments do not fit, or ``output`` holds a run with other arguments.
    UnknownNameError
        If a prior or recipe is unknown.
    DeviceError
        If the device is not there.
    """
    output = Path(output)
    check_device(device)
    fields = FieldDataset.load(data, orientation=orientation)
    chosen = _recipe(recipe, steps)
    if members < 1:
        raise DataError(f"members must be at least 1, got {members}")
    split = split_samples(
        fields,
        n_latents,
        seed=seed,
        test_fraction=test_fraction,
        label_fraction=label_fraction,
        labels=labels,
        raw_labels=raw_labels,
    )
    template = _template(model, fields.fields[split.training], n_latents, prior)
    settings = {
        "data": _file_digest(data),
        "orientation": orientation,
        "labels": None if labels is None else _file_digest(labels),
        "model": model,
        "prior": prior,
        "recipe": recipe,
        "n_latents": n_latents,
        "members": members,
        "seed": seed,
        "steps": chosen.steps,
        "test_fraction": test_fraction,
        "label_fraction": label_fraction,
        "raw_labels": raw_labels,
    }
    summary = output / "summary.txt"
    if not _claim(output / "settings.json", settings) and summary.exists():
        return summary.read_text(encoding="utf-8")
    seeds = range(seed, seed + members)
    training = fields.fields[split.training]
    result = _train(template, training, chosen, seeds, split, output, device, progress)
    text = _store(output, result, fields, split, device)
    _write_text(summary, text)
    return text


# --------------------------------------------------------------------------- before training


def _recipe(name: str, steps: int | None) -> Recipe:
    """A recipe, shortened or stretched to some number of steps."""
    recipe = make_recipe(name)
    if steps is None:
        return recipe
    if steps < 1:
        raise DataError(f"steps must be at least 1, got {steps}")
    return recipe.shortened(steps / recipe.steps)


def _template(model: str, fields: torch.Tensor, n_latents: int, prior: str) -> VAE:
    if n_latents < 1:
        raise DataError(f"latents must be at least 1, got {n_latents}")
    if model == "pod":
        return PodVAE.from_fields(
            fields,
            POD_MODES,
            hidden=POD_HIDDEN,
            n_latents=n_latents,
            prior=prior,
        )
    if model != "dense":
        raise DataError(f"model must be 'pod' or 'dense', got {model!r}")
    n1, n2 = fields.shape[-2:]
    if n1 != n2:
        raise DataError(f"the dense model needs a square grid, got {n1} x {n2}; use the pod model")
    return DenseVAE(n_nodes=n1, channels=fields.shape[1], n_latents=n_latents, prior=prior)


def _train(
    template: VAE,
    fields: torch.Tensor,
    recipe: Recipe,
    seeds: range,
    split: Split,
    output: Path,
    device: str,
    progress: bool,
) -> Fit:
    """Trained members, of which one or more did not diverge."""
    result = fit(
        template,
        fields,
        recipe,
        seeds,
        labels=split.labels,
        device=device,
        progress=progress,
        checkpoint=output / "training.checkpoint",
    )
    if result.diverged.all():
        raise DataError(
            "every model met a loss that is not finite; shorten the range of the fields, or try "
            "another recipe or seed"
        )
    return result


def _file_digest(path: str | os.PathLike) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _claim(path: Path, settings: dict[str, Any]) -> bool:
    """Write the settings of a run to its folder; False if they are there already."""
    if path.exists():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"{path} is damaged ({error}); choose another output folder") from error
        changed = [key for key in settings if stored.get(key) != settings[key]]
        if changed:
            raise DataError(
                f"{path.parent} holds a run with other {', '.join(changed)}; "
                "choose another output folder, or remove that one"
            )
        return False
    _write_text(path, json.dumps(settings, indent=2) + "\n")
    return True


# ---------------------------------------------------------------------------- after training


def _store(output: Path, result: Fit, fields: FieldDataset, split: Split, device: str) -> str:
    """Write models, scores, latents and figures; what to tell about them."""
    scores, latents = _score(result, fields, split)
    for i, member in enumerate(result.models):
        save_model(output / "models" / f"member_{i:03d}.safetensors", member)
    _write_netcdf(output / "history.nc", result.history.assign_attrs(provenance(device)))
    _write_netcdf(output / "latents.nc", latents.assign_attrs(provenance(device)))
    _write_text(output / "scores.csv", scores.to_csv(index=False, float_format="%.6g"))
    best = int(scores["loss_per_node"].where(~scores["diverged"]).idxmin())
    _figures(output, result, fields, latents, best)
    return _summary(output, fields, result, scores, split, best)


def _score(result: Fit, fields: FieldDataset, split: Split) -> tuple[pd.DataFrame, xr.Dataset]:
    """Losses and scores per member on the test samples, and the latents of all samples."""
    ensemble, test = result.ensemble, split.test
    losses = ensemble.evaluate(fields.fields[test]).to_dataframe().reset_index(drop=True)
    mean, scale = (x.numpy() for x in ensemble.encode(fields.fields))
    table = losses.assign(member=range(len(losses)), seed=result.seeds, diverged=result.diverged)
    table["over_regularised"] = table["rate"] < OVER_REGULARISED
    enough = len(test) >= MIN_SCORED
    table["total_correlation"] = score_runs(total_correlation, mean[:, test]) if enough else np.nan
    if fields.theta is not None and enough:
        theta = fields.theta.double().numpy()[test]
        # factors in their own units would be weighed by their spread (eq. 6)
        theta = (theta - theta.mean(0)) / theta.std(0)
        table["s_d"] = score_runs(disentanglement_score, mean[:, test], theta)
        table["s_d_ceiling"] = ceiling(theta)
        table["mcc"] = score_runs(mean_correlation_coefficient, mean[:, test], theta)
        if theta.shape[1] == mean.shape[2]:
            table["s_kl"] = score_runs(_shape_score, mean[:, test], theta)
    first = ["member", "seed", "diverged", "over_regularised"]
    return table[first + [c for c in table if c not in first]], _latents(
        result, fields, split, mean, scale
    )


def _latents(
    result: Fit,
    fields: FieldDataset,
    split: Split,
    mean: Float[np.ndarray, "member sample latent"],
    scale: Float[np.ndarray, "member sample latent"],
) -> xr.Dataset:
    """Latents of all samples with their roles, and what is known of the factors."""
    role = np.full(len(fields), "training")
    role[split.test] = "test"
    latents = xr.Dataset(
        {
            "latent_mean": (("member", "sample", "latent"), mean),
            "latent_scale": (("member", "sample", "latent"), scale),
        },
        coords={"role": ("sample", role), "seed": ("member", list(result.seeds))},
    )
    if split.labels and split.scaling:
        labelled = np.zeros(len(fields), dtype=np.int8)
        labelled[split.training[split.labels.index]] = 1
        latents["labelled"] = ("sample", labelled)
        latents.attrs |= {"label_shift": split.scaling.shift, "label_scale": split.scaling.scale}
    if fields.theta is not None:
        latents["theta"] = (("sample", "factor"), fields.theta.double().numpy())
    return latents


def _shape_score(z: np.ndarray, theta: np.ndarray) -> float:
    """S_KL, or NaN where values repeat, as on a grid: they have no density to compare."""
    try:
        return shape_score(z, theta)
    except DataError:
        return float("nan")


def _figures(
    output: Path, result: Fit, fields: FieldDataset, latents: xr.Dataset, best: int
) -> None:
    model = result.models[best]
    plotting.use_style()
    figures: dict[str, FigureBase] = {"history": plotting.plot_history(result.history)}
    chosen = latents.isel(member=best)
    test = np.flatnonzero(chosen["role"].values == "test")
    truth = fields.fields[test[:1]]
    with torch.no_grad():
        mean = model.decoder(model.encoder(truth).base_dist.loc).base_dist.loc
    figures["reconstruction"] = plotting.plot_reconstruction(
        truth[0], mean[0], channels=[f"channel {i + 1}" for i in range(truth.shape[1])]
    )
    z, scale = chosen["latent_mean"].values, chosen["latent_scale"].values
    train = chosen["role"].values == "training"
    if fields.theta is not None:
        theta = fields.theta.numpy()
        pair = z[train], theta[train]
        figures["latents"] = plotting.plot_latents(*pair, test=(z[test], theta[test], scale[test]))
    if z.shape[1] == 2:
        groups = {"q(z), training": z[train], "q(z), test": z[test]}
        figures["distributions"] = plotting.plot_distributions(groups, symbols=("$z_1$", "$z_2$"))
    for name, figure in figures.items():
        assert isinstance(figure, Figure)  # not a part of one: none was given
        with atomic_path(output / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png")


def _write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_netcdf(path: Path, data: xr.Dataset) -> None:
    with atomic_path(path) as temporary:
        data.to_netcdf(temporary, engine="h5netcdf")


def _summary(
    output: Path,
    fields: FieldDataset,
    result: Fit,
    scores: pd.DataFrame,
    split: Split,
    best: int,
) -> str:
    """What a run tells people."""
    n, channels, n1, n2 = fields.fields.shape
    recipe = result.recipe
    columns = ["member", "seed", "rate", "distortion", "relative_error"]
    columns += [c for c in ("s_d", "s_d_ceiling", "mcc", "s_kl") if c in scores]
    lines = [
        f"{n} samples of {channels} fields on {n1} x {n2} nodes; "
        f"{len(scores)} models, recipe {recipe.name}, {recipe.steps} steps, {result.seconds:.1f} s",
        "test data, rate and distortion in nats per sample:",
        scores[columns].to_string(index=False, float_format=lambda v: f"{v:.4g}"),
        fields.orientation_note,
    ]
    if split.labels and split.scaling:
        lines.append(f"{len(split.labels.index)} labelled samples (eq. 28)")
        pairs = zip(split.scaling.scale, split.scaling.shift, strict=True)
        parts = [f"{s:.4g} z{i} {m:+.4g}" for i, (s, m) in enumerate(pairs, 1)]
        lines.append("factors from latents: " + ", ".join(parts))
    lines += _notes(fields, scores)
    lines += [
        f"lowest loss: member {best}; the figures show it",
        f"wrote {output}: models/, scores.csv, history.nc, latents.nc, *.png",
    ]
    return "\n".join(lines)


def _notes(fields: FieldDataset, scores: pd.DataFrame) -> list[str]:
    """What deserves attention in the data and the models."""
    lines = []
    spread = (fields.fields - fields.fields.mean(0)).double().pow(2).mean((0, 2, 3)).sqrt()
    ratio = float(spread.max() / spread.min().clamp_min(1e-300))
    if ratio > CHANNEL_RATIO:
        small, large = int(spread.argmin()) + 1, int(spread.argmax()) + 1
        lines.append(
            f"note: channel {small} varies {ratio:.2g} times less than channel {large} and hardly "
            "counts in the likelihood; bring channels to one scale first if each matters"
        )
    flags = {
        "diverged (left as they were before)": scores["diverged"],
        "over-regularised (they ignore the data; try the annealed recipe)": scores[
            "over_regularised"
        ],
    }
    lines += [
        f"{flag.sum()} of {len(scores)} models {text}" for text, flag in flags.items() if flag.any()
    ]
    if fields.theta is None:
        lines.append("no factors in the file: nothing to score disentanglement against")
    return lines

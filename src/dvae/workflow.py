"""From a file of fields to trained models, scores and figures: what ``dvae train`` runs."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Float, Int

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
from dvae.physics import DarcyDataset
from dvae.provenance import provenance
from dvae.storage import atomic_path
from dvae.training import Fit, Labels, Recipe, fit, make_recipe
from dvae.training.ensemble import check_device

__all__ = ["load_labels", "train_file"]

MIN_SCORED = 32  # test samples below which no score is computed
POD_MODES, POD_HIDDEN = 40, (64, 64)
CHANNEL_RATIO = 30.0  # spread of two channels above which the summary warns


@dataclass(frozen=True)
class _Scaling:
    """Factors as the encoder sees them: (theta - shift) / scale."""

    shift: Float[np.ndarray, " factor"]
    scale: Float[np.ndarray, " factor"]

    @classmethod
    def of(cls, theta: Float[np.ndarray, "labelled factor"], raw: bool) -> _Scaling:
        """Standardisation by the labelled samples; none if ``raw``."""
        if raw:
            return cls(np.zeros(theta.shape[1]), np.ones(theta.shape[1]))
        scale = theta.std(0)
        if len(theta) < 2 or not (scale > 0).all():
            raise DataError(
                "labels are standardised by their own mean and spread, which takes two labelled "
                "samples or more with different values of every factor; label more samples, or "
                "use --raw-labels if the factors have about zero mean and unit variance"
            )
        return cls(theta.mean(0), scale)

    def __call__(self, theta: Float[np.ndarray, "sample factor"]) -> np.ndarray:
        return (theta - self.shift) / self.scale


def load_labels(
    path: str | os.PathLike, n_samples: int, n_latents: int
) -> tuple[Int[np.ndarray, " labelled"], Float[np.ndarray, "labelled latent"]]:
    """Read labelled samples from a CSV file and check them.

    The first line is a header. The first column is ``sample``: the position (from 0) of the sample
    in the data file. One column for every latent variable follows, with the factors.

    Parameters
    ----------
    path : path-like
        CSV file.
    n_samples : int
        Samples in the data file.
    n_latents : int
        Latent variables, and so factors, expected.

    Returns
    -------
    tuple of ndarray
        Positions (l,) and factors (l, n).

    Raises
    ------
    DataError
        If the file is missing or no such table, or holds another number of factors, a position
        outside the data or twice, or a value that is not a finite number; naming the line.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"labels {path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"labels {path} are not a CSV text file: {error}") from error
    if not rows or rows[0][0].strip() != "sample":
        raise DataError(
            f"labels {path}: the first line must be a header that begins with 'sample', such as "
            f"'sample,{','.join(f'theta{i + 1}' for i in range(n_latents))}'"
        )
    if len(rows[0]) != n_latents + 1:
        raise DataError(
            f"labels {path} have {len(rows[0]) - 1} factors but the model {n_latents} latent "
            "variables; labels need one factor for each: change --latents or the file"
        )
    if not 1 <= len(rows) - 1 <= n_samples:
        raise DataError(
            f"labels {path} hold {len(rows) - 1} samples, but the data file {n_samples}; "
            "give one line for each labelled sample"
        )
    index, theta = [], []
    for number, row in enumerate(rows[1:], 2):
        try:
            if len(row) != n_latents + 1:
                raise ValueError(f"{len(row)} values where {n_latents + 1} are needed")
            position, values = int(row[0]), [float(cell) for cell in row[1:]]
            if not np.isfinite(values).all():
                raise ValueError("a factor is not finite")
            if not 0 <= position < n_samples:
                raise ValueError(f"sample {position} is not in 0..{n_samples - 1}")
            if position in index:
                raise ValueError(f"sample {position} is labelled twice")
        except ValueError as error:
            raise DataError(f"labels {path}, line {number}: {error}; mend or drop it") from error
        index.append(position)
        theta.append(values)
    return np.array(index), np.array(theta)


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
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Train VAEs on a file of fields, score them, and store models, results and figures.

    Everything is checked before training starts. A run that was interrupted goes on from its
    checkpoint when called again with the same arguments, and one that is complete is not repeated.

    Parameters
    ----------
    data : path-like
        HDF5 file for :meth:`dvae.DarcyDataset.load`: ``output`` (N, C, n1, n2), any number of
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
        CSV file of labelled samples instead (:func:`load_labels`); they go to the training data.
    raw_labels : bool
        Labels as they are, as in the paper, whose factors have about the prior's mean and
        variance; otherwise standardised by the labelled samples.
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
    fields = DarcyDataset.load(data)
    chosen = make_recipe(recipe)
    if steps is not None:
        if steps < 1:
            raise DataError(f"steps must be at least 1, got {steps}")
        chosen = chosen.shortened(steps / chosen.steps)
    if members < 1:
        raise DataError(f"members must be at least 1, got {members}")
    training, test, given, scaling = _prepare(
        fields, seed, n_latents, test_fraction, label_fraction, labels, raw_labels
    )
    template = _template(model, fields.fields[training], n_latents, prior)
    settings = {
        "data": _file_digest(data),
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
    result = fit(
        template,
        fields.fields[training],
        chosen,
        range(seed, seed + members),
        labels=given,
        device=device,
        progress=progress,
        checkpoint=output / "training.checkpoint",
    )
    if result.diverged.all():
        raise DataError(
            "every model met a loss that is not finite; shorten the range of the fields, or try "
            "another recipe or seed"
        )
    scores, latents = _score(result, fields, training, test, given, scaling)
    for i, one in enumerate(result.models):
        save_model(output / "models" / f"member_{i:03d}.safetensors", one)
    _write_netcdf(output / "history.nc", result.history.assign_attrs(provenance(device)))
    _write_netcdf(output / "latents.nc", latents.assign_attrs(provenance(device)))
    _write_text(output / "scores.csv", scores.to_csv(index=False, float_format="%.6g"))
    best = int(scores["loss_per_node"].where(~scores["diverged"]).idxmin())
    _figures(output, result, fields, latents, best)
    text = _summary(output, fields, chosen, scores, given, scaling, best, result.seconds)
    _write_text(summary, text)
    return text


# --------------------------------------------------------------------------- before training


def _prepare(fields, seed, n_latents, test_fraction, label_fraction, labels, raw_labels):
    """Training and test positions, the labels (or None), and their scaling."""
    n = len(fields)
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    if not 0 <= label_fraction <= 1:
        raise DataError(f"label_fraction must lie in [0, 1], got {label_fraction}")
    n_test = round(test_fraction * n)
    if n_test < 1 or n - n_test < 4:
        raise DataError(f"{n} samples are too few to train and to test with {test_fraction:g} kept")
    if labels is not None and label_fraction:
        raise DataError("give a file of labels or a fraction of the file's own factors, not both")
    index, theta = np.empty(0, int), np.empty((0, n_latents))
    if labels is not None:
        index, theta = load_labels(labels, n, n_latents)
    elif label_fraction:
        if fields.theta is None:
            raise DataError(
                "label_fraction needs the factors of the samples, but the file has no key "
                "'generative_params'; add it, or give --labels"
            )
        if fields.theta.shape[1] != n_latents:
            raise DataError(
                f"the file has {fields.theta.shape[1]} factors but the model {n_latents} latent "
                "variables; labels need one factor for each: change --latents"
            )
    # labelled samples of a file go to the training data, the others are shuffled
    order = np.random.default_rng(seed).permutation(n)
    order = np.concatenate([index, order[~np.isin(order, index)]]).astype(int)
    training, test = np.sort(order[: n - n_test]), np.sort(order[n - n_test :])
    if len(index) > len(training):
        raise DataError(
            f"{len(index)} of {n} samples are labelled, which leaves fewer than {n_test} for the "
            "test; lower --test-fraction"
        )
    if labels is not None:
        scaling = _Scaling.of(theta, raw_labels)
        return training, test, Labels(np.searchsorted(training, index), scaling(theta)), scaling
    if not label_fraction:
        return training, test, None, None
    count = max(1, round(label_fraction * len(training)))
    theta = fields.theta.double().numpy()[training]
    drawn = np.random.default_rng([seed, 1]).choice(len(training), count, replace=False)
    scaling = _Scaling.of(theta[drawn], raw_labels)
    return training, test, Labels(drawn, scaling(theta[drawn])), scaling


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


def _score(
    result: Fit,
    fields: DarcyDataset,
    training: np.ndarray,
    test: np.ndarray,
    given: Labels | None,
    scaling: _Scaling | None,
) -> tuple[pd.DataFrame, xr.Dataset]:
    """Losses and scores per member on the test samples, and the latents of all samples."""
    ensemble = result.ensemble
    losses = ensemble.evaluate(fields.fields[test]).to_dataframe().reset_index(drop=True)
    mean, scale = (x.numpy() for x in ensemble.encode(fields.fields))
    table = losses.assign(member=range(len(losses)), seed=result.seeds, diverged=result.diverged)
    table["over_regularised"] = table["rate"] < OVER_REGULARISED
    enough = len(test) >= MIN_SCORED
    table["total_correlation"] = score_runs(total_correlation, mean[:, test]) if enough else np.nan
    role = np.full(len(fields), "training")
    role[test] = "test"
    latents = xr.Dataset(
        {
            "latent_mean": (("member", "sample", "latent"), mean),
            "latent_scale": (("member", "sample", "latent"), scale),
        },
        coords={"role": ("sample", role), "seed": ("member", list(result.seeds))},
    )
    if given is not None:
        labelled = np.zeros(len(fields), dtype=np.int8)
        labelled[training[given.index]] = 1
        latents["labelled"] = ("sample", labelled)
        latents.attrs |= {"label_shift": scaling.shift, "label_scale": scaling.scale}
    if fields.theta is not None:
        theta = fields.theta.double().numpy()
        latents["theta"] = (("sample", "factor"), theta)
        if enough:
            # factors in their own units would be weighed by their spread (eq. 6)
            theta = (theta[test] - theta[test].mean(0)) / theta[test].std(0)
            table["s_d"] = score_runs(disentanglement_score, mean[:, test], theta)
            table["s_d_ceiling"] = ceiling(theta)
            table["mcc"] = score_runs(mean_correlation_coefficient, mean[:, test], theta)
            if theta.shape[1] == mean.shape[2]:
                table["s_kl"] = score_runs(_shape_score, mean[:, test], theta)
    first = ["member", "seed", "diverged", "over_regularised"]
    return table[first + [c for c in table if c not in first]], latents


def _shape_score(z: np.ndarray, theta: np.ndarray) -> float:
    """S_KL, or NaN where values repeat, as on a grid: they have no density to compare."""
    try:
        return shape_score(z, theta)
    except DataError:
        return float("nan")


def _figures(
    output: Path, result: Fit, fields: DarcyDataset, latents: xr.Dataset, best: int
) -> None:
    model = result.models[best]
    plotting.use_style()
    figures = {"history": plotting.plot_history(result.history)}
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
    fields: DarcyDataset,
    recipe: Recipe,
    scores: pd.DataFrame,
    given: Labels | None,
    scaling: _Scaling | None,
    best: int,
    seconds: float,
) -> str:
    n, channels, n1, n2 = fields.fields.shape
    columns = ["member", "seed", "rate", "distortion", "relative_error"]
    columns += [c for c in ("s_d", "s_d_ceiling", "mcc", "s_kl") if c in scores]
    lines = [
        f"{n} samples of {channels} fields on {n1} x {n2} nodes; "
        f"{len(scores)} models, recipe {recipe.name}, {recipe.steps} steps, {seconds:.1f} s",
        "test data, rate and distortion in nats per sample:",
        scores[columns].to_string(index=False, float_format=lambda v: f"{v:.4g}"),
    ]
    if given is not None:
        lines.append(f"{len(given.index)} labelled samples (eq. 28)")
        pairs = zip(scaling.scale, scaling.shift, strict=True)
        parts = [f"{s:.4g} z{i} {m:+.4g}" for i, (s, m) in enumerate(pairs, 1)]
        lines.append("factors from latents: " + ", ".join(parts))
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
    lines += [
        f"lowest loss: member {best}; the figures show it",
        f"wrote {output}: models/, scores.csv, history.nc, latents.nc, *.png",
    ]
    return "\n".join(lines)

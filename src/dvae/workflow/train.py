"""``train_file``: check a file and the settings, train, and keep everything that comes out."""

from __future__ import annotations

import functools
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from dvae.analysis import latent_information
from dvae.conventions import IN_USE
from dvae.errors import DataError, DvaeError, UnknownNameError
from dvae.models import VAE, DenseVAE, FieldUnits, PodBasis, PodVAE, UnitsVAE, save_model
from dvae.outputs import CHECKPOINT, SETTINGS, model_path, run_files
from dvae.physics import FieldDataset
from dvae.physics.arrays import SEEDS
from dvae.physics.samples import Samples
from dvae.provenance import provenance
from dvae.reading.layout import ChannelAxis, split_names
from dvae.threads import one_thread
from dvae.training import RECIPES, Fit, Recipe, Spectrum, elbo_recipe, fit, make_recipe
from dvae.training.ensemble import check_device
from dvae.training.split import Split, split_samples
from dvae.workflow._fields import describe
from dvae.workflow._figures import draw_figures, figure_names
from dvae.workflow._findings import describe_factors, describe_fields, describe_test
from dvae.workflow._limits import check_kept, check_latents, check_sizes
from dvae.workflow._outputs import Outputs, write_text
from dvae.workflow._scores import (
    MIN_SCORED,
    losses,
    lost_losses,
    lowest_loss,
    make_latents,
    score_models,
    scored_factors,
)
from dvae.workflow._settings import claim, factor_settings, file_digest
from dvae.workflow._stored import lost_files, restore
from dvae.workflow._summary import make_summary

__all__ = ["train_file"]

POD_MODES, POD_HIDDEN = 40, (64, 64)
LABELLING = ("labels", "label_fraction", "raw_labels")  # settings that say what is labelled


def train_file(
    data: str | os.PathLike,
    output: str | os.PathLike = "trained",
    *,
    model: Literal["pod", "dense"] = "pod",
    prior: str = "standard",
    recipe: str = "elbo",
    beta: float | None = None,
    n_latents: int = 2,
    members: int = 1,
    seed: int = 0,
    steps: int | None = None,
    test_fraction: float = 0.2,
    label_fraction: float = 0.0,
    labels: str | os.PathLike | None = None,
    raw_labels: bool = False,
    fields: str | Sequence[str] | None = None,
    factors: str | Sequence[str] | None = None,
    channels: ChannelAxis | None = None,
    orientation: Literal["ij", "reference"] | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> str:
    """Train VAEs on a file of fields, score them, and store models, results and figures.

    Everything is checked before training starts. A run that was interrupted goes on from its
    checkpoint when called again with the same arguments, and one that is complete is not repeated:
    what was lost of it is made again, from the models if they are there.

    Parameters
    ----------
    data : path-like
        File for :meth:`dvae.FieldDataset.load`, in any of its formats: fields (N, C, n1, n2), any
        number of channels in any units and any grid (``model="dense"`` needs a square grid with an
        odd number of nodes), and optionally factors (N, s). Values that are missing (NaN) at the
        same place in every sample, and values that never vary, are left out of the loss.
    output : path-like
        Folder to write to.
    model : {"pod", "dense"}
        Architecture.
    prior : str
        See :func:`dvae.make_prior`.
    recipe : str
        "elbo" for the loss of eq. 5 with beta = 1 per sample (:func:`dvae.elbo_recipe`),
        or a recipe of the paper's experiments (:func:`dvae.make_recipe`), whose beta is per node.
    beta : float, optional
        Weight of the rate per sample (eq. 5) instead of the recipe's.
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
        Share of training samples whose factors are used (eq. 28), the same ones for every member.
    labels : path-like, optional
        CSV file of labelled samples instead (:func:`dvae.training.split.load_labels`); they go to
        the training data.
    raw_labels : bool
        Labels as they are, as in the paper, whose factors have about the prior's mean and
        variance; otherwise standardised by the labelled samples.
    fields, factors, channels, orientation : optional
        Which arrays of the file are fields and factors, and how they lie: see
        :meth:`dvae.FieldDataset.load`. The summary says what was done.
    device : str
        "cpu" or "cuda".
    progress : bool
        Show progress bars.

    Returns
    -------
    str
        Summary for people, also in ``output/summary.txt``. Beside it: ``models/*.safetensors``
        (:func:`dvae.load_model`), ``scores.csv``, ``history.nc``, ``latents.nc``, figures as PNG,
        and ``settings.json``. :func:`dvae.load_run` goes on from there.

    Raises
    ------
    DataError
        If data, labels or arguments do not fit, or ``output`` holds a run with other arguments.
    UnknownNameError
        If a prior or recipe is unknown.
    DeviceError
        If the device is not there.

    Warns
    -----
    UserWarning
        If parts of a finished run are lost or damaged; says whether it has to be trained again.
    """
    if not os.fspath(output):
        raise DataError("the output folder has no name; leave the option out for 'trained'")
    output = Path(output)
    if not isinstance(data, str | os.PathLike):
        raise DataError(
            f"train_file reads a file, not {type(data).__name__}; save an array with numpy.save, "
            "or train on it with dvae.fit"
        )
    check_device(device)
    reading: dict[str, Any] = {
        "fields": split_names(fields) or None,
        "channels": channels,
        "orientation": orientation,
    }
    loaded = FieldDataset.load(data, **reading, factors=factors, exact=True, progress=progress)
    if n_latents < 1:
        raise DataError(f"latents must be at least 1, got {n_latents}")
    if members < 1:
        raise DataError(f"members must be at least 1, got {members}")
    if not 0 <= seed <= SEEDS - members:
        raise DataError(f"seed must be from 0 to {SEEDS - members}, got {seed}")
    split = split_samples(
        loaded,
        n_latents,
        seed=seed,
        test_fraction=test_fraction,
        label_fraction=label_fraction,
        labels=labels,
        raw_labels=raw_labels,
        source=os.fspath(data),
    )
    training = loaded.samples[split.training]
    with one_thread():  # whatever the number of threads, the same numbers: a run can go on
        template, spectrum = _template(model, training, n_latents, prior)
    chosen = _recipe(recipe, beta, steps, spectrum, template.total_nodes)
    check_sizes(template, members, chosen.batch_size, device)
    settings = {
        "data": file_digest(data),
        **reading,
        "factors": factor_settings(factors),
        "labels": None if labels is None else file_digest(labels),
        "model": model,
        "prior": prior,
        "recipe": recipe,
        "beta": beta,
        "n_latents": n_latents,
        "members": members,
        "seed": seed,
        "steps": chosen.steps,
        "test_fraction": test_fraction,
        "label_fraction": label_fraction,
        "raw_labels": raw_labels,
    }
    seeds, result = range(seed, seed + members), None
    finished = not claim(output, settings) and not (output / CHECKPOINT).exists()
    if finished and run_files(output):
        lost = lost_files(output, members, figure_names(loaded, n_latents))
        if not lost:
            return (output / "summary.txt").read_text(encoding="utf-8")
        result = restore(output, seeds, chosen)
        made = "training again" if result is None else "made again from the models, not trained"
        warnings.warn(f"{output}: lost or damaged: {', '.join(lost)}; {made}", stacklevel=2)
    outputs, saved = Outputs(output), True
    if result is None:
        result = _train(template, training, chosen, seeds, split, output, device, progress)
        saved = _save(outputs, result, device)
    return _keep(outputs, saved, result, loaded, split, spectrum, device, Path(data).name)


# --------------------------------------------------------------------------- before training


def _recipe(
    name: str, beta: float | None, steps: int | None, spectrum: Spectrum, total_nodes: int
) -> Recipe:
    """A recipe, shortened or stretched to some number of steps; ``beta`` is per sample."""
    if name == "elbo":
        recipe = elbo_recipe(spectrum, total_nodes, 1.0 if beta is None else beta)
    elif name not in RECIPES:
        raise UnknownNameError(f"unknown recipe {name!r}; choose one of elbo, {', '.join(RECIPES)}")
    else:
        if beta is not None and not 0 < beta < np.inf:
            raise DataError(f"beta must be a positive number, got {beta}")
        # with a weight of one's own the label term weighs what the rate does, as in eq. 28
        weight = {} if beta is None else dict.fromkeys(("beta", "label_weight"), beta / total_nodes)
        recipe = make_recipe(name, **weight)
    if steps is None:
        return recipe
    if steps < 1:
        raise DataError(f"steps must be at least 1, got {steps}")
    return recipe.shortened(steps / recipe.steps)


def _template(
    model: str,
    fields: Samples,
    n_latents: int,
    prior: str,
) -> tuple[UnitsVAE, Spectrum]:
    """Model to train, and the spectrum of the standardised fields."""
    if model not in ("pod", "dense"):
        raise DataError(f"model must be 'pod' or 'dense', got {model!r}")
    units = FieldUnits.from_fields(fields)
    check_latents(n_latents, len(fields), units.n_values)
    scaled = fields.map(units)
    basis = PodBasis.from_fields(scaled, POD_MODES)
    spectrum = Spectrum.of(basis, scaled, units.n_values)
    if model == "pod":
        inner: VAE = PodVAE(basis, n_latents, POD_HIDDEN, prior)
        return UnitsVAE(inner, units), spectrum
    n1, n2 = fields.shape[-2:]
    if n1 != n2:
        raise DataError(f"the dense model needs a square grid, got {n1} x {n2}; use the pod model")
    check_kept(tuple(fields.shape))
    inner = DenseVAE(n_nodes=n1, channels=fields.shape[1], n_latents=n_latents, prior=prior)
    return UnitsVAE(inner, units), spectrum


def _train(
    template: VAE,
    fields: Samples,
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
        checkpoint=output / CHECKPOINT,
        keep_checkpoint=True,
    )
    if result.diverged.all():
        raise DataError(
            "every model met a loss that is not finite; look for values far outside the others "
            "in fields and labels, or try another recipe or seed"
        )
    return result


# ---------------------------------------------------------------------------- after training


def _save(outputs: Outputs, result: Fit, device: str) -> bool:
    """Write what only training makes; whether all models are stored."""
    saved = [
        outputs.make(
            f"model of member {i}",
            functools.partial(save_model, model_path(outputs.folder, i), member),
        )
        for i, member in enumerate(result.models)
    ]
    history = result.history.assign_coords(diverged=("member", result.diverged))
    history = history.assign_attrs(provenance(device), seconds=result.seconds)
    outputs.make("history.nc", lambda: outputs.write_netcdf("history.nc", history))
    return all(saved)


def _keep(
    outputs: Outputs,
    saved: bool,
    result: Fit,
    fields: FieldDataset,
    split: Split,
    spectrum: Spectrum,
    device: str,
    source: str,
) -> str:
    """Write what models give, once they are ``saved``; a part that fails is a warning. The summary.

    The checkpoint goes last, and only if nothing is missing: a restart then makes what is, without
    training again.
    """
    folder = outputs.folder
    mean, scale = (x.numpy() for x in result.ensemble.encode(fields.samples))
    knows = latent_information(mean, scale)
    table = losses(result, fields.samples, split, knows)
    latents = describe(make_latents(result, fields, split, mean, scale), fields)
    latents = latents.assign_attrs(provenance(device))
    outputs.make("latents.nc", lambda: outputs.write_netcdf("latents.nc", latents))
    table, notes = _scored(outputs, table, mean[:, split.test], knows > IN_USE, fields, split)
    outputs.make("scores.csv", lambda: write_text(folder / "scores.csv", _csv(table)))
    best = lowest_loss(table)
    draw_figures(outputs, result, fields, latents, best)
    if not saved:
        raise DvaeError(_unsaved(outputs))
    if split.labels is not None:
        notes += _without_labels(folder, table)
    notes += lost_losses(table) + describe_test(split) + describe_factors(fields)
    notes += describe_fields(fields.samples, _units(result)) + outputs.notes()
    lines = make_summary(fields, result, table, split, spectrum, notes, source)
    lines.append(f"lowest loss: member {best}; the figures show it")
    lines.append(f"wrote {folder}: models/, scores.csv, history.nc, latents.nc, *.png")
    lines.append(f"'dvae report {folder}' explains it all on one page")
    text = "\n".join(lines)
    outputs.make("summary.txt", lambda: write_text(folder / "summary.txt", text))
    if not outputs.failed:
        (folder / CHECKPOINT).unlink(missing_ok=True)
    return text


def _scored(
    outputs: Outputs,
    table: pd.DataFrame,
    mean: Float[np.ndarray, "member sample latent"],
    in_use: Bool[np.ndarray, "member latent"],
    fields: FieldDataset,
    split: Split,
) -> tuple[pd.DataFrame, list[str]]:
    """The table of losses with scores beside them, and what to say of the factors."""
    notes: list[str] = []
    if len(split.test) < MIN_SCORED:
        return table, [
            f"no scores: they take {MIN_SCORED} test samples, here there "
            f"{'is' if len(split.test) == 1 else 'are'} {len(split.test)}"
        ]
    theta = None
    if fields.theta is not None:
        values = fields.theta.double().numpy()
        varying, notes = scored_factors(values, fields.factor_names, split.test)
        theta = values[split.test][:, varying]
    alive = ~(table["diverged"] | table["over_regularised"]).to_numpy()
    found: list[pd.DataFrame] = []

    def score() -> None:
        scores, reasons = score_models(mean, alive, theta, in_use)
        found.append(scores)
        notes.extend(reasons)

    outputs.make("scores", score)
    return pd.concat([table, *found], axis=1), notes


def _without_labels(folder: Path, table: pd.DataFrame) -> list[str]:
    """What labels did to the error, where a run beside this one differs in nothing but them."""
    own = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    for path in sorted(folder.resolve().parent.glob(f"*/{SETTINGS}")):
        try:
            other = json.loads(path.read_text(encoding="utf-8"))
            differs = {key for key in own if other[key] != own[key]}
            error = pd.read_csv(path.with_name("scores.csv"))["relative_error"].mean()
        except (OSError, ValueError, LookupError, TypeError):  # another run, or none
            continue
        unlabelled = other["labels"] is None and other["label_fraction"] == 0
        if unlabelled and differs <= set(LABELLING):
            return [
                f"the mean relative error is {table['relative_error'].mean():.2g} with these "
                f"labels and {error:.2g} in {path.parent.name}, the same without labels"
            ]
    return []


def _csv(table: pd.DataFrame) -> str:
    # as many digits as a loss of a large grid needs to tell members apart
    return table.to_csv(index=False, float_format="%.10g")


def _units(result: Fit) -> FieldUnits:
    assert isinstance(result.ensemble.template, UnitsVAE)
    return result.ensemble.template.units


def _unsaved(outputs: Outputs) -> str:
    """What to tell when a model could not be stored."""
    again = "they will be trained again"
    if (outputs.folder / CHECKPOINT).exists():
        again = f"what was trained is in {CHECKPOINT} and is not trained again"
    (part, reason), *others = outputs.failed.items()
    missing = f" (nor {', '.join(other for other, _ in others)})" if others else ""
    return f"no {part}{missing}: {reason}. Make room and run the same command: {again}"

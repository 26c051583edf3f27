"""Losses, latents in use and scores of the models of a run."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
import xarray as xr
from jaxtyping import Bool, Float

from dvae.analysis import (
    agreement_of_runs,
    ceiling,
    disentanglement_score,
    join_classes,
    latent_agreement,
    latent_information,
    mean_correlation_coefficient,
    modularity_score,
    mutual_information_gap,
    score_runs,
    shape_score,
    total_correlation,
)
from dvae.conventions import IN_USE
from dvae.errors import DataError
from dvae.models import UnitsVAE
from dvae.physics import FieldDataset
from dvae.physics.samples import Samples
from dvae.training import Ensemble, Fit
from dvae.training.split import Split

OF_NUMBERS = ("s_d", "s_d_ceiling", "mcc", "s_kl")  # a class in one-hot form is none
MIN_SCORED = 32  # test samples below which no score is computed

Encoded = Float[np.ndarray, "member sample latent"]


def losses(
    result: Fit,
    samples: Samples,
    split: Split,
    knows: Float[np.ndarray, "member latent"],
) -> pd.DataFrame:
    """Losses on test samples, and what is in use, a row for each member.

    ``loss`` is what was trained, the distortion plus the rate times the recipe's final beta per
    sample. ``relative_error`` is about the mean field, in units of the channels' spreads: 1 for a
    model that answers with the mean field; ``training_error`` is the same of about as many
    training samples. ``knows`` is from ``dvae.analysis.latent_information``; a model none of whose
    latents is in use is over-regularised here, whatever its rate: that of a posterior which is the
    same for every sample, and not the prior, is not small.
    """
    ensemble, test = result.ensemble, samples[split.test]
    seen = split.training[:: max(1, len(split.training) // len(split.test))]
    table = ensemble.evaluate(test, relative_error=False).to_dataframe().reset_index(drop=True)
    table = table.drop(columns="loss_per_node")  # of the paper's weight, which is another loss
    beta = result.recipe.beta * ensemble.template.total_nodes
    table["loss"] = table["distortion"] + beta * table["rate"]
    table["relative_error"] = _relative_error(ensemble, test)
    table["training_error"] = _relative_error(ensemble, samples[seen])
    table["latents_in_use"] = (knows > IN_USE).sum(1)
    table.insert(0, "member", range(len(table)))
    table.insert(1, "seed", result.seeds)
    table.insert(2, "diverged", result.diverged)
    table.insert(3, "over_regularised", table["latents_in_use"] == 0)
    return table


def lowest_loss(table: pd.DataFrame) -> int:
    """Number of the member with the lowest loss, a finite one if there is one, and not diverged."""
    alive = table[~table["diverged"].astype(bool)]
    row = alive["loss"].where(np.isfinite(alive["loss"]), np.inf).idxmin()
    return int(alive["member"].loc[row])


def lost_losses(table: pd.DataFrame) -> list[str]:
    """A sentence, if the loss of test samples is not finite for members that did not diverge."""
    alive = table[~table["diverged"].astype(bool)]
    if not (count := int((~np.isfinite(alive["loss"])).sum())):
        return []
    unknown = ", and no best one can be told by it" if count == len(alive) else ""
    return [
        f"note: the loss of the test samples is not a finite number for {count} of {len(table)} "
        f"members{unknown}: a test sample holds values so far outside those of the training "
        "samples that the model overflows; mend or drop it"
    ]


def _relative_error(
    ensemble: Ensemble, fields: Samples, batch_size: int = 64
) -> Float[np.ndarray, " member"]:
    """Root of the squared error of decoded latent means over the squares about the mean field."""
    assert isinstance(ensemble.template, UnitsVAE)
    units = ensemble.template.units
    error, size = torch.zeros(ensemble.n_members, dtype=torch.double), 0.0
    for batch in (part for samples in fields for part in samples.split(batch_size)):
        truth, mean = units(batch), ensemble.encode(batch)[0]
        size += float(truth.double().pow(2).sum())
        for member in range(ensemble.n_members):
            decoded = ensemble.part(slice(member, member + 1)).decode(mean[[member]])[0]
            error[member] += (units(decoded) - truth).double().pow(2).sum()
    return (error / size).sqrt().numpy()


def scored_factors(
    theta: Float[np.ndarray, "sample factor"], names: list[str], test: np.ndarray
) -> tuple[list[int], list[str]]:
    """Factors that vary among the test samples, and a sentence for each that does not."""
    kept, lines = [], []
    for j, column in enumerate(theta.T):
        if np.ptp(column[test]) > 1e-12 * np.abs(column[test]).max():
            kept.append(j)
            continue
        where = "file" if np.ptp(column) == 0 else "test part"
        lines.append(
            f"{names[j]} is the same in every sample of the {where}: left out of the scores"
        )
    return kept, lines


def score_models(
    mean: Float[np.ndarray, "member sample latent"],
    alive: np.ndarray,
    theta: Float[np.ndarray, "sample factor"] | None,
    in_use: Bool[np.ndarray, "member latent"] | None = None,
) -> tuple[pd.DataFrame, list[str]]:
    """Scores of the test samples' latents, and a sentence on each that does not apply.

    NaN for members that are not ``alive``, and where a score does not apply; two that are alive
    have an ``agreement`` of their latents ``in_use`` (by default all). ``theta`` holds the factors
    of the same samples, all of which vary, if they are known.
    """
    table, reasons = pd.DataFrame(index=range(len(mean))), {}

    def add(name: str, score, *arguments) -> None:
        table[name] = np.nan
        try:
            table.loc[alive, name] = score_runs(score, mean[alive], *arguments)
        except DataError as error:
            reasons[name] = str(error)

    add("total_correlation", total_correlation)
    if alive.sum() > 1:
        among = latent_agreement(mean[alive], None if in_use is None else in_use[alive])
        table["agreement"] = np.nan
        table.loc[alive, "agreement"] = agreement_of_runs(among)
    if theta is None or not theta.shape[1]:
        return table, []
    theta, classes = join_classes(theta)
    if classes:
        reasons |= dict.fromkeys(OF_NUMBERS, classes)
        table[list(OF_NUMBERS)] = np.nan
    else:
        # factors in their own units would be weighed by their spread (eq. 6)
        centred = theta - theta.mean(0)
        centred = centred / np.abs(centred).max(0)
        numbers = centred / centred.std(0)
        if numbers.shape[1] > 1:
            add("s_d", disentanglement_score, numbers)
            table["s_d_ceiling"] = np.where(alive, ceiling(numbers), np.nan)
        else:
            reasons["s_d"] = "with one factor every latent scores 1"
        add("mcc", mean_correlation_coefficient, numbers)
        add("s_kl", shape_score, numbers)
    add("mig", mutual_information_gap, theta)
    add("modularity", modularity_score, theta)
    sentences: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        sentences.setdefault(reason, []).append(name)
    return table, [f"no {', '.join(names)}: {reason}" for reason, names in sentences.items()]


def make_latents(
    result: Fit, fields: FieldDataset, split: Split, mean: Encoded, scale: Encoded
) -> xr.Dataset:
    """Latents of all samples with their roles, and what is known of the factors."""
    role = np.full(len(fields), "training")
    role[split.test] = "test"
    latents = xr.Dataset(
        {
            "latent_mean": (("member", "sample", "latent"), mean),
            "latent_scale": (("member", "sample", "latent"), scale),
            "information": (
                ("member", "latent"),
                latent_information(mean, scale),
                {"units": "nats"},
            ),
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

"""Rows N1 to N3: standard normal factors (section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from dvae.analysis import (
    ceiling,
    disentanglement_score,
    kl_divergence_knn,
    share_text,
    variance_left,
)
from dvae.claims.frame import Finding, Results, either, grade, rule_of, select_trials
from dvae.conventions import (
    ACCURATE,
    DISENTANGLED,
    NEARLY_ENTANGLED,
    NEARLY_PERFECT,
    SAME_SHAPE,
)

__all__: list[str] = []


@rule_of(
    "N1",
    "5.1, fig. 6",
    "standard normal factors: test fields are reconstructed, the aggregated posterior has the "
    "prior's shape",
    "one run shown (two runs of section 4.3: L = -9.50, -9.42)",
    "chapter-disentanglement",
    "dense_vae",
)
def _n1_reconstruction(results: Results) -> Finding:
    """Every DenseVAE that is stored (of the published recipe, else on standardised fields, if there
    are any) leaves at most 5 % of the variance of test fields about their mean; and has an
    aggregated posterior whose divergence from the prior is less than 0.25 nats above that of a
    sample of the prior."""
    runs = _dense_runs(results)
    excess = []
    for mean, scale in zip(runs["latent_mean"].values, runs["latent_scale"].values, strict=True):
        noise = np.random.default_rng(0).standard_normal((2, *mean.shape))
        posterior = mean + scale * noise[0]
        prior = np.random.default_rng(1).standard_normal((5000, posterior.shape[1]))
        floor = kl_divergence_knn(noise[1], prior)
        excess.append(kl_divergence_knn(posterior, prior) - floor)
    coded = runs["distortion"] / runs.sizes["x1"] ** 2 + runs["rate"] / 2
    left = variance_left(runs["relative_error"].values, runs["mean_field_error"].values)
    found = (
        f"{len(left)} runs: L = {_range_text(runs['loss_per_node'].values)} "
        f"({_range_text(coded.values)} with the rate averaged, as coded); variance left "
        f"{_range_text(100 * left, 0)} %; divergence {_range_text(excess)} nats above its floor"
    )
    return Finding(found, grade(bool((left < ACCURATE).all()), max(excess) < SAME_SHAPE))


def _dense_runs(results: Results) -> xr.Dataset:
    """DenseVAEs of the published recipe, else those on standardised fields, else all."""
    runs = results["dense_vae"]
    for recipe in ("published", "one-cycle"):
        chosen = select_trials(runs, recipe=recipe)
        if chosen.sizes["trial"]:
            return chosen
    return runs


def _range_text(values: Sequence[float] | np.ndarray, digits: int = 2) -> str:
    """Smallest and largest value."""
    low, high = f"{min(values):.{digits}f}", f"{max(values):.{digits}f}"
    return low if low == high else f"{low} to {high}"


@rule_of(
    "N2",
    "fig. 7",
    "each latent follows one factor, on training and test data",
    "one run shown",
    "chapter-disentanglement",
    "dense_vae",
    "disentanglement",
    "baselines",
)
def _n2_one_factor_each(results: Results) -> Finding:
    """Some DenseVAE is disentangled, S_D above 0.9 of the ceiling on training and on test data;
    partly, if only some PodVAE of the published recipe is, on test data."""
    runs = _dense_runs(results)
    scores, shares = {}, []
    for end in ("", "_train"):
        theta = runs[f"theta{end}"].values[0]
        scores[end] = [disentanglement_score(z, theta) for z in runs[f"latent_mean{end}"].values]
        shares.append(np.array(scores[end]) / ceiling(theta))
    good = int((np.minimum(*shares) > DISENTANGLED).sum())
    own = results.condition("standard-normal", "published", "standard")
    n, k = int(own["runs"]), int(own["disentangled"])
    found = (
        f"{good} of {len(shares[0])} DenseVAEs (S_D {_range_text(scores[''])} on test data) and "
        f"{k} of {n} PodVAEs"
    )
    return Finding(found, either(good > 0, k > 0))


@rule_of(
    "N3",
    "5.1",
    "with the standard prior S_D varies with the seed from nearly entangled to nearly perfect",
    "in words",
    "chapter-disentanglement",
    "dense_runs",
    "disentanglement",
    "baselines",
)
def _n3_range(results: Results) -> Finding:
    """DenseVAE where it has such runs, else PodVAE with the published recipe: the lowest S_D in the
    lowest quarter between 0.5 and the ceiling, and the highest above 0.95 of the ceiling."""
    network = results.deciding_network("standard-normal", ("standard",))
    own = network.table.loc[("standard-normal", network.recipe, "standard")]
    low, high, top = own["s_d_min"], own["s_d_max"], own["ceiling"]
    found = (
        f"{network.name}, `{network.recipe}`: S_D from {low:.2f} to {high:.2f} "
        f"(ceiling {top:.2f}); "
        f"{share_text(int(own['disentangled']), int(own['runs']))} disentangled"
    )
    entangled = low < 0.5 + NEARLY_ENTANGLED * (top - 0.5)
    return Finding(found, grade(entangled, high > NEARLY_PERFECT * top))

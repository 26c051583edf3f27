"""Rows E13 and E14: what hierarchical priors (HP) learn (sections 5.2 and 5.3)."""

from __future__ import annotations

import numpy as np

from dvae.analysis import kl_divergence_knn
from dvae.claims.frame import Finding, Results, by_kind, grade, rule_of
from dvae.claims.rules_priors import hp_models
from dvae.conventions import DIAGONAL_WIDTH, SAME_SHAPE
from dvae.results.rotations import prior_axes

__all__: list[str] = []

DRAWS = 512  # of p(theta), as many as there are test samples


@rule_of(
    "E13",
    "section 5.2, fig. 9",
    "With a hierarchical prior (HP) the prior that is learned and the aggregated posterior match "
    "each other reasonably well. Neither matches the distribution of the factors.",
    "shown",
    "chapter-priors",
    "priors",
)
def _e13_matching(results: Results) -> Finding:
    """PodVAE, recipes in the order of row M5, shifted factors, divergences by nearest neighbours.
    Two parts: of most HP models the aggregated posterior (a draw for every test sample) is less
    than 0.25 nats further from the learned prior than half of a sample of that prior is from the
    other half; and of most it is further than that from p(theta)."""
    rng = np.random.default_rng(0)
    truth = 1 + np.sqrt(0.5) * rng.standard_normal((2, DRAWS, 2))
    found: dict[str, Finding] = {}
    for recipe, models in hp_models(results["priors"], "shifted-normal").items():
        noise = rng.standard_normal(models["latent_mean"].shape)
        drawn = (models["latent_mean"] + models["latent_scale"] * noise).values
        near, far = [], []
        for z, sample in zip(drawn, models["prior_sample"].values.astype(float), strict=True):
            kept, other = sample[::2], sample[1::2]
            n = len(kept)
            near.append(kl_divergence_knn(z, kept) - kl_divergence_knn(other, kept))
            far.append(
                kl_divergence_knn(z, truth[0, :n]) - kl_divergence_knn(truth[1, :n], truth[0, :n])
            )
        close, apart = (np.array(near) < SAME_SHAPE).sum(), (np.array(far) >= SAME_SHAPE).sum()
        text = (
            f"{close} of {len(near)} match the learned prior ({np.median(near):.2f} nats) and "
            f"{len(far) - apart} the distribution of the factors ({np.median(far):.1f} nats)."
            if found
            else f"on the shifted factors the aggregated posterior matches the learned prior in "
            f"{close} of {len(near)} models and the distribution of the factors in "
            f"{len(far) - apart}. Its divergence from the two is {np.median(near):.2f} and "
            f"{np.median(far):.1f} nats (medians) above what two samples of the same distribution "
            f"give."
        )
        half = len(near) / 2
        found[f"PodVAE, recipe `{recipe}`"] = Finding(text, grade(close > half, apart > half))
    return by_kind(found)


@rule_of(
    "E14",
    "section 5.3, fig. 12",
    "The priors that are learned with a hierarchical prior (HP) often do not look the same from "
    "all directions, and are aligned with the axes of the latent space.",
    "often",
    "chapter-priors",
    "priors",
)
def _e14_aligned(results: Results) -> Finding:
    """PodVAE, recipes in the order of row M5, four modes, two parts: a half or more of the learned
    priors differ by more than 0.05 nats from themselves turned by 45 degrees about their mean; and
    of these a half or more have their own axes, where the total correlation of their coordinates is
    lowest, within 10 degrees of those of z. (The table of the calibrated and annealed models in
    the chapter was known when this was written; those of the published recipe were not. Changed
    twice after the result was seen. At first priors were turned about 0, which a round prior with
    a mean is changed by too; the verdict stayed the same. Then the total correlation was estimated
    from 1024 draws of the prior, 7.5 degrees apart, which missed the known axes of some factorised
    mixtures; it is now integrated from the prior's density, 3 degrees apart, and the row, which
    was "partly", is decided by fewer aligned priors.)"""
    found: dict[str, Finding] = {}
    for recipe, models in hp_models(results["priors"], "four-modes").items():
        axes = prior_axes(models)
        shaped, aligned, n = int(axes["shaped"].sum()), int(axes["prior_on_axes"].sum()), len(axes)
        text = (
            f"{shaped} of {n} change so, and {aligned} of these {shaped} are aligned."
            if found
            else f"of {n} priors learned on the four modes {shaped} change when they are turned by "
            f"45 degrees about their mean, and the own axes of {aligned} of these {shaped} lie "
            f"within {DIAGONAL_WIDTH:.0f} degrees of those of the latent space."
        )
        if shaped:
            told = axes.loc[axes["shaped"], "told"].median()
            text += f" Their axes are told by a total correlation that changes by {told:.2g} nats"
            text += " with the angle, in the median."
        often = 2 * aligned >= shaped > 0
        found[f"PodVAE, recipe `{recipe}`"] = Finding(text, grade(2 * shaped >= n, often))
    return by_kind(found)

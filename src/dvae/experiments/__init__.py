"""Experiments of the book: each declares its trials and reduces them to a labelled result."""

from dvae.experiments.baselines import baselines
from dvae.experiments.darcy import darcy
from dvae.experiments.dense_vae import dense_vae
from dvae.experiments.disentanglement import disentanglement
from dvae.experiments.labels import label_objectives, labels, low_density
from dvae.experiments.lines import directions, lines, planes, seed_pairs
from dvae.experiments.over_regularised import over_regularised
from dvae.experiments.paths import paths, rate_distortion
from dvae.experiments.prior_fits import prior_fits
from dvae.experiments.priors import priors
from dvae.experiments.rotation_history import rotation_history
from dvae.experiments.shape_score import shape_scores
from dvae.experiments.supplement import architecture, correlated_factors, training_size

EXPERIMENTS = {
    one.name: one
    for one in (
        darcy,
        disentanglement,
        dense_vae,
        baselines,
        shape_scores,
        priors,
        prior_fits,
        rotation_history,
        over_regularised,
        lines,
        directions,
        rate_distortion,
        seed_pairs,
        planes,
        paths,
        labels,
        label_objectives,
        low_density,
        training_size,
        architecture,
        correlated_factors,
    )
}

__all__ = ["EXPERIMENTS"]

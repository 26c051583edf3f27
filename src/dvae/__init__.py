"""Variational autoencoders that disentangle the generative factors of physical fields."""

from dvae.analysis import disentanglement_score, kl_divergence_knn, shape_score
from dvae.errors import DataError, DeviceError, DvaeError, ResultError, UnknownNameError
from dvae.models import (
    VAE,
    DenseVAE,
    GaussianPrior,
    HierarchicalPrior,
    MixturePrior,
    PodBasis,
    PodVAE,
    count_parameters,
    load_model,
    make_prior,
    save_model,
)
from dvae.physics import DarcyDataset, KarhunenLoeve, factor_distribution, solve_darcy, well_source
from dvae.results import load_result, run_experiment
from dvae.training import Ensemble, Fit, Labels, Recipe, fit, make_recipe

__version__ = "0.1.0"

__all__ = [
    "VAE",
    "DarcyDataset",
    "DataError",
    "DenseVAE",
    "DeviceError",
    "DvaeError",
    "Ensemble",
    "Fit",
    "GaussianPrior",
    "HierarchicalPrior",
    "KarhunenLoeve",
    "Labels",
    "MixturePrior",
    "PodBasis",
    "PodVAE",
    "Recipe",
    "ResultError",
    "UnknownNameError",
    "count_parameters",
    "disentanglement_score",
    "factor_distribution",
    "fit",
    "kl_divergence_knn",
    "load_model",
    "load_result",
    "make_prior",
    "make_recipe",
    "run_experiment",
    "save_model",
    "shape_score",
    "solve_darcy",
    "well_source",
]

"""Models: DenseVAE, PodVAE and priors (sections 2 and 4.1)."""

from dvae.models.dense import DenseVAE
from dvae.models.plain import PlainVAE
from dvae.models.pod import PodBasis, PodVAE
from dvae.models.priors import (
    CorrelatedPrior,
    FlowPrior,
    GaussianPrior,
    HierarchicalPrior,
    MixturePrior,
    Prior,
    VampPrior,
    make_prior,
)
from dvae.models.units import FieldUnits, UnitsVAE
from dvae.models.vae import VAE, count_parameters
from dvae.models.weights import load_model, save_model

__all__ = [
    "VAE",
    "CorrelatedPrior",
    "DenseVAE",
    "FieldUnits",
    "FlowPrior",
    "GaussianPrior",
    "HierarchicalPrior",
    "MixturePrior",
    "PlainVAE",
    "PodBasis",
    "PodVAE",
    "Prior",
    "UnitsVAE",
    "VampPrior",
    "count_parameters",
    "load_model",
    "make_prior",
    "save_model",
]

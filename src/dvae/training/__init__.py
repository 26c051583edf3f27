"""Training: recipes, ensembles and the fit (sections 4 and 6)."""

from dvae.training.elbo import Spectrum, elbo_recipe
from dvae.training.ensemble import Ensemble, initialise
from dvae.training.fitting import Fit, fit
from dvae.training.recipes import RECIPES, Recipe, make_recipe
from dvae.training.trainer import Labels

__all__ = [
    "RECIPES",
    "Ensemble",
    "Fit",
    "Labels",
    "Recipe",
    "Spectrum",
    "elbo_recipe",
    "fit",
    "initialise",
    "make_recipe",
]

"""Training: recipes, ensembles and the fit (sections 4 and 6)."""

from dvae.training.ensemble import Ensemble, initialise
from dvae.training.fit import Fit, Labels, fit
from dvae.training.recipes import RECIPES, Recipe, make_recipe

__all__ = ["RECIPES", "Ensemble", "Fit", "Labels", "Recipe", "fit", "initialise", "make_recipe"]

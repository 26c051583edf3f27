"""Random permeability, Darcy flow, and the data sets made of them (section 3)."""

from dvae.physics.darcy import DarcySolution, solve_darcy, well_source
from dvae.physics.dataset import DarcyDataset
from dvae.physics.factors import FACTOR_NAMES, factor_distribution
from dvae.physics.fields import FieldDataset
from dvae.physics.kle import KarhunenLoeve

__all__ = [
    "FACTOR_NAMES",
    "DarcyDataset",
    "DarcySolution",
    "FieldDataset",
    "KarhunenLoeve",
    "factor_distribution",
    "solve_darcy",
    "well_source",
]

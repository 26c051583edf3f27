"""Random permeability, Darcy flow and the data sets made of them (section 3); transport by wind."""

from dvae.physics.darcy import DarcySolution, solve_darcy, well_source
from dvae.physics.dataset import DarcyDataset
from dvae.physics.factors import FACTOR_NAMES, factor_distribution
from dvae.physics.fields import FieldDataset
from dvae.physics.kle import KarhunenLoeve
from dvae.physics.transport import gaussian_source, solve_transport, transport_dataset

__all__ = [
    "FACTOR_NAMES",
    "DarcyDataset",
    "DarcySolution",
    "FieldDataset",
    "KarhunenLoeve",
    "factor_distribution",
    "gaussian_source",
    "solve_darcy",
    "solve_transport",
    "transport_dataset",
    "well_source",
]

"""Every experiment of the book by its name, in the order in which they are run."""

from __future__ import annotations

from dvae.errors import UnknownNameError
from dvae.experiments.annealing import (
    DENSE_AGREEMENT,
    DENSE_SCHEDULES,
    NOISE_LEVELS,
    PRINCIPAL_AXES,
    SCHEDULES,
)
from dvae.experiments.architecture import ARCHITECTURE
from dvae.experiments.baselines import BASELINES
from dvae.experiments.beta_sweep import BETA_SWEEP
from dvae.experiments.correlated_factors import CORRELATED_FACTORS
from dvae.experiments.correlated_priors import CORRELATED_PRIORS
from dvae.experiments.darcy import DARCY
from dvae.experiments.data_draws import DATA_DRAWS
from dvae.experiments.dense_collapse import DENSE_MAP, RELEASE
from dvae.experiments.dense_landscape import (
    DENSE_DIRECTIONS,
    DENSE_LINES,
    DENSE_PAIRS,
    DENSE_SWEEP,
)
from dvae.experiments.dense_runs import DENSE_RUNS
from dvae.experiments.dense_studies import (
    DENSE_LABELS,
    DENSE_PHASES,
    DENSE_SIZES,
    VARIANCE_NETWORK,
)
from dvae.experiments.dense_vae import DENSE_VAE
from dvae.experiments.disentanglement import DISENTANGLEMENT
from dvae.experiments.first_phase import FIRST_PHASE
from dvae.experiments.label_objectives import LABEL_OBJECTIVES
from dvae.experiments.labels import LABEL_COUNTS
from dvae.experiments.latent_scores import LATENT_SCORES
from dvae.experiments.lines import DIRECTIONS, LINES, PLANES, SEED_PAIRS
from dvae.experiments.low_density import LOW_DENSITY
from dvae.experiments.many_factors import MANY_FACTORS
from dvae.experiments.model_size import MODEL_SIZE
from dvae.experiments.other_priors import OTHER_PRIORS
from dvae.experiments.over_regularised import OVER_REGULARISED_RUNS
from dvae.experiments.paths import PATHS, RATE_DISTORTION
from dvae.experiments.prior_fits import PRIOR_FITS
from dvae.experiments.priors import PRIOR_LOOKS
from dvae.experiments.rotation_history import ROTATION_HISTORY
from dvae.experiments.second_wells import SECOND_WELLS
from dvae.experiments.shape_score import SHAPE_SCORE
from dvae.experiments.tasks import TASKS
from dvae.experiments.training_size import TRAINING_SIZE
from dvae.experiments.transport import TRANSPORT, TRANSPORT_AXES
from dvae.results.trials import Experiment

__all__ = ["EXPERIMENTS", "find_experiment"]

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        DARCY,
        MODEL_SIZE,
        DISENTANGLEMENT,
        DENSE_VAE,
        DENSE_RUNS,
        DENSE_PHASES,
        DENSE_LABELS,
        DENSE_SIZES,
        VARIANCE_NETWORK,
        DENSE_MAP,
        RELEASE,
        BASELINES,
        SHAPE_SCORE,
        LATENT_SCORES,
        PRIOR_LOOKS,
        PRIOR_FITS,
        ROTATION_HISTORY,
        OVER_REGULARISED_RUNS,
        LINES,
        DENSE_LINES,
        DIRECTIONS,
        DENSE_DIRECTIONS,
        RATE_DISTORTION,
        DENSE_SWEEP,
        SEED_PAIRS,
        DENSE_PAIRS,
        PLANES,
        PATHS,
        FIRST_PHASE,
        BETA_SWEEP,
        DATA_DRAWS,
        LABEL_COUNTS,
        LABEL_OBJECTIVES,
        LOW_DENSITY,
        TRAINING_SIZE,
        ARCHITECTURE,
        CORRELATED_FACTORS,
        PRINCIPAL_AXES,
        NOISE_LEVELS,
        SCHEDULES,
        DENSE_SCHEDULES,
        DENSE_AGREEMENT,
        SECOND_WELLS,
        MANY_FACTORS,
        CORRELATED_PRIORS,
        TASKS,
        OTHER_PRIORS,
        TRANSPORT_AXES,
        TRANSPORT,
    )
}


def find_experiment(name: str) -> Experiment:
    """Experiment of a given name.

    Raises
    ------
    UnknownNameError
        If there is none.
    """
    if name not in EXPERIMENTS:
        known = ", ".join(sorted(EXPERIMENTS))
        raise UnknownNameError(f"unknown experiment {name!r}; choose one of {known}")
    return EXPERIMENTS[name]

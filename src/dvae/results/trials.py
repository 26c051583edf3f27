"""What an experiment is: groups of trials, and the hash that each trial is known by.

An experiment is a list of *groups* of trials. A group is the unit of work: its trials train
together as one ensemble, and it is stored as a whole. Each trial has a hash of everything that
determines it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from dvae.errors import UnknownNameError

__all__ = ["PROFILES", "Experiment", "Group", "check_profile", "group_hashes", "trial_hash"]

PROFILES = ("smoke", "laptop", "paper")
Trial = dict[str, Any]


@dataclass(frozen=True)
class Group:
    """Trials that are computed together.

    Attributes
    ----------
    shared : dict
        Settings common to the trials (data, model, recipe); plain values only.
    trials : tuple of dict
        What differs between them (seed, number of labels); one entry per trial.
    """

    shared: Trial
    trials: tuple[Trial, ...]

    def settings(self) -> list[Trial]:
        """Full settings of every trial."""
        return [{**self.shared, **trial} for trial in self.trials]


@dataclass(frozen=True)
class Experiment:
    """One study of the book.

    Attributes
    ----------
    name : str
        Name on the command line and in the store.
    title : str
        One line for people.
    version : int
        Part of every trial's hash; raise it when the code changes what a trial gives.
    groups : callable
        ``groups(profile) -> list of Group``.
    compute : callable
        ``compute(group, device, progress, checkpoint) -> xarray.Dataset`` with a dimension
        ``trial`` in the order of ``group.trials`` on every variable. ``checkpoint`` is a path for
        :func:`dvae.fit` or None.
    reads : tuple of str
        Experiments whose stored results it needs; ``compute`` is then called with the argument
        ``store`` as well.
    trained : bool
        Whether trials come from training, which amplifies rounding until runs are others:
        :func:`dvae.verification.verify_experiment` compares them as draws then.
    """

    name: str
    title: str
    version: int
    groups: Callable[[str], list[Group]]
    compute: Callable[..., xr.Dataset]
    reads: tuple[str, ...] = ()
    trained: bool = True


def check_profile(profile: str) -> str:
    """The profile, if it is one (UnknownNameError otherwise)."""
    if profile not in PROFILES:
        raise UnknownNameError(f"unknown profile {profile!r}; choose one of {', '.join(PROFILES)}")
    return profile


def trial_hash(experiment: Experiment, settings: Trial) -> str:
    """Hash of everything that determines a trial: experiment, version and settings."""
    text = json.dumps(
        [experiment.name, experiment.version, settings], sort_keys=True, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def group_hashes(experiment: Experiment, group: Group) -> list[str]:
    """Hashes of a group's trials, in their order."""
    return [trial_hash(experiment, settings) for settings in group.settings()]

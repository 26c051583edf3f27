"""Reading a stored result by the name of its experiment."""

from __future__ import annotations

import xarray as xr

from dvae.errors import ResultError
from dvae.results.store import Store

__all__ = ["load_result"]


def load_result(
    experiment: str, profile: str | None = None, store: Store | None = None
) -> xr.Dataset:
    """Stored result of an experiment.

    Parameters
    ----------
    experiment : str
        Name of the experiment, see ``dvae status``.
    profile : str, optional
        "smoke", "laptop" or "paper"; by default the best that is stored (:meth:`Store.load`).
    store : Store, optional
        Where to look; by default the book's store.

    Returns
    -------
    xarray.Dataset
        Dimension ``trial`` and what the experiment defines; provenance in the attributes.

    Raises
    ------
    UnknownNameError
        If experiment or profile is unknown.
    ResultError
        If nothing is stored, or the file is damaged.

    Examples
    --------
    >>> data_sets = load_result("baselines", profile="laptop")
    >>> data_sets["theta"].dims
    ('trial', 'sample', 'factor')
    """
    try:
        return (store or Store.default()).load(experiment, profile)
    except ResultError:
        # only now, for this takes torch: a name that no experiment has is another mistake
        from dvae.experiments import find_experiment

        find_experiment(experiment)
        raise

"""Which of several stored runs one would keep without knowing any factor (chapter 9).

Two ways to choose: the lowest loss, and the latents that agree best with those of the other runs
(``dvae.analysis.typical_run``). How good a choice among K runs is can be counted on a stored set of
more than K: on its runs in turn, K at a time, or on many draws of K of them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from dvae.errors import DataError

__all__ = ["chosen_runs", "drawn_groups", "groups_in_turn"]


def groups_in_turn(n_runs: int, size: int) -> Int[np.ndarray, "group size"]:
    """Runs in their order, so many at a time, none twice; what is left over is left out.

    Raises
    ------
    DataError
        If there is not one whole group.
    """
    if not 1 <= size <= n_runs:
        raise DataError(f"groups of {size} cannot be made of {n_runs} runs")
    return np.arange(n_runs // size * size).reshape(-1, size)


def drawn_groups(
    n_runs: int, size: int, draws: int = 2000, seed: int = 0
) -> Int[np.ndarray, "group size"]:
    """Groups of different runs, drawn at random; a run is in many of them.

    Raises
    ------
    DataError
        If a group cannot be made.
    """
    if not 1 <= size <= n_runs:
        raise DataError(f"groups of {size} cannot be made of {n_runs} runs")
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(np.arange(n_runs), (draws, 1)), axis=1)[:, :size]


def chosen_runs(
    agreement: Float[np.ndarray, "run run"],
    loss: Float[np.ndarray, " run"],
    groups: Int[np.ndarray, "group size"],
) -> pd.DataFrame:
    """The run of every group that each way of choosing keeps.

    Parameters
    ----------
    agreement : array (run, run)
        From :func:`dvae.analysis.agreement.latent_agreement`; a run with NaN is never chosen.
    loss : array (run,)
        Loss of every run; by it a run whose loss is not finite is not chosen either.
    groups : array of int (group, size)
        Numbers of runs, two or more in a group.

    Returns
    -------
    pandas.DataFrame
        A row for each group, with the numbers of the runs: ``loss``, that with the lowest loss,
        and ``agreement``, that whose median agreement with the others of its group is largest (the
        first one of equals, as always of two).

    Raises
    ------
    DataError
        If a group has fewer than two runs with finite latents, or none of them a finite loss.
    """
    among = agreement[groups[:, :, None], groups[:, None, :]]
    among[:, np.eye(groups.shape[1], dtype=bool)] = np.nan
    finite = np.isfinite(among).any(2)
    losses = np.where(np.isfinite(loss)[groups] & finite, loss[groups], np.inf)
    if (finite.sum(1) < 2).any() or np.isinf(losses).all(1).any():
        raise DataError(
            "a group has fewer than two runs with finite latents, or none with a finite loss"
        )
    median = np.full(finite.shape, -np.inf)
    median[finite] = np.nanmedian(among[finite], axis=1)
    rows = np.arange(len(groups))
    return pd.DataFrame(
        {
            "loss": groups[rows, losses.argmin(1)],
            "agreement": groups[rows, median.argmax(1)],
        }
    )

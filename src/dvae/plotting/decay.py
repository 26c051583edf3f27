"""How fast eigenvalues and errors of the solver fall (section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Num
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from dvae.errors import DataError
from dvae.plotting._canvas import make_axes
from dvae.plotting._checks import Lists, as_array, require_entries
from dvae.plotting.style import COLOURS, MARKERS

__all__ = ["plot_convergence", "plot_eigenvalues"]


def plot_eigenvalues(
    eigenvalues: Num[Any, " mode"] | Lists,
    marked: Sequence[int] = (2, 10, 100, 1000),
    total: float | None = None,
) -> Figure:
    r"""Decay of the eigenvalues and the share of the variance held by the first s modes (eq. 19).

    Parameters
    ----------
    eigenvalues : (mode,), positive, in decreasing order, dimensionless.
    marked : numbers of modes to mark, the s of KLEs; those beyond the last mode are left out.
    total : variance of the whole field; the sum of ``eigenvalues`` if None.

    Raises
    ------
    DataError
        If the eigenvalues are not positive and in decreasing order.
    """
    eigenvalues = as_array(eigenvalues, "eigenvalues", "mode")
    if not (eigenvalues > 0).all() or (np.diff(eigenvalues) > 1e-9 * eigenvalues[0]).any():
        raise DataError("eigenvalues must be positive and in decreasing order; sort them first")
    share = np.cumsum(eigenvalues) / (eigenvalues.sum() if total is None else total)
    number = np.arange(1, len(eigenvalues) + 1)
    figure, [[left, right]] = make_axes(1, 2, 3.0)
    left.loglog(number, eigenvalues)
    left.set(xlabel="mode $i$", ylabel=r"eigenvalue $\lambda_i$ (dimensionless)")
    right.semilogx(number, share)
    right.set(xlabel="number of modes $s$", ylabel="share of the variance", ylim=(0, 1.05))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for s in (s for s in marked if s <= len(number)):
        left.plot(s, eigenvalues[s - 1], "o", color=COLOURS[1])
        right.plot(s, share[s - 1], "o", color=COLOURS[1])
        left_of = s**2 > len(number)  # in the right half of the logarithmic axis
        right.annotate(
            f"KLE{s}: {share[s - 1]:.0%}",
            (s, share[s - 1]),
            xytext=(-6, 4) if left_of else (6, -4),
            textcoords="offset points",
            ha="right" if left_of else "left",
            va="bottom" if left_of else "top",
            fontsize=9,
        )
    return figure


def plot_convergence(
    spacing: Num[Any, " grid"] | Lists,
    errors: Num[Any, " grid"] | Lists | Mapping[str, Num[Any, " grid"] | Lists],
    order: float = 2.0,
) -> Figure:
    """Error against grid spacing with the reference order and the observed one (row D2).

    Marks are hollow, and each curve's smaller than those before: curves that agree are all seen.

    Parameters
    ----------
    spacing : (grid,), the distance h between nodes, dimensionless.
    errors : (grid,) or name -> (grid,), relative error, dimensionless.
    order : slope of the reference line.

    Raises
    ------
    DataError
        If shapes do not agree, fewer than two grids are given or a value is not positive.
    """
    sizes: dict[str, int] = {}
    spacing = as_array(spacing, "spacing", "grid", sizes)
    named = errors if isinstance(errors, Mapping) else {"error": errors}
    require_entries(named, "errors")
    curves = {name: as_array(e, f"errors of {name}", "grid", sizes) for name, e in named.items()}
    if len(spacing) < 2 or not all((v > 0).all() for v in (spacing, *curves.values())):
        raise DataError("an order needs two grids or more with positive spacings and errors")
    figure, [[ax]] = make_axes(1, 1, 3.4)
    for i, (name, error) in enumerate(curves.items()):
        slope = np.polyfit(np.log(spacing), np.log(error), 1)[0]
        label = f"{name}: observed order {slope:.2f}"
        look: dict[str, Any] = {"marker": MARKERS[i % len(MARKERS)], "mfc": "none"}
        look |= {"ms": max(11 - 2 * i, 4), "lw": max(2.5 - 0.5 * i, 1)}
        ax.loglog(spacing, error, label=label, **look)
    ends = np.array([spacing.min(), spacing.max()])
    lowest = min(error[spacing.argmin()] for error in curves.values())
    reference = 0.5 * lowest * (ends / ends[0]) ** order
    ax.loglog(ends, reference, "--", color="0.4", label=f"order {order:g}")
    ax.set(xlabel="grid spacing $h$ (dimensionless)", ylabel="relative error")
    ax.set_xticks(spacing, [f"{h:.2g}" for h in spacing])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.legend()
    return figure

"""Rows D1 and D2: the fields, and the solver that makes them (sections 3 and 3.1)."""

from __future__ import annotations

import numpy as np

from dvae.claims.frame import Finding, Results, grade, rule_of, select_trials
from dvae.claims.words import listed, sized
from dvae.conventions import BALANCED, SECOND_ORDER

__all__: list[str] = []


@rule_of(
    "D1",
    "fig. 1",
    "Samples of permeability, pressure and velocity are shown for fields with 2, 10, 100 and 1000 "
    "generative factors (the data sets KLE2 to KLE1000).",
    "samples shown",
    "chapter-darcy",
    "darcy",
)
def _d1_fields(results: Results) -> Finding:
    """Illustrated, once fields of all four sets are stored: the paper shows samples, and states
    nothing of them that could fail. Whether they are right is row D2."""
    fields = select_trials(results["darcy"], kind="fields")
    sets = sorted(set(fields["n_modes"].values.tolist()))
    worst = float(fields["imbalance"].max())
    names = listed([f"KLE{n}" for n in sets])
    found = (
        f"{fields.sizes['sample']} samples each of {names} are stored and shown. In the worst of "
        f"them the balance of mass is off by {sized(worst)} of what the wells inject."
    )
    return Finding(found, "illustrated" if {2, 10, 100, 1000} <= set(sets) else "not yet run")


@rule_of(
    "D2",
    "sections 3 and 3.1",
    "The flow is computed with finite differences of second order on 65 x 65 nodes. No fluid "
    "passes the boundary, and the mean pressure is zero.",
    "second order",
    "chapter-darcy",
    "darcy",
)
def _d2_scheme(results: Results) -> Finding:
    """Observed order of pressure and velocity between 1.9 and 2.1 on a manufactured solution; mass
    balance, over the injection, and mean pressure zero to 1e-10: what the tolerance of the solver,
    1e-12, leaves at a contrast of 1e4."""
    exact = select_trials(results["darcy"], kind="manufactured")
    step = np.diff(np.log(exact["n_nodes"].values - 1.0))
    orders = {
        name: -np.diff(np.log(exact[f"{name}_error"].values)) / step
        for name in ("pressure", "velocity")
    }
    fields = select_trials(results["darcy"], kind="fields")
    off = np.abs([fields[name].values for name in ("imbalance", "mean_pressure")])
    zero = float(off.max())  # NaN if one is
    observed = listed([f"{v.min():.2f} to {v.max():.2f} for the {k}" for k, v in orders.items()])
    low, high = SECOND_ORDER
    second = all(((low < v) & (v < high)).all() for v in orders.values())
    found = (
        f"On a solution that is known exactly the order of the errors is {observed}. The balance "
        f"of mass, over what the wells inject, and the mean pressure are off by at most about "
        f"{sized(zero)}."
    )
    return Finding(found, grade(second, zero < BALANCED))

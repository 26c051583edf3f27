"""Tolerances that follow from floating-point arithmetic instead of from one machine.

A comparison in the tests is one of four kinds, and says which where that is not plain:

- **rounding**: both sides are the same number but for the order of operations. Allowed is
  :func:`rounding` of the number of operations and of the condition. Kernels differ in just this.
- **a solver that stops**: what its stopping rule allows, plus rounding.
- **single precision**: the same with the unit roundoff of float32. The defaults of
  ``assert_close`` (1.3e-6) and ``assert_allclose`` (1e-7, for float64) lie far above it.
- **draws**: a statistical error, in standard errors or with a seed that is fixed. Kernels do not
  change it.

``make kernels`` measures how much of each tolerance is used, kernel by kernel. One that cannot be
derived is ten times what the worst kernel needed.
"""

import numpy as np


def rounding(operations: int, condition: float = 1.0, dtype: type = np.float64) -> float:
    """Bound of the relative error of so many operations: n u times the condition, u = eps / 2."""
    return operations * float(np.finfo(dtype).eps) / 2 * condition

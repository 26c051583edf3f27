"""What the command line needs of the analysis comes without the seconds that torch takes."""

from __future__ import annotations

import subprocess
import sys

LIGHT = (
    "degenerate",
    "divergence",
    "linear_vae",
    "minima",
    "reconstruction",
    "rotation",
    "scores",
    "shape",
    "statistics",
)


def test_scores_and_statistics_import_neither_torch_nor_scikit_learn():
    lines = ["import sys", *(f"import dvae.analysis.{name}" for name in LIGHT)]
    lines.append("print([name for name in ('torch', 'sklearn') if name in sys.modules])")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"

"""What takes seconds to import is imported where it is needed."""

from __future__ import annotations

import ast
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
    """So the command line has them without the seconds that torch takes."""
    lines = ["import sys", *(f"import dvae.analysis.{name}" for name in LIGHT)]
    lines.append("print([name for name in ('torch', 'sklearn') if name in sys.modules])")
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_functions_import_what_few_of_them_need(root):
    """Every kernel of a notebook, worker and command would wait a second or two for these."""
    slow = ("seaborn", "sklearn", "scipy.stats")
    found = []
    for path in sorted((root / "src" / "dvae").rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(path.name, n) for n in names if n.startswith(slow)]
    assert found == []

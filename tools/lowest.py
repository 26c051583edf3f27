"""Run the quick tests with the lowest version of every dependency that ``pyproject.toml`` allows.

An environment of its own, ``_build/lowest``, gets exactly the lower bounds of the library and of
the extras ``cluster`` and ``test``; it is made again when they change. torch is the exception: it
has the version that the Makefile pins, or that of ``--torch``, for builds of others are not
everywhere to be had.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "_build" / "lowest"
EXTRAS = ("cluster", "test")
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS")}
# not ours: what dependencies of that time have a warning for, which some tests make an error
ALSO = ["pyparsing<3.3"]
QUICK = [
    "test_cli.py",
    "test_hdf5.py",
    "test_storage.py",
    "results",
    "physics/test_dataset.py",
    "physics/test_kle.py",
    "models",
    "analysis/test_scores.py",
    "training/test_checkpoint.py",
    "workflow/test_nothing_lost.py",
    "plotting/test_every_figure.py",
]


def lowest_versions(project: dict, torch: str) -> list[str]:
    """Requirements ``name==version`` at the lower bounds of a project table.

    Raises
    ------
    SystemExit
        If a requirement has no lower bound.
    """
    lines = list(project["dependencies"])
    for extra in EXTRAS:
        lines += project["optional-dependencies"][extra]
    pinned = []
    for line in lines:
        found = re.match(r"([A-Za-z0-9._-]+)\s*(?:>=|==)\s*([^,;\s]+)", line)
        if found is None:
            sys.exit(f"pyproject.toml: {line!r} has no lower bound; give it one")
        pinned.append(f"{found[1]}=={torch if found[1] == 'torch' else found[2]}")
    return pinned


def install(requirements: str) -> Path:
    """Environment with these requirements and the project itself; its interpreter."""
    python, stamp = FOLDER / "bin" / "python", FOLDER / "installed.txt"
    if stamp.exists() and stamp.read_text() == requirements:
        return python
    shutil.rmtree(FOLDER, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    listed = FOLDER / "requirements.txt"
    listed.write_text(requirements)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "setuptools>=77.0.3", "-r", str(listed)], check=True)
    project = ["--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    subprocess.run([*pip, *project], check=True)
    stamp.write_text(requirements)
    return python


def main() -> None:
    """Make the environment, print what is in it, and run the tests."""
    pinned = re.search(r"^TORCH_VERSION := (\S+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert pinned is not None  # a test of the packaging reads it as well
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--torch", default=pinned[1], help="version of torch")
    parser.add_argument("tests", nargs="*", help="tests instead of the quick ones")
    options = parser.parse_args()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = "\n".join(lowest_versions(project, options.torch) + ALSO) + "\n"
    python = install(requirements)
    print(f"tests with {', '.join(requirements.split())}", flush=True)
    tests = options.tests or [str(Path("tests", name)) for name in QUICK]
    # the oldest plugin cannot check annotations where a conftest.py imports the library
    command = [str(python), "-m", "pytest", "-q", "--jaxtyping-packages=", *tests]
    sys.exit(subprocess.run(command, cwd=ROOT, env=os.environ | ONE_THREAD).returncode)


if __name__ == "__main__":
    main()

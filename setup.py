"""The one step of the build that `pyproject.toml` cannot say: stored results go into the wheel.

They lie in `results/`, beside the library and not in it, as `dvae.storage.results_folder` knows.
"""

from pathlib import Path
from shutil import rmtree

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithResults(build_py):
    """Copy `results/EXPERIMENT/PROFILE.nc` and the digests beside them to `dvae/stored`."""

    def run(self) -> None:
        """Build as always, then copy; an editable installation reads the checkout instead."""
        super().run()
        if self.editable_mode:
            return
        stored = Path(self.build_lib) / "dvae" / "stored"
        rmtree(stored, ignore_errors=True)  # of an earlier build
        for path in sorted((Path(__file__).parent / "results").glob("[!.]*/*.nc*")):
            folder = stored / path.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            self.copy_file(str(path), str(folder / path.name))


setup(cmdclass={"build_py": BuildWithResults})

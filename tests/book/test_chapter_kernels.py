"""Kernels of chapters: as new as those that start from nothing, and their end is seen."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import DeadKernelError

from bookkit.execute import execute

SETTINGS = """
import os, sys, matplotlib, pandas
import dvae.conventions
print(os.getcwd(), os.environ["TOLD"], hasattr(dvae.conventions, "left_behind"))
print(matplotlib.get_backend(), os.getpgid(0) == os.getpid())
print(pandas.get_option("display.max_columns"))
dvae.conventions.left_behind = True
"""


def run(source: str, folder: Path) -> str:
    """What a notebook of one cell prints."""
    cell = nbformat.v4.new_code_cell(source)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
    outputs = execute(notebook, {}, folder, timeout=60).cells[-1].outputs
    return "".join(one.get("text", "") for one in outputs)


def test_a_kernel_has_its_own_settings_and_nothing_of_the_one_before(tmp_path, monkeypatch):
    for told in ("first", "second"):
        folder = tmp_path / told
        folder.mkdir()
        monkeypatch.setenv("TOLD", told)
        lines = run(SETTINGS, folder).splitlines()
        backend = "module://matplotlib_inline.backend_inline True"
        assert lines == [f"{folder} {told} False", backend, "20"]
    assert not multiprocessing.active_children()


def test_a_kernel_that_dies_is_an_error(tmp_path):
    with pytest.raises(DeadKernelError):
        run("import os; os._exit(3)", tmp_path)
    assert not multiprocessing.active_children()

"""Helpers of the chapters: what they write."""

from __future__ import annotations

import pytest
import xarray as xr
from matplotlib.figure import Figure

from dvae.chapters import is_smoke, share_text, shown, source_line, table

SMOKE = xr.Dataset(attrs={"profile": "smoke", "trials": "3"})
LAPTOP = xr.Dataset(attrs={"profile": "laptop", "trials": "50", "commit": "0123456789abcdef"})


@pytest.mark.parametrize(
    ("origin", "smoke"),
    [(SMOKE, True), (LAPTOP, False), (LAPTOP.attrs, False), ("smoke", True), ("paper", False)],
)
def test_smoke_is_marked_and_nothing_else(origin, smoke):
    assert is_smoke(origin) is smoke
    figure = shown(Figure(), origin)
    assert ("not evidence" in "".join(text.get_text() for text in figure.texts)) is smoke


def test_source_names_trials_and_commit():
    assert source_line(LAPTOP) == "Profile laptop, 50 trials, commit 0123456."


def test_table_is_a_myst_block_with_its_source():
    text = table(["a", "b"], [(1, 2.5), ("x", "y")], "Two rows.", "table-two", LAPTOP).data
    first, name, blank, *rows, end = text.split("\n")
    assert first == f":::{{table}} Two rows. {source_line(LAPTOP)}"
    assert (name, blank, end) == (":name: table-two", "", ":::")
    assert rows == ["| a | b |", "| --- | --- |", "| 1 | 2.5 |", "| x | y |"]


def test_shares():
    assert share_text(3, 50) == "3 of 50 (2 to 16 %)"
    assert share_text(0, 1000) == "0 of 1000 (0 to 0.4 %)"
    flags = xr.DataArray([True] * 3 + [False] * 47)
    assert share_text(flags.sum(), flags.size) == share_text(3, 50)

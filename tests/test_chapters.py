"""Helpers of the chapters: what they write."""

from __future__ import annotations

import pytest
import xarray as xr
from matplotlib.figure import Figure

from dvae.chapters import (
    is_smoke,
    p_cell,
    plain_number,
    print_folded,
    print_source,
    share_text,
    shown,
    source_line,
    table,
)

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


def test_several_sources_are_named():
    other = SMOKE.assign_attrs(experiment="paths")
    one = LAPTOP.assign_attrs(experiment="lines")
    expected = (
        "lines: profile laptop, 50 trials, commit 0123456. "
        "paths: profile smoke (not evidence), 3 trials."
    )
    assert source_line(one, other) == expected
    text = table(["a"], [[1]], "One row.", "table-one", one, other).data
    assert text.startswith(f":::{{table}} One row. {expected}\n")
    marked = shown(Figure(), one, other)
    assert "not evidence" in marked.texts[0].get_text()
    assert not shown(Figure(), one, LAPTOP).texts
    assert table(["a"], [[1]], "One row.", "table-one").data.startswith(":::{table} One row.\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (284.3, "280"),
        (100.2, "100"),
        (99.4, "99"),
        (0.1852, "0.19"),
        (3.3e-7, "< 0.0001"),
        (0, "0"),
    ],
)
def test_numbers_have_no_power_of_ten(value, text):
    assert plain_number(value) == text


@pytest.mark.parametrize(
    ("p_value", "text"),
    [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.0134, "0.013"), (0.911, "0.911"), (1.0, "> 0.999")],
)
def test_p_values_are_never_printed_as_none_or_certain(p_value, text):
    assert p_cell(p_value) == text


def test_long_lines_are_folded_and_wide_tables_split(capsys):
    names = [f"column_{i}" for i in range(12)]
    rows = [[f"{10 * i + k}.5" for k in range(12)] for i in range(2)]
    lines = [" " + " ".join(row) for row in (names, *rows)]
    print_folded("\n".join(["word " * 30, "", *lines, "end", "  a narrow one", "  is kept"]))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= 79
    assert printed.split().count("word") == 30
    for text in (*names, *rows[0], *rows[1]):
        assert text in printed
    assert printed.endswith("  a narrow one\n  is kept\n")
    print_source(LAPTOP)
    assert capsys.readouterr().out == source_line(LAPTOP) + "\n"


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

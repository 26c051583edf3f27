"""What a reader would not see: the end of cells that are too long, tables before the last line."""

from __future__ import annotations

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bookkit.lint import lost_tables, oversized, wide_examples

LONG = "\n".join(f"x{row} = {row}" for row in range(16))
WIDE = f"x = '{'w' * 76}'"


def notebook(source: str, *tags: str):
    cells = [new_markdown_cell(WIDE), new_code_cell(source, metadata={"tags": list(tags)})]
    return new_notebook(cells=cells)


def test_sizes_of_visible_cells():
    assert oversized(notebook(LONG.rpartition("\n")[0])) == []  # 15 lines
    assert oversized(notebook(WIDE[:79])) == []
    (long,) = oversized(notebook(LONG))
    assert long == "code cell 1 (x0 = 0): 16 lines, at most 15 are shown unfolded"
    (wide,) = oversized(notebook("y = 1\n" + WIDE[:80]))
    assert wide == "code cell 1 (y = 1), line 2: 80 characters, at most 79"


@pytest.mark.parametrize("tag", ["hide-input", "remove-input", "remove-cell", "parameters"])
def test_folded_cells_may_be_larger(tag):
    assert oversized(notebook(f"{LONG}\n{WIDE}", tag)) == []
    assert len(oversized(notebook(f"{LONG}\n{WIDE}", "nbval-ignore-output"))) == 2


@pytest.mark.parametrize(("width", "wide"), [(79, 0), (80, 1)])
def test_python_in_prose_fits_the_page(width, wide):
    page = f"---\nkernelspec: {{}}\n---\n\n{WIDE}\n\n```{{code-cell}}\n{WIDE}\n```\n\n"
    page += f"```python\ny = 1\n{WIDE[:width]}\n```\n"
    row = page.splitlines().index(WIDE[:width]) + 1
    expected = [f"line {row}: 80 characters of Python, at most 79"]
    assert wide_examples(page) == expected[:wide]


@pytest.mark.parametrize(
    ("source", "lost"),
    [
        ("rows = []\ntable(columns, rows, caption)", []),
        ("first = table(columns, rows)\nfirst", [1]),
        ("x = 1\ntable(columns, rows)\nprint(x)", [2]),
        ("for rows in parts:\n    table(columns, rows)", [2]),
        ("table(columns, rows)\ntable(columns, others)", [1]),
        ("recipe.table()\nclaims_table(names)\nprint(1)", []),
        ("", []),
        ("table(columns, rows\nprint(1)", []),  # ruff says where the mistake is
    ],
)
def test_a_table_is_the_last_line_of_its_cell(source, lost):
    expected = [f"code cell 1, line {k}: a table is shown only as the last line" for k in lost]
    assert lost_tables(notebook(source)) == expected

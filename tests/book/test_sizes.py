"""What is too long for a reader: cells of a chapter, and lines on a built page."""

from __future__ import annotations

import shutil

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from bookkit import look
from bookkit.lint import oversized

LONG = "\n".join(f"x{row} = {row}" for row in range(16))
WIDE = f"x = '{'w' * 76}'"
PAGE = f"""<html><head><meta charset="utf-8"></head><body><article style="width: 400px">
<div class="cell_input"><pre style="font: 16px monospace">short\n{WIDE}\n{WIDE}\nshort</pre></div>
<details><summary>folded</summary><div class="cell_input"><pre>{2 * WIDE}</pre></div></details>
<div class="cell_output"><pre>short\n{2 * WIDE}</pre></div>
<table><tr><td>narrow</td></tr></table>
<table><tr><td style="min-width: 401px">wide</td></tr></table>
<p><img style="width: 400px; height: 9px"></p>
<div style="display: none; padding: 9px"><img style="width: 500px"></div>
</article></body></html>"""


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


@pytest.mark.skipif(not any(map(shutil.which, look.BROWSERS)), reason="needs Chromium")
def test_what_is_cut_off_on_a_page(tmp_path, capsys):
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    code, output = [WIDE, WIDE, 2 * WIDE], [2 * WIDE]
    assert look.measure(page) == look.Counts(code, output, tables=1, figures=0, equations=0)
    assert page.read_text() == PAGE
    assert look.report([tmp_path]) == 1
    assert "3 lines of code are cut off" in capsys.readouterr().out

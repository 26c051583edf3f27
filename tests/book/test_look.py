"""The look at built pages finds each fault on a page made to have it, and none on a sound one."""

from __future__ import annotations

import pytest

from bookkit import look

STYLE = "article { max-width: 370px } pre { overflow-x: auto } :root { color-scheme: light dark }"
WIDE = "w" * 300
# what stands in the article of a page, and the beginning of what is found
DOT = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
SOUND = f"""<p>Text. <img src="{DOT}" alt="dot">
<pre tabindex="0">{WIDE}</pre><details><summary>more</summary>folded</details>"""
FAULTS = {
    "console error": ("<script>console.error('no')</script>", "console error: no"),
    "script": ("<script>unknown()</script>", "console error: unknown is not defined"),
    "request": (
        '<link rel="stylesheet" href="https://fonts.example/a.css">',
        "external request: https://fonts.example/a.css",
    ),
    "later request": (
        '<script>fetch("//data.example/b.json").catch(() => {})</script>',
        "external request: ",
    ),
    "picture": ('<img src="none.png" alt="none">', "picture does not load: "),
    "alternative text": (
        f'<img src="{DOT}">',
        "image-alt: img",
    ),
    "contrast": ('<p style="color: #aaa; background: #fff">pale</p>', "color-contrast: p"),
    "contrast in the dark": (
        "<style>@media (prefers-color-scheme: dark) { p { color: #333; background: #000 } }"
        "</style><p>dark</p>",
        "color-contrast: p",
    ),
    "paragraph": (f"<p>{WIDE}</p>", "page scrolls sideways: "),
    "text": (
        f'<div style="overflow: hidden">{WIDE}</div>',
        "cut off: div",
    ),
    "table": (
        f'<div style="overflow: hidden"><table><tr><td>{WIDE}</td></tr></table></div>',
        "cut off: table",
    ),
    "figure beyond its column": (
        '<canvas style="width: 375px; display: block"></canvas>',
        "cut off: canvas",
    ),
    "folded code": (
        f'<details><summary>more</summary><div class="cell_input"><pre tabindex="0">{WIDE}</pre>'
        "</div></details>",
        "cut off: pre",
    ),
    "scrolls for a mouse": (f"<pre>{WIDE}</pre>", "out of reach of keys: pre"),
}


def write(folder, inside: str):
    path = folder / "page.html"
    path.write_text(
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>page</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head>'
        f"<body><main><article><h1>Title</h1>{inside}</article></main></body></html>"
    )
    return path


def test_a_sound_page_has_no_fault(opened, tmp_path):
    assert look.faults(*opened, write(tmp_path, SOUND)) == []


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_is_found(opened, tmp_path, kind):
    inside, wanted = FAULTS[kind]
    found = look.faults(*opened, write(tmp_path, inside))
    assert any(fault.startswith(wanted) for fault in found), found
    if kind == "contrast in the dark":
        assert [fault[-6:] for fault in found] == ["[dark]"]

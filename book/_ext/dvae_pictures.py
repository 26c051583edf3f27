"""Sphinx extension: wide figures can be read on a phone.

At the width of a phone the text of a figure that is as wide as the column of a desktop would be 4
to 5 pixels high. Such a picture stands in a box of its own, in which `book.css` keeps it larger
on narrow screens, so that it scrolls sideways; `pictures.js` brings keys there. Every picture gets
its size, so that the text below it does not move when it is loaded.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from sphinx.application import Sphinx

WIDE = 640  # pixels: what is narrower is legible as it is
PICTURE = re.compile(r'<img (?P<rest>[^>]*?src="[^"]*_images/(?P<name>[^"/]+\.png)"[^>]*?) ?/>')


def png_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the header of a PNG file."""
    header = path.read_bytes()[:24]
    if header[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError(f"{path} is no PNG file")
    return struct.unpack(">II", header[16:24])


def in_a_box(body: str, sizes: dict[str, tuple[int, int]]) -> str:
    """Pictures of a page with their sizes, the wide ones in a box."""

    def replaced(found: re.Match) -> str:
        size = sizes.get(found["name"])
        if size is None or " width=" in found["rest"]:
            return found[0]
        picture = f'<img {found["rest"]} width="{size[0]}" height="{size[1]}" />'
        if size[0] <= WIDE:
            return picture
        return f'<span class="wide-picture" style="--width: {size[0]}px">{picture}</span>'

    return PICTURE.sub(replaced, body)


def box_pictures(app: Sphinx, pagename: str, template: str, context: dict, doctree) -> None:
    """Put the wide pictures of a page into boxes before the page is written."""
    if "_images/" not in context.get("body", ""):
        return
    files = {name: Path(app.srcdir) / source for source, name in app.builder.images.items()}
    sizes = {n: png_size(path) for n, path in files.items() if path.suffix == ".png"}
    context["body"] = in_a_box(context["body"], sizes)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_js_file("pictures.js", loading_method="defer")
    app.connect("html-page-context", box_pictures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

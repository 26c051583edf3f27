"""Wide pictures are legible on a phone, and keys scroll them."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

import matplotlib.image
import numpy as np
import pytest

from bookkit.browser import open_page
from bookkit.chapters import ROOT

NARROW = '<p><img alt="narrow" src="../_images/narrow.png" /></p>'
WIDE = '<figure><img alt="wide" src="../_images/wide.png" /></figure>'
OTHERS = '<img src="../_static/logo.svg"/><img src="../_images/known.png" width="9" height="9" />'


@pytest.fixture
def pictures(monkeypatch):
    """The extension."""
    monkeypatch.syspath_prepend(ROOT / "book" / "_ext")
    import dvae_pictures

    return dvae_pictures


@pytest.fixture
def written(tmp_path, pictures):
    """A page with a narrow and a wide picture, as the extension leaves it."""
    for name, width in (("narrow", 300), ("wide", 900)):
        (tmp_path / "_images").mkdir(exist_ok=True)
        matplotlib.image.imsave(tmp_path / "_images" / f"{name}.png", np.zeros((90, width)))
    images = {f"_images/{name}.png": f"{name}.png" for name in ("narrow", "wide")}
    app = SimpleNamespace(srcdir=tmp_path, builder=SimpleNamespace(images=images))
    context = {"body": NARROW + WIDE + OTHERS}
    pictures.box_pictures(app, "page", "page.html", context, None)
    return tmp_path, context["body"]


def test_pictures_have_their_size_and_wide_ones_a_box(written):
    _, body = written
    assert '<p><img alt="narrow" src="../_images/narrow.png" width="300" height="90" /></p>' in body
    picture = '<img alt="wide" src="../_images/wide.png" width="900" height="90" />'
    assert f'<span class="wide-picture" style="--width: 900px">{picture}</span></figure>' in body
    assert body.endswith(OTHERS)


def test_what_is_no_png_is_told(tmp_path, pictures):
    path = tmp_path / "a.png"
    path.write_bytes(b"GIF89a" + bytes(30))
    with pytest.raises(ValueError, match="is no PNG file"):
        pictures.png_size(path)


@pytest.mark.parametrize("width", [390, 1280])
def test_a_wide_picture_scrolls_by_keys_on_a_phone_only(browser, written, width):
    folder, body = written[0], written[1].removesuffix(OTHERS)
    shutil.copytree(ROOT / "book" / "_static", folder / "_static")
    (folder / "book").mkdir()
    page_file = folder / "book" / "page.html"
    page_file.write_text(
        '<!DOCTYPE html><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<link rel="stylesheet" href="../_static/book.css"><main>{body}</main>'
        '<script src="../_static/pictures.js"></script>'
    )
    with open_page(browser, width) as (page, wrong):
        page.goto(page_file.as_uri())
        box = page.locator(".wide-picture")
        page.wait_for_function("document.querySelector('[alt=wide]').complete")
        phone = width < 400
        shown = box.locator("img").bounding_box()["width"]
        assert shown == pytest.approx(0.65 * 900 if phone else 900, abs=1)
        page.wait_for_timeout(100)  # the observer comes after the layout
        assert box.get_attribute("tabindex") == ("0" if phone else None)
        if phone:
            box.focus()
            page.keyboard.press("ArrowRight")
            page.wait_for_function("document.querySelector('.wide-picture').scrollLeft > 0")
        # the page itself stays as wide as the window
        assert page.evaluate("document.scrollingElement.scrollWidth") <= width
        assert wrong == []

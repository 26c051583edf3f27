"""What a reader sees: faults of built pages, found in Chromium at two widths, light and dark.

Looked for are errors on the console, requests to other machines, pictures that do not load, what is
cut off or reaches beyond its column, and what axe-core calls a serious or critical hindrance for
readers with other senses.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from .browser import MISSING, find_browser, open_browser, open_page

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["MODES", "WIDTHS", "faults", "report"]

WIDTHS = (390, 1280)
MODES = ("light", "dark")
_GRAVE = ("serious", "critical")
_SOURCES = 5  # pages of the library's code for axe-core: all have one template, without a picture

# Folded cells are opened, and pictures further down are loaded.
_OPEN = """
async () => {
  await window.MathJax?.startup?.promise;
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  document.querySelectorAll("img").forEach((picture) => { picture.loading = "eager"; });
  await Promise.all([...document.images].map((picture) => picture.decode().catch(() => {})));
}
"""

# What is wider than its box may scroll in it, where keys reach it; lines of code on a wide page may
# not. A pixel is rounding.
_SIZES = """
(wide) => {
  const found = [];
  const name = (element) => {
    const text = element.textContent.trim().replace(/\\s+/g, " ").slice(0, 60);
    const own = [element.localName, ...element.classList].join(".");
    return `${own} ${element.id && "#" + element.id} ${text || element.getAttribute("src") || ""}`;
  };
  const note = (kind, element) => found.push(`${kind}: ${name(element)}`);
  const scrolls = (style) => ["auto", "scroll"].includes(style.overflowX);
  const root = document.scrollingElement;
  if (root.scrollWidth > innerWidth + 1) found.push(`page scrolls sideways: ${root.scrollWidth}`);
  // letters of a formula are larger than their boxes; the formula itself is looked at below
  for (const box of document.querySelectorAll("body *:not(span.math, mjx-container *)")) {
    if (box.clientWidth < 2 || box.scrollWidth <= box.clientWidth + 1) continue;
    const style = getComputedStyle(box);
    if (style.overflowX === "visible" || !box.checkVisibility()) continue;
    if (!scrolls(style)) note("cut off", box);
    else if (wide && box.matches(".cell_input pre, .highlight-python pre")) note("cut off", box);
    else if (box.tabIndex < 0 && !box.querySelector("a[href], button, input, [tabindex='0']"))
      note("out of reach of keys", box);
  }
  const article = document.querySelector("article") ?? document.body;
  for (const part of article.querySelectorAll("pre, table, img, svg, canvas, mjx-container")) {
    let box = part.parentElement;
    while (box !== article && getComputedStyle(box).overflowX === "visible")
      box = box.parentElement;
    const beyond = part.getBoundingClientRect().right > box.getBoundingClientRect().right + 1;
    if (beyond && part.checkVisibility() && !scrolls(getComputedStyle(box))) note("cut off", part);
  }
  for (const picture of document.images)
    if (picture.naturalWidth === 0) found.push(`picture does not load: ${picture.src}`);
  return found;
}
"""

# The structure is looked at with one of the words of code that look alike, five of a kind of
# definition in the API, three rows of a table, and one letter of a formula.
_THIN = """
() => {
  const seen = {};
  const more = (kind, most) => (seen[kind] = (seen[kind] ?? 0) + 1) > most;
  const same = [...document.querySelectorAll("pre span:not(:has(*)), dl.py")].filter((part) => {
    if (part.matches("dl")) return more(part.className, 5);
    const { color, fontWeight } = getComputedStyle(part);
    return more([color, fontWeight, part.closest("pre").parentElement.className].join(), 1);
  });
  same.forEach((part) => part.remove());
  document.querySelectorAll("tbody tr:nth-child(n + 4)").forEach((row) => row.remove());
  document.querySelectorAll("mjx-container").forEach((formula) => formula.replaceChildren("x"));
}
"""

# Colours are compared word by word, which takes long: of the elements that have one look and one
# kind, and lie in elements of one kind, the first keeps its text.
_ONE_OF_A_LOOK = """
() => {
  const seen = new Set();
  const kind = (element) => element && `${element.localName}.${element.className}`;
  const behind = (element) => {
    for (let box = element; box; box = box.parentElement) {
      const { backgroundColor } = getComputedStyle(box);
      if (backgroundColor !== "rgba(0, 0, 0, 0)") return backgroundColor;
    }
  };
  for (const element of document.querySelectorAll("body *:not(svg, svg *, script, style)")) {
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    if (texts.length === 0 || !element.checkVisibility()) continue;
    const { color, fontSize, fontWeight, opacity } = getComputedStyle(element);
    const { parentElement: box } = element;
    const places = [kind(element), kind(box), kind(box?.parentElement), behind(element)];
    const look = [...places, color, fontSize, fontWeight, opacity].join();
    if (seen.has(look)) texts.forEach((text) => text.remove());
    seen.add(look);
  }
}
"""

_AXE = """
async ([grave, options]) => {
  const { violations } = await axe.run({ resultTypes: ["violations"], preload: false, ...options });
  return violations.filter(({ impact }) => grave.includes(impact)).flatMap(({ id, nodes }) =>
    nodes.map(({ target, any, html }) =>
      `${id}: ${target.join(" ")} (${any[0]?.message ?? html.slice(0, 80)})`));
}
"""


_STRUCTURE = {"rules": {"color-contrast": {"enabled": False}}}
_COLOURS = {"runOnly": ["color-contrast"]}


@cache
def _axe() -> str:
    return files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


def _set_mode(page: Page, mode: str) -> None:
    page.emulate_media(color_scheme=mode, reduced_motion="reduce")
    page.wait_for_function(
        "(mode) => (document.documentElement.dataset.theme ?? mode) === mode", arg=mode
    )


def faults(
    page: Page, wrong: list[str], path: Path, pictures: Path | None = None, axe: bool = True
) -> list[str]:
    """Return the faults of a page of HTML, each with the width or the mode in which it shows.

    `page` and `wrong` are those of `browser.open_page`. Sizes are taken at both widths, without a
    difference between modes; axe-core runs at the greater width, for contrast in both modes, or
    not at all.
    """
    found = []
    wrong.clear()
    page.set_viewport_size({"width": WIDTHS[0], "height": 1000})
    page.goto(path.resolve().as_uri())
    page.evaluate(_OPEN)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 1000})
        found += [f"{fault} [{width}]" for fault in page.evaluate(_SIZES, width > 1000)]
        for mode in MODES if pictures else ():
            _set_mode(page, mode)
            name = f"{path.parent.name}-{path.stem}-{width}-{mode}.png"  # stems occur twice
            page.screenshot(path=pictures / name, full_page=True)
    if axe:
        _set_mode(page, MODES[0])
        page.evaluate(_THIN)
        page.evaluate(_axe())
        found += page.evaluate(_AXE, [_GRAVE, _STRUCTURE])
        page.evaluate(_ONE_OF_A_LOOK)
    for mode in MODES if axe else ():
        _set_mode(page, mode)
        found += [f"{fault} [{mode}]" for fault in page.evaluate(_AXE, [_GRAVE, _COLOURS])]
    return list(dict.fromkeys(wrong + found))


def _pages(paths: list[Path]) -> Iterator[Path]:
    """Pages, without those that send on to another at once."""
    for path in paths:
        inside = (one for one in path.rglob("*.html") if "_static" not in one.parts)
        for one in sorted(inside) if path.is_dir() else [path]:
            if 'http-equiv="refresh"' not in one.read_text(encoding="utf-8").lower():
                yield one


def _look(pages: list[tuple[Path, bool]], pictures: Path | None) -> list[tuple[Path, list[str]]]:
    """Faults of some pages, each with whether axe-core runs on it, in a browser of their own."""
    with open_browser() as browser, open_page(browser) as (page, wrong):
        return [(path, faults(page, wrong, path, pictures, axe)) for path, axe in pages]


def report(paths: list[Path], pictures: Path | None = None, jobs: int = 2) -> int:
    """Print the faults of pages and save pictures of them; return 1 if there is a fault.

    Folders stand for all pages in them; `jobs` browsers share them. Where there is no browser, that
    is said and 0 returned.
    """
    for path in paths:
        if not path.exists():
            print(f"{path}: there is no such page; build the book with: make book")
            return 1
    if find_browser() is None:
        print(f"the pages were not looked at: {MISSING}")
        return 0
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    started, kinds = time.perf_counter(), Counter()
    pages, sources = [], 0
    for path in _pages(paths):
        sources += "_modules" in path.parts
        pages.append((path, "_modules" not in path.parts or sources <= _SOURCES))
    shares = [share for k in range(jobs) if (share := pages[k::jobs])]
    with ThreadPoolExecutor(jobs) as pool:  # the browsers are processes of their own
        for looked in pool.map(_look, shares, [pictures] * len(shares)):
            for path, found in looked:
                for fault in found:
                    kinds[fault.partition(":")[0]] += 1
                    print(f"{path}: {fault}")
    count = len(pages)
    number = ", ".join(f"{many} {kind}" for kind, many in kinds.most_common()) or "no faults"
    print(
        f"{count} page{'s' * (count != 1)} at {WIDTHS[1]} and {WIDTHS[0]} pixels, light and dark, "
        f"in {time.perf_counter() - started:.0f} s: {number}"
    )
    return int(bool(kinds))

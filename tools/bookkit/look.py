"""What a reader sees: code, tables and figures that are wider than their place on a page.

Headless Chromium lays each page out at a given width. A script in a copy of the page measures and
leaves its answer in the title, which the browser then prints (``--dump-dom``).
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Counts", "ask", "find_browser", "measure", "report"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
_PAGE_SECONDS = 120

_ANSWER = 'const answer = (value) => { document.title = "ANSWER" + JSON.stringify(value); };'

# Folded cells are opened first. Every line of a block becomes an element of its own, whose width
# is compared with the block's; a tenth of a pixel is rounding.
_SCRIPT = """
addEventListener("load", () => {
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
  const room = (box) => {
    const style = getComputedStyle(box);
    return box.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
  };
  const cut = (selector) => {
    const found = [];
    for (const block of document.querySelectorAll(selector)) {
      const available = room(block) + 0.1;
      const lines = block.textContent.split("\\n").map((text) => {
        const line = document.createElement("span");
        line.textContent = text;
        line.style.cssText = "display: inline-block; white-space: pre";
        return line;
      });
      block.replaceChildren(...lines.flatMap((line) => [line, "\\n"]));
      const wider = lines.filter((line) => line.getBoundingClientRect().width > available);
      found.push(...wider.map((line) => line.textContent));
    }
    return found;
  };
  const wide = (selector) => [...document.querySelectorAll(selector)].filter((element) => {
    if (!element.getClientRects().length) return false;  // not shown
    let box = element.parentElement;
    while (getComputedStyle(box).display === "inline") box = box.parentElement;
    return element.getBoundingClientRect().width > room(box) + 0.1;
  }).length;
  const counts = {
    code: cut("article .cell_input pre, article .highlight-python pre"),
    output: cut("article .cell_output pre"),
    tables: wide("article table"),
    figures: wide("article img, article svg"),
    equations: wide("article div.math > mjx-container > svg, article div.math mjx-math"),
  };
  answer(counts);
});
"""


@dataclass(frozen=True)
class Counts:
    """Lines of code and of printed output that a page cuts off; tables, figures and equations."""

    code: list[str]
    output: list[str]
    tables: int
    figures: int
    equations: int


def find_browser() -> str:
    """Return the path of Chromium; `SystemExit` with advice where there is none."""
    for name in BROWSERS:
        path = shutil.which(name)
        if path:
            return path
    raise SystemExit(f"no browser called {', '.join(BROWSERS)}; install Chromium")


def _chromium(browser: str, width: int, address: str, *options: str) -> str:
    with tempfile.TemporaryDirectory() as profile:
        command = [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
            *(f"--user-data-dir={profile}", f"--window-size={width},1000"),
            *("--virtual-time-budget=20000", "--allow-file-access-from-files"),
            *(*options, address),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_PAGE_SECONDS)
    return done.stdout


def ask(page: Path, script: str, width: int = 1280, browser: str | None = None) -> Any:
    """Return what a script at the head of a page gives to the function `answer`, through JSON.

    Raises `RuntimeError` if it gives nothing.
    """
    text = page.read_text(encoding="utf-8")
    base = f'<base href="{page.resolve().as_uri()}">'
    text = text.replace("<head>", f"<head>{base}<script>{_ANSWER}{script}</script>", 1)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / page.name
        copy.write_text(text, encoding="utf-8")
        shown = _chromium(browser or find_browser(), width, copy.as_uri(), "--dump-dom")
    found = re.search(r"<title>ANSWER(.*?)</title>", shown, re.DOTALL)
    if found is None:
        raise RuntimeError(f"the browser measured nothing on {page}")
    return json.loads(html.unescape(found[1]))


def measure(page: Path, width: int = 1280, browser: str | None = None) -> Counts:
    """Return what is too wide on a built page in a window `width` pixels wide.

    Raises `RuntimeError` if the browser gives no answer.
    """
    return Counts(**ask(page, _SCRIPT, width, browser))


def _pages(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        yield from sorted(path.glob("*.html")) if path.is_dir() else [path]


def report(pages: list[Path], width: int = 1280, pictures: Path | None = None) -> int:
    """Print the counts of pages, save pictures of them, and return 1 if code is cut off.

    Folders stand for the pages of chapters in them. Pictures are as wide as the window and
    20000 pixels high.
    """
    browser = find_browser()
    print(f"wider than their place in a window of {width} pixels:")
    print(f"{'page':<24}{'code':>8}{'output':>8}{'tables':>8}{'figures':>9}{'equations':>11}")
    code = 0
    for page in _pages(pages):
        counts = measure(page, width, browser)
        code += len(counts.code)
        print(
            f"{page.stem:<24}{len(counts.code):>8}{len(counts.output):>8}{counts.tables:>8}"
            f"{counts.figures:>9}{counts.equations:>11}",
            *(f"\n  {line.strip()}" for line in counts.code + counts.output),
            flush=True,
        )
        if pictures is not None:
            pictures.mkdir(parents=True, exist_ok=True)
            target = (pictures / f"{page.stem}.png").resolve()
            options = (f"--window-size={width},20000", f"--screenshot={target}")
            _chromium(browser, width, page.resolve().as_uri(), *options)
    print(f"{code} lines of code are cut off")
    return int(code > 0)

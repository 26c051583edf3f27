"""Pages in the system's Chromium, without a window, worked by Playwright."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["MISSING", "find_browser", "open_browser", "open_page"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MISSING = f"needs a browser called {', '.join(BROWSERS)}: apt-get install chromium"
# no name of another machine is found: what a page asks for there is reported and never sent
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"]
_LOCAL = ("file:///", "data:", "blob:", "about:")
_PAGE_MILLISECONDS = 120_000


def find_browser() -> str | None:
    """Return the path of Chromium, or None where there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@contextlib.contextmanager
def open_browser() -> Iterator[Browser]:
    """Chromium; `RuntimeError` with advice where there is none."""
    from playwright.sync_api import sync_playwright

    path = find_browser()
    if path is None:
        raise RuntimeError(MISSING)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield browser
        browser.close()


@contextlib.contextmanager
def open_page(browser: Browser, width: int = 1280) -> Iterator[tuple[Page, list[str]]]:
    """A new page in a window `width` pixels wide, and a list that grows by what goes wrong on it.

    What goes wrong: errors of scripts, errors on the console, and requests to other machines.
    """
    page = browser.new_page(viewport={"width": width, "height": 1000})
    page.set_default_timeout(_PAGE_MILLISECONDS)
    wrong: list[str] = []

    def note(kind: str, text: str) -> None:
        wrong.append(f"{kind}: {text}")

    page.on("pageerror", lambda error: note("console error", str(error)))
    page.on(
        "console",
        lambda said: note("console error", said.text) if said.type == "error" else None,
    )
    page.on(
        "request",
        lambda sent: None if sent.url.startswith(_LOCAL) else note("external request", sent.url),
    )
    yield page, wrong
    page.close()

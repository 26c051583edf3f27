"""Look through built pages for requests to other machines, and for links that do not hold.

A link to a file must be relative and stay within the pages, so that they can be moved.
"""

from __future__ import annotations

import os
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

__all__ = ["report", "scan"]

_FETCHED = {"src", "data", "poster", "srcset", "background"}  # attributes that a browser loads
_FETCHED_TAGS = {"link", "use", "image"}  # tags whose href it loads
_HARMLESS_LINKS = {"canonical", "alternate", "author", "license", "next", "prev", "search"}
_CSS_URL = re.compile(r"""(?:url\(\s*|@import\s+)["']?([^"')\s;]+)""")
_CODE_URL = re.compile(
    r"""["'`]((?:https?:)?//[^"'`\s]+\.(?:m?js|css|json|wasm|woff2?|ttf))["'`?]"""
)


def _external(url: str) -> bool:
    return url.startswith("//") or urlsplit(url).scheme in {"http", "https", "ws", "wss", "ftp"}


class _Links(HTMLParser):
    """Collect what a page loads (`loads`) and what it links to (`links`)."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self._inside = tag if tag in {"script", "style"} else ""
        relations = set(attributes.get("rel", "").lower().split())
        for name, value in attributes.items():
            if name == "style":
                self.loads += _CSS_URL.findall(value)
            elif name == "srcset":
                self.loads += [part.split()[0] for part in value.split(",") if part.split()]
            elif name in _FETCHED and tag != "a":
                self.loads.append(value)
            elif name in {"href", "xlink:href"}:
                if tag in _FETCHED_TAGS and not relations & _HARMLESS_LINKS:
                    self.loads.append(value)
                elif tag == "a":
                    self.links.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.loads += _CSS_URL.findall(data)
        elif self._inside == "script":
            self.loads += _CODE_URL.findall(data)


def scan(folder: Path | str) -> list[str]:
    """Return one line for every external request and every local link that does not hold.

    Links that a reader clicks may lead outside; scripts, styles, fonts, images and frames may
    not. Raises `FileNotFoundError` if the folder holds no page.
    """
    folder = Path(os.path.normpath(folder))
    problems = []
    pages = sorted(path for path in folder.rglob("*.html") if "_static" not in path.parts)
    if not pages:
        raise FileNotFoundError(f"no .html page in {folder}; build the book first: make book")
    for page in pages:
        found = _Links()
        found.feed(page.read_text(encoding="utf-8"))
        where = page.relative_to(folder).as_posix()
        problems += [f"{where}: loads {url}" for url in found.loads if _external(url)]
        for url in found.loads + found.links:
            parts = urlsplit(url)
            if parts.scheme not in {"", "file"} or parts.netloc or not parts.path:
                continue
            target = Path(os.path.normpath(page.parent / unquote(parts.path)))
            if parts.scheme or parts.path.startswith("/"):
                problems.append(f"{where}: {url} holds at one place alone")
            elif not target.is_relative_to(folder):
                problems.append(f"{where}: {url} leads out of the pages")
            elif not target.exists():
                problems.append(f"{where}: nothing at {url}")
    for sheet in sorted(folder.rglob("*.css")):
        where = sheet.relative_to(folder).as_posix()
        urls = _CSS_URL.findall(sheet.read_text(encoding="utf-8"))
        problems += [f"{where}: loads {url}" for url in urls if _external(url)]
    return list(dict.fromkeys(problems))


def report(folder: Path | str) -> int:
    """Print what `scan` finds and return 1 if there is anything, otherwise 0."""
    problems = scan(folder)
    for problem in problems:
        print(problem)
    print(f"{len(problems)} external requests or dead links in {folder}")
    return bool(problems)

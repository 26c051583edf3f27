"""Build and check the book; `make book`, `make references` and `make lint` call this."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bookkit import execute, lint, look, pages, references, site
from bookkit.chapters import ROOT


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="book.py", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)

    build = commands.add_parser("build", help="execute the chapters and build the HTML pages")
    build.add_argument("--profile", choices=["smoke", "laptop", "paper"], default="smoke")
    build.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    build.add_argument("--seed", type=int, default=0)
    build.add_argument("--jobs", type=int, default=2, help="chapters executed at the same time")
    build.add_argument("--force", action="store_true", help="execute unchanged chapters too")
    build.add_argument(
        "--only",
        nargs="+",
        metavar="NN",
        default=[],
        help="a draft of these chapters alone (by number or name), in _build/draft",
    )

    slim = commands.add_parser("references", help="write the nbval references again")
    slim.add_argument("--jobs", type=int, default=2)
    slim.add_argument("--only", nargs="+", metavar="NN", default=[])

    check = commands.add_parser("lint", help="check lint and size of the code cells of chapters")
    check.add_argument("--fix", action="store_true", help="format and repair the chapters")

    scan = commands.add_parser("scan", help="look for external requests and dead links in pages")
    scan.add_argument("folder")

    seen = commands.add_parser("look", help="look for faults of built pages, in Chromium")
    seen.add_argument("pages", nargs="*", type=Path, help="pages or folders; without any, the book")
    seen.add_argument("--pictures", type=Path, help="folder for pictures of every page")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = parser().parse_args(arguments)
    if options.command == "build":
        run = execute.Run(options.profile, options.device, options.seed)
        return site.build(run, only=options.only, jobs=options.jobs, force=options.force)
    if options.command == "references":
        return references.write(only=options.only, jobs=options.jobs)
    if options.command == "lint":
        return lint.lint(fix=options.fix)
    if options.command == "look":
        return look.report(options.pages or [ROOT / "_build" / "html"], options.pictures)
    return pages.report(options.folder)


if __name__ == "__main__":
    sys.exit(main())

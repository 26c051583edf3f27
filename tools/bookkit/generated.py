"""Parts of pages that are written by the build: this build's status, the API, measurements."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path
from types import ModuleType

import pandas as pd
from sphinx.pycode import ModuleAnalyzer

from .chapters import all_chapters
from .claims_page import claims_page
from .front import answer, draw_verdicts
from .measurements import kernels_table, measurements_table, verified_table
from .paper_figures import figures_page

__all__ = ["api_page", "build_note", "status_table", "write", "write_runs"]


def build_note(records: list[dict]) -> str:
    """Return the note on the first page: what this build's chapters ran as."""
    if not records:
        return "No chapter has been executed in this build.\n"
    first = records[0]
    lines = [
        f"```{{admonition}} This build: profile {first['profile']}",
        f":class: {'warning' if first['profile'] == 'smoke' else 'note'}",
        "",
        f"The chapters ran on {first['hardware']} at commit `{first['commit']}`, with seed "
        f"{first['seed']}; {{numref}}`table-status` says when and for how long.",
    ]
    if first["profile"] == "smoke":
        lines.append(
            "At the smoke profile everything that a chapter computes itself is tiny: such figures "
            "show that the code runs and are no evidence. Stored results keep the profile that is "
            "printed with them."
        )
    return "\n".join([*lines, "```"]) + "\n"


def status_table(records: list[dict]) -> str:
    """Return the table of run times that the page "How to reproduce" includes."""
    if not records:
        return "No chapter has been executed in this build.\n"
    first = records[0]
    lines = [
        "```{list-table} Chapters of this build: what ran, for how long, and when.",
        ":name: table-status",
        ":header-rows: 1",
        "",
        "* - Chapter\n  - Profile\n  - Device\n  - Seed\n  - Run time (s)\n  - Finished (UTC)",
        "  - Commit",
    ]
    for noted in records:
        lines.append(
            f"* - {noted['title']}\n  - {noted['profile']}\n  - {noted['device']}\n"
            f"  - {noted['seed']}\n  - {noted['seconds']:.1f}\n  - {noted['finished']}\n"
            f"  - `{noted['commit']}`"
        )
    versions = ", ".join(f"{name} {number}" for name, number in first["versions"].items())
    machines = "; ".join(dict.fromkeys(noted["hardware"] for noted in records))
    total = sum(noted["seconds"] for noted in records)
    lines += [
        "```",
        "",
        f"All chapters together: {total:.0f} s of run time. Machine: {machines}. {versions}.",
    ]
    return "\n".join(lines) + "\n"


def _modules(package: ModuleType) -> list[ModuleType]:
    """Return the modules of a package that say what is public in them, in alphabetical order."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    public = sorted(one.name for one in found if "._" not in one.name)
    modules = [importlib.import_module(name) for name in public]
    return [m for m in modules if hasattr(m, "__all__") and not hasattr(m, "__path__")]


def _directive(name: str, item: object, explained: bool) -> list[str]:
    if inspect.isclass(item):
        return [f".. autoclass:: {name}", "   :members:", "   :show-inheritance:", ""]
    if callable(item):
        return [f".. autofunction:: {name}", ""]
    # autodata of a constant without a comment `#:` would show the documentation of its type
    kind = ["autodata", "   :no-value:"] if explained else ["data"]
    return [f".. {kind[0]}:: {name}", *kind[1:], ""]


def _command_line() -> list[str]:
    """Return the help texts of `dvae` and of each of its commands."""
    import click
    import typer

    from dvae.cli import app

    top = typer.main.get_command(app)
    context = typer.Context(top, info_name="dvae", max_content_width=80, terminal_width=80)
    texts = [top.get_help(context)]
    for name, command in top.commands.items():
        inner = click.Context(
            command, info_name=name, parent=context, max_content_width=80, terminal_width=80
        )
        texts.append(command.get_help(inner))
    return ["## Command line", ""] + [f"```text\n{text}\n```\n" for text in texts]


def api_page(package: ModuleType) -> str:
    """Return the API reference: a table of the public names, then every module's `__all__`.

    A name that the package itself exports is documented under the package's name.
    """
    top = set(package.__all__)
    rest = [f"   {package.__name__}.{name}" for name in sorted(top, key=str.lower)]
    lines = ["## Overview", "", "```{eval-rst}", ".. autosummary::", "", *rest, "```", ""]
    lines += _command_line()
    group = ""
    for module in _modules(package):
        names = [name for name in module.__all__ if getattr(module, name, None) is not None]
        if not names or module.__name__ == f"{package.__name__}.cli":
            continue
        part = module.__name__.split(".")[1]
        if part != group:
            group = part
            lines += [f"## {package.__name__}.{part}", ""]
        if module.__name__.count(".") > 1:
            lines += [f"### {module.__name__}", ""]
        lines += [(module.__doc__ or "").split("\n\n")[0], "", "```{eval-rst}"]
        comments = ModuleAnalyzer.for_module(module.__name__).find_attr_docs()
        for name in names:
            home = package.__name__ if name in top else module.__name__
            lines += _directive(f"{home}.{name}", getattr(module, name), ("", name) in comments)
        lines += ["```", ""]
    return "\n".join(lines)


def _stored_results() -> str:
    """Return how much of each result is stored, and what made it."""
    from dvae.experiments import EXPERIMENTS
    from dvae.results.store import Store
    from dvae.results.trials import PROFILES

    store = Store.default()
    rows = [store.status(one, profile) for one in EXPERIMENTS.values() for profile in PROFILES]
    made = [
        "| Experiment | Profile | Trials | Minutes | Hardware | Commit |",
        "|---|---|---|---|---|---|",
    ]
    labelled: set[str] = set()
    for row in rows:
        if not row["stored"]:
            continue
        found = store.load(row["experiment"], row["profile"]).attrs
        name = row["experiment"]
        if name not in labelled:  # by its first row the page of claims refers to a result
            labelled.add(name)
            name = f"[{name}]{{#result-{name}}}"
        minutes = f"{float(found['seconds']) / 60:.1f}"
        trials = found["trials"]
        if row["missing"]:
            trials = f"{trials}, {row['missing']} missing"
        cells = [name, row["profile"], trials, minutes, found["hardware"]]
        made.append(f"| {' | '.join(map(str, cells))} | {found['commit'].replace('; ', ', ')} |")
    caption = (
        "What made each stored result. Minutes of wall time, the sum over groups of trials, which "
        "may have run side by side and beside other work."
    )
    table = [f":::{{table}} {caption}", ":name: table-made", "", *made, ":::"]
    return "\n".join(table) + "\n"


def _claims(claims: pd.DataFrame, root: Path) -> str:
    """Return the page of claims, with the chapters in their order."""
    titles = {chapter.label: chapter.title for chapter in all_chapters(root)}
    return claims_page(claims, titles)


def _front(claims: pd.DataFrame, folder: Path) -> str:
    """Return the answer of the first page, with a figure of the verdicts beside it."""
    from dvae.claims import Results

    counted = draw_verdicts(claims, folder / "verdicts.svg")
    figure = [
        "```{figure} _generated/verdicts.svg",
        f":alt: Claims by verdict: {counted}.",
        ":name: fig-verdicts",
        "",
        "The paper's statements by verdict ({ref}`page-claims`).",
        "```",
    ]
    return "\n".join([answer(Results()), *figure]) + "\n"


def _write(folder: Path, parts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in parts.items():
        (folder / name).write_text(text, encoding="utf-8")


def write(folder: Path, root: Path) -> None:
    """Write the parts that no chapter's run changes; measurements come from `benchmarks/`."""
    import dvae
    from dvae.claims import claims_table

    folder.mkdir(parents=True, exist_ok=True)
    claims = claims_table()
    parts = {
        "front.md": _front(claims, folder),
        "results.md": _stored_results(),
        "claims.md": _claims(claims, root),
        "figures.md": figures_page(),
        "api.md": api_page(dvae),
        "kernels.md": kernels_table(root / "benchmarks" / "kernels.json"),
        "verified.md": verified_table(root / "benchmarks" / "verified.json"),
        "benchmarks.md": measurements_table(root / "benchmarks" / "measured.json"),
    }
    _write(folder, parts)


def write_runs(folder: Path, records: list[dict]) -> None:
    """Write the parts that say how the chapters of this build ran."""
    _write(folder, {"build.md": build_note(records), "status.md": status_table(records)})

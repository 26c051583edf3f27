"""Tables of what is stored in `benchmarks/`, for the page "How to reproduce"."""

from __future__ import annotations

import json
from pathlib import Path

from dvae.claims.words import sized, typeset

__all__ = ["kernels_table", "measurements_table", "verified_table"]

MISSING = "`make bench` measures speed and memory; no measurement is stored.\n"


def measurements_table(path: Path) -> str:
    """Return the table of the lines that the benchmarks made; each carries what made it."""
    if not path.exists():
        return MISSING
    stored = json.loads(path.read_text(encoding="utf-8"))
    caption = (
        "Speed, memory and accuracy, ours and an alternative in the same run. Ratio: how much "
        "faster ours is, where a row is about speed."
    )
    lines = [
        "| What | Ours | Alternative, same run | Ratio | Measured on |",
        "|---|---|---|---|---|",
    ]
    for m in stored.values():
        if m.get("quick"):  # a quick run shows only that the script runs
            continue
        for row in m["shown"]:
            ratio = row["ratio"]
            times = f"{ratio:.2g}" if ratio and ratio < 10 else (f"{ratio:.0f}" if ratio else "")
            threads = f"{m['threads']} thread{'s'[: m['threads'] != 1]}"
            cells = [row["what"], row["ours"], row["alternative"], times]
            lines.append(f"| {' | '.join(cells)} | {m['hardware']}; {threads}; `{m['commit']}` |")
    if len(lines) == 2:
        return MISSING
    lines = [f":::{{table}} {caption}", ":name: table-measured", "", *lines, ":::"]
    versions = ", ".join(dict.fromkeys(m["torch"] for m in stored.values()))
    lines += ["", f"torch {versions}. Stored in `benchmarks/{path.name}`."]
    return "\n".join(lines) + "\n"


def kernels_table(path: Path) -> str:
    """Return the table of the numerical tests under several kernels of linear algebra."""
    if not path.exists():
        return "`make kernels` runs the numerical tests under other kernels; nothing is stored.\n"
    stored = json.loads(path.read_text(encoding="utf-8"))
    caption = (
        "Numerical tests under kernels of linear algebra that processors choose. Margin: what a "
        "comparison allows over what was measured, the smallest of all that change with the kernel."
    )
    lines = [f":::{{table}} {caption}", ":name: table-kernels", ""]
    lines += [
        "| Asked for | What ran | Tests passed | Failed | Smallest margin |",
        "|---|---|---|---|---|",
    ]
    for run in stored["kernels"]:
        if not run["ran"]:
            lines.append(f"| {run['kernel']} | not on this processor | | | |")
        elif run["worst_margin"] is not None:  # a run of whole notebooks has no margins
            cells = [run["kernel"], ", ".join(run["ran"]), run["passed"], run["failed"]]
            lines.append(f"| {' | '.join(map(str, cells))} | {run['worst_margin']:.2f} |")
    lines += [":::", "", f"Margins below {stored['below']:g} (that of a bound from below, such as"]
    lines += ["a correlation above 0.98, cannot be large):", ""]
    for small in stored["small_margins"]:
        lines.append(f"- `{small['test']}`: {small['margin']:.2f} under {small['kernel']}")
    if not stored["small_margins"]:
        lines.append("- none")
    return "\n".join(lines) + "\n"


def verified_table(path: Path) -> str:
    """Return the table of what `dvae verify` said: a row per experiment, a column per kernel."""
    if not path.exists():
        return "`python tools/verified.py` verifies a sample of every experiment; none is stored.\n"
    rows = json.loads(path.read_text(encoding="utf-8"))
    ran = {row["kernel"]: ", ".join(row["ran"]) for row in rows}
    caption = (
        "What `dvae verify` says of one group of trials of each stored experiment, computed "
        "again: outcome and largest difference of a number over the largest of its variable."
    )
    lines = [f":::{{table}} {caption}", ":name: table-verified", ""]
    lines += [
        f"| Experiment | Trials | {' | '.join(ran.values())} |",
        "|---|---" + "|---" * len(ran) + "|",
    ]
    for name in dict.fromkeys(row["experiment"] for row in rows):
        own = {row["kernel"]: row for row in rows if row["experiment"] == name}
        cells = [f"`{name}`", str(next(iter(own.values()))["trials"])]
        for kernel in ran:
            row = own.get(kernel)
            largest = row and row["largest"]
            cells.append(
                "" if not row else row["outcome"] + (f", {_size(largest)}" if largest else "")
            )
        lines.append(f"| {' | '.join(cells)} |")
    machines = "; ".join(dict.fromkeys(row["hardware"] for row in rows))
    commits = ", ".join(dict.fromkeys(f"`{row['commit']}`" for row in rows))
    lines += [":::", "", f"Computed again on: {machines}, at {commits}."]
    for row in rows:
        if row["outcome"] == "different":
            lines += ["", f"- `{row['experiment']}` differs: {row['reason']}."]
    return "\n".join(lines) + "\n"


def _size(value: float) -> str:
    """A relative difference, to a digit: small ones as a power of ten."""
    if value >= 1:
        return f"{value:.0f}"
    return f"{value:.1g}" if value > 1e-3 else typeset(sized(value))

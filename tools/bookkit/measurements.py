"""Table of `benchmarks/measured.json` for the page "How to reproduce"."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["measurements_table"]

MISSING = "`make bench` measures speed and memory; no measurement is stored.\n"


def measurements_table(path: Path) -> str:
    """Return the table of the lines that the benchmarks made; each carries what made it."""
    if not path.exists():
        return MISSING
    stored = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "| What | Ours | Alternative, same run | Ratio | Threads | Commit |",
        "|---|---|---|---|---|---|",
    ]
    for m in stored.values():
        if m.get("quick"):  # a quick run shows only that the script runs
            continue
        for row in m["shown"]:
            ratio = row["ratio"]
            times = f"{ratio:.2g}" if ratio and ratio < 10 else (f"{ratio:.0f}" if ratio else "")
            cells = [row["what"], row["ours"], row["alternative"], times, f"{m['threads']}"]
            lines.append(f"| {' | '.join(cells)} | `{m['commit']}` |")
    if len(lines) == 2:
        return MISSING
    machines = "; ".join(dict.fromkeys(m["hardware"] for m in stored.values()))
    versions = ", ".join(dict.fromkeys(m["torch"] for m in stored.values()))
    lines += ["", f"Machine: {machines}. torch {versions}. Stored in `benchmarks/{path.name}`."]
    return "\n".join(lines) + "\n"

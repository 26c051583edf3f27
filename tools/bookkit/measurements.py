"""Table of `benchmarks/measured.json` for the page "How to reproduce"."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["measurements_table"]

MISSING = "`make bench` measures speed and memory; no measurement is stored.\n"


def _physics(m: dict) -> list[tuple]:
    rows = []
    for what, ours, others in (
        ("Darcy flow, KLE2, per sample", "darcy", ("darcy-colamd", "darcy-mmd")),
        ("all 4225 Karhunen-Loève modes", "kle", ("kle-evr", "kle-evd")),
    ):
        own = m["alternatives"][ours]
        for name in others:
            other = m["alternatives"][name]
            ratio = other["ms_per_sample"] / own["ms_per_sample"]
            cells = [
                f"{row['ms_per_sample']:.2f} ms, {row['peak_mib']:.0f} MiB" for row in (own, other)
            ]
            rows.append((what, cells[0], f"{cells[1]}, {other['label']}", ratio))
    return rows


def _physics_threads(m: dict) -> list[tuple]:
    rows = []
    for name, where in (("quiet", "on a quiet machine"), ("busy", "beside a busy process")):
        own, shared = m[name]["darcy"], m[name]["darcy-shared"]
        ours, theirs = (f"{row['ms_per_sample']:.2f} ms" for row in (own, shared))
        rows.append(
            (
                f"Darcy flow, per sample, {where}; {m['ratios'][name]:.1f} times faster than the "
                "best `spsolve`",
                f"{ours}, batches side by side",
                f"{theirs}, operations shared between threads",
                shared["ms_per_sample"] / own["ms_per_sample"],
            )
        )
    return rows


def _training_threads(m: dict) -> list[tuple]:
    rows = []
    for row in m["rows"]:
        where = "beside a busy process" if row["busy"] else "on a quiet machine"
        one, every = row["one"]["ms"], row["all"]["ms"]
        what = f"step of {row['members']} {row['model']} {where}"
        rows.append((what, f"{one:.1f} ms, one thread", f"{every:.1f} ms, all", every / one))
    return rows


def _pod(m: dict) -> list[tuple]:
    what = (
        f"PodVAE, {m['members']} members, {m['steps']} steps; test loss per node "
        f"{m['test_loss_per_node_mean']:.2f} (mean), {m['test_loss_per_node_worst']:.2f} (worst); "
        f"{m['members_that_reach_the_loss']} reach {m['target_loss_per_node']:g}"
    )
    ours = f"{m['seconds']:.1f} s, {m['member_steps_per_second']:,.0f} member-steps/s"
    theirs = f"{m['one_by_one_member_steps_per_second']:,.0f} member-steps/s, one by one"
    return [(what, ours, theirs, m["ratio"])]


def _recipes(m: dict) -> list[tuple]:
    cells = [
        f"{m[name]['steps_median']:,.0f} steps, {m[name]['seconds_median']:.1f} s, `{name}`"
        if m[name]["steps_median"]
        else f"never in {m[name]['steps_of_the_recipe']:,} steps, `{name}`"
        for name in ("calibrated", "published")
    ]
    what = f"PodVAE to a test loss of -9.42 per node (median of {m['calibrated']['members']} runs)"
    return [(what, *cells, m.get("ratio"))]


def _dense(m: dict) -> list[tuple]:
    rows = []
    for row in m["rows"]:
        others = "".join(
            f"; {row[key]:.2f} {label}"
            for key, label in (("batched", "batched"), ("processes", "in processes"))
            if row[key]
        )
        rows.append(
            (
                f"DenseVAE, {row['members']} members, member-steps/s",
                f"{row['ensemble']:.2f} ({row['share_of_flops']:.0%} of FLOP/s, "
                f"{row['share_of_bandwidth']:.0%} of bandwidth)",
                f"{row['one_by_one']:.2f} one by one{others}",
                row["ratio"],
            )
        )
    return rows


def _grids(m: dict) -> list[tuple]:
    rows = []
    for row in m["rows"]:
        other = {"batched": "in turn", "in turn": "batched"}[row["chosen"]]
        blocks = ", ".join(map(str, row["blocks"]))
        what = (
            f"DenseVAE ({blocks}), {row['nodes']} x {row['nodes']} nodes, {row['members']} "
            f"members, batches of {row['batch']}, member-steps/s"
        )
        cells = [f"{row[name]:.1f} {name}" for name in (row["chosen"], other)]
        rows.append((what, *cells, row[row["chosen"]] / row[other]))
    return rows


def _landscape(m: dict) -> list[tuple]:
    seconds = m["seconds_for_all"]
    what = f"loss along {m['directions']} directions of 50 points"
    return [
        (what, f"{seconds['batched']:.0f} s", f"{seconds[name]:.0f} s, {label}", ratio)
        for name, label in (
            ("plain", "loop over `load_state_dict` (timed on some points)"),
            ("tuned", "the same loop, fields projected beforehand"),
        )
        for ratio in (m["ratios"][f"batched_vs_{name}"],)
    ]


def _scores(m: dict) -> list[tuple]:
    names = ("S_D", "S_KL", "all scores")
    return [
        (f"{name} of 512 samples", f"{m[name]['median_seconds']:.2g} s", "", None) for name in names
    ]


def _divergence(m: dict) -> list[tuple]:
    def cell(gaussian: str, version: str) -> str:
        row = m[f"5000, 5-d, {gaussian}, {version}"]
        return f"{row['bias_percent']:+.1f} % (spread {row['spread_percent']:.1f}), {version}"

    return [
        (
            f"bias of the k-NN divergence of 5000 samples in 5 dimensions, q {gaussian}",
            cell(gaussian, "weighted, k=100"),
            cell(gaussian, "epsilon1, k=1"),
            None,
        )
        for gaussian in ("wider", "slightly wider", "shifted")
    ]


def _powers(m: dict) -> list[tuple]:
    cells = {
        name: f"{row['bias_percent']:.1f} % with the powers {name}"
        for name, row in m.items()
        if isinstance(row, dict)
    }
    ours = cells.pop("1.25 and 2.5")
    what = "bias of the weighted divergence in 5 dimensions, over random Gaussians"
    return [(what, ours, "; ".join(cells.values()), None)]


def _book(m: dict) -> list[tuple]:
    ours = (
        f"{m['seconds']:.0f} s; {m['peak_mib']:,.0f} MiB in all processes, "
        f"{m['largest_process_mib']:,.0f} in the largest"
    )
    return [(f"this book at the smoke profile, {m['jobs']} chapters at a time", ours, "", None)]


PARTS = {
    "physics": _physics,
    "physics-threads": _physics_threads,
    "pod": _pod,
    "recipes": _recipes,
    "dense": _dense,
    "dense-cuda": _dense,
    "grids": _grids,
    "threads": _training_threads,
    "landscape": _landscape,
    "scores-time": _scores,
    "scores-divergence": _divergence,
    "scores-powers": _powers,
    "book": _book,
}


def measurements_table(path: Path) -> str:
    """Return the table; every row carries what made it."""
    if not path.exists():
        return MISSING
    stored = json.loads(path.read_text(encoding="utf-8"))
    lines = [
        "| What | Ours | Alternative, same run | Ratio | Threads | Commit |",
        "|---|---|---|---|---|---|",
    ]
    for name, rows_of in PARTS.items():
        m = stored.get(name)
        if m is None or m.get("quick"):  # a quick run shows only that the script runs
            continue
        for what, ours, theirs, ratio in rows_of(m):
            times = f"{ratio:.2g}" if ratio and ratio < 10 else (f"{ratio:.0f}" if ratio else "")
            made = f"{m['threads']} | `{m['commit']}`"
            lines.append(f"| {what} | {ours} | {theirs} | {times} | {made} |")
    if len(lines) == 2:
        return MISSING
    machines = "; ".join(dict.fromkeys(m["hardware"] for m in stored.values()))
    versions = ", ".join(dict.fromkeys(m["torch"] for m in stored.values()))
    lines += ["", f"Machine: {machines}. torch {versions}. Stored in `benchmarks/{path.name}`."]
    return "\n".join(lines) + "\n"

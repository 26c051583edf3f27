"""Speed of training: ensembles against one model after the other, and recipes against each other.

    python benchmarks/bench_training.py [--device cpu|cuda] [--quick] [--json [PATH]] [--part NAME]

Six parts, each in one run on one machine:

- ``pod``: 50 PodVAEs by the calibrated recipe, against single models trained one after the other
  by an ordinary loop with ``torch.optim.Adam``, measured before and after the ensemble;
- ``recipes``: steps and seconds that the calibrated and the published recipe need to the paper's
  loss of -9.42 per node on test data, same data and model;
- ``dense``: DenseVAE as one batched program, as single models, and as a pool of processes, and
  the share of the device's measured limits that the batched program reaches;
- ``grids``: DenseVAE on three grids, members in one batched program against members in turn;
- ``layout``: one DenseVAE on a CPU with the channels of a node side by side in memory, as it
  trains, with every channel by itself, and in bfloat16, each in processes of its own (what has
  run before in a process changes the times), with the GFLOP/s reached;
- ``threads``: ensembles with one thread and with several for every operation, on this machine as
  it is (wait until it is quiet) and beside one process that never rests.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import platform
import resource
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from unittest import mock

import torch
from torch.utils.flop_counter import FlopCounterMode

from dvae import DarcyDataset, DenseVAE, PodVAE, fit, make_recipe
from dvae.models import VAE, dense
from dvae.threads import one_thread
from dvae.training import Recipe, initialise
from dvae.training.ensemble import Ensemble
from record import add_options, busy_processes, load_now, record, row

PAPER_LOSS = -9.42  # a loss that the paper prints (4.3), here the goal on test data, rate summed
TARGETS = {"pod_seconds": 60.0, "pod_loss": -12.0, "pod_ratio": 6.0, "recipe_ratio": 10.0}
DENSE_RATIO = 10.0  # at 32 members, on a GPU
BATCH = 64


def data(quick: bool, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Training and test fields of KLE2."""
    n = 128 if quick else 512
    whole = DarcyDataset.generate(n_samples=2 * n, n_nodes=17 if quick else 65, seed=seed)
    return whole.fields[:n], whole.fields[n:]


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def one_by_one(model: VAE, fields: torch.Tensor, seed: int, steps: int, device: str) -> float:
    """Seconds per step of one model in an ordinary eager loop, after five steps of warm-up."""
    model = initialise(model, seed).to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    features = model.features(fields.to(device))
    nodes = model.total_nodes
    start = 0.0
    for step in range(steps + 5):
        if step == 5:
            wait(device)
            start = time.perf_counter()
        index = torch.randint(len(features), (BATCH,), device=device)
        noise = torch.randn(BATCH, model.noise_size, device=device)
        terms = model.loss_terms(features[index], noise)
        optimiser.zero_grad()
        (terms.distortion.mean() / nodes + terms.rate.mean()).backward()
        optimiser.step()
    wait(device)
    return (time.perf_counter() - start) / steps


@contextlib.contextmanager
def members_per_call(chosen: int | None):
    """Batch all members (None) or let them take turns (1), whatever the library would choose."""
    before = Ensemble.members_per_call
    Ensemble.members_per_call = chosen
    try:
        yield
    finally:
        Ensemble.members_per_call = before


def ensemble_step(
    model: VAE, fields: torch.Tensor, members: int, steps: int, device: str, batch: int = BATCH
) -> float:
    """Seconds per step of an ensemble: a long run less a short one, so that start-up cancels.

    On a GPU a first run, which loads its kernels, is not counted, and few members take more steps.
    """
    short = 8 if device == "cuda" else 2
    steps = max(steps, 200 // members) if device == "cuda" else steps
    lengths = [short, short + steps]
    seconds = []
    for n in [short, *lengths] if device == "cuda" else lengths:
        recipe = Recipe("benchmark", n, batch, variance=model.decoder.variance.kind)
        done = fit(model, fields, recipe, range(members), device=device, progress=False)
        seconds.append(done.seconds)
    return (seconds[-1] - seconds[-2]) / steps


# ------------------------------------------------------------------------------ PodVAE


def bench_pod(quick: bool, device: str) -> dict:
    training, test = data(quick)
    model = PodVAE.from_fields(training)
    members = 8 if quick else 50
    recipe = make_recipe("calibrated")
    recipe = recipe.shortened(0.05) if quick else recipe
    single_steps = 50 if quick else 300
    before = [one_by_one(model, training, seed, single_steps, device) for seed in range(2)]
    done = fit(model, training, recipe, range(members), device=device, progress=False)
    after = [one_by_one(model, training, seed, single_steps, device) for seed in range(2, 4)]
    losses = done.ensemble.evaluate(test)
    single = statistics.median(before + after)
    loss = losses["loss_per_node"].values
    # a few fields in the tails decide a loss on 512 test samples: repeat with other draws of them
    other_draws = []
    for seed in (1, 2):
        training, test = data(quick, seed)
        other = PodVAE.from_fields(training)
        again = fit(other, training, recipe, range(8), device=device, progress=False)
        other_draws.append(float(again.ensemble.evaluate(test)["loss_per_node"].mean()))
    measured = {
        "members": members,
        "steps": recipe.steps,
        "seconds": done.seconds,
        "member_steps_per_second": members * recipe.steps / done.seconds,
        "one_by_one_member_steps_per_second": 1 / single,
        "ratio": single * members * recipe.steps / done.seconds,
        "one_by_one_ms": [1e3 * seconds for seconds in before + after],
        "test_loss_per_node_mean": float(loss.mean()),
        "test_loss_per_node_median": float(statistics.median(loss)),
        "test_loss_per_node_worst": float(loss.max()),
        "target_loss_per_node": TARGETS["pod_loss"],
        "members_that_reach_the_loss": int((loss <= TARGETS["pod_loss"]).sum()),
        "test_loss_per_node_mean_of_other_draws": other_draws,
        "test_relative_error_median": float(losses["relative_error"].median()),
        "diverged": int(done.diverged.sum()),
    }
    print(f"\nPodVAE, {members} members, {recipe.steps} steps of {recipe.batch_size}")
    print(f"  training                  {done.seconds:10.1f} s")
    print(f"  ensemble                  {measured['member_steps_per_second']:10.0f} member-steps/s")
    print(f"  one by one, eager         {1 / single:10.0f} member-steps/s")
    print(
        f"  test loss per node        {loss.mean():10.2f} (mean), {statistics.median(loss):.2f} "
        f"(median), {loss.min():.2f} to {loss.max():.2f}"
    )
    reaching = measured["members_that_reach_the_loss"]
    print(f"  members at or below {TARGETS['pod_loss']:g}    {reaching:7d} of {members}")
    print(f"  mean, other draws of data {other_draws[0]:10.2f}, {other_draws[1]:.2f} (8 members)")
    verdict("seconds", done.seconds, TARGETS["pod_seconds"], quick, at_most=True)
    verdict("ratio", measured["ratio"], TARGETS["pod_ratio"], quick)
    for name, value in (("mean", loss.mean()), ("worst member", loss.max())):
        verdict(f"loss, {name}", float(value), TARGETS["pod_loss"], quick, at_most=True)
    return measured


def verdict(name: str, value: float, target: float, quick: bool, at_most: bool = False) -> None:
    reached = value <= target if at_most else value >= target
    sign = "at most" if at_most else "at least"
    word = "not judged at --quick" if quick else ("reached" if reached else "MISSED")
    print(f"  {name:26}{value:10.2f} (target {sign} {target:g}: {word})")


# ----------------------------------------------------------------------------- recipes


class Reached(Exception):  # noqa: N818  (it ends a run that has done its work)
    """Every member has reached the loss."""


def steps_to_loss(name: str, loss: float, quick: bool, device: str, members: int) -> dict:
    """Steps and training seconds until each member's test loss per node is at most ``loss``.

    The published recipe weighs the rate with 1e-9 at first; its loss is still counted in full.
    """
    training, test = data(quick)
    recipe = make_recipe(name)
    recipe = recipe.shortened(0.05) if quick and name == "calibrated" else recipe
    recipe = recipe.shortened(0.01) if quick and name == "published" else recipe
    model = PodVAE.from_fields(training)
    reached: dict[int, tuple[int, float]] = {}
    best = [math.inf] * members
    evaluating = 0.0
    start = time.perf_counter()

    def monitor(step, ensemble):
        nonlocal evaluating
        now = time.perf_counter()
        if step % (64 * max(1, recipe.steps // 20_000)) and step < recipe.steps:
            return
        losses = ensemble.evaluate(test, n_samples=2, relative_error=False)["loss_per_node"].values
        for k, value in enumerate(losses):
            best[k] = min(best[k], float(value))
            if value <= loss and k not in reached:
                reached[k] = (step, now - start - evaluating)
        evaluating += time.perf_counter() - now
        if len(reached) == members:
            raise Reached

    with contextlib.suppress(Reached):
        fit(model, training, recipe, range(members), device=device, progress=False, monitor=monitor)
    steps, seconds = zip(*reached.values(), strict=True) if reached else ((), ())
    return {
        "recipe": recipe.name,
        "members": members,
        "reached": len(reached),
        "steps": sorted(steps),
        "steps_median": statistics.median(steps) if steps else None,
        "seconds_median": statistics.median(seconds) if seconds else None,
        "steps_of_the_recipe": recipe.steps,
        "best_loss": best,
    }


def bench_recipes(quick: bool, device: str) -> dict:
    loss = -5.0 if quick else PAPER_LOSS
    members = 4
    measured = {}
    print(f"\nPodVAE, {members} members: steps to a test loss of {loss} per node")
    print(f"  {'recipe':12}{'reached':>9}{'steps (median)':>16}{'seconds':>10}{'of':>10}")
    for name in ("calibrated", "published"):
        row = measured[name] = steps_to_loss(name, loss, quick, device, members)
        steps, seconds = row["steps_median"], row["seconds_median"]
        print(
            f"  {name:12}{row['reached']:>6}/{members}"
            + (f"{steps:16,.0f}{seconds:10.1f}" if steps else f"{'never':>16}{'':10}")
            + f"{row['steps_of_the_recipe']:10,}",
            flush=True,
        )
    fast, slow = measured["calibrated"], measured["published"]
    if fast["steps_median"]:
        # a recipe that never arrives needs more than all its steps
        slow_steps = slow["steps_median"] or slow["steps_of_the_recipe"]
        measured["ratio"] = slow_steps / fast["steps_median"]
        verdict("times fewer steps", measured["ratio"], TARGETS["recipe_ratio"], quick)
    return measured


# ---------------------------------------------------------------------------- DenseVAE


def dense_model(quick: bool) -> DenseVAE:
    return DenseVAE(17, blocks=(1, 2, 1)) if quick else DenseVAE()


def pool_member(quick: bool, seed: int, steps: int, device: str) -> float:
    """Seconds per step of one member in a worker process."""
    if device == "cpu":
        torch.set_num_threads(1)
    model = dense_model(quick)
    return one_by_one(model, torch.randn(128, *model.field_shape), seed, steps, device)


def pool_rate(quick: bool, members: int, steps: int, device: str) -> float:
    """Member-steps per second of processes that train one member each at a time."""
    workers = min(members, len(os.sched_getaffinity(0)))
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        runs = [pool.submit(pool_member, quick, k, steps, device) for k in range(members)]
        return workers / statistics.mean(run.result() for run in runs)


def device_limits(device: str) -> dict:
    """Measured limits: single-precision matrix products and copies of memory."""
    n = 8192 if device == "cuda" else 1536
    a = torch.randn(n, n, device=device)
    big = torch.randn((2**28 if device == "cuda" else 2**25), device=device)
    other = torch.empty_like(big)
    times = {"product": [], "copy": []}
    for _ in range(5):
        for name, work in (("product", lambda: a @ a), ("copy", lambda: other.copy_(big))):
            wait(device)
            start = time.perf_counter()
            work()
            wait(device)
            times[name].append(time.perf_counter() - start)
    return {
        "flops": 2 * n**3 / min(times["product"]),
        "bytes": 2 * big.numel() * 4 / min(times["copy"]),
    }


def cost_of_a_step(model: VAE) -> tuple[int, int]:
    """FLOPs and bytes of activations of one member's step, forward and backward.

    Each module reads its input and writes its output once; the backward pass reads both and
    writes as much again. Fused kernels can need less, so the share of bandwidth is approximate.
    """
    model = initialise(model, 0).train()
    fields = torch.randn(BATCH, *model.field_shape)
    moved = 0

    def count(_, inputs, output):
        nonlocal moved
        tensors = [t for t in (*inputs, output) if isinstance(t, torch.Tensor)]
        moved += 3 * sum(t.numel() * t.element_size() for t in tensors)

    for module in model.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter:
        terms = model.loss_terms(fields, torch.randn(BATCH, model.noise_size))
        (terms.distortion.mean() + terms.rate.mean()).backward()
    return counter.get_total_flops(), moved


def bench_dense(quick: bool, device: str) -> dict:
    model = dense_model(quick)
    fields = torch.randn(128, *model.field_shape)
    sizes = (1, 8) if quick else (1, 8, 32) if device == "cuda" else (1, 2, 4, 8, 32, 64)
    steps = 20 if device == "cuda" else 10 if quick else 6
    flops, moved = cost_of_a_step(model)
    limits = device_limits(device)
    single = [one_by_one(model, fields, seed, steps, device) for seed in range(2)]
    rows = []
    print(f"\nDenseVAE, {model.total_nodes} nodes, batches of {BATCH}: member-steps per second")
    columns = ("ensemble", "batched", "one by one", "processes")
    print(f"  {'members':>8}" + "".join(f"{name:>12}" for name in columns)
          + f"{'ratio':>8}{'FLOP/s':>9}{'memory':>9}")  # fmt: skip
    for members in sizes:
        rate = members / ensemble_step(model, fields, members, steps, device)
        batched = None  # on a GPU that is what the ensemble does
        if device == "cpu" and members <= 8:  # more would fill the memory with activations
            with members_per_call(None):
                batched = members / ensemble_step(model, fields, members, steps, device)
        # one process alone would be the one-by-one row with one thread; on a GPU they take turns
        shared = device == "cpu" and 1 < members <= 8
        pool = pool_rate(quick, members, steps, device) if shared else None
        single.append(one_by_one(model, fields, members, steps, device))
        alone = 1 / statistics.median(single)
        row = {
            "members": members,
            "ensemble": rate,
            "batched": batched,
            "one_by_one": alone,
            "processes": pool,
            "ratio": rate / alone,
            "share_of_flops": rate * flops / limits["flops"],
            "share_of_bandwidth": rate * moved / limits["bytes"],
        }
        rows.append(row)
        cells = "".join(
            f"{value:12.2f}" if value else f"{'':>12}" for value in (rate, batched, alone, pool)
        )
        print(f"  {members:8d}{cells}"
              + f"{row['ratio']:8.2f}{row['share_of_flops']:9.1%}{row['share_of_bandwidth']:9.1%}",
              flush=True)  # fmt: skip
    best = max(row["ensemble"] for row in rows)
    minutes = 50 * make_recipe("published").steps / best / 60
    print(f"  one member's step: {flops / 1e9:.2f} GFLOP, {moved / 2**20:.0f} MiB of activations")
    print(f"  limits measured: {limits['flops'] / 1e9:.0f} GFLOP/s, "
          f"{limits['bytes'] / 2**30:.1f} GiB/s")  # fmt: skip
    print(
        f"  50 members through the paper recipe (52,000 steps): {minutes:.0f} minutes (projected)"
    )
    if device == "cuda" and not quick:
        at_32 = next(row["ratio"] for row in rows if row["members"] == 32)
        verdict("ratio at 32 members", at_32, DENSE_RATIO, quick)
    return {
        "rows": rows,
        "flops_of_a_member_step": flops,
        "activation_bytes_of_a_member_step": moved,
        "limits": limits,
        "minutes_for_50_members_of_the_paper_recipe": minutes,
    }


def bench_grids(quick: bool, device: str) -> dict:
    """Member-steps per second of 8 DenseVAEs on three grids, batched and in turn."""
    members, steps, batch = 8, 2 if quick else 10, 32
    small, default = (2, 2, 2), (3, 4, 6, 4, 3)
    cases = [(17, small), (33, small), (33, default), (65, small)]
    rows = []
    print(f"\nDenseVAE, {members} members, batches of {batch}: member-steps per second")
    print(f"  {'nodes':>8}{'blocks':>18}{'batched':>12}{'in turn':>12}{'ratio':>8}")
    for nodes, blocks in cases[:2] if quick else cases:
        model = DenseVAE(nodes, blocks=blocks)
        fields = torch.randn(64, *model.field_shape)
        row = {"nodes": nodes, "blocks": blocks, "members": members, "batch": batch}
        for name, chosen in (("batched", None), ("in turn", 1)):
            with members_per_call(chosen):
                row[name] = members / ensemble_step(model, fields, members, steps, device, batch)
        in_turn = Ensemble([model]).to(device).members_per_call == 1
        row["chosen"] = "in turn" if in_turn else "batched"
        rows.append(row)
        ratio = row["batched"] / row["in turn"]
        print(f"  {nodes:8d}{blocks!s:>18}{row['batched']:12.1f}{row['in turn']:12.1f}{ratio:8.2f}",
              flush=True)  # fmt: skip
    return {"rows": rows}


LAYOUTS = {  # order in memory, arithmetic of the operations that torch casts by itself
    "channels last": (dense._channels_last, torch.float32),
    "channels first": (lambda x: x, torch.float32),
    "bfloat16": (dense._channels_last, torch.bfloat16),
}


def layout_step(name: str, nodes: int, steps: int, batch: int, device: str) -> float:
    """Milliseconds of a step of one DenseVAE in this process, which does nothing else."""
    torch.set_num_threads(1)
    order, arithmetic = LAYOUTS[name]
    cast = torch.autocast(device, torch.bfloat16, enabled=arithmetic == torch.bfloat16)
    model = DenseVAE(nodes)
    fields = torch.randn(64, *model.field_shape)
    with mock.patch.object(dense, "_channels_last", order), cast:
        return 1e3 * ensemble_step(model, fields, 1, steps, device, batch)


def bench_layout(quick: bool, device: str) -> dict:
    """Milliseconds of a step of one DenseVAE and GFLOP/s; medians of processes that take turns."""
    steps, rounds, batch = (2, 1, 32) if quick else (20, 5, 32)
    rows = []
    print(f"\nDenseVAE, one member, batches of {batch}: milliseconds of a step (GFLOP/s)")
    print(f"  {'nodes':>8}" + "".join(f"{name:>18}" for name in LAYOUTS) + f"{'ratio':>8}")
    for nodes in (33,) if quick else (33, 65):
        flops = cost_of_a_step(DenseVAE(nodes))[0] * batch / BATCH
        rounds_ms: dict[str, list[float]] = {name: [] for name in LAYOUTS}
        for _ in range(rounds):
            for name, found in rounds_ms.items():
                # a process for each time: nothing that another one left behind is measured
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                    run = pool.submit(layout_step, name, nodes, steps, batch, device)
                    found.append(run.result())
        ms = {name: statistics.median(found) for name, found in rounds_ms.items()}
        speed = {name: flops / 1e6 / value for name, value in ms.items()}
        spread = {name: [min(found), max(found)] for name, found in rounds_ms.items()}
        measured = {"milliseconds": ms, "range": spread, "gflop": flops / 1e9, "gflops": speed}
        rows.append({"nodes": nodes, "batch": batch, "rounds": rounds} | measured)
        cells = "".join(f"{value:10.1f} ({speed[name]:5.1f})" for name, value in ms.items())
        ratio = ms["channels first"] / ms["channels last"]
        print(f"  {nodes:8d}{cells}{ratio:8.2f}", flush=True)
    return {"rows": rows}


def with_threads(
    own: bool, model: VAE, fields: torch.Tensor, members: int, steps: int
) -> tuple[dict, torch.Tensor]:
    """Milliseconds of a step with one thread (``own``) or with all, and trained parameters."""
    before = Ensemble.arithmetic
    Ensemble.arithmetic = lambda _: one_thread() if own else contextlib.nullcontext()
    try:
        recipe = Recipe("benchmark", steps, BATCH, variance=model.decoder.variance.kind)
        start = time.process_time()
        done = fit(model, fields, recipe, range(members), progress=False)
        processor = time.process_time() - start
    finally:
        Ensemble.arithmetic = before
    row = {"ms": 1e3 * done.seconds / steps, "processor_ms": 1e3 * processor / steps}
    return row, done.ensemble.parameters


def bench_threads(quick: bool, device: str) -> dict:
    """Milliseconds of a training step with one thread and with all, quiet and beside another."""
    if device != "cpu":
        return {"rows": []}
    n = 33
    waves = torch.randn(256, 8) @ torch.randn(8, 3 * n * n)
    fields = waves.view(256, 3, n, n) + 0.1 * torch.randn(256, 3, n, n)
    pod, dense = PodVAE.from_fields(fields), DenseVAE(17, blocks=(1, 2, 1))
    small = torch.randn(128, *dense.field_shape)
    cases = [("PodVAE", pod, fields, 1, 300), ("PodVAE", pod, fields, 50, 300)]
    cases += [("DenseVAE, 17 x 17 nodes", dense, small, 8, 10)]
    rows = []
    print("\nmilliseconds of a training step (of the processor), one thread against all")
    print(f"  {'':26}{'members':>8}{'beside':>8}{'one':>18}{'all':>18}{'ratio':>8}")
    for busy in (0, 1):
        for label, model, training, members, steps in cases:
            with busy_processes(busy):
                chosen = [
                    with_threads(own, model, training, members, 4 if quick else steps)
                    for own in (True, False)
                ]
            (own, first), (shared, second) = chosen
            row = {"model": label, "members": members, "busy": busy, "one": own, "all": shared}
            row["identical"] = torch.equal(first, second)
            rows.append(row)
            cells = "".join(f"{r['ms']:9.1f} ({r['processor_ms']:6.1f})" for r in (own, shared))
            print(f"  {label:26}{members:8d}{busy:8d}{cells}{shared['ms'] / own['ms']:8.2f}"
                  f"{'' if row['identical'] else '  other bits'}", flush=True)  # fmt: skip
    return {"rows": rows}


# ---------------------------------------------------------------- lines of the book's table


def pod_rows(m: dict) -> list[dict]:
    what = (
        f"PodVAE, {m['members']} members, {m['steps']} steps; test loss per node "
        f"{m['test_loss_per_node_mean']:.2f} (mean), {m['test_loss_per_node_worst']:.2f} (worst); "
        f"{m['members_that_reach_the_loss']} reach {m['target_loss_per_node']:g}"
    )
    ours = f"{m['seconds']:.1f} s, {m['member_steps_per_second']:,.0f} member-steps/s"
    theirs = f"{m['one_by_one_member_steps_per_second']:,.0f} member-steps/s, one by one"
    return [row(what, ours, theirs, m["ratio"])]


def recipes_rows(m: dict) -> list[dict]:
    cells = [
        f"{m[name]['steps_median']:,.0f} steps, {m[name]['seconds_median']:.1f} s, `{name}`"
        if m[name]["steps_median"]
        else f"never in {m[name]['steps_of_the_recipe']:,} steps, `{name}`"
        for name in ("calibrated", "published")
    ]
    members = m["calibrated"]["members"]
    what = f"PodVAE to a test loss of {PAPER_LOSS:g} per node (median of {members} runs)"
    return [row(what, *cells, m.get("ratio"))]


def dense_rows(m: dict) -> list[dict]:
    lines = []
    for found in m["rows"]:
        others = "".join(
            f"; {found[key]:.2f} {label}"
            for key, label in (("batched", "batched"), ("processes", "in processes"))
            if found[key]
        )
        lines.append(
            row(
                f"DenseVAE, members: {found['members']}, member-steps/s",
                f"{found['ensemble']:.2f} ({found['share_of_flops']:.0%} of FLOP/s, "
                f"{found['share_of_bandwidth']:.0%} of bandwidth)",
                f"{found['one_by_one']:.2f} one by one{others}",
                found["ratio"],
            )
        )
    return lines


def grids_rows(m: dict) -> list[dict]:
    lines = []
    for found in m["rows"]:
        chosen = found["chosen"]
        other = {"batched": "in turn", "in turn": "batched"}[chosen]
        blocks = ", ".join(map(str, found["blocks"]))
        what = (
            f"DenseVAE ({blocks}), {found['nodes']} x {found['nodes']} nodes, {found['members']} "
            f"members, batches of {found['batch']}, member-steps/s"
        )
        ours, theirs = (f"{found[name]:.1f} {name}" for name in (chosen, other))
        lines.append(row(what, ours, theirs, found[chosen] / found[other]))
    return lines


def layout_rows(m: dict) -> list[dict]:
    lines = []
    for found in m["rows"]:
        nodes = found["nodes"]
        ours, theirs = (found["milliseconds"][f"channels {name}"] for name in ("last", "first"))
        what = f"step of one DenseVAE, {nodes} x {nodes} nodes, batches of {found['batch']}"
        speed, half = found["gflops"]["channels last"], found["milliseconds"]["bfloat16"]
        cells = (
            f"{ours:.0f} ms ({speed:.0f} GFLOP/s), channels last in memory",
            f"{theirs:.0f} ms, channels first; {half:.0f} ms, bfloat16",
        )
        lines.append(row(what, *cells, theirs / ours))
    return lines


def threads_rows(m: dict) -> list[dict]:
    lines = []
    for found in m["rows"]:
        where = "beside a busy process" if found["busy"] else "on a quiet machine"
        one, every = found["one"]["ms"], found["all"]["ms"]
        what = f"step of {found['members']} {found['model']} {where}"
        lines.append(row(what, f"{one:.1f} ms, one thread", f"{every:.1f} ms, all", every / one))
    return lines


PARTS = {
    "pod": (bench_pod, pod_rows),
    "recipes": (bench_recipes, recipes_rows),
    "dense": (bench_dense, dense_rows),
    "grids": (bench_grids, grids_rows),
    "layout": (bench_layout, layout_rows),
    "threads": (bench_threads, threads_rows),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    add_options(parser)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: only that it runs")
    parser.add_argument("--part", choices=PARTS, help="one part; by default all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    hardware = platform.machine()
    if arguments.device == "cuda":
        hardware = torch.cuda.get_device_name()
    print(f"{hardware}, {arguments.threads} threads, torch {torch.__version__}")
    for name in [arguments.part] if arguments.part else PARTS:
        load = load_now()
        measure, shown = PARTS[name]
        measured = measure(arguments.quick, arguments.device)
        measured |= {"quick": arguments.quick, "peak_mib": peak_mib(arguments.device)}
        where = {"threads": arguments.threads, "load": load, "device": arguments.device}
        suffix = "" if arguments.device == "cpu" else f"-{arguments.device}"
        record(arguments.json, name + suffix, measured, shown, **where)


def peak_mib(device: str) -> float:
    """Largest memory so far: of the process, or on the GPU."""
    if device == "cuda":
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
    print(f"  peak memory {peak:.0f} MiB")
    return peak


if __name__ == "__main__":
    main()

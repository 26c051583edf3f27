"""Losses along random directions in parameter space: batched, against loops over load_state_dict.

    python benchmarks/bench_landscape.py [--json [PATH]] [--threads 2] [--directions 1000]

PodVAE at 65 x 65 nodes, 512 samples, 10 latent draws, 50 points per direction. The batched way
computes all directions. The loops are timed on some of the points, spread over the same
directions, and scaled to all of them. All take turns in small blocks, in one process, so that a
busy machine slows all of them alike. Three loops are timed: the plain one hands the fields to the
model at every point; the tuned one projects them on the modes once, before the loop; the naive one
asks the decoder for distributions of whole fields.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable

import numpy as np
import torch

from dvae import DarcyDataset, PodVAE
from dvae.analysis import Landscape, random_direction
from record import add_options, load_now, record, row

N_NODES, N_SAMPLES, N_DRAWS, N_POINTS = 65, 512, 10, 50
BLOCKS = 20
PER_BLOCK = {"plain": 10, "tuned": 10, "naive": 1}  # points of the loops
NAIVE_BLOCKS = 3
TARGET = 5.0


def state_dicts(model: PodVAE, seed: int, alpha: np.ndarray) -> list[dict[str, torch.Tensor]]:
    """What a loop over load_state_dict loads, prepared beforehand."""
    names = [name for name, _ in model.named_parameters()]
    parameters = [p.detach() for p in model.parameters()]
    direction = random_direction(model, seed).split([p.numel() for p in parameters])
    base = {name: value.clone() for name, value in model.state_dict().items()}
    return [
        base
        | {
            name: p + a * d.reshape(p.shape)
            for name, p, d in zip(names, parameters, direction, strict=True)
        }
        for a in alpha.astype(np.float32).tolist()
    ]


@torch.no_grad()
def loop(model, fields, features, noise, states) -> np.ndarray:
    """Loss per node at every state; given ``features``, fields are not projected again."""
    losses = []
    for state in states:
        model.load_state_dict(state)
        projected = model.features(fields) if features is None else features
        terms = [model.loss_terms(projected, one) for one in noise]
        loss = [t.distortion.mean() / model.total_nodes + t.rate.mean() for t in terms]
        losses.append(float(torch.stack(loss).mean()))
    return np.array(losses)


@torch.no_grad()
def loop_naive(model, fields, noise, states) -> np.ndarray:
    """The same with whole fields and distributions, as one would write it first."""
    losses = []
    for state in states:
        model.load_state_dict(state)
        posterior, loss = model.encoder(fields), 0.0
        for one in noise:
            z = posterior.base_dist.loc + posterior.base_dist.scale * one
            rate = model.prior.rate(posterior, z, one[:, model.n_latents :])
            distortion = -model.decoder(z).log_prob(fields)
            loss += float(distortion.mean() / model.total_nodes + rate.mean()) / len(noise)
        losses.append(loss)
    return np.array(losses)


def timed(function: Callable, *arguments) -> tuple[float, np.ndarray]:
    start = time.perf_counter()
    value = function(*arguments)
    return time.perf_counter() - start, value


def measure(n_directions: int) -> dict:
    data = DarcyDataset.generate("standard-normal", N_SAMPLES, seed=0, n_nodes=N_NODES)
    torch.manual_seed(0)
    model = PodVAE.from_fields(data.fields, n_modes=12, hidden=(24, 24)).eval()
    landscape = Landscape(model, data.fields, n_samples=N_DRAWS)
    centre, alpha = landscape.states(model)[0], np.linspace(0.0, 1.0, N_POINTS)
    noise, features = landscape.noise, landscape.features

    def batched(seeds):
        rays = landscape.rays(centre, alpha, seeds)
        loss = rays["distortion"] / landscape.total_nodes + rays["rate"]
        return loss.mean("draw").values

    worker, fields = landscape.model(centre), data.fields
    ways = {
        "plain": lambda states: loop(worker, fields, None, noise, states),
        "tuned": lambda states: loop(worker, fields, features, noise, states),
        "naive": lambda states: loop_naive(worker, fields, noise, states),
    }
    warm = state_dicts(model, 0, alpha[:1])
    batched([0])
    for way in ways.values():
        way(warm)

    seconds = dict.fromkeys(("batched", *ways), 0.0)
    points, difference = dict.fromkeys(seconds, 0), 0.0
    for number, block in enumerate(np.array_split(np.arange(n_directions), BLOCKS)):
        used, values = timed(batched, block.tolist())
        seconds["batched"] += used
        points["batched"] += values.size
        for name, way in ways.items():
            if name == "naive" and number >= NAIVE_BLOCKS:
                continue
            chosen = np.linspace(0, N_POINTS - 1, PER_BLOCK[name]).astype(int)
            states = state_dicts(model, int(block[0]), alpha[chosen])
            used, own = timed(way, states)
            seconds[name] += used
            points[name] += len(states)
            expected = values[0, chosen]
            difference = max(difference, np.abs((own - expected) / expected).max())
    every = n_directions * N_POINTS
    return {
        "n_parameters": landscape.n_parameters,
        "points": points,
        "seconds": seconds,
        "seconds_for_all": {name: seconds[name] / points[name] * every for name in seconds},
        "largest_relative_difference": float(difference),
    }


def shown(m: dict) -> list[dict]:
    """Lines of the book's table."""
    seconds = m["seconds_for_all"]
    what = f"loss along {m['directions']} directions of {N_POINTS} points"
    return [
        row(
            what,
            f"{seconds['batched']:.0f} s",
            f"{seconds[name]:.0f} s, {label}",
            m["ratios"][f"batched_vs_{name}"],
        )
        for name, label in (
            ("plain", "loop over `load_state_dict` (timed on some points)"),
            ("tuned", "the same loop, fields projected beforehand"),
        )
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    parser.add_argument("--directions", type=int, default=1000, help="at least 20")
    arguments = parser.parse_args()
    load = load_now()
    torch.set_num_threads(arguments.threads)
    result = measure(arguments.directions)
    labels = {
        "batched": "Landscape.rays, in batches",
        "plain": "plain loop over load_state_dict",
        "tuned": "tuned loop, fields projected beforehand",
        "naive": "naive loop, distributions of whole fields",
    }
    print(
        f"{arguments.directions} directions x {N_POINTS} points, {N_NODES} x {N_NODES} nodes, "
        f"{N_SAMPLES} samples x {N_DRAWS} draws, PodVAE with {result['n_parameters']:,} "
        f"parameters, {arguments.threads} threads, {platform.machine()}"
    )
    print(f"{'':44}{'points timed':>14}{'time':>11}{'for all':>12}")
    for name, label in labels.items():
        print(
            f"{label:44}{result['points'][name]:14,d}{result['seconds'][name]:9.1f} s"
            f"{result['seconds_for_all'][name]:10.0f} s"
        )
    whole = result["seconds_for_all"]
    ratios = {f"batched_vs_{name}": whole[name] / whole["batched"] for name in list(labels)[1:]}
    print(f"largest relative difference of the losses: {result['largest_relative_difference']:.1e}")
    for name, ratio in ratios.items():
        verdict = ""
        if name == "batched_vs_plain":
            word = "reached" if ratio >= TARGET else "MISSED"
            verdict = f" (target {TARGET:.0f}: {word})"
        print(f"{name:26}{ratio:7.1f} times{verdict}")
    content = {"directions": arguments.directions} | result | {"ratios": ratios}
    record(arguments.json, "landscape", content, shown, threads=arguments.threads, load=load)


if __name__ == "__main__":
    main()

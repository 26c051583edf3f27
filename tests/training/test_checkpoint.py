"""Killed at any moment, a run goes on and ends with the same bits; damaged files are not used."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open

from dvae.errors import ResultError
from dvae.models import DenseVAE, HierarchicalPrior, PodVAE
from dvae.training import Labels, Recipe, fit, fitting
from dvae.training.trainer import Members

# One process imports the library and forks a child for every run, so that only the runs are killed.
# It takes a step first: what torch imports for that would take each child longer than its run.
RUNS = """
import os, sys
import numpy as np, torch
from dvae.models import DenseVAE, PodVAE
from dvae.training import Labels, Recipe, fit, fitting

fitting.CHUNK = 15 if {case!r} == "pod" else 3
torch.set_num_threads(1)
fields = torch.randn(4, 1, 5, 5)
fit(PodVAE.from_fields(fields, 2, hidden=()), fields, Recipe("first", 1, 2), progress=False)

def run(checkpoint, result):
    fields = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 3, 17, 17))).float()
    labels = None
    if {case!r} == "dense":
        model = DenseVAE(17, blocks=(1, 1, 1), prior="hierarchical")
        recipe = Recipe("killed", 75, 4, variance="learned", schedule="published", nu=0.5,
                        reconstruction_steps=20, learning_rate_steps=((40, 1e-4),))
    else:
        model = PodVAE.from_fields(fields, 6, hidden=(8,), prior="hierarchical-rectified")
        recipe = Recipe("killed", 25 * 15, 4, floor=(1.0, 0.1, 200), labelled_batch=3)
        labels = Labels(np.arange(5), np.ones((5, 2)))
    done = fit(model, fields, recipe, [0, 1, 2], labels=labels, progress=False, record_every=3,
               checkpoint=checkpoint, checkpoint_seconds=0)
    buffers = {{k: v.numpy() for k, v in done.ensemble.buffers.items()}}
    history = {{k: v.values for k, v in done.history.items()}}
    np.savez(result, parameters=done.ensemble.parameters.numpy(), steps=done.history["step"],
             **buffers, **history)

for line in sys.stdin:
    checkpoint, result = line.strip().split("|")
    child = os.fork()
    if child == 0:
        run(checkpoint or None, result)
        os._exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def step_of(path):
    with safe_open(str(path), framework="pt") as file:
        return int(file.metadata()["step"])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("case", ["pod", "dense"])
def test_killed_at_five_random_moments_the_run_ends_with_the_same_bits(case, tmp_path):
    nursery = subprocess.Popen(
        [sys.executable, "-c", RUNS.format(case=case)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def start(checkpoint, result):
        nursery.stdin.write(f"{checkpoint}|{result}\n")
        nursery.stdin.flush()
        return int(nursery.stdout.readline())

    generator = random.Random(case)
    path, steps = tmp_path / "run.checkpoint", []
    try:
        for _ in range(5):
            child = start(path, tmp_path / "killed.npz")
            for _ in range(generator.randint(1, 3)):  # let it get that many checkpoints further
                seen = path.stat().st_mtime_ns if path.exists() else None
                while not path.exists() or path.stat().st_mtime_ns == seen:
                    time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            assert int(nursery.stdout.readline()) == -signal.SIGKILL
            steps.append(step_of(path))
        assert all(0 < a < b for a, b in itertools.pairwise(steps))
        for checkpoint, name in ((path, "resumed.npz"), ("", "whole.npz")):
            start(checkpoint, tmp_path / name)
            assert int(nursery.stdout.readline()) == 0
    finally:
        nursery.kill()
        nursery.wait()
    with np.load(tmp_path / "resumed.npz") as resumed, np.load(tmp_path / "whole.npz") as whole:
        assert {"parameters", "rate", "distortion", "beta", "label"} <= set(whole)
        for name in whole:
            assert resumed[name].tobytes() == whole[name].tobytes(), name
        assert np.isfinite(whole["distortion"]).all()
    assert not path.exists()
    assert not (tmp_path / "killed.npz").exists()


# --- in this process: stop after the second checkpoint --------------------------------------

FIELDS = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 2, 9, 9))).float()
RECIPE = Recipe("short", 300, 4)


def train(path=None, **changes):
    arguments = {"fields": FIELDS, "recipe": RECIPE, "seeds": [0, 1], "progress": False}
    model = PodVAE.from_fields(FIELDS, 4, hidden=(5,))
    return fit(model, **arguments | changes, checkpoint=path, checkpoint_seconds=0)


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """Checkpoint of a run that was stopped after 128 of its 300 steps."""
    save = fitting.save_checkpoint

    def save_and_stop(path, state, identity):
        save(path, state, identity)
        if state.step >= 128:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fitting, "save_checkpoint", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "checkpoint")
    assert step_of(tmp_path / "checkpoint") == 128
    return tmp_path / "checkpoint"


def test_a_stopped_run_goes_on(stopped):
    resumed, whole = train(stopped), train()
    assert torch.equal(resumed.ensemble.parameters, whole.ensemble.parameters)
    assert resumed.history.equals(whole.history)
    assert not stopped.exists()


def test_a_resumed_run_does_not_begin_anew(stopped, monkeypatch):
    steps, advance = [], fitting.Trainer.advance

    def counted(self, n):
        steps.append(n)
        return advance(self, n)

    monkeypatch.setattr(fitting.Trainer, "advance", counted)
    train(stopped)
    assert sum(steps) == 300 - 128


def test_damaged_checkpoints_are_refused_and_left_in_place(stopped):
    good = stopped.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    generator = np.random.default_rng(2)
    places = [0, 2, *generator.integers(8, header, 25), *generator.integers(header, len(good), 15)]
    damaged = [good[:n] for n in (0, 7, header // 2, header, len(good) // 2, len(good) - 1)]
    for place in places:
        flipped = bytearray(good)
        flipped[place] ^= 1 << int(generator.integers(8))
        damaged.append(bytes(flipped))
    digit = good.index(b'"step":"128"') + len('"step":"12')
    damaged.append(good[:digit] + b"9" + good[digit + 1 :])
    for content in damaged:
        stopped.write_bytes(content)
        with pytest.raises(ResultError, match=f"{stopped}.*move"):
            train(stopped)
        assert stopped.read_bytes() == content
    stopped.write_bytes(good)
    train(stopped)


@pytest.mark.parametrize(
    "changes",
    [
        {"seeds": [0, 2]},
        {"recipe": Recipe("short", 301, 4)},
        {"fields": FIELDS + 1e-3},
        {"beta": [1.0, 0.5]},
        {"learning_rate": 2e-3},
        {"subsets": [np.arange(16), np.arange(15)]},
        {"labels": Labels(np.array([1]), np.zeros((1, 2)))},
        {"record_every": 2},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_checkpoint_of_another_run_is_refused(stopped, changes):
    with pytest.raises(ResultError, match="other data, model, recipe or seeds"):
        train(stopped, **changes)
    assert stopped.exists()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"subsets": [np.arange(12), np.arange(12, 16)]}, [np.arange(4), np.arange(4, 16)]),
        ({"labels": [Labels(np.arange(3), np.ones((3, 2)))] * 2}, None),
    ],
    ids=["subsets", "labels"],
)
def test_what_is_one_members_and_not_the_others_counts(first, second):
    """The same numbers in the same order, divided otherwise between the members."""
    ((name, own),) = first.items()
    if second is None:
        whole, empty = own[0], Labels(np.arange(0), np.ones((0, 2)))
        own, second = [whole, empty], [empty, whole]
    digests = {
        Members(
            (0, 1), np.ones(2), np.ones(2), **{"subsets": (), "labels": (), name: tuple(v)}
        ).digest()
        for v in (own, second)
    }
    assert len(digests) == 2


@pytest.mark.parametrize("kind", ["standardised", "pod", "rectified"])
def test_a_checkpoint_of_another_model_is_refused(kind, tmp_path):
    """Models with the same parameters and features, of fields in another unit or another prior."""
    fields = FIELDS if kind == "pod" else torch.randn(8, 2, 17, 17)

    def run(unit, rectified):
        prior = HierarchicalPrior(2, decoder_hidden=(4,), rectified=rectified)
        if kind == "pod":
            model = PodVAE.from_fields(unit * fields, 4, hidden=(5,), prior=prior)
        else:
            model = DenseVAE.from_fields(unit * fields, blocks=(1, 1, 1), prior=prior)
        recipe = Recipe("short", 2, 4)
        path = tmp_path / "checkpoint"
        arguments = {"progress": False, "checkpoint": path, "keep_checkpoint": True}
        return fit(model, unit * fields, recipe, 0, **arguments)

    run(1.0, False)
    with pytest.raises(ResultError, match="other data, model, recipe or seeds"):
        run(*((1.0, True) if kind == "rectified" else (2.0, False)))
    run(1.0, False)


@pytest.fixture
def interrupts():
    """Interrupts as a terminal has them; a test that runs in the background may ignore them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interrupts")
@pytest.mark.parametrize("prior", ["standard", "vamp", "flow"])
def test_an_interrupt_waits_for_a_whole_checkpoint_and_a_resumed_run_is_the_same(tmp_path, prior):
    path = tmp_path / "checkpoint"
    fields = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 3, 17, 17))).float()
    model = PodVAE.from_fields(fields, 6, hidden=(8,), prior=prior)
    arguments = {"recipe": Recipe("stopped", 100, 4), "seeds": [0, 1], "progress": False}
    whole = fit(model, fields, **arguments)

    def interrupt(step, _):
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit(model, fields, **arguments, checkpoint=path, monitor=interrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert 0 < step_of(path) < 100
    again = fit(model, fields, **arguments, checkpoint=path)
    assert torch.equal(again.ensemble.parameters, whole.ensemble.parameters)
    assert again.history.equals(whole.history)


@pytest.mark.parametrize("own", [True, False])
def test_sigterm_waits_for_a_checkpoint_where_the_program_handles_it(tmp_path, own):
    path = tmp_path / "checkpoint"
    fields = torch.from_numpy(np.random.default_rng(0).standard_normal((20, 3, 17, 17))).float()
    model = PodVAE.from_fields(fields, 6, hidden=(8,))

    def end(number, frame):
        raise SystemExit(143)

    seen = []

    def terminate(step, _):
        seen.append(signal.getsignal(signal.SIGTERM))
        if own:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = end if own else signal.SIG_DFL
    before = signal.signal(signal.SIGTERM, handler)
    try:
        with pytest.raises(SystemExit, match="143") if own else contextlib.nullcontext():
            fit(model, fields, Recipe("stopped", 100, 4), progress=False, checkpoint=path,
                monitor=terminate)  # fmt: skip
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert path.exists() == own
    assert own or set(seen) == {signal.SIG_DFL}

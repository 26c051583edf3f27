"""Trials and their store: idempotent, atomic, verified, the same for any number of workers."""

import json
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

from dvae import experiments
from dvae.errors import DataError, DeviceError, DvaeError, ResultError, UnknownNameError
from dvae.loading import load_result
from dvae.models import PodVAE
from dvae.results.store import Store, read_result
from dvae.results.trials import Experiment, Group, trial_hash
from dvae.runner import _in_processes, run_experiment, summarise
from dvae.storage import atomic_path
from dvae.training import Recipe, fit
from dvae.verification import verify_experiment

REAL = "training_size"  # a registered experiment that trains, small at smoke


class Tiny:
    """Four groups of two trials; what a trial gives is known from its settings."""

    def __init__(self):
        self.calls, self.failing, self.offset, self.extra = [], set(), 0.0, {}
        self.scale, self.entries = 10.0, 700

    def groups(self, profile):
        shared = {"profile": profile, "scale": self.scale} | self.extra
        return [
            Group(shared | {"kind": kind}, ({"seed": 0}, {"seed": 1}))
            for kind in ("a", "b", "c", "d")
        ]

    def compute(self, group, device, progress, checkpoint):
        kind = group.shared["kind"]
        self.calls.append(kind)
        if kind in self.failing:
            raise RuntimeError(f"group {kind} is\nbroken")
        seeds = np.array([trial["seed"] for trial in group.trials])
        value = self.scale * seeds + ord(kind) + self.offset
        curve = value[:, None] + np.linspace(0, 1, self.entries) + 0.1
        curve[:, 3] = np.nan
        data = xr.Dataset(
            {
                "value": ("trial", value),
                "curve": (("trial", "entry"), curve.astype(np.float32)),
                "good": ("trial", seeds > 0),
                "text": ("trial", [f"{kind}{'x' * int(s)}" for s in seeds]),
            },
            coords={"kind": ("trial", [kind] * len(seeds)), "seed": ("trial", seeds)},
        )
        data["value"].attrs["units"] = "nats"
        return data


@pytest.fixture
def tiny(monkeypatch):
    """The experiment "tiny" and what steers it; this process alone knows it."""
    steering = Tiny()
    one = Experiment("tiny", "A tiny experiment", 1, steering.groups, steering.compute)
    monkeypatch.setitem(experiments.EXPERIMENTS, "tiny", one)
    steering.experiment = one
    return steering


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "results")


def run(store, name="tiny", **arguments):
    return run_experiment(name, "smoke", store=store, progress=False, **{"workers": 1} | arguments)


def values(store, name="tiny"):
    """Stored result without what may differ between two runs: times and provenance."""
    return load_result(name, "smoke", store).drop_vars("seconds").drop_attrs(deep=False)


def flip(path, place=None):
    content = bytearray(path.read_bytes())
    place = len(content) // 2 if place is None else place
    content[place] ^= 0x10
    path.write_bytes(content)


# --- trials and their hashes ----------------------------------------------------------------


def test_a_hash_covers_everything_that_determines_a_trial(tiny):
    one, settings = tiny.experiment, {"seed": 1, "recipe": {"steps": 5, "floor": (1.0, 2)}}
    start = trial_hash(one, settings)
    assert trial_hash(one, {"recipe": {"floor": [1.0, 2], "steps": 5}, "seed": 1}) == start
    others = [
        trial_hash(replace(one, version=2), settings),
        trial_hash(replace(one, name="other"), settings),
        trial_hash(one, settings | {"seed": 2}),
        trial_hash(one, settings | {"recipe": {"steps": 6, "floor": (1.0, 2)}}),
        trial_hash(one, settings | {"more": None}),
    ]
    assert len({start, *others}) == 6
    assert trial_hash(replace(one, title="Another title"), settings) == start
    with pytest.raises(ValueError):
        trial_hash(one, {"beta": float("nan")})


@pytest.mark.parametrize("name", experiments.EXPERIMENTS)
@pytest.mark.parametrize("profile", ["smoke", "laptop", "paper"])
def test_declared_trials_are_plain_and_all_different(name, profile):
    one = experiments.EXPERIMENTS[name]
    settings = [s for group in one.groups(profile) for s in group.settings()]
    hashes = [trial_hash(one, s) for s in settings]
    assert len(set(hashes)) == len(hashes) > 0
    assert [trial_hash(one, json.loads(json.dumps(s))) for s in settings] == hashes
    assert one.name == name and one.title


# --- running and storing --------------------------------------------------------------------


def test_a_run_is_idempotent_and_keeps_the_declared_order(tiny, store):
    status = run(store)
    assert tiny.calls == ["a", "b", "c", "d"]
    assert (status["trials"], status["stored"], status["missing"], status["computed"]) == (
        8,
        8,
        0,
        4,
    )
    data = load_result("tiny", "smoke", store)
    assert data["kind"].values.tolist() == list("aabbccdd")
    np.testing.assert_array_equal(data["value"], np.tile([0, 10], 4) + [ord(k) for k in "aabbccdd"])
    assert data["good"].dtype == bool and data["text"].values[:2].tolist() == ["a", "ax"]
    assert data["curve"].dtype == np.float32 and np.isnan(data["curve"].values[:, 3]).all()
    assert data["value"].attrs["units"] == "nats"
    assert json.loads(data["settings"].values[3]) == {
        "profile": "smoke", "scale": 10.0, "kind": "b", "seed": 1
    }  # fmt: skip
    expected = {"experiment", "title", "version", "profile", "commit", "hardware", "torch"}
    assert expected <= set(data.attrs) and all(data.attrs[key] for key in expected)
    written = store.path("tiny", "smoke").stat().st_mtime_ns
    assert run(store)["computed"] == 0
    assert tiny.calls == ["a", "b", "c", "d"]
    assert store.path("tiny", "smoke").stat().st_mtime_ns == written
    assert not list(store.parts("tiny", "smoke").glob("*.nc"))


def test_only_what_is_missing_is_computed(tiny, store):
    run(store)
    tiny.calls.clear()
    tiny.groups, whole = (lambda profile: [*whole(profile), extra]), tiny.groups
    extra = Group({"profile": "smoke", "scale": 10.0, "kind": "e"}, ({"seed": 5},))
    experiments.EXPERIMENTS["tiny"] = replace(tiny.experiment, groups=tiny.groups)
    assert run(store)["computed"] == 1
    assert tiny.calls == ["e"]
    assert load_result("tiny", "smoke", store)["kind"].values.tolist() == [*"aabbccdd", "e"]


def test_stale_trials_of_another_shape_do_not_stand_in_the_way(tiny, store):
    run(store)
    tiny.scale, tiny.entries = 20.0, 900  # other trials, with longer curves
    status = run(store)
    assert (status["stored"], status["missing"], status["stale"]) == (8, 0, 0)
    assert load_result("tiny", "smoke", store).sizes["entry"] == 900


def test_changed_settings_or_version_make_results_stale(tiny, store):
    run(store)
    tiny.scale = 20.0
    status = store.status(tiny.experiment, "smoke")
    assert (status["stored"], status["missing"], status["stale"]) == (0, 8, 8)
    status = run(store)
    assert (status["stored"], status["missing"], status["stale"]) == (8, 0, 0)
    assert load_result("tiny", "smoke", store)["value"].values[1] == 20 + ord("a")
    newer = replace(tiny.experiment, version=2)
    experiments.EXPERIMENTS["tiny"] = newer
    assert store.status(newer, "smoke")["stale"] == 8
    assert run(store)["computed"] == 4
    assert load_result("tiny", "smoke", store).attrs["version"] == "2"


def test_profiles_are_apart_and_the_best_one_is_loaded(tiny, store, monkeypatch):
    with pytest.raises(ResultError, match="dvae run tiny"):
        load_result("tiny", store=store)
    run(store)
    assert load_result("tiny", store=store).attrs["profile"] == "smoke"
    run_experiment("tiny", "paper", workers=1, store=store, progress=False)
    assert load_result("tiny", store=store).attrs["profile"] == "paper"
    run_experiment("tiny", "laptop", workers=1, store=store, progress=False)
    assert load_result("tiny", store=store).attrs["profile"] == "paper"
    assert load_result("tiny", "laptop", store).attrs["profile"] == "laptop"
    monkeypatch.setenv("DVAE_RESULTS", str(store.root))
    assert load_result("tiny").attrs["profile"] == "paper"
    assert Store.default() == store


def test_a_complete_laptop_result_goes_before_an_incomplete_paper_one(tiny, store):
    run(store)
    tiny.failing = {"b", "c", "d"}
    run_experiment("tiny", "paper", workers=1, store=store, progress=False)
    assert load_result("tiny", store=store).attrs["profile"] == "paper"  # before a smoke one
    tiny.failing = set()
    run_experiment("tiny", "laptop", workers=1, store=store, progress=False)
    assert load_result("tiny", store=store).attrs["profile"] == "laptop"


def test_a_failing_group_is_recorded_and_the_others_go_on(tiny, store):
    tiny.failing = {"b"}
    status = run(store)
    assert tiny.calls == ["a", "b", "c", "d"]
    assert (status["stored"], status["missing"], status["computed"]) == (6, 2, 3)
    assert list(status["failed"].values()) == ["RuntimeError: group b is\nbroken"]
    assert "1 failed" in summarise([status])
    tiny.calls.clear()
    tiny.failing = set()
    status = run(store)
    assert tiny.calls == ["b"] and not status["failed"] and status["missing"] == 0
    assert load_result("tiny", "smoke", store)["kind"].values.tolist() == list("aabbccdd")
    assert not list(store.parts("tiny", "smoke").glob("*.json"))


def test_a_call_that_is_killed_takes_no_other_with_it():
    """A killed process breaks its pool, and with it what runs beside it and what waits."""
    calls = {index: (abs, -index) for index in range(6)} | {1: (os._exit, 137)}
    found: dict[int, int | str] = {}

    def collect(call, index):
        assert index not in found
        try:
            found[index] = call()
        except BrokenProcessPool:
            found[index] = "killed"

    _in_processes(operator.call, calls, 2, collect)
    assert found == {0: 0, 1: "killed", 2: 2, 3: 3, 4: 4, 5: 5}


def test_a_given_pool_that_breaks_is_no_failure_of_a_group(tiny, store):
    class Broken(Executor):
        def submit(self, *_):
            future = Future()
            future.set_exception(BrokenProcessPool("gone"))
            return future

    class Closed(Executor):
        def submit(self, *_):
            raise BrokenProcessPool("gone")

    for executor in Broken(), Closed():
        with pytest.raises(DvaeError, match="the workers are gone"):
            run(store, executor=executor)
    assert not store.status(tiny.experiment, "smoke")["failed"]


def test_what_a_killed_run_had_stored_is_kept(tiny, store):
    compute = tiny.compute

    def killed(group, **arguments):
        if group.shared["kind"] == "c":
            raise KeyboardInterrupt
        return compute(group, **arguments)

    experiments.EXPERIMENTS["tiny"] = replace(tiny.experiment, compute=killed)
    with pytest.raises(KeyboardInterrupt):
        run(store)
    assert not store.path("tiny", "smoke").exists()
    experiments.EXPERIMENTS["tiny"] = tiny.experiment
    assert store.status(tiny.experiment, "smoke")["stored"] == 4
    tiny.calls.clear()
    run(store)
    assert tiny.calls == ["c", "d"]


def test_a_write_that_fails_leaves_nothing_under_the_final_name(tiny, store, monkeypatch):
    def half(self, path, **_):
        Path(path).write_bytes(b"half a file")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(xr.Dataset, "to_netcdf", half)
        status = run(store)
    assert status["missing"] == 8
    assert all("No space left" in error for error in status["failed"].values())
    left = [path for path in store.root.rglob("*") if path.is_file()]
    assert {path.suffix for path in left} == {".json", ""}  # records of failure, and the lock
    assert run(store)["missing"] == 0


def test_a_result_of_the_wrong_length_is_a_failure(tiny, store):
    cut = lambda group, **a: tiny.compute(group, **a).isel(trial=[0])  # noqa: E731
    experiments.EXPERIMENTS["tiny"] = replace(tiny.experiment, compute=cut)
    status = run(store)
    assert status["missing"] == 8 and len(status["failed"]) == 4


def test_groups_may_store_different_variables(tiny, store):
    compute = tiny.compute

    def unlike(group, **arguments):
        data = compute(group, **arguments)
        return data if group.shared["kind"] == "a" else data.drop_vars(["value", "good"])

    experiments.EXPERIMENTS["tiny"] = replace(tiny.experiment, compute=unlike)
    run(store)
    data = load_result("tiny", "smoke", store)
    assert data["value"].values[:2].tolist() == [97, 107] and np.isnan(data["value"][2:]).all()


def test_errors_before_anything_runs(tiny, store):
    with pytest.raises(UnknownNameError, match="tiny"):
        run_experiment("tinny", store=store)
    with pytest.raises(UnknownNameError, match="laptop"):
        run_experiment("tiny", "huge", store=store)
    with pytest.raises(DataError, match="workers"):
        run(store, workers=0)
    with pytest.raises(DeviceError):
        run(store, device="abacus")
    with pytest.raises(UnknownNameError):
        load_result("tinny", store=store)
    with pytest.raises(UnknownNameError):
        load_result("tiny", "huge", store)
    assert not tiny.calls and not store.root.exists()


# --- damaged files --------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_result_is_named_set_aside_and_computed_again(tiny, store, damage):
    run(store)
    whole = values(store)
    path = store.path("tiny", "smoke")
    if damage == "flip":
        flip(path, path.read_bytes().index(b"xax") if b"xax" in path.read_bytes() else None)
    else:
        path.write_bytes(path.read_bytes()[: 5000 if damage == "cut" else 0])
    damaged = path.read_bytes()
    with pytest.raises(ResultError, match=str(path)):
        load_result("tiny", store=store)
    status = store.status(tiny.experiment, "smoke")
    assert status["damaged"] == [str(path)] and status["stored"] == 0
    assert "1 damaged" in summarise([status])
    status = run(store)
    assert status["computed"] == 4 and not status["damaged"]
    (aside,) = status["set_aside"]
    assert Path(aside).read_bytes() == damaged
    assert values(store).identical(whole)


def test_flipped_bits_anywhere_never_change_a_number_unnoticed(tiny, store):
    run(store)
    whole, path = values(store), store.path("tiny", "smoke")
    good = path.read_bytes()
    noticed = 0
    for place in np.random.default_rng(0).integers(0, len(good), 60):
        path.write_bytes(good)
        flip(path, place)
        try:
            data = read_result(path)
        except ResultError:
            noticed += 1
            continue
        assert data.drop_vars("seconds").drop_attrs(deep=False).equals(whole)
    assert noticed > 10


def test_a_damaged_part_is_set_aside_and_the_other_parts_are_kept(tiny, store):
    tiny.failing = {"c", "d"}
    merge = Store.merge
    Store.merge = lambda self, experiment, profile: None
    try:
        run(store)
    finally:
        Store.merge = merge
    first = store.part(tiny.experiment, "smoke", tiny.groups("smoke")[0])
    flip(first)
    tiny.failing = set()
    tiny.calls.clear()
    status = run(store)
    assert tiny.calls == ["a", "c", "d"]
    assert [Path(path).parent for path in status["set_aside"]] == [first.parent]
    assert status["stored"] == 8


def test_a_damaged_checkpoint_is_set_aside(tiny, store):
    """A group whose checkpoint is damaged starts from the beginning."""

    def training(group, device, progress, checkpoint):
        fields = torch.from_numpy(np.random.default_rng(0).standard_normal((8, 1, 5, 5))).float()
        model = PodVAE.from_fields(fields, 2, hidden=())
        done = fit(model, fields, Recipe("r", 5, 4), [0, 1], progress=False, checkpoint=checkpoint)
        return done.history.drop_vars(["seed", "step"]).rename(member="trial")

    one = replace(tiny.experiment, compute=training)
    experiments.EXPERIMENTS["tiny"] = one
    checkpoint = store.part(one, "smoke", tiny.groups("smoke")[0]).with_suffix(".checkpoint")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"no checkpoint")
    status = run(store)
    assert status["stored"] == 8 and not status["failed"]
    (aside,) = status["set_aside"]
    assert Path(aside).read_bytes() == b"no checkpoint" and "checkpoint.damaged" in aside
    assert run(store)["set_aside"] == []
    # what another process is writing is not looked at
    with atomic_path(checkpoint) as being_written:
        being_written.write_bytes(b"half of a checkpoint")
        assert run(store)["set_aside"] == []
    assert checkpoint.read_bytes() == b"half of a checkpoint"


# --- several writers and workers ------------------------------------------------------------


def test_writers_at_once_lose_nothing(tiny, store, monkeypatch):
    """Several runs compute, store and merge the same trials at the same time."""
    monkeypatch.setenv("DVAE_RESULTS", str(store.root))
    compute = tiny.compute

    def slowly(group, **arguments):
        time.sleep(0.01 * np.random.default_rng().random())
        return compute(group, **arguments)

    experiments.EXPERIMENTS["tiny"] = replace(tiny.experiment, compute=slowly)
    statuses, problems = [], []

    def writer():
        try:
            statuses.append(run(store))
        except BaseException as problem:
            problems.append(problem)

    for _ in range(3):
        threads = [threading.Thread(target=writer) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not problems
        status = store.status(tiny.experiment, "smoke")
        assert (status["stored"], status["damaged"], status["failed"]) == (8, [], {})
        tiny.scale += 1  # everything is stale: again
    assert len(statuses) == 12 and not any(s["set_aside"] for s in statuses)


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """The registered experiment, run in this process alone."""
    store = Store(tmp_path_factory.mktemp("serial"))
    status = run(store, REAL)
    assert status["missing"] == 0
    return store


def environment(**changes):
    source = Path(experiments.__file__).parents[2]
    return os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"} | changes


def test_two_processes_running_the_same_experiment_give_the_serial_result(serial, tmp_path):
    """One computes by itself, the other in two worker processes; both store and merge."""
    command = [sys.executable, "-c", "from dvae.cli import main; main()", "run", REAL, "--quiet"]
    command += ["--store", str(tmp_path), "--workers"]
    both = [
        subprocess.Popen([*command, n], env=environment(), stdout=subprocess.PIPE, text=True)
        for n in ("1", "2")
    ]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert values(Store(tmp_path), REAL).identical(values(serial, REAL))


def test_verification_of_real_trials(serial):
    report = verify_experiment(REAL, "smoke", fraction=0.5, seed=1, store=serial, progress=False)
    assert [entry["outcome"] for entry in report] == ["identical"] * 2


SCHEDULER = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
WORKER = [sys.executable, "-m", "distributed.cli.dask_worker"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_dask_loses_a_worker_and_no_result(serial, tmp_path):
    """A scheduler and two workers as processes; one worker is killed while it computes."""
    distributed = pytest.importorskip("distributed")
    address_file = tmp_path / "scheduler.json"
    processes = []

    def start(command, *arguments):
        processes.append(
            subprocess.Popen(
                [*command, "--scheduler-file", str(address_file), *arguments],
                env=environment(DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT="30s"),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        return processes[-1]

    try:
        start(SCHEDULER, "--port", "0", "--no-dashboard", "--host", "127.0.0.1")
        options = ("--no-nanny", "--no-dashboard", "--nthreads", "2", "--host", "127.0.0.1")
        options += ("--local-directory", str(tmp_path / "scratch"))
        start(WORKER, *options)
        victim = start(WORKER, *options, "--name", "victim")
        while not address_file.exists():
            time.sleep(0.05)
        with distributed.Client(scheduler_file=str(address_file), timeout="60s") as client:
            client.wait_for_workers(2, timeout=120)

            def kill_once_busy():
                while True:
                    busy = client.processing()
                    names = {a: w["name"] for a, w in client.scheduler_info()["workers"].items()}
                    if any(busy.get(a) for a, name in names.items() if name == "victim"):
                        break
                    time.sleep(0.01)
                victim.send_signal(signal.SIGKILL)

            killer = threading.Thread(target=kill_once_busy)
            killer.start()
            store = Store(tmp_path / "results")
            status = run(store, REAL, executor=client.get_executor())
            killer.join(timeout=60)
        assert victim.wait(timeout=60) == -signal.SIGKILL
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
    assert status["missing"] == 0 and not status["failed"]
    assert values(store, REAL).identical(values(serial, REAL))


def test_workers_end_with_the_process_that_started_them():
    program = (
        "import os, signal, time; from concurrent.futures import ProcessPoolExecutor\n"
        "from multiprocessing import get_context\n"
        "from dvae.runner import _end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    pool = ProcessPoolExecutor(1, get_context('spawn'), _end_with_parent)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    pool.submit(time.sleep, 60)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,  # open until the worker has ended too
        stderr=subprocess.DEVNULL,
        timeout=50,
    )
    assert done.returncode == -signal.SIGKILL
    worker = int(done.stdout)
    until = time.monotonic() + 30
    while _runs(worker) and time.monotonic() < until:
        time.sleep(0.1)
    assert not _runs(worker)


def _runs(process: int) -> bool:
    """Whether a process computes or sleeps; one that ended and waits to be collected does not."""
    try:
        text = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def test_a_store_that_cannot_be_written_says_where_results_can_go(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResultError, match="choose another folder with --store or the variable"):
        run_experiment(REAL, "smoke", workers=1, store=Store(tmp_path / "file"), progress=False)

"""Workers of a scheduler: there are some, they run this code, and their end is told in a line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import dvae
from dvae import cluster
from dvae.cluster import check_workers, connect
from dvae.errors import DvaeError
from dvae.experiments import EXPERIMENTS
from dvae.provenance import provenance
from dvae.results.store import Store
from dvae.runner import run_experiment

REAL = "training_size"  # four groups at smoke


class Stub:
    """A client whose workers answer what they are told to."""

    def __init__(self, *answers):
        self.answers = {f"tcp://worker:{i}": answer for i, answer in enumerate(answers)}

    def wait_for_workers(self, count, timeout):
        if len(self.answers) < count:
            raise TimeoutError(f"only 0/{count} after {timeout}")

    def run(self, function, on_error):
        assert function is provenance and on_error == "return"
        return self.answers

    def sync(self, function, *arguments, callback_timeout, **options):
        if None in self.answers.values():
            raise TimeoutError(f"after {callback_timeout}")
        return function(*arguments, **options)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "tcp://here:1 has no worker, after 3 s; start some with 'dask worker tcp://here:1'"),
        ([{}, None], "not every worker of the dask scheduler at tcp://here:1 answers in 3 s"),
        ([{}, ImportError("no dvae")], r"worker:1 cannot use dvae \(no dvae\)"),
        ([{}, {"dvae": "9.9"}], r"worker:1 runs another dvae .*\(dvae 9.9, here"),
        ([{"commit": "abc"}], r"worker:0 runs another dvae .*\(commit abc, here"),
    ],
)
def test_workers_are_checked(answers, message):
    ours = provenance()
    answers = [ours | answer if isinstance(answer, dict) else answer for answer in answers]
    with pytest.raises(DvaeError, match=message):
        check_workers(Stub(*answers), "tcp://here:1", 3.0)
    check_workers(Stub(ours, ours), "tcp://here:1", 3.0)


def test_real_workers_pass_and_an_empty_scheduler_does_not():
    distributed = pytest.importorskip("distributed")
    options = {"processes": False, "dashboard_address": None}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, **options) as local:
        client, executor = connect(local.scheduler_address)
        assert executor.submit(int, "7").result(timeout=60) == 7
        client.close()
        local.scale(0)
        while local.scheduler.workers:
            time.sleep(0.05)
        with pytest.raises(DvaeError, match="has no worker"):
            connect(local.scheduler_address, seconds=0.5)


def environment(folder):
    source = Path(dvae.__file__).parents[1]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]),
        "OMP_NUM_THREADS": "1",
        "DASK_TEMPORARY_DIRECTORY": str(folder),
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "10s",  # how long a lost scheduler is sought
    }


def start(kind, folder, *options):
    """A scheduler or worker, in a process of its own."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", "--no-dashboard"]
    command += ["--scheduler-file", str(folder / "scheduler.json"), "--host", "127.0.0.1"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([*command, *options], env=environment(folder), **quiet)


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_the_end_of_the_scheduler_is_one_sentence_and_a_restart_goes_on(tmp_path):
    distributed = pytest.importorskip("distributed")
    store = Store(tmp_path / "results")
    processes = [start("scheduler", tmp_path, "--port", "0")]
    try:
        processes.append(start("worker", tmp_path, "--no-nanny", "--nthreads", "1"))
        with distributed.Client(
            scheduler_file=str(tmp_path / "scheduler.json"), timeout="60s"
        ) as client:
            address = client.scheduler.address
        command = [sys.executable, "-c", "from dvae.cli import main; main()", "run", REAL]
        command += ["--quiet", "--store", str(store.root)]
        running = subprocess.Popen(
            [*command, "--scheduler", address],
            env=environment(tmp_path),
            stderr=subprocess.PIPE,
            text=True,
        )
        while not list(store.parts(REAL, "smoke").glob("*.nc")) and running.poll() is None:
            time.sleep(0.02)
        processes[0].send_signal(signal.SIGKILL)
        said = running.communicate(timeout=120)[1]
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
    assert running.returncode == 2 and said.count("\n") == 1, said
    last = [line for line in said.splitlines() if line.startswith("dvae: error: ")]
    assert len(last) == 1 and "their scheduler has ended" in last[0] and "is kept" in last[0]
    status = store.status(EXPERIMENTS[REAL], "smoke")
    assert 0 < status["stored"] < status["trials"] and not status["failed"]
    again = run_experiment(REAL, "smoke", workers=1, store=store, progress=False)
    assert again["computed"] < 4 and again["missing"] == 0


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "dask.distributed", None)
    with pytest.raises(DvaeError, match=r"pip install 'dvae\[cluster\]'"):
        cluster.connect("tcp://here:1")

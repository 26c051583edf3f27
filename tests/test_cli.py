"""The command line: help, round trips at tiny sizes, and every error in one line."""

import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

import dvae
from dvae import cli, experiments
from dvae.physics import DarcyDataset
from dvae.results.store import Store
from dvae.results.trials import Experiment, Group
from dvae.training import RECIPES

EXPERIMENT = "darcy"  # a registered experiment that is small at smoke


def call(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["dvae", *map(str, arguments)])
    try:
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def dvae_command(monkeypatch, capsys):
    return lambda *arguments: call(monkeypatch, capsys, *arguments)


def test_help_of_every_command(dvae_command):
    code, out, _ = dvae_command("--help")
    assert code == 0
    for command in (
        "generate", "train", "inspect", "encode", "decode", "report", "run", "status", "verify"
    ):  # fmt: skip
        assert re.search(rf"^\s+{command}\s+\S", out, re.MULTILINE), command
        code, text, _ = dvae_command(command, "--help")
        assert code == 0 and "Options" in text
        options = re.findall(r"^\s+(--[a-z-]+).*$", text, re.MULTILINE)
        assert options and all(re.search(rf"{o}\b.*[a-z].*\.", text, re.DOTALL) for o in options)


def test_the_version_and_the_short_form_of_help(dvae_command):
    code, out, _ = dvae_command("--version")
    assert code == 0 and out == f"dvae {dvae.__version__}\n"
    for arguments in ([], ["train"]):
        assert dvae_command(*arguments, "-h") == dvae_command(*arguments, "--help")


def test_help_names_every_recipe(dvae_command):
    _, out, _ = dvae_command("train", "--help")
    words = re.split(r"[^a-z-]+", re.sub(r"-\n\s+", "-", out))
    assert {"elbo", *RECIPES} <= set(words)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_that_is_stopped_says_how_to_go_on(tmp_path, number):
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(40, 6, 6)))
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # else as whoever runs the tests has it
from dvae import cli
from dvae.training.trainer import Trainer
advance = Trainer.advance
def stopped(self, n):
    signal.raise_signal({int(number)})
    return advance(self, n)
Trainer.advance = stopped
import sys
sys.argv = ["dvae", "train", "data.npy", "--quiet"]
cli.main()
"""
    command = [sys.executable, "-c", code]
    env = os.environ | {"PYTHONPATH": str(Path(dvae.__file__).resolve().parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 128 + number
    assert done.stderr == "dvae: error: interrupted; the same command goes on where it was\n"
    names = {path.name for path in (tmp_path / "trained").iterdir()}
    assert names == {"settings.json", "training.checkpoint"}


def test_generate_replaces_no_file_unless_forced(dvae_command, tmp_path):
    path = tmp_path / "mine.npy"
    path.write_text("mine")
    arguments = ["generate", path, "--samples", 2, "--nodes", 17, "--quiet"]
    code, _, err = dvae_command(*arguments)
    assert code == 2 and "mine.npy is already there" in err and path.read_text() == "mine"
    assert dvae_command(*arguments, "--force")[0] == 0
    assert len(DarcyDataset.load(path)) == 2


def test_the_installed_command_prints_help():
    source = Path(dvae.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", "from dvae.cli import main; main()"],
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Usage: " in done.stdout and not done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"], ["claims", "--help"]])
def test_help_takes_nothing_that_is_slow_to_import(arguments):
    code = f"""
import sys
from dvae import cli
sys.argv = ["dvae", *{arguments!r}]
try:
    cli.main()
except SystemExit:
    pass
slow = ("torch", "numpy", "scipy", "pandas", "xarray", "sklearn", "matplotlib", "h5py")
print("imported:", [name for name in slow if name in sys.modules])
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "imported: []"


def test_training_begins_before_what_draws_is_imported():
    """Whoever starts a training waits for torch before anything is shown, and for no more."""
    code = (
        "import sys, dvae.workflow; print(*{'matplotlib', 'seaborn', 'sklearn'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_generate(dvae_command, tmp_path):
    path = tmp_path / "new" / "data.hdf5"
    code, out, err = dvae_command(
        "generate", path, "--factors", "four-modes", "--samples", 5, "--n-factors", 2,
        "--nodes", 17, "--length-scale", 0.2, "--seed", 3, "--quiet",
    )  # fmt: skip
    assert code == 0 and str(path) in out and not err
    data = DarcyDataset.load(path)
    same = DarcyDataset.generate("four-modes", 5, 3, n_factors=2, n_nodes=17, length_scale=0.2)
    assert data.fields.shape == (5, 3, 17, 17) and (data.fields == same.fields).all()


def test_progress_goes_to_standard_error(dvae_command, tmp_path):
    _, out, err = dvae_command("generate", tmp_path / "d.hdf5", "--samples", 3, "--nodes", 17)
    assert "%" in err and "%" not in out


def test_run_status_and_verify(dvae_command, tmp_path):
    store = ("--store", tmp_path)
    code, out, _ = dvae_command("status", "--json", *store)
    empty = json.loads(out)
    assert code == 0
    assert {(s["experiment"], s["profile"]) for s in empty} == {
        (name, profile)
        for name in experiments.EXPERIMENTS
        for profile in ("smoke", "laptop", "paper")
    }
    assert all(s["stored"] == 0 and s["missing"] == s["trials"] > 0 for s in empty)
    assert not list(tmp_path.iterdir())  # looking changes nothing

    code, out, err = dvae_command("run", EXPERIMENT, "--workers", 1, *store)
    assert code == 0 and "computed 4 groups" in out and EXPERIMENT in err
    code, out, err = dvae_command("run", EXPERIMENT, "--quiet", *store)
    assert code == 0 and "computed 0 groups" in out and not err
    code, out, _ = dvae_command("status", "--profile", "smoke", "--json", *store)
    (entry,) = [s for s in json.loads(out) if s["experiment"] == EXPERIMENT]
    assert entry["stored"] == entry["trials"] and not entry["missing"]
    code, out, _ = dvae_command("status", "--profile", "smoke", *store)
    share = f"{entry['trials']}/{entry['trials']}"
    assert code == 0 and re.search(rf"{EXPERIMENT}\s+smoke\s+{share}\s+0\s+0", out)

    code, out, _ = dvae_command("verify", EXPERIMENT, "--fraction", 0.25, "--quiet", *store)
    assert code == 0 and "identical" in out
    code, out, _ = dvae_command(
        "verify", EXPERIMENT, "--fraction", 0.25, "--json", "--quiet", *store
    )
    assert code == 0 and {g["outcome"] for g in json.loads(out)} == {"identical"}

    path = Store(tmp_path).path(EXPERIMENT, "smoke")
    path.write_bytes(path.read_bytes()[:3000])
    code, out, _ = dvae_command("status", "--profile", "smoke", "--json", *store)
    assert [s["damaged"] for s in json.loads(out) if s["damaged"]] == [[str(path)]]
    code, out, _ = dvae_command("run", EXPERIMENT, "--workers", 1, "--quiet", *store)
    assert code == 0 and f"damaged file set aside: {path}.damaged-" in out


@pytest.fixture
def broken(monkeypatch):
    """An experiment whose only group fails."""

    def compute(group, **_):
        raise ValueError("no such\nthing")

    fails = Experiment("broken", "Fails", 1, lambda p: [Group({"p": p}, ({"seed": 0},))], compute)
    monkeypatch.setitem(experiments.EXPERIMENTS, "broken", fails)


def test_a_failed_group_is_told_and_gives_another_exit_code(dvae_command, broken, tmp_path):
    code, out, err = dvae_command("run", "broken", "--quiet", "--store", tmp_path)
    assert code == 1 and not err
    assert re.search(r"failed group [0-9a-f]{16}: ValueError: no such thing$", out, re.MULTILINE)
    code, out, _ = dvae_command("status", "--profile", "smoke", "--store", tmp_path)
    assert code == 0 and "1 failed" in out


ERRORS = {
    "unknown experiment": (["run", "nothing"], "unknown experiment 'nothing'"),
    "unknown profile": (["run", EXPERIMENT, "--profile", "huge"], "unknown profile 'huge'"),
    "unknown profile of status": (["status", "--profile", "huge"], "unknown profile 'huge'"),
    "unknown device": (["run", EXPERIMENT, "--device", "abacus"], "abacus"),
    "no experiment": (["run"], "--all"),
    "experiment and all": (["run", EXPERIMENT, "--all"], "--all"),
    "workers": (["run", EXPERIMENT, "--workers", "0"], "workers"),
    "no scheduler": (["run", EXPERIMENT, "--scheduler", "nonsense://nowhere:1"], "nowhere"),
    "factors": (["generate", "x.hdf5", "--factors", "flat"], "flat"),
    "samples": (["generate", "x.hdf5", "--samples", "0"], "samples"),
    "device": (["generate", "x.hdf5", "--device", "abacus"], "abacus"),
    "place": (["generate", "file/x.hdf5", "--samples", "1", "--nodes", "17"], "file/x.hdf5"),
    "verify unknown": (["verify", "nothing"], "unknown experiment 'nothing'"),
    "verify missing": (["verify", EXPERIMENT], "dvae run"),
    "verify fraction": (["verify", EXPERIMENT, "--fraction", "2"], "fraction"),
    "store is a file": (["status", "--store", "file"], "--store file is a file"),
    "store is not there": (["status", "--store", "stor"], "there is no such folder"),
    "store of verify": (["verify", EXPERIMENT, "--store", "stor"], "there is no such folder"),
    "store of claims": (["claims", "--store", "stor"], "there is no such folder"),
    "folder of other things": (["status", "--store", "."], "holds other things and no results"),
    "run into a file": (["run", EXPERIMENT, "--store", "file"], "choose another folder"),
    "too many samples": (["generate", "x.hdf5", "--samples", "100000000"], "GiB of memory"),
    "empty output": (["train", "file", "--output", ""], "the output folder has no name"),
    "device that is not supported": (["train", "file", "--device", "mps"], "use 'cpu' or 'cuda'"),
    "nothing to inspect": (["inspect", "absent.npy"], "absent.npy: there is no such file"),
    "no contents": (["inspect", "file"], "file: the file is empty (0 bytes)"),
    "no run to encode with": (["encode", "absent", "file"], "absent: no run of 'dvae train'"),
    "no run to report": (["report", "."], "no run of 'dvae train'"),
    "unknown option": (["status", "--colour"], "--colour"),
    "unknown command": (["statsu"], "statsu"),
    "missing argument": (["verify"], "EXPERIMENT"),
    "not a number": (["generate", "x.hdf5", "--samples", "many"], "--samples"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_every_error_is_one_line_with_exit_code_2(dvae_command, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVAE_RESULTS", str(tmp_path / "results"))
    (tmp_path / "file").write_text("")
    arguments, message = ERRORS[name]
    code, out, err = dvae_command(*arguments, *(["--quiet"] if arguments[0] == "generate" else []))
    assert code == 2
    assert (
        err.startswith("dvae: error: ") and err.count("\n") == 1 and message.lower() in err.lower()
    ), err
    assert not out and "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_warning_is_one_line_without_source_text(dvae_command, monkeypatch):
    usual = warnings.formatwarning
    seen = []

    def warn(*_, **__):
        seen.append(warnings.formatwarning("far\naway", UserWarning, "cli.py", 9, "decoded = 1"))
        seen.append(warnings.formatwarning("old", FutureWarning, "lib.py", 9, "code"))

    monkeypatch.setattr(cli, "app", warn)
    dvae_command("status")
    assert seen[0] == "dvae: warning: far away\n"
    assert seen[1] == "dvae: warning: old (FutureWarning, lib.py:9)\n"
    assert warnings.formatwarning is usual


def test_debug_shows_the_traceback(dvae_command):
    code, _, err = dvae_command("--debug", "run", "nothing")
    assert code == 2 and "Traceback" in err
    assert err.splitlines()[-1].startswith("dvae: error: unknown experiment")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError("Unable to allocate 3 TiB for an array"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: 60480000 bytes. Error code 12"),
    ],
    ids=["numpy", "Python", "torch"],
)
def test_memory_that_is_not_given_is_an_error_in_one_line(dvae_command, monkeypatch, error):
    def take(*_, **__):
        raise error

    monkeypatch.setattr("dvae.workflow.inspect_file", take)
    code, out, err = dvae_command("inspect", "file.npy")
    assert code == 2 and not out
    assert err.startswith("dvae: error: there was not enough memory (") and err.count("\n") == 1
    with pytest.raises(type(error)):
        dvae_command("--debug", "inspect", "file.npy")


def test_other_errors_of_torch_keep_their_traceback(dvae_command, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("mat1 and mat2 must have the same dtype")

    monkeypatch.setattr("dvae.workflow.inspect_file", fail)
    with pytest.raises(RuntimeError, match="same dtype"):
        dvae_command("inspect", "file.npy")


def test_what_cannot_go_on_does_not_say_that_it_would(tmp_path):
    code = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import dvae.physics
def stopped(*arguments, **options):
    signal.raise_signal(signal.SIGINT)
dvae.physics.DarcyDataset.generate = stopped
import sys
from dvae import cli
sys.argv = ["dvae", "generate", "data.h5", "--samples", "4", "--nodes", "17"]
cli.main()
"""
    env = os.environ | {"PYTHONPATH": str(Path(dvae.__file__).resolve().parents[1])}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "dvae: error: interrupted; nothing of it was stored\n"
    assert not list(tmp_path.iterdir())


def test_workers_beside_a_scheduler_are_refused(dvae_command):
    code, _, err = dvae_command("run", "baselines", "--workers", 2, "--scheduler", "tcp://x:1")
    assert code == 2 and "give --workers or --scheduler" in err


def test_inspect_and_train_agree_on_fields_of_one_value(dvae_command, tmp_path):
    np.save(tmp_path / "one.npy", np.random.default_rng(0).normal(size=(100, 1, 1, 1)))
    code, out, _ = dvae_command("inspect", tmp_path / "one.npy")
    assert code == 1 and "not trainable: 2 latents are more than" in out
    path, folder = tmp_path / "one.npy", tmp_path / "out"
    code, _, err = dvae_command("train", path, "--output", folder, "--raw-labels", "--quiet")
    assert code == 2 and "raw_labels says how labels are read, but there are none" in err


def test_claims_in_brief_are_first_sentences(dvae_command):
    code, out, _ = dvae_command("claims", "M1", "--brief")
    whole = dvae_command("claims", "M1")[1]
    assert code == 0 and out.startswith("M1") and "scope:" in whole and "scope:" not in out
    found = " ".join(out.partition("here:")[2].splitlines()[:-1]).split()
    assert 10 < len(found) < 60 and found[-1].endswith(".")
    assert found == whole.partition("here:")[2].split()[: len(found)]
    code, _, err = dvae_command("claims", "--brief", "--json")
    assert code == 2 and "leave --brief out" in err

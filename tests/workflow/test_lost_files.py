"""A finished run of which something was lost: made again, and the user's files are not."""

from __future__ import annotations

import shutil
import warnings

import numpy as np
import pytest

from dvae import ResultError, load_run, train_file
from dvae.training.trainer import Trainer

OPTIONS = {"factors": "theta", "members": 2, "steps": 60, "progress": False}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A file, a run on it that is complete, and its summary."""
    folder = tmp_path_factory.mktemp("finished")
    theta = np.random.default_rng(0).uniform(1, 3, size=(200, 2))
    x, y = np.linspace(0, 1, 6)[:, None], np.linspace(0, 1, 5)
    u = np.sin(theta[:, :1, None] * x) * np.exp(theta[:, 1:, None] * y)
    np.savez(folder / "waves.npz", u=u, theta=theta)
    text = train_file(folder / "waves.npz", folder / "run", fields="u", **OPTIONS)
    return folder / "waves.npz", folder / "run", text


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the run, which begins and ends with the contents of its files."""
    shutil.copytree(finished[1], tmp_path / "run")
    return tmp_path / "run"


def again(finished, run):
    return train_file(finished[0], run, fields="u", **OPTIONS)


def contents(run):
    """What is in the files of a run that hold neither times nor names of folders."""
    names = [path for path in run.rglob("*") if path.suffix in (".safetensors", ".csv", ".png")]
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in names}


@pytest.mark.parametrize(
    "lost",
    ["scores.csv", "latents.nc", "summary.txt", "history.png", "latents.png", "traversals.png"],
)
def test_what_models_give_is_made_again_without_training(finished, run, monkeypatch, lost):
    (run / lost).unlink()
    monkeypatch.setattr(Trainer, "advance", None)
    with pytest.warns(UserWarning, match=f"lost or damaged: {lost}; made again .* not trained"):
        text = again(finished, run)
    assert (run / lost).exists() and contents(run) == contents(finished[1])
    assert text.splitlines()[:-2] == finished[2].splitlines()[:-2]  # those name the folder
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert again(finished, run) == text  # complete: nothing is made


def test_damaged_tables_are_made_again(finished, run, monkeypatch):
    monkeypatch.setattr(Trainer, "advance", None)
    (run / "scores.csv").write_text("")
    (run / "latents.nc").write_bytes((run / "latents.nc").read_bytes()[:2000])
    with pytest.raises(ResultError, match=r"latents\.nc cannot be read .* makes it again"):
        load_run(run, 0).decode(np.zeros((1, 2)))
    with pytest.warns(UserWarning, match=r"damaged: latents\.nc, scores\.csv; made again"):
        again(finished, run)
    assert contents(run) == contents(finished[1])
    load_run(run).decode(np.zeros((1, 2)))


def test_models_that_are_lost_are_trained_again(finished, run):
    lost = run / "models" / "member_001.safetensors"
    lost.write_bytes(lost.read_bytes()[:1000])
    with pytest.raises(ResultError, match=r"member_001.* 'dvae train' command trains again"):
        load_run(run, 1)
    lost.unlink()
    with pytest.raises(ResultError, match="the model of member 1 is lost; the same 'dvae train'"):
        load_run(run, 1)
    with pytest.warns(UserWarning, match=r"models/member_001\.safetensors; training again"):
        again(finished, run)
    assert contents(run) == contents(finished[1])
    shutil.rmtree(run / "models")
    with pytest.raises(ResultError, match="its models are lost; the same 'dvae train' command"):
        load_run(run)
    with pytest.warns(UserWarning, match="training again"):
        again(finished, run)
    assert contents(run) == contents(finished[1])


def test_the_history_of_the_training_is_made_by_training_only(finished, run):
    (run / "history.nc").unlink()
    with pytest.warns(UserWarning, match=r"damaged: history\.nc; training again"):
        again(finished, run)
    assert (run / "history.nc").exists()


def test_a_run_that_has_only_its_settings_is_trained_without_a_word(finished, run):
    for path in run.iterdir():
        if path.name != "settings.json":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        again(finished, run)
    assert contents(run) == contents(finished[1])

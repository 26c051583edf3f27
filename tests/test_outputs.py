"""What a command may write over, and what never."""

from __future__ import annotations

import os

import pytest

from dvae.errors import DataError
from dvae.outputs import FIGURES, check_output, run_files
from dvae.workflow._report import CAPTIONS


@pytest.fixture
def run(tmp_path):
    """A folder with what a run has."""
    names = [
        "settings.json", "summary.txt", "scores.csv", "history.nc", "latents.nc",
        "training.checkpoint", "models/member_000.safetensors", "models/member_1000.safetensors",
    ]  # fmt: skip
    for name in (*names, *(f"{figure}.png" for figure in FIGURES)):
        path = tmp_path / "run" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("kept")
    return tmp_path / "run"


def test_files_of_a_run_are_never_replaced(run, tmp_path):
    os.symlink(run, tmp_path / "link")
    files = [path for path in run.rglob("*") if path.is_file()]
    assert len(files) == 13 == len(run_files(run)) + 1
    for path in (*files, run / "models" / "member_007.safetensors", tmp_path / "link/scores.csv"):
        with pytest.raises(DataError, match="belongs to the run in"):
            check_output(path, force=True)
    for name in ("report.html", "z.csv", "fields.npz"):
        check_output(run / name)
    (tmp_path / "scores.csv").write_text("of no run")
    check_output(tmp_path / "scores.csv", force=True)


def test_what_is_read_is_never_replaced(tmp_path):
    data, store = tmp_path / "data.npy", tmp_path / "data.zarr"
    data.write_text("fields")
    (store / "u").mkdir(parents=True)
    os.symlink(data, tmp_path / "link.npy")
    os.link(data, tmp_path / "same.npy")
    for path in (data, tmp_path / "link.npy", tmp_path / "same.npy", store, store / "u" / "0.0"):
        with pytest.raises(DataError, match="is what is read here"):
            check_output(path, [data, store], default=path, force=True)
    check_output(tmp_path / "new.npy", [data, store])


def test_other_files_are_replaced_by_default_or_by_force(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "z.csv").write_text("before")
    with pytest.raises(DataError, match=r"z\.csv is already there; name another .* --force"):
        check_output("z.csv")
    check_output("z.csv", force=True)
    check_output("z.csv", default=tmp_path / "z.csv")
    with pytest.raises(DataError, match="is already there"):
        check_output("z.csv", default="other.csv")
    with pytest.raises(DataError, match="is a folder"):
        check_output(tmp_path, force=True)
    with pytest.raises(DataError, match=r"end in \.npz or \.nc"):
        check_output("y.csv", suffixes=(".npz", ".nc"), force=True)


def test_every_figure_of_a_run_has_a_caption():
    assert set(CAPTIONS) == set(FIGURES)

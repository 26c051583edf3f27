"""What was trained is kept, whatever fails after it, and a restart does not train again."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

from dvae import DvaeError
from dvae.training.trainer import Trainer
from dvae.workflow import _figures, _outputs, _scores, train, train_file

QUIET = {"steps": 30, "n_latents": 1, "progress": False}


@pytest.fixture
def path(tmp_path):
    theta = np.random.default_rng(0).uniform(1, 3, size=200)
    x, y = np.linspace(0, 1, 6)[:, None], np.linspace(0, 1, 5)
    with h5py.File(tmp_path / "waves.h5", "w") as file:
        file["output"] = (np.sin(theta[:, None, None] * x) * (1 + y))[:, None]
        file["generative_params"] = theta[:, None]
    return tmp_path / "waves.h5"


def no_room(*_, **__):
    raise DvaeError("cannot write it: No space left on device")


def no_latex(*_, **__):
    raise RuntimeError("latex could not be found")


@pytest.mark.parametrize(
    ("place", "name", "failure", "missing"),
    [
        (_figures.plotting, "use_style", no_latex, "warning: no figures: RuntimeError"),
        (
            Figure,
            "savefig",
            no_latex,
            "warning: no figure history.png: RuntimeError: latex",
        ),
        (train, "score_models", no_latex, "warning: no scores: RuntimeError: latex"),
        (_outputs.Outputs, "write_netcdf", no_room, "warning: no latents.nc: cannot write it"),
    ],
)
def test_a_part_that_fails_is_a_warning(path, tmp_path, monkeypatch, place, name, failure, missing):
    out = tmp_path / "out"
    figures = "figure" in missing
    if not figures:
        monkeypatch.setattr(train, "draw_figures", lambda *arguments: None)
    with monkeypatch.context() as patch:
        patch.setattr(place, name, failure)
        text = train_file(path, out, **QUIET)
    assert missing in text
    assert (out / "models" / "member_000.safetensors").exists()
    assert (out / "scores.csv").exists()
    before = (out / "models" / "member_000.safetensors").read_bytes()
    # once the reason is gone, the same command makes the rest from what was trained
    monkeypatch.setattr(Trainer, "advance", None)
    text = train_file(path, out, **QUIET)
    assert "warning" not in text
    assert (out / "models" / "member_000.safetensors").read_bytes() == before
    assert (out / "latents.nc").exists() and (out / "history.png").exists() == figures
    assert not (out / "training.checkpoint").exists()


@pytest.mark.usefixtures("no_figures")
def test_models_that_cannot_be_stored_are_an_error_and_not_trained_again(
    path, tmp_path, monkeypatch
):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(train, "save_model", no_room)
        with pytest.raises(
            DvaeError, match=r"no model of member 0: cannot write it.*not trained again"
        ):
            train_file(path, out, **QUIET)
    assert (out / "scores.csv").exists() and not (out / "summary.txt").exists()
    monkeypatch.setattr(Trainer, "advance", None)
    train_file(path, out, **QUIET)
    assert (out / "models" / "member_000.safetensors").exists()


@pytest.mark.usefixtures("no_figures")
def test_training_goes_on_where_no_checkpoint_can_be_written(path, tmp_path, monkeypatch):
    monkeypatch.setattr("dvae.training.fitting.save_checkpoint", no_room)
    with pytest.warns(UserWarning, match="no checkpoint, training goes on: cannot write it"):
        train_file(path, tmp_path / "out", **QUIET)
    assert (tmp_path / "out" / "models" / "member_000.safetensors").exists()


def test_classes_in_one_hot_form_get_the_scores_of_classes_and_a_reason_for_the_others():
    rng = np.random.default_rng(0)
    number = np.repeat(np.arange(3), 40)
    theta = np.eye(3)[number]
    tells = np.stack([number + 0.01 * rng.normal(size=120), rng.normal(size=120)], 1)[None]
    table, notes = _scores.score_models(tells, np.array([True]), theta)
    assert table.loc[0, ["s_d", "s_d_ceiling", "mcc", "s_kl"]].isna().all()
    assert table.loc[0, "mig"] > 0.5 and np.isfinite(table.loc[0, "modularity"])
    assert notes == [
        "no s_d, s_d_ceiling, mcc, s_kl: columns 1 to 3 are the classes of one factor (one-hot), "
        "which has no number"
    ]


def test_factors_of_few_values_have_no_shape_and_that_is_said():
    rng = np.random.default_rng(0)
    theta = rng.integers(0, 2, size=(120, 2)).astype(float)
    z = (theta + 0.1 * rng.normal(size=theta.shape))[None]
    table, notes = _scores.score_models(z, np.array([True]), theta)
    assert table.loc[0, ["s_d", "mcc", "mig", "modularity"]].notna().all()
    assert np.isnan(table.loc[0, "s_kl"])
    (note,) = notes
    assert note.startswith("no s_kl: ") and "repeat" in note
    table, notes = _scores.score_models(z[..., :1], np.array([True]), theta)
    assert np.isnan(table.loc[0, "s_kl"]) and notes[0].startswith("no s_kl: ")


def test_one_factor_has_no_score_of_disentanglement():
    """Any latent scores 1 against it, which says nothing."""
    z = np.random.default_rng(0).normal(size=(1, 64, 2))
    table, notes = _scores.score_models(z, np.array([True]), z[0, :, :1] ** 2)
    assert "s_d" not in table and "s_d_ceiling" not in table
    assert np.isfinite(table.loc[0, "mcc"])
    assert notes[0] == "no s_d: with one factor every latent scores 1"


def test_scores_of_models_that_ignore_the_data_are_left_out():
    z = np.random.default_rng(0).normal(size=(2, 64, 2))
    table, _ = _scores.score_models(z, np.array([True, False]), z[0] + 0.1 * z[1])
    assert table.loc[0].notna().all() and table.loc[1].isna().all()

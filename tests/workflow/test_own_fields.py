"""Fields as people have them: units, masks, constants, no labels; and models that find causes."""

from __future__ import annotations

import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from dvae import DarcyDataset, DataError, load_model
from dvae.models import FieldUnits
from dvae.physics import FieldDataset
from dvae.physics.samples import Samples
from dvae.workflow import inspect_file, load_run, train, train_file
from dvae.workflow._findings import describe_fields
from dvae.workflow._scores import lowest_loss
from dvae.workflow._summary import _no_better, _overfitted
from dvae.workflow.train import _csv

QUIET = {"progress": False}
pytestmark = pytest.mark.usefixtures("no_figures")


def bumps(n: int, seed: int = 0):
    """One channel: a bump of varying position and width, which are returned as factors."""
    rng = np.random.default_rng(seed)
    position, width = rng.uniform(3, 7, n), rng.uniform(1, 2.25, n)
    x, y = np.linspace(0, 10, 16)[:, None], np.linspace(0, 1, 11)
    bump = np.exp(-(((x - position[:, None, None]) / width[:, None, None]) ** 2))
    return (bump * np.sin(np.pi * y))[:, None], np.c_[position, width]


def write(path, fields, theta=None):
    with h5py.File(path, "w") as file:
        file["output"] = fields
        if theta is not None:
            file["generative_params"] = theta
    return path


def scores_of(folder):
    return pd.read_csv(folder / "scores.csv").iloc[0]


def test_one_channel_without_labels_is_found_by_default_and_not_with_beta_per_node(tmp_path):
    fields, _ = bumps(200)
    path = write(tmp_path / "bumps.h5", fields)
    train_file(path, tmp_path / "elbo", steps=400, **QUIET)
    found = scores_of(tmp_path / "elbo")
    assert found["latents_in_use"] == 2
    assert found["rate"] > 8
    assert found["relative_error"] < 0.1
    # the linear theory of one channel: with the paper's weight, 176 per sample, nothing switches on
    text = train_file(path, tmp_path / "published", recipe="annealed", steps=400, **QUIET)
    dead = scores_of(tmp_path / "published")
    assert dead["latents_in_use"] == 0
    assert dead["relative_error"] == pytest.approx(1, abs=0.1)  # as good as the mean field
    assert "beta = 176 per sample (the paper's weight), 1 per node" in text
    assert "1 of 1 models ignore the data" in text
    assert "try --beta 1 (the ELBO)" in text


def test_a_model_ignores_the_data_if_its_row_shows_no_latent_in_use(tmp_path, monkeypatch):
    """Both have a rate near 0 after a step; one of them has a latent that tells 0.3 nats."""
    path = write(tmp_path / "bumps.h5", bumps(40)[0])
    tells = np.array([[0.3, 0.0], [0.05, 0.05]])
    monkeypatch.setattr("dvae.workflow.train.latent_information", lambda mean, scale: tells)
    text = train_file(path, tmp_path / "out", members=2, steps=1, **QUIET)
    found = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert (found["rate"] < 0.1).all()
    assert found["latents_in_use"].tolist() == [1, 0]
    assert found["over_regularised"].tolist() == [False, True]
    assert "1 of 2 models ignore the data (no latent in use; not scored)" in text


def test_darcy_pressure_alone(tmp_path):
    data = DarcyDataset.generate("standard-normal", 200, 0, n_nodes=17)
    path = write(tmp_path / "pressure.h5", data.fields[:, :1].numpy(), data.theta.numpy())
    train_file(path, tmp_path / "out", steps=400, **QUIET)
    found = scores_of(tmp_path / "out")
    assert found["latents_in_use"] == 2
    assert found["relative_error"] < 0.05
    assert found["mcc"] > 0.5


def test_units_and_an_offset_change_nothing_but_the_units(tmp_path):
    fields, _ = bumps(80)
    out = {}
    for name, brought in {"plain": fields, "pascal": 101325 + 0.01 * fields}.items():
        path = write(tmp_path / f"{name}.h5", brought)
        text = train_file(path, tmp_path / name, steps=150, **QUIET)
        assert "fields are standardised for training" in text
        out[name] = scores_of(tmp_path / name)
    # the standardised fields agree to 1e-9, single precision and training amplify that a little
    assert out["pascal"]["rate"] == pytest.approx(out["plain"]["rate"], rel=0.02)
    error = out["plain"]["relative_error"]
    assert out["pascal"]["relative_error"] == pytest.approx(error, rel=0.05)
    # density of y = 101325 + 0.01 x: log 100 more for each of the values that vary
    units = FieldUnits.from_fields(torch.as_tensor(fields))
    shift = units.n_values * np.log(0.01)
    assert out["pascal"]["distortion"] == pytest.approx(
        out["plain"]["distortion"] + shift, rel=0.01
    )
    # a stored model takes and gives pascals
    model = load_model(tmp_path / "pascal" / "models" / "member_000.safetensors")
    brought = torch.as_tensor(101325 + 0.01 * fields)
    with torch.no_grad():
        z = model.encoder(brought).mean
        back = model.decoder(z).mean
    with xr.open_dataset(tmp_path / "pascal" / "latents.nc", engine="h5netcdf") as latents:
        np.testing.assert_allclose(z, latents["latent_mean"].values[0], atol=1e-4)
    left = (back - brought).norm() / (brought - brought.mean(0)).norm()
    assert left == pytest.approx(error, rel=0.5)


@pytest.mark.parametrize("model", ["pod", "dense"])
def test_a_mask_is_left_out_of_the_loss(tmp_path, model):
    data = DarcyDataset.generate("standard-normal", 40, 0, n_nodes=17)
    fields = data.fields.double().numpy()
    hole = np.zeros((3, 17, 17), bool)
    hole[:, 5:12, 5:12] = True
    hole[0, 0, 0] = True  # one channel only
    losses = []
    for name, filled in {"missing": np.nan, "fill value": 9.97e36}.items():
        path = write(tmp_path / f"{name}.h5", np.where(hole, filled, fields))
        out = tmp_path / name
        text = train_file(path, out, model=model, steps=6, seed=1, **QUIET)
        known = int((~hole & (np.ptp(fields, axis=0) > 0)).sum())
        assert ("148 of 867 values of a sample are missing" in text) == (name == "missing")
        assert ("farthest from 0: 9.97e+36)" in text) == (name == "fill value")
        losses.append(scores_of(out)[["rate", "distortion"]].to_numpy(float))
        assert np.isfinite(losses[-1]).all()
        trained = load_model(out / "models" / "member_000.safetensors")
        assert trained.units.n_values == known
        with torch.no_grad():
            decoded = trained.decoder(torch.zeros(1, 2)).mean[0].numpy()
        np.testing.assert_array_equal(np.isnan(decoded), hole & (name == "missing"))
        if name == "fill value":
            np.testing.assert_allclose(decoded[hole], filled)
    np.testing.assert_array_equal(*losses)  # whatever fills the hole


def test_missing_values_that_move_are_refused_with_the_first_place(tmp_path):
    fields, _ = bumps(20)
    fields[:, 0, 2, 3] = np.nan  # a mask
    fields[7, 0, 4, 5] = np.nan
    with pytest.raises(
        DataError, match=r"1 of 20 samples .* sample 7, channel 0 \(from 0\), node \(4, 5\)"
    ):
        train_file(write(tmp_path / "gaps.h5", fields), tmp_path / "out", **QUIET)
    fields[:] = np.nan
    with pytest.raises(DataError, match="holds NaN only"):
        train_file(write(tmp_path / "void.h5", fields), tmp_path / "out", **QUIET)
    with pytest.raises(DataError, match="every value must be finite"):  # nobody asked for masks
        FieldDataset.load(tmp_path / "gaps.h5")


def describe(fields):
    fields = torch.as_tensor(fields)
    units = FieldUnits.from_fields(fields)
    return "\n".join(describe_fields(Samples.of(fields), units))


def test_a_sentence_for_what_is_odd_in_fields():
    fields = np.random.default_rng(0).normal(size=(12, 2, 6, 6))
    plain = describe(fields)
    assert len(plain.splitlines()) == 1
    assert "spread of each channel" in plain
    constant = np.concatenate([fields, np.full((12, 1, 6, 6), 3.0)], 1)
    assert "channel 3 is the same in every training sample" in describe(constant)
    assert "8 of 12 samples repeat another one" in describe(np.tile(fields[:4], (3, 1, 1, 1)))
    wrong = fields.copy()
    wrong[5, 1, 2, 3] = -9e33
    assert "channel 2 holds -9e+33 in sample 5 at node (2, 3)" in describe(wrong)
    with pytest.raises(DataError, match="the fields do not vary"):
        describe(np.ones((5, 1, 3, 3)))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("fill", [-9999.0, -999.0, 1e20, 9.96921e36, -77777.0])
def test_a_fill_value_of_some_samples_is_shown_as_it_is_in_the_file(fill, kind):
    fields = np.random.default_rng(0).uniform(size=(60, 2, 6, 6)).astype(kind)
    written = kind(fill)
    fields[5, 1, 2, 3] = fill
    once = describe(fields)
    start = f"channel 2 holds {written:.9g} in sample 5 at node (2, 3), far outside"
    assert f"note: {start}" in once and once.count("note:") == 1
    fields[50, 1, 2:4, 3] = fill
    assert f"holds {written:.9g} in 2 of 60 samples, first in sample 5" in describe(fields)


def test_a_fill_value_beside_which_nothing_varies_is_found_by_inspect(tmp_path):
    fields, _ = bumps(40)
    fields[:4, 0, 2, 3] = 1e20
    path = write(tmp_path / "fill.h5", fields)
    with pytest.raises(DataError, match="'dvae inspect' says why so few vary") as caught:
        train_file(path, tmp_path / "out", **QUIET)
    assert "the 32 training samples, or the varying 1 value of a sample" in str(caught.value)
    assert "holds 1e+20 in 4 of 40 samples, first in sample 0" in inspect_file(path)


def test_an_unknown_fill_value_below_fields_that_end_at_zero():
    fields = np.random.default_rng(0).exponential(size=(60, 1, 6, 6)) - 0.5
    fields = np.maximum(fields, 0.0)
    fields[:, 0, :4] = 0.0  # the median
    fields[5, 0, 5, 5] = -77777.0
    assert "holds -77777 in sample 5 at node (5, 5)" in describe(fields)


@pytest.mark.parametrize("factor", [1000, -1000])
def test_a_sample_in_other_units_is_pointed_out(factor):
    fields, _ = bumps(60)
    fields[5] *= factor
    text = describe(fields)
    assert "channel 1 holds values as far outside those of other samples as " in text
    assert f"as {np.abs(fields).max() * np.sign(factor):.9g}, in sample 5 at node" in text


def heavy_tails():
    """Fields whose largest values are far above all others, and are theirs."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 16)
    a, b, c, width = rng.uniform(size=(4, 200, 1, 1))
    distance = (x[:, None] - a) ** 2 + (x - b) ** 2
    plume = np.exp(2 * rng.normal(size=(200, 1, 1)) - distance / (0.02 + 0.05 * width) ** 2)
    root = np.linalg.cholesky(np.exp(-np.abs(x[:, None] - x) / 0.3))
    smooth = root @ rng.normal(size=(200, 16, 16)) @ root.T
    front = np.where(x[:, None] < a, 1.0, 0.0) * np.ones(16)
    return {
        "permeability": np.exp(3 * smooth),
        "noise": np.exp(3 * rng.normal(size=(200, 16, 16))),
        "one amplitude for each sample": np.exp(3 * rng.normal(size=(200, 1, 1)) + smooth),
        "plumes, zero nearly everywhere": np.where(plume > 1e-8, plume, 0.0),
        "plumes with undershoots": plume
        - np.where(rng.uniform(size=(200, 16, 16)) < 1e-4, c, 0) / 1e9,
        "velocities at wells": np.exp(b) * (x[:, None] - a) / distance,
        "rock types": np.array([1.0, 10.0, 1e5])[(2 * front + (x > b)).astype(int).clip(0, 2)],
        "large values of one size": np.where(front > 0, 1e6, np.exp(smooth)),
    }


@pytest.mark.parametrize("name", heavy_tails())
def test_fields_with_heavy_tails_get_no_note(name):
    fields = heavy_tails()[name][:, None]
    assert "note:" not in describe(fields)
    assert "note:" not in describe(-fields)
    fields[7, 0, 3, 4] = -1e36
    assert "holds -1e+36 in sample 7 at node (3, 4)" in describe(fields)


@pytest.mark.parametrize("value", [1e20, 9.96921e36])
def test_a_test_sample_that_no_model_can_read_is_said_and_nothing_is_lost(tmp_path, value):
    """The netCDF fill value among them: found after training, which must not have been in vain."""
    rng = np.random.default_rng(1)
    fields = (rng.standard_normal((80, 2)) @ rng.standard_normal((2, 64))).reshape(80, 1, 8, 8)
    n_test = np.sort(np.random.default_rng(0).permutation(80)[-10:])
    fields[n_test[0], 0, 3, 4] = value
    path = write(tmp_path / "fill.h5", fields)
    out = tmp_path / "out"
    text = train_file(path, out, members=2, steps=30, test_fraction=0.125, **QUIET)
    assert "the loss of the test samples is not a finite number for 2 of 2 members" in text
    assert (out / "summary.txt").exists() and len(pd.read_csv(out / "scores.csv")) == 2
    assert load_run(out).member == 0
    assert train_file(path, out, members=2, steps=30, test_fraction=0.125, **QUIET) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed must be from 0 to"),
        ({"seed": 2**63}, "seed must be from 0 to"),
        ({"recipe": "calibrated", "beta": float("inf")}, "beta must be a positive number"),
    ],
)
def test_what_cannot_be_trained_leaves_no_settings_behind(tmp_path, changes, message):
    path = write(tmp_path / "bumps.h5", bumps(40)[0])
    with pytest.raises(DataError, match=message):
        train_file(path, tmp_path / "out", steps=5, **changes, **QUIET)
    assert not (tmp_path / "out").exists()


def test_the_best_member_is_told_by_finite_losses_to_the_last_digit(tmp_path):
    table = pd.DataFrame({"member": [0, 1, 2, 3], "diverged": [False, False, False, True]})
    for losses, best in (
        ([np.nan, 3.0, 2.0, 1.0], 2),
        ([np.nan, np.inf, np.nan, 1.0], 0),
        ([-138214.1, -138214.4, 0.0, 0.0], 1),
    ):
        own = table.assign(loss=losses)
        assert lowest_loss(own) == best
        (tmp_path / "scores.csv").write_text(_csv(own))
        assert lowest_loss(pd.read_csv(tmp_path / "scores.csv")) == best


def test_a_factor_that_does_not_vary_is_left_out_of_the_scores(tmp_path):
    fields, theta = bumps(170)
    theta = np.c_[np.ones(170), theta, np.zeros(170)]
    order = np.random.default_rng(0).permutation(170)
    theta[np.sort(order[:136])[0], 3] = 1.0  # varies, but only among the training samples
    path = write(tmp_path / "bumps.h5", fields, theta)
    text = train_file(path, tmp_path / "out", steps=250, **QUIET)
    assert "factor 1 is the same in every sample of the file" in text
    assert "factor 4 is the same in every sample of the test part" in text
    assert scores_of(tmp_path / "out")["mcc"] > 0.5  # of the two that vary


def test_constant_and_repeated_factors_are_called_by_their_names(tmp_path):
    fields, theta = bumps(60)
    position, width = theta.T
    classes = np.eye(2)[(position > 5).astype(int)]  # opposite columns: one factor, no repetition
    np.savez(
        tmp_path / "own.npz",
        fields=fields,
        position=position,
        width=width,
        centimetres=100 * position.astype(np.float32),
        gravity=np.full(60, 9.81),
        left=classes[:, 0],
        right=classes[:, 1],
    )
    keys = "position,width,centimetres,gravity,left,right"
    options = {"steps": 5, "test_fraction": 0.6, **QUIET}
    trained = train_file(tmp_path / "own.npz", tmp_path / "out", factors=keys, **options)
    for text in (trained, inspect_file(tmp_path / "own.npz", factors=keys)):
        assert "note: centimetres repeats position, up to its unit" in text
        assert "gravity is the same in every sample of the file" in text
        assert text.count(" repeats ") == 1 and text.count("is the same in every") == 1
    for option in ("fields", "factors"):
        with pytest.raises(DataError, match="'width' is named twice in width, width: name it once"):
            FieldDataset.load(tmp_path / "own.npz", **{option: ["width", "width"]})


def test_a_model_that_knows_its_training_samples_by_heart_is_said_to_overfit(tmp_path):
    """Samples of noise have nothing in common: what a model tells of them, it learned by heart."""
    noise = np.random.default_rng(0).normal(size=(40, 1, 5, 5))
    options = {"n_latents": 4, "beta": 0.01, "steps": 150}
    text = train_file(write(tmp_path / "noise.h5", noise), tmp_path / "out", **options, **QUIET)
    found = scores_of(tmp_path / "out")
    assert found["relative_error"] > 1 > 1.5 * found["training_error"]
    shown = f"{found['relative_error']:.2g} on test and {found['training_error']:.2g} on training"
    assert f"1 of 1 models overfitted: the relative error is {shown} samples" in text


def test_models_no_better_than_the_mean_field_are_not_advised_to_grow(tmp_path):
    noise = np.random.default_rng(0).normal(size=(100, 1, 8, 8))
    text = train_file(write(tmp_path / "noise.h5", noise), tmp_path / "out", steps=300, **QUIET)
    found = scores_of(tmp_path / "out")
    assert found["latents_in_use"] == 2 and found["relative_error"] > 0.99
    assert "no model explains anything of the test samples" in text
    assert "more may tell more" not in text
    table = pd.DataFrame({"relative_error": [1.1, 0.7], "diverged": [False, True]})
    table["over_regularised"] = False
    assert "is 1.1 at best" in _no_better(table)
    assert not _no_better(table.assign(diverged=False))  # the second is better
    assert not _no_better(table.assign(over_regularised=True))  # which is said elsewhere


def test_who_overfits():
    """By more than a half, with an error that matters, and not where training broke down."""
    scores = pd.DataFrame(
        {
            "relative_error": [0.29, 0.31, 0.09, 0.9],
            "training_error": [0.20, 0.20, 0.01, 0.1],
            "diverged": [False, False, False, True],
        }
    )
    assert "1 of 4 models overfitted" in _overfitted(scores) and "(member 1)" in _overfitted(scores)
    assert not _overfitted(scores.drop(index=1))


def test_what_labels_do_to_the_error_is_said_beside_a_run_without(tmp_path):
    fields, theta = bumps(60)
    path = write(tmp_path / "bumps.h5", fields, theta)
    train_file(path, tmp_path / "plain", steps=20, **QUIET)
    settings = json.loads((tmp_path / "plain" / "settings.json").read_text())
    for name, stored in {"list": [1], "other": settings | {"seed": 1}}.items():  # come before
        (tmp_path / name).mkdir()
        (tmp_path / name / "settings.json").write_text(json.dumps(stored))
        shutil.copy(tmp_path / "plain" / "scores.csv", tmp_path / name)
    text = train_file(path, tmp_path / "labelled", label_fraction=0.2, steps=20, **QUIET)
    errors = [scores_of(tmp_path / name)["relative_error"] for name in ("labelled", "plain")]
    expected = "error is {:.2g} with these labels and {:.2g} in plain, the same without".format
    assert expected(*errors) in text
    shutil.rmtree(tmp_path / "plain")
    table = pd.read_csv(tmp_path / "labelled" / "scores.csv")
    assert train._without_labels(tmp_path / "labelled", table) == []

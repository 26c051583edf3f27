"""``dvae train``: from a file to models, scores and figures; and what it refuses."""

from __future__ import annotations

import csv
import importlib
import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from typer.testing import CliRunner

from dvae import DarcyDataset, DataError, UnknownNameError, load_model
from dvae.analysis import agreement_of_runs, latent_agreement, rotation_matrix
from dvae.cli import app
from dvae.conventions import IN_USE
from dvae.storage import digest_path
from dvae.training.split import load_labels
from dvae.workflow import train as workflow
from dvae.workflow import train_file
from dvae.workflow._summary import _agreement


@pytest.fixture(scope="module")
def reference_file(tmp_path_factory):
    """Darcy data in the layout of the reference: transposed and flipped, no attributes."""
    path = tmp_path_factory.mktemp("data") / "kle2_mc64.hdf5"
    data = DarcyDataset.generate("standard-normal", 64, seed=3, n_nodes=17)
    data.save(path, orientation="reference")
    digest_path(path).unlink()  # changed on purpose
    with h5py.File(path, "a") as file:
        for key in list(file.attrs):
            del file.attrs[key]
    return path, data


def waves(n: int, n1: int = 12, n2: int = 20, seed: int = 0):
    """One channel on a grid that is neither square nor odd, and its factor."""
    rng = np.random.default_rng(seed)
    theta = rng.uniform(3, 5, size=n)
    x, y = np.linspace(0, 1, n1)[:, None], np.linspace(0, 1, n2)
    return np.sin(theta[:, None, None] * x) * np.cos(np.pi * y), theta


@pytest.fixture(scope="module")
def own_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "waves.h5"
    fields, theta = waves(60)
    with h5py.File(path, "w") as file:
        file["output"] = fields[:, None]
    return path, fields, theta


def write_labels(path, rows, header="sample,theta1"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def test_reference_layout(reference_file, tmp_path):
    path, data = reference_file
    out = tmp_path / "out"
    text = train_file(
        path,
        out,
        steps=60,
        members=2,
        test_fraction=0.5,
        label_fraction=0.25,
        orientation="reference",
        progress=False,
    )
    assert "orientation 'reference' (fields turned to axes x1, x2), as asked" in text
    assert "64 samples of 3 channels on 17 x 17 nodes; 2 models" in text
    assert "8 labelled samples" in text
    scores = pd.read_csv(out / "scores.csv")
    assert list(scores["seed"]) == [0, 1]
    columns = ["rate", "distortion", "s_d", "s_d_ceiling", "s_kl", "mcc"]
    assert np.isfinite(scores[columns].to_numpy()).all()
    with xr.open_dataset(out / "latents.nc", engine="h5netcdf") as latents:
        np.testing.assert_allclose(latents["theta"], data.theta)
        assert int(latents["labelled"].sum()) == 8
        assert set(latents["role"].values[latents["labelled"] == 1]) == {"training"}
        assert int((latents["role"] == "test").sum()) == 32
        mean = latents["latent_mean"].values
    # the stored models are those that made the latents, and fields came in ij orientation
    model = load_model(out / "models" / "member_001.safetensors")
    with torch.no_grad():
        encoded = model.encoder(data.fields).base_dist.loc.numpy()
    np.testing.assert_allclose(encoded, mean[1], atol=1e-4)
    with xr.open_dataset(out / "history.nc", engine="h5netcdf") as history:
        assert history["rate"].shape == (2, 60)
    figures = {"history", "reconstruction", "traversals", "latents", "distributions"}
    assert figures == {path.stem for path in out.glob("*.png")}


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("members", [1, 2, 3])
def test_models_are_compared_with_each_other(reference_file, tmp_path, members):
    path, _ = reference_file
    options = {"orientation": "reference", "test_fraction": 0.5, "progress": False}
    text = train_file(path, tmp_path / "out", steps=40, members=members, **options)
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert ("agreement" in scores) == (members > 1) == ("the median model agrees" in text)
    if members > 1:
        with xr.open_dataset(tmp_path / "out" / "latents.nc", engine="h5netcdf") as latents:
            test = latents["role"].values == "test"
            mean = latents["latent_mean"].values[:, test]
            table = latent_agreement(mean, latents["information"].values > IN_USE)
        np.testing.assert_allclose(scores["agreement"], agreement_of_runs(table), rtol=1e-6)


def test_a_typical_model_is_named_where_the_models_agree_by_more_than_chance():
    scores = pd.DataFrame({"member": range(6), "latents_in_use": 2})
    scores["agreement"] = [0.99, np.nan, 0.995, 0.99, 0.99, 0.99]
    line = _agreement(scores, False)
    assert "agrees to 0.990 with the others" in line
    assert "most like the others: member 2." in line
    assert "member" not in _agreement(scores, True)  # labels say which latents are right
    assert "member" not in _agreement(scores[:3], False)  # two cannot outvote each other
    assert _agreement(scores.assign(latents_in_use=1), False) == ""
    assert _agreement(scores.assign(agreement=np.nan), False) == ""
    # models turned at random: one in twenty is named
    rng, z = np.random.default_rng(0), np.random.default_rng(1).standard_normal((500, 2))
    named = 0
    for _ in range(40):
        runs = np.stack([z @ rotation_matrix(angle).T for angle in rng.uniform(0, 90, 5)])
        scores = scores[:5].assign(agreement=agreement_of_runs(latent_agreement(runs)))
        named += "most like the others" in _agreement(scores, False)
    assert named <= 8  # 2 expected


@pytest.mark.usefixtures("no_figures")
def test_fields_are_not_turned_because_of_their_keys(reference_file, tmp_path):
    path, data = reference_file
    out = tmp_path / "out"
    with pytest.warns(UserWarning, match="say so with the option orientation"):
        text = train_file(path, out, steps=2, progress=False)
    assert "orientation 'ij' (fields as they lie): nothing says otherwise" in text
    with h5py.File(path) as file:
        fields = torch.tensor(file["output"][()])
    model = load_model(out / "models" / "member_000.safetensors")
    with torch.no_grad():
        encoded = model.encoder(fields).base_dist.loc.numpy()
    with xr.open_dataset(out / "latents.nc", engine="h5netcdf") as latents:
        np.testing.assert_allclose(encoded, latents["latent_mean"].values[0], atol=1e-4)
    with pytest.raises(DataError, match="--orientation not given there, reference here"):
        train_file(path, out, steps=2, orientation="reference", progress=False)
    file = data.save(tmp_path / "ours.h5")
    text = train_file(file, tmp_path / "ours", steps=2, progress=False)
    assert "orientation 'ij' (fields as they lie), as the file says" in text


@pytest.mark.usefixtures("no_figures")
def test_one_channel_on_another_grid_with_a_file_of_labels(own_file, tmp_path):
    path, _, theta = own_file
    labels = write_labels(tmp_path / "labels.csv", [(i, theta[i]) for i in (3, 59, 7, 20)])
    out = tmp_path / "out"
    text = train_file(path, out, steps=600, n_latents=1, labels=labels, progress=False)
    assert "60 samples of 1 channel on 12 x 20 nodes; 1 model," in text
    assert "no factors in the file" in text
    with xr.open_dataset(out / "latents.nc", engine="h5netcdf") as latents:
        assert np.flatnonzero(latents["labelled"]).tolist() == [3, 7, 20, 59]
        found = latents["latent_mean"].values[0, :, 0] * latents.attrs["label_scale"]
        found = found + latents.attrs["label_shift"]
    # labels were standardised by their own mean and spread, and the factor is found
    chosen = theta[[3, 59, 7, 20]]
    np.testing.assert_allclose(latents.attrs["label_shift"], chosen.mean())
    np.testing.assert_allclose(latents.attrs["label_scale"], chosen.std())
    assert np.corrcoef(found, theta)[0, 1] > 0.98
    assert np.abs(found - theta).mean() < 0.25 * theta.std()


@pytest.mark.usefixtures("no_figures")
def test_a_finished_run_is_not_repeated_and_another_one_needs_another_folder(own_file, tmp_path):
    path = own_file[0]
    arguments = {"steps": 10, "n_latents": 1, "progress": False}
    first = train_file(path, tmp_path, **arguments)
    before = (tmp_path / "scores.csv").stat().st_mtime_ns
    assert train_file(path, tmp_path, **arguments) == first
    assert (tmp_path / "scores.csv").stat().st_mtime_ns == before
    with pytest.raises(DataError, match=r"other arguments \(--seed 0 there, 1 here\)"):
        train_file(path, tmp_path, seed=1, **arguments)
    labels = write_labels(tmp_path / "labels.csv", [(0, 1.0), (1, 2.0)], "sample,a")
    changes = {"steps": 20, "fields": "output", "beta": 0.5, "labels": labels, "raw_labels": True}
    with pytest.raises(DataError, match="--steps 10 there, 20 here") as error:
        train_file(path, tmp_path, **arguments | changes)
    for part in ("--fields not given there, output here", "--beta not given there, 0.5 here",
                 "--raw-labels not given there, given here"):  # fmt: skip
        assert part in str(error.value)


@pytest.mark.usefixtures("no_figures")
@pytest.mark.parametrize("settings", [None, "[1]", '{"colour": "red"}'])
def test_a_folder_with_other_things_is_left_as_it_is(own_file, tmp_path, settings):
    kept = {"scores.csv": "mine"} if settings is None else {"settings.json": settings}
    for name, text in kept.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=f"{next(iter(kept))}.* choose another output folder"):
        train_file(own_file[0], tmp_path, steps=2, progress=False)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == kept


@pytest.mark.usefixtures("no_figures")
def test_an_interrupted_run_gives_the_same_models(own_file, tmp_path, monkeypatch):
    module = importlib.import_module("dvae.training.fitting")
    path = own_file[0]
    arguments = {"steps": 160, "n_latents": 1, "progress": False}
    train_file(path, tmp_path / "whole", **arguments)
    original = module.Trainer.advance

    def interrupted(self, n_steps):
        if self.state.step >= 128:
            raise KeyboardInterrupt
        return original(self, n_steps)

    real_fit = workflow.fit
    monkeypatch.setattr(workflow, "fit", lambda *a, **k: real_fit(*a, checkpoint_seconds=0, **k))
    monkeypatch.setattr(module.Trainer, "advance", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_file(path, tmp_path / "parts", **arguments)
    assert (tmp_path / "parts" / "training.checkpoint").exists()
    assert not (tmp_path / "parts" / "scores.csv").exists()
    monkeypatch.setattr(module.Trainer, "advance", original)
    train_file(path, tmp_path / "parts", **arguments)
    assert not (tmp_path / "parts" / "training.checkpoint").exists()
    whole, parts = (
        load_model(tmp_path / name / "models" / "member_000.safetensors")
        for name in ("whole", "parts")
    )
    for a, b in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("sample,a,b", [(0, 1, 2)], "2 factors but the model 1 latent variable;"),
        ("sample,a", [(0, 1), (1, "nan")], "line 3: a factor is not finite"),
        ("sample,a", [(0, 1), (60, 1)], r"line 3: sample 60 is not in 0\.\.59"),
        ("sample,a", [(0, 1), (0, 2)], "line 3: sample 0 is labelled twice"),
        ("sample,a", [(0, 1), (1,)], "line 3: 1 values where 2 are needed"),
        ("sample,a", [(0, "high")], "line 2: could not convert"),
        ("sample,a", [], "hold 0 samples"),
        ("sample,a", [(i, 1.0) for i in range(61)], "hold 61 samples, but the data file 60"),
        ("a,b", [(0, 1)], "must be a header"),
        ("sample,a", [(0, 1)], "two labelled samples or more"),
        ("sample,a", [(0, 1), (1, 1)], "different values of every factor"),
        ("sample,a", [(i, i) for i in range(60)], "lower --test-fraction"),
    ],
)
def test_labels_that_do_not_match_are_refused_before_training(
    own_file, tmp_path, monkeypatch, header, rows, message
):
    monkeypatch.setattr(workflow, "fit", None)  # training would fail otherwise
    labels = write_labels(tmp_path / "labels.csv", rows, header)
    with pytest.raises(DataError, match=message):
        train_file(own_file[0], tmp_path / "out", n_latents=1, labels=labels, progress=False)
    assert not (tmp_path / "out").exists()


def test_labels_are_read_in_their_order(tmp_path):
    path = tmp_path / "labels.csv"
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["sample", "a", "b"], [7, 0.5, 1e-3], [], [2, -1, 4]])
    index, theta = load_labels(path, 10, 2)
    assert index.tolist() == [7, 2]
    assert theta.tolist() == [[0.5, 0.001], [-1, 4]]
    with pytest.raises(DataError, match="cannot be read"):
        load_labels(tmp_path / "absent.csv", 10, 2)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"label_fraction": 0.1}, DataError, "no key 'generative_params'"),
        ({"label_fraction": 1.5}, DataError, "label_fraction"),
        ({"test_fraction": 1.0}, DataError, "test_fraction"),
        ({"test_fraction": 0.99}, DataError, "too few"),
        ({"model": "dense"}, DataError, "square grid"),
        ({"model": "linear"}, DataError, "'pod' or 'dense'"),
        ({"members": 0}, DataError, "members"),
        ({"members": 10**8}, DataError, "members of .* GiB of memory"),
        ({"n_latents": 200_000}, DataError, "200000 latents are more than the 48 training"),
        ({"beta": 0.0}, DataError, "beta must be a positive"),
        ({"recipe": "annealed", "beta": -1.0}, DataError, "beta must be a positive number"),
        ({"n_latents": 0}, DataError, "latents must be at least 1, got 0"),
        ({"n_latents": -1}, DataError, "latents must be at least 1, got -1"),
        ({"steps": 0}, DataError, "steps"),
        ({"prior": "flat"}, UnknownNameError, "unknown prior"),
        ({"recipe": "fast"}, UnknownNameError, "unknown recipe 'fast'; choose one of elbo"),
    ],
)
@pytest.mark.wrong_types
def test_arguments_that_make_no_sense(own_file, tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        train_file(own_file[0], tmp_path / "out", progress=False, **arguments)
    assert not (tmp_path / "out").exists()


def test_more_factors_than_latents(reference_file, tmp_path):
    with pytest.raises(DataError, match="2 factors but the model 3"):
        train_file(
            reference_file[0],
            tmp_path / "out",
            n_latents=3,
            label_fraction=0.1,
            orientation="ij",
            progress=False,
        )


@pytest.mark.usefixtures("no_figures")
def test_dense_model_on_an_odd_grid(tmp_path):
    fields = np.random.default_rng(0).normal(size=(12, 1, 17, 17))
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["output"] = fields
    out = tmp_path / "out"
    text = train_file(tmp_path / "data.h5", out, model="dense", steps=2, progress=False)
    assert "12 samples of 1 channel on 17 x 17" in text
    assert "s_d" not in pd.read_csv(out / "scores.csv")


@pytest.mark.usefixtures("no_figures")
def test_command_line(own_file, tmp_path):
    path, _, theta = own_file
    labels = write_labels(tmp_path / "labels.csv", [(i, theta[i]) for i in (1, 2, 5)])
    options = ["--latents", "1", "--steps", "3", "--labels", str(labels), "--raw-labels", "--quiet"]
    options += ["--orientation", "reference"]
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["train", str(path), "--output", str(out), *options])
    assert done.exit_code == 0, done.output
    assert "3 labelled samples" in done.output
    assert "orientation 'reference'" in done.output
    assert json.loads((out / "settings.json").read_text())["raw_labels"] is True
    assert done.output.strip() == (out / "summary.txt").read_text().strip()


@pytest.mark.usefixtures("no_figures")
def test_a_run_goes_on_with_another_number_of_threads(tmp_path, monkeypatch):
    module = importlib.import_module("dvae.training.fitting")
    np.save(tmp_path / "data.npy", np.random.default_rng(0).normal(size=(60, 3, 33, 33)))
    identity, seen = module._identity, []

    def stopped(*arguments):
        seen.append(identity(*arguments))  # what a checkpoint must have to be gone on from
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_identity", stopped)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            with pytest.raises(KeyboardInterrupt):
                train_file(
                    tmp_path / "data.npy", tmp_path / f"{threads}", steps=1,
                    progress=False,
                )  # fmt: skip
    finally:
        torch.set_num_threads(before)
    assert seen[0] == seen[1]

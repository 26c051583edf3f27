"""From a file in any format to a run, and from there: inspect, encode, decode, report."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from dvae import DataError, FieldDataset, ResultError, load_run, train_file
from dvae.cli import main
from dvae.workflow import _figures, inspect_file
from dvae.workflow._fields import write_fields
from dvae.workflow._summary import _all_in_use
from dvae.workflow._tables import write_latents

QUIET = {"progress": False}
FIGURES = ("history", "latents", "distributions", "traversals", "reconstruction")


def bumps(n: int = 160, points: int = 60):
    """Bumps on a line, in units with an offset, and their two causes."""
    rng = np.random.default_rng(0)
    centre, width = rng.uniform(0.3, 0.7, n), rng.uniform(0.08, 0.2, n)
    x = np.linspace(0, 1, points)
    u = 101325 + 0.01 * np.exp(-(((x - centre[:, None]) / width[:, None]) ** 2))
    return u, centre, width


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A run on fields on a line, its file and its fields."""
    folder = tmp_path_factory.mktemp("line")
    u, centre, width = bumps()
    np.savez(folder / "line.npz", u=u, centre=centre, width=width)
    text = train_file(
        folder / "line.npz",
        folder / "run",
        fields="u",
        factors=["centre", "width"],
        members=2,
        steps=400,
        **QUIET,
    )
    return folder / "run", folder / "line.npz", u, text


@pytest.fixture
def dvae_command(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["dvae", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        return end.value.code or 0, out, err

    return call


# ------------------------------------------------------------------------------ training


def test_fields_on_a_line_are_learned(line):
    folder, _, _, text = line
    assert "160 samples of 1 channel on 60 points" in text
    assert "fields: key 'u', axes (sample, x1); factors: key 'centre', 'width'" in text
    scores = pd.read_csv(folder / "scores.csv")
    assert (scores["latents_in_use"] == 2).all()
    assert (scores["relative_error"] < 0.3).all()
    assert scores["mcc"].notna().all()
    assert {path.stem for path in folder.glob("*.png")} == set(FIGURES)


@pytest.mark.usefixtures("no_figures")
def test_too_few_latents_are_pointed_out(line, tmp_path):
    text = train_file(line[1], tmp_path, fields="u", n_latents=1, steps=120, **QUIET)
    found = pd.read_csv(tmp_path / "scores.csv")
    assert found["latents_in_use"][0] == 1 and found["relative_error"][0] > 0.1  # two causes
    assert "all latents are in use, and the error is" in text and "--latents 2 --output" in text
    for labelled, error in ((False, 0.05), (True, 0.9)):  # labels fix the number
        assert not _all_in_use(found.assign(relative_error=error), labelled, 1)


def test_a_plane_of_netcdf_and_a_table_of_factors(tmp_path):
    rng = np.random.default_rng(0)
    p = rng.normal(size=(20, 1, 1)) * np.linspace(0, 1, 7)[:, None] * np.ones(9)
    data = xr.Dataset({name: (("time", "lat", "lon"), k * p) for k, name in [(1, "p"), (2, "q$")]})
    data.to_netcdf(tmp_path / "p.nc", engine="h5netcdf")
    (tmp_path / "causes.csv").write_text("slope\n" + "\n".join(map(str, p[:, -1, 0])))
    options = {"fields": "p,q$", "factors": str(tmp_path / "causes.csv"), "n_latents": 1}
    text = train_file(tmp_path / "p.nc", tmp_path / "run", steps=3, **options, **QUIET)
    assert "no figure" not in text
    assert "axes (sample, x1, x2), in the file (time, lat, lon)" in text
    again = train_file(tmp_path / "p.nc", tmp_path / "run", steps=3, **options, **QUIET)
    assert again == text
    (tmp_path / "causes.csv").write_text("slope\n" + "\n".join(map(str, 2 * p[:, -1, 0])))
    with pytest.raises(DataError, match=r"\(--factors a file of SHA-256 \w{8}\.\.\. there, a file"):
        train_file(tmp_path / "p.nc", tmp_path / "run", steps=3, **options, **QUIET)


def test_a_loaded_model_is_a_module_for_batches_in_the_users_units(line):
    folder, path, _, _ = line
    model = load_run(folder).model
    assert isinstance(model, torch.nn.Module) and not model.training
    data = FieldDataset.load(path, fields="u", exact=True)
    for batch in torch.utils.data.DataLoader(data, batch_size=64):
        posterior, z, decoding = model(batch)
        assert z.shape == posterior.mean.shape == (len(batch), 2)
        assert abs(decoding.mean - batch).max() < 0.01  # of 101325
    assert sum(p.requires_grad for p in model.parameters()) > 0
    torch.manual_seed(0)
    model(batch).decoding.mean.sum().backward()
    assert all(p.grad is not None for p in model.decoder.parameters())


# ------------------------------------------------------------------------------ encode and decode


def test_encode_and_decode_are_the_models_own_reconstruction(line, dvae_command, tmp_path):
    folder, path, u, _ = line
    code, out, _ = dvae_command("encode", folder, path, "--output", tmp_path / "z.csv")
    assert code == 0 and "160 samples, 2 latents" in out
    code, out, _ = dvae_command(
        "decode", folder, tmp_path / "z.csv", "--output", tmp_path / "y.npz"
    )
    assert code == 0 and "fields (160, 1, 60, 1)" in out
    run = load_run(folder)
    fields = torch.as_tensor(u)[:, None, :, None]
    with torch.no_grad():
        posterior = run.model.encoder(fields).base_dist
        expected = run.model.decoder(posterior.loc).base_dist.loc.numpy()
    table = pd.read_csv(tmp_path / "z.csv")
    assert list(table) == ["sample", "z1", "z2", "std1", "std2", "member", "model"]
    assert list(table["sample"]) == list(range(160))
    np.testing.assert_allclose(table[["z1", "z2"]], posterior.loc, rtol=0, atol=1e-5)
    np.testing.assert_allclose(table[["std1", "std2"]], posterior.scale, rtol=1e-4)
    with np.load(tmp_path / "y.npz") as file:
        np.testing.assert_allclose(file["fields"] - 101325, expected - 101325, rtol=0, atol=1e-7)
    with xr.open_dataset(folder / "latents.nc", engine="h5netcdf") as stored:
        mean = stored["latent_mean"].values[run.member]
    np.testing.assert_allclose(table[["z1", "z2"]], mean, rtol=0, atol=1e-4)
    # in Python, and without files
    z = run.encode(FieldDataset.load(path, fields="u", exact=True))
    np.testing.assert_array_equal(z.to_numpy(np.float32), table.iloc[:, 1:5].to_numpy(np.float32))
    again = run.decode(z)
    np.testing.assert_array_equal(run.decode(z[["z1", "z2"]].to_numpy()), again)
    # decoded fields are a file like any other
    second = run.encode(tmp_path / "y.npz")
    assert np.abs(second["z1"] - z["z1"]).median() < 0.2


@pytest.mark.usefixtures("no_figures")
def test_decoded_lines_with_channels_are_a_file_like_any_other(tmp_path):
    lines = np.random.default_rng(2).normal(size=(20, 9, 3))
    np.save(tmp_path / "lines.npy", lines)
    train_file(tmp_path / "lines.npy", tmp_path / "run", channels="last", steps=2, **QUIET)
    run = load_run(tmp_path / "run")
    decoded = run.decode(run.encode(tmp_path / "lines.npy"))
    write_fields(tmp_path / "decoded.npz", decoded)
    loaded = FieldDataset.load(tmp_path / "decoded.npz", exact=True)
    np.testing.assert_array_equal(loaded.fields, decoded)
    expected = run.encode(FieldDataset(loaded.fields, exact=True))
    pd.testing.assert_frame_equal(run.encode(tmp_path / "decoded.npz"), expected)


@pytest.mark.filterwarnings("ignore:.*extrapolation:UserWarning")
def test_latents_are_decoded_by_the_model_that_they_come_from(line, dvae_command, tmp_path):
    folder, path, _, _ = line
    best = load_run(folder)
    other = load_run(folder, 1 - best.member)
    z, y = tmp_path / "z.csv", tmp_path / "y.npz"
    dvae_command("encode", folder, path, "--member", other.member, "--output", z)
    assert pd.read_csv(z)[["member", "model"]].drop_duplicates().values.tolist() == [
        list(other.origin.values())
    ]
    code, out, _ = dvae_command("decode", folder, z, "--output", y)
    assert code == 0 and f"of member {other.member}" in out
    with np.load(y) as file:
        np.testing.assert_array_equal(file["fields"], other.decode(z))
    code, _, err = dvae_command(
        "decode", folder, z, "--member", best.member, "--output", tmp_path / "n.npz"
    )
    assert code == 2 and f"z.csv holds latents of member {other.member}, which mean" in err
    table = other.encode(path)
    with pytest.raises(DataError, match=f"z holds latents of member {other.member}"):
        best.decode(table)
    best.decode(table.to_numpy()[:, :2])  # an array says nothing
    # the same number in another run
    shutil.copytree(folder, tmp_path / "run")
    models = tmp_path / "run" / "models"
    first, second = (models / f"member_00{run.member}.safetensors" for run in (best, other))
    shutil.copy(first, second)
    code, _, err = dvae_command("decode", tmp_path / "run", z, "--output", tmp_path / "n.npz")
    assert code == 2 and "holds latents of another run than" in err
    # of several models, and of one's own
    pd.concat([table.assign(member=0), table.assign(member=1)]).to_csv(z)
    code, _, err = dvae_command("decode", folder, z, "--output", tmp_path / "n.npz")
    assert code == 2 and "z.csv: the columns member must name one model" in err
    assert not (tmp_path / "n.npz").exists()


def test_decoded_fields_are_written_in_the_format_that_the_name_says(tmp_path, dvae_command):
    rng = np.random.default_rng(0)
    p = rng.normal(size=(40, 1, 1)) * np.linspace(0, 1, 7)[:, None] * np.ones(9)
    axes = {"lat": ("lat", np.linspace(60, 30, 7), {"units": "degrees_north"}), "lon": range(9)}
    data = xr.Dataset({"p": (("time", "lat", "lon"), p, {"units": "Pa"})}, axes)
    data["q"] = data["p"].dims, 2 * p + rng.normal(size=p.shape)
    data.to_netcdf(tmp_path / "p.nc", engine="h5netcdf")
    for key in ("p", "p,q"):
        folder = tmp_path / key
        options = {"fields": key, "n_latents": 1, "steps": 3}
        train_file(tmp_path / "p.nc", folder, **options, **QUIET)
        run = load_run(folder)
        z = run.encode(tmp_path / "p.nc")
        decoded = run.decode(z)
        run.write_fields(tmp_path / "y.nc", decoded)
        with xr.open_dataset(tmp_path / "y.nc", engine="h5netcdf") as file:
            written = file["p" if key == "p" else "fields"]
            assert written.dims == ("sample", "channel", "lat", "lon")
            np.testing.assert_array_equal(written, decoded)
            assert written["channel"].values.tolist() == (["p"] if key == "p" else ["p [Pa]", "q"])
            assert written.attrs.get("units") == ("Pa" if key == "p" else None)
            for name in ("lat", "lon"):
                np.testing.assert_array_equal(file[name], data[name])
            assert file["lat"].attrs["units"] == "degrees_north"
        expected = run.encode(FieldDataset(torch.as_tensor(decoded), exact=True))
        pd.testing.assert_frame_equal(run.encode(tmp_path / "y.nc"), expected)
    write_latents(tmp_path / "z.csv", z)
    for name in ("y.npy", "y.csv", "y"):
        code, _, err = dvae_command(
            "decode", folder, tmp_path / "z.csv", "--output", tmp_path / name
        )
        assert code == 2 and "must say the format, and end in .npz or .nc" in err
        with pytest.raises(DataError, match=r"end in \.npz or \.nc"):
            run.write_fields(tmp_path / name, decoded)
    code, _, err = dvae_command("encode", folder, tmp_path / "p.nc", "--output", tmp_path / "z.nc")
    assert code == 2 and "end in .csv" in err


def test_fields_on_a_line_without_names_are_written_as_netcdf(line, tmp_path):
    run, decoded = load_run(line[0]), np.arange(12.0).reshape(2, 1, 6, 1)
    run.write_fields(tmp_path / "y.nc", decoded)
    with xr.open_dataset(tmp_path / "y.nc", engine="h5netcdf") as file:
        assert file["u"].dims == ("sample", "channel", "x1")
    write_fields(tmp_path / "z.nc", decoded.reshape(1, 2, 3, 2))
    for name in ("y.nc", "z.nc"):
        fields = FieldDataset.load(tmp_path / name, exact=True).fields
        np.testing.assert_array_equal(fields.flatten(), decoded.flatten())


def test_the_member_is_the_best_or_as_asked(line):
    folder, path, _, _ = line
    table = pd.read_csv(folder / "scores.csv")
    trained = table["distortion"] + table["rate"]  # beta = 1 per sample
    np.testing.assert_allclose(table["loss"], trained, rtol=1e-5)
    assert load_run(folder).member == trained.idxmin()
    first, second = (load_run(folder, member).encode(path) for member in (0, 1))
    assert np.abs(first - second).to_numpy().max() > 0.1
    with pytest.raises(ResultError, match="no member 7; the last one is 1"):
        load_run(folder, 7)


@pytest.mark.usefixtures("no_figures")
def test_the_orientation_of_the_training_holds_unless_the_file_says_another(tmp_path):
    rng = np.random.default_rng(1)
    fields = rng.normal(size=(24, 2, 6, 6))
    np.save(tmp_path / "turned.npy", fields)
    options = {"orientation": "reference", "steps": 2}
    train_file(tmp_path / "turned.npy", tmp_path / "run", **options, **QUIET)
    run = load_run(tmp_path / "run")
    z = run.encode(tmp_path / "turned.npy")
    upright = np.flip(fields, -2).swapaxes(-1, -2).copy()
    write_fields(tmp_path / "upright.npz", upright)
    pd.testing.assert_frame_equal(run.encode(tmp_path / "upright.npz"), z)
    other = run.encode(tmp_path / "turned.npy", orientation="ij")
    assert np.abs(other - z).to_numpy().max() > 1e-3


def test_latents_far_outside_are_said_to_be_extrapolation(line, tmp_path, dvae_command):
    folder = line[0]
    run = load_run(folder)
    latents = xr.load_dataset(folder / "latents.nc", engine="h5netcdf").isel(member=run.member)
    known = latents.isel(sample=latents["role"].values == "training")
    mean = known["latent_mean"].mean("sample").values
    spread = np.sqrt(
        known["latent_mean"].var("sample") + (known["latent_scale"] ** 2).mean("sample")
    ).values
    near, far = mean + 3.9 * spread, mean - np.array([0, 7.5]) * spread
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.decode(near[None])
    message = r"1 of 2 .* more than 4 standard .* extrapolation.* z2 = .* sample 1, 7.5 standard"
    with pytest.warns(UserWarning, match=message):
        run.decode(np.stack([near, far]))
    pd.DataFrame([far], columns=["z1", "z2"]).to_csv(tmp_path / "far.csv")
    with pytest.warns(UserWarning, match="extrapolation"):
        code, out, _ = dvae_command(
            "decode", folder, tmp_path / "far.csv", "--output", tmp_path / "far.npz"
        )
    assert code == 0 and "wrote" in out


BAD_TABLES = {
    "no column": ("sample,z1\n0,1\n", "column z2 is missing; the model has 2 latents"),
    "decimal commas": ("z1,z2\n0,5,1,5\n", "rows have more cells than the header"),
    "words": ("z1,z2\na,b\n", "does not hold numbers only"),
    "gap": ("z1,z2\n0,1\n1,\n", r"row 1 \(from 0\) holds a value that is not finite"),
    "no rows": ("z1,z2\n", r"has shape \(0, 2\)"),
    "empty": ("", "is not a CSV table"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_tables_that_cannot_be_decoded(line, tmp_path, name):
    text, message = BAD_TABLES[name]
    (tmp_path / "z.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        load_run(line[0]).decode(tmp_path / "z.csv")


def test_fields_that_cannot_be_encoded(line, tmp_path):
    folder, _, u, _ = line
    np.save(tmp_path / "short.npy", u[:, :50])
    with pytest.raises(
        DataError, match=r"short\.npy holds .* \(1, 50, 1\) .* training were \(1, 60, 1\)"
    ):
        load_run(folder).encode(tmp_path / "short.npy")
    for fields, advice in (
        (u[:, None, None, :], "axes of the grid are swapped"),
        (np.stack([u, u], 1)[..., None], "option fields"),
    ):
        with pytest.raises(DataError, match=advice):
            load_run(folder).encode(FieldDataset(torch.as_tensor(fields)))
    gap = u.copy()
    gap[:, 30] = np.nan
    np.save(tmp_path / "gap.npy", gap)
    with pytest.raises(DataError, match=r"gap\.npy: sample 0 lacks values"):
        load_run(folder).encode(tmp_path / "gap.npy")


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A run on fields of a square grid with named axes, channels and coordinates."""
    folder = tmp_path_factory.mktemp("named")
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 40, 1, 1))
    x, y = np.meshgrid(np.linspace(0, 1, 9), np.linspace(2, 5, 9), indexing="ij")
    fields = np.stack([np.sin(3 * x) * a + y * b, x * b - np.cos(y) * a], 1)
    fields += 0.01 * rng.standard_normal(fields.shape)
    data = xr.Dataset(
        {"flow": (("run", "channel", "x", "y"), fields)},
        {"channel": ["u", "p"], "x": x[:, 0], "y": y[0]},
    )
    data.to_netcdf(folder / "named.nc", engine="h5netcdf")
    train_file(folder / "named.nc", folder / "run", fields="flow", steps=30, **QUIET)
    return load_run(folder / "run"), data


OTHERS = {
    "axes": (lambda d: d.transpose("run", "channel", "y", "x"), "axes are y,x, .* were x,y"),
    "channels": (lambda d: d.isel(channel=[1, 0]), "channels are p,u, .* were u,p"),
    "direction": (lambda d: d.isel(y=slice(None, None, -1)), "axis 2 .* runs the other way"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_fields_whose_names_say_that_they_lie_otherwise_are_refused(named, tmp_path, case):
    run, data = named
    change, message = OTHERS[case]
    change(data).to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
    with pytest.raises(DataError, match=message):
        run.encode(tmp_path / "other.nc")


def test_other_names_and_places_are_pointed_out(named, tmp_path):
    run, data = named
    for other, message in (
        (data.assign_coords(channel=["u", "T"]), "channels are u,T"),
        (data.assign_coords(x=data["x"] + 1), "axis 1 of the grid lie from 1 to 2"),
    ):
        other.to_netcdf(tmp_path / "other.nc", engine="h5netcdf")
        with pytest.warns(UserWarning, match=message):
            run.encode(tmp_path / "other.nc")


@pytest.mark.filterwarnings("error::UserWarning")
def test_fields_without_names_are_taken_as_they_are(named, tmp_path):
    run, data = named
    data.to_netcdf(tmp_path / "same.nc", engine="h5netcdf")
    np.save(tmp_path / "plain.npy", data["flow"].values)
    same, plain = (run.encode(tmp_path / name) for name in ("same.nc", "plain.npy"))
    np.testing.assert_allclose(same, plain, rtol=1e-5, atol=1e-6)


def test_more_latents_than_the_model_has_are_refused(line, tmp_path):
    (tmp_path / "z.csv").write_text("z1,z2,z3\n0,1,2\n")
    with pytest.raises(DataError, match="has the column z3, but the model has 2 latents"):
        load_run(line[0]).decode(tmp_path / "z.csv")


@pytest.mark.parametrize("content", [b"member;loss\n0;1\n", b"\xff\xfe\x00", b""])
def test_a_report_of_damaged_tables_says_so(line, tmp_path, content):
    shutil.copytree(line[0], tmp_path / "run")
    (tmp_path / "run" / "scores.csv").write_bytes(content)
    (tmp_path / "run" / "summary.txt").write_bytes(b"\xff\xfe\x00")
    page = load_run(tmp_path / "run", 0).report(tmp_path / "page.html").read_text()
    assert "scores.csv is missing or damaged" in page
    assert "summary.txt is missing or damaged" in page


def test_an_error_of_the_file_system_is_one_line(monkeypatch, dvae_command, tmp_path):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied", "closed/u.npy")

    monkeypatch.setattr(Path, "stat", refused)
    code, _, err = dvae_command("inspect", tmp_path / "u.npy")
    assert code == 2 and err.count("\n") == 1 and "closed/u.npy: Permission denied" in err


@pytest.mark.wrong_types
def test_arrays_are_told_how_to_become_fields_or_a_file(line, tmp_path):
    u = line[2]
    load_run(line[0]).encode(FieldDataset(torch.as_tensor(u[:, None, :, None]), exact=True))
    with pytest.raises(DataError, match=r"not ndarray: of an array make dvae\.FieldDataset"):
        load_run(line[0]).encode(u)
    with pytest.raises(DataError, match=r"not ndarray; save an array with numpy\.save, or"):
        train_file(u, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_fields_in_other_units_are_pointed_out(line, tmp_path):
    folder, _, u, _ = line
    np.save(tmp_path / "shifted.npy", u - 101325)
    with pytest.warns(UserWarning, match=r"sample \d+ is .* spreads away .* same units\?"):
        load_run(folder).encode(tmp_path / "shifted.npy")


@pytest.mark.filterwarnings("error::UserWarning")
def test_fields_like_those_of_the_training_need_no_warning(line):
    load_run(line[0]).encode(line[1])


def test_folders_without_a_run(line, dvae_command, tmp_path):
    (tmp_path / "z.csv").write_text("z1,z2\n0,0\n")
    for arguments in (
        ["encode", tmp_path, line[1]],
        ["decode", tmp_path, tmp_path / "z.csv"],
        ["report", tmp_path],
    ):
        code, _, err = dvae_command(*arguments)
        assert code == 2 and err.count("\n") == 1 and "no run of 'dvae train'" in err
    (tmp_path / "settings.json").write_text("{}")
    with pytest.raises(ResultError, match="no models yet"):
        load_run(tmp_path)
    (tmp_path / "settings.json").write_text("{")
    with pytest.raises(ResultError, match=r"settings\.json is damaged"):
        load_run(tmp_path)


def test_a_folder_that_may_not_be_read_is_said_to_be_one(line, monkeypatch):
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    for place, name, message in (
        (Path, "read_text", r"settings\.json cannot be read: Permission denied"),
        (os, "listdir", "models cannot be read: Permission denied"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, refused)
            with pytest.raises(ResultError, match=message):
                load_run(line[0])
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refused)
        with pytest.raises(DataError, match=r"cannot be read .Permission denied.; choose another"):
            train_file(line[1], line[0], fields="u", steps=1, **QUIET)


def test_commands_lose_no_file(line, dvae_command, tmp_path, monkeypatch):
    folder, path, _, _ = line
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, "run")
    shutil.copy(path, "data.csv")  # its first bytes say what it is
    for _ in range(2):  # what commands write by default, they write again
        for arguments in (["encode", "run", path], ["decode", "run", "z.csv"], ["report", "run"]):
            assert dvae_command(*arguments)[0] == 0
    Path("mine.csv").write_text("mine")
    Path("mine.npz").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for arguments, force, message in (
        (["encode", "run", "data.csv", "--output", "data.csv"], True, "is what is read here"),
        (["decode", "run", "z.csv", "--output", "z.csv"], True, "is what is read here"),
        (["encode", "run", path, "--output", "run/scores.csv"], True, "belongs to the run"),
        (["report", "run", "--output", "run/settings.json"], True, "belongs to the run"),
        (["encode", "run", path, "--output", "mine.csv"], False, "is already there"),
        (["decode", "run", "z.csv", "--output", "mine.npz"], False, "is already there"),
        (["report", "run", "--output", "mine.csv"], False, "is already there"),
    ):
        code, _, err = dvae_command(*arguments, *["--force"] * force)
        assert code == 2 and err.count("\n") == 1 and message in err
    with pytest.raises(DataError, match="belongs to the run"):
        load_run("run").report("run/summary.txt")
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert dvae_command("encode", "run", path, "--output", "mine.csv", "--force")[0] == 0
    assert "z1" in pd.read_csv("mine.csv")


# ------------------------------------------------------------------------------ report


def test_the_report_holds_everything_and_asks_no_other_machine(line, dvae_command, tmp_path):
    folder = line[0]
    code, out, _ = dvae_command("report", folder)
    assert code == 0 and str(folder / "report.html") in out
    page = (folder / "report.html").read_text(encoding="utf-8")
    outside = re.sub(r'"data:image/png;base64,[A-Za-z0-9+/=]+"', "", page)
    assert "http://" not in outside and "https://" not in outside
    assert not re.findall(r"<(script|link|iframe|object)|@import|url\(", outside)
    assert page.count("data:image/png;base64,") == len(FIGURES)
    pictures = re.findall(r"base64,([A-Za-z0-9+/=]+)", page)
    stored = {(folder / f"{name}.png").read_bytes() for name in FIGURES}
    assert {base64.b64decode(picture) for picture in pictures} == stored
    for line_ in (folder / "summary.txt").read_text().splitlines():
        assert line_.replace("'", "&#39;") in page
    for column in pd.read_csv(folder / "scores.csv").drop(columns=["diverged", "over_regularised"]):
        assert f"<dt>{column}</dt><dd>" in page
    assert "<dt>diverged" not in page  # none did
    assert "<th>relative_<wbr>error</th>" in page  # so that many columns fit on the page
    assert "<td>data (SHA-256 of the file)</td>" in page
    assert f"<pre>{line[1].name}: 160 samples" in page
    assert load_run(folder).report(tmp_path / "new" / "page.html").read_text() == page


def test_a_report_without_some_parts_says_so(line, tmp_path):
    folder = tmp_path / "<run>"
    (folder / "models").mkdir(parents=True)
    for path in ("settings.json", "models/member_000.safetensors"):
        (folder / path).write_bytes((line[0] / path).read_bytes())
    page = load_run(folder).report().read_text(encoding="utf-8")
    for name in FIGURES:
        assert f"{name}.png is missing: the same &#39;dvae train&#39; command draws it" in page
    assert "scores.csv is missing or damaged" in page
    assert "summary.txt is missing" in page
    assert "<run>" not in page and "&lt;run&gt;" in page
    text = "no factors in the file: nothing to score\nwarning: no figure history.png: RuntimeError"
    (folder / "summary.txt").write_text(text)
    settings = json.loads((folder / "settings.json").read_text()) | {"n_latents": 3}
    (folder / "settings.json").write_text(json.dumps(settings))
    page = load_run(folder).report().read_text(encoding="utf-8")
    assert page.count("Not drawn for this run; the summary says why") == 1
    assert "no factors were given (--factors)" in page and "it is one of two latents" in page
    assert "traversals.png is missing" in page and "latents.png" not in page


# ------------------------------------------------------------------------------ inspect


def test_inspect_says_what_is_there_and_what_training_would_do(line, dvae_command):
    code, out, err = dvae_command("inspect", line[1])
    assert code == 0 and not err
    assert "NumPy archive, 3 arrays" in out
    assert re.search(r"u +\(160, 60\) +float64 +1013[\d.]+ \.\. 1013[\d.]+ +0", out)
    assert "fields: key 'u', axes (sample, x1)" in out
    assert "160 samples of 1 channel (u) on 60 points (x1)" in out
    assert "or a key: centre, width" in out
    assert "orientation 'ij'" in out and "fields are standardised for training" in out
    code, out, _ = dvae_command("inspect", line[1], "--fields", "u", "--factors", "centre,width")
    assert code == 0 and "2 factors: centre, width" in out and "or a key" not in out


def test_inspect_says_which_option_is_needed(dvae_command, tmp_path):
    p, mask = np.random.default_rng(0).normal(size=(2, 9, 5, 6))
    land = np.where(np.arange(6) < 2, np.nan, p)
    np.savez(tmp_path / "two.npz", p=land, q=mask, nu=np.ones(9), x=np.ones(5), note="hello")
    code, out, _ = dvae_command("inspect", tmp_path / "two.npz")
    assert code == 1 and "not yet: which of these are the fields?" in out and "--fields KEY" in out
    assert "attribute note: hello" in out and "or a key: nu\n" in out
    code, out, _ = dvae_command("inspect", tmp_path / "two.npz", "--fields", "p", "--fields", "q")
    assert code == 0 and "9 samples of 2 channels (p, q) on 5 x 6 nodes (x1, x2)" in out
    assert re.search(r"p +\(9, 5, 6\) .* 90\n", out)  # missing values
    assert "10 of 60 values of a sample are missing (NaN) in every sample" in out


def test_inspect_shows_any_contents_and_refuses_what_is_no_file(dvae_command, tmp_path):
    with h5py.File(tmp_path / "odd.h5", "w") as file:
        file["text"] = "words"
        file["empty"] = np.zeros((0, 3))
        file["nothing"] = np.full(4, np.nan)
        file["complex"] = np.ones(3) * 1j
        for i in range(50):
            file[f"many/{i}"] = np.ones(2)
            file.attrs[f"a{i}"] = "x" * 200
    text = inspect_file(tmp_path / "odd.h5")
    assert "54 arrays" in text and "and 14 arrays more" in text
    assert "and 30 attributes more" in text and "x" * 98 not in text
    assert "not yet: key 'output' is missing" in text
    np.save(tmp_path / "still.npy", np.ones((5, 6, 6)))
    assert "not trainable: the fields do not vary" in inspect_file(tmp_path / "still.npy")
    (tmp_path / "text.dat").write_text("no array")
    for name in ("text.dat", "absent.npy"):
        code, out, err = dvae_command("inspect", tmp_path / name)
        assert code == 2 and not out and err.count("\n") == 1 and name in err


@pytest.mark.parametrize("write", [np.save, lambda path, values: np.savez(path, fields=values)])
def test_inspect_shows_the_range_of_integers(tmp_path, write):
    values = np.random.default_rng(0).integers(-70, 90, (9, 5, 6)).astype("int32")
    path = tmp_path / ("own.npy" if write is np.save else "own.npz")
    write(path, values)
    text = inspect_file(path)
    assert text.trainable
    assert re.search(rf"int32 +{values.min()} \.\. {values.max()} +0\n", text)


def test_inspect_and_train_take_the_same_numbers_of_samples(dvae_command, tmp_path):
    path = tmp_path / "few.npy"
    for count, sentence in (
        (1, "1 sample is too few: with a test fraction of 0.2, 1 would train and 0 test"),
        (2, "2 samples are too few: with a test fraction of 0.2, 2 would train and 0 test"),
        (4, "4 samples are too few: with a test fraction of 0.2, 3 would train and 1 test"),
        (5, ""),
    ):
        np.save(path, bumps(count)[0])
        code, out, _ = dvae_command("inspect", path)
        options = ("--output", tmp_path / "out", "--steps", 2, "--quiet", "--test-fraction", 0.2)
        trained, summary, error = dvae_command("train", path, *options)
        if sentence:
            assert code == 1 and f"not trainable: {sentence}" in out
            assert trained == 2 and error.startswith(f"dvae: error: {path}: {sentence}")
            assert "give more samples (5 at the very least" in error
        else:
            assert (code, trained) == (0, 0)
    warned = "note: 1 test sample of 5: losses and errors of so few say next to nothing"
    assert warned in out and warned in summary
    np.save(path, bumps(18)[0])
    assert "test sample" not in inspect_file(path)  # four


@pytest.mark.wrong_types
def test_inspect_answers_a_script_by_its_exit_code(dvae_command, tmp_path):
    u, centre, _ = bumps(20)
    np.savez(tmp_path / "own.npz", u=u, centre=centre)
    u[3, 4] = np.nan
    np.savez(tmp_path / "nan.npz", u=u, centre=centre)
    hint = "give factors with --factors"
    for arguments, code, reason, hinted in (
        (["own.npz"], 0, "no factors", True),
        (["nan.npz"], 1, "holds NaN", True),  # and 'centre' may be a factor
        (["own.npz", "--factors", "nu"], 1, "no array 'nu'", False),
        (["own.npz", "--factors", "u"], 0, "60 factors", False),
        (["own.npz", "--channels", "middle"], 1, "channels is 'middle'", True),
    ):
        found, out, error = dvae_command("inspect", tmp_path / arguments[0], *arguments[1:])
        assert found == code and reason in out and not error
        assert (hint in out) == hinted
    np.save(tmp_path / "own.npy", u)
    code, out, _ = dvae_command("inspect", tmp_path / "own.npy", "--fields", "u")
    assert code == 1 and "no array 'u'" in out and hint not in out  # the file holds none


def test_maps_of_a_file_with_axes_y_and_x_are_drawn_upright():
    fields = torch.arange(24.0).reshape(1, 1, 4, 6)
    for axes, turned in (("y,x", True), ("lat,lon", True), ("x,y", False)):
        data = FieldDataset(fields, metadata={"axes": axes})
        names = axes.split(",")[::-1] if turned else axes.split(",")
        assert _figures._axes_drawn(data) == {"axes_names": names, "places": []}
        drawn = _figures._as_drawn(fields, data)
        assert torch.equal(drawn, fields.transpose(-1, -2) if turned else fields)


def test_maps_are_drawn_over_the_coordinates_of_a_netcdf_file(tmp_path):
    lat, lon = np.linspace(60, -30, 5), np.array([0.0, 10, 20, 40, 80, 90])
    data = xr.Dataset(
        {"p": (("time", "lat", "lon"), np.random.default_rng(0).normal(size=(6, 5, 6)))},
        {"lat": ("lat", lat, {"units": "degrees_north"}), "lon": ("lon", lon, {"units": "$"})},
    )
    data.to_netcdf(tmp_path / "p.nc", engine="h5netcdf")
    drawn = _figures._axes_drawn(FieldDataset.load(tmp_path / "p.nc"))
    assert drawn["axes_names"] == [r"lon [\$]", "lat [°N]"]
    np.testing.assert_array_equal(drawn["places"][0], lon)
    np.testing.assert_array_equal(drawn["places"][1], lat)

"""The same fields in every format that people have are the same data set."""

from __future__ import annotations

import importlib.util
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy.io import savemat

from dvae import DataError, FieldDataset
from dvae.reading import open_file

RNG = np.random.default_rng(0)
N, SHAPE = 7, (5, 6)
FIRST, SECOND = RNG.normal(size=(2, N, *SHAPE))
FIELDS = np.stack([FIRST, SECOND], 1)  # (sample, channel, x1, x2)
THETA = RNG.normal(size=(N, 2))
BOTH = {"fields": "p, q", "factors": "a,b"}


def hdf5(path, **arrays):
    with h5py.File(path, "w") as file:
        for key, value in arrays.items():
            file[key] = value


def matlab_73(path, **arrays):
    """As MATLAB writes it: a block of its own before HDF5, the axes in the opposite order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for key, value in arrays.items():
            value = value[:, None] if value.ndim == 1 else value
            file[key] = value.T
            file[key].attrs["MATLAB_class"] = np.bytes_("double")
        file["#refs#/a"] = np.zeros((N, 5, 6))
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def dataset(**arrays):
    dims = {1: ("sample",), 2: ("sample", "factor"), 3: ("sample", "lat", "lon")}
    return xr.Dataset({key: (dims[value.ndim], value) for key, value in arrays.items()})


def netcdf(path, engine="h5netcdf", **arrays):
    dataset(**arrays).to_netcdf(path, engine=engine)


KEYS = {"p": FIRST, "q": SECOND, "a": THETA[:, 0], "b": THETA[:, 1]}
BY_KEYS = {
    "own.h5": lambda path: hdf5(path, **KEYS),
    "own.npz": lambda path: np.savez(path, **KEYS),
    "new.mat": lambda path: matlab_73(path, **KEYS),
    "old.mat": lambda path: savemat(path, KEYS),
    "new.nc": lambda path: netcdf(path, **KEYS),
    "new without its name": lambda path: netcdf(path, **KEYS),
    "old.nc": lambda path: netcdf(path, engine="scipy", **KEYS),
}


@pytest.mark.parametrize("name", BY_KEYS)
@pytest.mark.parametrize("exact", [True, False])
def test_two_keys_are_channels_and_two_keys_are_factors(tmp_path, name, exact):
    BY_KEYS[name](tmp_path / name)
    data = FieldDataset.load(tmp_path / name, **BOTH, exact=exact)
    kind = np.float64 if exact else np.float32
    assert torch.equal(data.fields, torch.as_tensor(FIELDS.astype(kind)))
    assert torch.equal(data.theta, torch.as_tensor(THETA.astype(kind)))
    assert data.channel_names == ["p", "q"]
    assert data.factor_names == ["a", "b"]
    expected = ["lat", "lon"] if name.startswith(("new.nc", "new w", "old.nc")) else None
    assert data.axis_names == (expected or ["$x_1$", "$x_2$"])
    assert "fields: key 'p', 'q', axes (sample, x1, x2)" in data.layout_note
    assert "factors: key 'a', 'b'" in data.layout_note


needs_zarr = pytest.mark.skipif(importlib.util.find_spec("zarr") is None, reason="needs zarr")


@needs_zarr
def test_zarr(tmp_path):
    for version in (2, 3):
        path = tmp_path / f"version {version}.zarr"
        dataset(**KEYS).to_zarr(path, zarr_format=version, consolidated=False)
        data = FieldDataset.load(path, **BOTH, exact=True)
        np.testing.assert_array_equal(data.fields, FIELDS)
        np.testing.assert_array_equal(data.theta, THETA)
        assert data.axis_names == ["lat", "lon"]
        (damaged,) = (path / "p").rglob("0*" if version == 2 else "c/0/0/0")
        damaged.write_bytes(damaged.read_bytes()[:20])
        with pytest.raises(DataError, match="not a complete Zarr store"):
            FieldDataset.load(path, **BOTH)


def test_zarr_without_its_package_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "own.zarr").mkdir()
    with pytest.raises(DataError, match="a folder, but not a Zarr store"):
        open_file(tmp_path / "own.zarr")
    (tmp_path / "own.zarr" / "zarr.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "zarr", None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'dvae\[zarr\]'"):
        open_file(tmp_path / "own.zarr")


WHOLE = {
    "default.npy": (lambda path: np.save(path, FIELDS), {}),
    "last.npy": (lambda path: np.save(path, np.moveaxis(FIELDS, 1, 3)), {"channels": "last"}),
    "fields.npz": (lambda path: np.savez(path, fields=FIELDS, extra=FIRST), {}),
    "tensor of PDEBench.h5": (
        lambda path: hdf5(path, tensor=FIELDS, nu=FIRST, **{"x-coordinate": np.arange(5.0)}),
        {},
    ),
    "group.h5": (lambda path: hdf5(path, **{"run/data": FIELDS}), {}),
    "npy named.h5": (lambda path: np.save(path.open("wb"), FIELDS), {}),
    "big-endian.npy": (lambda path: np.save(path, FIELDS.astype(">f8")), {}),
    "Fortran.npy": (lambda path: np.save(path, np.asfortranarray(FIELDS)), {}),
    "last.mat": (
        lambda path: matlab_73(path, sol=np.moveaxis(FIELDS, 1, 3)),
        {"channels": "last"},
    ),
    "output last.h5": (
        lambda path: hdf5(path, output=np.moveaxis(FIELDS, 1, 3)),
        {"channels": "last"},
    ),
    "output.h5": (lambda path: hdf5(path, output=FIELDS), {}),
    "output of a line.h5": (
        lambda path: FieldDataset(torch.as_tensor(FIELDS).flatten(2)[..., None], exact=True).save(
            path
        ),
        {},
    ),
}


@pytest.mark.parametrize("name", WHOLE)
def test_one_array_of_four_axes(tmp_path, name):
    write, options = WHOLE[name]
    write(tmp_path / name)
    data = FieldDataset.load(tmp_path / name, exact=True, **options)
    expected = FIELDS
    if "line" in name:
        expected = FIELDS.reshape(N, 2, 30, 1)
    np.testing.assert_array_equal(data.fields, expected)
    assert data.theta is None


LINES = np.random.default_rng(1).normal(size=(N, 3, 20))


@pytest.mark.parametrize(
    ("values", "channels", "expected"),
    [
        (LINES[:, 0], None, LINES[:, :1]),
        (LINES[:, 0], "none", LINES[:, :1]),
        (LINES, "first", LINES),
        (LINES.transpose(0, 2, 1), "last", LINES),
    ],
)
def test_fields_on_a_line(tmp_path, values, channels, expected):
    np.save(tmp_path / "line.npy", values)
    data = FieldDataset.load(tmp_path / "line.npy", channels=channels, exact=True)
    np.testing.assert_array_equal(data.fields, expected[..., None])
    assert data.axis_names == ["$x_1$"]


def test_plane_without_channels_and_the_authors_orientation(tmp_path):
    np.save(tmp_path / "plane.npy", FIRST)
    plain = FieldDataset.load(tmp_path / "plane.npy", exact=True)
    np.testing.assert_array_equal(plain.fields, FIRST[:, None])
    assert "nothing says otherwise" in plain.orientation_note
    turned = FieldDataset.load(tmp_path / "plane.npy", orientation="reference", exact=True)
    expected = np.stack([np.flipud(field).T for field in FIRST])[:, None]
    np.testing.assert_array_equal(turned.fields, expected)


def test_a_matrix_of_factors_has_a_column_for_each(tmp_path):
    np.savez(tmp_path / "own.npz", fields=FIELDS, factors=THETA)
    data = FieldDataset.load(tmp_path / "own.npz", exact=True)
    np.testing.assert_array_equal(data.theta, THETA)
    assert data.factor_names == ["factor 1", "factor 2"]
    asked = FieldDataset.load(tmp_path / "own.npz", factors="factors", exact=True)
    assert asked.factor_names == ["factors 1", "factors 2"]


def test_one_factor_needs_no_axis_of_its_own(tmp_path):
    hdf5(tmp_path / "own.h5", output=FIELDS, generative_params=THETA[:, 0])
    data = FieldDataset.load(tmp_path / "own.h5", exact=True)
    np.testing.assert_array_equal(data.theta, THETA[:, :1])
    assert data.factor_names == ["factor 1"]


def test_factors_of_a_table(tmp_path):
    np.save(tmp_path / "own.npy", FIELDS)
    table = pd.DataFrame(THETA, columns=["position", "width"])
    table.to_csv(tmp_path / "theta.csv", index=False)
    order = [3, 1, 0, 2, 6, 5, 4]
    table.rename_axis("sample").iloc[order].reset_index().to_csv(tmp_path / "n.csv", index=False)
    for name in ("theta.csv", "n.csv"):
        data = FieldDataset.load(tmp_path / "own.npy", factors=str(tmp_path / name), exact=True)
        np.testing.assert_allclose(data.theta, THETA, rtol=1e-14)
        assert data.factor_names == ["position", "width"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read"),
        ("", "are not a CSV table"),
        ("a\n1\n2\n", "have 2 rows under their header, but there are 7 samples"),
        ("a\n" + "x\n" * N, "column 'a' does not hold numbers only"),
        ("a;b\n" + "0,1;0,2\n" * N, "rows have more cells than the header"),
        ("a\n" + "1,5\n" * N, "rows have more cells than the header"),
        ("a;b\n" + "1;2\n" * N, "the header 'a;b' has semicolons"),
        (",a\n" + "0,1\n" * N, r"column 1 has no name; .* \(pandas: to_csv with index=False\)"),
        ("sample,a\n" + "0,1\n" * N, "every position from 0 to 6 once"),
        ("a\n" + "1\n" * 6 + "nan\n", r"file .*t\.csv holds NaN or infinity in 1 of 7"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, text, message):
    np.save(tmp_path / "own.npy", FIELDS)
    if text is not None:
        (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        FieldDataset.load(tmp_path / "own.npy", factors=str(tmp_path / "t.csv"))


def test_a_key_that_a_nameless_array_cannot_have(tmp_path):
    np.save(tmp_path / "own.npy", FIELDS)
    found = r"no array 'width', .* an array without a name \(7, .* file that ends in \.csv"
    with pytest.raises(DataError, match=found):
        FieldDataset.load(tmp_path / "own.npy", factors="width")
    with pytest.raises(DataError, match=r"which the option fields names \(found: .*\)\.$"):
        FieldDataset.load(tmp_path / "own.npy", fields="height")


def test_fill_values_of_netcdf_are_missing_values(tmp_path):
    land = np.where(np.arange(6) < 2, np.nan, FIRST)
    data = dataset(p=land)
    data["p"].encoding["_FillValue"] = -999.0
    data.to_netcdf(tmp_path / "land.nc", engine="h5netcdf")
    with h5py.File(tmp_path / "land.nc") as file:
        assert file["p"][0, 0, 0] == -999
    loaded = FieldDataset.load(tmp_path / "land.nc", exact=True)
    np.testing.assert_array_equal(loaded.fields[:, 0], land)


def test_the_coordinate_of_an_axis_of_channels_names_them_and_says_where_they_are(tmp_path):
    stacked = np.stack([FIRST, SECOND, FIRST], -1)
    data = xr.Dataset(
        {"flow": (("time", "y", "x", "variable"), stacked)},
        {"variable": ["p", "u, v", "w"], "x": np.arange(6.0)},
    )
    data.to_netcdf(tmp_path / "flow.nc", engine="h5netcdf")
    loaded = FieldDataset.load(tmp_path / "flow.nc")  # not: are its channels the last axis?
    assert loaded.fields.shape == (N, 3, 5, 6)
    assert loaded.channel_names == ["p", "u  v", "w"]
    assert loaded.axis_names == ["y", "x"]
    assert "axes (sample, x1, x2, channel)" in loaded.layout_note
    first = data.transpose("time", "variable", ...)
    first.to_netcdf(tmp_path / "first.nc", engine="h5netcdf")
    again = FieldDataset.load(tmp_path / "first.nc")
    assert torch.equal(again.fields, loaded.fields)
    assert again.channel_names == loaded.channel_names
    names_of_samples = data.drop_vars("variable").assign_coords(time=list("abcdefg"))
    names_of_samples.to_netcdf(tmp_path / "samples.nc", engine="h5netcdf")
    with pytest.raises(DataError, match="--channels first, last or none"):
        FieldDataset.load(tmp_path / "samples.nc")


def test_numbers_along_an_axis_of_channels_name_them(tmp_path):
    levels = {"level": ("level", [500, 850.5], {"units": "hPa"})}
    for dims, values in (
        (("time", "level", "y", "x"), FIELDS),
        (("time", "y", "x", "level"), np.moveaxis(FIELDS, 1, 3)),
    ):
        data = xr.Dataset({"t": (dims, values, {"units": "K"})}, levels)
        data.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
        channels = "first" if dims[1] == "level" else "last"
        loaded = FieldDataset.load(tmp_path / "t.nc", channels=channels, exact=True)
        assert loaded.channel_names == ["t 500 hPa [K]", "t 850.5 hPa [K]"]
        np.testing.assert_array_equal(loaded.fields, FIELDS)
    data.drop_vars("level").to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    loaded = FieldDataset.load(tmp_path / "t.nc", channels="last")
    assert loaded.channel_names == ["t 1 [K]", "t 2 [K]"]


@pytest.mark.parametrize(
    ("dims", "along"),
    [
        (("x", "y", "run"), "run"),
        (("south", "Runs", "west"), "Runs"),
        (("lat", "lon", "time"), "time"),
        (("x", "y", "of_pos"), "of_pos"),  # pos(of_pos) is no coordinate
        (("sample", "x", "y"), None),
        (("run", "time", "x"), None),
        (("time", "member", "x"), None),
        (("station", "time", "x"), None),
        (("station", "y", "of_pos"), None),
        (("y", "x", "z"), None),
        (("level", "lat", "lon"), None),
    ],
)
def test_names_of_axes_say_that_samples_are_not_along_the_first(tmp_path, dims, along):
    values = np.random.default_rng(0).normal(size=(5, 6, 7))
    data = xr.Dataset({"t": (dims, values), "lon": (dims[1], np.arange(6.0))})
    data["pos"] = ("of_pos", np.arange(7.0))
    data.to_netcdf(tmp_path / "t.nc", engine="h5netcdf")
    if along is None:
        assert FieldDataset.load(tmp_path / "t.nc").fields.shape == (5, 1, 6, 7)
        return
    message = rf"along '{along}', .* with fields\.transpose\('{along}', \.\.\.\) of xarray"
    with pytest.raises(DataError, match=message):
        FieldDataset.load(tmp_path / "t.nc")
    data.transpose(along, ...).to_netcdf(tmp_path / "first.nc", engine="h5netcdf")
    assert FieldDataset.load(tmp_path / "first.nc").fields.shape[0] == data.sizes[along]


def test_factors_that_fit_another_axis_of_the_fields_say_so(tmp_path):
    values = {"p": np.moveaxis(FIRST, 0, 2), "a": THETA[:, 0]}  # (5, 6, 7)
    np.savez(tmp_path / "own.npz", **values)
    savemat(tmp_path / "own.mat", values)
    np.save(tmp_path / "own.npy", values["p"])
    pd.DataFrame({"a": THETA[:, 0]}).to_csv(tmp_path / "a.csv", index=False)
    last = r"The third axis of the fields \(5, 6, 7\) is as long: .* bring it to the front with "
    for name, factors, remedy in (
        ("own.npz", "a", r"numpy\.moveaxis\(fields, 2, 0\)"),
        ("own.mat", "a", r"permute\(fields, \[3 1 2\]\)"),
        ("own.npy", str(tmp_path / "a.csv"), r"numpy\.moveaxis\(fields, 2, 0\)"),
    ):
        with pytest.raises(DataError, match=last + remedy):
            FieldDataset.load(tmp_path / name, fields=None, factors=factors)
    np.savez(tmp_path / "own.npz", p=FIRST, a=THETA[:3, 0])
    with pytest.raises(DataError, match=r"must be \(7,\) or \(7, factors\)\.$"):
        FieldDataset.load(tmp_path / "own.npz", factors="a")


def test_coordinates_of_axes_are_kept_where_they_can_be_drawn(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 5, 6))
    lat, lon = np.array([50.0, 20, 0, -60, -70]), np.array([0, 5, 6, 9, 10, 12])

    def load(**coords):
        data = xr.Dataset({"p": (("time", "lat", "lon"), values)}, {"time": np.arange(5), **coords})
        data.to_netcdf(tmp_path / "map.nc", engine="scipy")
        return FieldDataset.load(tmp_path / "map.nc").coordinates

    found = load(lat=("lat", lat, {"units": "degrees_north"}), lon=lon)
    assert [coordinate.units for coordinate in found] == ["degrees_north", ""]
    np.testing.assert_array_equal(found[0].values, lat)
    np.testing.assert_array_equal(found[1].values, lon)
    assert load(lat=lat) == []  # one axis only
    assert load(lat=lat, lon=[0, 5, 4, 9, 10, 12]) == []
    assert load(lat=lat, lon=[0, 5, 5, 9, 10, 12]) == []
    assert load(lat=[50.0, 20, np.nan, -60, -70], lon=lon) == []
    assert load(lat=[np.inf, 20, 0, -60, -70], lon=lon) == []
    # an orientation turns the axes, and their names and coordinates with them
    load(lat=lat, lon=lon)
    turned = FieldDataset.load(tmp_path / "map.nc", orientation="reference")
    assert turned.axis_names == ["lon", "lat"]
    np.testing.assert_array_equal(turned.coordinates[0].values, lon)
    np.testing.assert_array_equal(turned.coordinates[1].values, lat[::-1])
    at_south = turned.fields[:, 0, :, list(turned.coordinates[1].values).index(-70)]
    np.testing.assert_allclose(at_south, values[:, -1], rtol=1e-6)


@pytest.mark.parametrize("large", [False, True])
def test_coordinates_of_a_line_in_a_file_of_any_size(tmp_path, monkeypatch, large):
    if large:
        monkeypatch.setattr("dvae.physics.fields.IN_MEMORY", 0)
    depth = np.geomspace(1, 100, 6)
    data = xr.Dataset({"t": (("cast", "depth"), np.random.default_rng(0).normal(size=(5, 6)))})
    data["depth"] = ("depth", depth, {"units": "m"})
    data.to_netcdf(tmp_path / "casts.nc", engine="h5netcdf")
    (found,) = FieldDataset.load(tmp_path / "casts.nc", exact=True).coordinates
    assert found.units == "m"
    np.testing.assert_array_equal(found.values, depth)


@pytest.mark.parametrize("write", ["netcdf", "hdf5"])
def test_long_names_and_units_of_variables_are_those_of_the_channels(tmp_path, write):
    described = {
        "p": {"long_name": "pressure, static", "units": "Pa"},
        "q": {"units": "1"},
    }
    path = tmp_path / f"own.{write}"
    if write == "netcdf":
        data = dataset(**KEYS)
        for key, attributes in described.items():
            data[key].attrs |= attributes
        path = path.with_suffix(".nc")
        data.to_netcdf(path, engine="h5netcdf")
    else:
        hdf5(path, **KEYS)
        with h5py.File(path, "a") as file:
            for key, attributes in described.items():
                file[key].attrs.update(attributes)
    data = FieldDataset.load(path, **BOTH)
    assert data.channel_names == ["pressure static [Pa]", "q"]


def test_names_are_kept_in_a_file_of_ones_own(tmp_path):
    netcdf(tmp_path / "own.nc", **KEYS)
    data = FieldDataset.load(tmp_path / "own.nc", **BOTH)
    again = FieldDataset.load(data.save(tmp_path / "again.h5"))
    assert again.channel_names == ["p", "q"]
    assert again.axis_names == ["lat", "lon"]
    assert again.factor_names == ["a", "b"]
    assert torch.equal(again.fields, data.fields)


def test_links_of_hdf5_are_followed(tmp_path):
    hdf5(tmp_path / "own.h5", **{"run/data": FIELDS})
    with h5py.File(tmp_path / "own.h5", "a") as file:
        file["output"] = h5py.SoftLink("/run/data")
        file["broken"] = h5py.SoftLink("/nowhere")
    data = FieldDataset.load(tmp_path / "own.h5", exact=True)
    np.testing.assert_array_equal(data.fields, FIELDS)
    assert list(open_file(tmp_path / "own.h5").arrays) == ["output", "run/data"]


# ------------------------------------------------------------------------------ refused

AMBIGUOUS = {
    "two.npz": (
        lambda path: np.savez(path, p=FIRST, q=SECOND),
        {},
        r"which of these are the fields\? 'p' \(7, 5, 6\), 'q' \(7, 5, 6\); say so with .*--fields",
    ),
    "channels last.npy": (
        lambda path: np.save(path, np.moveaxis(FIELDS, 1, 3)),
        {},
        r"the array has shape \(7, 5, 6, 2\): are its channels .*--channels first, last or none",
    ),
    "line or plane.npy": (lambda path: np.save(path, LINES), {}, "are its channels the axis"),
    "output last.h5": (
        lambda path: hdf5(path, output=np.moveaxis(FIELDS, 1, 3)),
        {},
        r"key 'output' has shape \(7, 5, 6, 2\): are its channels",
    ),
    "volume.npy": (
        lambda path: np.save(path, np.zeros((3, 2, 5, 6, 7))),
        {},
        r"shape \(3, 2, 5, 6, 7\), which is no set of fields .* \(samples, points\)",
    ),
    "samples only.npy": (lambda path: np.save(path, np.zeros(9)), {}, "is no set of fields"),
    "empty.npy": (
        lambda path: np.save(path, np.zeros((0, 5, 6))),
        {},
        r"the array has shape \(0, 5, 6\): there are no samples in it",
    ),
    "empty output.h5": (
        lambda path: hdf5(path, output=np.zeros((0, 1, 8, 8))),
        {},
        r"key 'output' has shape \(0, 1, 8, 8\): there are no samples in it",
    ),
    "no points.npy": (lambda path: np.save(path, np.zeros((4, 0))), {}, "there are no values in"),
    "nothing.npy": (lambda path: path.write_bytes(b""), {}, r"the file is empty \(0 bytes\)"),
    "nothing.nc": (lambda path: path.write_bytes(b""), {}, r"the file is empty \(0 bytes\)"),
    "no key.npz": (
        lambda path: np.savez(path, p=FIRST),
        {"fields": "u"},
        r"no array 'u', which the option fields names \(found: 'p' \(7, 5, 6\)\)",
    ),
    "no factors.npz": (
        lambda path: np.savez(path, p=FIRST),
        {"factors": "nu"},
        "no array 'nu', which the option factors names",
    ),
    "factors of others.npz": (
        lambda path: np.savez(path, p=FIRST, nu=np.zeros(4)),
        {"factors": "nu"},
        r"key 'nu' has shape \(4,\); factors of 7 samples must be \(7,\) or \(7, factors\)",
    ),
    "shapes.npz": (
        lambda path: np.savez(path, p=FIRST, q=SECOND[:, :4]),
        {"fields": "p,q"},
        "have different shapes",
    ),
    "complex.npz": (
        lambda path: np.savez(path, p=FIRST + 1j),
        {"fields": "p"},
        "key 'p' is of type complex128; it must be an array of real numbers",
    ),
    "complex.npy": (
        lambda path: np.save(path, FIRST + 1j),
        {},
        "the array is of type complex128; .* store real and imaginary parts as two channels",
    ),
    "words.npy": (
        lambda path: np.save(path, np.array([["a", "b"]])),
        {},
        "the array is of type <U1; it must be an array of real numbers, and this is text",
    ),
    "objects.npz": (
        lambda path: np.savez(path, p=np.array([{}, []], dtype=object)),
        {},
        r"key 'p' is of type object; .* numpy\.stack",
    ),
    "nan.npz": (
        lambda path: np.savez(path, p=np.where(np.arange(N)[:, None, None] == 2, np.nan, FIRST)),
        {"exact": True},
        "key 'p' holds NaN or infinity in 1 of 7 samples",
    ),
    "option.npy": (
        lambda path: np.save(path, FIELDS),
        {"channels": "middle"},
        "channels is 'middle'; choose one of first, last, none",
    ),
    "objects.npy": (
        lambda path: np.save(path, np.array([{}, []], dtype=object)),
        {},
        r"the array is of type object; .* numpy\.stack",
    ),
    "text.dat": (
        lambda path: path.write_text("1 2 3"),
        {},
        r"of a format that dvae reads \(HDF5, .*numpy\.loadtxt\('text\.dat'\)\)",
    ),
    "table.csv": (
        lambda path: path.write_text("1,2,3"),
        {},
        r"of a format .* numpy\.loadtxt\('table\.csv', delimiter=','\)\) makes one",
    ),
    "picture.tiff": (lambda path: path.write_text("II"), {}, r"numpy\.save\('fields\.npy', fields"),
    "damaged.npy": (lambda path: path.write_text("?"), {}, "are not those of a NumPy file"),
    "text.mat": (lambda path: path.write_text("1 2 3"), {}, "not a complete MATLAB file"),
    "torch.npz": (
        lambda path: torch.save({"a": torch.ones(3)}, path),
        {},
        "a zip archive, but not one of numpy.savez",
    ),
    "no arrays.npz": (lambda path: zipfile.ZipFile(path, "w").close(), {}, "of a NumPy file"),
}


@pytest.mark.wrong_types
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_is_not_clear_is_refused_with_the_option_to_give(tmp_path, name):
    write, options, message = AMBIGUOUS[name]
    path = tmp_path / name
    write(path)
    with pytest.raises(DataError, match=message) as caught:
        FieldDataset.load(path, **options)
    assert "\n" not in str(caught.value).strip()


CUT = ["own.npz", "new.mat", "old.mat", "new.nc", "old.nc", "plain.npy"]


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, name, kept):
    path: Path = tmp_path / name
    (BY_KEYS | {"plain.npy": lambda path: np.save(path, FIELDS)})[name](path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(kept * len(contents))])
    options = {} if name == "plain.npy" else BOTH
    with pytest.raises(DataError, match=r"not a complete|holds no arrays") as caught:
        FieldDataset.load(path, **options)
    assert str(path) in str(caught.value)


# ------------------------------------------------------------------------------ data loaders


def test_a_data_set_goes_into_a_data_loader():
    data = FieldDataset(torch.as_tensor(FIELDS), theta=torch.as_tensor(THETA))
    fields, theta = data[3]
    assert fields.shape == (2, 5, 6) and theta.shape == (2,)
    batches = list(torch.utils.data.DataLoader(data, batch_size=4))
    assert [len(batch[0]) for batch in batches] == [4, 3]
    assert torch.equal(torch.cat([batch[0] for batch in batches]), data.fields)
    assert torch.equal(torch.cat([batch[1] for batch in batches]), data.theta)
    (batch,) = torch.utils.data.DataLoader(FieldDataset(data.fields), batch_size=N)
    assert torch.equal(batch, data.fields)


def test_arrays_whose_axes_lie_in_another_order_are_no_channels_of_one_field(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 6, 6))
    turned = values.transpose(0, 2, 1)
    data = {"u": (("sample", "x", "y"), values), "v": (("sample", "y", "x"), turned)}
    xr.Dataset(data).to_netcdf(tmp_path / "two.nc", engine="scipy")
    with pytest.raises(DataError, match=r"'u' are \(sample, x, y\), those of key 'v' \(sample, y"):
        FieldDataset.load(tmp_path / "two.nc", fields="u,v")
    other = {"u": data["u"], "v": (("sample", "x2", "y2"), values)}  # staggered: other names
    xr.Dataset(other).to_netcdf(tmp_path / "staggered.nc", engine="scipy")
    assert FieldDataset.load(tmp_path / "staggered.nc", fields="u,v").fields.shape == (5, 2, 6, 6)


def test_a_factor_whose_name_has_a_comma_keeps_the_names_of_the_others(tmp_path):
    np.save(tmp_path / "own.npy", np.random.default_rng(0).normal(size=(5, 6, 6)))
    table = pd.DataFrame({"width, m": np.arange(5.0), "depth": np.arange(5.0)})
    table.to_csv(tmp_path / "own.csv", index=False)
    data = FieldDataset.load(
        tmp_path / "own.npy", channels="none", factors=str(tmp_path / "own.csv")
    )
    assert data.factor_names == ["width  m", "depth"]


def test_a_line_in_the_authors_layout_has_no_coordinates(tmp_path):
    values = np.random.default_rng(0).normal(size=(5, 7))
    line = xr.Dataset({"p": (("sample", "x"), values)}, {"x": np.arange(7.0)})
    line.to_netcdf(tmp_path / "line.nc", engine="scipy")
    turned = FieldDataset.load(tmp_path / "line.nc", fields="p", orientation="reference")
    assert turned.fields.shape == (5, 1, 1, 7)
    assert turned.coordinates == [] and "axes" not in turned.metadata


def test_one_array_with_two_axes_of_one_name_is_taken(tmp_path):
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["u"] = np.random.default_rng(0).normal(size=(5, 6, 6))
        for axis, name in enumerate(("sample", "x", "x")):
            file["u"].dims[axis].label = name
    assert FieldDataset.load(tmp_path / "own.h5", fields="u").fields.shape == (5, 1, 6, 6)

"""Files read by h5py are what xarray reads from them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from dvae.results.netcdf import read_netcdf
from dvae.results.store import write_result


@pytest.fixture
def data() -> xr.Dataset:
    """Every kind of variable, coordinate and attribute that results have."""
    rng = np.random.default_rng(0)
    holed = rng.standard_normal((3, 400))
    holed[1, 5:] = np.nan
    return xr.Dataset(
        {
            "single": (("trial", "x1", "x2"), rng.standard_normal((3, 2, 2)).astype(np.float32)),
            "double": (("trial", "point"), holed, {"units": "nat", "long_name": "rate"}),
            "count": ("trial", np.array([1, -2, 3])),
            "small": ("trial", np.array([0, 1, 0], np.int8)),
            "flag": ("trial", np.array([True, False, True])),
            "word": ("trial", ["a", "", "Kármán, Löve"]),
            "scalar": 2.5,
            "empty": (("trial", "nothing"), np.empty((3, 0))),
            "free": ("turn", np.arange(4.0)),
        },
        coords={
            "seed": ("trial", [5, 6, 7]),
            "recipe": ("trial", ["published", "annealed", "annealed"]),
            "turn": ("turn", [0.0, 30.0, 60.0, 90.0], {"units": "degree"}),
            "version": 3,
        },
        attrs={"title": "A title", "nothing": "", "number": 3, "share": 0.5},
    )


def test_it_is_what_xarray_reads(data, tmp_path):
    path = tmp_path / "result.nc"
    write_result(data, path)
    found, expected = read_netcdf(path), xr.load_dataset(path, engine="h5netcdf")
    xr.testing.assert_identical(found, expected)
    assert list(found.data_vars) == list(expected.data_vars)
    for name, variable in expected.variables.items():
        assert found[name].dtype == variable.dtype, name
    assert {key: type(value) for key, value in found.attrs.items()} == {
        key: type(value) for key, value in expected.attrs.items()
    }


def test_what_was_read_is_in_memory_and_can_be_written_again(data, tmp_path):
    path = tmp_path / "result.nc"
    write_result(data, path)
    found = read_netcdf(path)
    path.unlink()
    write_result(found, path)
    xr.testing.assert_identical(read_netcdf(path), found)
    xr.testing.assert_identical(found.drop_attrs(deep=False), data.drop_attrs(deep=False))


def test_every_stored_result(root):
    paths = sorted((root / "results").glob("*/*.nc"))
    assert paths
    for path in paths:
        xr.testing.assert_identical(read_netcdf(path), xr.load_dataset(path, engine="h5netcdf"))


@pytest.mark.parametrize("content", [b"", b"not HDF5"])
def test_another_file_is_refused(content, tmp_path):
    path = tmp_path / "result.nc"
    path.write_bytes(content)
    with pytest.raises(OSError):
        read_netcdf(path)

"""Generation, files and their failures."""

import contextlib
import subprocess
import sys

import h5py
import numpy as np
import pytest
import torch

from dvae.errors import DataError, DvaeError, UnknownNameError
from dvae.physics import (
    DarcyDataset,
    FieldDataset,
    KarhunenLoeve,
    factor_distribution,
    solve_darcy,
)
from dvae.storage import digest_path


def generate(n_samples=8, **options):
    return DarcyDataset.generate(n_samples=n_samples, n_nodes=17, **options)


@pytest.fixture(scope="module")
def data():
    return generate(seed=1)


@pytest.fixture
def path(data, tmp_path):
    return data.save(tmp_path / "data.h5")


def same(first, second):
    return all(torch.equal(a, b) for a, b in zip(arrays(first), arrays(second), strict=True))


def arrays(dataset):
    return [dataset.theta, dataset.permeability, dataset.fields]


def folder(path):
    return sorted(item.name for item in path.parent.iterdir())


@contextlib.contextmanager
def altered(path):
    """The file, open for changes that are made on purpose: without its digest."""
    digest_path(path).unlink()
    with h5py.File(path, "r+") as file:
        yield file


# --- generation ---------------------------------------------------------------------------------


def test_fields_are_the_flow_of_the_factors(data):
    assert [a.shape for a in arrays(data)] == [(8, 2), (8, 1, 17, 17), (8, 3, 17, 17)]
    assert {a.dtype for a in arrays(data)} == {torch.float32}
    assert len(data) == 8
    permeability = KarhunenLoeve(2, 17).permeability(data.theta)
    pressure, velocity = solve_darcy(permeability)
    torch.testing.assert_close(data.permeability[:, 0], permeability.float())
    torch.testing.assert_close(data.fields[:, 0], pressure.float())
    torch.testing.assert_close(data.fields[:, 1:], velocity.float())
    assert data.metadata["seed"] == 1
    assert data.metadata["factors"] == "standard-normal"


@pytest.mark.parametrize("options", [{"batch_size": 1}, {"batch_size": 3}, {"n_samples": 5}])
def test_a_sample_depends_on_its_seed_and_index_only(data, options):
    other = generate(**{"n_samples": 8, "seed": 1} | options)
    count = len(other)
    assert torch.equal(other.theta, data.theta[:count])
    torch.testing.assert_close(other.fields, data.fields[:count], rtol=1e-6, atol=1e-7)


def test_a_sample_does_not_depend_on_the_number_of_workers(data):
    options = {"n_samples": 8, "seed": 1, "batch_size": 3}
    first, second = generate(**options, workers=1), generate(**options, workers=3)
    assert same(first, second)


def test_seeds_and_samples_differ(data):
    other = generate(seed=2)
    everything = torch.cat([data.theta, other.theta])
    assert len(everything.unique(dim=0)) == 16


def test_the_global_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    generate(2)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("name", ["shifted-normal", "four-modes", "bimodal", "correlated-normal"])
def test_draws_follow_the_named_distribution(name):
    theta = DarcyDataset.generate(name, n_samples=1500, n_nodes=3).theta
    distribution = factor_distribution(name)
    expected = distribution.log_prob(distribution.sample((1500,)))
    drawn = distribution.log_prob(theta)
    error = (drawn.var() / 1500 + expected.var() / 1500) ** 0.5
    assert abs(drawn.mean() - expected.mean()) < 4 * error
    torch.testing.assert_close(
        theta.mean(0), distribution.sample((20000,)).mean(0), rtol=0, atol=0.15
    )


def test_more_factors_and_own_distribution():
    assert generate(2, n_factors=100).theta.shape == (2, 100)
    own = torch.distributions.Independent(torch.distributions.Uniform(torch.zeros(3), 1), 1)
    data = generate(4, factors=own)
    assert data.theta.shape == (4, 3)
    assert ((data.theta > 0) & (data.theta < 1)).all()
    with pytest.raises(DataError, match=r"event shape \(\).*Independent"):
        generate(4, factors=torch.distributions.Normal(0.0, 1.0))
    with pytest.raises(UnknownNameError, match="four-modes"):
        generate(4, factors="five-modes")


def test_progress_bar_counts_samples(capsys):
    generate(6, batch_size=4, progress=True)
    assert "6/6" in capsys.readouterr().err
    generate(6)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("option", ["n_samples", "batch_size"])
def test_bad_numbers_are_refused(option):
    with pytest.raises(DataError, match=f"{option} is 0"):
        generate(**{option: 0})
    with pytest.raises(DataError, match="seed is -1"):
        generate(seed=-1)


def test_split(data):
    train, test = data.split(5, 3)
    assert torch.equal(train.fields, data.fields[:5])
    assert torch.equal(test.theta, data.theta[5:8])
    assert (train.metadata["split"], test.metadata["split_start"]) == ("train", 5)
    with pytest.raises(DataError, match=r"512 \+ 512 samples asked of a data set of 8"):
        data.split()


@pytest.mark.wrong_types
def test_arrays_must_fit_together():
    fields = torch.zeros(4, 3, 5, 6)
    assert len(DarcyDataset(fields)) == 4
    for bad in [
        {"fields": torch.zeros(4, 5, 6)},
        {"fields": torch.zeros(0, 3, 5, 6)},
        {"permeability": torch.zeros(4, 1, 6, 5)},
        {"permeability": torch.zeros(4, 5, 6)},
        {"theta": torch.zeros(3, 2)},
        {"theta": torch.zeros(4)},
    ]:
        name = next(iter(bad))
        with pytest.raises(DataError, match=rf"{name} has shape .*must be"):
            DarcyDataset(**{"fields": fields} | bad)
    fields[2, 0, 0, 0] = torch.inf
    with pytest.raises(DataError, match=r"fields holds NaN or infinity in 1 of 4 .* sample 2"):
        DarcyDataset(fields)
    with pytest.raises(DataError, match="fields is not an array of numbers"):
        DarcyDataset("fields.h5")


# --- files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", ["ij", "reference"])
def test_what_is_saved_is_loaded(data, tmp_path, orientation):
    path = data.save(tmp_path / "data.h5", orientation=orientation)
    again = DarcyDataset.load(path)
    assert same(again, data)
    assert data.metadata.items() <= again.metadata.items()
    assert folder(path) == ["data.h5", "data.h5.sha256"]
    again.save(path, orientation=orientation)  # replaces
    assert same(DarcyDataset.load(path), data)


def test_file_has_the_keys_and_attributes(data, path):
    with h5py.File(path) as file:
        assert set(file) == {"generative_params", "permeability", "output"}
        assert file["output"].dtype == np.float32
        np.testing.assert_array_equal(file["output"], data.fields)
        needed = {"seed", "length_scale", "solver", "units", "dvae_version", "checksum"}
        assert needed | {"orientation", "format", "n_nodes", "factors"} <= set(file.attrs)


def reference_file(data, path):
    """A file like the authors': every field F as flipud(F'), and no attributes."""

    def turned(values):
        return np.stack([[np.flipud(f.T) for f in sample] for sample in values.numpy()])

    with h5py.File(path, "w") as file:
        file["generative_params"] = data.theta.numpy()
        file["permeability"] = turned(data.permeability)
        file["output"] = turned(data.fields)


@pytest.mark.wrong_types
def test_the_reference_orientation_is_read(data, tmp_path):
    reference_file(data, tmp_path / "reference.hdf5")
    turned = DarcyDataset.load(tmp_path / "reference.hdf5", orientation="reference")
    assert same(turned, data)
    assert "as asked" in turned.orientation_note
    data.save(tmp_path / "ours.hdf5", orientation="reference")
    with (
        h5py.File(tmp_path / "reference.hdf5") as theirs,
        h5py.File(tmp_path / "ours.hdf5") as ours,
    ):
        for key in theirs:
            np.testing.assert_array_equal(ours[key], theirs[key])
    for call in (DarcyDataset.load, data.save):
        with pytest.raises(DataError, match="orientation is 'xy'; choose one of"):
            call(tmp_path / "ours.hdf5", orientation="xy")


@pytest.mark.filterwarnings("error")
def test_the_orientation_is_never_guessed_from_the_keys(data, tmp_path):
    path = tmp_path / "reference.hdf5"
    reference_file(data, path)
    with h5py.File(path) as file:
        as_it_lies = file["output"][()]
    with pytest.warns(UserWarning, match=r"reference\.hdf5: .*if these do too, say so"):
        assumed = FieldDataset.load(path)
    np.testing.assert_array_equal(assumed.fields, as_it_lies)
    assert "nothing says otherwise" in assumed.orientation_note
    said = FieldDataset.load(path, orientation="ij")  # no warning: they are errors here
    assert torch.equal(said.fields, assumed.fields)


def test_the_attribute_of_a_file_is_believed_unless_told_otherwise(data, tmp_path):
    path = data.save(tmp_path / "data.h5", orientation="reference")
    read = FieldDataset.load(path)
    assert torch.equal(read.fields, data.fields)
    assert "as the file says" in read.orientation_note
    with pytest.warns(UserWarning, match="as asked, although the file says 'reference'"):
        told = FieldDataset.load(path, orientation="ij")
    assert torch.equal(told.fields, data.fields.transpose(-1, -2).flip(-2))
    with altered(path) as file:
        file.attrs["orientation"] = "north"
    with pytest.raises(DataError, match=r"data\.h5: its attribute 'orientation' is 'north'"):
        FieldDataset.load(path)
    with pytest.warns(UserWarning, match="as asked, although the file says 'north'"):
        told = FieldDataset.load(path, orientation="reference")
    assert torch.equal(told.fields, data.fields)


def test_fields_of_any_origin_know_no_permeability(data, tmp_path):
    path = data.save(tmp_path / "darcy.h5")
    plain = FieldDataset.load(path)
    assert repr(plain) == "FieldDataset(theta=(8, 2), fields=(8, 3, 17, 17))"
    assert torch.equal(plain.theta, data.theta)
    first, second = plain.split(6, 2)
    assert type(first) is FieldDataset and len(second) == 2
    again = FieldDataset.load(first.save(tmp_path / "plain.h5"))
    assert torch.equal(again.fields, data.fields[:6])
    with h5py.File(tmp_path / "plain.h5") as file:
        assert set(file) == {"generative_params", "output"}
    with h5py.File(path, "r+") as file:
        file["permeability"][0, 0, 0, 0] += 1
    with pytest.raises(DataError, match=r"darcy\.h5 is not the file that darcy\.h5\.sha256"):
        FieldDataset.load(path)
    digest_path(path).unlink()
    with pytest.raises(DataError, match=r"darcy\.h5: checksum"):
        FieldDataset.load(path)


@pytest.mark.filterwarnings("error")
def test_own_fields_need_only_the_output(tmp_path):
    fields = np.arange(2 * 5 * 4 * 7, dtype=np.float64).reshape(2, 5, 4, 7)
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["output"] = fields
        file.attrs["where"] = "laboratory"
    data = DarcyDataset.load(tmp_path / "own.h5")
    np.testing.assert_array_equal(data.fields, fields)
    assert data.theta is None
    assert data.permeability is None
    assert data.metadata["where"] == "laboratory"
    turned = DarcyDataset.load(tmp_path / "own.h5", orientation="reference")
    assert turned.fields.shape == (2, 5, 7, 4)
    data.save(tmp_path / "again.h5")
    np.testing.assert_array_equal(DarcyDataset.load(tmp_path / "again.h5").fields, fields)
    train, _ = data.split(1, 1)
    assert train.theta is None


def edit(path, key, change):
    """Replace an array of the file, and drop the checksum so that only the change can be seen."""
    with altered(path) as file:
        values = file[key][()]
        del file[key]
        if change is not None:
            file[key] = change(values)
        del file.attrs["checksum"]


def with_nan(values):
    values[3].flat[0] = np.nan
    return values


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("output", None, r"'output' is missing \(found: generative_params, permeability\)"),
        ("output", lambda v: v[:, 0], r"'output' has shape \(8, 17, 17\); it must be \(samples"),
        (
            "output",
            with_nan,
            r"'output' holds NaN or infinity in 1 of 8 samples, first in sample 3",
        ),
        ("output", lambda v: v.astype("S4"), r"'output' is .*must be an array of real numbers"),
        ("permeability", lambda v: v[:4], r"'permeability' has shape .* must be \(8, 1, 17, 17\)"),
        ("permeability", with_nan, r"'permeability' holds NaN"),
        ("generative_params", lambda v: v[:, 0], r"'generative_params' .* must be \(8, factors\)"),
        ("generative_params", with_nan, r"'generative_params' holds NaN"),
    ],
)
def test_bad_contents_name_file_key_and_expectation(path, key, change, message):
    edit(path, key, change)
    with pytest.raises(DataError, match=message) as caught:
        DarcyDataset.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kept", [0.01, 0.5, 0.999])
def test_a_truncated_file_is_refused(path, kept):
    contents = path.read_bytes()
    path.write_bytes(contents[: int(kept * len(contents))])
    with pytest.raises(DataError, match=r"data\.h5 is not the file that data\.h5\.sha256"):
        DarcyDataset.load(path)
    digest_path(path).unlink()
    with pytest.raises(DataError, match=r"not a complete HDF5 file .*truncated") as caught:
        DarcyDataset.load(path)
    assert str(path) in str(caught.value)


def test_missing_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"absent\.h5: there is no such file"):
        DarcyDataset.load(tmp_path / "absent.h5")
    (tmp_path / "empty.h5").touch()
    with pytest.raises(DataError, match=r"empty\.h5: the file is empty \(0 bytes\)"):
        DarcyDataset.load(tmp_path / "empty.h5")
    (tmp_path / "text.h5").write_text("pressure, u1, u2\n" * 100)
    with pytest.raises(DataError, match=r"text\.h5: not a complete HDF5 file"):
        DarcyDataset.load(tmp_path / "text.h5")


@pytest.mark.parametrize("key", ["output", "permeability", "generative_params"])
def test_a_changed_value_does_not_pass_the_checksum(path, key):
    with altered(path) as file:
        file[key][(1, *[0] * (file[key].ndim - 1))] += 1e-3
    with pytest.raises(DataError, match=r"data\.h5: checksum"):
        DarcyDataset.load(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
@pytest.mark.parametrize("existing", [False, True])
def test_an_interrupted_write_leaves_nothing(data, tmp_path, monkeypatch, error, existing):
    path = tmp_path / "data.h5"
    if existing:
        generate(2).save(path)
    before = folder(path)
    create = h5py.File.create_dataset

    def fail_at_the_last(self, name, *arguments, **options):
        if name == "output":
            raise error
        return create(self, name, *arguments, **options)

    monkeypatch.setattr(h5py.File, "create_dataset", fail_at_the_last)
    with pytest.raises((KeyboardInterrupt, DvaeError)):
        data.save(path)
    assert folder(path) == before
    if existing:
        assert len(DarcyDataset.load(path)) == 2


FULL_DISK = """
import resource, sys, torch
from dvae.errors import DvaeError
from dvae.physics import DarcyDataset
data = DarcyDataset(torch.ones(64, 3, 33, 33))
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    data.save(sys.argv[1])
except DvaeError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing(tmp_path):
    path = tmp_path / "data.h5"
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)], capture_output=True, text=True, check=True
    )
    assert "data.h5" in done.stdout
    assert "could not be written" in done.stdout
    assert folder(path) == []


def test_metadata_that_hdf5_cannot_hold_is_refused(data, tmp_path):
    bad = DarcyDataset(data.fields, metadata={"what": object()})
    with pytest.raises(DataError, match="metadata holds only numbers and strings"):
        bad.save(tmp_path / "data.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.wrong_types
def test_double_precision_and_a_mask_survive_a_file(tmp_path):
    rng = np.random.default_rng(0)
    values = 101325 + 1e-3 * rng.normal(size=(8, 1, 5, 5))  # constant in single precision
    values[:, 0, 2, 3] = np.nan
    exact = FieldDataset(values, exact=True)
    again = FieldDataset.load(exact.save(tmp_path / "exact.h5"), exact=True)
    assert again.fields.dtype == torch.float64
    np.testing.assert_array_equal(again.fields, values)
    large = FieldDataset(1e39 * rng.normal(size=(8, 1, 5, 5)), exact=True)
    again = FieldDataset.load(large.save(tmp_path / "large.h5"), exact=True)
    assert torch.equal(again.fields, large.fields)


@pytest.mark.wrong_types
def test_arrays_of_any_kind_are_taken_and_copied():
    values = np.random.default_rng(0).normal(size=(4, 1, 5, 6)).astype(np.float32)
    for same in (values[..., ::-1][..., ::-1], values.astype(">f4"), np.asfortranarray(values)):
        np.testing.assert_array_equal(FieldDataset(same).fields, values)
    data = FieldDataset(flipped := values.copy())
    flipped[:] = 0
    np.testing.assert_array_equal(data.fields, values)
    assert FieldDataset(np.ones((4, 1, 5, 6), np.uint8)).fields.dtype == torch.float32
    with pytest.raises(DataError, match="complex numbers; give real and imaginary part"):
        FieldDataset(values.astype(complex))
    with pytest.raises(DataError, match=r"beyond 3\.4e38, the largest in single precision"):
        FieldDataset(1e39 * values.astype(float))


def test_parts_of_a_split_know_where_the_data_came_from(tmp_path):
    import xarray as xr

    values = np.random.default_rng(0).normal(size=(6, 4, 5))
    axes = {"lat": np.arange(4.0), "lon": np.arange(5.0)}
    data = xr.Dataset({"p": (("time", "lat", "lon"), values)}, axes)
    data.to_netcdf(tmp_path / "map.nc", engine="scipy")
    whole = FieldDataset.load(tmp_path / "map.nc", channels="none")
    for part in whole.split(4, 2):
        assert part.layout_note == whole.layout_note
        assert part.orientation_note == whole.orientation_note
        assert [len(axis.values) for axis in part.coordinates] == [4, 5]


def test_a_sample_whose_permeability_overflows_is_named_by_its_number(monkeypatch):
    drawn = torch.zeros(100, 2)
    drawn[70] = 1e6
    monkeypatch.setattr("dvae.physics.dataset.draw_factors", lambda *_: drawn)
    with pytest.raises(DataError, match=r"of sample 70 make a permeability beyond"):
        generate(100, batch_size=64)


@pytest.mark.wrong_types
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_samples": "a"}, "n_samples is 'a'; give an integer of 1 or more"),
        ({"n_samples": float("inf")}, "n_samples is inf"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"seed": 2**32}, r"seed is 4294967296; give an integer below 2\*\*32"),
        ({"seed": 0.5}, "seed is 0.5"),
        (
            {"factors": factor_distribution("standard-normal"), "correlation": 0.9},
            "leave the argument correlation out",
        ),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, message):
    with pytest.raises(DataError, match=message):
        DarcyDataset.generate(**{"n_samples": 4, "n_nodes": 17} | arguments)

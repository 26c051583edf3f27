"""Damaged files end in the project's errors, soon, and in no other way; what passes is the same."""

from __future__ import annotations

import time

import h5py
import numpy as np
import pytest
import torch
import xarray as xr

from dvae import hdf5
from dvae.errors import DataError, DvaeError, ResultError
from dvae.hdf5 import check_hdf5
from dvae.physics import FieldDataset
from dvae.reading.layout import FORMAT
from dvae.results.store import Store, read_result, write_result
from dvae.storage import digest_path

LIMIT = 30.0  # seconds that one file may take, on a busy machine


@pytest.fixture(params=["result", "data"])
def written(request, tmp_path):
    """A file, the function that reads it, and the function that compares what was read."""
    rng = np.random.default_rng(0)
    if request.param == "result":
        path = tmp_path / "result.nc"
        result = xr.Dataset(
            {
                "curve": (("trial", "entry"), rng.standard_normal((4, 400))),
                "word": ("trial", ["a", "bb", "c", "d"]),
            },
            {"seed": ("trial", np.arange(4))},
            {"commit": "0123abc", "profile": "smoke", "python": "3.11.7"},
        )
        write_result(result, path)
        return path, read_result, lambda a, b: a.identical(b)
    path = tmp_path / "data.h5"
    fields = torch.from_numpy(rng.standard_normal((8, 2, 5, 5))).float()
    made = FieldDataset(fields, theta=fields[:, 0, 0, :2], metadata={"solver": "by hand", "n": 3})
    made.save(path)
    return path, FieldDataset.load, _same_data


def _same_data(a: FieldDataset, b: FieldDataset) -> bool:
    arrays = torch.equal(a.fields, b.fields) and torch.equal(a.theta, b.theta)
    return arrays and a.metadata == b.metadata


def damages(good: bytes, words: list[bytes], count: int, seed: int = 0):
    """Zeroed blocks, flipped bytes anywhere and in given words, and files that are cut."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        bad = bytearray(good)
        place = int(rng.integers(len(good)))
        if i % 4 == 0:
            start = place // 64 * 64
            bad[start : start + 64] = bytes(64)
        elif i % 4 == 1:
            bad[place] ^= 1 << int(rng.integers(8))
        elif i % 4 == 2:
            word = words[i // 4 % len(words)]
            bad[good.index(word) + int(rng.integers(len(word)))] ^= 1 << int(rng.integers(7))
        else:
            del bad[place:]
        if bad != good:
            yield bytes(bad)


WORDS = {
    "result": [b"0123abc", b"smoke", b"3.11.7", b"commit", b"curve"],
    "data": [b"by hand", b"dvae-fields-1", b"solver", b"output", b"orientation"],
}


def outcome(path, read):
    """What reading gave: a value, or the project's error; anything else fails the test."""
    start = time.monotonic()
    try:
        value, problem = read(path), str(path)
    except (DataError, ResultError) as error:
        value, problem = None, str(error)
    assert time.monotonic() - start < LIMIT and str(path) in problem
    return value


def test_every_damage_is_noticed_by_the_digest(written):
    path, read, same = written
    good, whole = path.read_bytes(), read(path)
    words = WORDS["result" if path.suffix == ".nc" else "data"]
    for bad in damages(good, words, 80):
        path.write_bytes(bad)
        with pytest.raises(DvaeError, match=f"{path} is not the file that {path.name}.sha256"):
            read(path)
    path.write_bytes(good)
    assert same(read(path), whole)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damage_of_a_file_without_digest_is_an_error_or_changes_no_number(written):
    path, read, _ = written
    good, whole = path.read_bytes(), read(path)
    digest_path(path).unlink()
    words = WORDS["result" if path.suffix == ".nc" else "data"]
    noticed = 0
    for bad in damages(good, words, 16, seed=3):
        path.write_bytes(bad)
        found = outcome(path, read)
        noticed += found is None
        if isinstance(found, xr.Dataset):
            assert found.drop_attrs(deep=False).equals(whole.drop_attrs(deep=False))
        elif found is not None and found.fields.shape == whole.fields.shape:
            assert torch.equal(found.fields, whole.fields)
    assert noticed > 4


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import time; time.sleep(60)", "does not come to an end with it in 1 s"),
        ("import os; os.kill(os.getpid(), 11)", "ends with code -11"),
        ("raise ImportError('no h5py')", "ImportError: no h5py"),
    ],
)
def test_a_reader_that_hangs_or_crashes_is_an_error(
    written, tmp_path, monkeypatch, program, message
):
    path, read, _ = written
    reader = tmp_path / "reader.py"
    reader.write_text(program)
    monkeypatch.setattr(hdf5, "READER", reader)
    monkeypatch.setattr(hdf5, "SECONDS", 1.0)
    monkeypatch.setattr(hdf5, "BYTES_PER_SECOND", 1e12)
    read(path)  # has a digest: no other process is needed
    digest_path(path).unlink()
    with pytest.raises(DvaeError, match=message):
        read(path)


def test_a_sound_file_without_digest_is_read(written):
    path, read, same = written
    whole = read(path)
    digest_path(path).unlink()
    assert same(read(path), whole)


def test_a_file_that_another_program_writes_to_is_locked(written):
    path = written[0]
    digest_path(path).unlink()
    with h5py.File(path, "r+"), pytest.raises(BlockingIOError):
        check_hdf5(path)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "attributes",
    [
        {"orientation": [1.0, 2.0]},
        {"orientation": h5py.Empty("f4")},
        {"checksum": [1, 2, 3], "format": FORMAT},
        {"checksum": h5py.Empty("S10"), "format": FORMAT},
    ],
)
def test_attributes_of_any_kind_are_refused_in_words(tmp_path, attributes):
    path = tmp_path / "data.h5"
    with h5py.File(path, "w") as file:
        file["output"] = np.zeros((4, 1, 3, 3))
        file.attrs.update(attributes)
    with pytest.raises(DataError, match=f"{path}: .*({next(iter(attributes))})"):
        FieldDataset.load(path)


def test_an_empty_array_is_refused_in_words(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        file["output"] = h5py.Empty("f4")
    with pytest.raises(DataError, match="key 'output' has shape"):
        FieldDataset.load(tmp_path / "data.h5")


def test_digests_of_a_store_are_brought_up_to_date(tmp_path):
    store = Store(tmp_path)
    for name in ("first", "second"):
        write_result(xr.Dataset({"value": ("trial", [1.0, 2.0])}), store.path(name, "smoke"))
    first, second = (store.path(name, "smoke") for name in ("first", "second"))
    assert store.update_digests() == []
    digest_path(first).unlink()
    second.write_bytes(first.read_bytes() + b"more")  # sound, and not what was written
    with pytest.raises(ResultError, match="second"):
        read_result(second)
    assert store.update_digests() == [first, second]
    assert read_result(second)["value"].values.tolist() == [1.0, 2.0]
    second.write_bytes(first.read_bytes()[:-1000])
    with pytest.raises(ResultError, match="second"):
        store.update_digests()


def test_every_stored_result_has_its_digest(root):
    for path in sorted((root / "results").glob("*/*.nc")):
        check_hdf5(path)
        assert digest_path(path).exists(), f"{path}: run 'make digests'"

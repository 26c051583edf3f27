"""Samples in batches are the samples: from memory and from a file, all of them and some."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvae import DataError, FieldDataset
from dvae.physics import fields as module
from dvae.physics.fields import StoredDataset
from dvae.physics.samples import Samples, in_batches

FIELDS = torch.arange(7.0 * 2 * 3 * 4).reshape(7, 2, 3, 4)


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch):
    """Batches of two samples, and no file that is read at once."""
    monkeypatch.setattr("dvae.physics.samples.VALUES", 2 * 24)
    monkeypatch.setattr(module, "IN_MEMORY", 0)


@pytest.mark.parametrize("rows", [slice(None), slice(1, 6), np.array([0, 3, 4]), np.array([6])])
def test_batches_are_the_chosen_samples_in_their_order(rows):
    asked: list[slice] = []

    def read(part: slice) -> torch.Tensor:
        asked.append(part)
        return FIELDS[part]

    samples = Samples(tuple(FIELDS.shape), read)[rows]
    assert samples.shape == FIELDS[rows].shape
    assert len(samples) == len(FIELDS[rows])
    torch.testing.assert_close(torch.cat(list(samples)), FIELDS[rows])
    assert max(part.stop - part.start for part in asked) <= 2
    assert samples.n_batches == len(asked)
    doubled = samples[1:].map(lambda batch: 2 * batch)
    assert sum(float(batch.sum()) for batch in doubled) == 2 * float(FIELDS[rows][1:].sum())


def test_a_tensor_is_one_batch():
    (batch,) = in_batches(FIELDS)
    assert torch.equal(batch, FIELDS) and batch.data_ptr() == FIELDS.data_ptr()
    assert [len(batch) for batch in in_batches(Samples.of(FIELDS))] == [2, 2, 2, 1]


@pytest.mark.parametrize("orientation", ["ij", "reference"])
def test_fields_stay_in_their_file_and_are_those_that_were_stored(tmp_path, orientation):
    data = FieldDataset(FIELDS, theta=torch.ones(7, 1), metadata={"channels": "p, q"})
    data.save(tmp_path / "own.h5", orientation=orientation)
    stored = FieldDataset.load(tmp_path / "own.h5", exact=True)
    assert isinstance(stored, StoredDataset)
    assert len(stored) == 7
    assert stored.channel_names == ["p", "q"]
    assert repr(stored) == "StoredDataset(fields=(7, 2, 3, 4))"
    torch.testing.assert_close(stored.fields, FIELDS)
    field, theta = stored[-1]
    torch.testing.assert_close(field, FIELDS[-1])
    assert theta.tolist() == [1]
    with pytest.raises(DataError, match=r"take .samples\[:n\]"):
        stored.split(3, 3)


def test_more_than_memory_is_not_read(tmp_path, monkeypatch):
    np.save(tmp_path / "own.npy", FIELDS.numpy())
    stored = FieldDataset.load(tmp_path / "own.npy", exact=True)
    monkeypatch.setattr("dvae.memory._free", lambda: 1000)
    with pytest.raises(DataError, match=r"the fields \(7, 2, 3, 4\) would take .* \.samples"):
        _ = stored.fields


def test_a_damaged_copy_is_noticed(tmp_path):
    """The checksum of the arrays is compared a piece at a time, without the digest of the file."""
    FieldDataset(FIELDS).save(tmp_path / "own.h5")
    (tmp_path / "own.h5.sha256").unlink()
    FieldDataset.load(tmp_path / "own.h5", exact=True)
    content = (tmp_path / "own.h5").read_bytes()
    value = FIELDS[3, 1].numpy().tobytes()
    assert content.count(value) == 1
    (tmp_path / "own.h5").write_bytes(content.replace(value, value[::-1]))
    with pytest.raises(DataError, match="checksum of the arrays"):
        FieldDataset.load(tmp_path / "own.h5", exact=True)


def test_gaps_that_move_are_refused_with_the_first_place(tmp_path):
    fields = FIELDS.double().numpy()
    fields[:, 0, 2, 1] = np.nan
    np.save(tmp_path / "mask.npy", fields)
    FieldDataset.load(tmp_path / "mask.npy", exact=True)
    fields[4, 1, 0, 3] = np.nan
    fields[5, 1] = np.inf
    np.save(tmp_path / "moving.npy", fields)
    found = r"in 2 of 7 samples .* sample 4, channel 1 \(from 0\), node \(0, 3\)"
    with pytest.raises(DataError, match=found):
        FieldDataset.load(tmp_path / "moving.npy", exact=True)
    fields[:] = np.nan
    np.save(tmp_path / "nothing.npy", fields)
    with pytest.raises(DataError, match="holds NaN only"):
        FieldDataset.load(tmp_path / "nothing.npy", exact=True)


def test_functions_follow_each_other():
    samples = Samples.of(FIELDS).map(lambda batch: batch + 1).map(lambda batch: 2 * batch)
    torch.testing.assert_close(torch.cat(list(samples)), 2 * (FIELDS + 1))


@pytest.mark.parametrize("rows", [slice(None, None, -1), np.array([5, 2]), np.array([1, 1])])
def test_samples_out_of_order_are_refused(rows):
    with pytest.raises(DataError, match="increasing order, none of them twice"):
        Samples.of(FIELDS)[rows]

"""Files that stay on the disk: the same basis, models and scores as from memory."""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from dvae import DenseVAE, PodBasis, PodVAE, load_run
from dvae.errors import DataError
from dvae.models import FieldUnits
from dvae.physics import FieldDataset
from dvae.physics.fields import StoredDataset
from dvae.physics.samples import Samples
from dvae.workflow import inspect_file, train_file
from dvae.workflow._limits import check_sizes, kept_for_gradient

RNG = np.random.default_rng(0)
N, SHAPE = 150, (9, 11)


def fields() -> np.ndarray:
    """Smooth fields with a wall, in one channel of two."""
    position, width = RNG.uniform(3, 7, (N, 1, 1)), RNG.uniform(1, 2, (N, 1, 1))
    x, y = np.linspace(0, 10, SHAPE[0])[:, None], np.linspace(0, 1, SHAPE[1])
    bump = np.exp(-(((x - position) / width) ** 2)) * np.sin(np.pi * y)
    channels = np.stack([bump, 300 + bump**2], 1)
    channels[:, 1, 0] = np.nan
    return channels


FIELDS = fields()
WRITERS = {
    "own.npy": lambda path: np.save(path, FIELDS),
    "turned.npy": lambda path: np.save(path, np.asfortranarray(FIELDS)),
    "own.npz": lambda path: np.savez(path, fields=FIELDS),
    "own.h5": lambda path: h5py.File(path, "w").create_dataset("output", data=FIELDS, chunks=True),
    "own.nc": lambda path: xr.Dataset(
        {"fields": (("sample", "channel", "x", "y"), FIELDS)}
    ).to_netcdf(path, engine="h5netcdf"),
}


@pytest.fixture
def _stays(monkeypatch):
    """Every file counts as large; a batch is 16 samples."""
    monkeypatch.setattr("dvae.physics.fields.IN_MEMORY", 0)
    monkeypatch.setattr("dvae.physics.samples.VALUES", 16 * FIELDS[0].size)


@pytest.mark.usefixtures("_stays")
@pytest.mark.parametrize("name", WRITERS)
def test_every_format_is_read_in_pieces(tmp_path, name):
    made = WRITERS[name](tmp_path / name)
    if made is not None and name.endswith("h5"):
        made.file.close()
    data = FieldDataset.load(tmp_path / name, exact=True)
    assert [len(batch) for batch in data.samples] == [16] * 9 + [6]
    np.testing.assert_array_equal(torch.cat(list(data.samples)).numpy(), FIELDS)


@pytest.mark.usefixtures("_stays")
def test_units_and_basis_are_those_of_all_samples():
    """The passes over batches give what numpy gives at once."""
    tensor = torch.as_tensor(FIELDS)
    units = FieldUnits.from_fields(Samples.of(tensor))
    spread = np.sqrt(np.nanmean((FIELDS - FIELDS.mean(0)) ** 2, axis=(0, 2, 3)))
    seen = units.seen.numpy()
    assert not seen[1, 0].any()
    np.testing.assert_allclose(units.shift[units.seen], FIELDS.mean(0)[seen], rtol=1e-12)
    count = np.isfinite(FIELDS[0]).sum((1, 2)) / seen.sum((1, 2))  # edges of a sine never vary
    np.testing.assert_allclose(units.scale, spread * np.sqrt(count), rtol=1e-12)

    scaled = Samples.of(tensor).map(lambda batch: units(batch).double())
    whole = units(tensor).double()
    basis = PodBasis.from_fields(scaled, 5)
    rows = ((whole - basis.mean) / basis.scale).flatten(1).numpy()
    _, singular, right = np.linalg.svd(rows, full_matrices=False)
    np.testing.assert_allclose(basis.spread, singular[:5] / np.sqrt(N), rtol=1e-6)
    overlap = np.abs(basis.modes.flatten(1).numpy() @ right[:5].T)
    np.testing.assert_allclose(overlap, np.eye(5), atol=1e-4)


def test_training_from_the_disk_is_training_from_memory(tmp_path, request, monkeypatch):
    theta = pd.DataFrame({"a": RNG.normal(size=N)})
    theta.to_csv(tmp_path / "causes.csv", index=False)
    path = tmp_path / "own.npy"
    np.save(path, FIELDS)
    options = {"factors": str(tmp_path / "causes.csv"), "steps": 50, "progress": False}
    with monkeypatch.context() as patch:  # its figures are drawn in other tests
        patch.setattr("dvae.workflow.train.draw_figures", lambda *arguments: None)
        near = train_file(path, tmp_path / "memory", **options)
    inspected = inspect_file(path)
    request.getfixturevalue("_stays")
    monkeypatch.setattr(StoredDataset, "fields", None)  # never all of them
    far = train_file(path, tmp_path / "disk", **options)
    assert (
        near.split("standardised")[1].split("lowest")[0]
        == (far.split("standardised")[1].split("lowest")[0])
    )
    assert "warning" not in far
    assert inspect_file(path) == inspected
    a, b = (pd.read_csv(tmp_path / name / "scores.csv").iloc[0] for name in ("memory", "disk"))
    # the bases agree to rounding, which training amplifies
    for name in ("rate", "relative_error", "latents_in_use"):
        assert b[name] == pytest.approx(a[name], rel=0.05)
    z = load_run(tmp_path / "disk").encode(path)
    stored = xr.load_dataset(tmp_path / "disk" / "latents.nc", engine="h5netcdf")
    np.testing.assert_allclose(
        z[["z1", "z2"]].to_numpy(), stored["latent_mean"].values[0], rtol=1e-4, atol=1e-5
    )


def test_a_dense_model_of_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    square = FIELDS[..., :9]
    np.save(tmp_path / "own.npy", square)
    monkeypatch.setattr("dvae.memory.available_memory", lambda: 4 * square.size)
    with pytest.raises(DataError, match=r"the dense model keeps, would take .* use the pod model"):
        train_file(tmp_path / "own.npy", tmp_path / "run", model="dense", steps=5, progress=False)


def test_members_of_more_than_the_memory_are_refused_with_what_a_step_keeps(monkeypatch):
    """On a small grid all members take a step together, on a large one each by itself."""
    small, large = (DenseVAE(n_nodes=n, channels=1, n_latents=2) for n in (17, 65))
    monkeypatch.setattr("dvae.memory.available_memory", lambda: 2**30)
    check_sizes(small, 50, 64, "cpu")
    with pytest.raises(DataError, match=r"500 members of .* train fewer members at a time"):
        check_sizes(small, 500, 64, "cpu")
    check_sizes(small, 500, 4, "cpu")
    one_at_a_time = 64 * kept_for_gradient(large) / 2**30
    assert 0.1 < one_at_a_time < 0.9
    check_sizes(large, 2, 64, "cpu")


def test_what_a_sample_keeps_is_what_its_layers_read():
    """Two hidden layers of 64 values that SiLU needs before and after, and little else."""
    basis = PodBasis.from_fields(torch.as_tensor(FIELDS[:, :1]), 5)
    model = PodVAE(basis, 2, (64, 64), "standard")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    hidden = 2 * 2 * 2 * 64 * 4  # encoder and decoder, two layers, before and after, 4 bytes
    assert hidden <= kept_for_gradient(model) < 1.5 * hidden
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name

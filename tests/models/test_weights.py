"""Saved models come back as they were; damaged files are never used."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dvae.errors import DataError, DvaeError, ResultError
from dvae.models import DenseVAE, GaussianPrior, PodVAE, load_model, save_model

FIELDS = torch.from_numpy(np.random.default_rng(0).standard_normal((12, 3, 17, 17)))

MODELS = {
    "dense": lambda: DenseVAE(17, blocks=(1, 2, 1), prior="hierarchical").use_variance("learned"),
    "dense calibrated": lambda: DenseVAE(17, blocks=(1, 2, 1), growth=3, features=3),
    "dense standardised": lambda: DenseVAE.from_fields(FIELDS.float(), blocks=(1, 2, 1)),
    "dense variance network": lambda: DenseVAE(17, blocks=(1, 2, 1), variance_network=True),
    "dense float64": lambda: DenseVAE(17, blocks=(1, 2, 1), prior="mixture").double(),
    "pod": lambda: PodVAE.from_fields(FIELDS.float(), 4, hidden=(5, 6), n_latents=3),
    "pod float64": lambda: (
        PodVAE.from_fields(FIELDS, 4, prior="hierarchical-rectified")
        .use_variance("learned")
        .double()
    ),
    "pod vamp": lambda: PodVAE.from_fields(FIELDS.float(), 4, prior="vamp"),
    "pod flow": lambda: PodVAE.from_fields(FIELDS.float(), 4, prior="flow"),
}


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_a_model_comes_back_as_it_was(name, tmp_path):
    model = MODELS[name]()
    running = [value for name, value in model.named_buffers() if "running" in name]
    for value in (*model.parameters(), *running, model.decoder.variance.log_variance):
        value.add_(0.1 * torch.rand_like(value))
    model.eval()
    path = save_model(tmp_path / "new" / "model.safetensors", model)
    back = load_model(path)
    assert type(back) is type(model) and not back.training
    dtype = next(model.parameters()).dtype
    y = FIELDS.to(dtype)
    noise = torch.randn(len(y), model.noise_size, dtype=dtype)
    for ours, theirs in zip(
        back.loss_terms(back.features(y), noise),
        model.loss_terms(model.features(y), noise),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    state = back.state_dict()
    for key, value in model.state_dict().items():
        assert torch.equal(state[key], value), key


def test_every_truncation_and_flipped_bit_is_noticed(tmp_path):
    path = save_model(tmp_path / "model", MODELS["pod"]())
    good = path.read_bytes()
    header = 8 + int.from_bytes(good[:8], "little")
    random = np.random.default_rng(1)
    places = [0, 3, 9, *random.integers(8, header, 40), *random.integers(header, len(good), 20)]
    for place in places:
        bad = bytearray(good)
        bad[place] ^= 1 << int(random.integers(8))
        path.write_bytes(bad)
        with pytest.raises(ResultError, match=str(path)):
            load_model(path)
    for length in (0, 5, 100, header, len(good) - 1):
        path.write_bytes(good[:length])
        with pytest.raises(ResultError, match=str(path)):
            load_model(path)
    path.write_bytes(good)
    load_model(path)


def test_files_that_are_no_models(tmp_path):
    with pytest.raises(ResultError, match="no such file"):
        load_model(tmp_path / "missing")
    other = tmp_path / "other"
    save_file({"weight": torch.zeros(2)}, str(other), {"format": json.dumps("other")})
    with pytest.raises(ResultError, match="other has no checksum: it was not written by dvae"):
        load_model(other)


@pytest.mark.wrong_types
def test_sizes_may_be_numbers_of_numpy(tmp_path):
    model = PodVAE.from_fields(FIELDS.float(), 4, hidden=np.array([5, 6]), n_latents=np.int64(3))
    save_model(tmp_path / "model", model)
    assert load_model(tmp_path / "model").n_latents == 3


@pytest.mark.wrong_types
def test_what_cannot_be_saved(tmp_path):
    with pytest.raises(DataError, match="by name"):
        save_model(tmp_path / "model", DenseVAE(17, blocks=(1, 2, 1), prior=GaussianPrior(2, 0.5)))
    with pytest.raises(DataError, match="GaussianPrior"):
        save_model(tmp_path / "model", GaussianPrior(2))
    (tmp_path / "file").write_text("")
    with pytest.raises(DvaeError, match="cannot write"):
        save_model(tmp_path / "file" / "model", MODELS["pod"]())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]

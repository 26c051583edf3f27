"""Models of fields in their own units: the density, and what is left out of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dvae import DataError, DenseVAE, PodBasis, PodVAE, load_model, save_model
from dvae.models import VAE, FieldUnits, PlainVAE, UnitsVAE, count_parameters
from dvae.models.architecture import layer_table
from dvae.models.vae import Decoder, Encoder
from dvae.training import Ensemble

SHAPE = (30, 2, 17, 17)


@pytest.fixture
def fields():
    rng = np.random.default_rng(0)
    fields = 300 + 1e-3 * rng.normal(size=SHAPE) * np.array([1, 50])[:, None, None]
    fields[:, 0, :4] = 2.0
    fields[:, 1, :2, 5:] = np.nan
    return torch.as_tensor(fields)


def make(kind: str, units: FieldUnits, fields) -> UnitsVAE:
    if kind == "pod":
        return UnitsVAE(PodVAE.from_fields(units(fields), 6, hidden=(8,)), units)
    return UnitsVAE(DenseVAE(17, 2, blocks=(1, 1, 1)), units)


def test_scaling_has_mean_zero_and_spread_one_where_values_vary(fields):
    units = FieldUnits.from_fields(fields)
    scaled = units(fields).double()
    assert units.n_values == 2 * 17 * 17 - 4 * 17 - 2 * 12
    for channel, seen in zip(scaled.unbind(1), units.seen, strict=True):
        assert float(channel[:, seen].mean().abs()) < 1e-7
        assert float(channel[:, seen].pow(2).mean()) == pytest.approx(1, abs=1e-5)
        assert not channel[:, ~seen].any()
    back = units.inverse(units(fields))
    # single precision of values of about 1, in units of the spread
    torch.testing.assert_close(back, fields, rtol=0, atol=1e-6 * 0.05, equal_nan=True)


@pytest.mark.parametrize("kind", ["pod", "dense"])
@torch.no_grad()
def test_distortion_is_minus_the_log_density_of_the_values_that_vary(fields, kind):
    units = FieldUnits.from_fields(fields)
    model = make(kind, units, fields).eval()
    model.decoder.variance.log_variance.fill_(0.3)
    noise = torch.randn(len(fields), 2, generator=torch.Generator().manual_seed(0))
    terms = model.loss_terms(model.features(fields), noise)
    posterior = model.encoder(fields).base_dist
    decoding = model.decoder(posterior.loc + posterior.scale * noise).base_dist
    density = decoding.log_prob(fields)[:, units.seen].sum(1)
    np.testing.assert_allclose(terms.distortion, -density, rtol=2e-5)


@pytest.mark.parametrize("kind", ["pod", "dense"])
@torch.no_grad()
def test_calibrated_variance_is_the_mean_error_of_the_values_that_vary(fields, kind):
    units = FieldUnits.from_fields(fields)
    ensemble = Ensemble([make(kind, units, fields)])
    ensemble.calibrate(ensemble.template.features(fields), n_samples=400)
    model = ensemble.member(0)
    posterior = model.encoder(fields).base_dist
    noise = torch.randn(400, *posterior.loc.shape, generator=torch.Generator().manual_seed(1))
    decoded = model.decoder((posterior.loc + posterior.scale * noise).flatten(0, 1)).mean
    error = (units(decoded) - units(fields).repeat(400, 1, 1, 1)).double().pow(2).mean(0)
    found = model.decoder.variance.log_variance.exp()
    if kind == "pod":
        scale = model.decoder.inner.basis.scale.double()
        expected = (error / scale**2)[units.seen].mean()
    else:
        count = units.seen.sum(0)
        expected = torch.where(count > 0, error.sum(0) / count.clamp_min(1), 1.0)
    # two draws of 400 samples each
    torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0)


@pytest.mark.parametrize("kind", ["pod", "dense"])
@torch.no_grad()
def test_a_stored_model_comes_back_with_its_units(fields, kind, tmp_path):
    model = make(kind, FieldUnits.from_fields(fields), fields).eval()
    model.decoder.variance.log_variance.fill_(-1.0)
    back = load_model(save_model(tmp_path / "model.safetensors", model))
    assert isinstance(back, UnitsVAE) and not back.training
    z = torch.randn(3, 2)
    for ours, theirs in [
        (model.encoder(fields).mean, back.encoder(fields).mean),
        (model.decoder(z).mean, back.decoder(z).mean),
        (model.decoder(z).stddev, back.decoder(z).stddev),
        (model.loss_terms(model.features(fields), torch.zeros(30, 2)).distortion,
         back.loss_terms(back.features(fields), torch.zeros(30, 2)).distortion),
    ]:  # fmt: skip
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


def test_what_does_not_fit_is_refused(fields):
    units = FieldUnits.from_fields(fields)
    with pytest.raises(DataError, match="the model is for fields of shape"):
        UnitsVAE(DenseVAE(17, 3, blocks=(1, 1, 1)), units)
    other = VAE(Encoder(), Decoder(), "standard", 2, (2, 17, 17))
    with pytest.raises(DataError, match="only DenseVAE and PodVAE"):
        UnitsVAE(other, units)


@pytest.mark.parametrize("shape", [(40, 1, 5, 12), (200, 1, 5, 12), (300, 2, 12, 12)])
def test_modes_are_the_leading_singular_vectors_however_they_are_found(shape, monkeypatch):
    """From the Gram matrix of samples, of values, and by subspace iteration."""
    rng = np.random.default_rng(0)
    values = int(np.prod(shape[1:]))
    rows = rng.normal(size=(shape[0], 8)) * 2.0 ** -np.arange(8) @ rng.normal(size=(8, values))
    rows += 1e-3 * rng.normal(size=rows.shape)
    if shape[0] == 300:
        monkeypatch.setattr("dvae.models.pod.LARGE", 100)
    basis = PodBasis.from_fields(torch.as_tensor(rows.reshape(shape)), 6)
    scale = basis.scale.expand(shape[1:]).reshape(-1).numpy()
    _, singular, right = np.linalg.svd((rows - rows.mean(0)) / scale, full_matrices=False)
    np.testing.assert_allclose(basis.spread, singular[:6] / np.sqrt(shape[0]), rtol=1e-6)
    overlap = np.abs(basis.modes.flatten(1).numpy() @ right[:6].T)
    np.testing.assert_allclose(overlap, np.eye(6), atol=1e-4)


@pytest.mark.parametrize(
    ("dtype", "step"), [(torch.float64, 1e-15), (torch.float32, 1e-7)], ids=str
)
def test_a_channel_that_is_constant_but_for_rounding_is_left_out(dtype, step):
    rng = np.random.default_rng(0)
    varying = 300 + rng.normal(size=(30, 1, 5, 6))
    constant = 1.2 * (1 + step * rng.integers(-1, 2, size=(30, 1, 5, 6)))
    fields = torch.as_tensor(np.concatenate([varying, constant], 1)).to(dtype)
    assert float(fields[:, 1].max() - fields[:, 1].min()) > 0
    units = FieldUnits.from_fields(fields)
    assert units.seen[0].all() and not units.seen[1].any()
    assert units.scale[1] == 1
    # a small variation about a large mean is none of rounding
    fields[:, 1] = 1.2 + 1e3 * step * torch.as_tensor(rng.normal(size=(30, 5, 6)))
    assert FieldUnits.from_fields(fields).seen.all()


def test_the_relative_error_of_fields_with_missing_values_is_that_of_the_others(fields):
    units = FieldUnits.from_fields(fields)
    ensemble = Ensemble([make("pod", units, fields)])
    found = float(ensemble.evaluate(fields, n_samples=1)["relative_error"][0])
    model = ensemble.member(0)
    with torch.no_grad():
        decoded = model.decoder(model.encoder(fields).mean).mean
    error, size = (decoded - fields)[:, units.seen], fields[:, units.seen]
    assert found == pytest.approx(float((error.pow(2).sum() / size.pow(2).sum()).sqrt()), rel=1e-5)


@pytest.mark.wrong_types
@pytest.mark.parametrize("dtype", [torch.float16, torch.int16, torch.uint8], ids=str)
def test_units_of_fields_of_other_types(dtype):
    fields = torch.arange(30 * 2 * 5 * 6).reshape(30, 2, 5, 6).remainder(97).to(dtype)
    assert FieldUnits.from_fields(fields).seen.all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_value_that_some_samples_lack_is_refused(fields, value):
    fields[3, 0, 10, 4] = value
    with pytest.raises(DataError, match="1 values of a sample are infinite, or missing in some"):
        FieldUnits.from_fields(fields)


@pytest.mark.wrong_types
def test_only_models_that_can_be_stored_take_units(fields):
    inner = PlainVAE(n_nodes=17, channels=2)
    with pytest.raises(DataError, match="not a PlainVAE"):
        UnitsVAE(inner, FieldUnits.from_fields(fields))


@pytest.mark.parametrize("kind", ["pod", "dense"])
def test_layers_of_a_model_inside_of_units_are_those_of_the_model(fields, kind):
    units = FieldUnits.from_fields(fields)
    model = make(kind, units, fields)
    table = layer_table(model)
    assert set(table["network"]) == {"encoder.network", "decoder.mean"} or len(table) > 4
    assert table["parameters"].sum() == count_parameters(model) - count_parameters(model.prior)

"""PlainVAE: shapes, gradients and errors."""

from __future__ import annotations

import pytest
import torch

from dvae import DataError
from dvae.models import PlainVAE, count_parameters


@pytest.mark.parametrize(("kind", "widths"), [("convolutional", (4, 6)), ("mlp", (10,))])
def test_shapes_and_gradients(kind, widths):
    model = PlainVAE(9, 2, n_latents=3, kind=kind, widths=widths)
    fields = torch.randn(5, 2, 9, 9)
    posterior = model.encoder(fields)
    assert posterior.base_dist.loc.shape == (5, 3)
    assert model.decoder(posterior.mean).mean.shape == fields.shape
    terms = model.loss_terms(model.features(fields), torch.randn(5, model.noise_size))
    (terms.rate.mean() + terms.distortion.mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_number_of_parameters():
    # 2*2*(81*10) weights, 10 + 6 biases in the encoder and 10 + 162 in the decoder, 60 + 30 weights
    model = PlainVAE(9, 2, n_latents=3, kind="mlp", widths=(10,))
    assert count_parameters(model) == 2 * 162 * 10 + 10 + 6 + 10 + 162 + 60 + 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "transformer"}, "convolutional"),
        ({"n_nodes": 20}, "fewer widths"),
        ({"n_nodes": 5, "widths": (2, 2, 2)}, "fewer widths"),
    ],
)
@pytest.mark.wrong_types
def test_errors(arguments, message):
    with pytest.raises(DataError, match=message):
        PlainVAE(**arguments)

"""Permuted latents and hidden units: nothing but the parameters changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from toy_models import fields, pod_models

from dvae.analysis.matching import match_hidden_units, match_latents, signed_permutation
from dvae.errors import DataError
from dvae.models import DenseVAE
from dvae.training import initialise


@pytest.mark.parametrize("kind", ["pod", "dense", "variance network"])
def test_signed_permutation_changes_axes_and_nothing_else(kind):
    if kind == "pod":
        models, y = pod_models(1, n_latents=3)
        model = models[0]
    else:
        y = fields(8, 17, 3)
        options = {"blocks": (1, 1, 1), "variance_network": kind == "variance network"}
        model = initialise(DenseVAE(17, n_latents=3, **options), 0).eval()
        if kind == "variance network":  # which starts from no effect
            torch.nn.init.normal_(model.decoder.variance_network[-1].weight)
    permutation, sign = np.array([2, 0, 1]), np.array([1, -1, -1])
    new = signed_permutation(model, permutation, sign)
    with torch.no_grad():
        before, after = model.encoder(y).base_dist, new.encoder(y).base_dist
        torch.testing.assert_close(after.loc, before.loc[:, permutation] * torch.tensor(sign))
        torch.testing.assert_close(after.scale, before.scale[:, permutation])
        torch.testing.assert_close(
            new.decoder(after.loc).mean, model.decoder(before.loc).mean, rtol=1e-4, atol=1e-5
        )
        torch.testing.assert_close(
            new.decoder(after.loc).stddev, model.decoder(before.loc).stddev, rtol=1e-4, atol=1e-5
        )
    found = match_latents(after.loc.numpy(), before.loc.numpy())
    assert found[0].tolist() == permutation.tolist()
    assert found[1].tolist() == sign.tolist()


def test_signed_permutation_refuses_what_is_not_a_symmetry():
    models, _ = pod_models(1, prior="hierarchical")
    with pytest.raises(DataError, match="isotropic"):
        signed_permutation(models[0], [1, 0], [1, 1])
    models, _ = pod_models(1)
    for permutation, sign in ([0, 0], [1, 1]), ([0, 1], [1, 2]), ([0, 1, 2], [1, 1]):
        with pytest.raises(DataError, match="permutation"):
            signed_permutation(models[0], permutation, sign)


def test_hidden_units_are_matched_exactly():
    models, y = pod_models(1)
    model = models[0]
    shuffled, _ = pod_models(1)
    shuffled = shuffled[0]
    for network in (shuffled.encoder.network, shuffled.decoder.network):
        order = torch.tensor([3, 0, 1, 2, 6, 5, 4])
        with torch.no_grad():
            network[0].weight.copy_(network[0].weight[order])
            network[0].bias.copy_(network[0].bias[order])
            network[2].weight.copy_(network[2].weight[:, order])
    found = match_hidden_units(model, shuffled, y)
    for (name, a), b in zip(model.named_parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(a, b, msg=name)


def dense_models(**options) -> tuple[list[DenseVAE], torch.Tensor]:
    """Two models whose batch normalisation is not that of the start."""
    y = fields(16, 17, 3)
    models = []
    for seed in (0, 1):
        model = initialise(DenseVAE(17, blocks=(2, 3, 1), growth=3, **options), seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, value in [*model.named_parameters(), *model.named_buffers()]:
                if value.is_floating_point() and name.endswith(("weight", "bias", "running_mean")):
                    value += 0.1 * torch.randn(value.shape, generator=generator)
            for module in model.modules():
                if isinstance(module, torch.nn.BatchNorm2d):
                    module.running_var *= 0.5 + torch.rand(
                        module.running_var.shape, generator=generator
                    )
        models.append(model.eval())
    return models, y


@pytest.mark.parametrize("options", [{}, {"variance_network": True}])
def test_feature_maps_are_matched_exactly(options):
    (reference, model), y = dense_models(**options)
    moved = match_hidden_units(reference, model, y)
    changed = {
        name
        for (name, a), b in zip(model.named_parameters(), moved.parameters(), strict=True)
        if not torch.equal(a, b)
    }
    assert len(changed) > 0.8 * len(list(model.parameters()))
    z = torch.randn(16, 2, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for one, other in (
            (model.encoder(y).base_dist, moved.encoder(y).base_dist),
            (model.decoder(z).base_dist, moved.decoder(z).base_dist),
        ):
            torch.testing.assert_close(one.loc, other.loc, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(one.scale, other.scale, rtol=1e-4, atol=1e-5)
    # the way back, to a model that has the same activations in another order
    back = match_hidden_units(model, moved, y)
    for (name, a), b in zip(model.state_dict().items(), back.state_dict().values(), strict=True):
        assert torch.equal(a, b), name


def test_only_models_of_one_architecture_are_matched():
    (reference, _), y = dense_models()
    with pytest.raises(DataError, match="one architecture"):
        match_hidden_units(reference, DenseVAE(17, blocks=(1, 1, 1)), y)
    with pytest.raises(DataError, match="one architecture"):
        match_hidden_units(pod_models(1)[0][0], reference, y)

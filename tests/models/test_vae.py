"""Terms of the loss against closed forms and Monte Carlo; one contract for every decoder."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from dvae.errors import DataError
from dvae.models import DenseVAE, PlainVAE, PodBasis, PodVAE, count_parameters
from dvae.models import dense as dense_module
from dvae.models.priors import GaussianPrior
from dvae.models.vae import DecoderVariance, encoding_distribution
from dvae.training import fit
from dvae.training.ensemble import initialise


def fields_of(n_samples=24, channels=3, n=17, dtype=torch.float64):
    """Smooth fields of two factors and a little noise, of unlike size in every channel and node."""
    x = torch.linspace(0, 1, n, dtype=dtype)
    x1, x2 = torch.meshgrid(x, x, indexing="ij")
    theta = torch.randn(n_samples, 2, dtype=dtype)
    waves = [torch.sin(3 * x1 + 5 * x2), torch.cos(4 * x1 - x2) * (0.2 + x1)]
    y = sum(t[:, None, None] * w for t, w in zip(theta.T, waves, strict=True))
    weights = torch.arange(1, channels + 1, dtype=dtype)
    y = y[:, None] * weights[:, None, None] + 0.3 * torch.randn(n_samples, channels, n, n).to(dtype)
    return y + x2


def perturbed(model):
    """The model in float64 with every parameter and variance moved off its start."""
    model = model.double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        variance = model.decoder.variance.log_variance
        variance.add_(0.5 * torch.randn_like(variance))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn_like(buffer))
            if name.endswith("running_var"):
                buffer.mul_(1.3)
    return model


MODELS = {
    "dense": lambda y, **a: DenseVAE(17, y.shape[1], blocks=(1, 2, 1), **a),
    "dense standardised": lambda y, **a: DenseVAE.from_fields(y, blocks=(1, 2, 1), **a),
    "pod": lambda y, **a: PodVAE.from_fields(y, 6, hidden=(8,), **a),
    "pod linear": lambda y, **a: PodVAE.from_fields(y, 4, hidden=(), **a),
}


@pytest.fixture(params=[(m, v) for m in MODELS for v in ("learned", "calibrated")], ids=str)
def model_and_fields(request):
    name, variance = request.param
    y = fields_of()
    return perturbed(MODELS[name](y).use_variance(variance)), y


# --- contract of decoders -------------------------------------------------------------------


@torch.no_grad()
def test_distortion_is_the_likelihood_of_the_whole_field(model_and_fields):
    model, y = model_and_fields
    model.eval()
    z = torch.randn(len(y), 2).double()
    distribution = model.decoder(z)
    assert distribution.batch_shape == (len(y),) and distribution.event_shape == y.shape[1:]
    distortion = model.decoder.variance(model.decoder.squared_error(model.features(y), z))
    torch.testing.assert_close(distortion, -distribution.log_prob(y), rtol=1e-6, atol=0)
    # and by hand, value by value
    mean, scale = distribution.base_dist.loc, distribution.base_dist.scale
    by_hand = 0.5 * math.log(2 * math.pi) + scale.log() + ((y - mean) / scale) ** 2 / 2
    torch.testing.assert_close(distortion, by_hand.sum((1, 2, 3)), rtol=1e-6, atol=0)
    # one variance per node, shared by channels and samples (section 4.1)
    assert (scale == scale[:1, :1]).all()


@torch.no_grad()
def test_encoder_gives_a_factorised_normal(model_and_fields):
    model, y = model_and_fields
    model.eval()
    posterior = model.encoder(y)
    assert posterior.batch_shape == (len(y),) and posterior.event_shape == (2,)
    again = model.encoder.from_features(model.features(y))
    torch.testing.assert_close(posterior.base_dist.loc, again.base_dist.loc, rtol=0, atol=0)
    assert (posterior.base_dist.loc.std(0) > 0).all()


@torch.no_grad()
def test_terms_match_monte_carlo_with_torch_distributions(model_and_fields):
    """Rate and distortion of eqs 4 and 5 against draws that share no code with the model's."""
    model, y = model_and_fields
    model.eval()
    y, draws = y[:3], 1000 if isinstance(model, PodVAE) else 250  # where a draw takes longer
    many = y.repeat(draws, 1, 1, 1)
    ours = model.loss_terms(model.features(many), torch.randn(len(many), model.noise_size).double())
    posterior = model.encoder(many)
    z = posterior.sample()
    log_ratio = posterior.log_prob(z) - Normal(torch.zeros(2).double(), 1.0).log_prob(z).sum(1)
    for got, drawn in (
        (ours.rate, log_ratio),
        (ours.distortion, -model.decoder(z).log_prob(many)),
    ):
        got, drawn = got.view(draws, 3), drawn.view(draws, 3)
        error = (got.var(0) + drawn.var(0)).sqrt() / math.sqrt(draws)
        assert ((got.mean(0) - drawn.mean(0)).abs() < 4.5 * error).all()


@torch.no_grad()
def test_terms_of_a_linear_model_in_closed_form():
    y = fields_of()
    model = perturbed(PodVAE.from_fields(y, 4, hidden=()).use_variance("learned"))
    features = model.features(y)
    posterior = model.encoder(y).base_dist
    decoder, spread = model.decoder.network[0], model.encoder.basis.spread
    w, b = decoder.weight * spread[:, None], decoder.bias * spread
    v = model.decoder.variance.log_variance.exp()
    miss = features[:, :-1] - posterior.loc @ w.T - b
    expected_error = miss.pow(2).sum(1) + features[:, -1] + posterior.scale.pow(2) @ w.pow(2).sum(0)
    size = y[0].numel()
    scaling = y.shape[1] * model.encoder.basis.scale.log().sum()
    closed = 0.5 * (size * (2 * math.pi * v).log() + expected_error / v) + scaling
    # antithetic draws with the second moment of a normal: the mean over signs is exact
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]]).double()
    terms = [model.loss_terms(features, s.expand(len(y), 2)) for s in signs]
    mean = torch.stack([t.distortion for t in terms]).mean(0)
    torch.testing.assert_close(mean, closed, rtol=1e-10, atol=0)
    prior = Normal(torch.zeros(2).double(), torch.ones(2).double())
    torch.testing.assert_close(terms[0].rate, kl_divergence(posterior, prior).sum(1))


def test_gradient_reaches_every_parameter(model_and_fields):
    model, y = model_and_fields
    for prior in ("standard", "hierarchical", "hierarchical-rectified", "mixture"):
        name = "pod" if isinstance(model, PodVAE) else "dense"
        kind = model.decoder.variance.kind
        whole = MODELS[name](y, prior=prior).use_variance(kind).double().train()
        noise = torch.randn(len(y), whole.noise_size).double()
        terms = whole.loss_terms(whole.features(y), noise)
        (terms.rate + terms.distortion).mean().backward()
        for part, parameter in whole.named_parameters():
            assert parameter.grad is not None, part
            assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0, part


def test_data_variance_is_that_of_the_over_regularised_solution(model_and_fields):
    """Eq. 24: variance about the mean field, over samples and the values of a group."""
    model, y = model_and_fields
    got = model.decoder.data_variance(model.features(y))
    about = (y - y.mean(0)) ** 2
    if isinstance(model, PodVAE):
        expected = (about / model.encoder.basis.scale**2).mean()
    else:
        expected = about.mean((0, 1))
    torch.testing.assert_close(got, expected, rtol=1e-8, atol=0)


@pytest.mark.wrong_types
def test_fields_of_another_shape_are_refused(model_and_fields):
    model, y = model_and_fields
    for wrong in (y[:, :2], y[..., :-1], y[0]):
        with pytest.raises(DataError, match=r"\(sample, 3, 17, 17\)"):
            model.features(wrong)


# --- decoder variance -----------------------------------------------------------------------


def test_calibrated_variance_is_the_mean_squared_error_of_the_batch():
    variance = DecoderVariance((4,), 3, momentum=0.25).double()
    error = torch.rand(10, 4).double() + 0.1
    distortion = variance(error)
    v = error.mean(0) / 3
    expected = 0.5 * (3 * (2 * math.pi * v).log() + error / v).sum(1)
    torch.testing.assert_close(distortion, expected)
    torch.testing.assert_close(variance.log_variance, 0.25 * v.log())  # running mean from 0
    # no other variance gives this batch a smaller distortion
    variance.eval()
    for factor in (0.97, 1.03):
        variance.set_variance(factor * v)
        assert variance(error).mean() > distortion.mean()
    variance.set_variance(v)
    torch.testing.assert_close(variance(error), expected)


def test_evaluation_changes_nothing_and_uses_the_stored_variance():
    variance = DecoderVariance((), 5).eval()
    before = variance.log_variance.clone()
    error = torch.tensor([2.0, 8.0])
    torch.testing.assert_close(variance(error), 0.5 * (5 * math.log(2 * math.pi) + error))
    assert torch.equal(variance.log_variance, before)


def test_floor_bounds_a_calibrated_variance_from_below():
    variance = DecoderVariance((2,), 1).double()
    error = torch.tensor([[1.0, 9.0], [1.0, 7.0]]).double()
    floor = torch.tensor(4.0).double()
    expected = 0.5 * (2 * math.log(2 * math.pi) + math.log(4) + error[:, 0] / 4)
    expected = expected + 0.5 * (math.log(8) + error[:, 1] / 8)
    torch.testing.assert_close(variance(error, floor), expected)


@pytest.mark.wrong_types
def test_learned_variance_is_a_parameter_and_starts_at_one():
    dense = DenseVAE(17).use_variance("learned")
    assert dense.decoder.variance.log_variance.shape == (17, 17)
    assert (dense.decoder.variance.log_variance == 0).all()
    pod = PodVAE.from_fields(fields_of().float(), 4).use_variance("learned")
    assert isinstance(pod.decoder.variance.log_variance, nn.Parameter)
    scale = pod.decoder(torch.zeros(1, 2)).base_dist.scale.detach()
    assert float(scale.log().mean()) == pytest.approx(0, abs=1e-6)  # geometric mean over the field
    assert "decoder.variance.log_variance" not in dict(DenseVAE(17).named_parameters())
    with pytest.raises(DataError, match="'learned' or 'calibrated'"):
        DecoderVariance((), 1, "fixed")


def test_training_mode_differs_from_evaluation_only_where_it_should():
    y = fields_of()
    noise = torch.randn(len(y), 2).double()
    pod = perturbed(PodVAE.from_fields(y, 4).use_variance("learned"))
    dense = perturbed(DenseVAE(17, blocks=(1, 2, 1)).use_variance("learned"))
    for model, same in ((pod, True), (dense, False)):
        features = model.features(y)
        with torch.no_grad():
            training = model.train().loss_terms(features, noise).distortion
            evaluation = model.eval().loss_terms(features, noise).distortion
        assert torch.allclose(training, evaluation) == same


# --- DenseVAE -------------------------------------------------------------------------------


def test_parameter_counts():
    assert count_parameters(DenseVAE().use_variance("learned")) == 779_582
    assert count_parameters(DenseVAE()) == 779_582 - 65 * 65
    assert count_parameters(DenseVAE(blocks=(4, 6, 4)).use_variance("learned")) == 7_996_642
    for prior, extra in (("hierarchical", 712), ("hierarchical-rectified", 440)):
        assert count_parameters(DenseVAE(prior=prior).use_variance("learned")) == 779_582 + extra


@pytest.mark.parametrize("n", [17, 19, 21, 23, 25, 31, 33, 47, 65, 99])
@pytest.mark.parametrize(
    ("blocks", "channels", "latents"),
    [((2, 1, 2), 1, 1), ((1, 2, 3, 2, 1), 3, 2), ((1, 1, 1, 1, 1, 1, 1), 2, 5), ((2,), 4, 3)],
)
def test_every_odd_grid_channels_and_latents(n, blocks, channels, latents):
    if (n - 1) // 2 < 2 ** (len(blocks) // 2 + 1):
        with pytest.raises(DataError, match="too small"):
            DenseVAE(n, channels, latents, blocks)
        return
    if blocks == (2,) and n > 33:
        pytest.skip("its linear layers are large and add nothing here")
    model = DenseVAE(n, channels, latents, blocks, growth=2, features=2).eval()
    y = torch.randn(2, channels, n, n)
    with torch.no_grad():
        z = model.encoder(y).base_dist.loc
        assert z.shape == (2, latents)
        assert model.decoder(z).base_dist.loc.shape == y.shape
        assert torch.isfinite(model.loss_terms(y, torch.randn(2, latents)).distortion).all()


def test_growth_and_features_change_the_width():
    first = DenseVAE(17, blocks=(1, 2, 1), growth=4, features=2)
    assert count_parameters(DenseVAE(17, blocks=(1, 2, 1), growth=8)) > count_parameters(first)
    assert first.encoder.mean[0].out_channels == 2
    assert DenseVAE(17, blocks=(1, 2, 1), features=6).encoder.mean[0].out_channels == 6


def test_mean_and_log_variance_have_networks_of_their_own():
    model = DenseVAE(17, blocks=(1, 2, 1)).eval()
    y = torch.randn(3, 3, 17, 17)
    model.encoder(y).base_dist.loc.sum().backward()
    assert all(p.grad is None for p in model.encoder.log_variance.parameters())


def with_and_without_variance_network():
    """Two models of the same seed, in float64."""
    models = []
    for network in (True, False):
        torch.manual_seed(3)
        model = DenseVAE(17, blocks=(1, 2, 1), variance_network=network)
        models.append(model.use_variance("learned").double())
    return models


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_that_differ_by_rounding_alone_are_refused(dtype):
    fields = torch.full((10, 2, 17, 17), 0.1, dtype=dtype)
    fields[::2] += 0.1 * torch.finfo(dtype).eps
    with pytest.raises(DataError, match="vary between samples"):
        DenseVAE.from_fields(fields, blocks=(1, 1, 1))
    with pytest.raises(DataError, match="vary between samples"):
        PodBasis.from_fields(fields, 2)


def test_models_of_fields_keep_no_graph():
    fields = torch.randn(6, 1, 5, 5, requires_grad=True)
    assert not PodBasis.from_fields(fields, 2).modes.requires_grad
    assert not dense_module.Standardisation.from_fields(fields).scale.requires_grad


def test_a_log_variance_far_below_the_bound_is_raised_to_it():
    log_variance = torch.tensor([[-1e12, -81.0, -3.0]], requires_grad=True)
    scale = encoding_distribution(torch.zeros(1, 3), log_variance).base_dist.scale
    assert torch.equal(scale, torch.exp(0.5 * torch.tensor([[-80.0, -80.0, -3.0]])))
    scale.log().sum().backward()
    assert torch.equal(log_variance.grad, torch.full((1, 3), 0.5))


def test_a_variance_network_starts_from_the_model_without():
    other, plain = with_and_without_variance_network()
    y, noise = fields_of(), torch.randn(24, 2).double()
    for ours, theirs in zip(
        other.loss_terms(other.features(y), noise),
        plain.loss_terms(plain.features(y), noise),
        strict=True,
    ):
        assert torch.equal(ours, theirs)
    ours, theirs = dict(other.named_parameters()), dict(plain.named_parameters())
    added = ours.keys() - theirs.keys()
    assert added and all(name.startswith("decoder.variance_network.") for name in added)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


def test_members_with_a_variance_network_start_as_those_without():
    templates = with_and_without_variance_network()
    other, plain = (initialise(template, 5) for template in templates)
    y, noise = fields_of(), torch.randn(24, 2).double()
    ours, theirs = (m.loss_terms(m.features(y), noise) for m in (other, plain))
    assert torch.equal(ours.rate, theirs.rate)
    assert torch.equal(ours.distortion, theirs.distortion)
    drawn = initialise(templates[0], 5, "xavier")  # other weights, since more were drawn before
    assert not drawn.decoder.variance_shift(noise).any()


def test_a_variance_network_gives_every_sample_its_own_likelihood():
    model, _ = with_and_without_variance_network()
    y, z = fields_of(), torch.randn(24, 2).double()
    perturbed(model)  # in training mode: batch normalisation keeps its few units alive
    scale = model.decoder(z).base_dist.scale
    assert (scale == scale[:, :1]).all()  # shared by channels
    assert (scale[0] != scale[1]).any()  # not by samples
    posterior = Normal(z, torch.full_like(z, 1e-9))
    posterior = torch.distributions.Independent(posterior, 1)
    noise = torch.zeros(24, 2).double()
    distortion = model.loss_terms(model.features(y), noise, posterior=posterior).distortion
    expected = -model.decoder(z).log_prob(y)
    torch.testing.assert_close(distortion, expected, rtol=1e-6, atol=0)
    distortion.sum().backward()
    gradients = [p.grad for p in model.decoder.variance_network.parameters()]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in gradients)


def test_a_variance_network_has_no_calibrated_variance():
    model, _ = with_and_without_variance_network()
    with pytest.raises(DataError, match="a variance network needs a learned variance"):
        model.use_variance("calibrated")
    with pytest.raises(DataError, match="a variance network needs a learned variance"):
        fit(model.float(), fields_of().float(), "one-cycle", [0], progress=False)


@pytest.mark.parametrize(
    "arguments",
    [
        {"n_nodes": 18},
        {"n_nodes": 15},
        {"blocks": (3, 4)},
        {"blocks": ()},
        {"blocks": (3, 0, 3)},
        {"n_nodes": 17, "blocks": (1,) * 9},
        {"n_latents": 0},
        {"channels": 0},
        {"growth": 0},
        {"features": 0},
    ],
)
def test_impossible_architectures_are_refused(arguments):
    with pytest.raises(DataError):
        DenseVAE(**arguments)


# --- PodVAE ---------------------------------------------------------------------------------


def test_basis_is_orthonormal_and_splits_the_energy():
    y = fields_of(30)
    basis = PodBasis.from_fields(y, 8)
    modes = basis.modes.flatten(1)
    torch.testing.assert_close(modes @ modes.T, torch.eye(8).double(), rtol=0, atol=1e-10)
    features = basis.project(y)
    scaled = (y - y.mean(0)) / basis.scale
    energy = features[:, :-1].pow(2).sum(1) + features[:, -1]
    torch.testing.assert_close(energy, scaled.flatten(1).pow(2).sum(1))
    torch.testing.assert_close(features[:, :-1].pow(2).mean(0).sqrt(), basis.spread)
    # it is the best basis: singular values of the scaled data
    singular = torch.linalg.svdvals(scaled.flatten(1))[:8]
    torch.testing.assert_close(basis.spread * math.sqrt(30), singular)


def test_basis_of_full_rank_reconstructs_the_fields():
    y = fields_of(12)
    basis = PodBasis.from_fields(y, 100)
    assert basis.n_modes == 11  # 12 samples about their mean
    features = basis.project(y)
    assert features[:, -1].abs().max() < 1e-8
    torch.testing.assert_close(basis.reconstruct(features[:, :-1]), y)


def test_basis_keeps_nodes_that_do_not_vary():
    y = fields_of(12)
    y[:, :, 0, 0] = 2.0
    basis = PodBasis.from_fields(y, 4)
    assert basis.scale[0, 0] == pytest.approx(1e-3 * float(basis.scale.max()))
    assert torch.isfinite(basis.project(y)).all()


def test_other_shapes_of_fields():
    y = torch.randn(10, 2, 5, 9).double()
    model = PodVAE.from_fields(y, 3, n_latents=4).double().eval()
    with torch.no_grad():
        assert model.decoder(model.encoder(y).base_dist.loc).event_shape == (2, 5, 9)
    assert model.total_nodes == 45


@pytest.mark.parametrize(
    "fields",
    [torch.randn(3, 17, 17), torch.randn(1, 3, 17, 17), torch.ones(4, 3, 5, 5),
     torch.full((4, 3, 5, 5), math.nan)],
)  # fmt: skip
@pytest.mark.wrong_types
def test_a_basis_needs_fields_that_vary(fields):
    with pytest.raises(DataError):
        PodBasis.from_fields(fields)


def test_a_basis_needs_a_mode():
    with pytest.raises(DataError, match="n_modes"):
        PodBasis.from_fields(fields_of(), 0)


@pytest.mark.parametrize("least", [-81.0, -95.0, -400.0])
def test_rate_and_gradient_where_single_precision_has_no_variance(least):
    """Below -88 1 / exp is infinite and below -103 exp is 0; the rate is that of -80."""
    mean = torch.zeros(3, 2)
    raw = torch.tensor([[least, -79.0]] * 3, requires_grad=True)
    posterior = encoding_distribution(mean, raw)
    rate = GaussianPrior(2).rate(posterior, mean, mean[:, :0])
    torch.testing.assert_close(rate, torch.full((3,), 0.5 * (80 + 79 - 2)))
    rate.sum().backward()
    torch.testing.assert_close(raw.grad, torch.full((3, 2), -0.5))
    ordinary = torch.randn(5, 2)
    same = encoding_distribution(torch.zeros(5, 2), ordinary).base_dist.scale
    assert torch.equal(same, torch.exp(0.5 * ordinary))


@pytest.mark.parametrize("prior", ["standard", "hierarchical", "mixture"])
@pytest.mark.parametrize("kind", ["dense", "pod", "plain"])
def test_every_model_survives_a_vanishing_encoder_variance(kind, prior):
    fields = fields_of(dtype=torch.float32)
    model = {
        "dense": lambda: DenseVAE(17, blocks=(1, 1, 1), prior=prior),
        "pod": lambda: PodVAE.from_fields(fields, 6, hidden=(8,), prior=prior),
        "plain": lambda: PlainVAE(17, widths=(2, 4), prior=prior),
    }[kind]()
    last = [m for m in model.encoder.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.bias[-2:] -= 400
    terms = model.loss_terms(model.features(fields), torch.randn(len(fields), model.noise_size))
    assert float(terms.rate.detach().min()) > 60  # two latents of log-variance -80
    (terms.rate.mean() + terms.distortion.mean()).backward()
    assert torch.isfinite(terms.rate).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    torch.testing.assert_close(last.bias.grad[-2:], torch.full((2,), -0.5), rtol=0.2, atol=0)


# --- standardised fields --------------------------------------------------------------------


@torch.no_grad()
def test_standardised_losses_are_those_of_the_same_function_written_without():
    """Rate and distortion in physical units: networks on (y - m) / s against the definition."""
    y = fields_of(12) * torch.tensor([100.0, 1.0, 0.01]).double()[:, None, None] + 7.0
    model = perturbed(DenseVAE.from_fields(y, blocks=(1, 2, 1))).eval()
    m = y.mean(0)
    s = (y - m).pow(2).mean((0, 2, 3)).sqrt()[:, None, None]
    noise = torch.randn(len(y), model.noise_size).double()
    mean = model.encoder.mean((y - m) / s)
    log_variance = model.encoder.log_variance((y - m) / s)
    z = mean + torch.exp(0.5 * log_variance) * noise
    decoded = Normal(
        m + s * model.decoder.mean(z), model.decoder.variance.log_variance.exp().sqrt()
    )
    posterior = Normal(mean, torch.exp(0.5 * log_variance))
    prior = Normal(torch.zeros(2).double(), torch.ones(2).double())
    terms = model.loss_terms(model.features(y), noise)
    torch.testing.assert_close(
        terms.rate, kl_divergence(posterior, prior).sum(1), rtol=1e-10, atol=0
    )
    expected = -decoded.log_prob(y).sum((1, 2, 3))
    torch.testing.assert_close(terms.distortion, expected, rtol=1e-10, atol=0)


def test_standardisation_is_that_of_the_training_fields_and_nobody_trains_it():
    y = fields_of(20)
    model = DenseVAE.from_fields(y, blocks=(1, 2, 1)).double()
    standardised = model.features(y)
    assert standardised.mean(0).abs().max() < 1e-12
    torch.testing.assert_close(standardised.pow(2).mean((0, 2, 3)), torch.ones(3).double())
    torch.testing.assert_close(model.encoder.standardisation.inverse(standardised), y)
    assert count_parameters(model) == count_parameters(DenseVAE(17, blocks=(1, 2, 1)))
    assert (model.n_nodes, model.total_nodes) == (17, 289)


def test_without_standardisation_the_network_reads_the_fields_themselves():
    y = fields_of(4, dtype=torch.float32)
    model = DenseVAE(17, blocks=(1, 2, 1))
    assert torch.equal(model.features(y), y)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (torch.randn(6, 3, 17, 19), "square grid, got 17 x 19"),
        (torch.randn(1, 3, 17, 17), "at least 2 samples"),
        (torch.cat([torch.randn(6, 2, 17, 17), torch.ones(6, 1, 17, 17)], 1), "every channel"),
        (torch.full((6, 3, 17, 17), math.nan), "every channel"),
    ],
)
def test_fields_that_cannot_be_standardised_are_refused(fields, message):
    with pytest.raises(DataError, match=message):
        DenseVAE.from_fields(fields)


def test_the_order_in_memory_changes_no_number(monkeypatch):
    """Channels of a node lie side by side on a CPU, from the first convolution to the last."""
    torch.manual_seed(0)
    model = DenseVAE(n_nodes=17, blocks=(1, 2, 1)).double()
    fields, noise = torch.randn(4, 3, 17, 17).double(), torch.randn(4, 2).double()
    orders = []
    for convolution in model.modules():
        if isinstance(convolution, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            convolution.register_forward_pre_hook(
                lambda _, inputs: orders.append(
                    inputs[0].is_contiguous(memory_format=torch.channels_last)
                )
            )

    def gradients():
        terms = model.loss_terms(model.features(fields), noise)
        return torch.autograd.grad((terms.rate + terms.distortion).sum(), [*model.parameters()])

    found = gradients()
    assert len(orders) > 10 and all(orders)
    orders.clear()
    monkeypatch.setattr(dense_module, "_channels_last", lambda x: x)
    for ours, other in zip(found, gradients(), strict=True):
        torch.testing.assert_close(ours, other, rtol=1e-9, atol=1e-9)
    assert not all(orders)


@pytest.mark.wrong_types
@pytest.mark.parametrize("build", [PodVAE.from_fields, DenseVAE.from_fields])
def test_models_take_fields_of_any_precision(build):
    single = fields_of(12, dtype=torch.float32)
    options = {"n_modes": 4} if build == PodVAE.from_fields else {"blocks": (1, 1, 1)}
    model = build(single, **options).eval()
    encoded = model.encoder.from_features(model.features(single.double())).mean
    assert encoded.dtype == torch.float32
    torch.testing.assert_close(encoded, model.encoder.from_features(model.features(single)).mean)
    double = build(single.double(), **options)
    assert double.field_dtype == torch.float64
    assert double(single).decoding.mean.dtype == torch.float64
    digits = (10 * single).to(torch.int16)
    of_integers = build(digits, **options)
    assert of_integers.field_dtype == torch.float32
    assert torch.isfinite(of_integers(digits).decoding.mean).all()

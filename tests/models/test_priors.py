"""One contract for every prior, against closed forms and quadrature; the bound of eqs 13 to 15."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from dvae.errors import DataError, UnknownNameError
from dvae.models import (
    CorrelatedPrior,
    DenseVAE,
    FieldUnits,
    FlowPrior,
    GaussianPrior,
    HierarchicalPrior,
    MixturePrior,
    PodVAE,
    UnitsVAE,
    VampPrior,
    count_parameters,
    make_prior,
)
from dvae.models.priors import diagonal_normal


class Affine(torch.nn.Module):
    """Encoder of three inputs; mean and log-variance are affine."""

    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(3, 4).double()

    def pseudo_inputs(self, count):
        return torch.randn(count, 3).double()

    def from_inputs(self, inputs):
        mean, log_variance = self.network(inputs).chunk(2, -1)
        return diagonal_normal(mean, log_variance)


def vamp(n_inputs: int) -> VampPrior:
    """VampPrior with an encoder but no model around it."""
    prior = VampPrior(2, n_inputs)
    prior.attach(Affine())
    return prior


PRIORS = {
    "standard": lambda: GaussianPrior(2),
    "scaled": lambda: GaussianPrior(2, (0.5, 1.7)),
    "correlated": lambda: CorrelatedPrior(2),
    "mixture": lambda: MixturePrior(2, 3),
    "vamp": lambda: vamp(3),
    "flow": lambda: FlowPrior(2),
    "hierarchical": lambda: HierarchicalPrior(2),
    "network variance": lambda: HierarchicalPrior(2, variance="network"),
    "rectified": lambda: HierarchicalPrior(2, rectified=True),
    "two levels": lambda: HierarchicalPrior(2, levels=2),
    "two levels, rectified, network": lambda: HierarchicalPrior(
        2, rectified=True, variance="network", levels=2
    ),
}
EXACT_RATE = ("standard", "scaled", "correlated")
UNBIASED_RATE = (*EXACT_RATE, "mixture", "vamp", "flow")


@pytest.fixture(params=PRIORS)
def named(request):
    """Name and a prior in float64 whose parameters are not at their symmetric start."""
    torch.manual_seed(3)
    prior = PRIORS[request.param]().double()
    with torch.no_grad():
        for name, parameter in prior.named_parameters():
            spread = 0.1 if "log_variance" in name or "transform" in name else 0.3
            parameter.add_(spread * torch.randn_like(parameter))
    return request.param, prior


def grid(limit: float, n: int) -> tuple[torch.Tensor, float]:
    """Nodes (n * n, 2) and weight of a rule that is spectrally accurate for smooth decay."""
    x = torch.linspace(-limit, limit, n, dtype=torch.float64)
    return torch.cartesian_prod(x, x), float((x[1] - x[0]) ** 2)


def correlated(prior) -> torch.Tensor:
    """Correlation matrix of a correlated prior from its parameters, another way than its own."""
    rows = prior.below.detach().tril(-1) + torch.eye(prior.n_latents).double()
    covariance = rows @ rows.T
    scale = covariance.diagonal().sqrt()
    return covariance / torch.outer(scale, scale)


@torch.no_grad()
def exact_log_prob(prior, z):
    """Log-density independent of the prior's own: torch distributions, or quadrature over xi."""
    if isinstance(prior, GaussianPrior):
        scale = torch.exp(0.5 * prior.log_variance)
        return MultivariateNormal(torch.zeros_like(scale), torch.diag(scale**2)).log_prob(z)
    if isinstance(prior, CorrelatedPrior):
        return MultivariateNormal(torch.zeros(2).double(), correlated(prior)).log_prob(z)
    if isinstance(prior, MixturePrior):
        components = Normal(prior.means, torch.exp(0.5 * prior.log_variances))
        return MixtureSameFamily(Categorical(logits=prior.logits), components).log_prob(z).sum(-1)
    if isinstance(prior, VampPrior):
        posterior = prior._encoders[0].from_inputs(prior.inputs)
        even = Categorical(torch.ones(prior.n_inputs).double())
        return MixtureSameFamily(even, posterior).log_prob(z)
    if isinstance(prior, FlowPrior):  # change of variables, with the Jacobian by differentiation
        with torch.enable_grad():
            z = z.clone().requires_grad_()
            base = prior.transform()(z)
            rows = [torch.autograd.grad(x.sum(), z, retain_graph=True)[0] for x in base.unbind(1)]
        return Normal(0.0, 1.0).log_prob(base).sum(1) + torch.stack(rows, 1).slogdet()[1]
    xi, weight = grid(6.5, 45)
    log_weights = exact_log_prob(prior.parent, xi) + math.log(weight)
    mean, log_variance = prior.decoder(xi)
    pieces = []
    for part in z.split(500):
        conditional = Normal(mean, torch.exp(0.5 * log_variance)).log_prob(part[:, None]).sum(-1)
        pieces.append(torch.logsumexp(conditional + log_weights, -1))
    return torch.cat(pieces)


@torch.no_grad()
def test_density_integrates_to_one_and_is_the_exact_one(named):
    name, prior = named
    nodes, weight = grid(8.0, 101 if name == "flow" else 37)  # splines have kinks
    exact = exact_log_prob(prior, nodes)
    assert exact.exp().sum() * weight == pytest.approx(1, abs=2e-3)
    if name in UNBIASED_RATE:
        torch.testing.assert_close(prior.log_prob(nodes), exact, rtol=0, atol=1e-10)
        return
    estimate = prior.log_prob(nodes, n_samples=200)
    assert estimate.exp().sum() * weight == pytest.approx(1, abs=1e-2)
    points = prior.sample(5)
    ratio = torch.stack([prior.log_prob(points, n_samples=500) for _ in range(30)])
    ratio = (ratio - exact_log_prob(prior, points)).exp()  # importance sampling is unbiased
    assert ((ratio.mean(0) - 1).abs() < 4.5 * ratio.std(0) / math.sqrt(30)).all()


@torch.no_grad()
def test_samples_follow_the_density(named):
    name, prior = named
    nodes, weight = grid(8.0, 101 if name == "flow" else 37)
    density = exact_log_prob(prior, nodes).exp() * weight
    samples = prior.sample(40_000)
    assert samples.shape == (40_000, 2)
    direction = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -2.0]]).double()

    def features(z):
        phase = z @ direction.T
        return torch.cat([z, z**2, z.prod(1, keepdim=True), phase.cos(), phase.sin()], 1)

    values = features(samples)
    expected = density @ features(nodes)
    error = values.std(0) / math.sqrt(len(values))
    assert ((values.mean(0) - expected).abs() < 4.5 * error + 5e-4).all()


@torch.no_grad()
@pytest.mark.parametrize(
    ("mean", "scale"),
    [((0.0, 0.0), (1.0, 1.0)), ((1.5, -0.7), (0.2, 0.6)), ((0.3, 2.0), (1.4, 0.1))],
)
def test_rate_is_the_divergence_or_bounds_it_from_above(named, mean, scale):
    name, prior = named
    mean, scale = torch.tensor(mean).double(), torch.tensor(scale).double()
    standard, weight = grid(7.0, 33)
    log_q = Normal(0.0, 1.0).log_prob(standard).sum(1)
    z = mean + scale * standard
    log_ratio = log_q - scale.log().sum() - exact_log_prob(prior, z)
    divergence = float((log_q.exp() * weight) @ log_ratio)

    draws = 10_000
    noise = torch.randn(draws, 2 + prior.noise_size).double()
    posterior = diagonal_normal(mean.expand(draws, 2), (2 * scale.log()).expand(draws, 2))
    rate = prior.rate(posterior, mean + scale * noise[:, :2], noise[:, 2:])
    assert rate.shape == (draws,)
    error = float(rate.std()) / math.sqrt(draws)
    if name in EXACT_RATE:
        torch.testing.assert_close(rate, torch.full_like(rate, divergence), rtol=1e-8, atol=1e-8)
    elif name in UNBIASED_RATE:
        assert float(rate.mean()) == pytest.approx(divergence, abs=4.5 * error)
    else:
        assert float(rate.mean()) > divergence - 4.5 * error
        assert float(rate.mean()) < divergence + 20  # a bound, not just something large


def test_gradient_reaches_every_parameter(named):
    _, prior = named
    noise = torch.randn(200, 2 + prior.noise_size).double()
    if not list(prior.parameters()):
        pytest.skip("nothing to train")
    posterior = diagonal_normal(noise[:, :2] * 0.3, torch.zeros(200, 2).double())
    prior.rate(posterior, noise[:, :2], noise[:, 2:]).mean().backward()
    for name, parameter in prior.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_rate_is_a_function_of_all_its_noise(named):
    _, prior = named
    z = torch.randn(5, 2).double()
    posterior = diagonal_normal(z, torch.zeros_like(z))
    noise = torch.randn(5, prior.noise_size).double().requires_grad_()
    torch.testing.assert_close(
        prior.rate(posterior, z, noise), prior.rate(posterior, z, noise), rtol=0, atol=0
    )
    if prior.noise_size:
        prior.rate(posterior, z, noise).sum().backward()
        assert (noise.grad.abs().amax(0) > 0).all()


@torch.no_grad()
def test_a_better_proposal_closes_the_gap_of_the_bound():
    """With p(z|xi) = N(a xi, s^2) all is Gaussian, and the exact posterior makes eq. 12 tight."""
    a, s = 1.3, 0.7
    prior = HierarchicalPrior(2, encoder_hidden=(), decoder_hidden=()).double()
    prior.decoder.mean.weight.copy_(a * torch.eye(2).double())
    prior.decoder.mean.bias.zero_()
    prior.decoder.log_variance.fill_(2 * math.log(s))
    z = torch.randn(7, 2).double()
    exact = Normal(torch.zeros(2).double(), math.hypot(a, s)).log_prob(z).sum(1)
    posterior_variance = s**2 / (a**2 + s**2)
    prior.encoder.mean.weight.copy_(a / (a**2 + s**2) * torch.eye(2).double())
    prior.encoder.mean.bias.zero_()
    prior.encoder.log_variance.fill_(math.log(posterior_variance))
    noise = torch.randn(10_000, 7, 2).double()
    bound = prior.log_prob_bound(z.expand(10_000, 7, 2), noise)
    error = bound.std(0) / 100
    assert ((bound.mean(0) - exact).abs() < 4.5 * error).all()
    # another proposal opens a gap of KL[q(xi|z) || p(xi|z)]
    prior.encoder.log_variance.add_(0.8)
    ratio = math.exp(0.8)
    gap = 2 * 0.5 * (ratio - 1 - 0.8)
    loose = prior.log_prob_bound(z.expand(10_000, 7, 2), noise)
    assert ((exact - loose.mean(0) - gap).abs() < 4.5 * loose.std(0) / 100).all()
    assert (prior.log_prob(z, n_samples=20_000) - exact).abs().max() < 0.05


@torch.no_grad()
def test_density_stands_a_proposal_that_misses():
    """The weights stay bounded where the prior encoder is far from p(xi|z)."""
    prior = HierarchicalPrior(2).double()
    prior.encoder.mean.bias.fill_(4.0)
    prior.encoder.log_variance.fill_(-5.0)
    z = torch.randn(10, 2).double()
    assert (prior.log_prob(z, n_samples=20_000) - exact_log_prob(prior, z)).abs().max() < 0.05


@torch.no_grad()
def test_bound_lies_below_the_log_density_at_every_point():
    for levels, rectified in [(1, False), (1, True), (2, False)]:
        prior = HierarchicalPrior(2, rectified=rectified, levels=levels).double()
        z = 1.5 * torch.randn(20, 2).double()
        exact = exact_log_prob(prior, z)
        noise = torch.randn(2000, 20, prior.noise_size).double()
        bound = prior.log_prob_bound(z.expand(2000, 20, 2), noise)
        assert (bound.mean(0) < exact + 4.5 * bound.std(0) / math.sqrt(2000)).all()


def test_gaussian_rate_is_torchs_divergence():
    posterior = diagonal_normal(torch.randn(6, 3).double(), torch.randn(6, 3).double())
    for scale in (1.0, 0.3, (0.5, 1.0, 2.0)):
        prior = GaussianPrior(3, scale).double()
        other = Independent(
            Normal(torch.zeros(3).double(), torch.as_tensor(scale).double().expand(3)), 1
        )
        expected = kl_divergence(posterior, other)
        got = prior.rate(posterior, torch.zeros(6, 3), torch.zeros(6, 0))
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)
        z = torch.randn(6, 3).double()
        torch.testing.assert_close(prior.log_prob(z), other.log_prob(z), rtol=1e-6, atol=1e-6)


@torch.no_grad()
def test_correlated_rate_is_torchs_divergence_and_starts_as_the_standard_one():
    generator = torch.Generator().manual_seed(0)
    mean, log_variance, below = torch.randn(3, 4, 4, generator=generator).double()
    posterior = diagonal_normal(mean, log_variance)
    prior = CorrelatedPrior(4).double()
    start = prior.rate(posterior, mean, mean)
    torch.testing.assert_close(start, GaussianPrior(4).double().rate(posterior, mean, mean))
    prior.below.copy_(below)
    full = MultivariateNormal(mean, torch.diag_embed(log_variance.exp()))
    expected = kl_divergence(full, MultivariateNormal(torch.zeros(4).double(), correlated(prior)))
    torch.testing.assert_close(prior.rate(posterior, mean, mean), expected)


@torch.no_grad()
def test_rectified_decoder_has_no_negative_mean():
    x = 3 * torch.randn(1000, 2)
    mean, _ = HierarchicalPrior(2, rectified=True).decoder(x)
    assert mean.min() == 0 and mean.max() > 0
    assert HierarchicalPrior(2).decoder(x)[0].min() < 0
    assert HierarchicalPrior(2, rectified=True).encoder(x)[0].min() < 0


def test_parameters_of_the_hierarchical_priors():
    described = (2 * 16 + 16) + (16 * 16 + 16) + (16 * 2 + 2) + 2  # 2-16-16-2 and log-variances
    coded = (2 * 16 + 16) + (16 * 2 + 2) + 2  # 2-16-2 and log-variances
    assert count_parameters(make_prior("hierarchical", 2)) == 2 * described == 712
    assert count_parameters(make_prior("hierarchical-rectified", 2)) == described + coded == 440
    assert count_parameters(HierarchicalPrior(2, levels=2)) == 2 * 712
    network = HierarchicalPrior(2, variance="network")
    assert count_parameters(network) == 712 - 2 * 2 + 2 * (16 * 2 + 2)
    assert count_parameters(GaussianPrior(2)) == 0


@torch.no_grad()
def test_mixture_starts_as_a_broad_even_density():
    prior = MixturePrior(1, 8)
    inside = prior.log_prob(torch.linspace(-1.5, 1.5, 50)[:, None])
    assert inside.max() - inside.min() < 0.3


@torch.no_grad()
def test_a_vamp_prior_of_one_input_is_that_inputs_posterior():
    prior = vamp(1)
    posterior = prior._encoders[0].from_inputs(prior.inputs).base_dist
    z = torch.randn(20, 2).double()
    expected = Normal(posterior.loc[0], posterior.scale[0]).log_prob(z).sum(-1)
    torch.testing.assert_close(prior.log_prob(z), expected, rtol=1e-12, atol=1e-12)


def test_a_vamp_prior_follows_the_encoder_of_its_model_and_trains_it():
    fields = torch.randn(12, 3, 9, 9)
    model = PodVAE.from_fields(fields, 4, hidden=(5,), prior="vamp")
    assert [name for name, _ in model.named_parameters() if "prior" in name] == ["prior.inputs"]
    z = torch.randn(6, 2)
    before = model.prior.log_prob(z)
    before.sum().backward()
    assert model.encoder.network[0].weight.grad.abs().max() > 0
    with torch.no_grad():
        model.encoder.network[-1].bias[:2] += 1  # every posterior moves
    torch.testing.assert_close(model.prior.log_prob(z + 1), before)
    units = UnitsVAE(model, FieldUnits.from_fields(fields.double()))
    torch.testing.assert_close(units.prior.log_prob(z + 1), before)  # the same prior


def test_what_a_vamp_prior_cannot_do():
    fields = torch.randn(12, 3, 9, 9)
    with pytest.raises(DataError, match="as part of a model"):
        make_prior("vamp", 2).log_prob(torch.zeros(1, 2))
    with pytest.raises(DataError, match="take a PodVAE, or another prior"):
        DenseVAE(17, blocks=(1, 2, 1), prior="vamp")
    prior = VampPrior(2, 3)
    PodVAE.from_fields(fields, 4, prior=prior)
    with pytest.raises(DataError, match="belongs to one model"):
        PodVAE.from_fields(fields, 4, prior=prior)


@torch.no_grad()
def test_a_flow_is_a_bijection_and_leaves_the_checks_of_torch_on():
    prior = FlowPrior(3).double()
    z = 2 * torch.randn(50, 3).double()
    transform = prior.transform()
    torch.testing.assert_close(transform.inv(transform(z)), z, rtol=0, atol=1e-9)
    with pytest.raises(ValueError, match="scale"):
        Normal(0.0, -1.0)


@pytest.mark.wrong_types
def test_names_and_errors():
    names = ("standard", "correlated", "hierarchical", "hierarchical-rectified", "mixture")
    for name in (*names, "vamp", "flow"):
        assert make_prior(name, 3).n_latents == 3
    given = GaussianPrior(2, 0.5)
    assert make_prior(given, 2) is given
    with pytest.raises(DataError, match="2 latents but the model 3"):
        make_prior(given, 3)
    with pytest.raises(UnknownNameError, match="hierarchical-rectified"):
        make_prior("gaussian", 2)
    for make in (
        lambda: GaussianPrior(2, -1.0),
        lambda: GaussianPrior(2, math.nan),
        lambda: GaussianPrior(2, (1.0, 2.0, 3.0)),
        lambda: GaussianPrior(0),
        lambda: CorrelatedPrior(0),
        lambda: HierarchicalPrior(2, levels=0),
        lambda: HierarchicalPrior(2, variance="learned"),
        lambda: MixturePrior(2, 0),
        lambda: VampPrior(2, 0),
        lambda: FlowPrior(2, transforms=0),
        lambda: FlowPrior(2, bins=1),
    ):
        with pytest.raises(DataError):
            make()


@pytest.mark.parametrize("name", ["standard", "correlated", "hierarchical", "mixture", "flow"])
def test_draws_of_a_prior_are_plain_numbers(name):
    assert make_prior(name, 2).sample(5).numpy().shape == (5, 2)

"""A member's result does not depend on its companions; ensembles against single models."""

import numpy as np
import pytest
import torch

from dvae.errors import DataError, DeviceError
from dvae.models import DenseVAE, PodBasis, PodVAE
from dvae.training import Ensemble, Labels, Recipe, fit, initialise
from dvae.training import ensemble as training_ensemble
from dvae.training.ensemble import check_device


def fields_of(n_samples=40, n=17):
    """Fields of two factors, float64, and the factors."""
    generator = np.random.default_rng(0)
    x1, x2 = np.meshgrid(*2 * [np.linspace(0, 1, n)], indexing="ij")
    theta = generator.standard_normal((n_samples, 2))
    waves = np.stack([np.sin(3 * x1 + 5 * x2), x1 * np.cos(4 * x1 - x2)])
    y = np.einsum("ns,sij->nij", theta, waves)[:, None] * np.array([0.5, 1, 2])[:, None, None]
    return torch.from_numpy(y + 0.1 * generator.standard_normal((n_samples, 3, n, n))), theta


FIELDS, THETA = fields_of()


def recipe_of(**changes):
    return Recipe(
        **{
            "name": "test",
            "steps": 10,
            "batch_size": 6,
            "learning_rate": 2e-3,
            "learning_rate_steps": ((6, 5e-4),),
            "reconstruction_steps": 3,
            "labelled_batch": 3,
        }
        | changes
    )


LEARNED = {"variance": "learned", "schedule": "published", "nu": 0.5}


def dense(**arguments):
    return DenseVAE(17, blocks=(2, 1, 2), **arguments).double()


def pod(**arguments):
    return PodVAE.from_fields(FIELDS, 6, hidden=(8,), **arguments).double()


CASES = {
    "dense learned": (lambda: dense().use_variance("learned"), LEARNED),
    "dense annealed rectified": (
        lambda: dense(prior="hierarchical-rectified"),
        {"floor": (1.0, 0.1, 7)},
    ),
    "dense hierarchical labelled": (lambda: dense(prior="hierarchical"), {"label_weight": 0.5}),
    "pod learned": (lambda: pod().use_variance("learned"), LEARNED),
    "pod hierarchical": (lambda: pod(prior="hierarchical"), {}),
    "pod rectified": (lambda: pod(prior="hierarchical-rectified"), {}),
    "pod mixture": (lambda: pod(prior="mixture"), {}),
    "pod vamp": (lambda: pod(prior="vamp"), {}),
    "pod flow": (lambda: pod(prior="flow"), {}),
    "pod labelled": (pod, {}),
    "pod labelled eq27": (pod, {"semi_supervision": "eq27", "label_weight": 1e-3}),
}


def train(case, seeds):
    """Members whose hyper-parameters, subsets and labels differ and depend on the seed alone."""
    make, changes = CASES[case]
    random = {seed: np.random.default_rng(seed) for seed in seeds}
    labels = None
    if "labelled" in case:
        index = [np.arange(1 + seed % 4) + seed % 30 for seed in seeds]
        labels = [Labels(i, THETA[i]) for i in index]
    return fit(
        make(),
        FIELDS,
        recipe_of(**changes),
        seeds,
        labels=labels,
        beta=[0.01 * (1 + seed % 3) for seed in seeds],
        learning_rate=[2e-3 * (1 + seed % 2) for seed in seeds],
        subsets=[random[seed].permutation(40)[: 10 + seed % 30] for seed in seeds],
        progress=False,
        record_every=1,
    )


@pytest.mark.parametrize("case", CASES)
def test_a_member_is_the_same_alone_and_in_any_company(case):
    sizes = (12,) if case.startswith("dense") else (8, 24)
    check_company(case, *(np.random.default_rng(1).permutation(size).tolist() for size in sizes))


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith("dense")])
def test_so_it_is_where_members_take_turns(case, monkeypatch):
    """As convolutional members do on a CPU where the grid is large."""
    assert Ensemble([dense()]).members_per_call is None
    monkeypatch.setattr(training_ensemble, "CONVOLVE_TOGETHER", 16**2)
    assert Ensemble([dense()]).members_per_call == 1
    check_company(case, [2, 7, 5])


def test_members_in_turn_are_differentiated_in_turn(monkeypatch):
    """So that the activations of one member are held at a time."""
    monkeypatch.setattr(training_ensemble, "CONVOLVE_TOGETHER", 16**2)
    held, terms = [], Ensemble.loss_terms

    def counted(self, parameters, *arguments, **options):
        held.append(len(parameters))
        return terms(self, parameters, *arguments, **options)

    monkeypatch.setattr(Ensemble, "loss_terms", counted)
    fit(dense(), FIELDS, recipe_of(steps=2), range(3), progress=False)
    assert held == [1] * 6


def check_company(case, *companies):
    alone = train(case, [7])
    start = Ensemble.from_seeds(CASES[case][0](), [7]).parameters
    assert (alone.ensemble.parameters - start).abs().max() > 1e-3
    for seeds in companies:
        together = train(case, seeds)
        at = seeds.index(7)
        difference = together.ensemble.parameters[at] - alone.ensemble.parameters[0]
        assert difference.abs().max() < 1e-10
        for name, value in alone.ensemble.buffers.items():
            torch.testing.assert_close(
                together.ensemble.buffers[name][at], value[0], rtol=1e-9, atol=1e-10
            )
        for name in ("rate", "distortion", "beta", "label"):
            np.testing.assert_allclose(
                together.history[name][at], alone.history[name][0], rtol=1e-6, atol=1e-10
            )
        others = together.ensemble.parameters[[i for i in range(len(seeds)) if i != at]]
        assert (others - alone.ensemble.parameters).abs().amax(1).min() > 1e-3


def test_the_same_seed_gives_the_same_bits():
    first, second = train("dense learned", [4, 5]), train("dense learned", [4, 5])
    assert torch.equal(first.ensemble.parameters, second.ensemble.parameters)
    assert first.history.equals(second.history)


# --- the container --------------------------------------------------------------------------


def test_members_go_in_and_come_out():
    models = [initialise(dense(), seed) for seed in (1, 2, 3)]
    with torch.no_grad():
        for k, model in enumerate(models):
            for name, buffer in model.named_buffers():
                if "running" in name:
                    buffer.add_(k)
    ensemble = Ensemble(models)
    assert ensemble.n_members == 3
    for k, model in enumerate(models):
        back = ensemble.member(k)
        assert not back.training
        for name, value in model.state_dict().items():
            assert torch.equal(back.state_dict()[name], value), name
    before = ensemble.parameters.clone()
    with torch.no_grad():  # a member is a copy
        next(ensemble.member(0).parameters()).zero_()
    assert torch.equal(ensemble.parameters, before)


@pytest.mark.parametrize("prior", ["standard", "hierarchical"])
@pytest.mark.parametrize("make", [dense, pod])
@torch.no_grad()
def test_batched_evaluation_is_that_of_the_single_models(make, prior):
    ensemble = Ensemble.from_seeds(make(prior=prior), [0, 1, 2])
    ensemble.parameters.add_(0.05 * torch.randn_like(ensemble.parameters))
    ensemble.buffers["decoder.variance.log_variance"].add_(0.3)
    mean, scale = ensemble.encode(FIELDS, batch_size=16)
    decoded = ensemble.decode(mean[:, :5])
    losses = ensemble.evaluate(FIELDS, n_samples=3, seed=9, batch_size=16, by_sample=True)
    for k in range(3):
        model = ensemble.member(k)
        posterior = model.encoder(FIELDS).base_dist
        torch.testing.assert_close(mean[k], posterior.loc)
        torch.testing.assert_close(scale[k], posterior.scale)
        torch.testing.assert_close(decoded[k], model.decoder(mean[k, :5]).base_dist.loc)
        generator = torch.Generator().manual_seed(9)
        rates, distortions = [], []
        for batch in FIELDS.split(16):
            for _ in range(3):
                noise = torch.randn(len(batch), model.noise_size, generator=generator).double()
                terms = model.loss_terms(model.features(batch), noise)
                rates.append(terms.rate)
                distortions.append(terms.distortion)
        rate, distortion = (float(torch.cat(parts).mean()) for parts in (rates, distortions))
        assert float(losses["rate"][k]) == pytest.approx(rate)
        assert float(losses["distortion"][k]) == pytest.approx(distortion)
        assert float(losses["loss_per_node"][k]) == pytest.approx(distortion / 289 + rate)
        last = torch.stack([d / 289 + r for d, r in zip(distortions[-3:], rates[-3:], strict=True)])
        by_sample = losses["loss_by_sample"].values[k]
        np.testing.assert_allclose(by_sample[-last.shape[1] :], last.mean(0))
        assert float(by_sample.mean()) == pytest.approx(distortion / 289 + rate)
        error = (model.decoder(mean[k]).base_dist.loc - FIELDS).pow(2).sum() / FIELDS.pow(2).sum()
        assert float(losses["relative_error"][k]) == pytest.approx(float(error.sqrt()))


def test_evaluation_changes_no_member():
    ensemble = Ensemble.from_seeds(dense(), [0, 1])
    before = {name: value.clone() for name, value in ensemble.buffers.items()}
    first = ensemble.evaluate(FIELDS)
    assert ensemble.evaluate(FIELDS).equals(first)
    assert all(torch.equal(ensemble.buffers[name], value) for name, value in before.items())


@torch.no_grad()
def test_calibration_sets_the_mean_squared_error():
    for make in (dense, pod):
        ensemble = Ensemble.from_seeds(make(), [0, 1])
        ensemble.calibrate(ensemble.template.features(FIELDS), n_samples=100, batch_size=40)
        for k in range(2):
            model = ensemble.member(k)
            posterior = model.encoder(FIELDS)
            decoded = [model.decoder(posterior.sample()).base_dist.loc for _ in range(60)]
            error = torch.stack([(FIELDS - mean) ** 2 for mean in decoded]).mean(0)
            if make is pod:
                error = (error / model.encoder.basis.scale**2).mean()
            else:
                error = error.mean((0, 1))
            got = ensemble.buffers["decoder.variance.log_variance"][k].exp()
            torch.testing.assert_close(got, error, rtol=0.05, atol=0)
    learned = Ensemble.from_seeds(dense().use_variance("learned"), [0])
    before = learned.parameters.clone()
    learned.calibrate(FIELDS)
    assert torch.equal(learned.parameters, before)


def test_other_parameters_share_the_first_members_buffers():
    ensemble = Ensemble.from_seeds(dense(), [0, 1])
    walk = torch.lerp(ensemble.parameters[:1], ensemble.parameters[1:], torch.rand(5, 1).double())
    other = ensemble.with_parameters(walk)
    assert other.n_members == 5 and ensemble.n_members == 2
    assert all(len(value) == 5 for value in other.buffers.values())
    with pytest.raises(DataError, match="shape"):
        ensemble.with_parameters(walk[:, 1:])


def test_initialisation():
    template = dense()
    one, two, again = (initialise(template, seed) for seed in (1, 2, 1))
    for (name, a), b, c in zip(
        one.named_parameters(), two.parameters(), again.parameters(), strict=True
    ):
        assert torch.equal(a, c), name
        if a.ndim > 1:
            assert not torch.equal(a, b), name
    state = torch.random.get_rng_state()
    initialise(template, 3)
    assert torch.equal(torch.random.get_rng_state(), state)  # the global generator is left alone
    glorot = initialise(template, 1, "xavier").encoder.mean[-1].weight
    bound = (6 / sum(glorot.shape)) ** 0.5
    assert 0.8 * bound < glorot.abs().max() <= bound
    inputs = [initialise(pod(prior="vamp"), seed).prior.inputs for seed in (1, 1, 2)]
    assert torch.equal(inputs[0], inputs[1]) and not torch.isclose(inputs[0], inputs[2]).any()
    hierarchical = initialise(dense(prior="hierarchical"), 1)
    assert (hierarchical.prior.decoder.log_variance == 0).all()


def test_errors():
    with pytest.raises(DataError, match="at least one"):
        Ensemble([])
    with pytest.raises(DataError, match="same architecture"):
        Ensemble([pod(), pod(prior="hierarchical")])
    other = PodVAE(PodBasis.from_fields(FIELDS[:20], 6), hidden=(8,)).double()
    with pytest.raises(DataError, match=r"share one encoder\.basis"):
        Ensemble([pod(), other])
    with pytest.raises(DeviceError, match="'cpu' or 'cuda'"):
        check_device("gpu9")
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="CUDA"):
            check_device("cuda")

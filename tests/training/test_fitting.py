"""Training against a plain loop with torch's own Adam; diverging members; refused input."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from dvae.errors import DataError, DeviceError, UnknownNameError
from dvae.models import DenseVAE, PodVAE
from dvae.physics import DarcyDataset
from dvae.training import Ensemble, Labels, Recipe, fit, fitting, initialise
from dvae.training.objective import labelled_terms
from dvae.training.streams import LABELLED, batch_indices, latent_noise
from dvae.training.trainer import Trainer

N, SIDE = 24, 17


def fields_of():
    generator = np.random.default_rng(0)
    x1, x2 = np.meshgrid(*2 * [np.linspace(0, 1, SIDE)], indexing="ij")
    theta = generator.standard_normal((N, 2))
    waves = np.stack([np.sin(3 * x1 + 5 * x2), x1 * np.cos(4 * x1 - x2)])
    y = np.einsum("ns,sij->nij", theta, waves)[:, None] * np.array([0.5, 1, 2])[:, None, None]
    return torch.from_numpy(y + 0.1 * generator.standard_normal((N, 3, SIDE, SIDE))), theta


FIELDS, THETA = fields_of()
LABELS = Labels(np.array([3, 11, 7, 20]), THETA[[3, 11, 7, 20]])


def recipe_of(**changes):
    return Recipe(
        **{"name": "test", "steps": 30, "batch_size": 6, "learning_rate": 3e-3, "labelled_batch": 5}
        | changes
    )


def pod(**arguments):
    return PodVAE.from_fields(FIELDS, 6, hidden=(8,), **arguments).double()


def dense(**arguments):
    return DenseVAE(SIDE, blocks=(1, 1, 1), **arguments).double()


RECIPES = {
    "jump": {"reconstruction_steps": 12, "beta": 0.02},
    "no reconstruction phase": {"beta": 0.01},
    "learning-rate steps": {"learning_rate_steps": ((10, 1e-3), (21, 1e-4)), "beta": 0.01},
    "published": {
        "variance": "learned",
        "schedule": "published",
        "nu": 0.9,
        "tau": 2.0,
        "beta": 1e-3,
        "beta_initial": 1e-5,
        "reconstruction_steps": 4,
        "learning_rate": 0.05,
        "steps": 60,
    },
    "ramp under a cycle": {
        "schedule": "ramp",
        "ramp_steps": 9,
        "reconstruction_steps": 6,
        "beta": 0.02,
        "beta_initial": 1e-4,
        "learning_rate_schedule": "one-cycle",
    },
    "ramp to a smaller weight": {
        "schedule": "ramp",
        "ramp_steps": 9,
        "reconstruction_steps": 6,
        "beta": 1e-4,
        "beta_initial": 0.02,
    },
    "short gradients": {"gradient_norm": 0.3, "beta": 0.01},
    "floor": {"floor": (0.8, 0.05, 14), "beta": 0.01},
    "labels": {"label_weight": 0.3, "beta": 0.01},
    "labels, eq. 27": {"label_weight": 1e-3, "semi_supervision": "eq27", "beta": 0.01},
}


def plain_loop(model, seed, recipe, labels=None):
    """One member trained by an ordinary loop and ``torch.optim.Adam``; parameters and history."""
    model = initialise(model, seed).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    features, nodes = model.features(FIELDS), SIDE * SIDE
    beta = recipe.beta_initial if recipe.reconstruction_steps else recipe.beta
    spread = model.decoder.data_variance(features)
    history, norms = [], []
    cycle = None
    if recipe.learning_rate_schedule == "one-cycle":
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, recipe.learning_rate, total_steps=recipe.steps, cycle_momentum=False
        )
    for step in range(recipe.steps):
        for start, rate in recipe.learning_rate_steps:
            if step == start:
                optimiser.param_groups[0]["lr"] = rate
        index = batch_indices(seed, step, step + 1, recipe.batch_size, N)[0]
        noise = latent_noise(seed, step, step + 1, recipe.batch_size, model.noise_size)[0]
        noise = torch.from_numpy(noise).double()
        floor = None
        if recipe.floor is not None and step < recipe.floor[2]:
            first, last, length = recipe.floor
            floor = math.exp(math.log(first) + step / length * math.log(last / first)) * spread
        label = torch.zeros(1)
        if labels is None:
            rate, distortion = model.loss_terms(features[index], noise, floor)
        else:
            chosen = batch_indices(
                seed, step, step + 1, recipe.labelled_batch, len(labels.index), LABELLED
            )[0]
            theta = torch.from_numpy(labels.theta[chosen])
            terms, label = labelled_terms(
                recipe, model, features[index], noise, floor, features[labels.index[chosen]], theta
            )
            rate, distortion = terms
        loss = distortion.mean() / nodes + beta * rate.mean()
        if labels is not None:
            loss = loss + recipe.label_weight * label.mean()
        optimiser.zero_grad()
        loss.backward()
        if recipe.gradient_norm is not None:
            norms.append(nn.utils.clip_grad_norm_(model.parameters(), recipe.gradient_norm).item())
        optimiser.step()
        if cycle is not None and step < recipe.steps - 1:
            cycle.step()
        rate, distortion = rate.mean().item(), distortion.mean().item()
        history.append([rate, distortion, beta * nodes, label.mean().item()])
        if step >= recipe.reconstruction_steps:
            if recipe.schedule == "jump":
                beta = recipe.beta
            elif recipe.schedule == "ramp":
                share = (step + 1 - recipe.reconstruction_steps) / recipe.ramp_steps
                beta = recipe.beta_initial ** (1 - min(1, share)) * recipe.beta ** min(1, share)
            else:
                per_node = distortion / nodes
                f = -1.0 if per_node > 0 else math.tanh(recipe.tau * (beta / recipe.beta - 1))
                beta = min(recipe.beta, beta * math.exp(recipe.nu * f * per_node))
    assert recipe.gradient_norm is None or max(norms) > recipe.gradient_norm
    return torch.cat([p.detach().flatten() for p in model.parameters()]), np.array(history)


# What else a recipe says (beta, learning rate, norm) acts on parameters, whatever model has them.
OF_THE_MODEL = ("published", "floor", "labels")


@pytest.mark.parametrize(
    ("make", "name"), [(pod, name) for name in RECIPES] + [(dense, name) for name in OF_THE_MODEL]
)
def test_training_is_the_plain_loop_with_torchs_adam(make, name):
    recipe = recipe_of(**RECIPES[name])
    labels = LABELS if name.startswith("labels") else None
    model = make(prior="hierarchical").use_variance(recipe.variance)
    result = fit(model, FIELDS, recipe, [5, 6], labels=labels, progress=False, record_every=1)
    parameters, history = plain_loop(model, 6, recipe, labels)
    # Rounding, which Adam's division by small gradients lets grow from step to step, and in one
    # kernel a hundred times further than in another: up to 6e-10 by the published recipe.
    torch.testing.assert_close(result.ensemble.parameters[1], parameters, rtol=0, atol=1e-8)
    recorded = [result.history[q][1] for q in ("rate", "distortion", "beta", "label")]
    np.testing.assert_allclose(np.array(recorded).T, history, rtol=1e-5, atol=1e-9)
    if name == "published" and make is pod:  # the schedule is followed down and up
        beta = history[:, 2]
        assert (np.diff(beta) < 0).any() and (np.diff(beta) > 0).any()


def test_published_schedule_reaches_its_final_beta():
    recipe = recipe_of(**RECIPES["published"]).shortened(10)
    result = fit(pod().use_variance("learned"), FIELDS, recipe, 0, progress=False, record_every=1)
    beta = result.history["beta"][0].values / SIDE**2
    assert beta[:40] == pytest.approx(1e-5)
    assert beta.max() == pytest.approx(recipe.beta, rel=1e-5) and beta.max() == beta[-1]


def test_hyper_parameters_of_the_members():
    recipe = recipe_of(beta=0.01)
    subsets = [np.arange(12), np.arange(N)]
    labels = [LABELS, Labels(LABELS.index[:1], LABELS.theta[:1])]
    both = fit(
        pod(), FIELDS, recipe, [1, 1], beta=[0.001, 0.1], learning_rate=[1e-4, 1e-2],
        subsets=subsets, labels=labels, progress=False,
    )  # fmt: skip
    for k in range(2):
        alone = fit(
            pod(), FIELDS, recipe_of(beta=[0.001, 0.1][k], learning_rate=[1e-4, 1e-2][k]), 1,
            subsets=subsets[k : k + 1], labels=labels[k], progress=False,
        )  # fmt: skip
        torch.testing.assert_close(
            both.ensemble.parameters[k], alone.ensemble.parameters[0], rtol=0, atol=1e-10
        )
    expected = np.tile([[0.001], [0.1]], 30) * SIDE**2
    np.testing.assert_allclose(both.history["beta"], expected, rtol=1e-6)


def test_members_without_labels_train_apart_where_batches_are_normalised():
    none = Labels(np.zeros(0, int), np.zeros((0, 2)))
    with pytest.raises(DataError, match="fit of their own"):
        fit(dense(), FIELDS, recipe_of(), [0, 1], labels=[LABELS, none], progress=False)
    mixed = fit(pod(), FIELDS, recipe_of(), [0, 1], labels=[LABELS, none], progress=False)
    plain = fit(pod(), FIELDS, recipe_of(), 1, progress=False)
    torch.testing.assert_close(
        mixed.ensemble.parameters[1], plain.ensemble.parameters[0], rtol=0, atol=1e-10
    )


def test_fit_of_a_data_set_and_its_history():
    data = DarcyDataset(fields=FIELDS.float())
    model = PodVAE.from_fields(data.fields, 4, hidden=(8,))
    before = [p.clone() for p in model.parameters()]
    recipe = recipe_of(steps=31, beta=0.01)
    result = fit(model, data, recipe, [3, 4], progress=False, record_every=4)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
    assert result.history.sizes == {"member": 2, "step": 8}
    assert result.history["step"].values.tolist() == [4, 8, 12, 16, 20, 24, 28, 31]
    assert result.history["seed"].values.tolist() == [3, 4]
    every = fit(model, data, recipe, [3, 4], progress=False, record_every=1).history
    mean = every["rate"].values[:, 4:8].mean(1)
    np.testing.assert_allclose(result.history["rate"][:, 1], mean, rtol=1e-5)
    assert len(result.models) == 2 and not result.models[0].training
    with pytest.raises(DataError, match=r"\.models"):
        _ = result.model
    assert result.recipe is recipe and result.seeds == (3, 4) and result.seconds > 0


def test_a_long_run_has_about_a_thousand_entries(monkeypatch):
    monkeypatch.setattr(Trainer, "_step", lambda self: None)  # takes no time and changes nothing
    linear = PodVAE.from_fields(FIELDS, 4, hidden=()).double()
    long = fit(linear, FIELDS, recipe_of(steps=2100, batch_size=2), 0, progress=False)
    assert long.history["step"].values.tolist() == list(range(2, 2101, 2))


def test_a_monitor_sees_the_members_and_changes_nothing(monkeypatch):
    monkeypatch.setattr(fitting, "CHUNK", 16)
    recipe, seen = recipe_of(steps=34, beta=0.01), {}
    plain = fit(dense(), FIELDS, recipe, [0, 1], progress=False)

    def monitor(step, ensemble):
        losses = ensemble.evaluate(FIELDS, relative_error=False)
        seen[step] = losses["distortion"].values, ensemble.parameters.clone()

    watched = fit(dense(), FIELDS, recipe, [0, 1], progress=False, monitor=monitor)
    assert list(seen) == [16, 32, 34]
    assert (seen[32][0] < seen[16][0]).all()
    assert torch.equal(seen[34][1], plain.ensemble.parameters)
    assert torch.equal(watched.ensemble.parameters, plain.ensemble.parameters)


def test_calibrated_variance_ends_at_the_training_error():
    recipe = recipe_of(steps=200, beta=1e-3)
    result = fit(pod(), FIELDS, recipe, 0, progress=False)
    losses = result.ensemble.evaluate(FIELDS, n_samples=200, relative_error=False)
    # at the maximum-likelihood variance the scaled squared error is one per value
    size = 3 * SIDE**2
    basis = result.ensemble.template.encoder.basis
    log_variance = float(result.ensemble.buffers["decoder.variance.log_variance"][0])
    expected = 0.5 * size * (math.log(2 * math.pi) + log_variance + 1) + basis.log_jacobian
    assert float(losses["distortion"][0]) == pytest.approx(expected, abs=0.005 * size)


# --- members that diverge -------------------------------------------------------------------


def test_a_gradient_whose_square_overflows_is_a_divergence():
    """Adam would keep an infinite second moment, and the member would stand still unnoticed."""
    fields = 1e12 * torch.randn(8, 3, 17, 17, generator=torch.Generator().manual_seed(0))
    model = DenseVAE(17, blocks=(1, 1, 1)).use_variance("learned")
    result = fit(model, fields, Recipe("r", 5, 4, variance="learned"), 0, progress=False)
    assert result.diverged.tolist() == [True]


def test_a_ramp_without_a_phase_begins_at_its_first_weight():
    changes = {"schedule": "ramp", "ramp_steps": 4, "beta_initial": 1e-2, "beta": 1.0}
    recipe = recipe_of(steps=8, reconstruction_steps=0, **changes)
    history = fit(pod(), FIELDS, recipe, 0, progress=False, record_every=1).history
    weights = history["beta"].values[0] / history["beta"].values[0, -1]
    np.testing.assert_allclose(weights[:5], 10.0 ** np.linspace(-2, 0, 5), rtol=1e-6)


@pytest.mark.parametrize("make", [pod, dense])
@pytest.mark.parametrize("how", ["nan", "inf", "rate"])
def test_a_diverging_member_is_frozen_and_the_others_go_on(make, how):
    recipe, seeds = recipe_of(beta=0.01, steps=15), [0, 1, 2]
    start = Ensemble.from_seeds(make(), seeds)
    rates = [3e-3] * 3
    if how == "rate":
        rates[1] = 1e155
    else:
        start.parameters[1, 5] = float(how)
    with_it = fit(
        make(), FIELDS, recipe, seeds, initial=start, learning_rate=rates, progress=False,
        record_every=1,
    )  # fmt: skip
    assert with_it.diverged.tolist() == [False, True, False]
    good = start.parameters[[0, 2]].clone()
    without = start.with_parameters(good)
    alone = fit(make(), FIELDS, recipe, [0, 2], initial=without, progress=False, record_every=1)
    assert not alone.diverged.any()
    torch.testing.assert_close(
        with_it.ensemble.parameters[[0, 2]], alone.ensemble.parameters, rtol=0, atol=1e-10
    )
    for name, value in alone.ensemble.buffers.items():
        torch.testing.assert_close(with_it.ensemble.buffers[name][[0, 2]], value, msg=name)
    assert np.isfinite(with_it.history["distortion"].values[[0, 2]]).all()
    if how != "rate":
        frozen = with_it.ensemble.parameters[1]
        torch.testing.assert_close(frozen, start.parameters[1], rtol=0, atol=0, equal_nan=True)
        for name, value in start.buffers.items():
            if not name.startswith("decoder.variance"):  # calibrated anew at the end
                assert torch.equal(with_it.ensemble.buffers[name][1], value[1]), name
    assert np.isfinite(alone.ensemble.evaluate(FIELDS)["rate"]).all()


@pytest.mark.parametrize("limit", [None, 1.0])
def test_a_frozen_member_keeps_the_state_of_the_step_before(limit):
    """Fields that are not finite are refused; one that overflows when squared is not."""
    fields = FIELDS.clone()
    fields[7] = 1e200
    model = pod()
    seed = next(s for s in range(50) if 7 not in batch_indices(s, 0, 2, 6, N))
    bad = next(k for k in range(2, 30) if 7 in batch_indices(seed, k, k + 1, 6, N))
    recipe = recipe_of(steps=bad + 5, gradient_norm=limit)
    stopped = fit(model, fields, recipe, seed, progress=False, record_every=1)
    assert stopped.diverged.tolist() == [True]
    before = fit(model, fields, recipe_of(steps=bad, gradient_norm=limit), seed, progress=False)
    assert not before.diverged.any()
    assert torch.equal(stopped.ensemble.parameters, before.ensemble.parameters)
    finite = np.isfinite(stopped.history["distortion"].values[0])
    assert finite[:bad].all() and not finite[bad]


# --- refused input --------------------------------------------------------------------------


def with_nan():
    fields = FIELDS.clone()
    fields[4, 1, 2, 3] = math.nan
    return fields


EMPTY = np.zeros(0, int)
REFUSED = {
    "sample 4": lambda: {"fields": with_nan()},
    "(sample, 3, 17, 17)": lambda: {"fields": FIELDS[:, :2]},
    "one set of labels for each of the 2 seeds": lambda: {"labels": [LABELS]},
    "3 seeds": lambda: {"seeds": [0, 1, 2], "initial": Ensemble.from_seeds(pod(), [0, 1])},
    "same architecture": lambda: {"initial": Ensemble.from_seeds(dense(), [0, 1])},
    "(4, 2)": lambda: {"labels": Labels(LABELS.index, LABELS.theta[:, :1])},
    "0..23": lambda: {"labels": Labels(np.array([24]), np.zeros((1, 2)))},
    "listed twice": lambda: {"labels": Labels(np.array([1, 1]), np.zeros((2, 2)))},
    "label 1 (sample 3)": lambda: {
        "labels": Labels(np.array([2, 3]), np.array([[0.0, 0], [0, math.nan]]))
    },
    "beta must be positive": lambda: {"beta": [0.1, 0.0]},
    "learning_rate must be positive": lambda: {"learning_rate": math.inf},
    "one value for each of the 2": lambda: {"beta": [0.1, 0.2, 0.3]},
    "at least one seed": lambda: {"seeds": []},
    "seed is -1; give an integer of 0 or more": lambda: {"seeds": [0, -1]},
    "not empty": lambda: {"subsets": [EMPTY, np.arange(4)]},
    "subsets must lie in 0..23": lambda: {"subsets": [np.array([24]), np.arange(4)]},
    "no training samples": lambda: {"fields": FIELDS[:0]},
    "record_every": lambda: {"record_every": 0},
}


@pytest.mark.parametrize("message", REFUSED)
def test_input_that_does_not_fit_is_refused(message):
    arguments = {"model": pod(), "fields": FIELDS, "recipe": recipe_of(), "seeds": [0, 1]}
    arguments |= REFUSED[message]()
    with pytest.raises(DataError) as error:
        fit(**arguments, progress=False)
    assert message in str(error.value)


def test_unknown_recipe_and_missing_device():
    with pytest.raises(UnknownNameError, match="calibrated"):
        fit(pod(), FIELDS, "calibratde", progress=False)
    with pytest.raises(DeviceError):
        fit(pod(), FIELDS, recipe_of(), device="tpu", progress=False)
    if not torch.cuda.is_available():
        with pytest.raises(DeviceError, match="device='cpu'"):
            fit(pod(), FIELDS, recipe_of(), device="cuda", progress=False)


@pytest.mark.wrong_types
@pytest.mark.parametrize("seeds", [0.5, [0, 0.7], -1, 2**32, "one"])
def test_seeds_that_numpy_would_read_as_others_are_refused(seeds):
    with pytest.raises(DataError, match=r"seed is .*; give an integer"):
        fit(pod(), FIELDS, recipe_of(), seeds, progress=False)


@pytest.mark.wrong_types
def test_subsets_and_labels_are_numbered_by_integers_of_any_kind():
    small = np.arange(N - 4, dtype=np.uint8)
    wide = small.astype(np.int64)
    first, second = (
        fit(pod(), FIELDS, recipe_of(steps=4), 0, subsets=[rows], progress=False)
        for rows in (small, wide)
    )
    assert torch.equal(first.ensemble.parameters, second.ensemble.parameters)
    labels = Labels(np.array([3.0, 11.0]), THETA[[3, 11]])
    with pytest.raises(DataError, match="numbered by integers, not by float64"):
        fit(pod(), FIELDS, recipe_of(), 0, labels=labels, progress=False)

"""Studies beyond the paper: what they declare, and that the theory enters where it should."""

from collections import Counter

import numpy as np
import pytest
import torch

from dvae.experiments import annealing, find_experiment
from dvae.experiments.common import load_data, train


def test_the_levels_are_those_of_the_spectrum():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    scores = torch.linalg.qr(scores - scores.mean(0))[0] * 20  # uncorrelated, of variance 1
    waves = torch.linalg.qr(torch.randn(3 * 25, 2, generator=generator, dtype=torch.float64))[0].T
    amplitudes = torch.tensor([[2.0], [1.0]], dtype=torch.float64)
    fields = (scores @ (amplitudes * waves)).view(400, 3, 5, 5)
    basis, levels = annealing.spectrum(fields)
    # three values a node at beta = 1 per node: the levels add up to 3
    assert levels.sum() == pytest.approx(3)
    assert levels[0] > levels[1] > 0.1
    assert levels[2:].sum() < 1e-9
    assert basis.n_modes == len(levels) >= 2


@pytest.mark.parametrize("name", ["schedules", "dense_schedules"])
def test_schedules_start_at_a_level_and_end_behind_the_last(name, monkeypatch):
    experiment = find_experiment(name)
    seen = []

    def watched(group, **arguments):
        seen.append(group.shared["recipe"]["floor"])
        return train(group, **arguments)

    monkeypatch.setattr(annealing, "train", watched)
    group = experiment.groups("smoke")[0]
    data = experiment.compute(group, device="cpu", progress=False, checkpoint=None)
    training, _ = load_data(group.shared)
    levels = annealing.spectrum(training.fields)[1]
    start = levels[0] if name == "schedules" else levels[1] / 4  # one bit
    assert seen[0][:2] == pytest.approx((start, levels[2]))
    np.testing.assert_allclose(data["floor"].values, [[start, levels[2]]] * len(group.trials))


def test_schedules_have_fifty_runs_or_are_a_control():
    groups = find_experiment("schedules").groups("laptop")
    assert {g.shared["start"] for g in groups} == {"derived", "4", "1", "0.3", "0.1", "0.03"}
    assert {len(g.trials) for g in groups} == {50}
    runs = Counter(
        (g.shared["start"], g.shared["length"], g.shared["recipe"]["learning_rate"])
        for g in find_experiment("dense_schedules").groups("laptop")
    )
    assert set(runs.values()) == {2 * 50, 2 * 10}
    (main,) = [arm for arm, count in runs.items() if count == 100]
    changed = [[a != b for a, b in zip(main, arm, strict=True)] for arm in runs]
    # start, length and learning rate: each has a control in which it alone is another
    assert sorted(row.index(True) for row in changed if sum(row) == 1) == [0, 1, 2]


def test_agreement_is_asked_of_fifty_runs_that_no_other_study_has():
    names = ("factors", "start", "length")
    asked, stored = (
        {
            (*(g.shared[name] for name in names), g.shared["recipe"]["learning_rate"], t["seed"])
            for g in find_experiment(experiment).groups("laptop")
            for t in g.trials
        }
        for experiment in ("dense_agreement", "dense_schedules")
    )
    assert len(asked) == 100 and not asked & stored
    main = {(*row[:-1], seed) for row in stored for seed in range(50, 100) if row[-1] == 49}
    assert asked == main  # the schedule of which fifty runs of each set are stored
    experiment = find_experiment("dense_agreement")
    data = experiment.compute(
        experiment.groups("smoke")[0], device="cpu", progress=False, checkpoint=None
    )
    assert data["latent_mean"].dims == ("trial", "sample", "latent")


def test_latent_rates_are_those_of_the_whole():
    experiment = find_experiment("noise_levels")
    group = experiment.groups("smoke")[-1]  # the least noise
    data = experiment.compute(group, device="cpu", progress=False, checkpoint=None)
    np.testing.assert_allclose(
        data["latent_rate"].sum("latent", skipna=True), data["rate"], rtol=1e-4
    )
    kinds = {
        (g.shared["n_factors"], g.shared["n_latents"], g.shared["recipe"]["beta"])
        for g in experiment.groups("laptop")
    }
    every = (1, 2, 3, 4)
    assert kinds == (
        {(2, n, 1.0) for n in every}
        | {(3, n, 0.3) for n in every}
        | {(2, 3, 0.3), (2, 4, 0.3), (3, 4, 1.0)}
    )


def test_axes_are_predicted_for_every_draw_that_was_trained():
    groups = find_experiment("principal_axes").groups("laptop")
    names = ("factors", "data_seed", "pair_angle", "wells")
    asked = {tuple(g.shared[name] for name in names) for g in groups}
    trained = {
        tuple(g.shared[name] for name in names)
        for g in find_experiment("data_draws").groups("laptop")
    }
    assert trained <= asked
    data = find_experiment("principal_axes").compute(
        find_experiment("principal_axes").groups("smoke")[0]
    )
    assert abs(float(data["angle"][0])) <= 45
    assert (np.diff(data["level"].values) <= 0).all()

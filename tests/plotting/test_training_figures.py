"""Networks and their training: members, median, the paper's units."""

import itertools

import numpy as np
import pytest
from figure_parts import N, history

from dvae import plotting
from dvae.models import DenseVAE
from dvae.models.architecture import layer_table


def test_history_shows_members_median_and_the_papers_units():
    figure = plotting.plot_history(history(), n_nodes=N, marks={"released": 100})
    distortion, rate, beta = figure.axes
    assert len(rate.lines) == 3 + 1 + 1  # members, median, mark
    np.testing.assert_array_equal(rate.lines[3].get_ydata(), 6.0)
    np.testing.assert_array_equal(rate.lines[0].get_xdata(), 10 * np.arange(50))
    assert rate.get_ylim()[0] == 0
    assert distortion.get_ylim()[1] < 5e5  # the first step, at a million, does not set the scale
    assert distortion.texts[0].get_text() == "released"
    for ax in (distortion, beta):
        second = ax.child_axes[0]
        figure.draw_without_rendering()
        np.testing.assert_allclose(second.get_ylim(), np.array(ax.get_ylim()) / N**2)
        assert "paper" in second.get_ylabel()
    assert not rate.child_axes


def test_history_of_one_run_without_steps_and_with_beta_zero():
    data = {"rate": [1.0, np.nan, 2.0], "distortion": [3.0, 2.0, 1.0], "beta": [0.0, 0.0, 1.0]}
    distortion, _, beta = plotting.plot_history(data).axes
    np.testing.assert_array_equal(distortion.lines[0].get_xdata(), [0, 1, 2])
    assert beta.get_yscale() == "symlog"


@pytest.mark.parametrize("level", [0.3, 1e-9])
def test_a_small_rate_that_hardly_varies_has_round_ticks(level):
    rate = level * np.linspace(1, 1.01, 50)
    ax = plotting.plot_history({"rate": rate, "distortion": -rate, "beta": 0 * rate + 1}).axes[1]
    low, high = ax.get_ylim()
    ticks = [tick for tick in ax.get_yticks() if low <= tick <= high]
    assert len(ticks) > 2
    assert ticks[-1] / ticks[1] == pytest.approx(len(ticks) - 1)


def test_architecture_has_a_box_for_every_stage_with_parameters():
    stages = layer_table(DenseVAE(n_nodes=17))
    figure = plotting.plot_architecture(stages)
    assert [ax.get_title() for ax in figure.axes] == list(dict.fromkeys(stages["network"]))
    for ax in figure.axes:
        own = stages[(stages["network"] == ax.get_title()) & (stages["parameters"] > 0)]
        written = [int(text.get_text().replace(",", "")) for text in ax.texts[::2]]
        assert written == own["parameters"].tolist()
        boxes = [(box.get_x(), box.get_x() + box.get_width()) for box in ax.patches]
        assert len(boxes) == len(own)
        assert all(a[1] < b[0] for a, b in itertools.pairwise(boxes))  # in order, side by side

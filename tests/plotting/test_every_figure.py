"""What all figures have in common: style, labels, refusals, a quick import."""

import importlib
import pkgutil
import subprocess
import sys
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pytest
from figure_parts import FIELDS, PERMEABILITY, PLANE, RNG, SCORES, N, history
from matplotlib.colors import to_hex

from dvae import plotting
from dvae.errors import DataError

MOVED = RNG.normal(size=(2, 2, *FIELDS[0].shape))  # two latents, two values of each

EVERY_FIGURE = {
    "samples": lambda: plotting.plot_samples(PERMEABILITY, FIELDS),
    "samples, shared": lambda: plotting.plot_samples(PERMEABILITY, FIELDS, shared=True),
    "modes": lambda: plotting.plot_modes(FIELDS[0], [3.0, 2.0, 1.0]),
    "eigenvalues": lambda: plotting.plot_eigenvalues(1 / np.arange(1, 30.0)),
    "convergence": lambda: plotting.plot_convergence([0.1, 0.05], [0.01, 0.0025]),
    "reconstruction": lambda: plotting.plot_reconstruction(*FIELDS),
    "reconstruction, line": lambda: plotting.plot_reconstruction(*FIELDS[..., :1]),
    "traversals": lambda: plotting.plot_traversals(FIELDS[0], MOVED, [-1, 1]),
    "traversals, line": lambda: plotting.plot_traversals(
        FIELDS[0][..., :1], MOVED[..., :1], [-1, 1]
    ),
    "history": lambda: plotting.plot_history(history(), n_nodes=N),
    "latents": lambda: plotting.plot_latents(RNG.normal(size=(20, 2)), RNG.normal(size=(20, 3))),
    "distributions": lambda: plotting.plot_distributions({"q": RNG.normal(size=(50, 2))}),
    "rate-distortion": lambda: plotting.plot_rd_plane(
        {"run": [[9, 0], [5, -9]]}, [[5, -9], [1, -2]], [1, 4], [[5, -9], [1, -2]], n_nodes=N
    ),
    "lines": lambda: plotting.plot_line_losses([0, 1], [[1, 2], [3, 4]], SCORES[:, :2]),
    "plane": lambda: plotting.plot_plane(
        np.arange(5), np.arange(7), PLANE, {"solution": (0, 0)}, scores=PLANE / 2
    ),
    "labels": lambda: plotting.plot_score_against_labels([0, 0.1], SCORES, {"rate": SCORES}),
    "rotation": lambda: plotting.plot_rotation([0, 45, 90], {"a": [1, 2, 1], "b": [1, 1, 1]}),
    "scatter": lambda: plotting.plot_score_scatter([1, 2], [0.5, 0.2]),
    "proportions": lambda: plotting.plot_proportions(["a"], [1], [2], [[0.1, 0.9]]),
    "thresholds": lambda: plotting.plot_threshold_curves([0, 1], {"a": [1, 0]}, chosen=0.5),
}

ROW = [0.0, 1.0]
WRONG = {
    "fields has shape": lambda: plotting.plot_samples(PERMEABILITY, FIELDS[:, :2]),
    "permeability has shape": lambda: plotting.plot_samples(PERMEABILITY[:1], FIELDS),
    "not positive": lambda: plotting.plot_samples(-PERMEABILITY, FIELDS),
    "1 labels": lambda: plotting.plot_samples(PERMEABILITY, FIELDS, labels=["one"]),
    "fields holds NaN": lambda: plotting.plot_samples(PERMEABILITY, np.nan * FIELDS),
    "eigenvalues has shape": lambda: plotting.plot_modes(FIELDS[0], [1.0, 2.0]),
    "decreasing": lambda: plotting.plot_eigenvalues([1.0, 2.0]),
    "two grids": lambda: plotting.plot_convergence([0.1], [0.1]),
    "mean HP has shape": lambda: plotting.plot_reconstruction(FIELDS[0], {"HP": FIELDS}),
    "fields has shape .*latent": lambda: plotting.plot_traversals(FIELDS[0], FIELDS, ROW),
    "3 latents": lambda: plotting.plot_traversals(FIELDS[0], MOVED, ROW, latents=["a"] * 3),
    "not finite where": lambda: plotting.plot_traversals(FIELDS[0], np.nan * MOVED, ROW),
    "1 factors": lambda: plotting.plot_latents(np.ones((4, 2)), np.ones((4, 2)), factors=["a"]),
    "history lacks beta": lambda: plotting.plot_history({"rate": ROW, "distortion": ROW}),
    "history of rate has shape": lambda: plotting.plot_history(
        {"rate": [0.0], "distortion": ROW, "beta": ROW}
    ),
    "z_std": lambda: plotting.plot_latents(np.ones((4, 2)), np.ones((4, 2)), np.ones((4, 1))),
    "theta \\(test\\) has": lambda: plotting.plot_latents(
        np.ones((4, 2)), np.ones((4, 2)), test=(np.ones((3, 2)), np.ones((2, 2)))
    ),
    "samples of q": lambda: plotting.plot_distributions({"q": np.ones((5, 3))}),
    "samples is empty": lambda: plotting.plot_distributions({}),
    "nothing to draw": lambda: plotting.plot_rd_plane(),
    "beta is drawn": lambda: plotting.plot_rd_plane(points=[[1, 2]], beta=[0]),
    "losses has shape": lambda: plotting.plot_line_losses(ROW, np.ones((3, 4))),
    "scores has shape": lambda: plotting.plot_line_losses(ROW, np.ones((3, 2)), np.ones((2, 2))),
    "loss has shape": lambda: plotting.plot_plane(np.arange(3), np.arange(4), np.ones((4, 3)), {}),
    "no loss": lambda: plotting.plot_plane(ROW, ROW, np.full((2, 2), np.nan), {}),
    "scores holds NaN": lambda: plotting.plot_score_against_labels(ROW, np.full((2, 3), np.nan)),
    "quantities is empty": lambda: plotting.plot_rotation(ROW, {}),
    "s_d has shape": lambda: plotting.plot_score_scatter(ROW, [1.0]),
    "successes must": lambda: plotting.plot_proportions(["a"], [3], [2], [[0, 1]]),
    "outside its interval": lambda: plotting.plot_proportions(["a"], [1], [2], [[60, 90]]),
    "shares of a has shape": lambda: plotting.plot_threshold_curves(ROW, {"a": [1.0]}),
    "not an array of numbers": lambda: plotting.plot_score_scatter(["a"], [1.0]),
}


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_every_outer_axis_is_labelled_and_nothing_warns(name):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = EVERY_FIGURE[name]()
        plotting.mark_smoke(figure)
        figure.draw_without_rendering()
    for ax in figure.axes:
        if not ax.get_visible() or ax.get_label() == "<colorbar>":
            continue
        shows_x = any(t.get_visible() and t.get_text() for t in ax.get_xticklabels())
        shows_y = any(t.get_visible() and t.get_text() for t in ax.get_yticklabels())
        assert ax.get_xlabel() or not (shows_x and ax.xaxis.get_visible())
        assert ax.get_ylabel() or not shows_y or name in ("distributions", "proportions")
    assert any("not evidence" in text.get_text() for text in figure.texts)


def test_style_is_colour_blind_safe_and_seven_inches_wide():
    from seaborn import color_palette

    cycle = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    assert cycle == [to_hex(c) for c in color_palette("colorblind")]
    assert plotting.plot_score_scatter([1, 2], [0.5, 0.2]).get_size_inches()[0] == 7.0


@pytest.mark.parametrize("message", WRONG)
@pytest.mark.wrong_types
def test_wrong_input_is_refused_in_words(message):
    with pytest.raises(DataError, match=message):
        WRONG[message]()


def test_figures_need_no_torch():
    """Who only draws does not wait for it: importing all of plotting leaves torch alone."""
    code = (
        "import sys; from dvae import plotting; [getattr(plotting, n) for n in plotting.__all__]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_offered_by_the_package_and_hides_no_module():
    names = [info.name for info in pkgutil.iter_modules(plotting.__path__)]
    modules = [importlib.import_module(f"dvae.plotting.{name}") for name in names]
    public = {name: module for module in modules for name in getattr(module, "__all__", ())}
    assert set(plotting.__all__) == set(public)
    assert not set(public) & set(names)
    for name, module in public.items():
        assert getattr(plotting, name) is getattr(module, name)

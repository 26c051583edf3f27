r"""Every figure of the book in one style: arrays in, a matplotlib figure out.

No function here trains, loads or scores anything. Arrays are numpy arrays, torch tensors or xarray
arrays, laid out as everywhere in the library: sample, channel, :math:`x_1`, :math:`x_2`. Images
show :math:`x_1` along the horizontal and :math:`x_2` along the vertical axis. All quantities of the
Darcy problem are dimensionless; rates and distortions are in nats per sample, with the paper's
units (per node) on a second axis.

Figures come back closed, that is, unknown to pyplot: a notebook cell that ends in
``plot_...(...)`` shows its figure once, and none stays in memory. In a script, use
``figure.savefig``. Where a function takes ``figure``, pass a ``SubFigure`` to compose plots.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure, FigureBase
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator, PercentFormatter

from dvae.errors import DataError

__all__ = [
    "caption_source",
    "mark_smoke",
    "plot_architecture",
    "plot_convergence",
    "plot_distributions",
    "plot_eigenvalues",
    "plot_history",
    "plot_latents",
    "plot_line_losses",
    "plot_modes",
    "plot_plane",
    "plot_proportions",
    "plot_rd_plane",
    "plot_reconstruction",
    "plot_rotation",
    "plot_samples",
    "plot_score_against_labels",
    "plot_score_scatter",
    "plot_threshold_curves",
    "use_style",
]

WIDTH = 7.0  # inches: 700 px of a book page at 100 px per inch, so that 10 pt text is 14 px high
COLOURS = sns.color_palette("colorblind").as_hex()
DIVERGING, SEQUENTIAL = "RdBu_r", "viridis"
STYLE = {
    "axes.axisbelow": True,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 10,
    "figure.constrained_layout.use": True,
    "figure.dpi": 120,
    "figure.figsize": (WIDTH, 4.0),
    "figure.titlesize": 11,
    "font.size": 10,
    "grid.color": "0.9",
    "image.cmap": SEQUENTIAL,
    "image.origin": "lower",
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "savefig.dpi": 150,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}
CHANNELS = ("pressure $p$", "velocity $u_1$", "velocity $u_2$")
RATE = "rate (nats per sample)"
DISTORTION = "distortion (nats per sample)"
BETA = r"$\beta$ (eq. 5)"


def use_style() -> None:
    """Set matplotlib's defaults to the style of the book (colour-blind safe, 700 px wide)."""
    plt.rcParams.update(STYLE)


# --------------------------------------------------------------------------------------- helpers


def _array(
    value: Any, name: str, shape: str, sizes: dict[str, int] | None = None, finite: bool = True
) -> np.ndarray:
    """``value`` as a float64 array whose shape matches ``shape``, e.g. ``"sample 3 x1 x2"``.

    A number is a fixed size; a word is any size of at least one that has to agree with the size
    under that word in ``sizes``, which is filled in on first sight.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name} is not an array of numbers: {error}") from error
    sizes, axes = {} if sizes is None else sizes, shape.split()
    wanted = [int(axis) if axis.isdigit() else sizes.get(axis) for axis in axes]
    if array.ndim != len(axes) or any(
        size == 0 or want not in (None, size)
        for want, size in zip(wanted, array.shape, strict=False)
    ):
        known = ", ".join(f"{k} = {v}" for k, v in sizes.items() if k in axes)
        raise DataError(
            f"{name} has shape {array.shape}, but ({', '.join(axes)}) is needed"
            + (f", where {known}" if known else "")
            + "; select or reshape it before plotting"
        )
    if finite and not np.isfinite(array).all():
        raise DataError(f"{name} holds NaN or infinite values; leave them out before plotting")
    sizes.update({a: s for a, s in zip(axes, array.shape, strict=True) if not a.isdigit()})
    return array


def _same_length(names: Sequence[str] | None, name: str, count: int) -> None:
    if names is not None and len(names) != count:
        raise DataError(f"{len(names)} {name} were given for {count} entries; give one for each")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _not_empty(mapping: Mapping, name: str) -> None:
    if not mapping:
        raise DataError(f"{name} is empty; give at least one entry")


def _figure(height: float, figure: FigureBase | None = None) -> FigureBase:
    """The given figure, or a new one that is closed for pyplot."""
    if figure is None:
        figure = plt.figure(figsize=(WIDTH, height), layout="constrained")
        plt.close(figure)
    return figure


def _axes(
    rows: int, columns: int, height: float, figure: FigureBase | None = None, **options: Any
) -> tuple[FigureBase, np.ndarray]:
    """A figure and its ``rows x columns`` axes."""
    figure = _figure(height, figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _image(axes: Axes, field: np.ndarray, limit: float, signed: bool = True) -> AxesImage:
    """Show ``field[x1, x2]`` with x1 to the right and x2 upwards, on a scale of +-limit."""
    half = [0.5 / max(size - 1, 1) for size in field.shape]  # nodes lie in the middle of a pixel
    limit = limit if limit > 0 else 1.0
    axes.set(xticks=(0, 1), yticks=(0, 1))
    axes.grid(False)
    axes.spines[:].set_visible(False)
    return axes.imshow(
        field.T,
        origin="lower",
        extent=(-half[0], 1 + half[0], -half[1], 1 + half[1]),
        cmap=DIVERGING if signed else SEQUENTIAL,
        vmin=-limit if signed else 0.0,
        vmax=limit,
    )


def _colour_bar(figure: FigureBase, image: AxesImage, axes: Any, label: str = "", **options: Any):
    bar = figure.colorbar(image, ax=axes, label=label, ticks=MaxNLocator(4), **options)
    bar.outline.set_visible(False)
    return bar


def _label_outer(axes: np.ndarray, x: str, y: str) -> None:
    """Label the lowest visible axes of each column and the first of each row."""
    for row in axes:
        row[0].set_ylabel(y)
    for column in axes.T:
        [ax for ax in column if ax.get_visible()][-1].set_xlabel(x)


def _paper_axis(axes: Axes, direction: str, n_nodes: int | None, label: str) -> None:
    """A second axis in the paper's units: divided by the number of nodes of the grid."""
    if n_nodes is None:
        return
    nodes = n_nodes**2
    where = {"x": "top", "y": "right"}[direction]
    add = getattr(axes, f"secondary_{direction}axis")
    add(where, functions=(lambda v: v / nodes, lambda v: v * nodes)).set(
        **{f"{direction}label": label}
    )


def _marks(axes: Axes, marks: Mapping[str, float] | None, named: bool = True) -> None:
    """Dotted vertical lines, their names above the axes."""
    for name, mark in (marks or {}).items():
        axes.axvline(mark, color="0.4", ls=":", lw=1)
        if named:
            place = axes.get_xaxis_transform()
            axes.text(mark, 1.02, name, transform=place, ha="center", fontsize=9)


def _focus(axes: Axes, values: np.ndarray) -> None:
    """Limit the vertical axis to the finite ``values``."""
    values = values[np.isfinite(values)]
    if values.size:
        low, high = values.min(), values.max()
        margin = 0.05 * (high - low) or 1.0
        axes.set_ylim(low - margin, high + margin)


# ------------------------------------------------------------------------------ fields (section 3)


def plot_samples(
    permeability: Float[Any, "sample *one x1 x2"],
    fields: Float[Any, "sample 3 x1 x2"],
    labels: Sequence[str] | None = None,
    shared: bool = False,
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Log-permeability, pressure and velocities, one sample a row (fig. 1).

    Parameters
    ----------
    permeability : (sample, x1, x2) or (sample, 1, x1, x2)
        Permeability :math:`K > 0`, not its logarithm.
    fields : (sample, 3, x1, x2)
        Pressure and the two velocities.
    labels : one text a row, for instance "KLE10".
    shared : one colour scale a column, to compare amplitudes between rows; otherwise every row has
        its own scales. The two velocities of a row always share theirs.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not fit together or a permeability is not positive.
    """
    sizes: dict[str, int] = {}
    fields = _array(fields, "fields", "sample 3 x1 x2", sizes)
    if np.ndim(permeability) == 4:
        permeability = _array(permeability, "permeability", "sample 1 x1 x2", sizes)[:, 0]
    permeability = _array(permeability, "permeability", "sample x1 x2", sizes)
    if not (permeability > 0).all():
        raise DataError("permeability is not positive; pass K itself, not its logarithm")
    rows = len(fields)
    _same_length(labels, "labels", rows)

    images = np.concatenate([np.log(permeability)[:, None], fields], axis=1)
    limits = np.abs(images).max(axis=(2, 3))
    limits[:, 2:] = limits[:, 2:].max(axis=1, keepdims=True)
    if shared:
        limits[:] = limits.max(axis=0)
    figure, axes = _axes(
        rows, 4, 1.45 * rows + (1.1 if shared else 0.4), figure, sharex=True, sharey=True
    )
    for row in range(rows):
        for column in range(4):
            ax = axes[row, column]
            image = _image(ax, images[row, column], limits[row, column])
            if not shared and column != 2:  # the scale of u1 is that of u2, right beside it
                _colour_bar(figure, image, ax, shrink=0.85, pad=0.02)
    for column, title in enumerate((r"$\log K$", *CHANNELS)):
        axes[0, column].set_title(title)
        if shared:
            _colour_bar(figure, axes[0, column].images[0], axes[:, column], location="bottom")
    _label_outer(axes, "$x_1$", "$x_2$")
    for row, label in enumerate(labels or ()):
        axes[row, 0].set_ylabel(f"{label}\n$x_2$")
    return figure


def plot_modes(
    modes: Float[Any, "mode x1 x2"],
    eigenvalues: Float[Any, " mode"] | None = None,
    count: int = 10,
) -> Figure:
    r"""The first modes :math:`\phi_i` of the Karhunen-Loeve expansion, on one scale (eqs 18 to 20).

    Parameters
    ----------
    modes : (mode, x1, x2), dimensionless
        Eigenvectors of unit Euclidean norm.
    eigenvalues : (mode,), dimensionless; written over the modes.
    count : how many to show, five a row.

    Raises
    ------
    DataError
        If shapes do not fit together.
    """
    sizes: dict[str, int] = {}
    modes = _array(modes, "modes", "mode x1 x2", sizes)[:count]
    if eigenvalues is not None:
        eigenvalues = _array(eigenvalues, "eigenvalues", "mode", sizes)
    columns = min(5, len(modes))
    rows = -(-len(modes) // columns)
    figure, axes = _axes(rows, columns, 1.5 * rows + 0.3, sharex=True, sharey=True)
    for i, ax in enumerate(axes.flat):
        if i >= len(modes):
            ax.set_visible(False)
            continue
        image = _image(ax, modes[i], np.abs(modes).max())
        title = rf"$\phi_{{{i + 1}}}$"
        if eigenvalues is not None:
            title += rf", $\lambda_{{{i + 1}}}$ = {eigenvalues[i]:#.4g}"
        ax.set_title(title, fontsize=9)
        ax.tick_params(labelbottom=i + columns >= len(modes))
    _label_outer(axes, "$x_1$", "$x_2$")
    _colour_bar(figure, image, axes, "mode (unit norm)", shrink=0.8)
    return figure


def plot_eigenvalues(
    eigenvalues: Float[Any, " mode"],
    marked: Sequence[int] = (2, 10, 100, 1000),
    total: float | None = None,
) -> Figure:
    r"""Decay of the eigenvalues and the share of the variance held by the first s modes (eq. 19).

    Parameters
    ----------
    eigenvalues : (mode,), positive, in decreasing order, dimensionless.
    marked : numbers of modes to mark, the s of KLEs; those beyond the last mode are left out.
    total : variance of the whole field; the sum of ``eigenvalues`` if None.

    Raises
    ------
    DataError
        If the eigenvalues are not positive and in decreasing order.
    """
    eigenvalues = _array(eigenvalues, "eigenvalues", "mode")
    if not (eigenvalues > 0).all() or (np.diff(eigenvalues) > 1e-9 * eigenvalues[0]).any():
        raise DataError("eigenvalues must be positive and in decreasing order; sort them first")
    share = np.cumsum(eigenvalues) / (eigenvalues.sum() if total is None else total)
    number = np.arange(1, len(eigenvalues) + 1)
    figure, [[left, right]] = _axes(1, 2, 3.0)
    left.loglog(number, eigenvalues)
    left.set(xlabel="mode $i$", ylabel=r"eigenvalue $\lambda_i$ (dimensionless)")
    right.semilogx(number, share)
    right.set(xlabel="number of modes $s$", ylabel="share of the variance", ylim=(0, 1.05))
    right.yaxis.set_major_formatter(PercentFormatter(1.0))
    for s in (s for s in marked if s <= len(number)):
        left.plot(s, eigenvalues[s - 1], "o", color=COLOURS[1])
        right.plot(s, share[s - 1], "o", color=COLOURS[1])
        left_of = s**2 > len(number)  # in the right half of the logarithmic axis
        right.annotate(
            f"KLE{s}: {share[s - 1]:.0%}",
            (s, share[s - 1]),
            xytext=(-6, 4) if left_of else (6, -4),
            textcoords="offset points",
            ha="right" if left_of else "left",
            va="bottom" if left_of else "top",
            fontsize=9,
        )
    return figure


def plot_convergence(
    spacing: Float[Any, " grid"],
    errors: Float[Any, " grid"] | Mapping[str, Float[Any, " grid"]],
    order: float = 2.0,
) -> Figure:
    """Error against grid spacing with the reference order and the observed one (row D2).

    Parameters
    ----------
    spacing : (grid,), the distance h between nodes, dimensionless.
    errors : (grid,) or name -> (grid,), relative error, dimensionless.
    order : slope of the reference line.

    Raises
    ------
    DataError
        If shapes do not agree, fewer than two grids are given or a value is not positive.
    """
    sizes: dict[str, int] = {}
    spacing = _array(spacing, "spacing", "grid", sizes)
    errors = errors if isinstance(errors, Mapping) else {"error": errors}
    _not_empty(errors, "errors")
    errors = {name: _array(e, f"errors of {name}", "grid", sizes) for name, e in errors.items()}
    if len(spacing) < 2 or not all((v > 0).all() for v in (spacing, *errors.values())):
        raise DataError("an order needs two grids or more with positive spacings and errors")
    figure, [[ax]] = _axes(1, 1, 3.4)
    for i, (name, error) in enumerate(errors.items()):
        slope = np.polyfit(np.log(spacing), np.log(error), 1)[0]
        marker = "osD^v<>"[i % 7]
        ax.loglog(spacing, error, marker=marker, label=f"{name}: observed order {slope:.2f}")
    ends = np.array([spacing.min(), spacing.max()])
    lowest = min(error[spacing.argmin()] for error in errors.values())
    reference = 0.5 * lowest * (ends / ends[0]) ** order
    ax.loglog(ends, reference, "--", color="0.4", label=f"order {order:g}")
    ax.set(xlabel="grid spacing $h$ (dimensionless)", ylabel="relative error")
    ax.legend()
    return figure


def plot_reconstruction(
    truth: Float[Any, "channel x1 x2"],
    mean: Float[Any, "channel x1 x2"] | Mapping[str, Float[Any, "channel x1 x2"]],
    channels: Sequence[str] | None = None,
    titles: tuple[str, str] = ("truth", "reconstruction"),
    signed: bool = True,
    figure: FigureBase | None = None,
) -> FigureBase:
    """Truth beside reconstruction and error, a channel a row (figs 2, 6, 8, 11).

    Truth and reconstructions of a channel share one scale, their errors (reconstruction minus
    truth) another; the number in an error's corner is its norm relative to the truth's.

    Parameters
    ----------
    truth : (channel, x1, x2), dimensionless.
    mean : (channel, x1, x2), the decoder's mean, or a mapping from a model's name to it, to compare
        several models on the same scales.
    channels : names of the rows; pressure and velocities for three channels if None.
    titles : what to call truth and reconstruction (for instance "data mean", "decoder mean").
    signed : False for positive quantities such as variances, which get a sequential scale from 0.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not agree.
    """
    sizes: dict[str, int] = {}
    truth = _array(truth, "truth", "channel x1 x2", sizes)
    models = mean if isinstance(mean, Mapping) else {"": mean}
    _not_empty(models, "mean")
    means = [
        _array(m, f"mean {name}".strip(), "channel x1 x2", sizes) for name, m in models.items()
    ]
    if channels is None:
        default = CHANNELS if len(truth) == 3 else [f"channel {i + 1}" for i in range(len(truth))]
        channels = default
    _same_length(channels, "channels", len(truth))

    rows, columns = len(truth), 1 + 2 * len(means)
    panel = (WIDTH - 0.6) / columns
    height = min(1.9, panel) * rows + 0.6
    figure, axes = _axes(rows, columns, height, figure, sharex=True, sharey=True)
    for row, name in enumerate(channels):
        values = [truth[row], *(m[row] for m in means)]
        errors = [value - truth[row] for value in values[1:]]
        limit, error_limit = (max(np.abs(v).max() for v in group) for group in (values, errors))
        image = _image(axes[row, 0], truth[row], limit, signed)
        norm = np.linalg.norm(truth[row])
        for i, error in enumerate(errors):
            _image(axes[row, 1 + 2 * i], values[1 + i], limit, signed)
            error_image = _image(axes[row, 2 + 2 * i], error, error_limit)
            if norm > 0:
                box = {"fc": "white", "ec": "none", "alpha": 0.8, "pad": 1.5}
                relative = f"{100 * np.linalg.norm(error) / norm:.2g} %"
                axes[row, 2 + 2 * i].text(0.02, 0.02, relative, fontsize=9, bbox=box)
        _colour_bar(figure, image, axes[row, :-1], shrink=0.9, location="left", pad=0.01)
        _colour_bar(figure, error_image, axes[row, -1], shrink=0.9)
        axes[row, 0].set_ylabel(f"{name}\n$x_2$")
    size = 10 if columns == 3 else 9
    axes[0, 0].set_title(titles[0], fontsize=size)
    for i, name in enumerate(models):
        axes[0, 1 + 2 * i].set_title(f"{name}\n{titles[1]}".strip(), fontsize=size)
        axes[0, 2 + 2 * i].set_title(f"{name}\nerror".strip(), fontsize=size)
    for ax in axes[-1]:
        ax.set_xlabel("$x_1$")
    return figure


# ----------------------------------------------------------------------- training (section 4)


def plot_architecture(stages: Any) -> Figure:
    """The networks of a model as rows of boxes, in the order of the data (section 4.1).

    Parameters
    ----------
    stages : pandas.DataFrame from :func:`dvae.models.architecture.layer_table`
        A box is a stage with parameters: its height grows with the number of nodes per side that
        comes out (short for a vector), its width with the number of channels; the number in it is
        that of its parameters.

    Raises
    ------
    DataError
        If there is nothing to draw.
    """
    stages = stages[stages["parameters"] > 0]
    if not len(stages):
        raise DataError("no stage has parameters; pass the table of layer_table(model)")
    networks = list(dict.fromkeys(stages["network"]))
    figure, axes = _axes(len(networks), 1, 2.3 * len(networks) + 0.2)
    for ax, network in zip(axes[:, 0], networks, strict=True):
        rows, x = stages[stages["network"] == network], 0.0
        for stage, shape, parameters in zip(
            rows["stage"], rows["shape"], rows["parameters"], strict=True
        ):
            vector = len(shape) == 1
            height = 3.6 if vector else np.log2(shape[-1])
            width = 0.55 if vector else 0.45 + shape[0] / 50
            kind = "linear" if vector else "dense" if "dense" in stage else "other"
            colour = COLOURS[{"linear": 1, "dense": 2, "other": 0}[kind]]
            ax.bar(x + width / 2, height, width, bottom=-height / 2, color=colour, alpha=0.5)
            style = {"ha": "center", "rotation": 90, "fontsize": 7.5}
            ax.text(x + width / 2, 0, f"{parameters:,}", va="center", **style)
            size = " x ".join(map(str, shape))
            ax.text(x + width / 2, -3.6, f"{_short(stage)}\n{size}", va="top", **style)
            x += width + 0.35
        ax.set(xlim=(-0.2, max(x, 9)), ylim=(-9.2, 3.6), title=network)
        ax.axis("off")
    return figure


def _short(stage: str) -> str:
    """Words of a stage that fit beside a box."""
    brief = {"transposed convolution": "up", "convolution": "conv", ", stride 2": "/2", " x ": "x"}
    for long, word in brief.items():
        stage = stage.replace(long, word)
    return stage


def plot_history(
    history: Mapping[str, Float[Any, "*member step"]],
    n_nodes: int | None = None,
    skip: float = 0.02,
    marks: Mapping[str, float] | None = None,
) -> Figure:
    """Distortion, rate and beta against the training step (section 5.1).

    Parameters
    ----------
    history : ``Fit.history``, or a mapping
        With ``rate`` and ``distortion`` (nats per sample) and ``beta`` (the weight of the rate in
        eq. 5), each (step,) or (member, step), and the numbers of the steps, ``step``, if they are
        not 0, 1, 2, ... Members are thin lines, their median a thick one. NaN leaves a gap.
    n_nodes : nodes along a side; adds the paper's units of distortion and beta, which are those
        of eq. 5 divided by ``n_nodes ** 2``. The paper's rate is in nats per sample too.
    skip : the first share of the steps, which does not count for the limits of the distortion's
        axis (it starts orders of magnitude higher).
    marks : name -> step of vertical lines, for instance the end of the reconstruction phase.

    Raises
    ------
    DataError
        If a variable is missing or the shapes do not agree.
    """
    names = ("distortion", "rate", "beta")
    missing = [name for name in names if name not in history]
    if missing:
        raise DataError(f"history lacks {', '.join(missing)}; it needs {', '.join(names)}")
    sizes: dict[str, int] = {}
    values = {}
    for name in names:
        lines = history[name]
        shape = "step" if np.ndim(lines) == 1 else "member step"
        values[name] = np.atleast_2d(_array(lines, f"history of {name}", shape, sizes, False))
    count = sizes["step"]
    step = _array(history["step"], "step", "step", sizes) if "step" in history else range(count)

    figure, axes = _axes(3, 1, 5.6, sharex=True)
    for ax, colour, name in zip(axes[:, 0], COLOURS, names, strict=False):
        lines = values[name]
        single = len(lines) == 1
        ax.plot(step, lines.T, color=colour, lw=1.5 if single else 0.6, alpha=1 if single else 0.4)
        if not single:
            ax.plot(step, np.nanmedian(lines, axis=0), color=colour, lw=2)
        _marks(ax, marks, named=ax is axes[0, 0])
    distortion, rate, beta = axes[:, 0]
    _focus(distortion, values["distortion"][:, int(skip * count) :])
    distortion.set_ylabel(DISTORTION.replace(" (", "\n("))
    rate.set_yscale("symlog", linthresh=1)
    rate.set_ylim(bottom=min(0.0, np.nanmin(values["rate"])))
    rate.set_ylabel(RATE.replace(" (", "\n("))
    positive = values["beta"][values["beta"] > 0]
    if positive.size == np.isfinite(values["beta"]).sum():
        beta.set_yscale("log")
    else:
        beta.set_yscale("symlog", linthresh=positive.min(initial=1.0))
    beta.set(xlabel="training step", ylabel=BETA)
    _paper_axis(distortion, "y", n_nodes, "paper units\n(nats per node)")
    _paper_axis(beta, "y", n_nodes, r"paper's $\beta$")
    return figure


def plot_rd_plane(
    paths: Mapping[str, Float[Any, "step 2"]] | None = None,
    points: Float[Any, "point 2"] | None = None,
    beta: Float[Any, " point"] | None = None,
    curve: Float[Any, "knot 2"] | None = None,
    n_nodes: int | None = None,
    record_every: int = 1,
    distortion_cut: float | None = None,
    figure: FigureBase | None = None,
) -> FigureBase:
    """Training paths and converged models in the rate-distortion plane (fig. 4).

    Everywhere, column 0 is the rate and column 1 the distortion, in nats per sample.

    Parameters
    ----------
    paths : name -> (step, 2), training paths, coloured by step.
    points : (point, 2), converged models.
    beta : (point,), positive, their beta (eq. 5), as colour.
    curve : (knot, 2), the RD curve, drawn in the given order.
    n_nodes : nodes along a side; adds the distortion in the paper's units.
    record_every : training steps between two entries of a path.
    distortion_cut : where the distortion's axis ends, since paths start far out.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not fit, a beta is not positive or there is nothing to draw.
    """
    if not paths and points is None and curve is None:
        raise DataError("nothing to draw; give paths, points or a curve")
    figure, [[ax]] = _axes(1, 1, 4.6, figure)
    if curve is not None:
        rate, distortion = _array(curve, "curve", "knot 2").T
        ax.plot(distortion, rate, color="0.5", lw=1, zorder=1, label="RD curve")
    paths = {name: _array(p, f"path {name}", "step 2") for name, p in (paths or {}).items()}
    last = max((len(path) - 1 for path in paths.values()), default=0) * record_every
    for i, (name, path) in enumerate(paths.items()):
        line = path[:, ::-1]
        steps = plt.Normalize(0, max(last, 1))
        segments = LineCollection(
            np.stack([line[:-1], line[1:]], axis=1), cmap=SEQUENTIAL, norm=steps, lw=2
        )
        segments.set_array(record_every * np.arange(len(line) - 1))
        ax.add_collection(segments)
        ax.plot(*line[0], "o", color="white", mec="black", ms=5)
        ax.plot(*line[-1], "*sDX^v"[i % 6], color=COLOURS[i], mec="black", ms=10, label=name, ls="")
    if paths:
        figure.colorbar(segments, ax=ax, label="training step")
    if points is not None:
        sizes: dict[str, int] = {}
        rate, distortion = _array(points, "points", "point 2", sizes).T
        style: dict[str, Any] = {"color": COLOURS[0]}
        if beta is not None:
            beta = _array(beta, "beta", "point", sizes)
            if not (beta > 0).all():
                raise DataError("beta is drawn on a logarithmic scale and must be positive")
            style = {"c": beta, "norm": LogNorm(beta.min(), beta.max()), "cmap": "cividis"}
        dots = ax.scatter(distortion, rate, s=28, ec="black", lw=0.5, zorder=3, **style)
        dots.set_label("converged model")
        if beta is not None:
            figure.colorbar(dots, ax=ax, label=BETA)
    ax.autoscale_view()
    ax.set_yscale("symlog", linthresh=1)
    low, high = ax.dataLim.intervaly
    ax.set_ylim(min(low, 0) - 0.1, 1.5 * high)
    if distortion_cut is not None:
        ax.set_xlim(right=distortion_cut)
    ax.set(xlabel=DISTORTION, ylabel=RATE)
    _paper_axis(ax, "x", n_nodes, "distortion in paper units (nats per node)")
    handles, names = ax.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def plot_line_losses(
    alpha: Float[Any, " point"],
    losses: Float[Any, "*line point"],
    scores: Float[Any, "*line point"] | None = None,
    labels: Sequence[str] | None = None,
    cut: float | None = None,
    marks: Mapping[str, float] | None = None,
    scale: str = "linear",
    xlabel: str = r"$\alpha$ (eq. 26)",
    ylabel: str = r"loss $\mathcal{L}$ (nats per node)",
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Losses along lines in parameter space (figs 3 and 5).

    Parameters
    ----------
    alpha : (point,), position along the lines.
    losses : (line, point) or (point,), in the unit that ``ylabel`` names; the paper's is nats per
        node. Infinite and NaN losses leave a gap.
    scores : as ``losses``; the disentanglement score S_D, dashed on a second axis.
    labels : names of the lines; without them all lines look alike (random directions).
    cut : where the axis of the loss ends, 1000 in the paper's fig. 3.
    marks : name -> alpha of vertical lines, for instance the two ends of eq. 26.
    scale : of the loss, ``"linear"`` or ``"symlog"``.
    xlabel, ylabel : labels of the axes.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not agree.
    """
    sizes: dict[str, int] = {}
    alpha = _array(alpha, "alpha", "point", sizes)

    def lines_of(value: Any, name: str) -> np.ndarray:
        shape = "point" if np.ndim(value) == 1 else "line point"
        return np.atleast_2d(_array(value, name, shape, sizes, finite=False))

    losses = np.where(np.isfinite(lines := lines_of(losses, "losses")), lines, np.nan)
    sizes["line"] = len(losses)
    _same_length(labels, "labels", len(losses))
    figure, [[ax]] = _axes(1, 1, 3.4, figure)
    alike = labels is None and len(losses) > 1
    style = {"color": COLOURS[0], "lw": 0.8, "alpha": max(0.1, min(0.8, 20 / len(losses)))}
    for i, line in enumerate(losses):
        own = {"color": COLOURS[i % len(COLOURS)], "label": labels[i] if labels else None}
        ax.plot(alpha, line, **(style if alike else own))
    ax.set_yscale(scale)
    if cut is not None and np.nanmax(losses) > cut:
        low = np.nanmin(losses)
        ax.set_ylim(low - 0.03 * (cut - low), cut)
        ylabel += f", cut at {cut:g}"
    ax.set(xlabel=xlabel, ylabel=ylabel)
    _marks(ax, marks)
    if scores is not None:
        scores = lines_of(scores, "scores")
        twin = ax.twinx()
        twin.grid(False)
        twin.spines["right"].set_visible(True)
        for i, line in enumerate(scores):
            colour = COLOURS[1] if len(losses) == 1 or alike else COLOURS[i % len(COLOURS)]
            twin.plot(alpha, line, "--", color=colour, lw=0.8 if alike else 1.5)
        twin.set(ylabel="disentanglement score $S_D$ (dashed)", ylim=(0, 1))
        if len(losses) == 1:
            ax.yaxis.label.set_color(COLOURS[0])
            twin.yaxis.label.set_color(COLOURS[1])
    if labels:
        ax.legend()
    return figure


def plot_plane(
    x: Float[Any, " x"],
    y: Float[Any, " y"],
    loss: Float[Any, "x y"],
    solutions: Mapping[str, tuple[float, float]],
    scores: Float[Any, "x y"] | None = None,
    cut: float | None = None,
    loss_label: str = r"loss $\mathcal{L}$ (nats per node)",
) -> Figure:
    r"""Loss, and S_D if given, on a plane through solutions in parameter space (section 4.3).

    Parameters
    ----------
    x, y : (x,) and (y,), increasing coordinates in the plane.
    loss : (x, y), in the unit that ``loss_label`` names; NaN leaves a hole.
    solutions : name -> (x, y), the points to mark.
    scores : (x, y), the disentanglement score.
    cut : losses above are shown as this one.
    loss_label : label of the loss's colour bar.

    Raises
    ------
    DataError
        If shapes do not agree or no loss is finite.
    """
    sizes: dict[str, int] = {}
    x, y = _array(x, "x", "x", sizes), _array(y, "y", "y", sizes)
    loss = _array(loss, "loss", "x y", sizes, finite=False)
    if not np.isfinite(loss).any():
        raise DataError("no loss on the plane is finite")
    top = loss[np.isfinite(loss)].max() if cut is None else cut
    panels = [(np.minimum(loss, top), loss_label, SEQUENTIAL, (np.nanmin(loss), top))]
    if scores is not None:
        scores = _array(scores, "scores", "x y", sizes, finite=False)
        panels.append((scores, "disentanglement score $S_D$", "cividis", (0.0, 1.0)))
    figure, axes = _axes(1, len(panels), 3.9, sharex=True, sharey=True)
    side = "right" if scores is None else "bottom"
    for ax, (values, label, cmap, (low, high)) in zip(axes[0], panels, strict=True):
        levels = np.linspace(low, high if high > low else low + 1, 21)
        filled = ax.contourf(x, y, np.ma.masked_invalid(values.T), levels, cmap=cmap)
        ax.contour(
            x, y, np.ma.masked_invalid(values.T), levels[::2], colors="white", linewidths=0.3
        )
        cuts = f", cut at {cut:g}" if values is not scores and cut is not None else ""
        _colour_bar(figure, filled, ax, label + cuts, location=side)
        ax.grid(False)
        ax.set_aspect("equal")
        for i, (name, place) in enumerate(solutions.items()):
            ax.plot(*place, "*sDX^v"[i % 6], color="white", mec="black", ms=10, label=name)
    _label_outer(axes, "first direction", "second direction")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure


# ------------------------------------------------------------- disentanglement (sections 5 and 6)


def plot_latents(
    z_mean: Float[Any, "sample latent"],
    theta: Float[Any, "sample factor"],
    z_std: Float[Any, "sample latent"] | None = None,
    test: tuple[Any, ...] | None = None,
    score: float | None = None,
    ceiling: float | None = None,
    title: str = "",
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Every latent against every factor, with the encoder's uncertainty (figs 7, 9, 12).

    Parameters
    ----------
    z_mean : (sample, latent), mean of q(z|y) on training samples, dimensionless.
    theta : (sample, factor), their factors, dimensionless.
    z_std : (sample, latent), standard deviation of q(z|y); bars of one standard deviation.
    test : (z_mean, theta) or (z_mean, theta, z_std) of test samples, drawn over the others.
    score, ceiling : S_D (eq. 6) and S_D(theta, theta), written in the title.
    title : text before the score.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If shapes do not agree.
    """
    sizes: dict[str, int] = {}
    groups = {"training": (z_mean, theta, z_std)}
    if test is not None:
        if len(test) not in (2, 3):
            raise DataError("test must be (z_mean, theta) or (z_mean, theta, z_std)")
        groups["test"] = (*test, None)[:3]
    checked = {}
    for name, (z, t, std) in groups.items():
        sizes.pop("sample", None)
        z = _array(z, f"z_mean ({name})", "sample latent", sizes)
        t = _array(t, f"theta ({name})", "sample factor", sizes)
        std = None if std is None else _array(std, f"z_std ({name})", "sample latent", sizes)
        checked[name] = (z, t, std)
    rows, columns = sizes["latent"], sizes["factor"]
    height = min(3.0, WIDTH / columns) * rows + 0.7
    figure, axes = _axes(rows, columns, height, figure, sharex="col", sharey="row")
    for (name, (z, t, std)), colour in zip(checked.items(), COLOURS, strict=False):
        for i, j in np.ndindex(rows, columns):
            error = None if std is None else std[:, i]
            style = {"color": colour, "ms": 2, "elinewidth": 0.5, "alpha": 0.5, "label": name}
            axes[i, j].errorbar(t[:, j], z[:, i], error, fmt="o", mew=0, **style)
    for i in range(rows):
        axes[i, 0].set_ylabel(rf"latent $z_{{{i + 1}}}$")
    for j in range(columns):
        axes[-1, j].set_xlabel(rf"factor $\theta_{{{j + 1}}}$")
    if score is not None:
        title += f"{': ' if title else ''}$S_D$ = {score:.3f}"
        title += "" if ceiling is None else f" (ceiling {ceiling:.3f})"
    if title:
        figure.suptitle(title)
    if test is not None:
        axes[0, 0].legend(markerscale=3)
    return figure


def plot_distributions(
    samples: Mapping[str, Float[Any, "sample 2"]],
    densities: Mapping[str, tuple[Any, Any, Any]] | None = None,
    bandwidth: float = 0.6,
    symbols: tuple[str, str] = ("first coordinate", "second coordinate"),
    figure: FigureBase | None = None,
) -> FigureBase:
    r"""Two-dimensional distributions side by side, and their marginals on top of one another.

    For p(theta), p(z) and the aggregated posterior q(z) (figs 6, 9, 10, 12, 15).

    Parameters
    ----------
    samples : name -> (sample, 2), dimensionless; dots and a kernel density estimate.
    densities : name -> (x (k,), y (l,), density (k, l)), normalised, drawn in place of the estimate
        of that name, which need not have samples.
    bandwidth : factor on Scott's rule, the same for all; below 1 since the modes are narrow.
    symbols : labels of the two coordinates.
    figure : where to draw; a new figure if None.

    Raises
    ------
    DataError
        If there is nothing to draw or an array does not have two columns.
    """
    samples = {name: _array(s, f"samples of {name}", "sample 2") for name, s in samples.items()}
    grids = {}
    for name, (x, y, density) in (densities or {}).items():
        sizes: dict[str, int] = {}
        grids[name] = (
            _array(x, f"x of {name}", "x", sizes),
            _array(y, f"y of {name}", "y", sizes),
            _array(density, f"density of {name}", "x y", sizes),
        )
    names = list(dict.fromkeys([*samples, *grids]))
    _not_empty(names, "samples")
    figure = _figure(4.9, figure)
    count = len(names)
    upper, lower = figure.add_gridspec(2, 1, height_ratios=(1.2, 1))
    joints: list[Axes] = []
    for cell in upper.subgridspec(1, count):
        share = joints[0] if joints else None
        joints.append(figure.add_subplot(cell, sharex=share, sharey=share, aspect="equal"))
    marginals = [figure.add_subplot(cell) for cell in lower.subgridspec(1, 2)]

    for name, ax, colour in zip(names, joints, COLOURS, strict=False):
        kde = {"color": colour, "bw_adjust": bandwidth, "warn_singular": False}
        points = samples.get(name)
        if name in grids:
            x, y, density = grids[name]
            levels = density.max() * np.linspace(0.05, 1, 9)
            ax.contourf(x, y, density.T, levels, cmap=sns.light_palette(colour, as_cmap=True))
        elif len(points) > 2:
            sns.kdeplot(
                x=points[:, 0], y=points[:, 1], ax=ax, fill=True, levels=9, gridsize=80, **kde
            )
        if points is not None:
            ax.plot(*points.T, "o", color="black", ms=1, mew=0, alpha=0.4)
        ax.set(title=name, xlabel=symbols[0], ylabel=symbols[1])
        ax.tick_params(labelleft=ax is joints[0])
        for k, marginal in enumerate(marginals):
            if name in grids:
                density = np.trapezoid(grids[name][2], grids[name][1 - k], axis=1 - k)
                marginal.plot(grids[name][k], density, color=colour, label=name)
            elif len(points) > 2:
                sns.kdeplot(x=points[:, k], ax=marginal, label=name, gridsize=200, **kde)
    for ax in joints[1:]:
        ax.set_ylabel("")
    for marginal, symbol in zip(marginals, symbols, strict=True):
        marginal.set(xlabel=symbol, ylabel="")
    marginals[0].set_ylabel("marginal density")
    figure.legend(*marginals[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def plot_score_against_labels(
    ratio: Float[Any, " ratio"],
    scores: Float[Any, "ratio trial"],
    losses: Mapping[str, Float[Any, "ratio trial"]] | None = None,
    ceiling: float | None = None,
    loss_label: str = "training loss (nats per sample)",
) -> Figure:
    """S_D, and training losses, against the ratio of labelled samples: mean, min, max (fig. 14).

    Parameters
    ----------
    ratio : (ratio,), labelled to unlabelled samples, as a fraction.
    scores : (ratio, trial), the disentanglement score.
    losses : name -> (ratio, trial), in the unit that ``loss_label`` names.
    ceiling : S_D(theta, theta).
    loss_label : label of the second panel.

    Raises
    ------
    DataError
        If shapes do not agree or a value is not finite (say how many runs failed, in the text).
    """
    sizes: dict[str, int] = {}
    ratio = _array(ratio, "ratio", "ratio", sizes)
    scores = _array(scores, "scores", "ratio trial", sizes)
    losses = {
        n: _array(v, f"losses of {n}", "ratio trial", sizes) for n, v in (losses or {}).items()
    }
    order = np.argsort(ratio)
    figure, axes = _axes(1, 2 if losses else 1, 3.2)
    panels = [(axes[0, 0], {"mean": scores}), (axes[0, -1], losses)]
    for ax, groups in panels:
        for (name, values), colour in zip(groups.items(), COLOURS, strict=False):
            x, values = 100 * ratio[order], values[order]
            ax.fill_between(x, values.min(1), values.max(1), color=colour, alpha=0.25, lw=0)
            ax.plot(x, values.mean(1), "o-", color=colour, ms=4, label=name)
        ax.set_xlabel("labelled / unlabelled samples (%)")
    left, right = axes[0, 0], axes[0, -1]
    left.collections[0].set_label(f"min to max of {_count(sizes['trial'], 'run')}")
    if ceiling is not None:
        left.axhline(ceiling, color="0.4", ls="--", lw=1, label="ceiling")
    left.set(ylabel="disentanglement score $S_D$", ylim=(min(0.0, scores.min()), 1))
    left.legend(loc="lower right")
    if losses:
        right.set_ylabel(loss_label)
        right.legend()
    return figure


def plot_rotation(
    angle: Float[Any, " angle"],
    quantities: Mapping[str, Float[Any, "*line angle"]],
    labels: Sequence[str] | None = None,
) -> Figure:
    """Losses and scores against the angle by which the latent space is rotated (section 5.2).

    Parameters
    ----------
    angle : (angle,), degrees.
    quantities : name -> (angle,) or (line, angle), or an xarray Dataset of these
        One panel each, under its name, or its attributes ``long_name`` and ``units`` if it has
        them.
    labels : names of the lines, for instance "without HP" and "with HP".

    Raises
    ------
    DataError
        If shapes do not agree or there is nothing to draw.
    """
    _not_empty(quantities, "quantities")
    sizes: dict[str, int] = {}
    angle = _array(angle, "angle", "angle", sizes)
    columns = min(2, len(quantities))
    rows = -(-len(quantities) // columns)
    figure, axes = _axes(rows, columns, 2.2 * rows + 0.5, sharex=True)
    for ax, (name, value) in zip(axes.flat, quantities.items(), strict=False):
        shape = "angle" if np.ndim(value) == 1 else "line angle"
        lines = np.atleast_2d(_array(value, name, shape, sizes))
        _same_length(labels, "labels", len(lines))
        for i, line in enumerate(lines):
            ax.plot(angle, line, ls=("-", "--", "-.", ":")[i % 4], label=labels and labels[i])
        if np.ptp(lines) <= 1e-9 * np.abs(lines).max():  # constant: do not magnify its rounding
            centre = lines.flat[0]
            ax.set_ylim(centre - 0.5 * (abs(centre) or 1), centre + 0.5 * (abs(centre) or 1))
        attributes = getattr(value, "attrs", {})
        unit = attributes.get("units")
        ax.set_ylabel(attributes.get("long_name", name) + (f" ({unit})" if unit else ""))
    for ax in axes.flat[len(quantities) :]:
        ax.set_visible(False)
    for ax in axes.flat:
        ax.set_xticks(np.arange(45 * np.ceil(angle.min() / 45), angle.max() + 1e-6, 45))
    for column in axes.T:
        lowest = [ax for ax in column if ax.get_visible()][-1]
        lowest.set_xlabel("rotation angle (degrees)")
        lowest.tick_params(labelbottom=True)
    if labels:
        handles, names = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside upper center", ncols=4)
    return figure


def plot_score_scatter(
    s_kl: Float[Any, " run"],
    s_d: Float[Any, " run"],
    groups: Sequence[str] | None = None,
    ceiling: float | None = None,
) -> Figure:
    """S_KL (eq. 7) against S_D (eq. 6), a dot a run (fig. 13).

    Parameters
    ----------
    s_kl : (run,), nats; low means disentangled.
    s_d : (run,), in [0, 1]; high means disentangled.
    groups : the group of every run, shown by colour and marker.
    ceiling : S_D(theta, theta).

    Raises
    ------
    DataError
        If lengths do not agree.
    """
    sizes: dict[str, int] = {}
    s_kl, s_d = _array(s_kl, "s_kl", "run", sizes), _array(s_d, "s_d", "run", sizes)
    _same_length(groups, "groups", len(s_d))
    groups = np.asarray(["run"] * len(s_d) if groups is None else groups)
    figure, [[ax]] = _axes(1, 1, 3.6)
    for i, group in enumerate(dict.fromkeys(groups.tolist())):
        own = groups == group
        style = {"marker": "osD^vX"[i % 6], "color": COLOURS[i % len(COLOURS)], "alpha": 0.7}
        ax.scatter(s_d[own], s_kl[own], s=24, lw=0, label=group, **style)
    if ceiling is not None:
        ax.axvline(ceiling, color="0.4", ls="--", lw=1, label="ceiling of $S_D$")
    ax.set(xlabel="disentanglement score $S_D$", ylabel="shape score $S_{KL}$ (nats)")
    if len(ax.get_legend_handles_labels()[1]) > 1:
        ax.legend()
    return figure


# ---------------------------------------------------------------- statistics over trials


def plot_proportions(
    labels: Sequence[str],
    successes: Int[Any, " label"],
    trials: Int[Any, " label"],
    intervals: Float[Any, "label 2"],
    reference: Float[Any, " label"] | None = None,
    xlabel: str = "share of runs",
) -> Figure:
    """Shares of runs with their intervals, and the paper's values (section 5.3).

    Parameters
    ----------
    labels : one text a row, the first on top.
    successes, trials : (label,), counts.
    intervals : (label, 2), lower and upper end as fractions (Wilson's, from the caller).
    reference : (label,), the paper's shares as fractions, NaN where it reports none.
    xlabel : of what the share is.

    Raises
    ------
    DataError
        If lengths do not agree, counts make no sense or a share lies outside its interval.
    """
    sizes = {"label": len(labels)}
    successes = _array(successes, "successes", "label", sizes)
    trials = _array(trials, "trials", "label", sizes)
    low, high = _array(intervals, "intervals", "label 2", sizes).T
    if (trials < 1).any() or (successes < 0).any() or (successes > trials).any():
        raise DataError("successes must lie between 0 and trials, and trials be 1 or more")
    share = successes / trials
    if (share < low - 1e-9).any() or (share > high + 1e-9).any():
        raise DataError(
            "a share lies outside its interval; give intervals as fractions (low, high)"
        )
    figure, [[ax]] = _axes(1, 1, 0.36 * len(labels) + 1.0)
    row = np.arange(len(labels))
    error = np.clip([share - low, high - share], 0, None)
    ax.errorbar(share, row, xerr=error, fmt="o", color=COLOURS[0], capsize=3, label="here")
    if reference is not None:
        reference = _array(reference, "reference", "label", sizes, finite=False)
        ax.plot(reference, row, "D", mfc="none", color=COLOURS[1], ms=8, label="paper")
        figure.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2)
    for i in row:
        text = f"{successes[i]:.0f}/{trials[i]:.0f}"
        ax.text(1.02, i, text, transform=ax.get_yaxis_transform(), va="center", fontsize=9)
    ax.set(yticks=row, yticklabels=labels, xlabel=xlabel, xlim=(-0.02, 1.02))
    ax.set_ylim(len(labels) - 0.5, -0.5)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def plot_threshold_curves(
    threshold: Float[Any, " threshold"],
    shares: Mapping[str, Float[Any, " threshold"]],
    intervals: Mapping[str, Float[Any, "threshold 2"]] | None = None,
    chosen: float | None = None,
    xlabel: str = "threshold on $S_D$",
    ylabel: str = "share of runs above",
) -> Figure:
    """How a share of runs depends on the threshold that defines it (section 5.3).

    Parameters
    ----------
    threshold : (threshold,).
    shares : name -> (threshold,), fractions.
    intervals : name -> (threshold, 2), lower and upper ends, drawn as bands.
    chosen : the threshold that the counts use.
    xlabel, ylabel : labels of the axes.

    Raises
    ------
    DataError
        If shapes do not agree or there is nothing to draw.
    """
    _not_empty(shares, "shares")
    sizes: dict[str, int] = {}
    threshold = _array(threshold, "threshold", "threshold", sizes)
    figure, [[ax]] = _axes(1, 1, 3.4)
    for i, (name, share) in enumerate(shares.items()):
        style = {"color": COLOURS[i % len(COLOURS)], "ls": ("-", "--", "-.", ":")[i % 4]}
        share = _array(share, f"shares of {name}", "threshold", sizes)
        ax.plot(threshold, share, label=name, **style)
        if intervals is not None and name in intervals:
            band = _array(intervals[name], f"intervals of {name}", "threshold 2", sizes)
            ax.fill_between(threshold, *band.T, color=style["color"], alpha=0.15, lw=0)
    _marks(ax, None if chosen is None else {f"used here: {chosen:g}": chosen})
    ax.set(xlabel=xlabel, ylabel=ylabel, ylim=(-0.02, 1.02))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend()
    return figure


# ------------------------------------------------------------------------------- provenance


def mark_smoke(figure: Figure) -> Figure:
    """Write "smoke run: not evidence" in a strip at the foot of ``figure``; returns it."""
    strip = 0.25 / figure.get_size_inches()[1]
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.set(rect=(0, strip, 1, 1 - strip))
    style = {"color": "white", "backgroundcolor": COLOURS[3], "fontsize": 9, "weight": "bold"}
    figure.text(0.99, 0.3 * strip, "smoke run: not evidence", ha="right", va="bottom", **style)
    return figure


def caption_source(attributes: Mapping[str, Any]) -> str:
    """Where a result comes from, in a line for a caption.

    Parameters
    ----------
    attributes : those of a stored result (``dataset.attrs``)
        ``profile``, ``trials``, ``hardware`` and ``commit`` are used where present.

    Returns
    -------
    str
        For instance "Profile laptop, 50 trials, 2 CPU cores, commit 0123456."; says so if the
        origin is not recorded, and that a smoke run is not evidence.
    """
    profile, trials, commit = (attributes.get(key) for key in ("profile", "trials", "commit"))
    parts = []
    if profile:
        parts.append(f"profile {profile}" + (" (not evidence)" if profile == "smoke" else ""))
    if trials is not None:
        parts.append(_count(int(trials), "trial"))
    if attributes.get("hardware"):
        parts.append(str(attributes["hardware"]))
    if commit:
        # shorten hashes (several are joined by "; "), but leave "-dirty" and other texts
        parts.append("commit " + re.sub(r"\b([0-9a-f]{7})[0-9a-f]{,33}\b", r"\1", str(commit)))
    text = ", ".join(parts) or "origin not recorded"
    return text[0].upper() + text[1:] + "."

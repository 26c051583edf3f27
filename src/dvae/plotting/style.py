"""The style of the book's figures: width, colours, markers, labels of the quantities."""

from __future__ import annotations

from typing import Any

import matplotlib.pyplot as plt

__all__ = ["COLOURS", "WIDTH", "use_style"]

WIDTH = 7.0  # inches: 700 px of a book page at 100 px per inch, so that 10 pt text is 14 px high
# seaborn's palette "colorblind"; importing seaborn for it takes a second
COLOURS = [
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#fbafe4",
    "#949494",
    "#ece133",
    "#56b4e9",
]
DIVERGING, SEQUENTIAL, POSITIVE = "RdBu_r", "viridis", "cividis"
MARKERS = "osD^vX"
STARS = "*sDX^v"  # solutions, on top of lines or of a plane
LINE_STYLES = ("-", "--", "-.", ":")
STYLE: dict[str, Any] = {
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
    "text.usetex": False,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}
CHANNELS = ("pressure $p$", "velocity $u_1$", "velocity $u_2$")
RATE = "rate (nats per sample)"
DISTORTION = "distortion (nats per sample)"
BETA = r"$\beta$ (eq. 5)"
SCORE = "disentanglement score $S_D$"


def use_style() -> None:
    """Set matplotlib's defaults to the style of the book (colour-blind safe, 700 px wide)."""
    plt.rcParams.update(STYLE)  # type: ignore[arg-type]  # wants each key as a literal

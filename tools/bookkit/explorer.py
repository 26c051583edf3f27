"""The page "Move the latents": its HTML, numbers, sentences and still figure, from stored decoders.

Three stored models (`decoders.py`) become the script `explorer_models.js`, which
`book/_static/explorer.js` decodes while a reader moves the latents.
"""

from __future__ import annotations

import json
from pathlib import Path

import jinja2
import numpy as np

from dvae.conventions import DISENTANGLED

from . import decoders

__all__ = ["draw_traversals", "fragment", "moves", "page_data", "runs_table", "write"]

TEMPLATE = Path(__file__).with_suffix(".html")
TITLES = {"entangled": "entangled", "annealed": "annealed", "labelled": "a few labels"}
DRAWN = ("entangled", "annealed")  # what the still figure compares
CHANNELS = ("pressure p", "velocity u₁", "velocity u₂")
LATENTS, FACTORS = ("z₁", "z₂"), ("θ₁", "θ₂")
EXTENT = 3  # the latents of the page go from -3 to 3
COLOURS = "viridis"


def moves(matrix: np.ndarray | list[list[float]]) -> list[str]:
    """Return a sentence for each latent: which factors a linear map (factor, latent) says it moves.

    A latent moves one factor alone if that one has more than the share DISENTANGLED of its column
    of absolute coefficients.
    """
    sentences = []
    for latent, column in zip(LATENTS, np.transpose(matrix), strict=True):
        sizes = np.abs(column)
        first, second = (FACTORS[i] for i in np.argsort(-sizes))
        alone = sizes.max() > DISENTANGLED * sizes.sum()
        what = f"{first} and hardly {second}" if alone else "θ₁ and θ₂ together"
        how = " and ".join(_change(*pair) for pair in zip(FACTORS, column, strict=True))
        sentences.append(f"Moving {latent} changes {what}: when it rises by 1, {how}.")
    return sentences


def _change(factor: str, amount: float) -> str:
    if abs(amount) < 0.005:
        return f"{factor} stays"
    return f"{factor} {'rises' if amount > 0 else 'falls'} by {abs(amount):.2f}"


def page_data(asset: dict) -> dict:
    """Return what the page's script reads: decoders, scales and colours, sentences."""
    from matplotlib import colormaps

    colours = colormaps[COLOURS](np.arange(256), bytes=True)[:, :3]
    return {
        "extent": EXTENT,
        "limits": asset["limits"],
        "colours": colours.tobytes().hex(),
        "basis": asset["basis"],
        "models": [_shown(asset, name) for name in TITLES],
    }


def _shown(asset: dict, name: str) -> dict:
    """Return what the page shows of one model."""
    model = asset["models"][name]
    matrix = np.array(model["map"]["matrix"])
    # where the latents go while one factor rises by 2 and the other stays
    directions = 2 * np.linalg.inv(matrix).T
    return {
        "name": name,
        "layers": model["layers"],
        "latents": model["latents"],
        "map": {part: model["map"][part] for part in ("matrix", "offset")},
        "directions": [
            {"name": factor, "z": z.round(3).tolist()}
            for factor, z in zip(FACTORS, directions, strict=True)
        ],
        "moves": moves(matrix),
        "about": _about(asset, name),
    }


def _about(asset: dict, name: str) -> str:
    """Return where a model comes from and how good it is, in a few words."""
    model = asset["models"][name]
    labels = f"{model['labels']} labels" if model["labels"] else "no labels"
    score, ceiling = model["scores"][model["seed"]], asset["data"]["ceiling"]
    left = 100 * (1 - min(model["map"]["explained"]))
    outside = int((np.abs(model["latents"]) > EXTENT).any(1).sum())
    return (
        f"Recipe {model['recipe']}, {labels}, seed {model['seed']}. Disentanglement score "
        f"{score:.2f} (of the factors themselves {ceiling:.2f}), relative error of test fields "
        f"{100 * model['relative_error']:.2f} %. The linear map from latents to factors leaves at "
        f"most {left:.2g} % of a factor's variance. Points outside the square: {outside} of "
        f"{len(model['latents'])}."
    )


def fragment(asset: dict) -> str:
    """Return the HTML of the explorer, which stands on the page as it is."""
    sentences = [
        f"{name.capitalize()} model: {' '.join(moves(asset['models'][name]['map']['matrix']))}"
        for name in DRAWN
    ]
    caption = (
        "Decoded pressure while one latent moves and the other stays at 0, for two models of the "
        f"same fields. {' '.join(sentences)}"
    )
    alt = (
        "Four rows of five pressure fields, high at the injection well in the lower left corner "
        "and low at the production well in the upper right one. Entangled model: each latent "
        "changes one of the wells. Annealed model: the first latent makes both wells stronger "
        "together, the second makes one stronger and the other weaker."
    )
    channels = [
        (name, *(f"{end:g}".replace("-", "−") for end in ends))
        for name, ends in zip(CHANNELS, asset["limits"], strict=True)
    ]
    text = TEMPLATE.read_text(encoding="utf-8")
    return jinja2.Template(text, autoescape=True, trim_blocks=True).render(
        titles=TITLES,
        channels=channels,
        nodes=asset["basis"]["n_nodes"],
        extent=EXTENT,
        latents=LATENTS,
        factors=FACTORS,
        alt=alt,
        caption=caption,
    )


def draw_traversals(asset: dict, path: Path) -> None:
    """Draw the pressure that two of the models decode while one latent moves."""
    from matplotlib.figure import Figure

    steps = np.linspace(-1.5, 1.5, 5)
    figure = Figure(figsize=(7.0, 6.0), layout="constrained")
    axes = figure.subplots(2 * len(DRAWN), len(steps))
    low, high = asset["limits"][0]
    for row, (name, latent) in enumerate((name, i) for name in DRAWN for i in range(2)):
        z = np.zeros((len(steps), 2))
        z[:, latent] = steps
        fields = decoders.decode(asset["basis"], asset["models"][name]["layers"], z)
        for ax, value, field in zip(axes[row], steps, fields[:, 0], strict=True):
            image = ax.imshow(field.T, origin="lower", cmap=COLOURS, vmin=low, vmax=high)
            ax.set(xticks=[], yticks=[])
            ax.spines[:].set_visible(False)
            ax.set_title(f"$z_{latent + 1} = {value:g}$", fontsize=9)
        axes[row, 0].set_ylabel(name)
    figure.colorbar(image, ax=axes, label="pressure $p$", shrink=0.5)
    figure.savefig(path, dpi=120, metadata={"Software": None}, pil_kwargs={"optimize": True})


def runs_table(asset: dict) -> str:
    """Return the table of the three models and of the runs from which they were taken."""
    lines = [
        "```{list-table} The three models, and the eight runs from which each was taken: how their "
        "scores spread, and how many are disentangled as this book counts it. Losses in nats per "
        "node, on test data.",
        ":name: table-explorer",
        ":header-rows: 1",
        "",
        "* - Model\n  - Recipe\n  - $\\SD$\n  - $\\SD$ of eight runs\n  - Disentangled\n  - Loss",
    ]
    for name, title in TITLES.items():
        model = asset["models"][name]
        scores = model["scores"]
        labels = f", {model['labels']} labels" if model["labels"] else ""
        cells = [
            f"{title}, seed {model['seed']}",
            f"`{model['recipe']}`{labels}",
            f"{scores[model['seed']]:.2f}",
            f"{min(scores):.2f} to {max(scores):.2f}",
            f"{model['disentangled']} of {len(scores)}",
            f"{model['loss_per_node']:.2f}",
        ]
        lines.append("* - " + "\n  - ".join(cells))
    made = asset["made"]
    lines += [
        "```",
        "",
        f"Made at commit `{made['commit']}` with torch {made['torch']} on {made['hardware']}.",
    ]
    return "\n".join(lines) + "\n"


def write(folder: Path, asset: dict | None = None) -> None:
    """Write what the page needs into the folder of the book that Sphinx reads."""
    asset = asset or decoders.load()
    generated, static = folder / "_generated", folder / "_static"
    for one in (generated, static):
        one.mkdir(parents=True, exist_ok=True)
    texts = {
        generated / "explorer.md": f"```{{raw}} html\n{fragment(asset)}\n```\n",
        generated / "explorer_runs.md": runs_table(asset),
        static / "explorer_models.js": f"window.dvaeExplorer = {json.dumps(page_data(asset))};\n",
    }
    for path, text in texts.items():
        path.write_text(text, encoding="utf-8")
    draw_traversals(asset, static / "explorer_traversals.png")

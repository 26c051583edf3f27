"""The page of moving latents: what its script computes is what the library decodes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from tolerances import rounding

from bookkit import decoders, explorer, pages
from bookkit.browser import open_page
from bookkit.chapters import ROOT
from dvae import PodBasis, PodVAE

ASSET = decoders.load()
BASIS, MODELS = ASSET["basis"], ASSET["models"]
each_model = pytest.mark.parametrize("name", MODELS)
# A field is a sum of fewer than a hundred terms (two inner layers of 24, twelve modes) of order 1,
# whose sizes add up to three times that of the field.
DOUBLE, SINGLE = (rounding(100, 3, kind) for kind in (np.float64, np.float32))


def decoded(name: str, z) -> np.ndarray:
    return decoders.decode(BASIS, MODELS[name]["layers"], z)


def thinned(fields: np.ndarray) -> np.ndarray:
    """Fields at the nodes at which the library's are stored."""
    every = MODELS["entangled"]["references"]["every"]
    return fields[..., ::every, ::every]


def allowed(name: str, z) -> np.ndarray:
    """How far a field may be off by numbers that are off by half their scale, and by rounding."""
    off = {part: np.array(BASIS[part]["scale"]) / 2 for part in ("mean", "node_scale", "modes")}
    node_scale, modes = decoders.unpack(BASIS["node_scale"]), decoders.unpack(BASIS["modes"])
    coefficients = decoders.coefficients(BASIS, MODELS[name]["layers"], z)
    by_modes = np.abs(coefficients) @ off["modes"]
    by_integers = (
        off["mean"][:, None, None]
        + (node_scale + off["node_scale"]) * by_modes[:, None, None, None]
        + off["node_scale"] * np.abs(np.tensordot(coefficients, modes, axes=1))
    )
    return thinned(by_integers + SINGLE)


def page(folder: Path) -> Path:
    """The explorer alone on a page, with its files where the book has them."""
    explorer.write(folder)
    shutil.copy(ROOT / "book" / "_static" / "explorer.js", folder / "_static")
    shutil.copy(ROOT / "book" / "_static" / "explorer.css", folder / "_static")
    path = folder / "book" / "explorer.html"
    path.parent.mkdir()
    head = '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"></head>'
    body = explorer.fragment(ASSET)
    path.write_text(f"<!DOCTYPE html><html>{head}<body>{body}</body></html>", encoding="utf-8")
    return path


def test_integers_are_off_by_half_their_scale_at_most():
    values = np.random.default_rng(0).normal(size=(4, 3, 5)) * 10.0 ** np.arange(4)[:, None, None]
    values[2] = 0
    packed = json.loads(json.dumps(decoders.pack(values)))
    error = np.abs(decoders.unpack(packed) - values).reshape(4, -1).max(1)
    assert (error <= 0.501 * np.array(packed["scale"])).all()
    assert (decoders.unpack(packed)[2] == 0).all()


@each_model
def test_stored_decoders_decode_as_the_library_did(name):
    stored = MODELS[name]["references"]
    error = np.abs(thinned(decoded(name, stored["z"])) - stored["fields"])
    assert (error <= allowed(name, stored["z"])).all()
    assert allowed(name, stored["z"]).max() < 1e-4  # of fields of order 1


@each_model
def test_the_arithmetic_is_that_of_the_library(name):
    """A PodVAE made of the stored numbers decodes the same, in double precision."""
    parts = [decoders.unpack(BASIS[part]) for part in ("mean", "node_scale", "modes")]
    mean, scale, modes = (torch.tensor(part) for part in parts)
    spread = torch.tensor(BASIS["spread"], dtype=torch.double)
    layers = MODELS[name]["layers"]
    hidden = [len(layer["bias"]) for layer in layers[:-1]]
    model = PodVAE(PodBasis(mean, scale[0], modes, spread), hidden=hidden).double()
    linear = [part for part in model.decoder.network if isinstance(part, torch.nn.Linear)]
    z = np.random.default_rng(0).uniform(-3, 3, (5, 2))
    with torch.no_grad():
        for part, layer in zip(linear, layers, strict=True):
            part.weight.copy_(torch.tensor(layer["weight"], dtype=torch.double))
            part.bias.copy_(torch.tensor(layer["bias"], dtype=torch.double))
        fields = model.decoder(torch.tensor(z)).mean.numpy()
    np.testing.assert_allclose(decoded(name, z), fields, rtol=0, atol=DOUBLE)


def test_the_asset_is_small_and_says_how_it_was_made():
    assert decoders.ASSET.stat().st_size < 1_500_000
    assert "tools/explorer.py" in ASSET["about"]
    assert not ASSET["made"]["commit"].endswith("dirty")
    assert {"created", "hardware", "torch"} <= ASSET["made"].keys()
    for model in MODELS.values():
        assert model["recipe"] and len(model["scores"]) == 8
    lowest = int(np.argmin(MODELS["entangled"]["scores"]))
    assert [model["seed"] for model in MODELS.values()] == [lowest, 0, 0]


def test_sentences_of_a_map():
    assert explorer.moves([[-1.0, 0.5], [0.001, -0.25]]) == [
        "Moving z₁ changes θ₁ and hardly θ₂: when it rises by 1, θ₁ falls by 1.00 and θ₂ stays.",
        "Moving z₂ changes θ₁ and θ₂ together: when it rises by 1, θ₁ rises by 0.50 and θ₂ falls "
        "by 0.25.",
    ]


def test_the_page_says_what_the_models_do():
    """The statements of book/explorer.md about the three models."""

    def at_wells(name: str, *z: list[float]) -> np.ndarray:
        """By how much the two wells become stronger from the first latents to the second."""
        pressure = decoded(name, z)[:, 0]
        return (pressure[1] - pressure[0])[[0, -1], [0, -1]] * [1, -1]

    (low, high) = at_wells("entangled", [-1.5, 0], [1.5, 0])
    assert abs(high) > 3 * abs(low)  # z1: almost only the upper well
    (low, high) = at_wells("entangled", [0, -1.5], [0, 1.5])
    assert abs(low) > 3 * abs(high)  # z2: almost only the lower one
    assert (at_wells("annealed", [-1.5, 0], [1.5, 0]) > 0.1).all()
    (low, high) = at_wells("annealed", [0, -1.5], [0, 1.5])
    assert low < -0.05 and high > 0.05
    data = explorer.page_data(ASSET)["models"]
    line = np.array(data[0]["directions"][0]["z"])  # theta_1 of the entangled model
    assert (at_wells("entangled", -line / 2, line / 2) < -0.05).all()
    axis = np.array([-1.0, 0.0])  # the same of the annealed one
    assert (at_wells("annealed", -axis, axis) < -0.05).all()
    assert MODELS["annealed"]["map"]["matrix"][0][0] < -0.9  # theta_1 grows where z1 falls
    losses = [MODELS[name]["loss_per_node"] for name in ("entangled", "annealed")]
    assert losses[0] < losses[1]
    together = [["together" in sentence for sentence in model["moves"]] for model in data]
    assert together == [[True, True], [False, False], [False, False]]
    labelled = MODELS["labelled"]
    z = np.array(labelled["latents"])
    theta = z @ np.transpose(labelled["map"]["matrix"]) + labelled["map"]["offset"]
    assert np.abs(theta - z).max() < 0.05  # the latent is its factor


def test_what_is_written_for_the_page(tmp_path):
    written = page(tmp_path).read_text(encoding="utf-8")
    assert pages.scan(tmp_path) == []
    assert 'id="explorer" hidden' in written  # until a script shows it
    assert written.count('type="radio"') == len(MODELS)
    assert 'alt="Four rows of five pressure fields' in written
    assert (tmp_path / "_static" / "explorer_traversals.png").stat().st_size > 10_000
    table = (tmp_path / "_generated" / "explorer_runs.md").read_text(encoding="utf-8")
    for model in MODELS.values():
        assert f"{model['disentangled']} of 8" in table
        assert f"{min(model['scores']):.2f} to {max(model['scores']):.2f}" in table


# Presses keys and moves a pointer as a reader would, and notes what is decoded after each. Made-up
# pointers cannot be captured.
READER = """
() => {
  const seen = [];
  Element.prototype.setPointerCapture = () => {};
  const root = document.getElementById("explorer");
  const pad = root.querySelector(".explorer-pad");
  const every = (fields) => [...fields].filter((_, i) => {
    const side = 65, node = i % side ** 2;
    return Math.floor(node / side) % 8 === 0 && (node % side) % 8 === 0;
  });
  root.addEventListener("decoded", ({ detail: { model, z, theta, fields } }) => {
    const [canvas] = root.querySelectorAll(".explorer-field");
    const colour = canvas.getContext("2d").getImageData(8, 64 - 56, 1, 1).data;
    seen.push({ model, z, theta, fields: every(fields), colour: [...colour] });
  });
  const key = (name, shiftKey = false) =>
    pad.dispatchEvent(new KeyboardEvent("keydown", { key: name, shiftKey, cancelable: true }));
  const point = (type, across, down, buttons) => {
    const box = pad.getBoundingClientRect();
    const [clientX, clientY] = [box.left + across * box.width, box.top + down * box.height];
    pad.dispatchEvent(new PointerEvent(type, { clientX, clientY, buttons, button: 0 }));
  };
  const kept = [key("ArrowRight"), key("ArrowUp", true), key("Tab")];
  point("pointermove", 0.9, 0.9, 0);  // no button is pressed
  point("pointerdown", 0.75, 0.25, 1);
  point("pointermove", -0.1, 0.5, 1);  // beyond the edge
  root.querySelector("input[value=annealed]").click();
  key("Home");
  const slider = root.querySelector("input[type=range]");
  slider.value = 1;
  slider.dispatchEvent(new Event("input"));
  const sentences = [...root.querySelectorAll(".explorer-move")].map((line) => line.textContent);
  const still = getComputedStyle(document.querySelector(".explorer-static")).display;
  const wide = document.documentElement.scrollWidth > innerWidth;
  return { seen, kept, sentences, hidden: root.hidden, still, wide };
}
"""


@pytest.mark.parametrize("width", [1280, 390])
def test_a_reader_moves_the_latents(browser, tmp_path, width):
    with open_page(browser, width) as (opened, wrong):
        opened.goto(page(tmp_path).as_uri())
        found = opened.evaluate(READER)
        assert wrong == []
    assert (found["hidden"], found["still"], found["wide"]) == (False, "none", False)
    assert found["kept"] == [False, False, True]  # the page does not scroll by arrows, Tab goes on
    seen = found["seen"]
    assert [(one["model"], one["z"]) for one in seen] == [
        ("entangled", [0.1, 0]),
        ("entangled", [0.1, 0.5]),
        ("entangled", [1.5, 1.5]),
        ("entangled", [-3, 0]),
        ("annealed", [-3, 0]),
        ("annealed", [0, 0]),
        ("annealed", [1, 0]),
    ]
    palette = colormaps[explorer.COLOURS](np.arange(256), bytes=True)
    low, high = ASSET["limits"][0]
    for one in seen:
        name = one["model"]
        ours = thinned(decoded(name, [one["z"]])[0])
        np.testing.assert_allclose(one["fields"], ours.ravel(), rtol=0, atol=DOUBLE)
        linear = MODELS[name]["map"]
        theta = np.array(linear["matrix"]) @ one["z"] + linear["offset"]
        np.testing.assert_allclose(one["theta"], theta, atol=DOUBLE)
        share = np.clip((ours[0, 1, 7] - low) / (high - low), 0, 1)  # x = (8, 56) / 64
        steps = np.abs(palette.astype(int) - one["colour"]).sum(1).argmin() - 255 * share
        assert abs(steps) <= 0.5 + 1e-6
    reference = MODELS["annealed"]["references"]
    assert reference["z"][:2] == [one["z"] for one in seen[-2:]]
    for one, z, fields in zip(seen[-2:], reference["z"], reference["fields"], strict=False):
        error = np.abs(np.reshape(one["fields"], np.shape(fields)) - fields)
        assert (error <= allowed("annealed", [z])[0]).all()
    assert found["sentences"] == explorer.moves(MODELS["annealed"]["map"]["matrix"])

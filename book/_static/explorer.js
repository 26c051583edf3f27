// The latent explorer of book/explorer.md: decodes two latents into fields while they are moved.
// Its numbers are in explorer_models.js, which tools/bookkit/explorer.py writes. Both are plain
// scripts, since pages that are read from disk may neither fetch nor import. Whenever something is
// decoded, the element "explorer" gets an event "decoded" with model, z, theta and fields.

"use strict";

(() => {
  const { basis, limits, extent, colours, models } = window.dvaeExplorer;
  const root = document.getElementById("explorer");
  const pad = root.querySelector(".explorer-pad");
  const find = (selector) => [...root.querySelectorAll(selector)];
  const sliders = find("input[type=range]");
  const canvases = find(".explorer-field");
  const SIDE = pad.viewBox.baseVal.width;
  const STEP = 0.1;
  const LARGE_STEP = 0.5;

  // ------------------------------------------------------------------------------------- decoder

  // Numbers of an array stored as 16-bit integers, with a scale for each entry of its first axis.
  function unpack({ scale, int16 }) {
    const bytes = Uint8Array.from(atob(int16), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    const count = bytes.length / 2;
    const entry = count / scale.length;
    return Float64Array.from(
      { length: count },
      (_, i) => view.getInt16(2 * i, true) * scale[Math.floor(i / entry)],
    );
  }

  const mean = unpack(basis.mean);
  const nodeScale = unpack(basis.node_scale);
  const modes = unpack(basis.modes);
  const nodes = basis.n_nodes ** 2;

  const linear = (matrix, offset, x) =>
    matrix.map((row, i) => row.reduce((sum, weight, j) => sum + weight * x[j], offset[i]));

  // Outputs of the network: linear layers with SiLU between.
  function coefficients(layers, z) {
    return layers.reduce((x, { weight, bias }, i) => {
      const y = linear(weight, bias, x);
      return i + 1 < layers.length ? y.map((value) => value / (1 + Math.exp(-value))) : y;
    }, z);
  }

  // Fields (channel, x1, x2) in a row: mean + node scale * (modes times coefficients).
  function decode(layers, z) {
    const fields = new Float64Array(mean.length);
    coefficients(layers, z).forEach((output, mode) => {
      const coefficient = output * basis.spread[mode];
      const start = mode * fields.length;
      for (let i = 0; i < fields.length; i++) fields[i] += coefficient * modes[start + i];
    });
    for (let i = 0; i < fields.length; i++) fields[i] = mean[i] + nodeScale[i % nodes] * fields[i];
    return fields;
  }

  // ------------------------------------------------------------------------------------- drawing

  const palette = colours.match(/.{6}/g).map((hex) => parseInt(hex, 16));
  const largest = palette.length - 1;

  function paint(pixels, at, share) {
    const colour = palette[Math.round(largest * Math.min(Math.max(share, 0), 1))];
    pixels.set([colour >> 16, (colour >> 8) & 255, colour & 255, 255], 4 * at);
  }

  // A field with x1 to the right and x2 upwards.
  function drawField(canvas, field, [low, high]) {
    const n = basis.n_nodes;
    const context = canvas.getContext("2d");
    const image = context.createImageData(n, n);
    for (let i = 0; i < n; i++) {
      for (let j = 0; j < n; j++) {
        paint(image.data, (n - 1 - j) * n + i, (field[i * n + j] - low) / (high - low));
      }
    }
    context.putImageData(image, 0, 0);
  }

  function drawBar(canvas) {
    const context = canvas.getContext("2d");
    const image = context.createImageData(canvas.width, 1);
    for (let i = 0; i < canvas.width; i++) paint(image.data, i, i / (canvas.width - 1));
    context.putImageData(image, 0, 0);
  }

  const across = (z1) => ((z1 / extent + 1) * SIDE) / 2;
  const down = (z2) => ((1 - z2 / extent) * SIDE) / 2;

  function shape(name, attributes, text = "") {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => made.setAttribute(key, value));
    made.textContent = text;
    return made;
  }

  // Test data as points, and for each factor the direction in which it grows while the other stays.
  function drawCloud(model) {
    const [points, directions] = ["points", "directions"].map((name) =>
      pad.querySelector(`.explorer-${name}`),
    );
    points.replaceChildren(
      ...model.latents.map(([z1, z2]) => shape("circle", { cx: across(z1), cy: down(z2), r: 1.8 })),
    );
    directions.replaceChildren(
      ...model.directions.flatMap(({ name, z: [z1, z2] }, i) => {
        const ends = { x1: across(0), y1: down(0), x2: across(z1), y2: down(z2) };
        return [
          shape("line", { ...ends, class: `explorer-direction-${i + 1}` }),
          shape("text", { x: across(1.13 * z1), y: down(1.13 * z2) }, name),
        ];
      }),
    );
  }

  // ---------------------------------------------------------------------------------------- state

  let model = models[0];
  let z = [0, 0];

  const rounded = (value) => Math.round(100 * value) / 100 || 0; // never -0
  const written = (value) => rounded(value).toFixed(2).replace("-", "\u2212");

  function show() {
    const fields = decode(model.layers, z);
    canvases.forEach((canvas, channel) => {
      const field = fields.subarray(channel * nodes, (channel + 1) * nodes);
      drawField(canvas, field, limits[channel]);
    });
    const marker = pad.querySelector(".explorer-marker");
    marker.setAttribute("cx", across(z[0]));
    marker.setAttribute("cy", down(z[1]));
    find(".explorer-latent").forEach((output, i) => (output.textContent = written(z[i])));
    sliders.forEach((slider, i) => (slider.value = z[i]));
    const theta = linear(model.map.matrix, model.map.offset, z);
    find(".explorer-factor").forEach((output, i) => (output.textContent = written(theta[i])));
    find(".explorer-dot").forEach((dot, i) => {
      const share = Math.min(Math.max(theta[i] / extent, -1), 1);
      dot.style.left = `${50 * (1 + share)}%`;
    });
    root.dispatchEvent(
      new CustomEvent("decoded", { detail: { model: model.name, z: [...z], theta, fields } }),
    );
  }

  function move(latents) {
    z = latents.map((value) => rounded(Math.min(Math.max(value, -extent), extent)));
    show();
  }

  function choose(name) {
    model = models.find((one) => one.name === name);
    drawCloud(model);
    find(".explorer-move").forEach((line, i) => (line.textContent = model.moves[i]));
    root.querySelector(".explorer-about").textContent = model.about;
    show();
  }

  // ---------------------------------------------------------------------------------------- input

  function follow(event) {
    const box = pad.getBoundingClientRect();
    const right = (event.clientX - box.left) / box.width;
    const below = (event.clientY - box.top) / box.height;
    move([(2 * right - 1) * extent, (1 - 2 * below) * extent]);
  }

  pad.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pad.setPointerCapture(event.pointerId);
    follow(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.buttons & 1) follow(event);
  });

  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] };
  pad.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const step = event.shiftKey ? LARGE_STEP : STEP;
    if (event.key in ARROWS) move(ARROWS[event.key].map((sign, i) => z[i] + sign * step));
    else if (event.key === "Home") move([0, 0]);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the theme turns pages with the arrow keys
  });

  sliders.forEach((slider, i) => {
    slider.addEventListener("input", () => {
      move(z.map((value, j) => (i === j ? Number(slider.value) : value)));
    });
  });
  const choices = find("input[type=radio]");
  choices.forEach((choice) => choice.addEventListener("change", () => choose(choice.value)));

  // Only a script that has come this far shows what it drives, in place of the still figure.
  find(".explorer-bar").forEach(drawBar);
  choose(choices.find((choice) => choice.checked).value); // a reload keeps the reader's choice
  root.hidden = false;
})();

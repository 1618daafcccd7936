// Draws a network: values go forward along its edges, gradients come back.

const MOST_NEURONS = 16, FORWARD = "#0072b2", BACKWARD = "#d55e00";

function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function drawNetwork(content, place) {
  const { layers, edges } = content;
  const shown = layers.map((own) => Math.min(own.length, MOST_NEURONS));
  const [width, height] = [Math.max(720, 240 * layers.length), Math.max(260, 92 * Math.max(...shown))];
  const x = (layer) => 90 + (layer * (width - 180)) / (layers.length - 1);
  const y = (layer, place) => (height * (place + 0.5)) / shown[layer];
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": "the network with its values and gradients", style: "width:100%;max-width:1100px" });
  const largest = (key) => Math.max(1e-300, ...edges.flatMap((own) => own[key].flat().map(Math.abs)));
  const scale = { weights: largest("weights"), gradients: largest("gradients") };
  edges.forEach((own, layer) => {
    // Texts of more edges would lie on each other: the pointer shows them.
    const few = shown[layer] * shown[layer + 1] <= 4;
    for (let to = 0; to < shown[layer + 1]; to++) {
      for (let from = 0; from < shown[layer]; from++) {
        const [weight, gradient] = [own.weights[to][from], own.gradients[to][from]];
        const ends = [x(layer), y(layer, from), x(layer + 1), y(layer + 1, to)];
        const rows = [["weight", `${own.names[to][from]} = ${show(weight, 6)}`],
          ["gradient", `∂L/∂${own.names[to][from]} = ${show(gradient, 6)}`]];
        drawing.append(...edge(ends, weight / scale.weights, gradient / scale.gradients, rows,
          few ? own.names[to][from] : null));
      }
    }
  });
  layers.forEach((values, layer) => {
    for (let place = 0; place < shown[layer]; place++) {
      drawing.append(neuron(content, layer, place, x(layer), y(layer, place)));
    }
    if (shown[layer] < values.length) {
      drawing.append(svg("text", { x: x(layer), y: height - 4, "text-anchor": "middle",
        class: "small" }, `and ${values.length - shown[layer]} more`));
    }
  });
  place.append(drawing, make("p", { class: "legend" },
    ...legend([[FORWARD, "forward: values and weights"], [BACKWARD, "backward: gradients"]])));
}

// Two lines side by side, as wide as the weight and as its gradient are large.
function edge([x1, y1, x2, y2], weight, gradient, rows, name) {
  const line = (size, color, shift, sign) => svg("line", { x1, y1: y1 + shift, x2, y2: y2 + shift,
    stroke: color, "stroke-width": 0.6 + 3.4 * Math.abs(size), "stroke-opacity": 0.65,
    "stroke-dasharray": sign < 0 ? "6 4" : "none" });
  const group = svg("g", { class: "edge" }, line(weight, FORWARD, -3, weight),
    line(gradient, BACKWARD, 3, gradient));
  group.addEventListener("pointermove", (event) => tip(event, rows));
  group.addEventListener("pointerleave", () => tip(null, null));
  if (name === null) return [group];
  // A third of the way, so that the texts of edges that cross stand apart.
  const [x, y] = [x1 + 0.36 * (x2 - x1), y1 + 0.36 * (y2 - y1)];
  const text = (own, color, shift) => svg("text", { x, y: y + shift, fill: color,
    "text-anchor": "middle", class: "edge-text" }, own);
  return [group, text(rows[0][1], FORWARD, -9), text(rows[1][1], BACKWARD, 19)];
}

function neuron(content, layer, place, x, y) {
  const { layers, sums, edges, targets } = content;
  const last = layer === layers.length - 1, value = layers[layer][place];
  const several = layers[layer].length > 1;
  const name = `${layer === 0 ? "x" : last ? "ŷ" : `h${layer}`}${several ? `_${place + 1}` : ""}`;
  const rows = [[name, show(value, 8)]];
  const group = svg("g", {}, svg("circle", { cx: x, cy: y, r: 27, fill: "#fff", stroke: "#1b1f23" }),
    svg("text", { x, y: y - 4, "text-anchor": "middle", class: "small" }, name),
    svg("text", { x, y: y + 12, "text-anchor": "middle", fill: FORWARD, class: "node-text" },
      show(value)));
  if (layer > 0) {
    const { delta, biases } = edges[layer - 1];
    rows.push(["z", show(sums[layer - 1][place], 8)]);
    if (biases) rows.push(["bias", show(biases[place], 8)]);
    rows.push(["∂L/∂z", show(delta[place], 8)]);
    group.append(svg("text", { x, y: y + 42, "text-anchor": "middle", fill: BACKWARD,
      class: "node-text" }, `∂L/∂z ${show(delta[place])}`));
  }
  if (last) rows.push(["y", show(targets[place], 8)]);
  group.addEventListener("pointermove", (event) => tip(event, rows));
  group.addEventListener("pointerleave", () => tip(null, null));
  return group;
}

// The map over any two axes; a curve where there is one.

const OTHERS = [
  ["best", "the best run of them"], ["mean", "the mean over them"], ["one", "one value of each"],
];

function drawMap(runs, place) {
  const chosen = mainAxes(runs);
  const state = { x: chosen[0]?.name, y: chosen[1]?.name, view: runs.content.objective,
    others: "best", at: {} };
  const choices = make("div", { class: "choices" });
  const sliders = make("div", { class: "choices" });
  const plot = make("div", { class: "plot" }), keys = make("div", { class: "legend" });
  const said = make("div"), box = chosenBox();
  place.append(choices, sliders, plot, keys, said, box);
  const views = runs.measures.map(({ name }) => [name, name]);
  if (runs.axes.length > 1) views.push(["outcome", "outcome"]);
  const draw = () => {
    const names = runs.axes.map(({ name }) => [name, name]);
    const rest = runs.axes.filter(({ name }) => name !== state.x && name !== state.y);
    const set = (key) => (value) => { state[key] = value; draw(); };
    const axis = (key, other) => (value) => {
      if (state[other] === value) state[other] = state[key];
      state[key] = value;
      draw();
    };
    choices.replaceChildren(
      ...(names.length ? [select("x", names, state.x, axis("x", "y"))] : []),
      ...(names.length > 1 ? [select("y", names, state.y, axis("y", "x"))] : []),
      select(names.length > 1 ? "colour" : "y", views, state.view, set("view")),
      ...(rest.length ? [select("of the other axes", OTHERS, state.others, set("others"))] : []),
    );
    const fixed = state.others === "one" ? rest.map((one) => slider(runs, one, state, draw)) : [];
    sliders.replaceChildren(...fixed.map(({ element }) => element));
    if (state.y === undefined) drawLine(runs, state, plot, keys, said, box);
    else drawCells(runs, state, fixed, rest, plot, keys, said, box);
  };
  draw();
}

// Those with most values, but seeds last.
function mainAxes(runs) {
  const size = (axis) => (axis.seed ? 0 : axis.distinct ? axis.distinct.length : runs.count);
  return [...runs.axes].sort((one, two) => size(two) - size(one)).slice(0, 2);
}

function slider(runs, axis, state, draw) {
  const cells = cellsOf(axis, runs);
  const at = Math.min(state.at[axis.name] ?? 0, cells.size - 1);
  const said = (place) => (axis.labels ? axis.labels[place] : show(cells.values[place]));
  const output = make("output", {}, said(at));
  const input = make("input", { type: "range", min: 0, max: cells.size - 1, "aria-label": axis.name,
    input: () => { output.textContent = said(input.value); },
    change: () => { state.at[axis.name] = Number(input.value); draw(); } });
  input.value = at;
  return { cells, at, axis, said: said(at),
    element: make("label", {}, axis.name, input, output) };
}

function plotAxis(axis) {
  const found = { title: { text: plain(axis.name) }, type: axis.log ? "log" : "linear",
    automargin: true };
  if (axis.labels) {
    found.tickvals = axis.labels.map((_, place) => place);
    found.ticktext = axis.labels.map(plain);
  } else if (axis.log) {
    const decades = Math.log10(axis.high / axis.low);
    Object.assign(found, { exponentformat: "power", dtick: decades > 4 ? null : "D2" });
  }
  return found;
}

function drawCells(runs, state, fixed, rest, plot, keys, said, box) {
  const [xAxis, yAxis] = [runs.axis(state.x), runs.axis(state.y)];
  const [x, y] = [cellsOf(xAxis, runs), cellsOf(yAxis, runs)];
  const measure = state.view === "outcome" ? null : runs.measure(state.view);
  const cells = gather(runs, x, y, measure, fixed);
  const { traces, entries } = measure
    ? measured(runs, x, y, cells, measure, state.others)
    : outcomesOf(runs, x, y, cells);
  keys.replaceChildren(...legend(entries));
  Plotly.react(plot, traces, { ...LAYOUT, xaxis: plotAxis(xAxis), yaxis: plotAxis(yAxis) }, CONFIG);
  said.replaceChildren(sayCells(runs, state, fixed, rest, cells, x, y));
  listen(plot, (point) => {
    const [row, column] = point.pointNumber;
    return cells.best[row * x.size + column];
  }, (best, point) => {
    const [row, column] = point.pointNumber, cell = row * x.size + column;
    const lines = describe(runs, best);
    if (cells.runs[cell] > 1) {
      const held = runs.count < runs.content.runs ? " on this page" : "";
      lines.unshift(["runs here", `${cells.runs[cell].toLocaleString("en")}${held}; the best:`]);
      if (measure && state.others === "mean") {
        lines.unshift([`mean ${measure.name}`, `${show(cells.sum[cell] / cells.finite[cell])} of ${
          cells.finite[cell].toLocaleString("en")} finite ones`]);
      }
    }
    return lines;
  }, runs, box);
}

function grid(x, y, value) {
  return Array.from({ length: y.size }, (_, row) =>
    Array.from({ length: x.size }, (_, column) => value(row * x.size + column)));
}

function heat(x, y, z, more) {
  return { type: "heatmap", x: x.edges, y: y.edges, z, hoverinfo: "none", hoverongaps: false,
    ...more };
}

function measured(runs, x, y, cells, measure, others) {
  const { log } = measure;
  const value = (cell) => {
    const best = cells.best[cell];
    if (best < 0) return NaN;
    return others === "mean" ? cells.sum[cell] / cells.finite[cell] : measure.numbers[best];
  };
  let smallest = Infinity;
  for (let cell = 0; cell < cells.best.length; cell++) {
    const own = value(cell);
    if (own > 0 && own < smallest) smallest = own;
  }
  let low = Infinity, high = -Infinity;
  const z = grid(x, y, (cell) => {
    const own = value(cell);
    if (!Number.isFinite(own)) return null;
    // 0 has no logarithm.
    const shown = log ? Math.log10(Math.max(own, smallest)) : own;
    if (shown < low) low = shown;
    if (shown > high) high = shown;
    return Number.isFinite(shown) ? shown : null;
  });
  const traces = [], entries = [];
  runs.content.outcomes.forEach((name, code) => {
    let some = false;
    const own = grid(x, y, (cell) => {
      const best = cells.best[cell];
      if (best < 0 || Number.isFinite(value(cell)) || runs.outcome.codes[best] !== code) return null;
      some = true;
      return 1;
    });
    if (!some) return;
    const color = colorOf(name, code);
    traces.push(heat(x, y, own, { showscale: false, colorscale: [[0, color], [1, color]] }));
    entries.push([color, `${name}, without a finite ${measure.name}`]);
  });
  if (low <= high) {
    if (low === high) [low, high] = [low - 0.5, high + 0.5];
    const title = { text: plain(`${others === "mean" ? "mean " : ""}${measure.name}`),
      side: "right" };
    traces.push(heat(x, y, z, { colorscale: "Viridis", zmin: low, zmax: high,
      colorbar: { title, ...ticks(low, high, log) } }));
  }
  return { traces, entries };
}

function outcomesOf(runs, x, y, cells) {
  const { outcomes } = runs.content, seen = new Set();
  const z = grid(x, y, (cell) => {
    const best = cells.best[cell];
    if (best < 0) return null;
    seen.add(runs.outcome.codes[best]);
    return runs.outcome.codes[best];
  });
  const colors = outcomes.map(colorOf), last = outcomes.length;
  const colorscale = colors.flatMap((color, code) => [[code / last, color], [(code + 1) / last, color]]);
  return {
    traces: [heat(x, y, z, { colorscale, zmin: -0.5, zmax: last - 0.5, showscale: false })],
    entries: outcomes.map((name, code) => [colors[code], name]).filter((_, code) => seen.has(code)),
  };
}

function sayCells(runs, state, fixed, rest, cells, x, y) {
  const names = rest.map(({ name }) => name).join(", ");
  const how = {
    best: `A cell shows its best run over ${names}`,
    mean: `A cell shows the mean over ${names} of the runs with a finite value${
      runs.drawn < runs.count ? ", of those drawn by chance" : ""}`,
    one: `Only runs with ${fixed.map((one) => `${one.axis.name} ${
      one.cells.binned ? "near" : "="} ${one.said}`).join(", ")}`,
  };
  const binned = x.binned || y.binned ? `; ${x.size} × ${y.size} cells, each with the best of the ` +
    "runs within it" : "";
  const of = fixed.length && cells.total < runs.count ? `, of which ${cells.total.toLocaleString("en")} are shown` : "";
  return make("div", {}, rest.length ? make("p", { class: "soft" }, `${how[state.others]}.`) : null,
    behind(runs, of + binned));
}

function drawLine(runs, state, plot, keys, said, box) {
  const axis = runs.axes[0] ?? { name: "run", low: 0, high: runs.count,
    numbers: Float64Array.from({ length: runs.count }, (_, row) => row) };
  const measure = runs.measure(state.view) ?? runs.measure(runs.content.objective);
  const finite = [...measure.numbers].filter((value) => value > 0 && Number.isFinite(value));
  const [top, bottom] = [finite.reduce((a, b) => Math.max(a, b), 0) || 1,
    finite.reduce((a, b) => Math.min(a, b), Infinity)];
  const traces = [], entries = [];
  runs.content.outcomes.forEach((name, code) => {
    const rows = [];
    runs.outcome.codes.forEach((own, row) => { if (own === code) rows.push(row); });
    if (!rows.length) return;
    const missing = (row) => !Number.isFinite(measure.numbers[row]);
    traces.push({ type: rows.length > 2000 ? "scattergl" : "scatter", mode: "markers", name,
      x: rows.map((row) => axis.numbers[row]), customdata: rows, hoverinfo: "none",
      y: rows.map((row) => (missing(row) ? top
        : measure.log ? Math.max(measure.numbers[row], bottom) : measure.numbers[row])),
      marker: { color: colorOf(name, code), size: 8, line: { width: 0.5, color: "#555" },
        symbol: rows.map((row) => (missing(row) ? "x" : "circle")) } });
    entries.push([colorOf(name, code), name]);
  });
  keys.replaceChildren(...legend(entries));
  const yaxis = { title: { text: plain(measure.name) }, type: measure.log ? "log" : "linear",
    exponentformat: "power", automargin: true };
  Plotly.react(plot, traces, { ...LAYOUT, showlegend: false, xaxis: plotAxis(axis), yaxis }, CONFIG);
  const some = measure.numbers.some((value) => !Number.isFinite(value));
  said.replaceChildren(behind(runs, some ? `; a cross at the top has no finite ${measure.name}` : ""));
  listen(plot, (point) => point.customdata, (row) => describe(runs, row), runs, box);
}

// A pointer over a picture shows the run there, a click keeps it below.
function listen(plot, rowOf, lines, runs, box) {
  for (const name of ["plotly_hover", "plotly_unhover", "plotly_click"]) plot.removeAllListeners(name);
  const found = (data) => [...data.points].reverse().map((point) => [rowOf(point), point])
    .find(([row]) => row !== undefined && row >= 0);
  plot.on("plotly_hover", (data) => {
    const own = found(data);
    if (own) tip(data.event, lines(...own));
  });
  plot.on("plotly_unhover", () => tip(null, null));
  plot.on("plotly_click", (data) => {
    const own = found(data);
    if (own) choose(runs, box, own[0]);
  });
}

// The loss over one or two parameters, the ways of some runs, and the critical rate.

function drawSurface(runs, place, buffer) {
  const told = runs.content.surface;
  const loss = readArray(buffer, told.loss), ways = readArray(buffer, told.ways);
  const found = { told, loss, ways, axes: told.axes,
    sharpness: told.sharpness ? readArray(buffer, told.sharpness) : null };
  const plot = make("div", { class: "plot" }), keys = make("div", { class: "legend" });
  const choices = make("div", { class: "choices" }), box = chosenBox();
  place.append(choices, plot, keys, sayRows(runs, told), box);
  const rates = told.rates ? [...new Set(told.rates)].sort((one, two) => one - two) : [];
  const state = { rate: rates[Math.floor(rates.length / 2)] };
  const draw = () => {
    choices.replaceChildren(...(rates.length && told.names.length === 2 ? [select("critical for the learning rate",
      rates.map((rate) => [String(rate), show(rate)]), String(state.rate), (value) => {
        state.rate = Number(value);
        draw();
      })] : []));
    const drawn = told.names.length === 2 ? overTwo(runs, found, state) : overOne(runs, found);
    keys.replaceChildren(...legend(drawn.entries));
    Plotly.react(plot, drawn.traces, { ...LAYOUT, showlegend: false, ...drawn.axes }, CONFIG);
    listen(plot, (point) => (point.customdata?.length ? runs.row(point.customdata[0]) : undefined),
      (row, point) => [["epoch", String(point.customdata[1])], ...describe(runs, row)], runs, box);
  };
  draw();
}

function sayRows(runs, told) {
  const [used, rows] = told.data;
  const of = used < rows ? `${used.toLocaleString("en")} of ${count(rows, "row")}, evenly spaced`
    : count(rows, "row");
  const { critical } = told, said = [];
  if (told.sharpness && told.names.length === 2) {
    said.push("The dashed line is where the learning rate times the sharpness (the largest " +
      "eigenvalue of the Hessian) is 2: on its far side gradient descent cannot settle.");
  }
  if (critical) {
    said.push(`Where run ${critical.run}, the best of those drawn, ended, the sharpness is ${
      show(critical.sharpness)}: the critical rate there is ${show(2 / critical.sharpness)}.`);
  }
  if (!told.sharpness) {
    said.push("No critical rate is shown: it holds for gradient descent with one learning rate.");
  }
  return make("div", {}, make("p", { class: "soft" }, said.join(" ")),
  make("p", { class: "behind" }, `Behind this picture: ${count(told.rows.length, "run")} of ${
    runs.content.runs.toLocaleString("en")}, evenly spaced among all; the loss of ${of}.`));
}

// One line for each outcome, with a gap between two runs.
function waysOf(runs, { told, ways }, toPoint) {
  const traces = [], entries = [], size = told.names.length, length = told.steps.length;
  runs.content.outcomes.forEach((name, code) => {
    const own = told.rows.map((_, place) => place).filter((place) => told.outcome[place] === code);
    if (!own.length) return;
    const line = { x: [], y: [], customdata: [] };
    for (const place of own) {
      for (let at = 0; at < length; at++) {
        const start = (place * length + at) * size;
        const [x, y] = toPoint([...ways.subarray(start, start + size)]);
        line.x.push(Number.isFinite(x) ? x : null);
        line.y.push(Number.isFinite(y) ? y : null);
        line.customdata.push([told.rows[place], told.steps[at]]);
      }
      line.x.push(null);
      line.y.push(null);
      line.customdata.push([]);
    }
    const color = colorOf(name, code);
    traces.push({ type: "scatter", mode: "lines+markers", ...line, hoverinfo: "none",
      line: { color, width: 1.6 }, marker: { color, size: 5, line: { width: 0.5, color: "#fff" } } });
    entries.push([color, name]);
  });
  return { traces, entries };
}

function overTwo(runs, found, state) {
  const { told, loss, sharpness, axes: [x, y] } = found;
  const matrix = (values, change) => y.map((_, j) => x.map((__, i) => change(values[i * y.length + j])));
  let smallest = Infinity, largest = 0;
  for (const value of loss) {
    if (value > 0 && value < smallest) smallest = value;
    if (value > largest) largest = value;
  }
  const floor = Math.max(smallest, largest * 1e-8);
  const log = (value) => (Number.isFinite(value) ? Math.log10(Math.max(value, floor)) : null);
  const { traces, entries } = waysOf(runs, found, ([one, two]) => [one, two]);
  const back = [{ type: "contour", x, y, z: matrix(loss, log), hoverinfo: "skip", ncontours: 24,
    colorscale: "Greys", reversescale: true, contours: { coloring: "heatmap" },
    line: { width: 0.5, color: "#888" }, colorbar: { title: { text: "loss", side: "right" },
      ...ticks(Math.log10(floor), Math.log10(largest), true) } }];
  if (sharpness) {
    back.push({ type: "contour", x, y, z: matrix(sharpness, (value) => value * state.rate / 2),
      hoverinfo: "skip", showscale: false, autocontour: false,
      contours: { start: 1, end: 1, size: 1, coloring: "none" },
      line: { width: 2.5, color: "#d55e00", dash: "dash" } });
    entries.push(["#d55e00", `rate × sharpness = 2 at the rate ${show(state.rate)}`]);
  }
  const axis = (place) => ({ title: { text: plain(told.names[place]) },
    range: [told.axes[place][0], told.axes[place].at(-1)] });
  return { traces: [...back, ...traces], entries, axes: { xaxis: axis(0), yaxis: axis(1) } };
}

function overOne(runs, found) {
  const { told, loss, axes: [x] } = found;
  const at = (value) => {
    const place = Math.round(((value - x[0]) / (x.at(-1) - x[0])) * (x.length - 1));
    return loss[place] ?? NaN;
  };
  const { traces, entries } = waysOf(runs, found, ([one]) => [one, at(one)]);
  const curve = { type: "scatter", mode: "lines", x, y: [...loss], hoverinfo: "skip",
    line: { color: "#555", width: 2 } };
  entries.push(["#555", "loss"]);
  return { traces: [curve, ...traces], entries,
    axes: { xaxis: { title: { text: plain(told.names[0]) }, range: [x[0], x.at(-1)] },
      yaxis: { title: { text: "loss" } } } };
}

// Parallel coordinates: each run is a line through its settings and results.

const MOST_LINES = 2000, MOST_BEST = 200;

function drawParallel(runs, place) {
  const rows = sample(runs);
  const names = runs.measures.map(({ name }) => [name, name]);
  const state = { color: runs.content.objective };
  const choices = make("div", { class: "choices" });
  const plot = make("div", { class: "plot" }), said = make("p", { class: "soft", role: "status" });
  const box = chosenBox();
  const more = rows.length < runs.count
    ? `; drawn are the best ${MOST_BEST} and ${(rows.length - MOST_BEST).toLocaleString("en")} more`
    : "";
  box.textContent = "Drag along an axis to choose a range: the best run within all ranges is here.";
  place.append(choices, plot, said, behind(runs, more), box);
  const columns = [...runs.axes, ...shownMeasures(runs)];
  const longest = Math.max(0, ...(columns[0].labels ?? []).map((label) => label.length));
  const left = Math.min(Math.max(80, 20 + 7 * longest), 240);
  const draw = () => {
    choices.replaceChildren(select("colour", names, state.color, (value) => {
      state.color = value;
      draw();
    }));
    const color = scaled(runs.measure(state.color), rows);
    Plotly.react(plot, [{
      type: "parcoords", dimensions: columns.map((column) => dimension(column, rows)),
      labelfont: { size: 13 }, line: { color: color.values, colorscale: "Viridis", showscale: true,
        cmin: color.low, cmax: color.high,
        colorbar: { title: { text: plain(state.color), side: "right" },
          ...ticks(color.low, color.high, color.log) } },
    }], { ...LAYOUT, margin: { l: left, r: 40, t: 60, b: 30 } }, CONFIG);
    plot.removeAllListeners("plotly_restyle");
    plot.on("plotly_restyle", () => sayChosen(runs, rows, plot.data[0].dimensions, said, box));
  };
  draw();
}

function shownMeasures(runs) {
  const wanted = [runs.content.objective, "loss", "val_accuracy", "accuracy", "sharpness", "epochs"];
  return [...new Set(wanted)].map((name) => runs.measure(name)).filter((found) => found).slice(0, 4);
}

// The best runs, and others evenly spaced among all.
function sample(runs) {
  const all = Array.from({ length: runs.count }, (_, row) => row);
  if (all.length <= MOST_LINES) return all;
  const best = [...all].sort((one, two) => runs.objective[one] - runs.objective[two] || 0)
    .slice(0, MOST_BEST);
  const chosen = new Set(best), step = runs.drawn / (MOST_LINES - MOST_BEST);
  // A step that is no whole number meets each value of an axis of a grid.
  for (let at = 0; at < runs.drawn; at += step * 1.0137) chosen.add(Math.floor(at));
  return [...chosen];
}

// Values on the scale on which they are drawn; infinite ones at its end.
function scaled(column, rows) {
  let low = Infinity, high = -Infinity, smallest = Infinity;
  const log = Boolean(column.log);
  const own = rows.map((row) => column.numbers[row]);
  for (const value of own) if (value > 0 && value < smallest) smallest = value;
  const values = own.map((value) => (log ? Math.log10(Math.max(value, smallest)) : value));
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (!(low <= high)) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 0.5, high + 0.5];
  return { values: values.map((value) => (Number.isFinite(value) ? value : value < 0 ? low : high)),
    low, high, log };
}

function dimension(column, rows) {
  const label = plain(column.name);
  if (column.labels) {
    return { label, values: rows.map((row) => column.numbers[row]),
      tickvals: column.labels.map((_, place) => place), ticktext: column.labels.map(plain),
      range: [-0.3, column.labels.length - 0.7] };
  }
  const { values, low, high, log } = scaled(column, rows);
  const few = column.distinct && column.distinct.length <= 12 ? [...column.distinct] : null;
  const own = few && few.every((value) => !log || value > 0)
    ? { tickvals: few.map((value) => (log ? Math.log10(value) : value)),
      ticktext: few.map((value) => show(value, 3)) }
    : ticks(low, high, log);
  return { label, values, range: [low, high], ...own };
}

function sayChosen(runs, rows, dimensions, said, box) {
  const within = (value, ranges) => ranges === undefined || (Array.isArray(ranges[0]) ? ranges
    : [ranges]).some(([low, high]) => value >= low && value <= high);
  const kept = rows.filter((_, place) => dimensions.every((one) =>
    within(one.values[place], one.constraintrange ?? undefined)));
  said.textContent = `${count(kept.length, "run")} of the ${
    rows.length.toLocaleString("en")} drawn ${kept.length === 1 ? "is" : "are"} within the ranges.`;
  if (!kept.length) return;
  const best = kept.reduce((one, two) => (runs.objective[two] < runs.objective[one] ? two : one));
  choose(runs, box, best, "The best of them: ");
}

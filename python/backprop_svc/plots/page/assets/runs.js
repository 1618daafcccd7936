// All runs of the sweep: their settings, results and outcomes, by row.

function readRuns(content, buffer) {
  const read = (one) => ({ ...one, ...readColumn(buffer, one.column) });
  const some = content.sample ?? null;
  const runs = {
    content, count: content.outcome.codes.length,
    // Of a sample: the first so many were drawn by chance, the others are the best of cells.
    drawn: some ? some.drawn : content.runs,
    axes: content.axes.map(read), measures: content.measures.map(read),
    outcome: readColumn(buffer, content.outcome),
  };
  // A row of the page is a run of the sweep, or one of a sample.
  const positions = some ? readArray(buffer, some.rows) : null;
  runs.position = (row) => (positions ? positions[row] : row);
  const places = positions ? new Map([...positions].map((position, row) => [position, row])) : null;
  runs.row = (position) => (places ? places.get(position) : position);
  runs.axis = (name) => runs.axes.find((axis) => axis.name === name);
  runs.measure = (name) => runs.measures.find((measure) => measure.name === name);
  runs.outcomes = content.outcomes.filter((_, code) => runs.outcome.codes.includes(code));
  const objective = runs.measure(content.objective).numbers;
  const diverged = content.outcomes.indexOf("diverged");
  // The smallest is the best, whatever the metric; a run that diverged is none.
  runs.objective = Float64Array.from(objective, (value, row) =>
    (runs.outcome.codes[row] === diverged || Number.isNaN(value) ? Infinity
      : content.maximized ? -value : value));
  return runs;
}

function valueOf(column, row) {
  const value = column.numbers[row];
  return column.labels ? column.labels[value] : show(value, column.distinct ? 6 : 4);
}

// What a run is, as rows of a table.
function describe(runs, row) {
  return [
    ...runs.axes.map((axis) => [axis.name, valueOf(axis, row)]),
    ...runs.measures.map((measure) => [measure.name, valueOf(measure, row)]),
    ["outcome", runs.outcome.labels[runs.outcome.codes[row]]],
    ["run", String(runs.position(row))],
  ];
}

// Show a run below a picture, with its link.
function choose(runs, box, row, before = null) {
  const rows = describe(runs, row).filter(([name]) => name !== "run");
  box.replaceChildren(
    make("div", {}, before, runLink(runs.content, runs.position(row))),
    table(rows.map(([name]) => name), [rows.map(([, value]) => value)]),
  );
}

function chosenBox() {
  return make("div", { class: "chosen soft" }, "Click a run to see it here, with its link.");
}

// What pictures say of how many runs are behind them.
function behind(runs, more = "") {
  const { content } = runs;
  const all = count(content.runs, "run");
  const held = runs.count < content.runs
    ? `; the page holds ${runs.count.toLocaleString("en")} of them: the best of each cell of ` +
      `each map, and ${runs.drawn.toLocaleString("en")} drawn by chance`
    : "";
  return make("p", { class: "behind" }, `Behind this picture: ${all}${held}${more}.`);
}

// How losses fall and the sharpness rises: bands of quantiles of all histories, and single ones.

const BANDS = [[0.05, 0.95, "5 to 95 %"], [0.25, 0.75, "25 to 75 %"]];

function drawCurves(runs, place, buffer) {
  const told = runs.content.curves;
  const histories = Object.fromEntries(Object.entries(told.histories)
    .map(([name, column]) => [name, readArray(buffer, column)]));
  const names = Object.keys(histories);
  const state = { name: "loss", what: "bands", x: "linear", y: "log", of: "all" };
  const choices = make("div", { class: "choices" });
  const plot = make("div", { class: "plot" }), keys = make("div", { class: "legend" });
  const said = make("p", { class: "behind" }), box = chosenBox();
  place.append(choices, plot, keys, said, box);
  const present = runs.content.outcomes.filter((_, code) => told.outcome.includes(code));
  const draw = () => {
    const set = (key) => (value) => { state[key] = value; draw(); };
    const scales = [["log", "logarithmic"], ["linear", "linear"]];
    choices.replaceChildren(
      ...(names.length > 1
        ? [select("history", names.map((name) => [name, name]), state.name, set("name"))] : []),
      select("show", [["bands", "bands of quantiles"], ["single", "single runs"]], state.what,
        set("what")),
      select("outcome", [["all", "all"], ...present.map((name) => [name, name])], state.of,
        set("of")),
      select("scale", scales, state.y, set("y")), select("epochs", scales, state.x, set("x")),
    );
    const kept = told.rows.map((_, place) => place).filter((place) => state.of === "all"
      || runs.content.outcomes[told.outcome[place]] === state.of);
    const curves = { ...told, loss: histories[state.name], kept, width: told.epochs.length,
      // Epoch 0 has no logarithm.
      x: told.epochs.map((epoch) => epoch + (state.x === "log" ? 1 : 0)) };
    const { traces, entries } = state.what === "bands" ? bands(curves) : single(runs, curves);
    keys.replaceChildren(...legend(entries));
    Plotly.react(plot, traces, { ...LAYOUT, showlegend: false,
      xaxis: { title: { text: state.x === "log" ? "epoch + 1" : "epoch" }, type: state.x },
      yaxis: { title: { text: state.name }, type: state.y, exponentformat: "power",
        automargin: true } }, CONFIG);
    const all = runs.content.runs;
    said.textContent = `Behind this picture: ${count(kept.length, "run")}${kept.length < all
      ? ` of ${all.toLocaleString("en")}; the histories of ${count(told.rows.length, "run")}, ` +
        "evenly spaced among all, are here" : ""}. A run that diverged counts as the worst.`;
    listen(plot, (point) => (point.customdata?.length ? runs.row(point.customdata[0]) : undefined),
      (row, point) => [["epoch", String(point.customdata[1])], [`${state.name} then`, show(point.y)],
        ...describe(runs, row)], runs, box);
  };
  draw();
}

function bands({ loss, kept, width, x }) {
  const sorted = x.map((_, at) => Float64Array.from(kept, (place) => {
    const value = loss[place * width + at];
    return Number.isNaN(value) ? Infinity : value;
  }).sort());
  const quantile = (share) => sorted.map((own) => {
    const value = own[Math.min(own.length - 1, Math.floor(share * own.length))];
    return Number.isFinite(value) && value > 0 ? value : null;
  });
  const top = Math.max(...sorted.map((own) => own.findLast?.(Number.isFinite) ?? 0));
  const line = (y, more) => ({ type: "scatter", mode: "lines", x, y, hoverinfo: "none", ...more });
  const traces = [], entries = [], shades = ["#cfe3f1", "#8fbfe0"];
  BANDS.forEach(([low, high, name], place) => {
    traces.push(line(quantile(low).map((value) => value ?? 1e-300), { line: { width: 0 } }),
      line(quantile(high).map((value) => value ?? top), { line: { width: 0 }, fill: "tonexty",
        fillcolor: shades[place] }));
    entries.push([shades[place], name]);
  });
  traces.push(line(quantile(0.5), { line: { color: "#004a75", width: 2.5 } }),
    line(quantile(0), { line: { color: "#d55e00", width: 2, dash: "dot" } }));
  entries.push(["#004a75", "median"], ["#d55e00", "lowest of each epoch"]);
  return { traces, entries };
}

function single(runs, { loss, kept, width, x, epochs, rows, outcome }) {
  const traces = [], entries = [];
  runs.content.outcomes.forEach((name, code) => {
    const own = kept.filter((place) => outcome[place] === code);
    if (!own.length) return;
    const found = { x: [], y: [], customdata: [] };
    for (const place of own) {
      for (let at = 0; at < width; at++) {
        const value = loss[place * width + at];
        found.x.push(x[at]);
        found.y.push(Number.isFinite(value) ? value : null);
        found.customdata.push([rows[place], epochs[at]]);
      }
      // A gap between two runs.
      found.x.push(null);
      found.y.push(null);
      found.customdata.push([]);
    }
    traces.push({ type: "scatter", mode: "lines", name, ...found, hoverinfo: "none",
      line: { color: colorOf(name, code), width: 1.2 }, opacity: 0.75 });
    entries.push([colorOf(name, code), name]);
  });
  return { traces, entries };
}

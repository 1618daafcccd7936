// What won: settings by their mean over seeds, and single runs.

function drawBest(runs, place) {
  const { content } = runs;
  const { best, settings, objective } = content;
  if (!best.length) {
    place.append(make("p", {}, "No run has a finite loss: none is the best."));
    return;
  }
  const names = content.axes.map((axis) => axis.name);
  const won = content.maximized ? "largest" : "smallest";
  if (settings && settings.length) {
    const own = content.axes.filter((axis) => !axis.seed).map((axis) => axis.name);
    place.append(make("p", {}, `Settings with the ${won} mean ${objective} over the seeds:`));
    place.append(table([...own, `mean ${objective}`, "± deviation", "runs", "its best run"],
      settings.map((one) => [
        ...own.map((name) => show(one.settings[name], 6)), one.mean === null ? "–" : show(one.mean),
        one.deviation === null ? "–" : `± ${show(one.deviation, 2)}`, one.failed ? `${one.runs}, ${one.failed} failed` : String(one.runs),
        runLink(content, one.run),
      ])));
    place.append(make("p", { class: "behind" },
      `Behind this table: ${count(content.runs, "run")}. A setting of which runs failed comes ` +
      "behind those of which fewer did."));
  }
  const results = Object.keys(best[0].results).filter((name) => !["outcome", "diverged_at"]
    .includes(name) && best.some((run) => run.results[name] !== best[0].results[name]));
  if (!results.includes(objective)) results.unshift(objective);
  place.append(make("p", {}, `Runs with the ${won} ${objective}:`));
  place.append(table([...names, ...results, "outcome", "run"], best.map((run) => [
    ...names.map((name) => show(run.settings[name], 6)),
    ...results.map((name) => show(run.results[name])), run.results.outcome,
    runLink(content, run.run),
  ])));
  place.append(make("p", { class: "behind" }, `The best ${best.length} of ${
    count(content.runs, "run")}.`));
}

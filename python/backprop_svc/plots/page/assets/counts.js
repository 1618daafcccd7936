// How many runs ended in which way.

function drawCounts(runs, place) {
  const { counts, runs: all, outcomes } = runs.content;
  const rows = outcomes.map((name, code) => [name, counts[code], colorOf(name, code)])
    .filter(([, number]) => number > 0);
  place.append(table(["outcome", "runs", "share", ""], rows.map(([name, number, color]) => [
    make("span", {}, ...legend([[color, name]])), number.toLocaleString("en"),
    `${show((100 * number) / all, 3)} %`,
    make("span", { class: "bar", style: `background:${color};width:${(360 * number) / all}px` }),
  ])));
  place.append(make("p", { class: "behind" }, `Behind this table: ${count(all, "run")}.`));
}

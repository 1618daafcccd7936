// How much of the differences between the runs each axis explains.

function drawImportance(runs, place) {
  const found = runs.content.importance;
  const percent = (share) => `${show(100 * share, 3)} %`;
  const bar = (share, color) => make("span", { class: "bar",
    style: `background:${color};width:${Math.round(260 * share)}px` });
  place.append(make("p", {}, `The share of the variance of the ranks of ${
    runs.content.objective} that an axis explains: alone, and together with the axis with ` +
    "which it explains most. A run that diverged has the worst rank. A large share only " +
    "together means that the value to choose depends on the other axis."));
  place.append(table(["axis", "alone", "", "together", "", "with"], found.axes.map((one) => [
    one.name, percent(one.alone), bar(one.alone, "#0072b2"),
    one.with === null ? "–" : percent(one.best), bar(one.best, "#e69f00"), one.with ?? "–",
  ])));
  const all = runs.content.runs;
  place.append(make("p", { class: "behind" }, `Behind this table: ${found.runs < all
    ? `${found.runs.toLocaleString("en")} of ${count(all, "run")}, drawn by chance`
    : count(all, "run")}. Seeds are not axes here: what they change is what is left.`));
}

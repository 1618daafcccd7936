// Reads what the page holds, and draws one picture after the other.

async function begin() {
  const content = JSON.parse(document.getElementById("content").textContent);
  const page = document.getElementById("page");
  const buffer = await unpack("columns");
  const code = new TextDecoder().decode(await unpack("plotly"));
  const script = document.createElement("script");
  script.textContent = code;
  document.head.append(script);
  const runs = readRuns(content, buffer);
  page.replaceChildren(
    make("h1", {}, `Sweep ${content.sweep}`),
    make("p", { class: "soft" }, `${count(content.runs, "run")} over ${
      count(content.axes.length, "axis")}: ${content.axes.map(({ name }) => name).join(", ")
    }. backprop-svc ${content.version}.`),
    ...(content.rounded ? [make("p", { class: "soft" }, "Numbers in pictures are rounded to some " +
      "three digits; those in tables are exact.")] : []),
  );
  const parts = [
    ["What won", "best", drawBest, true],
    ["Outcomes", "counts", drawCounts, true],
    ["Map", "map", drawMap, true],
    ["Parallel coordinates", "parallel", drawParallel, runs.axes.length > 0],
    ["Importance", "importance", drawImportance,
      content.importance !== null && content.importance.axes.length > 0],
    ["Curves", "curves", drawCurves, content.curves !== null],
    ["Surface", "surface", drawSurface, content.surface !== null],
  ];
  for (const [title, id, draw, there] of parts) {
    if (!there) continue;
    const place = section(title, id);
    try {
      draw(runs, place, buffer);
    } catch (error) {
      place.append(make("p", { class: "error" }, `This part could not be drawn: ${error.message}`));
      console.error(error);
    }
  }
  document.body.dataset.ready = "yes";
}

begin().catch((error) => {
  const said = `This page could not be read: ${error.message}. It needs a browser of 2023 or later.`;
  document.getElementById("page").replaceChildren(make("p", { class: "error" }, said));
});

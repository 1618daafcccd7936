// The page of a walk: the network, then each step of the chain rule.

function beginWalk() {
  const content = JSON.parse(document.getElementById("content").textContent);
  const page = document.getElementById("page");
  page.className = "walk";
  page.append(make("h1", {}, "A walk through the chain rule"), make("p", {}, content.title));
  if (content.told) page.append(make("p", { class: "soft" }, content.told));
  const drawing = section(`The network: L = ${show(content.loss, 8)}`, "network");
  drawNetwork(content, drawing);
  content.sections.forEach(({ title, steps }, place) => {
    const own = section(title, `steps-${place}`);
    const checked = steps.some((step) => step.check);
    const heads = ["", "formula", "numbers", "value", ...(checked ? ["finite difference"] : [])];
    own.append(table(heads, steps.map((step) => [step.name, step.formula, step.numbers,
      show(step.value, 10), ...(checked ? [checkOf(step.check)] : [])])));
  });
  document.body.dataset.ready = "yes";
}

function checkOf(check) {
  if (!check) return "at the kink";
  return `${show(check.value, 6)} ${check.error < 1e-5 ? "✓" : "✗"}`;
}

beginWalk();

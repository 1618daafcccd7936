// Texts, numbers and elements. What comes from the data is only ever text, never HTML.

const COLORS = {
  converged: "#0072b2", stalled: "#e69f00", dead: "#a6a6a6", oscillating: "#cc79a7",
  chaotic: "#56b4e9", diverged: "#222222", unresolved: "#f0e442",
};
const OTHER_COLORS = ["#009e73", "#d55e00", "#7f3c8d", "#80ba5a"];

// Okabe and Ito's colours, which people with any kind of colour vision tell apart.
function colorOf(outcome, position) {
  return COLORS[outcome] ?? OTHER_COLORS[position % OTHER_COLORS.length];
}

// make("p", { class: "soft" }, "text", element, …); functions are listeners.
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value !== false && value != null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

// Plotly takes some HTML in texts: these signs are then shown as they are.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function show(value, digits = 4) {
  if (typeof value === "string") return value;
  if (value == null || Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  const text = size < 1e-3 || size >= 1e6
    ? value.toExponential(digits - 1).replace(/\.?0+e/, "e").replace("e+", "e")
    : String(Number(value.toPrecision(digits)));
  return text;
}

function count(number, what) {
  const plural = /axis$/.test(what) ? what.replace(/is$/, "es") : `${what}s`;
  return `${number.toLocaleString("en")} ${number === 1 ? what : plural}`;
}

// Ticks that can be read: powers of ten, or 1, 2 and 5 times them where there are few.
function ticks(low, high, log) {
  if (!log) return {};
  const found = [], [from, to] = [Math.floor(low), Math.ceil(high)];
  const every = Math.max(1, Math.ceil((to - from) / 8));
  const parts = to - from <= 2 ? [1, 2, 5] : [1];
  for (let power = Math.ceil(from / every) * every; power <= to; power += every) {
    for (const part of parts) {
      const at = power + Math.log10(part);
      if (at >= low - 1e-9 && at <= high + 1e-9) found.push(at);
    }
  }
  const all = found.length > 1 ? found : [low, (low + high) / 2, high];
  return { tickvals: all, ticktext: all.map((at) => show(10 ** at, 3)) };
}

function select(label, options, chosen, changed) {
  const box = make("select", { "aria-label": label, change: () => changed(box.value) });
  for (const [value, text] of options) {
    box.append(make("option", { value, selected: value === chosen ? "" : null }, text));
  }
  return make("label", {}, label, box);
}

function table(heads, rows) {
  const cell = (content) => make("td", { title: typeof content === "string" ? content : null },
    content);
  return make("div", { class: "wide" }, make("table", {},
    make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", {}, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row.map(cell))))));
}

function legend(entries) {
  return entries.map(([color, text]) => make("span", {},
    make("span", { class: "key", style: `background:${color}` }), text));
}

function section(title, id) {
  const found = make("section", { id }, make("h2", {}, title));
  document.getElementById("page").append(found);
  return found;
}

// A table beside the pointer.
function tip(event, rows) {
  const box = document.getElementById("tip");
  if (!rows) { box.hidden = true; return; }
  box.replaceChildren(make("table", {}, ...rows.map(([name, value]) =>
    make("tr", {}, make("td", {}, name), make("td", {}, value)))));
  box.hidden = false;
  const { clientX: x, clientY: y } = event;
  box.style.left = `${Math.max(4, Math.min(x + 16, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${Math.max(4, Math.min(y + 16, innerHeight - box.offsetHeight - 8))}px`;
}

const LAYOUT = {
  margin: { l: 70, r: 20, t: 10, b: 55 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff",
  font: { family: "system-ui, sans-serif", size: 13 }, hovermode: "closest",
};
const CONFIG = { displaylogo: false, responsive: true };

// From a run of the report to its page in MLflow.

// MLflow shows the report in a frame whose document is a blob. There a link leads nowhere: the
// frame may neither open a page nor leave the one that it is on.
const IN_MLFLOW = location.protocol === "blob:";

function runId(content, row) {
  return content.sweep + row.toString(16).padStart(16, "0");
}

// The part of the address behind "#"; where a server gave the ids, a search finds the run.
function pageOf(content, row) {
  const { experiment, parent: owner, numbered } = content.place;
  const start = `#/experiments/${encodeURIComponent(experiment)}/runs`;
  const training = "?workflowType=machine_learning";
  if (numbered) return `${start}/${runId(content, row)}${training}`;
  const search = `tags.\`mlflow.parentRunId\` = '${owner}' and tags.\`backprop.index\` = '${row}'`;
  // Runs in an order of their own are listed by themselves, and not below their parent.
  const order = "&orderByKey=" + encodeURIComponent("metrics.`loss`") + "&orderByAsc=true";
  return `${start}${training}&searchFilter=${encodeURIComponent(search)}${order}`;
}

function addressOf(content, row) {
  const origin = IN_MLFLOW ? location.href.slice("blob:".length).replace(/\/[^/]*$/, "") : null;
  const usable = origin !== null && /^https?:/.test(origin) ? origin : content.place.address;
  return `${usable}/${pageOf(content, row)}`;
}

// Click a link in MLflow's own document, which may go where it likes. Some versions let the
// frame reach it.
function clickOutside(page) {
  try {
    const outside = window.parent.document;
    const link = outside.createElement("a");
    link.href = page;
    outside.body.append(link);
    link.click();
    link.remove();
    return true;
  } catch {
    return false;
  }
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const box = make("textarea", { style: "position:fixed;opacity:0" });
    box.value = text;
    document.body.append(box);
    box.select();
    const done = document.execCommand("copy");
    box.remove();
    return done;
  }
}

// The name of a run: a link where it is tracked, and a button that copies its id.
function runLink(content, row) {
  if (content.place === null) return make("span", { class: "run" }, `run ${row}`);
  const { numbered } = content.place;
  const id = numbered ? runId(content, row) : `run ${row}`;
  const said = make("span", { class: "said", role: "status" });
  const copied = numbered ? id : addressOf(content, row);
  const what = numbered ? "the id" : "the address";
  const tell = async (before) => {
    said.textContent = await copy(copied)
      ? `${before}${what} is copied`
      : `${before}copy ${what}: ${copied}`;
    setTimeout(() => { said.textContent = ""; }, 10_000);
  };
  const click = (event) => {
    if (!IN_MLFLOW) return;
    event.preventDefault();
    if (!clickOutside(pageOf(content, row))) {
      tell("This frame of MLflow lets no link out. Open the link in a new tab with the other " +
        "mouse button, or search for the run: ");
    }
  };
  const link = make("a", {
    href: addressOf(content, row), target: "_blank", rel: "noopener", title: "open in MLflow",
    click,
  }, id);
  const button = make("button", { type: "button", title: `copy ${what}`, click: () => tell("") },
    "copy");
  return make("span", { class: "run" }, link, button, said);
}

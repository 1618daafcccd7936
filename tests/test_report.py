"""The report of a sweep: what is in it, and what somebody who opens it in a browser sees."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import backprop_svc as bp
import stores
from backprop_svc.datasets import Dataset
from backprop_svc.plots.page import page
from backprop_svc.plots.page.assemble import as_script
from backprop_svc.plots.page.axes import PageAxis, axes_of
from backprop_svc.plots.page.importance import importance
from backprop_svc.plots.page.sample import sample
from backprop_svc.plots.page.surface import sharpness
from backprop_svc.plots.page.winners import best_runs
from backprop_svc.plots.sweep import curves_png, map_png
from backprop_svc.sweep.curves import sample_curves
from backprop_svc.sweep.description import range_text
from backprop_svc.tracking.links import Place
from command import call

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

GUIDE = bp.Network(1, 1, 1)
EVIL = "</script><img src=x onerror='window.pwned=1'>\"'<svg onload=window.pwned=1>&lt;%{x}"
"""What would run in MLflow's origin if any of it were taken for HTML."""
BROWSER = shutil.which("chromium")
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here; install it with: apt-get install chromium"
)


def small(**more: Any) -> bp.Outcomes:
    axes: dict[str, Any] = {
        "lr": bp.LogInterval(0.01, 1),
        "w1": np.linspace(-1, 2, 7),
        "w2": [0.5, 1],
    }
    return bp.sweep(GUIDE, 2.0, 3.0, axes, points=12, epochs=30, progress=False, **more)


def told(html: str) -> Any:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', html)
    assert found
    return json.loads(found[1])


def test_numbers_that_lie_on_no_scale_are_drawn_evenly() -> None:
    axes: dict[str, Any] = {
        "w1": [0.1, 0, 1e-4, 1e-3, 1e-2],
        "lr": [0.01, 0.1, 1.0],
        "w2": [1, 2, 4],
    }
    found = bp.sweep(GUIDE, 2.0, 3.0, axes, progress=False)
    w1, lr, w2 = axes_of(found)
    assert w1.labels == ["0", "0.0001", "0.001", "0.01", "0.1"]
    told = [w1.labels[code] for code in w1.values[::9]]
    assert told == ["0.1", "0", "0.0001", "0.001", "0.01"]
    assert lr.log
    assert lr.labels is None
    assert w2.labels is None


def configured(name: str, *values: Any) -> PageAxis | None:
    """Return the axis of a setting that is composed, of which a page is told."""
    one = bp.sweep(GUIDE, 2.0, 3.0, {"lr": [0.1]}, progress=False)
    several = bp.Outcomes.join([one.with_settings({name: value}) for value in values])
    return next(iter(axes_of(several)), None)


def test_settings_that_are_written_as_numbers_are_numbers() -> None:
    epochs = configured("train.epochs", "1e3", "10", "100", "10")
    assert epochs is not None
    assert epochs.labels is None
    assert epochs.log
    assert epochs.values.tolist() == [1000, 10, 100, 10]
    # One number, however it is written, is no axis.
    assert configured("train.weight_decay", "0.10", "0.1") is None


def test_numbers_come_before_what_is_none() -> None:
    batches = configured("train.batch_size", "null", "16", "4", None, True, "inf", "''")
    assert batches is not None
    assert batches.labels == ["4", "16", "null", "true", "inf", "''"]
    assert batches.values.tolist() == [2, 1, 0, 2, 3, 4, 5]


def test_texts_that_are_long_stay_apart() -> None:
    long = [f"[{'the same beginning, ' * 5}{n}{', and the same end' * 5}]" for n in range(3)]
    texts = configured("data.x", *long, "[a  b]", "[a b]")
    assert texts is not None
    assert texts.labels is not None
    assert len({*texts.labels}) == 5
    assert max(map(len, texts.labels)) < 70
    assert ["0" in label for label in texts.labels[:3]] == [True, False, False]


def test_one_axis_explains_what_depends_on_it_alone() -> None:
    a, b = (x.ravel() for x in np.meshgrid(np.arange(8.0), np.arange(8.0)))
    found = {one["name"]: one for one in importance({"a": a, "b": b}, np.exp(a))["axes"]}
    assert found["a"]["alone"] == pytest.approx(1)
    # Less than what chance would give is nothing.
    assert found["b"]["alone"] == 0


def test_two_axes_can_explain_together_what_neither_does_alone() -> None:
    a, b = (np.tile(x.ravel(), 5) for x in np.meshgrid([0.0, 1.0], [0.0, 1.0]))
    found = importance({"a": a, "b": b}, np.where(a == b, 1.0, np.inf))
    for one in found["axes"]:
        assert one["alone"] == 0
        assert one["best"] == pytest.approx(1)
    assert [one["with"] for one in found["axes"]] == ["b", "a"]


def test_explained_variance_is_that_of_the_textbook() -> None:
    # Five runs of each rank, so that there are as many groups as values of the axis.
    group = np.tile(np.repeat([0.0, 1.0, 2.0], 3), 5)
    loss = np.tile([1.0, 2, 4, 3, 5, 7, 6, 8, 9], 5)
    ranks = 5 * loss - 2
    parts = [ranks[group == one] for one in (0, 1, 2)]
    from scipy import stats

    statistic = stats.f_oneway(*parts).statistic
    (one,) = importance({"g": group}, loss)["axes"]
    # ω² of Hays by the F of the analysis of variance.
    assert one["alone"] == pytest.approx(2 * (statistic - 1) / (2 * (statistic - 1) + 45))


def test_the_best_runs_are_the_first_of_a_whole_sort() -> None:
    objective = np.random.default_rng(0).normal(size=24)
    objective[3] = np.inf
    assert best_runs(objective) == np.argsort(objective)[:10].tolist()
    assert best_runs(np.full(5, np.inf)) == []


def test_a_sample_has_the_best_run_of_each_cell_of_each_map() -> None:
    rng = np.random.default_rng(1)
    runs = 200_000
    axes = [
        PageAxis("train.lr", np.exp(rng.uniform(-5, 0, runs))),
        PageAxis("init.w1", rng.uniform(-2, 2, runs)),
        PageAxis("init.scale", rng.integers(0, 5, runs).astype(float)),
    ]
    objective = rng.exponential(size=runs)
    found = sample(axes, objective, np.array([3, 5]))
    assert len(np.unique(found.rows)) == len(found.rows) <= 120_000
    assert [axis.log for axis in axes] == [True, False, False]
    kept = np.zeros(runs, dtype=bool)
    kept[found.rows] = True
    assert kept[[3, 5]].all()
    # By another way: sorted by cell and then by the objective, the first of each is the best.
    edges = np.linspace(-2, 2, found.cells + 1)
    edges[0], edges[-1] = -3, 3
    place = np.digitize(axes[1].values, edges) * 10 + axes[2].values.astype(int)
    order = np.lexsort([objective, place])
    first = order[np.flatnonzero(np.diff(place[order], prepend=-1))]
    # A value at an edge may be rounded to either side.
    assert kept[first].mean() > 0.99
    # Those that were drawn are a fair sample.
    mean = objective[found.rows[: found.drawn]].mean()
    assert mean == pytest.approx(1, abs=5 / np.sqrt(found.drawn))


def test_a_million_runs_fit() -> None:
    """As the numbers of a search have no pattern, most of them are left out."""
    axes = {name: bp.Interval(0.01, 0.5) for name in ("lr1", "lr2", "w1", "w2")}
    outcomes = bp.sweep(
        GUIDE, 2.0, 3.0, axes, sampler="random", samples=1_000_000, epochs=1, progress=False
    )
    html = outcomes.report().html
    assert len(html) < 8e6
    assert told(html)["runs"] == 1_000_000
    some = told(html)["sample"]
    assert some["rows"]["length"] <= 120_000


def test_the_sharpness_of_the_surface_is_the_closed_form() -> None:
    # Of ½(3 − w2·w1·2)² where it is 0: 2²·(w1² + w2²).
    weights = np.array([[1.5, 1.0], [1.0, 1.5], [3.0, 0.5]])
    data = Dataset(np.array([[2.0]]), np.array([[3.0]]))
    found = sharpness(GUIDE, weights, data)
    np.testing.assert_allclose(found, 4 * (weights**2).sum(axis=1), rtol=1e-9)
    html = small().report().html
    critical = told(html)["surface"]["critical"]
    ends = small()["loss"]
    assert ends[critical["run"]] < 1e-6
    larger = bp.sweep(
        bp.Network(1, 2, 1), 2.0, 3.0, {"seed": [0, 1]}, init="he", progress=False
    )
    assert told(larger.report().html)["surface"] is None


def test_no_text_can_end_the_script_that_holds_it() -> None:
    written = as_script({EVIL: [EVIL, float("nan"), float("inf")]})
    assert not re.search("[<>&]", written)
    assert json.loads(written) == {EVIL: [EVIL, None, "∞"]}


def test_the_report_of_any_sweep(tmp_path: Path) -> None:
    """A single run, runs that all diverge, runs without epochs, several configurations."""
    one = bp.sweep(GUIDE, 2.0, 3.0, {"lr": [0.1]}, progress=False)
    diverged = bp.sweep(
        bp.Network(1, 1, 1, activation="identity"), 2.0, 3.0, {"lr": [50.0, 60.0]},
        progress=False,
    )  # fmt: skip
    none = bp.sweep(GUIDE, 2.0, 3.0, {"lr": [0.1, 0.2]}, epochs=0, progress=False)
    several = bp.Outcomes.join(
        [
            one.with_settings({"network.activation": "relu", "data.x": ["a"]}),
            diverged.with_settings({"network.activation": "tanh", "data.x": None}),
        ]
    )
    for outcomes in (one, diverged, none, several):
        html = outcomes.report().html
        found = told(html)
        assert found["runs"] == len(outcomes) == sum(found["counts"])
        assert len(html) < 8e6
    assert told(diverged.report().html)["best"] == []
    axes = [axis["name"] for axis in told(several.report().html)["axes"]]
    assert axes == ["network.activation", "data.x", "train.lr"]
    saved = one.report().save(tmp_path / "report.html")
    assert saved.read_text(encoding="utf-8") == one.report().html


def test_the_command_writes_the_report_of_the_parent(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    done = call(tmp_path, "sweep", "train.lr=0.1,0.2", "init.w1=0.5,1")
    assert done.returncode == 0, done.stderr
    table = bp.load_sweep("last", tracking=f"sqlite:///{tmp_path}/mlflow.db")
    run_id = table["run_id"][2].as_py()
    for number, words in enumerate(([], [f"run={run_id}"], [f"sweep={run_id[:16]}"])):
        file = "report.html" if not words else f"{number}.html"
        done = call(tmp_path, "report", *words, *([f"out={file}"] if words else []))
        assert (done.returncode, done.stdout) == (0, f"report: {tmp_path / file}\n"), (
            done.stderr
        )
        found = told((tmp_path / file).read_text(encoding="utf-8"))
        assert [found["sweep"], found["runs"]] == [run_id[:16], 4]
        assert found["place"]["experiment"] == "1"
        assert found["place"]["numbered"]
    (kept,) = tmp_path.glob("mlruns/1/*/artifacts/report.html")
    assert kept.read_bytes() == (tmp_path / "report.html").read_bytes()
    for words, said in (
        (
            ["out=report.txt"],
            "'report.txt'; allowed: files that end with .html; name one",
        ),
        (["run=last", "sweep=last"], "both sweep and run"),
        ([f"sweep={'0' * 16}"], "has no such sweep"),
        ([f"run={'0' * 32}"], "has no such run"),
        (["page=1"], "report was told 'page=1'"),
        (["out=there/report.html"], "cannot be written"),
    ):
        done = call(tmp_path, "report", *words)
        assert done.returncode == 1, words
        assert said in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_page_asks_no_server_for_anything() -> None:
    html = small().report().html
    own = re.sub(r'<script type="text/plain".*?</script>', "", html)
    assert not re.search(r"(?:src|href)=[\"']?http|@import|fetch\(|XMLHttpRequest|url\(", own)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        own = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield own
        own.close()


def opened(browser: Browser, html: str, tmp_path: Path) -> Page:
    """Open a page, and fail if anything on it does."""
    file = tmp_path / "report.html"
    file.write_text(html, encoding="utf-8")
    shown = browser.new_page(viewport={"width": 1300, "height": 900})
    shown.set_default_timeout(60_000)
    shown.on("pageerror", lambda error: pytest.fail(str(error)))
    shown.goto(file.as_uri())
    shown.wait_for_selector("body[data-ready]")
    assert shown.locator(".error").all_inner_texts() == []
    return shown


PLACE = Place("http://127.0.0.1:5000", "7", "0" * 32, numbered=True)


@needs_browser
def test_the_map_is_asked_and_leads_to_a_run(browser: Browser, tmp_path: Path) -> None:
    outcomes = small()
    shown = opened(browser, page(outcomes, None, PLACE), tmp_path)
    place = shown.locator("#map")

    def titles() -> list[str]:
        return [
            place.locator(f".{axis}title").first.text_content() or "" for axis in ("x", "y")
        ]

    assert titles() == ["train.lr", "init.w1"]
    assert "best run over init.w2" in place.inner_text()
    shown.locator("#map .nsewdrag").first.hover()
    tip = shown.locator("#tip")
    tip.wait_for(state="visible")
    rows = dict(row.split("\t")[:2] for row in tip.inner_text().splitlines())
    run = int(rows["run"])
    # The best of the runs that share its cell.
    cell = (outcomes["lr"] == outcomes["lr"][run]) & (outcomes["w1"] == outcomes["w1"][run])
    assert outcomes["loss"][run] == outcomes["loss"][cell].min()
    assert rows["outcome"] == outcomes["outcome"][run]
    assert float(rows["loss"]) == pytest.approx(outcomes["loss"][run], rel=1e-3)
    shown.locator("#map .nsewdrag").first.click()
    link = place.locator(".chosen a")
    identity = f"{outcomes.sweep}{run:016x}"
    assert link.inner_text() == identity
    assert link.get_attribute("href") == (
        f"http://127.0.0.1:5000/#/experiments/7/runs/{identity}?workflowType=machine_learning"
    )
    # Other axes, each once; and what becomes of the others.
    place.get_by_label("x", exact=True).select_option("init.w2")
    assert titles() == ["init.w2", "init.w1"]
    place.get_by_label("y", exact=True).select_option("init.w2")
    assert titles() == ["init.w1", "init.w2"]
    place.get_by_label("of the other axes").select_option("one")
    place.get_by_label("train.lr").fill("5")
    place.get_by_label("train.lr").dispatch_event("change")
    rate = np.unique(outcomes["lr"])[5]
    assert f"Only runs with train.lr = {rate:.4g}" in place.inner_text()
    place.get_by_label("colour").select_option("outcome")
    seen = {*outcomes["outcome"][outcomes["lr"] == rate]}
    assert {*place.locator(".legend > span").all_inner_texts()} == seen
    shown.close()


@needs_browser
@pytest.mark.parametrize("runs", [1000, 30_000])
def test_a_browser_reads_the_numbers(browser: Browser, tmp_path: Path, runs: int) -> None:
    """Exactly, or rounded to three digits where there are very many."""
    axes = {"lr": bp.LogInterval(0.001, 1), "w1": bp.Interval(-2, 2)}
    outcomes = bp.sweep(
        GUIDE, 2.0, 3.0, axes, sampler="random", samples=runs, epochs=20, progress=False
    )
    shown = opened(browser, page(outcomes, None, None), tmp_path)
    read = shown.evaluate(
        """async () => {
            const content = JSON.parse(document.getElementById("content").textContent);
            const runs = readRuns(content, await unpack("columns"));
            const told = (column) => [...column.numbers].map(String);
            return { rate: told(runs.axis("train.lr")), loss: told(runs.measure("loss")),
                outcome: [...runs.outcome.codes].map((code) => content.outcomes[code]) };
        }"""
    )
    precision = 0 if runs == 1000 else 2e-3
    for name, values in (("rate", outcomes["lr"]), ("loss", outcomes["loss"])):
        found = np.array([float(text.replace("Infinity", "inf")) for text in read[name]])
        np.testing.assert_allclose(found, values, rtol=precision)
    assert read["outcome"] == outcomes["outcome"].tolist()
    shown.close()


@needs_browser
def test_no_text_becomes_html(browser: Browser, tmp_path: Path) -> None:
    first, second = small(), small()
    # A sweep has its configurations one behind the other.
    outcomes = bp.Outcomes.join(
        [first.with_settings({EVIL: EVIL}), second.with_settings({EVIL: f"{EVIL}<b>2</b>"})]
    )
    html = page(outcomes, None, Place(f"http://x/{EVIL}", EVIL, EVIL, numbered=False))
    shown = opened(browser, html, tmp_path)
    place = shown.locator("#map")
    for axis in ("x", "y"):
        place.get_by_label(axis, exact=True).select_option(EVIL)
        shown.locator("#map .nsewdrag").first.hover()
        shown.locator("#tip").wait_for(state="visible")
        shown.locator("#map .nsewdrag").first.click()
    place.get_by_label("of the other axes").select_option("one")
    # It is shown as it is.
    assert EVIL in (place.locator(".ytitle").first.text_content() or "")
    assert EVIL in shown.locator("#best th").all_inner_texts()
    assert shown.evaluate("[window.pwned ?? null, document.images.length]") == [None, 0]
    assert shown.locator("svg[onload], b").count() == 0
    shown.close()


@needs_browser
def test_a_frame_of_mlflow_that_may_leads_to_the_run(browser: Browser) -> None:
    """Its document is a blob in a frame without popups and navigation, of MLflow's origin."""
    outcomes = small()
    shown = browser.new_page()
    shown.set_default_timeout(60_000)
    shown.route("http://mlflow.test/**", lambda route: route.fulfill(
        content_type="text/html", body="<div id=there></div>"))  # fmt: skip
    for sandbox, leads in (("allow-scripts allow-same-origin", True), ("allow-scripts", False)):
        shown.goto("http://mlflow.test/#/experiments/7")
        shown.evaluate(
            """([html, sandbox]) => {
                const frame = document.createElement("iframe");
                frame.sandbox = sandbox;
                frame.src = URL.createObjectURL(new Blob([html], { type: "text/html" }));
                frame.style = "width:1200px;height:800px";
                document.body.replaceChildren(frame);
            }""",
            [page(outcomes, None, PLACE), sandbox],
        )
        frame = shown.frame_locator("iframe")
        frame.locator("body[data-ready]").wait_for()
        run = frame.locator("#best .run").first
        identity = run.locator("a").inner_text()
        run.locator("a").click()
        if leads:
            shown.wait_for_url(f"**/#/experiments/7/runs/{identity}*")
        else:
            run.get_by_text("the id is copied").wait_for()
            assert shown.url.endswith("#/experiments/7")
            # Opened with the other mouse button it leads to the server that shows the frame.
            link = run.locator("a").get_attribute("href") or ""
            assert link.startswith(f"http://mlflow.test/#/experiments/7/runs/{identity}")
    shown.close()


def test_curves_of_the_sharpness_are_those_of_the_runs() -> None:
    """They are left out where they would take long."""
    told: dict[str, Any] = {"epochs": 9, "sharpness": True, "record": "weights"}
    outcomes = bp.sweep(GUIDE, 2.0, 3.0, {"lr": [0.01, 0.1, 0.2]}, progress=False, **told)
    assert outcomes.experiment is not None
    curves = sample_curves([outcomes.experiment], outcomes)
    assert curves is not None
    np.testing.assert_array_equal(curves.sharpness, outcomes.histories()["sharpness"])
    wide, rows = bp.Network(1, 99, 1), np.linspace(-1, 1, 999)
    told = {"epochs": 200, "sharpness": False, "init": "he"}
    many = bp.sweep(wide, rows, rows, {"seed": range(9)}, progress=False, **told)
    assert many.experiment is not None
    asked = {**many.experiment.settings, "sharpness": True}
    curves = sample_curves([replace(many.experiment, settings=asked)], many)
    assert curves is not None
    assert curves.sharpness is None


@needs_browser
def test_a_notebook_shows_it(browser: Browser) -> None:
    shown = browser.new_page()
    shown.set_default_timeout(60_000)
    outcomes = small(validation=([[1.0]], [[2.0]]), sharpness=True)
    shown.set_content(outcomes.report()._repr_html_())
    frame = shown.frame_locator("iframe")
    frame.locator("body[data-ready]").wait_for()
    place = frame.locator("#curves")
    assert place.locator(".behind").inner_text().startswith("Behind this picture: 168 ")
    # The smallest loss of each epoch, on either rows.
    best: dict[str, Any] = {}
    for name in ("loss", "val_loss", "sharpness"):
        place.get_by_label("history").select_option(name)
        assert place.locator(".ytitle").text_content() == name
        best[name] = place.locator(".js-plotly-plot").evaluate("plot => plot.data.at(-1).y")
    assert outcomes.experiment is not None
    curves = sample_curves([outcomes.experiment], outcomes)
    assert curves is not None
    assert curves.val_loss is not None
    assert curves.sharpness is not None
    for name in best:
        history = getattr(curves, name)
        lowest = np.nanmin(history, axis=0)
        # Zero has no logarithm.
        expected = np.where(lowest > 0, lowest, np.nan)
        np.testing.assert_allclose(np.array(best[name], dtype=float), expected, rtol=1e-6)
    shown.close()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "axes",
    [
        {"w1": [0, -1e308, 1e308, 5e-324]},
        {"w1": 1e308 * np.linspace(-1, 1, 500), "w2": [0.0, 1.0, 1e-308]},
        {"lr": np.geomspace(1e-300, 1e300, 20), "w1": np.geomspace(1e-300, 1e300, 20)},
        {"lr": [5e-324, 1e-320, 1.7e308]},
        {"lr": [1e300, 1.7e308], "seed": range(3)},
    ],
)
def test_the_largest_and_the_smallest_numbers_are_drawn(axes: dict[str, Any]) -> None:
    """Without a warning, which would end a program that asks for errors."""
    init = "he" if "seed" in axes else [0.5, 1.0]
    found = bp.sweep(GUIDE, 2.0, 3.0, axes, init=init, record=["loss"], progress=False)
    rates = found.points.get("train.lr", np.full(len(found), 0.1))
    for picture in (
        map_png(found.points, found.scores, found.outcome),
        curves_png(found.histories()["loss"], rates, np.arange(20)),
    ):
        assert picture.startswith(b"\x89PNG")
    assert told(found.report().html)["runs"] == len(found)
    for values in found.points.values():
        assert range_text(values)


def test_what_no_scale_holds_is_drawn_evenly() -> None:
    from backprop_svc.plots.drawable import along_an_axis

    places, ticks = along_an_axis(np.array([1e308, -1e308, 0.0, -1e308]))
    assert places.tolist() == [2, 0, 1, 0]
    assert ticks is not None
    assert ticks.labels == ["-1e+308", "0", "1e+308"]
    usual = np.array([1e-5, 1.0, 1e5])
    assert along_an_axis(usual)[0] is usual

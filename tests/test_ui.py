"""What someone sees who opens the printed link in a browser."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

import stores
from command import CLEAN, COMMAND, Running, call

ENDS = (signal.SIGKILL, signal.SIGHUP, signal.SIGTERM, signal.SIGINT)


def of_port(port: int) -> list[str]:
    """Command lines of the processes that have to do with a port."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                found.append((entry / "cmdline").read_text().replace("\0", " "))
    return [line for line in found if f"--port {port}" in line or f"port={port}" in line]


@pytest.mark.skipif(not Path("/proc").exists(), reason="no /proc to find processes in")
def test_no_server_is_left(tmp_path: Path) -> None:
    """Neither its workers, however the command ends; all of them at once, to save time."""
    stores.empty_database(tmp_path / "mlflow.db")
    commands = {}
    for number in ENDS:
        port = stores.free_port()
        # Those of MLflow that run jobs are in sessions of their own.
        jobs = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": str(number == signal.SIGKILL)}
        commands[number, port] = Running(tmp_path, "ui", f"port={port}", **jobs)
    for (number, port), process in commands.items():
        health = f"http://127.0.0.1:{port}/health"
        stores.wait_for(lambda url=health: urllib.request.urlopen(url, timeout=2).close())
        # The command itself is a fork, which has another name.
        assert len(of_port(port)) > 1
        process.send_signal(number)
    for (number, port), process in commands.items():
        process.communicate()
        codes = {signal.SIGKILL: -9, signal.SIGINT: 0}
        assert process.returncode == codes.get(number, 128 + number)
        end = time.monotonic() + 180
        while of_port(port) and time.monotonic() < end:
            time.sleep(0.1)
        assert of_port(port) == []
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


BROWSER = shutil.which("chromium")


@pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here; install it with: apt-get install chromium"
)
def test_the_links_show_the_sweep_its_runs_and_all_sweeps(tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    stores.empty_database(tmp_path / "mlflow.db")
    axes = ["train.lr=tag(log,interval(0.01,1))", "init.w1=interval(-1,2)", "sweep.points=20"]
    older = call(tmp_path, "sweep", "train.lr=0.1,0.2")
    newer = call(tmp_path, "sweep", *axes)
    names = []
    for done, over in ((older, "lr"), (newer, "lr w1")):
        assert done.returncode == 0, done.stderr
        identity = done.stdout.partition(":")[0].removeprefix("sweep ")
        names.append(f"sweep {over} ({identity})")
        # As the UI serves them unless it is told otherwise.
        assert "\nthis sweep: http://127.0.0.1:5000/#/experiments/1/runs/" in done.stdout
        assert "\nall sweeps: http://127.0.0.1:5000/#/experiments/1/runs?" in done.stdout
    port = stores.free_port()
    address = f"http://127.0.0.1:{port}/a/prefix"
    with subprocess.Popen(
        [*COMMAND, "ui", f"port={port}"],
        cwd=tmp_path,
        env={**CLEAN, "MLFLOW_STATIC_PREFIX": "/a/prefix"},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as ui:
        try:
            assert ui.stdout is not None
            link = re.fullmatch(
                rf"MLflow on ({address}/#/experiments/\S+) \(Ctrl-C to stop\)\n",
                ui.stdout.readline(),
            )
            sweeps = re.fullmatch(rf"all sweeps: ({address}/#/\S+)\n", ui.stdout.readline())
            assert link
            assert sweeps
            # What is printed can be opened.
            urllib.request.urlopen(f"{address}/health", timeout=20).close()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=BROWSER, args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 1500, "height": 1000})
                page.set_default_timeout(30_000)
                expect.set_options(timeout=30_000)
                page.goto(link[1])
                for title in ("sweep/last loss", "sweep/loss curves", "loss_best"):
                    heading = page.get_by_text(title, exact=True).first
                    expect(heading).to_be_in_viewport()
                # The pictures themselves, loaded and inside the window.
                page.wait_for_function(
                    """() => [...document.images].filter(image =>
                        image.naturalWidth > 100 &&
                        image.getBoundingClientRect().bottom < innerHeight).length >= 2"""
                )
                page.goto(sweeps[1])
                for name in names:
                    expect(page.get_by_text(name, exact=True).first).to_be_in_viewport()
                expect(page.get_by_text("2 matching runs")).to_be_visible()
                # The links of the note, which a browser opens in pages of their own.
                page.goto(link[1].replace("/model-metrics", ""))
                for title, shown in (
                    ("Best run", "grad_w1"),
                    ("All its runs, the best first", "Sort: loss"),
                    ("All sweeps", "2 matching runs"),
                ):
                    with page.expect_popup() as popup:
                        page.get_by_role("link", name=title, exact=True).click()
                    other = popup.value
                    assert other.url.startswith(f"{address}/#/experiments/1/runs")
                    expect(other.get_by_text(shown).first).to_be_visible()
                    other.close()
                # The report, in the frame that MLflow puts it in.
                with page.expect_popup() as popup:
                    page.get_by_role("link", name="Report", exact=True).click()
                other = popup.value
                frame = other.frame_locator("iframe.mlflow-html-iframe")
                frame.locator("body[data-ready]").wait_for(timeout=120_000)
                assert frame.locator(".error").count() == 0
                run = frame.locator("#best .run").first
                run_id = run.locator("a").inner_text()
                run.locator("a").click()
                # What leads out of the frame depends on MLflow; the id is there in any case.
                if run.get_by_role("status").inner_text():
                    expect(run.get_by_text("the id is copied")).to_be_in_viewport()
                    # The frame cannot know the prefix of the server.
                    _, _, own = (run.locator("a").get_attribute("href") or "").partition("#")
                    other.goto(f"{address}/#{own}")
                expect(other.get_by_text("grad_w1").first).to_be_visible()
                assert run_id in other.url
                browser.close()
        finally:
            ui.send_signal(signal.SIGINT)

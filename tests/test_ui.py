"""What someone sees who opens the printed link in a browser."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import urllib.request
from pathlib import Path

import pytest

import stores
from command import CLEAN, COMMAND, call

BROWSER = shutil.which("chromium")


@pytest.mark.skipif(
    BROWSER is None, reason="no Chromium here; install it with: apt-get install chromium"
)
def test_the_link_shows_the_sweep(tmp_path: Path) -> None:
    from playwright.sync_api import expect, sync_playwright

    axes = ["train.lr=tag(log,interval(0.01,1))", "init.w1=interval(-1,2)", "sweep.points=20"]
    stores.empty_database(tmp_path / "mlflow.db")
    assert call(tmp_path, "sweep", *axes).returncode == 0
    port = stores.free_port()
    with subprocess.Popen(
        [*COMMAND, "ui", f"port={port}"],
        cwd=tmp_path,
        env=CLEAN,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as ui:
        try:
            assert ui.stdout is not None
            said = ui.stdout.readline()
            link = re.search(rf"http://127\.0\.0\.1:{port}/#/experiments/\S+", said)
            assert link, said
            address = f"http://127.0.0.1:{port}/health"
            stores.wait_for(lambda: urllib.request.urlopen(address, timeout=2).close())
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=BROWSER, args=["--no-sandbox"]
                )
                page = browser.new_page(viewport={"width": 1500, "height": 1000})
                page.goto(link[0])
                for title in ("sweep/last loss", "sweep/loss curves", "loss_best"):
                    heading = page.get_by_text(title, exact=True).first
                    expect(heading).to_be_in_viewport(timeout=20_000)
                # The pictures themselves, loaded and inside the window.
                page.wait_for_function(
                    """() => [...document.images].filter(image =>
                        image.naturalWidth > 100 &&
                        image.getBoundingClientRect().bottom < innerHeight).length >= 2""",
                    timeout=20_000,
                )
                browser.close()
        finally:
            ui.send_signal(signal.SIGINT)

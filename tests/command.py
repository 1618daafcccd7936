"""The command as a user runs it: a process of its own, without this one's settings.

Importing MLflow takes seconds, and most tests ask for what the command does, not for how it
starts. A process that has imported everything once waits to be forked: the command runs in
its child, with the working directory, the environment, the arguments, the signals and the
end of any other process. `call_anew` starts a new interpreter instead.
"""

from __future__ import annotations

import atexit
import gc
import multiprocessing
import os
import runpy
import subprocess
import sys
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from backprop_svc.cli.terminal.ending import close_databases
from backprop_svc.tracking.environment import told

COMMAND = [sys.executable, "-m", "backprop_svc"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}
# MLflow's server would start ten more processes for jobs that nobody gives it.
CLEAN["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"

_FORKSERVER = multiprocessing.get_context("forkserver")
_FORKSERVER.set_forkserver_preload(
    [
        *(f"backprop_svc.cli.commands.{name}" for name in ("explain", "sweep", "train", "ui")),
        *(f"backprop_svc.plots.{name}" for name in ("painter", "report", "sweep", "training")),
        *("backprop_svc.tracking.database", "backprop_svc.tracking.remote"),
        *("hydra.main", "hydra_plugins.backprop_batch_sweeper.batch_sweeper"),
        *("matplotlib.backends.backend_agg", "mlflow.store.tracking.sqlalchemy_store"),
        *("psycopg", "pyarrow.parquet", "scipy.stats.qmc", "sklearn.datasets"),
    ]
)


class Running:
    """The command, started in a fork: what `subprocess.Popen` offers of it.

    It writes to files, so nothing has to read what it says while it runs. Another module of
    Python's, or a text as after `python -c`, leads a group of processes.
    """

    def __init__(
        self, folder: Path, *arguments: str, module: str = "backprop_svc", **env: str
    ) -> None:
        self._said = Path(mkdtemp())
        for name in OUTPUTS:
            (self._said / name).touch()
        process = _FORKSERVER.Process(
            target=_run, args=(module, folder, {**CLEAN, **env}, arguments, self._said)
        )
        process.start()
        self._process = process

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def said(self) -> str:
        """Return what it wrote to standard output so far."""
        return (self._said / OUTPUTS[0]).read_text(encoding="utf-8")

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def wait(self, timeout: float) -> None:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(COMMAND, timeout)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for its end; return what it wrote to standard output and standard error."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        out, err = ((self._said / name).read_text(encoding="utf-8") for name in OUTPUTS)
        rmtree(self._said)
        return out, err


OUTPUTS = ("stdout", "stderr")


def _run(
    module: str, folder: Path, env: dict[str, str], arguments: tuple[str, ...], said: Path
) -> None:
    """Become the program: what differs from a new interpreter is that all is imported."""
    # To look at all that was imported, for garbage or for open databases, would copy it.
    gc.freeze()
    if module != "backprop_svc":
        os.setsid()
    for number, name in enumerate(OUTPUTS, 1):
        with (said / name).open("wb") as file:
            os.dup2(file.fileno(), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(told(env))
    sys.argv[1:] = arguments
    try:
        if module == "-c":
            exec(arguments[0], {"__name__": "__main__"})
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        # A process of the standard library ends without what an interpreter does at its end:
        # SQLite, for one, removes its own files when its last connection is closed.
        atexit._run_exitfuncs()
        close_databases()


def call(
    folder: Path, *arguments: str, module: str = "backprop_svc", **env: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in a fork of a process that has imported everything."""
    running = Running(folder, *arguments, module=module, **env)
    out, err = running.communicate()
    assert running.returncode is not None
    return subprocess.CompletedProcess([*COMMAND, *arguments], running.returncode, out, err)


def call_anew(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a new interpreter."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**CLEAN, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )

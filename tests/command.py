"""The command as a user runs it: a process of its own, without this one's settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "backprop_svc"]
CLEAN = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "HYDRA_"))}
# MLflow's server would start ten more processes for jobs that nobody gives it.
CLEAN["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"


def call(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**CLEAN, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


IN_ONE_PROCESS = """
import os, sys
import backprop_svc.cli.main, backprop_svc.cli.commands.sweep, backprop_svc.cli.commands.train
import backprop_svc.tracking.database, hydra
for line in sys.stdin.read().splitlines():
    words, environment = eval(line)
    for stream in (sys.stdout, sys.stderr):
        print("\\0", end="", file=stream, flush=True)
    if os.fork() == 0:
        os.environ.update(environment)
        sys.argv[1:] = words
        backprop_svc.cli.main.main()
        sys.exit(0)
    print(f"ended with {os.waitstatus_to_exitcode(os.wait()[1])}", file=sys.stderr)
"""


def calls(
    folder: Path, commands: list[tuple[list[str], dict[str, str]]], **env: str
) -> list[tuple[int, str]]:
    """Run commands, each with its environment, as forks of a process that imports MLflow once.

    Return of each its return code, and all that it said.
    """
    done = subprocess.run(
        [sys.executable, "-c", IN_ONE_PROCESS],
        cwd=folder,
        env={**CLEAN, **env},
        input="\n".join(map(repr, commands)),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    told = zip(done.stdout.split("\0")[1:], done.stderr.split("\0")[1:], strict=True)
    found = []
    for out, err in told:
        said, _, code = err.rpartition("ended with ")
        found.append((int(code), out + said))
    assert len(found) == len(commands)
    return found

"""Tries the releases that ``pyproject.toml`` allows, each in an environment of its own.

``python tests/compatibility.py`` tries all legs, ``… oldest newest`` some of them. Each leg
installs its packages, makes a store with its MLflow, writes the same runs in bulk and by
MLflow's client, and compares what the client then reads (``tests/test_tracking.py``). The rows
that it prints are those of ``docs/compatibility.md``. The extension has to be built before.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from argparse import ArgumentParser
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[1]
MLFLOW = tuple(f"3.{minor}" for minor in range(1, 19))
LAST_OF_OLD_SQLALCHEMY = 8
"""The last minor release of MLflow 3 that needs SQLAlchemy before 2.1."""
SHOWN = ("mlflow", "sqlalchemy", "numpy", "pandas", "pyarrow", "scipy", "hydra-core")
COPIED = "tests/test_template.py::test_a_copied_database_is_as_mlflow_makes_it"
TWIN = (
    *("tests/test_tracking.py", "tests/test_local_client.py", COPIED),
    *("-k", "sqlite or copied_database"),
)
MODEL = "tests/test_model.py"
ALL = (
    f"{MODEL}::test_the_folder_is_what_mlflow_writes",
    f"{MODEL}::test_it_is_logged_once_and_as_by_mlflow",
    f"{MODEL}::test_mlflow_loads_it",
    "tests/test_own_tables.py",
    "tests/test_python_sweep.py::test_python_writes_what_the_command_writes",
    "tests/test_tracking.py",
    "tests/test_local_client.py",
    COPIED,
    "tests/test_guide.py",
    "tests/test_hydra_plugin.py",
)
HYDRA = ("tests/test_hydra_plugin.py", "tests/test_parent.py", "tests/test_guide.py")
LAUNCHERS = ("tests/test_launchers.py", "-k", "ray")
TESTERS = ("pytest", "hypothesis")
PSYCOPG, PSYCOPG2 = "psycopg[binary]>=3.2,<4", "psycopg2-binary>=2.9,<3"


@dataclass(frozen=True)
class Leg:
    """What is installed, and which tests have to pass with it."""

    packages: tuple[str, ...]
    tests: tuple[str, ...] = ALL
    python: str = "python3"
    driver: str = PSYCOPG
    """Of PostgreSQL. The older releases of MLflow compare numbers with texts, which only
    psycopg2 lets pass."""
    over: bool = False
    """Whether its packages are laid over those of the environment that runs this."""


def declared(bound: str | None = None) -> tuple[str, ...]:
    """Return the dependencies of the package; with ``==`` each at its lower bound."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    listed = re.search(r"^dependencies = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert listed is not None
    found = re.findall(r'"([\w-]+)>=([\d.]+),<[\d.]+"', listed[1])
    if bound is None:
        return tuple(re.findall(r'"([^"]+)"', listed[1]))
    # The first release that has at least the parts of the bound.
    return tuple(f"{name}=={number}{'.*' * (number.count('.') < 2)}" for name, number in found)


def legs() -> dict[str, Leg]:
    """Return what is tried, by name."""
    pythons = [name for minor in range(10, 20) if (name := python_of(f"python3.{minor}"))]
    found = {}
    for number in MLFLOW:
        old = int(number.partition(".")[2]) <= LAST_OF_OLD_SQLALCHEMY
        packages = (*declared(), f"mlflow=={number}.*", *(("sqlalchemy<2.1",) if old else ()))
        found[f"mlflow-{number}"] = Leg(packages, TWIN)
    for python in pythons:
        found[Path(python).name] = Leg(declared(), python=python)
    oldest, newest = (pythons[0], pythons[-1]) if pythons else ("python3", "python3")
    found["oldest"] = Leg(declared("=="), python=oldest, driver=PSYCOPG2)
    found["newest"] = Leg(declared(), python=newest)
    before = ("hydra-core>=1.4.0rc1", "omegaconf>=2.4.0rc1")
    found["hydra-pre"] = Leg(before, HYDRA, python=sys.executable, over=True)
    # It needs older releases of what other packages want newer ones of.
    found["ray"] = Leg(extra("ray"), LAUNCHERS, python=sys.executable, over=True)
    return found


def python_of(name: str) -> str | None:
    """Return a Python that can be run; pyenv has names also for those that it does not run."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    number = name.removeprefix("python")
    own = root.glob(f"versions/{number}.*/bin/{name}")
    for found in (shutil.which(name), *map(str, own)):
        if (
            found
            and not subprocess.run([found, "-V"], capture_output=True, check=False).returncode
        ):
            return found
    return None


def extra(name: str) -> tuple[str, ...]:
    """Return what an extra of the package asks for."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    line = re.search(rf"^{name} = \[(.*)\]$", text, re.MULTILINE)
    assert line is not None
    return tuple(re.findall(r'"([^"]+)"', line[1]))


def attempt(name: str, leg: Leg, folder: Path) -> str:
    """Install and test one leg; return its row of the table."""
    began = time.monotonic()
    home = folder / name
    python = home / "bin" / "python"
    if not (home / "ok").exists():
        subprocess.run([leg.python, "-m", "venv", str(home)], check=True)
        packages = [*leg.packages, *TESTERS, leg.driver]
        if leg.over:
            packages = [*leg.packages]
            (site,) = home.glob("lib/python*/site-packages")
            (site / "below.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *packages],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            reason = [line for line in done.stderr.splitlines() if "ERROR" in line][-1:]
            return f"| {name} | – | cannot be installed: {''.join(reason)} |"
        (home / "ok").touch()
    command = [str(python), "-m", "pytest", "-p", "no:cacheprovider", "--tb=short"]
    command += ["-o", "filterwarnings=ignore"]
    # Beside the source, so that one build of the extension serves every Python.
    source = {"PYTHONPATH": str(ROOT / "python"), "PATH": "/usr/bin:/bin"}
    with TemporaryDirectory() as temporary:
        done = subprocess.run(
            [*command, f"--basetemp={temporary}/tests", *leg.tests],
            cwd=ROOT, env=source, check=False, capture_output=True, text=True,
        )  # fmt: skip
    (home / "tests.log").write_text(done.stdout + done.stderr)
    counts = re.findall(r"\d+ (?:passed|failed|errors?|skipped)", done.stdout)
    verdict = ", ".join(counts) or "no test ran"
    seconds = time.monotonic() - began
    print(f"{name}: {verdict} in {seconds:.0f} s", file=sys.stderr)
    return f"| {name} | {versions(python)} | {verdict} |"


def versions(python: Path) -> str:
    """Return which releases a leg has."""
    ask = (
        "import sys; from importlib.metadata import version\n"
        "print('Python', '.'.join(map(str, sys.version_info[:3])),"
        " *(f'· {name} {version(name)}' for name in sys.argv[1:]))"
    )
    done = subprocess.run(
        [str(python), "-c", ask, *SHOWN], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def main() -> None:
    """Try the legs that were named, or all."""
    every = legs()
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("legs", nargs="*", metavar="leg", help=f"of {', '.join(every)}")
    parser.add_argument("--folder", type=Path, default=ROOT / "target" / "compatibility")
    parser.add_argument("--jobs", type=int, default=1, help="legs that are tried at once")
    told = parser.parse_args()
    unknown = [name for name in told.legs if name not in every]
    if unknown:
        parser.error(f"{', '.join(unknown)} is no leg; allowed: {', '.join(every)}")
    told.folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(told.jobs) as pool:
        names = told.legs or list(every)
        rows = list(pool.map(lambda name: attempt(name, every[name], told.folder), names))
    print("| leg | releases | tests |\n|---|---|---|")
    print("\n".join(rows))
    if any(" passed |" not in row or "failed" in row for row in rows):
        raise SystemExit(1)


if __name__ == "__main__":
    main()

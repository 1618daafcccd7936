"""The console script: finds the command, and lets Hydra do the rest."""

from __future__ import annotations

import os
import signal
import sys
from tempfile import TemporaryDirectory
from typing import NoReturn

from backprop_svc.cli.identity import new_sweep_id

COMMANDS = ("train", "sweep", "explain", "ui")
USAGE = """\
backprop-svc: train very many small networks and keep every one of them in MLflow.

  backprop-svc train [overrides]         train one network and track the run
  backprop-svc train -m [overrides]      train one for each combination of values
  backprop-svc sweep [overrides]         the same
  backprop-svc explain [overrides]       show each step of the chain rule
  backprop-svc ui [tracking.uri=… port=…]   open MLflow's UI on the tracked runs

  backprop-svc train --help              all settings; overrides are Hydra's
  backprop-svc train --cfg job           the configuration, without running it
  eval "$(backprop-svc train -sc install=bash)"   shell completion

examples
  backprop-svc train train.lr=0.05 init.w1=0.7
  backprop-svc train experiment=ames
  backprop-svc train -m train.lr=0.01,0.1,0.15 'init.w1=range(-1,1.5,0.5)'
  backprop-svc explain example=chain_rule
"""


def main() -> None:
    """Run ``backprop-svc``."""
    try:
        _main()
    except KeyboardInterrupt:
        print("backprop-svc: stopped", file=sys.stderr)
        raise SystemExit(130) from None


def _main() -> None:
    command, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("", [])
    if command == "-sc":
        # What a shell calls for completion: the command is in the line that it completes.
        typed = os.environ.get("COMP_LINE", "").split()[1:2]
        if typed not in (["train"], ["sweep"], ["explain"]):
            print("\n".join(c for c in COMMANDS if c.startswith("".join(typed))))
            return
        command, arguments = typed[0], sys.argv[1:]
        if command == "sweep":
            _hydra("sweep", arguments)
            return
    # The end that a scheduler asks for leaves no run behind that seems to go on.
    signal.signal(signal.SIGTERM, _terminate)
    if command in {"", "-h", "--help", "help"}:
        print(USAGE, end="")
        raise SystemExit(0 if command else 2)
    if command == "--version":
        import backprop_svc

        print(f"backprop-svc {backprop_svc.__version__}")
    elif command in {"train", "sweep"}:
        _train(["-m", *arguments] if command == "sweep" else arguments)
    elif command == "explain":
        _hydra("explain", arguments)
    elif command == "ui":
        from backprop_svc.cli.ui import ui

        raise SystemExit(ui(arguments))
    else:
        raise SystemExit(
            f"backprop-svc: {command!r} is no command; allowed: train, sweep, explain, ui; "
            "see backprop-svc --help"
        )


def _terminate(*_: object) -> NoReturn:
    raise SystemExit(128 + signal.SIGTERM)


def _train(arguments: list[str]) -> None:
    given = set(arguments)
    # Hydra shows a configuration of single runs only.
    shown = {"--cfg", "-c", "--info", "-i"} & given
    multirun = {"-m", "--multirun", "hydra.mode=MULTIRUN"} & given and not shown
    # First, wherever it was: argparse takes the words of a command only side by side.
    words = [argument for argument in arguments if argument not in {"-m", "--multirun"}]
    arguments = ["-m", *words] if multirun else words
    named = any(argument.startswith("sweep.id=") for argument in arguments)
    if multirun and not named:
        arguments = [*arguments, f"sweep.id={new_sweep_id()}"]
    # Hydra's sweeper leaves a multirun.yaml behind; what it says is in MLflow.
    with TemporaryDirectory(prefix="backprop-svc-") as folder:
        if multirun and not any(a.startswith("hydra.sweep.dir=") for a in arguments):
            arguments = [*arguments, f"hydra.sweep.dir={folder}"]
        _hydra("train", arguments)


def _hydra(command: str, arguments: list[str]) -> None:
    import hydra

    from backprop_svc.cli.errors import CONFIGURATION, foreseen, is_of_hydra
    from backprop_svc.cli.schema import register

    if os.environ.get("HYDRA_FULL_ERROR"):
        os.environ["BACKPROP_FULL_ERROR"] = "1"
    # Hydra raises instead of printing its own summary: `foreseen` says it in one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    _complete_words(command)
    sys.argv = [sys.argv[0], *arguments]
    register()
    if command in {"train", "sweep"}:
        from backprop_svc.cli.train import train as task

        name = "config"
    else:
        from backprop_svc.cli.explain import explain as task

        name = "explain"
    try:
        with foreseen(*CONFIGURATION):
            hydra.main(
                version_base="1.3", config_path="pkg://backprop_svc.conf", config_name=name
            )(task)()
    except ValueError as error:
        if not is_of_hydra(error):
            raise
        with foreseen(ValueError):
            raise


def _complete_words(command: str) -> None:
    """Hide the command from Hydra's completion, which knows only its own words."""
    line = os.environ.get("COMP_LINE")
    if line is not None:
        program, _, rest = line.partition(f" {command} ")
        shortened = f"{program} {rest}"
        point = int(os.environ.get("COMP_POINT", len(line)))
        os.environ["COMP_LINE"] = shortened
        os.environ["COMP_POINT"] = str(max(0, point - (len(line) - len(shortened))))


if __name__ == "__main__":
    main()

"""The console script: finds the command, and lets Hydra do the rest."""

from __future__ import annotations

import gc
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from pkgutil import resolve_name
from typing import NamedTuple, NoReturn, TextIO, cast

from backprop_svc.cli.terminal import ending, interrupt
from backprop_svc.errors import printable
from backprop_svc.interactive.terminal import Terminal, WithoutPasswords
from backprop_svc.plots import painter
from backprop_svc.scratch import scratch
from backprop_svc.tracking.identity import new_sweep_id
from backprop_svc.tracking.uri import remember, without_password

COLLECTING = (50_000, 20, 20)
"""Objects that Python makes before it looks for those that nothing refers to any more."""


class Command(NamedTuple):
    """What a user can ask for."""

    arguments: str
    does: str
    run: Callable[[list[str]], None]
    config: str | None = None
    """The configuration from which Hydra composes its words, if it does."""
    task: str = ""
    """What Hydra then runs, as an import path: it is imported when it is needed."""


def main() -> NoReturn:
    """Run ``backprop-svc``, and end the program."""
    try:
        run()
        code: object = 0
    except SystemExit as end:
        code = end.code
    ending.leave(code)


def run() -> None:
    """Run ``backprop-svc``."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that lacks a sign shows another one.
            stream.reconfigure(errors="replace")
    try:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            # As for MLflow, an empty one tells nothing.
            if not os.environ.get(name, "-").strip():
                del os.environ[name]
        # What the shell and its surroundings say may hold a password.
        for word in (*sys.argv[1:], os.environ.get("MLFLOW_TRACKING_URI", "")):
            remember(word.partition("=")[2].strip("'\"") or word)
        # Nearly all that is made at the start stays: to look for what does not takes a tenth.
        gc.set_threshold(*COLLECTING)
        _let_libraries_warn()
        interrupt.listen()
        _main(*sys.argv[1:])
        interrupt.answer()
    except BaseException as error:
        # Libraries make other errors of it, in the middle of what they do.
        if isinstance(error, KeyboardInterrupt) or interrupt.is_asked():
            interrupt.end()
        if not isinstance(error, Exception):
            raise
        # A mistake of this program. Its traceback may show what a library was given.
        raise SystemExit(printable(without_password(traceback.format_exc().rstrip()))) from None


def _let_libraries_warn() -> None:
    """Show what Python was told to make an error of: what a library warns of ends no sweep.

    MLflow, for one, cannot even be imported where its warnings are errors.
    """
    # Python takes abbreviations.
    if any("error".startswith(told.partition(":")[0]) for told in sys.warnoptions):
        # Servers and jobs of launchers are processes of their own.
        os.environ["PYTHONWARNINGS"] = "default"
        warnings.simplefilter("default")


def _main(name: str = "", *arguments: str) -> None:
    if name == "-sc":
        _complete(list(arguments))
        return
    if name in {"", "-h", "--help", "help"}:
        Terminal().print(usage(), end="", soft_wrap=True)
        raise SystemExit(0 if name else 2)
    if name == "--version":
        import backprop_svc

        print(f"backprop-svc {backprop_svc.__version__}")
        return
    try:
        Path.cwd()
    except FileNotFoundError:
        raise SystemExit(
            "backprop-svc: the working directory is not there any more; allowed: one that "
            "exists; change to another one"
        ) from None
    if name not in COMMANDS:
        from difflib import get_close_matches

        fix = "".join(f"write {one}, or " for one in get_close_matches(name, COMMANDS, 1))
        raise SystemExit(
            f"backprop-svc: {name!r} is no command; allowed: {', '.join(COMMANDS)}; "
            f"{fix}see backprop-svc --help"
        )
    COMMANDS[name].run(list(arguments))


def usage() -> str:
    """Return what ``backprop-svc --help`` prints."""
    lines = [(f"{name} {one.arguments}", one.does) for name, one in COMMANDS.items()]
    width = max(len(call) for call, _ in lines) + 2
    commands = "".join(f"  backprop-svc {call:<{width}}{does}\n" for call, does in lines)
    return f"{TITLE}\n\n{commands}\n{MORE}"


def _complete(arguments: list[str]) -> None:
    """Answer a shell that completes a line: with commands, or with what Hydra knows."""
    line = os.environ.get("COMP_LINE", "")
    typed = line.split()[1:2]
    command = COMMANDS.get("".join(typed))
    last = "" if line.endswith(" ") else (line.split() or [""])[-1]
    if command is None or [last] == typed:
        print("\n".join(name for name in COMMANDS if name.startswith("".join(typed))))
        return
    from backprop_svc.cli.terminal.completion import PATHS, choices, files, for_users

    if command.config is None and last.startswith(tuple(f"{name}=" for name in PATHS)):
        print("\n".join(files(last)))
        return
    if command.config is None:
        words = re.findall(r"[\w.]+=", command.arguments)
        print("\n".join(word for word in words if word.startswith(last)))
        return
    _hide(typed[0])
    found = choices(os.environ["COMP_LINE"], command.config)
    if found is not None:
        print("\n".join(found))
        return
    with redirect_stdout(io.StringIO()) as offered:
        _hydra(command, ["-sc", *arguments])
    print(for_users(offered.getvalue()), end="")


def _hide(command: str) -> None:
    """Remove the command from the line, because Hydra's completion does not know it."""
    line = os.environ["COMP_LINE"]
    program, _, rest = line.partition(f" {command} ")
    shortened = f"{program} {rest}"
    point = int(os.environ.get("COMP_POINT", len(line)))
    os.environ["COMP_LINE"] = shortened
    os.environ["COMP_POINT"] = str(max(0, point - (len(line) - len(shortened))))


def _train(arguments: list[str]) -> None:
    if any(word.startswith(_RUNS) for word in arguments):
        from backprop_svc.cli.commands.best import resolved

        arguments = resolved(arguments)
    given = set(arguments)
    # Hydra shows a configuration of single runs only, and completes words of these.
    shown = (*_SHOWING, *_COMPLETING)
    multirun = {"-m", "--multirun", "hydra.mode=MULTIRUN"} & given and not given & {*shown}
    # The option goes first, since argparse takes the overrides only if nothing stands between.
    words = [argument for argument in arguments if argument not in {"-m", "--multirun"}]
    arguments = ["-m", *words] if multirun else words
    arguments = _each_fold(arguments) if multirun else arguments
    named = any(argument.startswith("sweep.id=") for argument in arguments)
    if multirun and not named:
        arguments = [*arguments, f"sweep.id={new_sweep_id()}"]
    others = ("hydra/sweeper=", "hydra/launcher=")
    if multirun and any(argument.startswith(others) for argument in arguments):
        # They leave a multirun.yaml and more behind; what these say is in MLflow.
        with scratch() as folder:
            told = any(argument.startswith("hydra.sweep.dir=") for argument in arguments)
            folders = [] if told else [f"hydra.sweep.dir={folder}"]
            _hydra(COMMANDS["train"], [*arguments, *folders])
    else:
        _hydra(COMMANDS["train"], arguments)


def _sweep(arguments: list[str]) -> None:
    _train(["-m", *arguments])


def _each_fold(arguments: list[str]) -> list[str]:
    """Return words of a sweep that takes each fold once, where no fold is told."""
    plain = [word.lstrip("+") for word in arguments]
    folds = [word.removeprefix(_FOLDS) for word in plain if word.startswith(_FOLDS)]
    told = any(word.startswith("data.fold=") for word in plain)
    if len(folds) == 1 and folds[0].isdecimal() and int(folds[0]) > 1 and not told:
        return [*arguments, f"data.fold=range({folds[0]})"]
    return arguments


def _explain(arguments: list[str]) -> None:
    if any(argument.startswith("run=") for argument in arguments):
        # What is in the store is not composed.
        _plain("backprop_svc.cli.commands.explain_run:explain_run")(arguments)
        return
    _hydra(COMMANDS["explain"], arguments)


def _plain(task: str) -> Callable[[list[str]], None]:
    """Return what runs a command without Hydra, which is imported when it is needed."""

    def run(arguments: list[str]) -> None:
        code = resolve_name(task)(arguments)
        if code is not None:
            raise SystemExit(code)

    return run


def _hydra(command: Command, arguments: list[str]) -> None:
    if command.task == TRAIN and not {*_SHOWING, *_HELPING, UNTRACKED} & {*arguments}:
        # On another core, while Hydra is imported here.
        painter.prepare()
    import hydra

    from backprop_svc.cli.config import mode, words
    from backprop_svc.cli.config.schema import register
    from backprop_svc.cli.terminal.errors import FORESEEN, foreseen, is_of_hydra

    for word in arguments:
        # Hydra takes abbreviations too.
        if len(word) > 2 and "--experimental-rerun".startswith(word.partition("=")[0]):
            raise SystemExit(
                f"backprop-svc: {word} runs what a pickle file holds; allowed: the settings of "
                "a run; see config.yaml among the artifacts of the run"
            )
    if os.environ.get("HYDRA_FULL_ERROR"):
        os.environ["BACKPROP_FULL_ERROR"] = "1"
        # Hydra then writes the overrides there.
        sys.stderr = cast(TextIO, WithoutPasswords(sys.stderr))
    # Hydra raises instead of printing its own summary: `foreseen` says it in one line.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv = [sys.argv[0], *arguments]
    schema = register(command.config)
    if mode.is_left_open(arguments):
        mode.leave_open()
    # Who completes a line, or shows what a run would be told, runs nothing.
    runs_nothing = {*_COMPLETING, "job", "--help"} & {*arguments}
    task = (lambda _: None) if runs_nothing else resolve_name(command.task)
    # Hydra 1.3 warns if it is not told whose defaults are meant; later ones, if it is.
    base = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
    shown = io.StringIO() if {*_SHOWING} & {*arguments} else None
    try:
        with foreseen(*FORESEEN), redirect_stdout(shown) if shown else nullcontext():
            if not {*_COMPLETING} & {*arguments}:
                words.refuse(arguments, schema)
            hydra.main(
                config_path="pkg://backprop_svc.conf",
                config_name=command.config,
                **base,
            )(task)()
    except Exception as error:
        if not is_of_hydra(error):
            raise
        with foreseen(Exception):
            raise
    if shown:
        print(without_password(shown.getvalue()), end="")


_RUNS = ("init.run=", "init.best=", "init.sweep=")
"""Words that name runs to go on from."""
_FOLDS = "data.folds="
_SHOWING = ("--cfg", "-c", "--info", "-i")
"""Options with which Hydra shows a configuration."""
_COMPLETING = ("-sc", "--shell-completion", "--shell_completion")
"""Options with which Hydra answers a shell."""
_HELPING = ("--help", "-h", "--hydra-help", "--version", *_COMPLETING)
"""Options with which it explains something."""
UNTRACKED = "tracking=none"
TRAIN = "backprop_svc.cli.commands.train:train"

COMMANDS = {
    "train": Command(
        "[overrides]", "train one network and track the run", _train, "config", TRAIN
    ),
    "sweep": Command(
        "[overrides]",
        "train one for each combination of values (as train -m)",
        _sweep,
        "config",
        TRAIN,
    ),
    "explain": Command(
        "[overrides]",
        "show each step of the chain rule",
        _explain,
        "explain",
        "backprop_svc.cli.commands.explain:explain",
    ),
    "ui": Command(
        "[tracking.uri=… port=…]",
        "open MLflow's UI on the tracked runs",
        _plain("backprop_svc.cli.commands.ui:ui"),
    ),
    "predict": Command(
        "run=… data.path=… out=…",
        "predict for new rows with a tracked network",
        _plain("backprop_svc.cli.commands.predict:predict"),
    ),
    "model": Command(
        "run=… register=…",
        "log a tracked network as an MLflow model",
        _plain("backprop_svc.cli.commands.model:model"),
    ),
    "export": Command(
        "sweep=… out=…",
        "write the runs of a sweep, with their weights, into a table",
        _plain("backprop_svc.cli.commands.export:export"),
    ),
    "report": Command(
        "[sweep=… out=…]",
        "write the report of a sweep as a page, and open it",
        _plain("backprop_svc.cli.commands.report:report"),
    ),
    "upgrade": Command(
        "[tracking.uri=…]",
        "bring a database of an older MLflow to this one",
        _plain("backprop_svc.cli.commands.upgrade:upgrade"),
    ),
}
"""All commands: the usage text, the completion and the message for others are made of it."""

TITLE = "backprop-svc: train very many small networks and keep every one of them in MLflow."
MORE = """\
  backprop-svc train --help              all settings; overrides are Hydra's
  backprop-svc train --cfg job           the configuration, without running it
  eval "$(backprop-svc train -sc install=bash)"   shell completion

examples
  backprop-svc train train.lr=0.05 init.w1=0.7
  backprop-svc train experiment=ames
  backprop-svc train -m train.lr=0.01,0.1,0.15 'init.w1=range(-1,1.5,0.5)'
  backprop-svc explain example=chain_rule
"""


if __name__ == "__main__":
    main()

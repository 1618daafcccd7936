"""Walks through one epoch of a tracked run: its chain rule, with the numbers of that epoch."""

from __future__ import annotations

from backprop_svc.cli.commands import words
from backprop_svc.cli.commands.pages import check_page, write_page
from backprop_svc.cli.config.again import Again
from backprop_svc.cli.terminal.errors import FORESEEN, foreseen, stop
from backprop_svc.cli.terminal.tables import print_explanation
from backprop_svc.explain import explain
from backprop_svc.interactive.terminal import say
from backprop_svc.tracking import DEFAULT_URI

USAGE = f"""\
backprop-svc explain run=… [epoch=0] [row=0] [out=walk.html] [tracking.uri={DEFAULT_URI}]
Walks a tracked run through the chain rule at one of its epochs, for one row of its data. The
run is trained again from its settings, and its loss is compared with the one that was tracked.
  run    a run id (32 hex digits), or best: the best run of sweep=… (its identity, or last)
  epoch  counted from 0; the last one by default
  row    of the rows that it was trained on, counted from 0
  out    also write a page with the network drawn, a file that ends with .html"""
SETTINGS = ("run", "sweep", "epoch", "row", "out", "tracking.uri")


def explain_run(arguments: list[str]) -> None:
    """Print the walk that the arguments ask for, and write its page."""
    given = words.read("explain", arguments, SETTINGS, USAGE)
    out = given.get("out")
    if out is not None:
        check_page(out)
    epoch, row = (_number(given, name) for name in ("epoch", "row"))
    with foreseen(*FORESEEN):
        run_id = words.run_of("explain", given)
        again = Again.of(run_id, given.get("tracking.uri"))
        moment = again.at(epoch, row or 0)
        network = again.experiment.network
        walk = explain(
            network, moment.weights, moment.x, moment.y, learning_rate=moment.learning_rate
        )
        say(moment.told)
        print_explanation(walk)
        if out is None:
            return
        from backprop_svc.plots.page.walk import walk_page

        page = walk_page(
            network, moment.weights.tolist(), moment.x, moment.y, walk, moment.told
        )
        write_page(out, page.html.encode(), "page")


def _number(given: dict[str, str], name: str) -> int | None:
    value = given.get(name)
    if value is not None and not (value.isdecimal() and len(value) < 19):
        stop(f"{name} is {value!r}; allowed: whole numbers from 0; try {name}=0")
    return None if value is None else int(value)

"""What a training takes from the tracked run that it goes on from: ``init.run``.

Network, data and training are those of the run; what the command line gives replaces them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from backprop_svc.cli.config.overrides import name_of
from backprop_svc.cli.config.schema import Config
from backprop_svc.errors import SettingError
from backprop_svc.sweep.axes import OF_LAYERS
from backprop_svc.tracking import TrackedRun, load_run
from backprop_svc.tracking.entities import MLFLOW_PARENT_RUN_ID
from backprop_svc.tracking.parents import INDEX
from backprop_svc.tracking.read import load_text
from backprop_svc.tracking.states import to_json
from backprop_svc.train import SHARED

Section = dict[str, Any]
SETTING = "init.run"
PARTS = {"train.schedule_epochs": "train.schedule"}
"""Settings that are not the run's where another one is given, of which they are a part."""
OF_THE_MACHINE = "threads"
"""The setting of training that is not the run's."""


def run_to_go_on(run_id: str, config: Config) -> TrackedRun:
    """Return a tracked run that can go on.

    Raises
    ------
    SettingError
        There is no such run; it diverged; its weights or its state were not kept.
    ConnectionError
        The store cannot be opened.
    """
    run = _tracked(run_id, config.tracking.uri)
    # Refuses runs without weights.
    network = run.model.network
    if run.state is None:
        optimizer = run.params.get("train.optimizer", "an optimizer with a memory")
        raise _refused(
            run_id, f"which was kept without what {optimizer} remembers",
            "train it again: this version keeps it",
        )  # fmt: skip
    if run.state.epochs[0] < 0:
        raise _refused(run_id, "which diverged", "choose another one, such as init.run=best")
    assert network is run.network
    return run


def go_on(config: DictConfig, words: Iterable[str], data_name: str) -> tuple[DictConfig, str]:
    """Return a configuration with the settings of the run that goes on, if one does.

    Parameters
    ----------
    config
        What Hydra composed.
    words
        The overrides that it was given: these settings stay.
    data_name
        The option of ``data`` that Hydra chose; the one of the run is returned.
    """
    run_id = cast(Config, config).init.run
    if run_id is None:
        return config, data_name
    given = {name_of(word) for word in words}
    for name in sorted(given):
        if name.partition(".")[0] == "init" and name != SETTING:
            raise SettingError(
                name, f"given with {SETTING}", "one of them",
                f"leave {name} out: the weights are those of the run",
            )  # fmt: skip
    run = run_to_go_on(run_id, cast(Config, config))
    filled = config.copy()
    if "experiment" in given:
        # Whoever repeats a preset means its settings.
        return filled, data_name
    whole = {name.partition("@")[0] for name in given}
    sections = _settings(run, cast(Config, config).tracking.uri, data="data" not in whole)
    for section, values in sections.items():
        if section in whole:
            continue
        for name, value in values.items():
            full = f"{section}.{name}"
            is_given = PARTS.get(full) in given or any(
                one == full or one.startswith(f"{full}.") for one in given
            )
            if name in config[section] and not is_given:
                OmegaConf.update(filled, full, value, merge=False)
    return filled, data_name if "data" in whole else run.params.get("data", data_name)


def common_parent(run_ids: Iterable[str | None], uri: str) -> str | None:
    """Return the run that a sweep goes on from, or the sweep that all its runs are of."""
    found = list(run_ids)
    if len(found) > 1:
        parents = [
            _tracked(i, uri).tags.get(MLFLOW_PARENT_RUN_ID) if i else None for i in found
        ]
        found = list(dict.fromkeys(parents))
    return found[0] if len(found) == 1 else None


@cache
def _tracked(run_id: str, uri: str) -> TrackedRun:
    try:
        return load_run(run_id, tracking=uri)
    except SettingError as error:
        raise error.renamed(SETTING) if error.name == "run_id" else error from None


def _refused(run_id: str, why: str, fix: str) -> SettingError:
    return SettingError(SETTING, f"{run_id}, {why}", "runs that can go on", fix)


def _settings(run: TrackedRun, uri: str, *, data: bool) -> dict[str, Section]:
    """Return the settings of a run, section by section."""
    if run.network is None:
        raise RuntimeError("a run without a network cannot go on")
    network = {"hidden": None, **json.loads(to_json(run.network))}
    is_of_sweep = INDEX in run.tags
    owner = run.tags[MLFLOW_PARENT_RUN_ID] if is_of_sweep else run.run_id
    kept = _kept(owner, uri)
    train = _trained(run) if is_of_sweep or "train" not in kept else kept["train"]
    train = {name: value for name, value in train.items() if name != OF_THE_MACHINE}
    sections = {"network": network, "train": train}
    if data:
        sections["data"] = _data(run, kept, uri)
    return sections


def _kept(run_id: str, uri: str) -> dict[str, Section]:
    """Return the configuration among the artifacts of a run."""
    text = load_text(run_id, "config.yaml", tracking=uri)
    config = OmegaConf.create(text or "{}")
    sections = cast(dict[str, Any], OmegaConf.to_container(config, resolve=False))
    return {name: value for name, value in sections.items() if isinstance(value, dict)}


def _trained(run: TrackedRun) -> Section:
    """Return how a run of a sweep was trained: it keeps what is not a default."""
    found: Section = {**{name.removeprefix("train."): None for name in OF_LAYERS}, **SHARED}
    own = {
        name.removeprefix("train."): value
        for name, value in run.params.items()
        if name.startswith("train.")
    }
    found |= {name: value for name, value in own.items() if name in found or name == "lr"}
    # A rate for each layer: those that cannot be named have the same, and are not frozen.
    rates = [value for name, value in own.items() if name.startswith("lr") and name != "lr"]
    return {"lr": [rate for rate in rates if float(rate)][-1], **found} if rates else found


def _data(run: TrackedRun, kept: dict[str, Section], uri: str) -> Section:
    """Return the data of a run, as its sweep or its own configuration has them."""
    before = run.params.get(SETTING, "").strip("'\"") if INDEX in run.tags else ""
    earlier = _tracked(before, uri) if before else None
    if earlier is not None and earlier.params.get("data") == run.params.get("data"):
        data = _settings(earlier, uri, data=True)["data"]
    else:
        data = dict(kept.get("data", {}))
        parent = run
        if INDEX in run.tags:
            parent = _tracked(run.tags[MLFLOW_PARENT_RUN_ID], uri)
        swept = [n for n in ("data", "experiment") if run.params.get(n) != parent.params.get(n)]
        if not data or swept:
            raise _refused(
                run.run_id, "of which the data are not known here",
                "give them: data=csv data.path=…, say; or use bp.train(…, state=run.state)",
            )  # fmt: skip
    read = OverridesParser.create().parse_override
    for name, value in run.params.items():
        section, _, field = name.partition(".")
        if INDEX in run.tags and section == "data" and field in data:
            data[field] = read(f"{name}={value}").value()
    return data

"""Configurations that are composed from earlier ones are those that Hydra composes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import cloudpickle  # type: ignore[import-untyped]
import hydra
import pytest
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from hydra.types import RunMode
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from backprop_svc.cli.config.schema import register
from hydra_plugins.backprop_batch_sweeper._composer import Composer

WORDS = [
    ["train.lr=0.1", "train.lr=1e-3", "train.lr=[0.1,0.2]", "train.lr=${train.momentum}"],
    ["train.optimizer=adam", "train.optimizer=momentum"],
    ["network.hidden=[4]", "network.hidden=[8,4]", "network.hidden=null", "network.hidden=[]"],
    ["network.activation=tanh", 'network.activation="relu"'],
    ["data=xor", "data=iris", "data=one"],
    ["data.x=[[1,2],[3,4]]", "data.x=5", "data.x=all"],
    ["data.unit='a, b'", "data.unit=${data.x}", "data.unit=null"],
    ["experiment=xor", "experiment=digits"],
    ["init=he", "init=normal", "init=weights"],
    ["init.seed=3", "init.seed=4"],
    ["tracking=none", "tracking=mlflow"],
    ["tracking.uri=sqlite:///a=b.db", "tracking.uri=null"],
    ["train.epochs=3", "train.epochs=foo", "train.epochs=-1"],
    ["train={lr:0.3}", "train={epochs:7,lr:0.1}"],
    ["~data.unit", "+data.unit=m", "++data.unit=km"],
    ["+network.more=1", "++network.more=2"],
    ["hydra.verbose=true", "hydra.verbose=false"],
    ["sweep.id='0123456789abcdef'", "sweep.axes=['train.lr=0.1','init.w1=1']"],
]
"""Alternatives of which a job has one."""


@pytest.fixture(scope="module")
def loaded() -> Iterator[tuple[ConfigLoader, DictConfig]]:
    before = copy.copy(Singleton.get_state())
    register("config")
    # Hydra 1.3 warns if it is not told whose defaults are meant; later ones, if it is.
    base = {"version_base": "1.3"} if hydra.__version__.startswith("1.3.") else {}
    with hydra.initialize_config_module("backprop_svc.conf", **base):
        loader = GlobalHydra.instance().config_loader()
        yield loader, loader.load_configuration("config", [], RunMode.MULTIRUN)
    Singleton.set_state(before)


def composed(loader: Any, master: DictConfig, words: list[str]) -> object:
    try:
        config = loader.load_sweep_config(master, words)
    except HydraException as error:
        return type(error), str(error)
    flags = [
        OmegaConf.is_struct(config),
        OmegaConf.is_struct(config.train),
        OmegaConf.is_readonly(config.hydra),
    ]
    return OmegaConf.to_container(config), OmegaConf.get_type(config, "train"), flags


@st.composite
def jobs(draw: st.DrawFn) -> list[list[str]]:
    """Draw jobs of one sweep, which set the same settings in one order, or some of them."""
    settings = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4, unique_by=id))
    one = st.tuples(*(st.sampled_from([*words, ""]) for words in settings))
    job = one.map(lambda words: [word for word in words if word])
    return draw(st.lists(job, min_size=2, max_size=4))


@given(jobs())
@settings(max_examples=10, deadline=None)
def test_as_hydra_composes(
    loaded: tuple[ConfigLoader, DictConfig], jobs: list[list[str]]
) -> None:
    loader, master = loaded
    composer = Composer(loader)
    for words in jobs:
        assert composed(composer, master, words) == composed(loader, master, words)


def test_each_job_has_a_configuration_of_its_own(
    loaded: tuple[ConfigLoader, DictConfig],
) -> None:
    composer, master = Composer(loaded[0]), loaded[1]
    first = composer.load_sweep_config(master, ["network.hidden=[4]"])
    first.network.hidden.append(5)
    first.train.epochs = 1
    second = composer.load_sweep_config(master, ["network.hidden=[8]"])
    second.network.hidden.append(9)
    third = composer.load_sweep_config(master, ["network.hidden=[8]"])
    assert third.network.hidden == [8]
    assert third.train.epochs != 1


def test_files_are_read_once(
    loaded: tuple[ConfigLoader, DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    loader, master = loaded
    composer, inner = Composer(loader), loader.load_configuration
    calls: list[object] = []

    def load(*given: Any, **named: Any) -> DictConfig:
        calls.append(given)
        return inner(*given, **named)

    monkeypatch.setattr(loader, "load_configuration", load)
    for group in ("xor", "iris"):
        for rate in range(1, 6):
            composer.load_sweep_config(master, [f"data={group}", f"train.lr={rate}"])
    assert len(calls) == 2
    # What the job of a shard is told beside them.
    composer.load_sweep_config(master, ["data=iris", "train.lr=1", "sweep.shard=1"])
    assert len(calls) == 2


def test_another_process_may_get_it(loaded: tuple[ConfigLoader, DictConfig]) -> None:
    composer = Composer(loaded[0])
    again = cloudpickle.loads(cloudpickle.dumps(composer))
    words = ["train.lr=0.5"]
    assert composed(again, loaded[1], words) == composed(composer, loaded[1], words)

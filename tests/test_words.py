"""Words of the command line: kept as values and read again, and written for a shell."""

from __future__ import annotations

import math
import shlex
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hypothesis import given
from hypothesis import strategies as st

from backprop_svc.cli.config.overrides import in_quotes, settings_of, value_of
from backprop_svc.cli.terminal.meant import axis
from backprop_svc.datasets.reading import with_column

TEXTS = st.text("ab 0195.,:;#-+'\"\\[]{}()~$€=%@/_nulltre*|&!?<>^`\t", max_size=6)


def parsed(word: str) -> Any:
    return OverridesParser.create().parse_override(word)


@given(TEXTS, TEXTS, st.booleans())
def test_a_kept_value_is_read_as_it_was_given(first: str, second: str, is_bare: bool) -> None:
    for value in (first if is_bare else in_quotes(first), f"[{in_quotes(first)},{second}]"):
        word = f"data.y={value}"
        try:
            given = parsed(word)
        except HydraException:
            continue
        if not given.is_sweep_override():
            again, meant = value_of(settings_of([word])["data.y"]), given.value()
            assert type(again) is type(meant)
            assert repr(again) == repr(meant)


@given(TEXTS.filter(str.strip))
def test_a_fix_with_a_column_can_be_pasted(column: str) -> None:
    (word,) = shlex.split(with_column("dates", column))
    assert parsed(word).value() == [column]


@given(
    st.sampled_from(["train.lr", "init.w1", "train.epochs", "init.seed", "train.batch_size"]),
    st.sampled_from(["linspace({})", "np.logspace({})", "loguniform({})", "[{}]", "range({})"]),
    st.lists(st.sampled_from(["0", "1", "-1", "0.1", "1e3", "5", "10", "400"]), max_size=4),
    st.sampled_from([",", " ", ":", "..", "; "]),
)
def test_what_is_told_of_several_numbers_is_an_axis(
    name: str, form: str, numbers: list[str], sign: str
) -> None:
    told = axis(name, form.format(sign.join(numbers)))
    if told is None:
        return
    word, *more = shlex.split(told)
    override = parsed(word)
    assert override.get_key_element() == name
    assert override.is_sweep_override()
    if override.is_interval_sweep():
        low, high = override.value().start, override.value().end
        assert -math.inf < low < high < math.inf
        assert low > 0 or "log" not in override.value().tags
        assert name not in {"train.epochs", "init.seed", "train.batch_size"}
    else:
        assert all(isinstance(value, (int, float)) for value in override.sweep_iterator())
    assert [parsed(one).get_key_element() for one in more] in ([], ["sweep.points"])


@pytest.mark.parametrize(
    "text", ["0", "0.1", "x", "", "[]", "()", "[0.1]", "linspace(0,1,2,3)"]
)
def test_one_number_is_no_axis(text: str) -> None:
    assert axis("train.lr", text) is None

"""Several seeds of one setting are one thing: its runs are told by mean and deviation."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Integers
from backprop_svc.errors import counted
from backprop_svc.metric import objective

if TYPE_CHECKING:
    from backprop_svc.sweep.outcomes import Outcomes

SEEDS = ("init.seed", "train.batch_seed", "data.validation_seed", "data.fold")
"""Axes that change nothing but chance; a fold is what rows chance has set aside."""
MEAN, DEVIATION, RUNS, FAILED = "mean", "deviation", "runs", "failed"
"""Columns that stand for the runs of a setting."""
MOST_WRITTEN = 10_000
"""Settings that the file of a sweep has."""
HEADING = "**Best settings**"


def seeds(outcomes: Outcomes) -> tuple[str, ...]:
    """Return which axes of a sweep are seeds that differ."""
    swept = {name for name, values in outcomes.points.items() if (values != values[0]).any()}
    return tuple(name for name in SEEDS if name in swept or _differs(outcomes, name))


def best_settings(outcomes: Outcomes, count: int) -> list[dict[str, Any]]:
    """Return the best settings of a sweep: see :meth:`Outcomes.best_settings`."""
    group, firsts = _groups(outcomes)
    values = outcomes.scores
    there = np.isfinite(values)
    runs = np.bincount(group)
    finite = np.bincount(group[there], minlength=len(runs))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        mean = np.bincount(group[there], values[there], len(runs)) / finite
        apart = (values[there] - mean[group[there]]) ** 2
        deviation = np.sqrt(np.bincount(group[there], apart, len(runs)) / (finite - 1))
    deviation[finite < 2] = np.nan
    failed = runs - finite
    rank = np.where(finite > 0, objective(outcomes.metric, mean), np.inf)
    order = np.lexsort((rank, failed / runs))[:count]
    best = _best_runs(outcomes, group, order)
    told = _told(outcomes, firsts[order])
    return [
        {
            **settings,
            MEAN: float(mean[which]),
            DEVIATION: float(deviation[which]),
            RUNS: int(runs[which]),
            FAILED: int(failed[which]),
            "best_run_id": outcomes.run_id(run),
        }
        for which, run, settings in zip(order.tolist(), best, told, strict=True)
    ]


def shown(setting: Mapping[str, Any]) -> str:
    """Write what a metric is over the runs of a setting: ``0.12 ± 0.01``."""
    if setting[FAILED] == setting[RUNS]:
        return "none is finite"
    text = f"{setting[MEAN]:.5g}"
    if np.isfinite(setting[DEVIATION]):
        text += f" ± {setting[DEVIATION]:.2g}"
    if setting[FAILED]:
        text += f" ({setting[FAILED]} of {counted(setting[RUNS], 'run')} failed)"
    return text


def differing(outcomes: Outcomes) -> list[str]:
    """Return in which settings and axes, without seeds, runs differ."""
    words = dict.fromkeys(name for chunk in outcomes.chunks for name in chunk.settings)
    found = [name for name in words if _differs(outcomes, name)]
    return [name for name in (*found, *outcomes.points) if name not in SEEDS]


def _differs(outcomes: Outcomes, name: str) -> bool:
    """Tell whether a setting differs between configurations."""
    return len({str(chunk.settings.get(name)) for chunk in outcomes.chunks}) > 1


def of_all(outcomes: Outcomes, shown: int) -> str:
    """Say which share of all settings is shown; nothing where all are."""
    _, firsts = _groups(outcomes)
    return f" ({shown} of {len(firsts):,})" if shown < len(firsts) else ""


def title(outcomes: Outcomes) -> str:
    """Say what the best settings are told by."""
    return f"{outcomes.metric}, mean ± deviation over {' and '.join(outcomes.seeds)}"


def note(outcomes: Outcomes, count: int = 5) -> str:
    """Write the best settings as a table in Markdown; an empty text without seeds."""
    best = outcomes.best_settings(count) if outcomes.seeds else []
    if not best:
        return ""
    names = differing(outcomes)
    lines = [
        f"{HEADING}{of_all(outcomes, len(best))}: {title(outcomes)}",
        "",
        f"| {' | '.join([*(f'`{name}`' for name in names), outcomes.metric])} |",
        f"|{' --- |' * (len(names) + 1)}",
        *(f"| {' | '.join([*(_cell(s[n]) for n in names), shown(s)])} |" for s in best),
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """Write a value as code in a table of Markdown, whatever signs it has."""
    text = " ".join(str(value).split()).replace("`", "'").replace("|", r"\|")
    return f"`{text}`" if isinstance(value, str) and text else text


def to_csv(outcomes: Outcomes) -> bytes:
    """Write all settings as a table, the best first."""
    rows = outcomes.best_settings(MOST_WRITTEN)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _groups(outcomes: Outcomes) -> tuple[Integers, Integers]:
    """Return the setting of each run, and the first run of each setting."""
    group = np.zeros(len(outcomes), np.int64)
    names = dict.fromkeys(
        name
        for chunk in outcomes.chunks
        for name in (*chunk.settings, *chunk.points.values)
        if name not in SEEDS
    )
    for name in names:
        _, values = np.unique(_column(outcomes, name), return_inverse=True)
        _, group = np.unique(group * (values.max() + 1) + values, return_inverse=True)
    _, firsts = np.unique(group, return_index=True)
    # In the order of the sweep.
    order = np.argsort(firsts)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return place[group], firsts[order]


def _column(outcomes: Outcomes, name: str) -> NDArray[Any]:
    """Return an axis or a setting of each run; settings as texts."""
    return np.concatenate(
        [
            np.asarray(chunk.points.values[name])
            if name in chunk.points.values
            else np.full(len(chunk.result), str(chunk.settings.get(name)))
            for chunk in outcomes.chunks
        ]
    )


def _best_runs(outcomes: Outcomes, group: Integers, chosen: Integers) -> list[int]:
    """Return the position of the best run of each of some settings."""
    rank = np.argsort(objective(outcomes.metric, outcomes.scores), kind="stable")
    _, first = np.unique(group[rank], return_index=True)
    best: list[int] = rank[first][chosen].tolist()
    return best


def _told(outcomes: Outcomes, rows: Sequence[int] | Integers) -> list[dict[str, Any]]:
    """Return the settings and the point of some runs, without seeds."""
    found = []
    for chunk, own in map(outcomes.owner, np.asarray(rows).tolist()):
        point = {name: values[own].item() for name, values in chunk.points.values.items()}
        found.append({n: v for n, v in {**chunk.settings, **point}.items() if n not in SEEDS})
    return found

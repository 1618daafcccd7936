"""The sweep that :mod:`backprop_svc` offers to Python."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.errors import SettingError, SettingTypeError, shown
from backprop_svc.interactive.experiment import build, describe, histories
from backprop_svc.memory import refuse_points
from backprop_svc.settings import check
from backprop_svc.sweep import description
from backprop_svc.sweep.axes import Axis, Zipped, axis_name, grid
from backprop_svc.sweep.chunk import Chunk
from backprop_svc.sweep.curves import sample_curves
from backprop_svc.sweep.description import Shared
from backprop_svc.sweep.engine import run
from backprop_svc.sweep.estimate import Estimate
from backprop_svc.sweep.experiment import Draw
from backprop_svc.sweep.naming import Naming, short
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.parent import Parent, Tracking, identity
from backprop_svc.sweep.plan import plan
from backprop_svc.sweep.sampler import GRID, GridSampler
from backprop_svc.sweep.space import Interval
from backprop_svc.tracking import Sweep
from backprop_svc.tracking.record import history_interval
from backprop_svc.tracking.states import Keep, check_keep
from backprop_svc.train import Record

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Progress = Callable[[Chunk], object]


def sweep(
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    axes: Mapping[str, Axis],
    *,
    init: ArrayLike | str | Draw | None = None,
    learning_rate: ArrayLike | None = None,
    validation: tuple[ArrayLike, ArrayLike] | None = None,
    metric: str | None = None,
    sampler: str = GRID,
    points: int | Sequence[int] | None = None,
    samples: int | None = None,
    sampler_seed: int = 0,
    tracking: str | None = None,
    experiment: str = "backprop-svc",
    history: str = "all",
    keep_weights: Keep = "all",
    data: str = "arrays",
    sweep_id: str | None = None,
    resume: str | None = None,
    record: Record | Collection[Record] = (),
    progress: bool | Progress | None = None,
    **settings: Any,
) -> Outcomes:
    """Train the network at every point of some axes, and keep every run in MLflow if asked.

    The same axes give the same runs, in the same order and with the same bits, as
    ``backprop-svc sweep``. Memory stays bounded, whatever the number of runs, unless
    histories are recorded.

    Parameters
    ----------
    network, x, y
        What is trained, and on what: see :func:`backprop_svc.train`.
    axes
        What differs from run to run, by its name on the command line: ``train.lr``;
        ``train.lr1``, ``train.lr2`` and so on (of the first layer, the second and so on; 0
        freezes it); ``train.momentum``, ``train.beta2``, ``train.weight_decay``,
        ``train.batch_seed``; ``network.gain``, ``network.negative_slope``; ``init.w1``,
        ``init.w2``, ``init.seed``, ``init.scale``, ``init.offset``. ``lr`` is short for
        ``train.lr``, and so on. An axis is a list or an array of numbers, an
        :class:`Interval` or a :class:`LogInterval`; the product of all axes is trained, the
        last of them varying fastest. Axes that are :class:`Zipped` go together.
    init
        Initial weights, shape (parameters,), of which axes replace some; or the method by
        which they are drawn, such as ``"he"``, or a :class:`Draw`. By default those of the
        guide, 0.5 and 1, for networks of at most two weights.
    learning_rate
        A number, or shape (layers,); 0.1 by default. An axis of learning rates replaces it.
    validation
        Inputs and targets that are not trained on.
    metric
        What tells which run is the best: ``loss``, of classes ``accuracy``, of numbers that
        differ from row to row ``rmse`` and ``r2``; with rows of validation ``val_loss`` (the
        default), ``val_accuracy``, ``val_rmse``, ``val_r2``.
    sampler, points, samples, sampler_seed
        ``"grid"`` takes ``points`` evenly spaced values of each interval (a number, 10 by
        default, or a list with one for each); ``"random"``, ``"latin"`` and ``"sobol"`` take
        ``samples`` samples, 64 by default, of all intervals at once, by a seed.
    tracking, experiment
        MLflow's tracking URI, such as ``"sqlite:///mlflow.db"``, and the experiment in it;
        nothing is tracked by default.
    history
        What the store keeps of each run: ``"all"``, ``"every:10"``, ``"last"``, ``"none"``.
    keep_weights
        Of which runs the store keeps the final weights and gradients: ``"all"``, ``"best"``
        (of each chunk of runs), ``"none"``.
    data
        The name of the data, which the tracked runs show.
    sweep_id
        The identity of a new sweep, 16 hex digits, drawn by default; where the store has
        that sweep, the same call goes on. ``sweep_id`` beside ``resume`` is refused.
    resume
        ``"last"``, the newest sweep that was not finished, or the identity of a sweep: the
        same call goes on.
    record
        Histories that the outcomes keep in memory: ``loss``, ``prediction``, ``gradients``,
        ``weights``, with ``sharpness=True`` also that of the sharpness. They hold every epoch:
        there is no ``record_every`` here.
    progress
        Whether a bar is shown, by default in a terminal and a notebook; or what is called
        with each chunk of runs that was trained.
    settings
        All other settings of :func:`backprop_svc.train`, such as ``epochs``.

    Returns
    -------
    One row for each run.

    Raises
    ------
    SettingError
        Axes or settings that no run could have; a sweep to resume that is not there, was
        begun with other ones, or is being written by another process; a ``ValueError``.
    ConnectionError
        The tracking store cannot be opened, is full, or away for longer than a minute.
    MemoryError
        The points, or the histories that are recorded, do not fit in memory, or the runs
        on the disk of a SQLite file.
    KeyboardInterrupt
        Ctrl-C. A tracked sweep is then KILLED in MLflow, what was written stays, and the
        message names the ``resume`` with which the same call goes on.

    >>> import backprop_svc as bp
    >>> axes = {"lr": bp.LogInterval(0.01, 1), "w1": [-1, 0.5]}
    >>> outcomes = bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, axes, points=3, epochs=50)
    >>> outcomes["train.lr"], outcomes["outcome"][:2]
    (array([0.01, 0.01, 0.1 , 0.1 , 1.  , 1.  ]), array(['dead', 'unresolved'], dtype='<U11'))
    """
    if not (callable(progress) or progress is None or isinstance(progress, bool)):
        raise SettingTypeError(
            "progress", shown(progress), "True, False, None or a function of a chunk",
            "leave it out",
        )  # fmt: skip
    if resume is not None and sweep_id is not None:
        raise SettingError(
            "sweep_id", f"{shown(sweep_id)}, beside resume", "one of them",
            "leave one of them out",
        )  # fmt: skip
    history = check("history", history, str)
    history_interval(history)
    keep_weights = _keep(keep_weights)
    if tracking is None:
        for name, value, usual in (
            ("history", history, "all"),
            ("keep_weights", keep_weights, "all"),
            ("experiment", experiment, "backprop-svc"),
        ):
            if value != usual:
                raise SettingError(
                    name, f"{shown(value)}, and nothing is tracked", "with tracking",
                    "give tracking a URI, or leave it out",
                )  # fmt: skip
    kept = histories(record)
    metric = check("metric", metric, str | None)
    pairs = _pairs(axes)
    named = {axis_name(name): axis for name, axis in pairs}
    if len(named) < len(pairs):
        raise SettingError(
            "axes", "one of them twice", "each once", "remove one of them", verb="has"
        )
    _refuse_unused(named, sampler, points, samples)
    try:
        where = grid(
            named,
            sampler=sampler,
            points=10 if points is None else points,
            samples=64 if samples is None else samples,
            seed=sampler_seed,
        )
    except SettingError as error:
        if error.name != "seed":
            raise
        raise error.renamed("sampler_seed") from None
    work = build(network, x, y, where, init, learning_rate, validation, data, settings, metric)
    work.check(where)
    uri = check("tracking", tracking, str | None)
    experiment = check("experiment", experiment, str)
    store = None if uri is None else Tracking(uri, experiment, history, keep_weights)
    sweep_id = identity(store, resume=resume, told=sweep_id)
    parent = None
    # The command writes init=normal for the same.
    words = {"init": work.init.method} if isinstance(work.init, Draw) else {}
    if store is None:
        refuse_points(len(where))
    else:
        if resume is None:
            needed = Estimate.of(work, where, len(where), store, table=True)
            needed.refuse(history="history=", none="tracking=None")
        axes_told = description.axes(where, {})
        shared = Shared()
        shared.add(work, where, words)
        told = Sweep(
            sweep_id,
            axes=short(axes_told),
            description=description.text(axes_told, len(where)),
            params=shared.params(axes_told),
            config=describe(work, where),
            plan=plan(work, where, history, keep_weights),
            resume=resume is not None,
            metric=work.by,
        )
        parent = Parent.open(store, told)
    try:
        with _bar(progress, len(where)) as bar:
            outcomes = run(
                work,
                GridSampler(where),
                sweep=sweep_id,
                parent=parent,
                settings=words,
                naming=Naming.of(where),
                record=kept,
                progress=bar,
            )
        outcomes = replace(outcomes, experiment=work)
        if parent is None:
            return outcomes
        from backprop_svc.plots.report import summary

        curves = sample_curves([work], outcomes) if work.settings["epochs"] else None
        place = parent.finish(summary(outcomes, curves, place=parent.place))
    except BaseException as error:
        if parent is not None:
            _end(parent, error, sweep_id)
        raise
    return replace(outcomes, place=place)


def _keep(keep: object) -> Keep:
    try:
        return check_keep(keep)
    except SettingError as error:
        raise error.renamed("keep_weights") from None


def _refuse_unused(
    axes: Mapping[str, Axis], sampler: str, points: object, samples: object
) -> None:
    """Refuse counts that change nothing: without an interval, or of another sampler."""
    bare = [axis.values if isinstance(axis, Zipped) else axis for axis in axes.values()]
    has_interval = any(isinstance(axis, Interval) for axis in bare)
    is_grid = type(sampler) is str and sampler == GRID
    for name, value, used, when in (
        ("points", points, is_grid, 'with an interval and sampler="grid"'),
        ("samples", samples, not is_grid, "with an interval and another sampler than grid"),
    ):
        if value is not None and not (used and has_interval):
            raise SettingError(
                name, f"{shown(value)} and would change nothing", when, "leave it out"
            )


def figure(outcomes: Outcomes) -> Figure:
    """Draw the metric of a sweep, the last loss say, over its one or two axes with most values.

    Raises
    ------
    SettingTypeError
        These are no outcomes of a sweep.
    """
    if not isinstance(outcomes, Outcomes):
        raise SettingTypeError(
            "outcomes", shown(outcomes), "Outcomes", "give it what bp.sweep returned"
        )
    from backprop_svc.plots.sweep import map_figure

    return map_figure(outcomes.points, outcomes.scores, outcomes.outcome, outcomes.metric)


def _pairs(axes: object) -> list[tuple[str, Axis]]:
    """Return the axes with their names."""
    try:
        if isinstance(axes, Mapping):
            return list(axes.items())
    except Exception:
        # Objects may raise anything when they are looked at.
        pass
    raise SettingTypeError(
        "axes", shown(axes), "axes by their names", 'write {"lr": [0.1, 0.2]}, say'
    )


def _bar(
    progress: bool | Progress | None, total: int
) -> AbstractContextManager[Progress | None]:
    if callable(progress):
        return nullcontext(progress)
    if progress is False:
        return nullcontext()
    from backprop_svc.interactive.progress import SweepBar

    return SweepBar(total, progress)


def _end(parent: Parent, error: BaseException, sweep: str) -> None:
    """End the parent; say how to go on where the error came from outside."""
    also = ""
    try:
        parent.fail(error)
    except ConnectionError as second:
        also = f"; {second}"
    told = f"what was written stays: the same call with resume={sweep!r} goes on{also}"
    if isinstance(error, KeyboardInterrupt):
        raise KeyboardInterrupt(f"the sweep was stopped; {told}") from None
    if isinstance(error, ConnectionError):
        raise ConnectionError(f"{error}; {told}") from error

"""Kills, hostile calls and random command lines, for hours: `make torture`.

Each part prints a row of the table in docs/reliability.md, and each has its number::

    python tests/torture.py --sqlite 100 --postgresql 100 --server 100 --calls 1000000
                            --commands 10000 --seed 1

What a part finds is printed as it is found; the return code is 1 if there is anything. Ctrl-C
ends it with the row of the part as far as it went.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import sqlalchemy as sa

import stores
from backprop_svc.cli.config.choices import INTERNAL, SETTINGS_OF_USERS
from backprop_svc.tracking.store import prepare
from command import CLEAN, COMMAND

AXES = ["train.lr=tag(log,interval(0.001,1))", "init.w1=interval(-2,2)"]
SIZES = {"sqlite": (60, 100), "postgresql": (60, 100), "server": (6, 10)}
"""Points of a sweep's two axes: some seconds of writing."""
PHASES = ("opening", "writing", "summary", "any moment")
PATIENCE = 180.0
"""Seconds after which a sweep counts as hanging."""
LONG = 30
"""Seconds of the processor after which a command of a small training counts as hanging."""
ASLEEP = 10 * LONG
"""Seconds after which one counts as hanging that uses no processor."""


@dataclass
class Row:
    """What came of a part, as docs/reliability.md shows it."""

    part: str
    tried: int = 0
    survived: int = 0
    lost: int = 0
    doubled: int = 0
    running: int = 0
    panics: int = 0
    hangs: int = 0
    undocumented: int = 0

    def __str__(self) -> str:
        return "| " + " | ".join(f"{getattr(self, f.name)}" for f in fields(self)) + " |"

    @property
    def is_clean(self) -> bool:
        return self.survived == self.tried

    def judge(self, said: str) -> bool:
        """Count what a process said that it should not; return whether there was nothing."""
        panic, trace = "panicked at" in said or "PanicException" in said, "Traceback" in said
        self.panics += panic
        self.undocumented += trace and not panic
        if panic or trace:
            print(said[-3000:], file=sys.stderr, flush=True)
        return not (panic or trace)


@contextmanager
def store(kind: str, folder: Path) -> Iterator[tuple[str, sa.Engine]]:
    """A store of its own: its tracking URI, and the database in which its rows are."""
    with ExitStack() as stack:
        if kind == "postgresql":
            uri = database = stack.enter_context(stores.postgres_server(folder / "postgres"))
            prepare(uri)
        else:
            uri = database = stores.empty_database(folder / "mlflow.db")
        if kind == "server":
            uri = stack.enter_context(stores.mlflow_server(database, folder))
        engine = sa.create_engine(database)
        stack.callback(engine.dispose)
        yield uri, engine


def kills(row: Row, kind: str, count: int, seed: int) -> None:
    """Kill sweeps, some of them several times, and look at what they leave in the end."""
    moments = random.Random(seed)
    points = SIZES[kind]
    total = points[0] * points[1]
    with TemporaryDirectory() as name, store(kind, Path(name)) as (uri, engine):
        words = [*AXES, f"sweep.points=[{points[0]},{points[1]}]", f"tracking.uri={uri}"]
        while row.tried < count:
            sweep, killed = f"{moments.getrandbits(60):016x}", 0
            for _ in range(min(moments.randint(1, 4), count - row.tried)):
                known = "resume" if _parents(engine, sweep) else "id"
                process = _start(Path(name), [*words, f"sweep.{known}={sweep}"])
                phase = PHASES[(row.tried + killed) % len(PHASES)]
                _wait_for(phase, process, engine, sweep, total, moments)
                killed += process.poll() is None
                process.kill()
                process.communicate()
            clean = True
            known = "resume" if _parents(engine, sweep) else "id"
            process = _start(Path(name), [*words, f"sweep.{known}={sweep}"])
            try:
                out, err = process.communicate(timeout=PATIENCE)
                clean = row.judge(out + err) and process.returncode == 0
                if process.returncode != 0:
                    print(out, err, file=sys.stderr, flush=True)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                row.hangs, clean = row.hangs + 1, False
            found, distinct, running = _children(engine, sweep)
            row.lost += total - distinct
            row.doubled += found - distinct
            row.running += running
            clean = clean and (found, distinct, running) == (total, total, 0)
            row.tried += max(1, killed)
            row.survived += max(1, killed) * clean


def _start(folder: Path, words: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "sweep", *words],
        cwd=folder,
        env=CLEAN,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _wait_for(
    phase: str,
    process: subprocess.Popen[str],
    engine: sa.Engine,
    sweep: str,
    total: int,
    moments: random.Random,
) -> None:
    """Wait until a sweep is in a phase, and then for a random time; or until it ends."""
    begun: Callable[[], bool] = {
        "opening": lambda: True,
        "writing": lambda: _children(engine, sweep)[0] > 0,
        "summary": lambda: _children(engine, sweep)[0] >= total,
        "any moment": lambda: True,
    }[phase]
    end = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < end and not begun():
        # To look takes its time, too.
        time.sleep(0.2)
    longest = {"opening": 6.0, "writing": 2.0, "summary": 2.0, "any moment": 15.0}[phase]
    with suppress(subprocess.TimeoutExpired):
        process.wait(moments.uniform(0, longest))


OF_SWEEP = (
    "run_uuid IN (SELECT run_uuid FROM tags WHERE key = 'backprop.sweep_id' AND value = :id)"
)


def _children(engine: sa.Engine, sweep: str) -> tuple[int, int, int]:
    """Count the active runs of a sweep, their positions, and those that seem to go on."""
    query = (
        "SELECT count(*), count(DISTINCT i.value), "
        "coalesce(sum(CASE WHEN r.status = 'RUNNING' THEN 1 ELSE 0 END), 0) "
        "FROM runs r JOIN tags i ON i.run_uuid = r.run_uuid AND i.key = 'backprop.index' "
        f"WHERE r.lifecycle_stage = 'active' AND r.{OF_SWEEP}"
    )
    with engine.connect() as connection:
        found, distinct, running = connection.execute(sa.text(query), {"id": sweep}).one()
    return int(found), int(distinct), int(running)


def _parents(engine: sa.Engine, sweep: str) -> int:
    query = (
        "SELECT count(*) FROM tags WHERE key = 'backprop.kind' AND value = 'sweep' "
        f"AND {OF_SWEEP}"
    )
    with engine.connect() as connection:
        return int(connection.execute(sa.text(query), {"id": sweep}).scalar_one())


def calls(row: Row, count: int, seed: int) -> None:
    """Call public functions with arguments that nobody should give."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hostile.py")), str(count), str(seed)],
        text=True,
        capture_output=True,
        check=False,
    )
    row.tried = row.survived = count
    if done.returncode:
        print(done.stdout[-3000:], done.stderr[-3000:], file=sys.stderr, flush=True)
        row.survived -= 1
        row.panics += "PanicException" in done.stderr or done.returncode < 0
        row.undocumented += "PanicException" not in done.stderr


VALUES = [
    *("0", "1", "-1", "0.5", "1e999", "nan", "-inf", "9" * 30, "1e-320", "true", "null", "''"),
    *("[]", "[1,2]", "[[1],[2]]", "{a:1}", "choice(1,2)", "range(1,4)", "interval(0,1)", "x"),
    *("tag(log,interval(0.1,1))", "tag(zip,choice(1,2))", "shuffle(range(3))", "glob(*)"),
    *("${oc.env:NOTHING}", "${data.unit}", "${train.lr}", "$", "[/x]", "\x1b[2J", "ŷ", "'"),
    *("adam", "tanh", "softmax_cross_entropy", "he", "max", "all", "relu", "sobol", "last"),
    *("/", ".", "/dev/null", "/proc/self/mem", "a b", "=", "(", "int(1)", "sort(3,1)"),
]
OPTIONS = [
    *("-m", "--multirun", "--run", "--help", "--info", "-sc", "-cn", "-cd", "--version"),
    *("experiment=xor", "experiment=digits", "data=iris", "init=he", "network=linear"),
    *("tracking=none", "~train.lr", "+train.foo=1", "hydra.verbose=true", "sweep", "-"),
    *("hydra/launcher=basic", "hydra/sweeper=basic", "hydra.sweeper._target_=a.b", "--e"),
]
FORKING = """
import os, resource, sys
import backprop_svc.cli.main, backprop_svc.plots.training, hydra, matplotlib.pyplot
import backprop_svc.cli.commands.train, backprop_svc.cli.commands.explain
for line in sys.stdin:
    output, words, seconds = eval(line)
    child = os.fork()
    if child == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        nothing = os.open(os.devnull, os.O_RDONLY)
        target = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
        for stream, to in ((0, nothing), (1, target), (2, target)):
            os.dup2(to, stream)
        sys.stdout, sys.stderr = open(1, "w"), open(2, "w")
        sys.argv[1:] = words
        backprop_svc.cli.main.main()
        sys.exit(0)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Starts each command in a fork of one process: what they import is imported once."""


def commands(row: Row, count: int, seed: int) -> None:
    """Run command lines that are put together at random."""
    chance = random.Random(seed)
    left_out = {"train.epochs", "sweep.id", "sweep.axes"}
    names = sorted({*SETTINGS_OF_USERS, *INTERNAL} - left_out)
    with TemporaryDirectory() as folder:
        output = Path(folder, "output")
        process = subprocess.Popen(
            [sys.executable, "-c", FORKING],
            cwd=folder,
            env=CLEAN,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(count):
            words = [chance.choice(["train", "train", "sweep", "sweep", "explain"])]
            words += [
                f"{chance.choice(['', '', '', '+', '~'])}{chance.choice(names)}="
                f"{chance.choice(VALUES)}"
                for _ in range(chance.randint(0, 3))
            ]
            words += chance.sample(OPTIONS, chance.choice([0, 0, 1, 2]))
            if words[0] != "explain":
                words += ["tracking=none", "train.epochs=3"]
            row.tried += 1
            process.stdin.write(f"{(str(output), words, LONG)!r}\n")
            process.stdin.flush()
            child, begin = int(process.stdout.readline()), time.monotonic()
            signal.signal(signal.SIGALRM, lambda *_, child=child: os.killpg(child, 9))
            signal.setitimer(signal.ITIMER_REAL, ASLEEP)
            code = int(process.stdout.readline())
            signal.setitimer(signal.ITIMER_REAL, 0)
            hung = code == -signal.SIGXCPU or time.monotonic() - begin >= ASLEEP
            said = output.read_text(errors="replace")
            clean = row.judge(said) and code in {0, 1, 2}
            row.hangs += hung
            row.survived += clean
            if not clean:
                print(f"{code}: {words}", file=sys.stderr, flush=True)
        process.stdin.close()
        process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for kind in SIZES:
        parser.add_argument(f"--{kind}", type=int, default=0, help="kills of sweeps into it")
    parser.add_argument("--calls", type=int, default=0, help="calls of public functions")
    parser.add_argument("--commands", type=int, default=0, help="command lines")
    parser.add_argument("--seed", type=int, default=1)
    told = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    seed = told.seed
    parts: list[tuple[str, int, Callable[[Row], None]]] = [
        ("command lines", told.commands, partial(commands, count=told.commands, seed=seed)),
        *(
            (f"kill -9, {kind}", count, partial(kills, kind=kind, count=count, seed=seed))
            for kind in SIZES
            for count in [getattr(told, kind)]
        ),
        ("calls", told.calls, partial(calls, count=told.calls, seed=seed)),
    ]
    rows = []
    for name, count, part in parts:
        if not count:
            continue
        rows.append(Row(name))
        try:
            part(rows[-1])
        except KeyboardInterrupt:
            # What was done until then counts.
            break
        finally:
            print(rows[-1], flush=True)
    raise SystemExit(0 if all(row.is_clean for row in rows) else 1)


if __name__ == "__main__":
    main()

"""One process at a time writes a sweep: who it is, and whether it is alive."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from backprop_svc.errors import SettingError
from backprop_svc.tracking.entities import Client, Run

OWNER, HEARTBEAT = "backprop.owner.", "backprop.heartbeat"
"""Tags of a parent: one for each claim, with its number and its lease, and the last sign of
life. Every store has tags; what is written under different names is never overwritten."""
SETTLED = 1.0
"""Seconds in which a claim is written after it was seen that the sweep is free, and after
which it is seen by all who wrote one: of these the first by its name has the sweep."""
ATTEMPTS = 5
BEAT = 5.0
"""Seconds between two signs of life."""
GIVEN_UP = 30.0
"""Seconds without a sign of life after which a process on another machine counts as dead."""
_CLAIM = re.compile(rf"{re.escape(OWNER)}([0-9]+)\.(.+)")
_here: set[str] = set()
"""Leases that this process has."""


@dataclass(frozen=True)
class Process:
    """A process, as another one finds it again."""

    host: str
    machine: str
    """What has numbers of processes of its own: a boot of a machine, a container."""
    pid: int
    begun: str
    """When it began: the number alone is given again."""

    @classmethod
    def own(cls) -> Process:
        """Return this process."""
        return cls(socket.gethostname(), _machine(), os.getpid(), _begun(os.getpid()))

    def lives(self) -> bool | None:
        """Tell whether it is there; ``None`` if that cannot be seen from here."""
        if self.machine != _machine():
            return None
        return _begun(self.pid) == self.begun != ""


@dataclass(frozen=True)
class Holder:
    """Who has a lease, or gave the last sign of life for it."""

    process: Process
    lease: str
    time: float
    """Of the sign of life, in seconds since 1970; 0 once the lease was given back."""

    def text(self) -> str:
        """Write it for a param or a tag."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Holder | None:
        """Read what :meth:`text` wrote; ``None`` for anything else."""
        try:
            fields = json.loads(text)
            return cls(Process(**fields.pop("process")), **fields)
        except (ValueError, TypeError, AttributeError, KeyError):
            return None

    def lives(self, seen: float) -> bool:
        """Tell whether it may still write; ``seen`` is the last sign of life."""
        if self.process == Process.own():
            return self.lease in _here
        there = self.process.lives()
        return time.time() - seen < GIVEN_UP if there is None else there


class Lease:
    """The right to write the runs of a sweep, with a sign of life every few seconds.

    The process that began or resumed the sweep takes it; the jobs of its launcher join it.
    """

    def __init__(self, client: Client, run_id: str, number: int, name: str) -> None:
        self._client, self._run_id, self._number = client, run_id, number
        self.name = name
        self._taken_by: Holder | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, client: Client, run_id: str, *, is_new: bool = False) -> Lease:
        """Become the owner of a sweep by its parent, which nobody else knows if it is new.

        Raises
        ------
        SettingError
            Another process has it.
        """
        for _ in range(ATTEMPTS):
            began = time.monotonic()
            run = client.get_run(run_id)
            number, owner = _owner(run)
            if owner is not None:
                _refuse_while_held(run, owner)
            mine = Holder(Process.own(), secrets.token_hex(8), time.time())
            claim, number = f"{OWNER}{number + 1}.{mine.lease}", number + 1
            with _claimed(mine.lease):
                client.set_tag(run_id, claim, mine.text())
                if not is_new:
                    if time.monotonic() - began > SETTLED:
                        # Others may have decided without it.
                        _here.discard(mine.lease)
                        _forget(client, run_id, claim)
                        continue
                    time.sleep(SETTLED)
                    run = client.get_run(run_id)
                    owner = _owner(run)[1]
                    if owner is not None and owner != mine:
                        _forget(client, run_id, claim)
                        raise _held(run, owner, owner.time)
                client.set_tag(run_id, HEARTBEAT, mine.text())
                for earlier, _, name in _claims(run):
                    if earlier < number:
                        _forget(client, run_id, name)
                return cls(client, run_id, number, mine.lease)
        raise SettingError(
            "tracking", f"a store that takes longer than {SETTLED:g} s to write a tag",
            "a store that answers sooner", "try again when it has less to do",
        )  # fmt: skip

    @classmethod
    def join(cls, client: Client, run: Run, name: str) -> Lease:
        """Work for the owner of a sweep, who gave the name of its lease.

        Raises
        ------
        SettingError
            Another process has taken the sweep meanwhile.
        """
        number, owner = _owner(run)
        if owner is not None and owner.lease != name:
            raise _lost(run.info.run_id, owner)
        lease = cls(client, run.info.run_id, number, name)
        if name not in _here:
            lease._beat()
        return lease

    def confirm(self) -> None:
        """Ask the store whether the sweep is still this process's.

        Raises
        ------
        SettingError
            It is not: what is written from now on could be doubled.
        """
        self._look()
        self.check()

    def check(self) -> None:
        """Raise what :meth:`confirm` does if that was seen before; asks nobody."""
        if self._taken_by is not None:
            raise _lost(self._run_id, self._taken_by)

    @property
    def is_lost(self) -> bool:
        """Whether another process was seen to have taken the sweep."""
        return self._taken_by is not None

    def give_back(self) -> None:
        """Let another process take the sweep at once."""
        self._over.set()
        self._thread.join(BEAT)
        if self.name in _here and not self.is_lost:
            self._client.set_tag(
                self._run_id, HEARTBEAT, Holder(Process.own(), self.name, 0).text()
            )
        _here.discard(self.name)

    def leave(self) -> None:
        """End the work for an owner, who keeps the lease."""
        self._over.set()
        self._thread.join(BEAT)

    def abandon(self) -> None:
        """Give it back without a word to the store, which is away: this process is done."""
        self._over.set()
        # A connection must not be in use when it is closed.
        self._thread.join(BEAT)
        _here.discard(self.name)

    def _keep(self) -> None:
        while not self._over.wait(BEAT):
            # A store that is away is waited for by who writes to it.
            with suppress(Exception):
                self._look()
                if self.is_lost or self._over.is_set():
                    return
                self._beat()

    def _look(self) -> None:
        number, owner = _owner(self._client.get_run(self._run_id))
        if number > self._number:
            self._taken_by = owner

    def _beat(self) -> None:
        sign = Holder(Process.own(), self.name, time.time())
        self._client.set_tag(self._run_id, HEARTBEAT, sign.text())


@contextmanager
def _claimed(lease: str) -> Iterator[None]:
    """Have a lease, unless something goes wrong: who tries again shall not meet it alive."""
    _here.add(lease)
    try:
        yield
    except BaseException:
        _here.discard(lease)
        raise


def _claims(run: Run) -> list[tuple[int, str, str]]:
    """Return number, lease and tag of each claim."""
    found = [_CLAIM.fullmatch(name) for name in run.data.tags]
    return [(int(claim[1]), claim[2], claim[0]) for claim in found if claim]


def _owner(run: Run) -> tuple[int, Holder | None]:
    """Return who took a sweep last, and the number of that."""
    if not (claims := _claims(run)):
        return 0, None
    last = max(number for number, _, _ in claims)
    _, name = min((lease, name) for number, lease, name in claims if number == last)
    return last, Holder.read(run.data.tags[name])


def _forget(client: Client, run_id: str, name: str) -> None:
    # Another process may have been first; one that stays does no harm.
    with suppress(*client.failures):
        client.delete_tag(run_id, name)


def _refuse_while_held(run: Run, owner: Holder) -> None:
    last = Holder.read(run.data.tags.get(HEARTBEAT, ""))
    if last is None or last.lease != owner.lease:
        last = owner
    if last.time == 0:
        return
    # The last sign may be of a job, which can outlive the command that launched it.
    for holder in (owner, last):
        if holder.lives(last.time):
            raise _held(run, holder, last.time)


def _held(run: Run, holder: Holder, seen: float) -> SettingError:
    process, ago = holder.process, max(0, round(time.time() - seen))
    wait = "wait until it ends, or stop it"
    if process.lives() is None:
        wait += f"; if it was killed, try again in {max(1, round(GIVEN_UP) - ago)} s"
    return SettingError(
        f"the sweep {_name(run)}",
        f"being written by process {process.pid} on {process.host}, which gave a sign of life "
        f"{ago} s ago",
        "one process at a time",
        wait,
    )


def _lost(run_id: str, holder: Holder) -> SettingError:
    process = holder.process
    return SettingError(
        f"the sweep of run {run_id}",
        f"taken over by process {process.pid} on {process.host}",
        "one process at a time",
        "leave it to that process",
        verb="was",
    )


def _name(run: Run) -> str:
    return str(run.data.tags.get("backprop.sweep_id", run.info.run_id))


@cache
def _machine() -> str:
    """Name what numbers its processes by itself."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _begun(pid: int) -> str:
    """Return when a process began, or nothing if it is not there or is a zombie."""
    if not Path("/proc/self/stat").exists():
        with suppress(OSError):
            os.kill(pid, 0)
            return "there"
        return ""
    try:
        # The name before may hold brackets and spaces.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else fields[19]

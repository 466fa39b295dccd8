"""The connection to the fleet's agent, a program between the scheduler and etcd (protocol: child/fleet/lines.py)."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.wire import SocketLines
from jobqueued.child.fleet import lines
from jobqueued.child.fleet.lines import Line
from jobqueued.model import events
from jobqueued.model.commands import (
    Accept,
    Announce,
    Ask,
    AskToSkip,
    FleetCommand,
    GiveBack,
    Pause,
    Publish,
    Stand,
    TellOverdue,
)
from jobqueued.model.fleet import (
    FLEET,
    FleetMark,
    FleetReachability,
    FleetSettings,
    Grant,
    MaySkip,
    PauseMade,
    Returned,
    SaidOverdue,
)
from jobqueued.model.job import Claim, Now
from jobqueued.model.run import WITH_LOCK, LockClientId, RunId
from jobqueued.model.source import Source
from jobqueued.runs import own_program
from jobqueued.runs.fleet_neighbours import Neighbours, common_of, to_json
from jobqueued.settings.instance import Instance

AGENT = Path(__file__).parent.parent / "child" / "fleet" / "agent.py"
_FIRST_PAUSE, _LONGEST_PAUSE = SECOND // 2, 10 * SECOND
_SILENT = 30 * SECOND
"""Timeout (ns) for the agent's answer. The agent answers, or reports that the fleet is unreachable, in less than half
this time.
"""
_PART = 1 << 14
"""Maximum number of bytes to read from the agent in one turn."""


def line_of(command: FleetCommand) -> Line:
    """Return a command as a line for the agent."""
    if isinstance(command, GiveBack):
        return ["give_back", command.job, command.key, command.state]
    if isinstance(command, AskToSkip):
        return ["skip", command.job, command.first, command.last, command.keep // SECOND, command.spec]
    if isinstance(command, Accept):
        return ["accept"]
    if isinstance(command, Publish):
        return ["publish", *command]
    if isinstance(command, Pause):
        return ["pause", *command]
    if isinstance(command, TellOverdue):
        return ["overdue", *command]
    if isinstance(command, Announce):
        return ["announce", *command]
    if isinstance(command, Stand):
        return ["join" if command.joins else "leave", command.lock.removeprefix(FLEET)]
    parts = [[part.lock.removeprefix(FLEET), part.units, part.of] for part in command.parts]
    who = [WITH_LOCK, *command.run] if isinstance(command.run, LockClientId) else [*command.run]
    return ["ask", *who, command.number, command.key, parts, command.keep // SECOND, command.spec]


def _asker(job: str, number: int) -> RunId | LockClientId:
    return LockClientId(number) if job == WITH_LOCK else RunId(job, number)


_OF_JOBS: dict[str, Callable[..., events.Event]] = {
    "paused": events.FleetPaused,
    "made": PauseMade,
    "overdue": SaidOverdue,
    "spec": events.Published,
}


def event_of(line: Line) -> events.Event:
    """Return the event that a line from the agent reports. Raises ValueError if the line is malformed."""
    match line:
        case ["up", str(reason)]:
            return FleetReachability(reason)
        case ["mark", str(age), int(number)]:
            return FleetMark(age, number)
        case ["granted", str(job), int(number), int(question), int(fence), int(until)]:
            return events.Granted(_asker(job, number), question, Grant(fence, until))
        case ["denied", str(job), int(number), int(question)]:
            return events.Denied(_asker(job, number), question)
        case ["taken", str(job), str(key), str(state)]:
            return events.Taken(job, key, state)
        case ["skipped", str(job), int(first), int(last)]:
            return MaySkip(job, first, last)
        case ["lost", str(job), str(key), str(host)]:
            return events.HostLost(job, key, host)
        case ["held", str(holder), list(locks)]:
            return events.Held(holder, tuple(Claim(f"{FLEET}{name}", units) for name, units in locks))
        case ["host", str(name), str(store), list(labels), bool(is_held), str(_)]:
            return events.HostSeen(name, store, tuple(labels), is_held)
        case [("paused" | "made") as kind, str(), str()] | [("overdue" | "spec") as kind, str(), str(), int()]:
            return _OF_JOBS[kind](*line[1:])
        case ["returned", str(name), str(store)]:
            job, _, key = name.rpartition("/")
            return Returned(job, key, store)
        case ["ours", str(job), str(key)]:
            return events.Ours(job, key)
    raise ValueError(f"the fleet's agent sent an unknown line: {line}")


class FleetLink(Source):
    """The connection to the agent at `address`, if the host has a `fleet`.

    `state` returns this host's identity and its fleet mark, or None if nothing can be saved now; then no claim may be
    granted. `since` returns job → first second whose occurrence may be requested. `own`: the agent's program, which the
    daemon starts if no agent listens, or None if PID 1 starts it.
    """

    def __init__(
        self,
        address: Path,
        fleet: FleetSettings | None,
        host: str,
        state: Callable[[], tuple[str, FleetMark] | None],
        since: Callable[[], Mapping[str, int]],
        own: Path | None,
    ) -> None:
        self._address, self._fleet, self._host, self._own = address, fleet, host, own
        self._state, self._since = state, since
        self._neighbours = Neighbours(fleet)
        self._connection: socket.socket | None = None
        self._lines: SocketLines
        self._outbox = bytearray()
        self._asked_at: int | None = None
        """Instant (CLOCK_MONOTONIC, ns) of the first line that the agent has not answered yet, or None."""
        self._call_at, self._pause = 0, _FIRST_PAUSE
        self._down = ""
        """Reason why the fleet is unreachable, as reported to the scheduler, or "" if the fleet is reachable or its
        status is unknown.
        """
        self._known = 0
        """Last instant (wall, ns) when this host was in the fleet, as saved before the agent connected, or 0."""
        self._has_news = False
        """True if the next turn must report the value of `_down`."""
        self._instance = Instance.of(address.parent)

    def send(self, command: FleetCommand) -> None:
        """Queue a command; drop it if no agent is connected, because the fleet is unreachable."""
        if self._connection is None:
            return
        if isinstance(command, Ask | AskToSkip) and self._asked_at is None:
            self._asked_at = time.monotonic_ns()
        self._outbox += lines.encode(line_of(command))

    def flush(self) -> None:
        """Send as much as the socket accepts now."""
        if self._outbox and self._connection is not None:
            with contextlib.suppress(OSError):  # if the agent exited, the next read shows this
                del self._outbox[: self._connection.send(self._outbox)]

    def lose(self, reason: str) -> None:
        """Disconnect for this reason; after the next connection, the agent re-sends the whole state."""
        self.close()
        self._down, self._has_news = reason, True
        self._call_at = time.monotonic_ns() + self._pause
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._outbox, self._asked_at = None, bytearray(), None

    # the source

    def descriptors(self) -> dict[int, int]:
        """Return the connection's descriptor."""
        if self._connection is None:
            return {}
        return {self._connection.fileno(): select.POLLIN | (select.POLLOUT if self._outbox else 0)}

    @property
    def has_more(self) -> bool:
        """Return whether the state of the connection must be reported."""
        return self._has_news

    @property
    def troubles(self) -> list[str]:
        """The lasting problems: an unreachable fleet, and conflicts with other hosts and fleets."""
        down = [f"the fleet is unavailable, so this host starts none of its jobs: {self._down}"] if self._down else []
        return [*down, *self._neighbours.troubles]

    @property
    def deadline(self) -> int | None:
        """The time (monotonic, ns) to connect to an agent or to disconnect from a silent agent, or None."""
        if self._fleet is None:
            return None
        if self._connection is None:
            return self._call_at
        return None if self._asked_at is None else self._asked_at + _SILENT

    def ready(self, descriptor: int, now: Now) -> Iterator[events.Event]:
        """Handle lines from the agent."""
        if self._connection is None or descriptor != self._connection.fileno():
            return
        assert self._fleet is not None
        self.flush()
        heard = self._lines.read()
        if heard is None:
            self.lose("its agent exited")
            return
        for data in heard:
            try:
                line = lines.decode(data)
                happened = [] if line[0] == "fleets" else [event_of(line)]
            except ValueError:
                self.lose("its agent has another version")
                return
            self._asked_at, self._pause = None, _FIRST_PAUSE
            match line:
                case ["mark", str(age), int(number)]:
                    happened = [FleetMark(age, number, self._known, self._fleet.name)]
                case ["up", str(reason)]:
                    self._down, happened = reason, [FleetReachability(reason, self._known)]
                    if reason:  # afterwards the agent re-sends the whole state
                        self._outbox += lines.encode(["since", self._since()])
                        self._neighbours.forget()
                case ["host", str(name), *_, str(common)]:
                    happened += self._neighbours.note_host(name, common)
                case ["fleets", dict(fleets), dict(jobs)]:
                    happened += self._neighbours.note_fleets(fleets, jobs, self._since())
            yield from happened

    def turn(self, now: Now) -> Iterator[events.Event]:
        """Connect to an agent if it is time, disconnect from a silent agent, and report a lost connection."""
        if self._fleet is not None and self._connection is None and self._call_at <= now.mono:
            self._call(now)
        elif self._connection is not None and (deadline := self.deadline) is not None and deadline <= now.mono:
            self.lose(f"its agent does not answer; {self._instance.see_agent}")
        if self._has_news:
            self._has_news = False
            yield FleetReachability(self._down)

    def _call(self, now: Now) -> None:
        state = self._state()
        if state is None:
            self._call_at = now.mono + _LONGEST_PAUSE
            return
        try:
            self._connection = self._reached()
        except OSError as error:
            remedy = "" if self._own else f"; {self._instance.start_agent}"
            self.lose(f"no agent at {self._address} ({error.strerror}){remedy}")
            return
        self._lines = SocketLines(self._connection, _PART)
        assert self._fleet is not None
        name, mark = state
        if mark.fleet != self._fleet.name:  # the host was in another fleet
            mark = FleetMark()
        self._known = mark.at
        hello = ["hello", lines.VERSION, self._agent_settings(name), [mark.age, mark.number], self._since()]
        self._outbox, self._asked_at = bytearray(lines.encode(hello)), now.mono
        self.flush()

    def _agent_settings(self, state: str) -> dict[str, Any]:
        """Return the first line for the agent: its settings, with this host's identity `state`."""
        assert self._fleet is not None
        files = {name: getattr(self._fleet, name) for name in ("etcd", "authority", "certificate", "key")}
        return {
            **files,
            "fleet": self._fleet.name,
            "lock_grace": self._fleet.lock_grace // SECOND,
            "host": self._host,
            "store": state,
            "common": to_json(common_of(self._fleet)),
        }

    def _reached(self) -> socket.socket:
        """Return a connection to the listening agent; if no agent listens, start one unless PID 1 starts it. Raises
        OSError.
        """
        try:
            return own_program.connected(self._address)
        except OSError as error:
            if self._own is None or error.errno not in (errno.ENOENT, errno.ECONNREFUSED):
                raise
        return own_program.start(self._address, self._own, [str(self._address.parent)])

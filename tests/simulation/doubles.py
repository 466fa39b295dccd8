"""What stands in for the parts of the daemon that speak with people, systemd and directories of job files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from jobqueued.control.protocol.peers import Access, Peer
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.host.log import Log
from jobqueued.jobfile.oddities import Surroundings, read_here
from jobqueued.jobfile.scopes import Locality
from jobqueued.jobfile.tree.yamltext import at_once
from jobqueued.model.events import Event, FileGone, JobsRead
from jobqueued.model.job import Job, Now
from jobqueued.model.source import Source
from jobqueued.model.users import Owner
from tests.simulation.kernel import Open

if TYPE_CHECKING:
    from tests.simulation.host import Host

ROOT = Peer(0, frozenset({0}), 1, -1, Owner(0, "root"))


@lru_cache(4096)
def jobs_of(text: bytes, path: str) -> tuple[tuple[Job, ...], bool]:
    """The jobs of a text, and whether it is good, by the real reader."""
    jobs, problems = at_once(read_here(Surroundings(4), text, path, Locality("UTC", "simulated")))
    return jobs, not any(problem.severity == "error" for problem in problems)


class Bell(Open):
    """A descriptor that is readable while something waits."""

    def __init__(self, waits: Callable[[], bool]) -> None:
        super().__init__()
        self.readable = waits  # type: ignore[method-assign]


class JobDirectory(Source):
    """The directory of job files: Watches and JobFiles in one."""

    scripts = None
    complete = True

    def __init__(
        self, host: Host, keep: Callable[[Mapping[str, bytes | None]], None], kept: Mapping[str, bytes]
    ) -> None:
        self._host, self.keep = host, keep
        self._known: dict[str, bytes] = {}
        self._kept = dict(kept)
        self._seen = -1
        self.problems: dict[str, list[Any]] = {}
        self._bell = host.kernel.open(host.bell(lambda: self.has_more))

    refused = property(lambda self: self.problems)

    def __iter__(self) -> Iterator[Any]:
        return iter(())

    def rescan(self, _mono: int) -> None:
        """Nothing is missed."""

    def zone(self) -> str:
        """Of jobs that name none."""
        return "UTC"

    def hold_tables(self, _held: bool) -> None:
        """There are none."""

    def settle(self) -> None:
        """Nothing is awaited."""

    def read_once(self) -> bool:
        """All are known."""
        return not self.problems

    @property
    def has_more(self) -> bool:
        """True if a file has changed."""
        return self._seen != self._host.edits

    def descriptors(self) -> dict[int, int]:
        """That of the bell."""
        return {self._bell: 1}

    def turn(self, now: Now) -> list[Event]:
        """Read what has changed; of a bad one the last good version stays."""
        if not self.has_more:
            return []
        self._seen = self._host.edits
        events: list[Event] = []
        etc = self._host.etc
        for path in sorted(self._known.keys() | etc.keys() | self._kept.keys()):
            text = etc.get(path)
            if text is None:
                self._known.pop(path, None)
                self._kept.pop(path, None)
                self.problems.pop(path, None)
                self.keep({path: None})
                events.append(FileGone(path))
            elif self._known.get(path) != text:
                self._known[path] = text
                events += self._read(path, text)
        return events

    def _read(self, path: str, text: bytes) -> Iterator[Event]:
        jobs, is_good = jobs_of(text, path)
        if is_good:
            self.problems.pop(path, None)
            self.keep({path: text})
            yield JobsRead(path, jobs)
            return
        self.problems[path] = []
        if (last := self._kept.get(path)) is not None and path not in self._host.read:
            yield JobsRead(path, jobs_of(last, path)[0])


class Control(Source):
    """The control socket: one call of people a turn."""

    def __init__(self, host: Host, methods: Any, replies: Replies, make_run_again: Callable[[], None]) -> None:
        self._host, self._methods, self._replies = host, methods, replies
        self._own = {"Emptied": lambda _: make_run_again()}
        self._bell = host.kernel.open(host.bell(lambda: bool(host.calls)))

    def descriptors(self) -> dict[int, int]:
        """That of the bell."""
        return {self._bell: 1}

    def ready(self, descriptor: int, now: Now) -> tuple[()]:
        """Take one."""
        if not self._host.calls:
            return ()
        call = self._host.calls.popleft()
        self._host.called.append(call)
        methods = self._methods.of(ROOT, lambda: self._replies.ticket(call))
        try:
            answer = {**methods, **self._own}[call.method](call.parameters)
            if answer is not None:
                self._replies.answer(call, answer, None)
        except VarlinkError as error:
            self._replies.answer(call, error.parameters, error.name)
        return ()

    def close(self) -> None:
        """Hang up."""


class Replies:
    """The replies that come later."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._waiting: dict[int, Any] = {}
        self._last = 0
        self.stream = self.send = self.stumble = self.takes = lambda *_: None

    def ticket(self, call: Any) -> int:
        """A new number for a call."""
        self._last += 1
        self._waiting[self._last] = call
        return self._last

    def reply(self, ticket: int, value: dict[str, Any], error: str | None = None) -> None:
        """Answer a call."""
        if (call := self._waiting.pop(ticket, None)) is not None:
            self.answer(call, value, error)

    def answer(self, call: Any, value: dict[str, Any], error: str | None) -> None:
        """Answer a call."""
        if call in self._host.called:
            self._host.called.remove(call)
        call.answered(value, error)


class Lines(Log):
    """The daemon's log, for the oracle."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._listeners: list[Any] = []

    def say(self, event: str, **fields: Any) -> None:
        """Say a line."""
        self._host.said(event, fields)
        for hear in self._listeners:
            hear(event, fields)


class Manager(Source):
    """Whoever else the daemon speaks with: nobody."""

    stop = False

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _nothing


class UserCalls(Manager):
    """Calls about users' files, which nobody makes."""

    budget = SimpleNamespace(take=lambda *_: False)


def _nothing(*_: Any, **__: Any) -> tuple[()]:
    return ()


def daemon_doubles(host: Host) -> dict[str, Any]:
    """The names of the composition root that are ours."""
    board: list[JobDirectory] = []

    def watches(_paths: Any, _config: Any, kept: Any, _users: Any, **_: Any) -> JobDirectory:
        board[:] = [JobDirectory(host, lambda _: None, kept)]
        return board[0]

    def job_files(watches: JobDirectory, keep: Any, _log: Any) -> JobDirectory:
        watches.keep = keep
        return watches

    return {
        "watches_of": watches, "JobFiles": job_files, "freeze": _nothing,
        "ControlServer": lambda again, methods, replies, *_: Control(host, methods, replies, again),
        "Replies": lambda *_: Replies(host),
        "Listener": lambda _path, again, _log: again,
        "Identities": Manager, "Signals": Manager, "ServiceManager": Manager, "Watchdog": Manager,
        "LockProcesses": Manager, "PathTriggers": Manager, "Monitor": Manager, "AccountFiles": Manager,
        "Reload": Manager, "SettingsFile": Manager, "UserFiles": Manager, "UserFileCalls": UserCalls, "OtherCron": None,
        "host_has": lambda: (list(range(4)), 8 << 30, False),
        "Access": SimpleNamespace(of=lambda _: (Access(frozenset(), frozenset()), [])),
        "gc": SimpleNamespace(disable=_nothing, enable=_nothing, freeze=_nothing, collect=_nothing),
    }  # fmt: skip


def names(events: Iterable[Event]) -> list[str]:
    """The kinds of events."""
    return [type(event).__name__ for event in events]

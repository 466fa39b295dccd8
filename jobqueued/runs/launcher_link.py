"""Talks to the launcher and to the supervisors of earlier launchers.  A line from them is only a hint to look at R."""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from jobqueued import events
from jobqueued.accounts import Account
from jobqueued.child import atomic_file, json_values, wire
from jobqueued.child.lockfile import BUSY
from jobqueued.commands import Launch
from jobqueued.instance import Instance
from jobqueued.model import SECOND, Run, RunId
from jobqueued.paths import Paths
from jobqueued.run_states import Unstarted
from jobqueued.runs import own_program
from jobqueued.runs.account_questions import AccountQuestions
from jobqueued.runs.following import SILENT, Following
from jobqueued.runs.launch_spec import order
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.runs.recovery import DEAD, NO_DIRECTORY, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.text import duration

LAUNCHER = Path(__file__).parent.parent / "child" / "launcher.py"
HELLO_SECONDS = 10.0
CALLS = 3
NOTICES = 4096
"""Bytes of notices taken a turn: a hundred or so, so that no turn takes long."""


Answered = Callable[[int | None, str], None]


class LauncherError(Exception):
    """There is no launcher to be had; the message says what to look at."""


def unstarted(name: Name, reason: str) -> events.NeverStarted:
    """The event of ``unstarted NAME REASON``; supervisors of all versions say by its beginning that a path is busy."""
    causes = Unstarted
    cause = causes.PATH_BUSY if reason.startswith(BUSY) else causes.TROUBLE if reason else causes.NO_FAULT
    return events.NeverStarted(*name, reason, cause)


def _not_at_once(event: events.Event) -> events.Event:
    """The verdict on an attempt whose R could not be removed: it is sent again after a pause."""
    if not isinstance(event, events.NeverStarted):
        return event
    return event._replace(reason="its run directory of before is still there", cause=Unstarted.TROUBLE)


class LauncherLink:
    """The connection to the launcher.  `own`: the program to start where none answers; None: PID 1 keeps one there.

    `words` are further arguments for it.
    """

    def __init__(self, paths: Paths, address: Path, own: Path | None = LAUNCHER, words: tuple[str, ...] = ()) -> None:
        self._address, self._own, self._words = address, own, words
        self._instance = Instance.of(paths.run)
        self.see = self._instance.see_launcher
        """Where to look if the launcher does not answer."""
        self._runs, self._logs, self._journal = paths.runs, paths.logs, paths.journal
        runtime = {} if paths.runtime is None else {"runtime_directory": str(paths.runtime)}
        self._common = {"log_directory": atomic_file.kept(str(paths.logs)), **runtime}
        self.marks = RunDirectory(self._runs, self._logs)
        self.keep_free: int | None = None
        """Bytes that output leaves free on its disk; None: the default."""
        self._connection: socket.socket | None = None
        self._calls = 0
        self.greeted = False
        """True once the launcher has answered; until then orders are not sent, and those of before are not kept."""
        self.controllers: list[str] | None = None
        """Those that the cgroups of runs have, as it has said; None: runs have no cgroups."""
        self._lines: wire.Lines
        self._outbox = b""
        self._held: set[Name] = set()
        self._early: list[bytes] = []
        self.lost_attempts = LostAttempts(self.marks)
        self.following = Following(self.marks, self._held, self.lost_attempts)
        self._unanswered: set[Name] = set()
        self._queued = deque[tuple[int, Name]]()
        """The launches in the outbox, each with the number of its last byte among all that were sent, or will be."""
        self._sent = 0
        self._unsent: set[Name] = set()
        """The launches that no launcher was sent, until a recovery tells that they never started."""
        self._heard_at: int | None = None
        self._told = False
        self.accounts = AccountQuestions()
        self.greetings = 0
        """How many launchers have answered."""
        self.hear_watcher: Callable[[str, int, str], Iterator[events.Event]] = lambda *_: iter(())
        """The ear for what the launcher passes on of users' watchers."""
        self._orders: dict[int, Answered] = {}
        self._last_order = 0

    # the connection

    @property
    def is_own(self) -> bool:
        """Tell whether the daemon starts the programs that it needs itself."""
        return self._own is not None

    def connect(self) -> None:
        """Call a launcher and wait for its answer; only for the start, when nothing else waits for us."""
        while not self.greeted:
            connection = self.call()
            until = time.monotonic() + HELLO_SECONDS
            while not self.greeted and (patience := until - time.monotonic()) > 0:
                if select.select([connection], [], [], patience)[0] and self.read(connection.fileno()) is None:
                    break

    def call(self) -> socket.socket:
        """Say hello; it has answered once `greeted` is true, after a `read` of its descriptor.

        From then on everything that an older scheduler sent either has its R or will never be read.  LauncherError:
        none is there, or calls in a row have had no answer.
        """
        self.close()
        self._calls += 1
        orders, self._orders = self._orders, {}
        for answered in orders.values():
            answered(None, "later 0 its sender was gone")
        if self._calls > CALLS:
            self._calls = 0
            raise LauncherError(f"the launcher at {self._address} does not answer; {self.see}")
        self._connection = connection = self._reach()
        self._lines, self._early = wire.Lines(connection, NOTICES), []
        self._held.clear()
        with contextlib.suppress(OSError):  # a launcher that is gone shows at the next read
            connection.sendall(b"hello %d\n" % wire.VERSION)
        return connection

    def _reach(self) -> socket.socket:
        """Connect to who listens there, or to one of our own where nobody does; never waits."""
        try:
            return own_program.connected(self._address)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ECONNREFUSED):  # one may be there: another would be one too many
                raise LauncherError(f"cannot reach the launcher at {self._address}: {error.strerror}") from None
            if self._own is None:
                remedy = self._instance.start_launcher
                raise LauncherError(f"no launcher at {self._address} ({error.strerror}); {remedy}") from None
        try:
            words = [str(self._runs.parent), "--exit-when-idle", *self._words]
            return own_program.start(self._address, self._own, words)
        except OSError as error:
            where = f"{sys.executable}, {self._address}"
            raise LauncherError(f"cannot start the launcher ({where}): {error.strerror}") from None

    def _hear_greeting(self, lines: list[bytes]) -> None:
        """Take what it holds, and its hello; what follows that is for after the recovery."""
        for index, line in enumerate(lines):
            verb, _, rest = line.decode().partition(" ")
            if verb == "hello":
                self.greeted, self._calls, self._early = True, 0, lines[index + 1 :]
                self.greetings += 1
                self.controllers = wire.controllers(rest)
                self._unsent.update(name for _last, name in self._queued)
                self._queued.clear()
                self._outbox = self.accounts.again()
                return
            if verb == "holds":
                self._held.add(Name.parse(rest))

    def recover(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[events.Event]:
        """The verdicts on everything that may be live; see recovery.py."""
        recovery = Recovery(self.marks, self._held, unsent=self._unsent)
        yield from self.emptied()
        yield from recovery.verdicts(runs, is_final, same_boot=same_boot)
        self.following.take(recovery)
        self._unanswered -= self._unsent
        self._unsent.clear()
        early, self._early = self._early, []
        yield from self._hear(early)

    def emptied(self) -> list[events.Event]:
        """The news that somebody has emptied the directory of all R's, if so."""
        emptying, now = self.marks.emptying, time.monotonic_ns()
        is_news = emptying.era is None or (emptying.deadline is not None and emptying.deadline <= now)
        return [events.RunsEmptied()] if is_news and emptying.begin() else []

    def close(self) -> None:
        """Leave launcher and supervisors to themselves."""
        if self._connection is not None:
            self._connection.close()
        self.following.close()
        self._connection, self.greeted = None, False
        self._unanswered.clear()

    # orders and notices

    def __contains__(self, descriptor: int) -> bool:
        """True for a descriptor that is one of ours now."""
        return descriptor in self.following or (
            self._connection is not None and descriptor == self._connection.fileno()
        )

    def descriptors(self) -> list[int]:
        """The connection to the launcher, and those to supervisors of earlier ones."""
        own = [] if self._connection is None else [self._connection.fileno()]
        return own + self.following.descriptors()

    @property
    def unsent(self) -> int | None:
        """The descriptor that has to become writable before all orders are sent; None: they are."""
        return self._connection.fileno() if self._outbox and self._connection is not None and self.greeted else None

    def launch(self, command: Launch) -> None:
        """Queue the order for the next `flush`."""
        if not self._unanswered:
            self._heard_at = time.monotonic_ns()
        name = Name(command.run.id, command.run.attempt)
        self._unanswered.add(name)
        self._unsent.discard(name)
        self._outbox += f"launch {command.run.attempt_name} ".encode() + wire.encode(
            {**order(command, self._logs, self._journal, self.keep_free, self.accounts.users), **self._common}
        )
        self._queued.append((self._sent + len(self._outbox), name))

    @property
    def overdue(self) -> int | None:
        """The instant (CLOCK_MONOTONIC, ns) to tell of `silence`; None: nothing waits for an answer, or it was told."""
        return self._heard_at + SILENT if self._heard_at is not None and self._unanswered and not self._told else None

    def silence(self) -> str:
        """A launcher that hangs is no failure of any run, so it is told here; "" if it took all orders, but no more."""
        self._unanswered = {name for name in self._unanswered if name not in self.marks}
        if not self._unanswered:
            return ""
        self._told = True
        number = len(self._unanswered)
        runs = "1 run is" if number == 1 else f"{number} runs are"
        return f"no answer from the launcher for {duration(SILENT / SECOND)}; {runs} waiting to start; {self.see}"

    def answers_again(self) -> bool:
        """True, once, if it does after a silence that was told."""
        again = self._told and not self._unanswered
        self._told = self._told and not again
        return again

    def stop(self, name: Name, reason: str) -> str:
        """Tell its supervisor, whosever it is; one that does not listen yet is told again when it has started.

        Why that can't be done, "" where it was.
        """
        line = f"stop {reason}\n".encode()
        if self.following.tell(name, line):
            return ""
        try:
            if (fresh := self.marks.follow(name)) is not None:
                with fresh:
                    fresh.send(line)
        except ConnectionError:  # it has just ended
            return ""
        except OSError as error:
            return f"cannot tell {name} to stop: {error.strerror}; ask again: jobqueuectl stop {name.run}"
        return ""

    def look_up(self, account: Account) -> None:
        """Queue a question about a user or group; a new launcher is asked again."""
        self._outbox += self.accounts.ask(account)

    def name_of(self, uid: int, then: Callable[[str], None]) -> None:
        """Queue a question for the name of a user, "" where the host has none."""
        self._outbox += self.accounts.name_of(uid, then)
        self.flush()

    def notify(self, sender: Mapping[str, Any], notice: dict[str, Any], answered: Answered) -> None:
        """Queue a notice to be sent, by a process of the `user` of its sender (None: of ours).

        `answered` is told what became of its parts, if it has some, by their numbers, and at the end, which comes also
        if the launcher goes, of the rest (None).
        """
        self._order("notify", {**sender, "notice": notice}, answered)

    def see_to_crontab(self, order: dict[str, Any], answered: Answered) -> None:
        """Queue an order of `child/spool_orders.py`; `answered` is told the parts of a table, and the answer."""
        self._order("crontab", order, answered)

    def _order(self, verb: str, document: dict[str, Any], answered: Answered) -> None:
        self._last_order = max(self._last_order + 1, time.time_ns())  # one of an earlier scheduler is none of ours
        self._orders[self._last_order] = answered
        self._outbox += f"{verb} {self._last_order} {json_values.line(document)}\n".encode()

    def queue(self, line: str) -> None:
        """Queue an order about a watcher, which is not sent to another launcher again."""
        self._outbox += line.encode()

    @property
    def unsent_bytes(self) -> int:
        """Those of orders that the launcher has not taken yet."""
        return len(self._outbox)

    def flush(self) -> None:
        """Send what the socket takes now."""
        if self._outbox and self._connection is not None and self.greeted:
            self._send(self._connection)

    def _send(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # a dead launcher shows at the next read
            sent = connection.send(self._outbox)
            self._outbox, self._sent = self._outbox[sent:], self._sent + sent
        while self._queued and self._queued[0][0] <= self._sent:
            self._queued.popleft()

    def read(self, descriptor: int) -> Iterator[events.Event] | None:
        """The events behind a readable descriptor; None: the launcher is gone, so call and recover again."""
        if descriptor in self.following:
            return self.following.read(descriptor)
        lines = self._lines.read()
        if lines is None:
            return None
        if not self.greeted:
            self._hear_greeting(lines)
            return iter(())
        return self._hear(lines)

    def _hear_answer(self, verb: str, order: int, answer: str) -> None:
        """Pass an answer on; that of an earlier scheduler's order is nobody's."""
        answered = self._orders.get(order)
        if answered is None:
            return
        if verb == "part":
            number, _, verdict = answer.partition(" ")
            answered(int(number), verdict)
        else:
            del self._orders[order]
            answered(None, answer)

    def _hear(self, lines: list[bytes]) -> Iterator[events.Event]:
        for line in lines:
            verb, text, *rest = line.decode().split(" ", 2)
            if verb == "account":
                yield from self.accounts.hear(int(text), "".join(rest))
                continue
            if verb in ("notified", "part"):
                self._hear_answer(verb, int(text), "".join(rest))
                continue
            if verb in ("appeared", "unnoticed", "unwatched"):
                yield from self.hear_watcher(verb, int(text), "".join(rest))
                continue
            name, detail = Name.parse(text), "".join(rest)
            self._unanswered.discard(name)
            if verb not in ("started", "stopping"):
                self._held.discard(name)
            self._heard_at = time.monotonic_ns()
            match verb:
                case "started":
                    pid, instant = detail.split()
                    yield events.RunStarted(*name, int(pid), int(instant))
                case "stopping":
                    yield events.RunStopping(*name, detail)
                case "ended":
                    yield from self.following.settle(name)
                case "known":  # an R that could not be removed
                    yield from map(_not_at_once, self.following.settle(name))
                case "lost":
                    yield from self._verdict_on(name, wire.parse_status(detail))
                case "unstarted":
                    yield unstarted(name, detail)

    def _verdict_on(self, name: Name, status: int | None) -> Iterator[events.Event]:
        """The end of an attempt whose supervisor is dead; if its marks can't be read now, they are looked at again."""
        try:
            reason = DEAD if name in self.marks else NO_DIRECTORY
            yield self.marks.end(name) or self.marks.lost(name, reason, status)
        except OSError:
            yield from self.following.settle(name)

"""The connections to the launcher and to supervisors of earlier launchers. Lines on these connections are only hints to
check R.
"""

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

from jobqueued.base.instants import SECOND
from jobqueued.base.text import duration
from jobqueued.child.contract import atomic_file, json_values, wire
from jobqueued.child.contract.reasons import Code, parse
from jobqueued.model import events
from jobqueued.model.accounts import Account
from jobqueued.model.commands import Launch
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import Unstarted
from jobqueued.model.users import UserLimits
from jobqueued.runs import own_program
from jobqueued.runs.account_questions import AccountQuestions
from jobqueued.runs.following import SILENT, Following
from jobqueued.runs.launch_spec import order
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.runs.recovery import DEAD, NO_DIRECTORY, Recovery
from jobqueued.runs.run_directory import Name, RunDirectory
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths

LAUNCHER = Path(__file__).parent.parent / "child" / "launcher.py"
HELLO_SECONDS = 10.0
CALLS = 3
NOTICES = 4096
"""Maximum number of bytes to read in a turn: about a hundred notices, so that no turn takes long."""


Answered = Callable[[int | None, str], None]
HearWatcher = Callable[[str, int, str], Iterator[events.Event]]
"""Function that handles a watcher's notice; its arguments are the verb, the number of the order, and the rest."""


class LauncherError(Exception):
    """No launcher is available; the message contains a hint on what to check."""


def unstarted(name: Name, reason: str) -> events.NeverStarted:
    """Return the event for ``unstarted NAME REASON``. Supervisors of all versions send the same text if a lock file is
    busy.
    """
    causes, found = Unstarted, parse(reason)
    is_busy = found.code in (Code.PATH_BUSY, Code.PATH_HELD)
    cause = causes.PATH_BUSY if is_busy else causes.TROUBLE if reason else causes.NO_FAULT
    return events.NeverStarted(*name, found, cause)


def _not_at_once(event: events.Event) -> events.Event:
    """Return the verdict on an attempt whose R could not be removed, changed so that the attempt is relaunched after a
    pause.
    """
    if not isinstance(event, events.NeverStarted):
        return event
    return event._replace(reason="its earlier run directory still exists", cause=Unstarted.TROUBLE)


class LauncherLink:
    """The connection to the launcher.

    `own`: the program to start if no launcher listens, or None if PID 1 starts it. `words`: more arguments for this
    program. `users`: the users who may have jobs, and their limits. `keep_free`: bytes that output must leave free on
    its disk, or None for the default.
    """

    def __init__(
        self,
        paths: Paths,
        address: Path,
        own: Path | None = LAUNCHER,
        words: tuple[str, ...] = (),
        users: UserLimits | None = None,
        keep_free: int | None = None,
    ) -> None:
        self._address, self._own, self._words = address, own, words
        self._instance = Instance.of(paths.run)
        self.see = self._instance.see_launcher
        """A hint for messages: how to find out why the launcher does not answer."""
        self._runs, self._logs, self._journal = paths.runs, paths.logs, paths.journal
        runtime = {} if paths.runtime is None else {"runtime_directory": str(paths.runtime)}
        self._common = {"log_directory": atomic_file.kept(str(paths.logs)), **runtime}
        self.marks = RunDirectory(self._runs, self._logs)
        self._keep_free = keep_free
        self._connection: socket.socket | None = None
        self._calls = 0
        self.greeted = False
        """True once the launcher has answered hello. No order is sent before this answer, and the launcher drops orders
        that arrive before hello.
        """
        self.controllers: list[str] | None = None
        """The controllers of the runs' cgroups, as the launcher reported them, or None if runs have no cgroups."""
        self._lines: wire.SocketLines
        self._outbox = b""
        self._held: set[Name] = set()
        self._early: list[bytes] = []
        self.lost_attempts = LostAttempts(self.marks)
        self.following = Following(self.marks, self._held, self.lost_attempts)
        self._unanswered: set[Name] = set()
        self._queued = deque[tuple[int, Name]]()
        """Launches in the outbox, each with the position of its last byte among all bytes sent or to be sent."""
        self._sent = 0
        self._unsent: set[Name] = set()
        """Launches that no launcher received, until a recovery finds that they never started."""
        self._heard_at: int | None = None
        self._told = False
        self.accounts = AccountQuestions(users)
        self.greetings = 0
        """Number of launchers that have answered."""
        self._watchers: dict[int, HearWatcher] = {}
        """Number of an order → function that handles the notices of the watcher that this order started."""
        self._orders: dict[int, Answered] = {}
        self._last_order = 0

    # the connection

    @property
    def is_own(self) -> bool:
        """Return whether the daemon itself starts the programs that it needs."""
        return self._own is not None

    def connect(self) -> None:
        """Connect to a launcher and wait for its answer. Call this only at the start, while the daemon has nothing else
        to do.
        """
        while not self.greeted:
            connection = self.call()
            until = time.monotonic() + HELLO_SECONDS
            while not self.greeted and (longest_wait := until - time.monotonic()) > 0:
                if select.select([connection], [], [], longest_wait)[0] and self.read(connection.fileno()) is None:
                    break

    def call(self) -> socket.socket:
        """Connect and send hello.  A later `read` of the descriptor sets `greeted` when the launcher answers.

        After the answer, each launch that an earlier scheduler ordered has its R, or the order will never be read.
        Raises LauncherError if no launcher can be reached, or if several consecutive calls had no answer.
        """
        self.close()
        self._calls += 1
        orders, self._orders = self._orders, {}
        for answered in orders.values():
            answered(None, "later 0 its sender exited")
        self._watchers.clear()
        if self._calls > CALLS:
            self._calls = 0
            raise LauncherError(f"the launcher at {self._address} does not answer; {self.see}")
        self._connection = connection = self._reach()
        self._lines, self._early = wire.SocketLines(connection, NOTICES), []
        self._held.clear()
        with contextlib.suppress(OSError):  # if the launcher exited, the next read shows this
            connection.sendall(b"hello %d\n" % wire.VERSION)
        return connection

    def _reach(self) -> socket.socket:
        """Connect to the listening launcher without waiting. If no launcher listens, start one unless PID 1 starts
        it.
        """
        try:
            return own_program.connected(self._address)
        except OSError as error:
            if error.errno not in (
                errno.ENOENT,
                errno.ECONNREFUSED,
            ):  # a launcher may exist, and there must not be a second one
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
        """Handle the launcher's list of attempts and its hello; keep the lines after hello until after the recovery."""
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
        """Yield the verdicts on all attempts that may be live (recovery.py)."""
        recovery = Recovery(self.marks, self._held, unsent=self._unsent)
        yield from self.emptied()
        yield from self.following.left.find()
        yield from recovery.verdicts(runs, is_final, same_boot=same_boot)
        self.following.take(recovery)
        self._unanswered -= self._unsent
        self._unsent.clear()
        early, self._early = self._early, []
        yield from self._hear(early)

    def emptied(self) -> list[events.Event]:
        """Return an event if the directory of all R was emptied, else []."""
        emptying, now = self.marks.emptying, time.monotonic_ns()
        is_news = emptying.count is None or (emptying.deadline is not None and emptying.deadline <= now)
        return [events.RunsEmptied()] if is_news and emptying.begin() else []

    def close(self) -> None:
        """Close all connections."""
        if self._connection is not None:
            self._connection.close()
        self.following.close()
        self._connection, self.greeted = None, False
        self._unanswered.clear()

    # orders and notices

    def __contains__(self, descriptor: int) -> bool:
        """Return whether a descriptor belongs to one of these connections."""
        return descriptor in self.following or (
            self._connection is not None and descriptor == self._connection.fileno()
        )

    def descriptors(self) -> list[int]:
        """Return the descriptors of the connections to the launcher and to supervisors of earlier launchers."""
        own = [] if self._connection is None else [self._connection.fileno()]
        return own + self.following.descriptors()

    @property
    def unsent(self) -> int | None:
        """The descriptor that must become writable before the rest of the orders can be sent, or None if all are
        sent.
        """
        return self._connection.fileno() if self._outbox and self._connection is not None and self.greeted else None

    def launch(self, command: Launch) -> None:
        """Queue a launch for the next `flush`."""
        if not self._unanswered:
            self._heard_at = time.monotonic_ns()
        name = Name(command.run.id, command.run.attempt)
        self._unanswered.add(name)
        self._unsent.discard(name)
        self._outbox += f"launch {command.run.attempt_name} ".encode() + wire.encode(
            {**order(command, self._logs, self._journal, self._keep_free, self.accounts.users), **self._common}
        )
        self._queued.append((self._sent + len(self._outbox), name))

    @property
    def overdue(self) -> int | None:
        """The instant (CLOCK_MONOTONIC, ns) to report `silence`, or None if no launch is unanswered or a report was
        made.
        """
        return self._heard_at + SILENT if self._heard_at is not None and self._unanswered and not self._told else None

    def silence(self) -> str:
        """Return a report about a silent launcher, or "" if the launcher has handled all launches. No run fails because
        of the silence.
        """
        self._unanswered = {name for name in self._unanswered if name not in self.marks}
        if not self._unanswered:
            return ""
        self._told = True
        number = len(self._unanswered)
        runs = "1 run is" if number == 1 else f"{number} runs are"
        return f"no answer from the launcher for {duration(SILENT / SECOND)}; {runs} waiting to start; {self.see}"

    def answers_again(self) -> bool:
        """Return True if the launcher answers again after a reported silence; each silence yields True only once."""
        again = self._told and not self._unanswered
        self._told = self._told and not again
        return again

    def stop(self, name: Name, reason: str) -> str:
        """Order an attempt's supervisor to stop the attempt; a supervisor that does not listen yet gets the order after
        its start.

        Return the reason why the order could not be sent, or "".
        """
        line = f"stop {reason}\n".encode()
        if self.following.send_line(name, line):
            return ""
        try:
            if (fresh := self.marks.follow(name)) is not None:
                with fresh:
                    fresh.send(line)
        except ConnectionError:  # the attempt has just ended
            return ""
        except OSError as error:
            return f"cannot stop {name}: {error.strerror}; to retry: jobqueuectl stop {name.run}"
        return ""

    def look_up(self, account: Account) -> None:
        """Queue a question about a user or group; a new launcher also gets the question."""
        self._outbox += self.accounts.ask(account)

    def name_of(self, uid: int, then: Callable[[str], None]) -> None:
        """Queue a question about a user's name; `then` gets the name, or "" if the host has no such user."""
        self._outbox += self.accounts.name_of(uid, then)
        self.flush()

    def notify(self, sender: Mapping[str, Any], notice: dict[str, Any], answered: Answered) -> None:
        """Queue a notice; a process that runs as the `user` in `sender` sends it. None means the daemon's user.

        `answered` gets the number and the result of each part. At the end, it gets None and the result of all other
        parts, even if the launcher exits.
        """
        self._order("notify", {**sender, "notice": notice}, answered)

    def see_to_crontab(self, order: dict[str, Any], answered: Answered) -> None:
        """Queue an order of `child/spool/spool_orders.py`; `answered` gets the parts of a crontab, and finally the
        answer.
        """
        self._order("crontab", order, answered)

    def _order(self, verb: str, document: dict[str, Any], answered: Answered) -> None:
        self._last_order = max(
            self._last_order + 1, time.time_ns()
        )  # an earlier scheduler's order never has this number
        self._orders[self._last_order] = answered
        self._outbox += f"{verb} {self._last_order} {json_values.line(document)}\n".encode()

    def watch(self, number: int, order: str, heard: HearWatcher) -> None:
        """Queue the order for a watcher; `heard` handles the watcher's notices. A new launcher does not get this
        order.
        """
        self._watchers[number] = heard
        self._outbox += f"watch {number} {order}\n".encode()

    def unwatch(self, number: int) -> None:
        """Queue the order to end a watcher; ignore its notices from now on."""
        self._watchers.pop(number, None)
        self._outbox += f"unwatch {number}\n".encode()

    @property
    def unsent_bytes(self) -> int:
        """Number of bytes of orders that are not sent yet."""
        return len(self._outbox)

    def flush(self) -> None:
        """Send as much as the socket accepts now."""
        if self._outbox and self._connection is not None and self.greeted:
            self._send(self._connection)

    def _send(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # if the launcher died, the next read shows that
            sent = connection.send(self._outbox)
            self._outbox, self._sent = self._outbox[sent:], self._sent + sent
        while self._queued and self._queued[0][0] <= self._sent:
            self._queued.popleft()

    def read(self, descriptor: int) -> Iterator[events.Event] | None:
        """Return the events of a readable descriptor, or None if the launcher exited; the caller must then use `call`
        and `recover`.
        """
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
        """Pass an answer on to the function that awaits it; ignore an answer to an earlier scheduler's order."""
        answered = self._orders.get(order)
        if answered is None:
            return
        if verb == "part":
            number, _, verdict = answer.partition(" ")
            answered(int(number), verdict)
        else:
            del self._orders[order]
            answered(None, answer)

    def _hear_watcher(self, verb: str, number: int, rest: str) -> Iterator[events.Event]:
        """Pass a watcher's notice on to its function; ignore a notice about an earlier scheduler's order."""
        heard = self._watchers.pop(number, None) if verb == "unwatched" else self._watchers.get(number)
        if heard is not None:
            yield from heard(verb, number, rest)

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
                yield from self._hear_watcher(verb, int(text), "".join(rest))
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
                case "known":  # the attempt's R could not be removed
                    yield from map(_not_at_once, self.following.settle(name))
                case "lost":
                    yield from self._verdict_on(name, wire.parse_status(detail))
                case "unstarted":
                    yield unstarted(name, detail)

    def _verdict_on(self, name: Name, status: int | None) -> Iterator[events.Event]:
        """Yield the end of an attempt whose supervisor died; if the attempt's marks can't be read now, recheck them
        later.
        """
        try:
            reason = DEAD if name in self.marks else NO_DIRECTORY
            yield self.marks.end(name) or self.marks.lost(name, reason, status)
        except OSError:
            yield from self.following.settle(name)

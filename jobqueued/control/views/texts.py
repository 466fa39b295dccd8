"""Replies that many callers share: written once, piece by piece, and sent to all callers until the data changes.

A list of 20,000 jobs takes a second to write. No start waits for this list, even if many callers request it often.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.replies import Replies
from jobqueued.control.protocol.varlink import text_of
from jobqueued.control.views import views
from jobqueued.core.scheduler import Scheduler
from jobqueued.metrics.exposition import Told
from jobqueued.model.job import Now
from jobqueued.model.source import Source
from jobqueued.model.users import Owner

_SLICE = 150
"""Number of jobs written in a turn: about 3 ms."""
_PUBLIC_FOR = SECOND
_METRICS_FOR = SECOND
_PIECE, _PIECES = 30_000, 10
"""Number of metrics characters, and maximum number of readings, in a turn: about 3 ms."""

_USERS = 64
"""Maximum number of users whose texts are kept; users who are waiting for their texts may exceed it."""
_FIRST, _LAST = b'{"parameters":{"jobs":[', b"],"
"""The bytes before the first job of a list, and after the last job."""

Pieces = Iterator[str]


class SharedReply:
    """A reply that callers share while nothing changed, or while its text is not older than `keeps` (ns).

    `ages`: the text changes with time, so it can be shared only for `keeps`.
    """

    def __init__(self, write: Callable[[], Pieces], keeps: int = 0, *, ages: bool = False) -> None:
        self._write, self._keeps, self._ages = write, keeps, ages
        self._waiting: list[int] = []
        self._served: list[int] = []
        """Tickets that get the text which is being written. Later tickets are in `_waiting`."""
        self._pieces: Pieces | None = None
        self._parts: list[str] = []
        self._text = b""
        self._began, self._version = 0, -1

    @property
    def is_wanted(self) -> bool:
        """Return whether a caller waits for the text."""
        return bool(self._waiting or self._served)

    def ask(self, ticket: int, version: int, mono: int) -> bytes | None:
        """Return the current text, or None if the ticket must wait until the text is written."""
        if self._pieces is None and self._is_good(version, mono):
            return self._text
        self._waiting.append(ticket)
        return None

    def _is_good(self, version: int, mono: int) -> bool:
        is_same = version == self._version and not self._ages
        return is_same or (self._version >= 0 and mono - self._began < self._keeps)

    def go_on(self, version: int, mono: int) -> tuple[bytes, list[int]]:
        """Write the next piece. After the last piece, return the text and the tickets that get it."""
        if self._pieces is None:
            self._pieces, self._parts = self._write(), []
            self._began, self._version = mono, version
            self._served, self._waiting = self._waiting, []
        piece = next(self._pieces, None)
        if piece is not None:
            self._parts.append(piece)
            return b"", []
        self._text, self._pieces = f'{{"parameters":{"".join(self._parts)}}}\0'.encode(), None
        if self._is_good(version, mono):
            self._served, self._waiting = [*self._served, *self._waiting], []
        return self._text, self._handed_over()

    def fail(self) -> list[int]:
        """Drop the text because its writing failed. Return the tickets that waited for the text."""
        self._text, self._pieces, self._version = b"", None, -1
        return self._handed_over()

    def _handed_over(self) -> list[int]:
        served, self._served = self._served, []
        return served


class _OfUser(NamedTuple):
    """A user's texts: the list of the user's jobs, and the status that the user may see."""

    jobs: SharedReply
    status: SharedReply


class Texts(Source):
    """The shared replies: the list of jobs, its public part, the public status, and the metrics from `told`.

    `version` grows with each change.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        status: Callable[[Owner | None], dict[str, Any]],
        told: Callable[[], Iterable[Told]],
        replies: Replies,
    ) -> None:
        """`status` returns the status for a user; None means a user without jobs."""
        self._scheduler, self._status, self._told, self._replies = scheduler, status, told, replies
        self.version = 0
        self.jobs = SharedReply(lambda: self._rows([job.id for job in scheduler.catalog], views.job_row))
        self.public_jobs = SharedReply(lambda: self._rows(self._public_names(), views.public_job_row), _PUBLIC_FOR)
        self.public_status = SharedReply(lambda: self._public_status(None), _PUBLIC_FOR)
        self.metrics = SharedReply(self._metrics, _METRICS_FOR, ages=True)
        self._own: dict[Owner, _OfUser] = {}
        """User → texts; the users with the most recent requests come last."""
        self._heads: dict[int, bytes] = {}
        """Ticket → the written list of the caller's own jobs, while the caller waits for the public list."""
        self._is_wanted = False

    def note_change(self) -> None:
        """Record a change; texts may now be out of date."""
        self.version += 1

    def ask_jobs(self, asker: Asker, now: Now) -> None:
        """Reply with the list of all jobs, or of the caller's own jobs and the public part of the host's."""
        user = asker.owner
        if user is None:
            self.ask(self.jobs, asker.ticket(), now)
        elif not self._scheduler.catalog.of_owner(user):
            self.ask(self.public_jobs, asker.ticket(), now)
        else:
            self.ask(self._of(user).jobs, asker.ticket(), now)

    def ask_status(self, asker: Asker, now: Now) -> None:
        """Reply with the status for a user who is not a reader."""
        user = asker.peer.owner
        has_some = user is not None and self._scheduler.catalog.of_owner(user)
        self.ask(self._of(user).status if user and has_some else self.public_status, asker.ticket(), now)

    def _of(self, user: Owner) -> _OfUser:
        """Return a user's texts, and mark the user's request as the most recent."""
        known = self._own.pop(user, None)
        if known is None:
            of_user = partial(self._scheduler.catalog.of_owner, user)
            known = _OfUser(
                SharedReply(lambda: self._rows([job.id for job in of_user()], views.job_row), _PUBLIC_FOR),
                SharedReply(lambda: self._public_status(user), _PUBLIC_FOR),
            )
        self._own[user] = known
        for other in list(self._own)[:-_USERS]:
            if not (self._own[other].jobs.is_wanted or self._own[other].status.is_wanted):
                del self._own[other]
        return known

    def ask(self, text: SharedReply, ticket: int, now: Now) -> None:
        """Reply with a string, at once or when it is written."""
        if (written := text.ask(ticket, self.version, now.mono)) is not None:
            self._give(text, ticket, written, now)
        else:
            self._is_wanted = True

    def _give(self, text: SharedReply, ticket: int, written: bytes, now: Now) -> None:
        """Reply with a string. Add the public list to a user's own jobs."""
        if any(text is own.jobs for own in self._own.values()):
            self._heads[ticket] = written[len(_FIRST) : written.rindex(_LAST)]
            self.ask(self.public_jobs, ticket, now)
            return
        head = self._heads.pop(ticket, b"")
        if head:
            rest = written[len(_FIRST) :]
            written = b"".join((_FIRST, head, b"" if rest.startswith(_LAST) else b",", rest))
        self._replies.send(ticket, written)

    @property
    def has_more(self) -> bool:
        """Return whether a caller waits."""
        return self._is_wanted

    @property
    def _texts(self) -> tuple[SharedReply, ...]:
        own = (text for of_user in self._own.values() for text in of_user)
        return self.jobs, self.public_status, self.public_jobs, self.metrics, *own

    def turn(self, now: Now) -> tuple[()]:
        """Write a piece of the first text that a caller waits for."""
        if (text := next((text for text in self._texts if text.is_wanted), None)) is not None:
            self._go_on(text, now)
        self._is_wanted = any(text.is_wanted for text in self._texts)
        return ()

    def _go_on(self, text: SharedReply, now: Now) -> None:
        try:
            written, tickets = text.go_on(self.version, now.mono)
        except Exception as bug:
            for ticket in text.fail():
                self._heads.pop(ticket, None)
                self._replies.stumble(ticket, bug)
            return
        for ticket in tickets:
            self._give(text, ticket, written, now)

    def _public_names(self) -> list[str]:
        return [job.id for job in self._scheduler.catalog if job.owner is None]

    def _rows(self, names: list[str], row: Callable[..., dict[str, Any]]) -> Pieces:
        names.sort()
        yield '{"jobs":['
        comma = ""
        for start in range(0, len(names), _SLICE):
            found = map(self._scheduler.catalog.get, names[start : start + _SLICE])
            rows = [row(job, views.condition(self._scheduler, job)) for job in found if job is not None]
            if rows:
                yield comma + text_of(rows)[1:-1]
                comma = ","
        yield f"],{text_of(views.hold(self._scheduler))[1:]}"

    def _public_status(self, user: Owner | None) -> Pieces:
        yield text_of(self._status(user))

    def _metrics(self) -> Pieces:
        yield '{"families":['
        yield from gathered(self._families())
        yield "]}"

    def _families(self) -> Pieces:
        comma = ""
        for family, pieces in self._told():
            head = {"name": family.name, "kind": family.kind, "help": family.help}
            yield f'{comma}{text_of(head)[:-1]},"samples":['
            comma = ""
            for piece in pieces:
                samples = text_of([sample._asdict() for sample in piece])[1:-1]
                yield comma + samples if samples else ""
                comma = comma or ("," if samples else "")
            yield "]}"
            comma = ","


def gathered(texts: Iterable[str]) -> Pieces:
    """Join small texts into larger pieces, because each piece takes a turn. Many empty texts also complete a piece."""
    parts, size = list[str](), 0
    for text in texts:
        parts.append(text)
        size += len(text) + _PIECE // _PIECES
        if size >= _PIECE:
            yield "".join(parts)
            parts, size = [], 0
    yield "".join(parts)

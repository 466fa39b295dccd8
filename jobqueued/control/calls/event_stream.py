"""A stream of the daemon's log lines for programs that watch.

The newest lines are kept in memory, once for all watchers. A watcher that reads too slowly gets the number of lines
that it missed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from itertools import islice
from time import time_ns
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.replies import Replies
from jobqueued.control.protocol.varlink import VarlinkError, text_of
from jobqueued.core.records.record import owner_of
from jobqueued.host.messages import VOCABULARY, job_of, level_of, run_of, state_of
from jobqueued.model.job import Now
from jobqueued.model.source import Source
from jobqueued.model.users import Owner, share_of

MOST = 1000
"""Maximum lines kept while a watcher exists."""
_IN_ANSWER = 100


class _Line(NamedTuple):
    """A log line as JSON, with its number and the fields that watchers select. `owner`: the owner of its job."""

    number: int
    event: str
    job: str | None
    owner: Owner | None
    text: str


class _LogWatcher(NamedTuple):
    """A watcher that received all lines before number `at`. An empty selection means everything."""

    at: int
    events: Collection[str]
    jobs: Collection[str]
    asker: Asker

    def wants(self, line: _Line) -> bool:
        """Return whether the watcher selected the line and may see it."""
        sees = self.asker.sees_all or (line.owner is not None and line.owner == self.asker.peer.owner)
        return sees and (not self.events or line.event in self.events) and (not self.jobs or line.job in self.jobs)


class EventStream(Source):
    """Sends lines to watchers. `owner` returns the owner of a line's job."""

    def __init__(self, owner: Callable[[str], Owner | None], replies: Replies) -> None:
        self._owner, self._replies = owner, replies
        self._lines = deque[_Line](maxlen=MOST)
        self._next = 0
        self._watchers: dict[int, _LogWatcher] = {}

    @method("Watch", AccessRule(Rank.READER, own=True))
    def watch(self, parameters: Mapping[str, Any], asker: Asker) -> None:
        """Send the caller all lines logged from now on. The first reply, without lines, is sent at once."""
        events, jobs = (frozenset(parameters.get(name) or ()) for name in ("events", "jobs"))
        if unknown := sorted(events - VOCABULARY.keys()):
            raise VarlinkError("Refused", {"reason": f"there is no event {unknown[0]}; jobqueued(8) lists all events"})
        ticket = asker.ticket()
        if self._replies.stream(ticket, text_of({"events": [], "missed": 0})):
            self._watchers[ticket] = _LogWatcher(self._next, events, jobs, asker)

    def left(self, ticket: int) -> None:
        """Forget a watcher that left. Without watchers, no lines are kept."""
        self._watchers.pop(ticket, None)
        if not self._watchers:
            self._lines.clear()

    def hear(self, event: str, fields: Mapping[str, Any]) -> None:
        """Receive a log line from the daemon."""
        if not self._watchers:
            return
        job, record = job_of(fields), fields.get("record")
        owner = None
        if job is not None and share_of(job):
            owner = owner_of(record) if record else self._owner(job)
        told = {
            "at": to_text(time_ns()),
            "event": event,
            "level": level_of(event, fields),
            "message": printable(VOCABULARY[event].text({**fields})),
            "job": job,
            "run": run_of(fields),
            "state": state_of(event, fields),
            "record": record,
        }
        self._lines.append(_Line(self._next, event, job, owner, text_of(told)))
        self._next += 1

    @property
    def has_more(self) -> bool:
        """Return whether lines are waiting for a watcher that is ready for a reply."""
        return any(it.at < self._next and self._replies.takes(ticket) for ticket, it in self._watchers.items())

    def turn(self, now: Now) -> tuple[()]:
        """Send the next lines to each watcher that is ready for a reply."""
        for ticket, watcher in list(self._watchers.items()):
            if watcher.at < self._next and self._replies.takes(ticket):
                self._send_lines(ticket, watcher)
        return ()

    def _send_lines(self, ticket: int, watcher: _LogWatcher) -> None:
        oldest = self._next - len(self._lines)
        missed, begin = max(0, oldest - watcher.at), max(0, watcher.at - oldest)
        part = list(islice(self._lines, begin, begin + _IN_ANSWER))
        texts = [line.text for line in part if watcher.wants(line)]
        self._watchers[ticket] = watcher._replace(at=oldest + begin + len(part))
        if texts or missed:
            self._replies.stream(ticket, f'{{"events":[{",".join(texts)}],"missed":{missed}}}')

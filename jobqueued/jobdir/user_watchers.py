"""Files that users' jobs wait for. Each user has a watcher, a process that runs as the user.

The launcher starts a watcher and forwards its lines. A user could forge these lines, so they name only the user's
paths, by their number in the watcher's order, and have no effect that the user's jobs could not have. The launcher
limits the number of lines. If a watcher ends for any reason, this module orders a new watcher after a pause. A new
watcher first looks for recent changes, so no file is missed; each job saves the instant up to which it was notified.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from jobqueued.base.instants import SECOND
from jobqueued.base.text import duration
from jobqueued.child.watcher.appearing import Trouble
from jobqueued.core.scheduler import Scheduler
from jobqueued.jobdir.path_triggers import event_of, in_words
from jobqueued.jobdir.user_files import UserFile
from jobqueued.model.events import AccountKnown, Event, FileGone, JobsRead, PathAppeared
from jobqueued.model.job import Now
from jobqueued.model.source import Source
from jobqueued.model.users import Owner, awaited_path
from jobqueued.runs.launcher_link import LauncherLink

APART = SECOND
"""Minimum time (ns) between two orders for one user."""
CALM = 60 * SECOND
"""Minimum lifetime (ns) of a watcher whose end does not count as a failure in a series."""
LONGEST_PAUSE = 300 * SECOND
A_TURN = 16
"""Maximum orders in a turn."""
_FULL = 1 << 16
"""Maximum unsent bytes to the launcher; while there are more, no watcher is ordered."""
_SHOWN_AFTER = 3
_LATEST = 1 << 63


@dataclass(slots=True)
class _Watched:
    """The paths that a user's jobs wait for; a watcher reports a path by its index in `paths`."""

    owner: Owner
    paths: tuple[str, ...]
    order_at: int | None = 0
    """The time (CLOCK_MONOTONIC, ns) to order the watcher, or None if it was ordered."""
    number: int = 0
    """Number of the order for the watcher, or 0 if no order was sent or the watcher ended."""
    ordered: int = -APART
    failures: int = 0
    trouble: Trouble | None = None

    def pause(self, mono: int) -> int:
        """Record the watcher's end, and return the pause (ns) before the next watcher."""
        self.failures = self.failures + 1 if mono - self.ordered < CALM else 1
        self.number, self.trouble = 0, None
        return min(SECOND << min(self.failures - 1, 20), LONGEST_PAUSE)


class UserWatchers(Source):
    """The watchers of all users."""

    def __init__(self, link: LauncherLink, scheduler: Scheduler) -> None:
        self._link, self._scheduler, self._greeting = link, scheduler, -1
        self._last = time.time_ns()  # higher than an earlier scheduler's numbers, whose lines are ignored
        self._of_owner: dict[Owner, _Watched] = {}
        self._of_number: dict[int, _Watched] = {}

    def follow(self, happened: Iterable[Event], mono: int) -> None:
        """Update the watched paths of the users whose files or account changed."""
        for owner in {found for event in happened if (found := _concerned(event))}:
            names = self._scheduler.catalog.paths_of_user(owner) if self._scheduler.may_have_jobs(owner) else []
            self._want(owner, tuple(names), mono)

    def _want(self, owner: Owner, paths: tuple[str, ...], mono: int) -> None:
        watched = self._of_owner.get(owner)
        if watched is None:
            if paths:
                self._of_owner[owner] = _Watched(owner, paths)
        elif watched.paths != paths:
            self._forget(watched)
            watched.paths, watched.trouble = paths, None
            watched.order_at = max(mono, watched.ordered + APART, watched.order_at or 0)
            if not paths:
                del self._of_owner[owner]

    def _forget(self, watched: _Watched) -> None:
        if self._of_number.pop(watched.number, None) is not None:
            self._link.unwatch(watched.number)
        watched.number = 0

    def words(self) -> dict[Owner, str]:
        """Return a mapping of user → the reason why one of the user's files may remain unnoticed."""
        return {owner: words for owner, watched in self._of_owner.items() if (words := self._worded(watched))}

    def _worded(self, watched: _Watched) -> str:
        if watched.trouble is not None:
            return in_words(watched.trouble)
        if watched.order_at is None or watched.failures < _SHOWN_AFTER:
            return ""
        pause = duration(max(0, watched.order_at - time.monotonic_ns()) // SECOND)
        return f"the process that watches for files keeps exiting; next start in {pause}"

    @property
    def deadline(self) -> int | None:
        """The time to order the next watcher, or None if no order is due or the launcher's backlog is full."""
        if not self._link.greeted or self._link.unsent_bytes > _FULL:
            return None
        if self._greeting != self._link.greetings:
            return 0
        if not self._of_owner:
            return None
        return min((it.order_at for it in self._of_owner.values() if it.order_at is not None), default=None)

    def turn(self, now: Now) -> tuple[()]:
        """Order the watchers that are due.

        After a launcher restart, order all watchers, because the new launcher has none.
        """
        if self._greeting != self._link.greetings:
            self._greeting = self._link.greetings
            self._of_number.clear()
            for watched in self._of_owner.values():
                watched.number, watched.order_at, watched.failures, watched.trouble = 0, now.mono, 0, None
        due = [it for it in self._of_owner.values() if it.order_at is not None and it.order_at <= now.mono]
        for watched in due[:A_TURN]:
            self._order(watched, now.mono)
        self._link.flush()
        return ()

    def _order(self, watched: _Watched, mono: int) -> None:
        self._last = watched.number = max(self._last + 1, time.time_ns())
        watched.order_at, watched.ordered = None, mono
        self._of_number[watched.number] = watched
        name, uid = watched.owner.name, watched.owner.uid
        users = self._link.accounts.users
        owner = [name, uid, users.allow, users.deny]
        document = {"owner": owner, "paths": [awaited_path(path) for path in watched.paths]}
        self._link.watch(watched.number, f"{uid} {json.dumps(document, separators=(',', ':'))}", self._hear)

    def _hear(self, verb: str, number: int, rest: str) -> Iterator[PathAppeared]:
        """Handle a watcher's line or end, and yield the events for the scheduler."""
        if (watched := self._of_number.get(number)) is None:
            return
        if verb == "unwatched":
            del self._of_number[number]
            mono = time.monotonic_ns()
            watched.order_at = mono + watched.pause(mono)
            return
        place, what, *file = rest.split(" ", 2)
        path = watched.paths[int(place)] if place != "-" and int(place) < len(watched.paths) else None
        if verb == "unnoticed":
            known = None if path is None else os.path.dirname(awaited_path(path))
            watched.trouble = None if known is None else Trouble(known, int(what))
        elif path is not None and (what == "-" or int(what) < _LATEST):
            instant = None if what == "-" else int(what)
            yield event_of(path, instant, json.loads(file[0]), time.time_ns())


def _concerned(event: Event) -> Owner | None:
    """Return the user whose paths an event may change, or None."""
    match event:
        case AccountKnown(account) if account.kind == "owner":
            return Owner(account.uid, account.name)
        case JobsRead() | FileGone():
            file = UserFile.parse(os.path.basename(event.file))
            return None if file is None else file.owner
    return None

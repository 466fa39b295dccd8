"""Selection of runs by job, state, time, tag, user, reason, exit code and duration.

The daemon filters by state and time, because it has indexes for them. This module filters by the other criteria, record
by record, so that no search blocks the daemon.
"""

from __future__ import annotations

import contextlib
import functools
import pwd
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from itertools import chain, islice
from operator import itemgetter
from typing import Any

import click

from jobqueued.base.instants import SECOND, to_instant, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.ctl.base import completion, records
from jobqueued.ctl.base.arguments import check_period, past_time
from jobqueued.ctl.base.arguments import duration as read_duration
from jobqueued.ctl.base.client import CallRefused, DaemonUnreachable, warn_of_own_only
from jobqueued.ctl.past import offline
from jobqueued.model.run_states import FAILURES, LIVE, PENDING, RunState
from jobqueued.settings.paths import Paths

_STATES = [state.value for state in RunState]
ENDED = frozenset(_STATES) - LIVE - PENDING
PAGE = 50
MOST_LOOKED_AT = 100_000
"""Maximum number of records that a command reads to filter by their content."""
USUAL = "usual"
_UNUSUAL = 2
"""A run takes longer than usual if it exceeds the usual duration by this factor."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A filter for runs; fields that are None or () are ignored.

    A run must have all `tags`. `longer_than` is in seconds, or `USUAL`. `since` and `until` limit the queueing time,
    and `ended_since` the end (wall, ns).
    """

    states: tuple[str, ...] | None = None
    since: int | None = None
    until: int | None = None
    ended_since: int | None = None
    tags: tuple[str, ...] = ()
    user: str | None = None
    reason: str | None = None
    exit_codes: tuple[int, ...] = ()
    longer_than: float | str | None = None

    @property
    def is_any(self) -> bool:
        """True if the filter accepts every run."""
        return self == Wanted()

    @property
    def looks_into_records(self) -> bool:
        """True if the filter uses more than state and queueing time."""
        return replace(self, states=None, since=None, until=None) != Wanted()

    @property
    def asked_states(self) -> list[str] | None:
        """The states to request from the daemon. A filter by exit code or duration excludes skips and pending runs."""
        states = self.states
        if states is None and (self.exit_codes or self.longer_than is not None):
            states = tuple(state for state in _STATES if state not in {RunState.SKIPPED, *PENDING})
        return None if states is None else list(states)

    def takes(self, record: Record, usual: Callable[[Record], float | None], daemon: str | None = None) -> bool:
        """Return whether a record passes the part of the filter that needs the record's content.

        `usual` returns the usual duration (s) of a record's job. `daemon` is the user of runs without the field `user`.
        """
        user, owner = record["user"], record.get("owner")
        if user is None and owner is None and record["command"] is not None:
            user = daemon
        return (
            all(tag in record["tags"] for tag in self.tags)
            and (self.ended_since is None or self.ended_since <= _ended(record))
            and (self.user is None or self.user in (user, owner and owner["name"]))
            and (self.reason is None or self.reason.casefold() in (record["reason"] or "").casefold())
            and (not self.exit_codes or record["exit_code"] in self.exit_codes)
            and (self.longer_than is None or self._is_longer(record, usual))
        )

    def _is_longer(self, record: Record, usual: Callable[[Record], float | None]) -> bool:
        took = seconds(record)
        if took is None:
            return False
        if isinstance(self.longer_than, float):
            return took > self.longer_than
        known = usual(record)
        return known is not None and took > _UNUSUAL * known


def _ended(record: Record) -> int:
    """Return the latest instant in an ended run's record, or -1 if the run has not ended."""
    if record["state"] in LIVE | PENDING:
        return -1
    known = record["queued"], record.get("ended"), record.get("given_up"), record.get("last_due")
    return max(to_instant(datetime.fromisoformat(text)) for text in known if text)


def seconds(record: Record) -> float | None:
    """Return the seconds from start to end (to now for a live run), or None if unknown or not started."""
    if not record["started"] or not (record["ended"] or record["state"] in LIVE):
        return None
    begin = datetime.fromisoformat(record["started"]).timestamp()
    return max(0.0, (datetime.fromisoformat(record["ended"]).timestamp() if record["ended"] else time.time()) - begin)


def _longer(context: click.Context, parameter: click.Parameter, text: str | None) -> float | str | None:
    return text if text == USUAL else read_duration(context, parameter, text)


def of_runs(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that choose runs to a command. The command gets their values as `wanted`."""

    @click.option(
        "-s",
        "--state",
        "states",
        type=click.Choice(_STATES),
        multiple=True,
        metavar="S",
        help=f"Only runs in this state: {', '.join(_STATES)}.  May be repeated.",
    )
    @click.option("--failed", is_flag=True, help=f"Only runs that ended badly: {', '.join(sorted(FAILURES))}.")
    @click.option("--since", callback=past_time, metavar="T", help="Only runs queued since T: 2h, today, 2026-11-24.")
    @click.option("--until", callback=past_time, metavar="T", help="Only runs queued before T.")
    @click.option(
        "--ended-since", callback=past_time, metavar="T", help="Only runs that ended or were skipped since T."
    )
    @click.option(
        "--tag",
        "tags",
        multiple=True,
        metavar="TAG",
        shell_complete=completion.tags,
        help="Only runs whose job had this tag at the time.  Repeat to require several tags.",
    )
    @click.option(
        "--of-user", "user", metavar="NAME", help="Only runs that ran as this user, or whose job belongs to this user."
    )
    @click.option("--reason", metavar="TEXT", help="Only runs with TEXT in their reason; case is ignored.")
    @click.option(
        "--exit-code",
        "exit_codes",
        type=int,
        multiple=True,
        metavar="N",
        help="Only runs with this exit code.  May be repeated.",
    )
    @click.option(
        "--longer-than",
        callback=_longer,
        metavar="D",
        help="Only runs that took longer than D: 90s, 2h, or "
        "`usual`: twice the median of the job's newest 50 successful runs.",
    )
    @functools.wraps(command)
    def chosen(*args: Any, states: tuple[str, ...], failed: bool, **options: Any) -> None:
        names = [name for name in Wanted.__slots__ if name in options]
        given = {name: options.pop(name) for name in names}
        check_period(given["since"], given["until"])
        both = tuple(sorted({*states, *(FAILURES if failed else ())})) or None
        command(*args, wanted=Wanted(states=both, **given), **options)

    return chosen


def words_of(wanted: Wanted) -> list[str]:
    """Return the options that choose the same runs in another command. If `states` is empty, no option is needed."""
    times = {"since": wanted.since, "until": wanted.until, "ended-since": wanted.ended_since}
    longer = wanted.longer_than
    given = {
        "state": wanted.states or (),
        **{name: (to_text(it),) for name, it in times.items() if it is not None},
        "tag": wanted.tags,
        "of-user": (wanted.user,),
        "reason": (wanted.reason,),
        "exit-code": wanted.exit_codes,
        "longer-than": (f"{longer:.0f}s" if isinstance(longer, float) else longer,),
    }
    return [f"--{name}={value}" for name, values in given.items() for value in values if value is not None]


def matching(
    paths: Paths,
    jobs: Sequence[str],
    wanted: Wanted,
    page: int = PAGE,
    *,
    bounded: bool = False,
    also: Sequence[str] = (),
) -> Iterator[Record]:
    """Yield the wanted runs of these jobs, or of all jobs, newest first. Read files while the daemon is down.

    `page` is the number of runs per call. If the filter needs records, or if `bounded`, search only the newest
    `MOST_LOOKED_AT` runs, and report this limit on stderr. `also` contains more jobs, which may be absent from the
    daemon.
    """
    looks = wanted.looks_into_records
    found = _by_state_and_time(paths, jobs, wanted, PAGE if looks else page, also)
    return _looked_through(paths, found, wanted) if looks or bounded else found


def _looked_through(paths: Paths, found: Iterator[Record], wanted: Wanted) -> Iterator[Record]:
    @functools.cache
    def usual(job: str) -> float | None:
        return usual_of(_succeeded(paths, job))

    daemon = None if wanted.user is None else _user_of_daemon(paths)
    for looked, record in enumerate(found):
        if looked >= MOST_LOOKED_AT:
            click.echo(
                f"Only the newest {looked:,} runs were searched, back to {record['queued']};"
                f" for older ones: --until {record['queued']}",
                err=True,
            )
            return
        if wanted.takes(record, lambda it: usual(it["job"]), daemon):
            yield record


def _user_of_daemon(paths: Paths) -> str | None:
    from jobqueued.ctl.files.job_units import user_of_daemon

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(user_of_daemon(paths)).pw_name
    return None


def _succeeded(paths: Paths, job: str) -> Iterator[Record]:
    try:
        yield from records.history(paths, {"job": job, "states": [RunState.SUCCEEDED]})
    except DaemonUnreachable:
        yield from (record for record in offline.history(paths, job) if record["state"] == RunState.SUCCEEDED)


def usual_of(succeeded: Iterable[Record]) -> float | None:
    """Return the usual duration (s) of a job's runs, from its records (newest first), or None if unknown."""
    from jobqueued.core.records import recollection

    usual = recollection.usual_of(succeeded)
    return None if usual is None else usual / SECOND


def _by_state_and_time(
    paths: Paths, jobs: Sequence[str], wanted: Wanted, page: int, also: Sequence[str]
) -> Iterator[Record]:
    query = {"states": wanted.asked_states, "limit": page}
    names: Sequence[str | None] = jobs or [None]
    each = [records.history(paths, {**query, "job": job}, wanted.since, wanted.until) for job in names]
    each += [_if_known(records.history(paths, {**query, "job": job}, wanted.since, wanted.until)) for job in also]
    try:
        first = [list(islice(found, 1)) for found in each]
    except DaemonUnreachable as down:
        return _from_files(paths, down, jobs, wanted, also)
    if not jobs:
        warn_of_own_only(paths.control)
    return _merged(chain(*both) for both in zip(first, each, strict=True))


def _if_known(found: Iterator[Record]) -> Iterator[Record]:
    with contextlib.suppress(CallRefused):
        yield from found


def _from_files(
    paths: Paths, down: DaemonUnreachable, jobs: Sequence[str], wanted: Wanted, also: Sequence[str]
) -> Iterator[Record]:
    last = None if wanted.until is None else to_text(wanted.until)
    names, states = list[str | None](jobs) or [None], wanted.asked_states
    for job in names:
        offline.require_record(paths, down, job)
    offline.explain(paths, down)
    found = (offline.history(paths, job, to_text(wanted.since) if wanted.since else "") for job in (*names, *also))
    return (
        record
        for record in _merged(found)
        if (last is None or record["queued"] < last) and (states is None or record["state"] in states)
    )


def _merged(each: Iterable[Iterator[Record]]) -> Iterator[Record]:
    return merge(*each, key=itemgetter("queued"), reverse=True)

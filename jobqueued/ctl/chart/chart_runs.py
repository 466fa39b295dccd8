"""The facts about runs that a chart needs, in columns of numbers for each job, so that a million runs fit in memory.

Times are milliseconds since 1970 UTC, or NONE if missing or unknown.
"""

from __future__ import annotations

import shlex
from array import array
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import compress, pairwise
from typing import Any, cast

from jobqueued.base.instants import MILLISECOND, to_text
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.run_states import LIVE, PENDING, RunState

NONE = -1
OF_HOST = "of_host"
"""Additional field for the job's host in a record, in charts of several hosts."""
STATES = [state.value for state in RunState]
_GOES_ON = LIVE | PENDING
_EPOCH, _MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)
_LONGEST = 200
"""Maximum number of characters of a string in a chart."""
_Try = tuple[str | None, str | None, str | None]
"""Start, end and state of an attempt."""


class ChartRun(NamedTuple):
    """A run as numbers. NONE means unknown.

    `state` is an index in STATES, `tags` and `waited_for` in `Runs.lists`, `claims` in `Runs.claims`, and `held_by`,
    `reason`, `trigger` and `command` in `Runs.texts`. A run may be `queued` after its due time, because of its job's
    `spread` or because the daemon was down. For a skip, `ended` is its last due time. `cpu` is in milliseconds,
    `memory` is the peak in KiB.
    """

    number: int
    due: int
    queued: int
    started: int
    ended: int
    state: int
    reason: int
    waited_for: int
    held_by: int
    claims: int
    tags: int
    trigger: int
    command: int
    attempts: int
    cpu: int
    memory: int

    @property
    def until(self) -> int:
        """The end of the run's wait: its start, or its end if it did not start."""
        return self.started if self.started != NONE else self.ended

    @property
    def waited(self) -> int:
        """Time (ms) from the run's queueing to its start, or 0 if it did not start."""
        return max(0, self.started - self.queued)


class Runs:
    """The runs of all jobs. After `sort`, each job's runs are sorted by due time.

    With several hosts, the jobs of each host are separate and have names such as ``db1: backup``. `whose` maps a name
    to the host (or "") and the job id. `texts` and `lists` contain each value once; the first value is empty. `pauses`
    maps a run's job and number to the start and end of each pause between two attempts; a pause may be empty. `tries`
    maps a run's job and number to the state of the attempt before each pause, as an index of STATES.
    """

    def __init__(self) -> None:
        self.pauses: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self.tries: dict[tuple[str, int], list[int]] = {}
        self.of: dict[str, list[array[int]]] = {}
        self.whose: dict[str, tuple[str, str]] = {}
        self._texts: dict[Hashable, int] = {"": 0}
        self._lists: dict[Hashable, int] = {(): 0}
        self._claims: dict[Hashable, int] = {(): 0}

    def __len__(self) -> int:
        return sum(len(columns[0]) for columns in self.of.values())

    @property
    def texts(self) -> list[str]:
        """The reasons, triggers, commands and holders that runs refer to."""
        return [*map(str, self._texts)]

    @property
    def lists(self) -> list[tuple[str, ...]]:
        """The lists of tags and of awaited claims that runs refer to."""
        return [*self._lists]  # type: ignore[list-item]

    @property
    def claims(self) -> list[dict[str, bool]]:
        """The claims that runs refer to: name → True if exclusive."""
        return [dict(it) for it in self._claims]  # type: ignore[call-overload]

    @property
    def are_silent(self) -> bool:
        """True if the claims of some runs are unknown."""
        return any(NONE in columns[_CLAIMS] for columns in self.of.values())

    @property
    def are_of_hosts(self) -> bool:
        """True if the runs are from several hosts."""
        return any(self.whose[job][0] for job in self.of)

    def add(self, record: Record) -> None:
        """Add a run."""
        host, job = cast("Mapping[str, Any]", record).get(OF_HOST, ""), record["job"]
        name = f"{host}: {job}" if host else job
        columns = self.of.get(name)
        if columns is None:
            columns = self.of[name] = [array("q") for _ in ChartRun._fields]
            self.whose[name] = host, job
        for column, value in zip(columns, self._run(record), strict=True):
            column.append(value)
        tries: list[_Try] = [(it["started"], it["ended"], it.get("state")) for it in record.get("attempts") or ()]
        if record["state"] in LIVE:
            tries.append((record.get("started"), None, None))  # the current attempt
        if len(tries) > 1:
            self._add_tries((name, record["number"]), tries, record["state"])

    def _add_tries(self, key: tuple[str, int], tries: Sequence[_Try], state: str) -> None:
        """Add the pauses between a run's attempts. An attempt without a state gets the run's state."""
        found = [
            ((_moment(one[1]), _moment(other[0])), STATES.index(one[2] or state)) for one, other in pairwise(tries)
        ]
        found = [it for it in found if NONE < it[0][0] <= it[0][1]]
        self.pauses[key], self.tries[key] = [pause for pause, _ in found], [before for _, before in found]

    def _run(self, record: Record) -> ChartRun:
        due = _moment(record["due"])
        cpu = [part for part in (record.get("cpu_user"), record.get("cpu_system")) if part is not None]
        peak, told = record.get("memory_peak"), cast("Mapping[str, Any]", record)
        return ChartRun(
            number=record["number"],
            due=due,
            queued=max(due, _moment(record.get("queued"))),
            started=_started(record),
            ended=_ended(record),
            state=STATES.index(record["state"]),
            reason=self._text(_reason(record)),
            waited_for=self._list(record.get("waited_for") or ()),
            held_by=self._text(told.get("held_by") or ""),
            claims=self._held(told),
            tags=self._list(record.get("tags") or ()),
            trigger=self._text(_trigger(record)),
            command=self._text(_command(record.get("command"))),
            attempts=len(record.get("attempts") or ()),
            cpu=round(sum(cpu) * 1000) if cpu else NONE,
            memory=NONE if peak is None else peak >> 10,
        )

    def _held(self, record: Mapping[str, Any]) -> int:
        """Return the index of a record's claims, or NONE if unknown.

        A daemon's record without `claims` means no claims.
        """
        held = record.get("claims", () if "version" in record else None)
        if held is None:
            return NONE
        told = tuple((it["resource"], it["mode"] == "exclusive" or it["units"] > 0) for it in held)
        return self._claims.setdefault(told, len(self._claims))

    def _text(self, text: str) -> int:
        return self._texts.setdefault(text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…", len(self._texts))

    def _list(self, texts: Sequence[str]) -> int:
        return self._lists.setdefault(tuple(texts), len(self._lists))

    def tell_holder(self, job: str, place: int, name: str) -> None:
        """Set the name of the run that the job's run at this index waited for."""
        self.of[job][_HELD_BY][place] = self._text(name)

    def name(self, job: str, place: int) -> str:
        """Return the name of the job's run at an index: ``backup@142``."""
        return f"{job}@{self.of[job][_NUMBER][place]}"

    def sort(self) -> None:
        """Sort the runs of each job by due time, and the jobs by name."""
        for columns in self.of.values():
            order = sorted(range(len(columns[0])), key=columns[_DUE].__getitem__)
            columns[:] = [array("q", map(column.__getitem__, order)) for column in columns]
        self.of = dict(sorted(self.of.items()))

    def runs(self, job: str) -> Iterator[ChartRun]:
        """Yield the runs of a job."""
        return map(ChartRun._make, zip(*self.of[job], strict=True))

    def run(self, job: str, place: int) -> ChartRun:
        """Return the job's run at an index."""
        return ChartRun._make(column[place] for column in self.of[job])

    def chosen(self, jobs: Collection[str], tags: Collection[str]) -> Runs:
        """Return only the runs of these jobs, on any host, with all these tags. Empty `jobs` means all jobs."""
        found, wanted = Runs(), [set(tags) <= set(each) for each in self.lists]
        found._texts, found._lists, found._claims, found.pauses = self._texts, self._lists, self._claims, self.pauses
        found.whose, found.tries = self.whose, self.tries
        for job, columns in self.of.items():
            kept = [wanted[each] for each in columns[_TAGS]] if not jobs or self.whose[job][1] in jobs else []
            if any(kept):
                found.of[job] = [array("q", compress(column, kept)) for column in columns]
        return found

    def span(self, now: int) -> tuple[int, int]:
        """Return the first due time and the last end (`now` for unfinished runs), or (now, now) if no runs exist."""
        begins = [min(columns[_DUE]) for columns in self.of.values()]
        ends = [
            max(now if NONE in columns[_ENDED] else 0, *map(max, (columns[at] for at in (_DUE, _STARTED, _ENDED))))
            for columns in self.of.values()
        ]
        return (min(begins), max(ends)) if begins else (now, now)


def collected(records: Iterable[Record]) -> Runs:
    """Return the runs of these records, sorted."""
    runs = Runs()
    for record in records:
        runs.add(record)
    runs.sort()
    return runs


def plain(runs: Runs) -> Iterator[dict[str, object]]:
    """Yield each run as JSON. A fact that is also in records has the same field name."""
    texts, lists = runs.texts, runs.lists
    for job in runs.of:
        host, its_id = runs.whose[job]
        for run in runs.runs(job):
            yield {
                **({"host": host} if host else {}),
                "run": f"{job}@{run.number}",
                "job": its_id,
                "number": run.number,
                "state": STATES[run.state],
                **{name: texts[getattr(run, name)] or None for name in ("reason", "trigger", "command", "held_by")},
                **{name: moment(getattr(run, name)) for name in ("due", "queued", "started", "ended")},
                "waited": run.waited / 1000 if run.started != NONE else None,
                "waited_for": lists[run.waited_for],
                "pauses": [
                    {"since": moment(begin), "until": moment(end)}
                    for begin, end in runs.pauses.get((job, run.number), ())
                    if begin < end
                ],
                "tags": lists[run.tags],
                "cpu": run.cpu / 1000 if run.cpu != NONE else None,
                "memory_peak": run.memory << 10 if run.memory != NONE else None,
            }


def moment(milliseconds: int) -> str | None:
    """Return a time as JSON text, or None."""
    return None if milliseconds == NONE else to_text(milliseconds * MILLISECOND)


_NUMBER, _DUE, _STARTED, _ENDED, _TAGS, _HELD_BY, _CLAIMS = map(
    ChartRun._fields.index, ("number", "due", "started", "ended", "tags", "held_by", "claims")
)


def _moment(text: str | None) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND if text else NONE


def _started(record: Record) -> int:
    """Return the start of the first attempt. A live run's `started` may be the start of a later attempt."""
    parts: list[Mapping[str, Any]] = [record, *(record.get("attempts") or () if record["state"] in LIVE else ())]
    return min((_moment(part["started"]) for part in parts if part.get("started")), default=NONE)


def _ended(record: Record) -> int:
    """Return a run's end, or NONE if it has not ended. For an unknown end, return the earliest possible end."""
    if record["state"] in LIVE:
        return NONE  # its record may have the end of the previous attempt
    ended = record.get("ended") or record.get("last_due")
    if ended or record["state"] in _GOES_ON:
        return _moment(ended)
    parts: Iterable[Mapping[str, Any]] = [record, *(record.get("attempts") or ())]
    return max(_moment(part.get(name)) for part in parts for name in ("due", "queued", "started", "ended"))


def _reason(record: Record) -> str:
    """Return the reason for the state, with the number of skips in the record, and the user who requested a skip."""
    count, reason, asked_by = record.get("count") or 1, record.get("reason") or "", record.get("asked_by")
    if asked_by and record.get("trigger") == "schedule":
        reason = f"{reason}, asked by {asked_by}"
    return f"{count} times, {reason}" if count > 1 else reason


def _trigger(record: Record) -> str:
    """Return the trigger of a run and the user who caused it. If another run's end was the trigger, return only that
    run's job.
    """
    trigger, asked_by = (record.get("trigger") or "").partition("@")[0], record.get("asked_by")
    return f"{trigger} by {asked_by}" if asked_by and trigger != "schedule" else trigger


def _command(command: Any) -> str:
    return command or "" if isinstance(command, str | None) else shlex.join(command)

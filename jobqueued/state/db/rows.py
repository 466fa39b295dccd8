"""Rows of state.db: the mapping of the state to columns, and the check of their values.

SQLite does not enforce the type of a column, and a damaged page may contain any value. Therefore this module checks
values before use; an impossible value raises one of the errors in `NONSENSE`.
"""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import Enum
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from jobqueued.base.intern import shared
from jobqueued.child.contract import json_values
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import parse
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.commands import SaveSubmission
from jobqueued.model.job import Claim, RateUse
from jobqueued.model.notify import Notify, Ping
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.model.saved import DueChange, Expected, Hold, Incident, JobStats, Notice, Outcome, Past, SavedJob, Skip
from jobqueued.model.submission import is_numbered
from jobqueued.model.users import Owner
from jobqueued.queue.placement import Placed
from jobqueued.state.db.mirror import Keys

NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

_RUN_FIELDS = (
    "key", "due", "queued", "arrival", "trigger", "asked_by", "state", "reason", "attempt", "pid", "started",
    "failures", "last_due", "count",
)  # fmt: skip
_MORE_OF_RUN = (
    "not_before",
    "failover",
    "stop_asked",
    "since",
    "waited",
    "held",
    "drains_since",
    "previous",
    "claims",
    "placed",
    "ends_by",
    "so_far",
)
"""Fields that few unfinished runs and no ended runs need. A row stores them as one JSON object, without default values.
"""
_TRIGGER, _WITH_TRIGGER = _RUN_FIELDS.index("trigger"), ("owner", "waits", "given_up", "lacked", "doubted", "wishes")
_RUN_COLUMNS = f"job, number, more, {', '.join(_RUN_FIELDS)}"
PUT_RUN = f"INSERT OR REPLACE INTO run ({_RUN_COLUMNS}, record) VALUES ({', '.join('?' * (len(_RUN_FIELDS) + 4))})"
_MORE_OF_JOB = {
    "paused_until": "paused_until", "previous": "previous", "skips": "skipped", "appeared": "appeared",
    "outcomes": "outcomes", "satisfied": "satisfied", "took": "took", "delays": "delays", "late": "late",
    "expected": "expected", "owner": "owner", "skips_by": "skippers", "agreed": "agreed",
    "shared_pause": "shared_pause", "ends": "ends", "offered": "offered", "settled": "settled",
    "to_return": "to_return", "rate_use": "rate_use",
}  # fmt: skip
"""Name in the row's JSON → field that few jobs need; older versions use some of these names too."""
_MORE_STATS = ("failing_since", "failing_run", "failing_reason", "by_failover")
"""Fields of JobStats that have their own column: older versions would refuse these fields in the column `stats`."""
_STATS = tuple(name for name in JobStats.__slots__ if name not in _MORE_STATS)
_JOB_COLUMNS = "job, rhythm, cursor, era, last_number, paused, stats, more"
PUT_JOB = f"INSERT OR REPLACE INTO job ({_JOB_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"


def run_row(run: Run, record: Record | None) -> tuple[object, ...]:
    """Return the values of PUT_RUN.

    After a NUL, the trigger's column also has `triggered_by` and rare fields such as owner and waits. An older version
    reads these fields as part of the trigger, whereas unknown fields would make that version set the whole state aside.
    """
    values = _run_fields(run)
    if (record is None or run.state is RunState.SKIPPED) and (more := _cause_document(run)):
        values = (*values[:_TRIGGER], f"{run.trigger}\0{json_values.line(more)}", *values[_TRIGGER + 1 :])
    if record is not None:
        return (*run.id, "{}", *values, json_values.line(record))
    return (*run.id, _more(_MORE_OF_RUN, _more_of_run(run), _COMMON_RUN), *values, None)


def _cause_document(run: Run) -> dict[str, Any]:
    more = {name: it for name in _WITH_TRIGGER if (it := getattr(run, name)) not in (None, ()) and it is not False}
    return {**(run.triggered_by or {}), **more}


def _more(names: tuple[str, ...], values: tuple[Any, ...], common: tuple[Any, ...]) -> str:
    """Return the rare fields of a row as JSON."""
    if values == common:
        return "{}"
    rare = {name: value for name, value, usual in zip(names, values, common, strict=True) if value != usual}
    return json_values.line(rare)


_run_fields, _more_of_run = attrgetter(*_RUN_FIELDS), attrgetter(*_MORE_OF_RUN)
_more_of_job = attrgetter(*_MORE_OF_JOB.values(), *(f"stats.{name}" for name in _MORE_STATS))
_COMMON_RUN = _more_of_run(Run(id=RunId("", 1), key="", due=0, queued=0, arrival=0))
_COMMON_JOB = _more_of_job(SavedJob(job=""))


def _run(job: str, number: int, more: str, *rest: Any) -> Run:
    fields = dict(zip(_RUN_FIELDS, rest, strict=True)) | json.loads(more)
    claims, placed = claims_from(fields.pop("claims", ())), placed_from(fields.pop("placed", ()))
    fields["state"] = RunState(fields["state"])
    fields["reason"] = None if fields["reason"] is None else parse(fields["reason"])
    fields["trigger"], _, told = fields["trigger"].partition("\0")
    by = json.loads(told) if told else {}
    uid, name = by.pop("owner", (None, None))
    fields["owner"] = None if uid is None else Owner(int(uid), str(name))
    fields["waits"] = tuple((int(at), str(what)) for at, what in by.pop("waits", ()))
    fields["given_up"], fields["lacked"] = by.pop("given_up", None), tuple(map(str, by.pop("lacked", ())))
    fields["doubted"] = by.pop("doubted", False)
    fields["wishes"] = _wishes(by.pop("wishes", None))
    fields["triggered_by"] = by or None
    return Run(id=RunId(job, number), claims=claims, placed=placed, **fields)


def _wishes(plain: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return a run's wishes after checking them. Raises one of NONSENSE if they are damaged."""
    if plain is not None:
        Notify.of(plain["notify"])
        if plain["ping"] is not None:
            Ping.of(plain["ping"])
    return plain


def hold_text(hold: Hold | None) -> str | None:
    """Return the value of the fact "hold" for `Store.commit`, or None if there is no hold."""
    return None if hold is None else json.dumps(_plain_hold(hold))


def _plain_hold(hold: Hold) -> dict[str, Any]:
    return {**hold._asdict(), "below": None if hold.below is None else _plain_hold(hold.below)}


def _hold(plain: dict[str, Any]) -> Hold:
    below = plain.get("below")
    return Hold(**{**plain, "below": None if below is None else _hold(below)})


def claims_from(plain: Iterable[Any]) -> tuple[Claim, ...]:
    """Return claims from their JSON form."""
    return tuple(Claim(*claim) for claim in plain)


def placed_from(plain: Iterable[Any]) -> Placed:
    """Return the units of a run from their JSON form."""
    return tuple((name, tuple(numbers)) for name, numbers in plain)


_stats_fields = attrgetter(*_STATS)
_TIMES = re.compile("([0-9]{1,18}( [0-9]{1,18})*)?")


def job_row(memory: SavedJob) -> tuple[object, ...]:
    """Return the values of PUT_JOB."""
    stats = json_values.line(dict(zip(_STATS, _stats_fields(memory.stats), strict=True)))
    more = _more((*_MORE_OF_JOB, *_MORE_STATS), _more_of_job(memory), _COMMON_JOB)
    return memory.job, memory.rhythm, memory.cursor, memory.era, memory.last_number, int(memory.paused), stats, more


def _memory(
    job: str, rhythm: str, cursor: int, era: int, last_number: int, paused: int, stats: str, more: str
) -> SavedJob:
    rare = json.loads(more)
    counted = JobStats(**json.loads(stats), **{name: rare[name] for name in _MORE_STATS if name in rare})
    return SavedJob(
        job=sys.intern(job),
        rhythm=sys.intern(rhythm),
        cursor=cursor,
        era=era,
        last_number=last_number,
        paused=bool(paused),
        paused_until=rare.get("paused_until"),
        stats=shared(counted),
        skips=_skips(rare),
        appeared=rare.get("appeared", 0),
        outcomes=tuple(Outcome(*outcome) for outcome in rare.get("outcomes", ())),
        satisfied=tuple(rare.get("satisfied", ())),
        ends=tuple(RunId(*end) for end in rare.get("ends", ())),
        previous=rare.get("previous", 0),
        took=_times(rare, "took"),
        delays=_times(rare, "delays"),
        late=tuple(rare.get("late", ())),
        expected=_expected(rare["expected"]) if "expected" in rare else None,
        owner=Owner(*rare["owner"]) if "owner" in rare else None,
        agreed=rare.get("agreed", ""),
        offered=rare.get("offered", ""),
        shared_pause=rare.get("shared_pause", ""),
        settled=rare.get("settled", 0),
        to_return=tuple(rare.get("to_return", ())),
        rate_use=RateUse(*rare["rate_use"]) if "rate_use" in rare else RateUse(),
    )


def _skips(rare: dict[str, Any]) -> tuple[Skip, ...]:
    dues = rare.get("skips", ())
    return tuple(map(Skip, dues, rare.get("skips_by", (None,) * len(dues))))


def _times(rare: dict[str, Any], name: str) -> str:
    """Return the list of durations (core/records/usual.py) with this name. Raises ValueError if the list is invalid."""
    text = rare.get(name, "")
    if _TIMES.fullmatch(text) is None:
        raise ValueError(f"{text[:40]!r} is not a valid {name}")
    return cast("str", text)


def _expected(plain: list[Any]) -> Expected:
    expected = Expected(*plain)
    if not isinstance(expected.wishes["tags"], list) or not isinstance(expected.wishes["user"], str | None):
        raise TypeError("the saved settings of a job are damaged")
    Notify.of(expected.wishes["notify"])
    return expected


def incident_text(incident: Incident) -> str:
    """Return the value of an incident's row."""
    return json_values.line(incident._asdict())


def _incident(text: str) -> Incident:
    fields = json.loads(text)
    told = tuple((target, at) for target, at in fields.pop("told"))
    return Incident(**fields, told=told)


def notice_text(notice: Notice) -> str:
    """Return the value of a notice's row. The row has no empty settings, because older versions refuse this field."""
    return json_values.line({name: it for name, it in asdict(notice).items() if it or name != "settings"})


def read_notices(db: sqlite3.Connection) -> tuple[list[Incident], list[Notice]]:
    """Return the open incidents, and the notices that wait to be sent.  Raises sqlite3.Error or one of NONSENSE."""
    incidents = [_incident(text) for (text,) in db.execute("SELECT value FROM incident")]
    notices = [Notice(**json.loads(text)) for (text,) in db.execute("SELECT value FROM notice ORDER BY id")]
    for noun in (*incidents, *notices):
        _look_at(noun)
    return incidents, notices


_DUE_COLUMNS = "kind, name, until, since, digest, timezone, text"
PUT_DUE_CHANGE = f"INSERT INTO due_change ({_DUE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"
DUE_CHANGES = f"SELECT id, {_DUE_COLUMNS} FROM due_change WHERE id > ? ORDER BY id LIMIT ?"


def due_change_in(row: tuple[Any, ...]) -> DueChange:
    """Return the change of due times that a row contains. Raises one of NONSENSE if the row is damaged."""
    change = DueChange(*row)
    _look_at(change)
    return change


PAST = "past"


def past_change(past: Past) -> DueChange:
    """Return the past change as a row. The row's text column is empty, because a name's newest text would never be
    deleted.
    """
    told = json_values.line(past._asdict())
    return DueChange(PAST, past.job, past.at, past.at, "", told)


def past_in(change: DueChange) -> Past:
    """Return the past change that a row contains. Raises one of NONSENSE if the row is damaged."""
    past = Past(**json.loads(change.timezone))
    _look_at(past)
    return past


def of_submissions(
    new: list[SaveSubmission], over: list[str], last: Mapping[str, int], keys: Mapping[str, str]
) -> list[tuple[str, list[tuple[object, ...]]]]:
    """Return the statements that save new submissions, and delete ended submissions (`over`) with the state of their
    jobs.

    The statements also save the last numbers, from these submissions and from `last` (share → number), because an ended
    submission may leave no other trace. `keys`: job → key, for new submissions and for jobs that may already be saved.
    """
    if not (new or over or last or keys):
        return []
    of_jobs = [job.partition("/")[::2] for job in (*(it.job for it in new), *over) if is_numbered(job)]
    numbers = [*((share, int(number)) for share, number in of_jobs), *last.items()]
    gone: list[tuple[object, ...]] = [(job,) for job in over]
    return [
        ("INSERT OR REPLACE INTO submission VALUES (?, ?)", [(it.job, it.text) for it in new]),
        ("INSERT OR REPLACE INTO asked VALUES (?, ?, ?)", [(job.partition("/")[0], keys[job], job) for job in keys]),
        (
            "INSERT INTO number VALUES (?, ?) ON CONFLICT (share) DO UPDATE SET last = max(last, excluded.last)",
            [*numbers],
        ),
        ("DELETE FROM submission WHERE job = ?", gone),
        ("DELETE FROM job WHERE job = ?", gone),
    ]


def read_submissions(db: sqlite3.Connection) -> tuple[list[SaveSubmission], dict[str, int]]:
    """Return the unfinished submissions, and each user's last number.  Raises sqlite3.Error or one of NONSENSE."""
    keys = dict(db.execute("SELECT job, key FROM asked WHERE job IN (SELECT job FROM submission)"))
    found = [SaveSubmission(job, text, keys.get(job, "")) for job, text in db.execute("SELECT * FROM submission")]
    return found, dict(db.execute("SELECT share, last FROM number"))


class SavedState(NamedTuple):
    """Everything that a start needs.

    `runs`: unfinished runs, and each job's newest run if this run is a skip. `boot`: the last boot with a complete
    recovery. `files`: name → text of an accepted file. `incidents`: open problems. `notices`: unsent notices.
    `submissions`: unfinished submissions. `numbers`: user → last number of a submission. `keys`: the keys of all
    submissions, including ended ones. `meta`: all facts about the host.
    """

    jobs: list[SavedJob]
    runs: list[Run]
    hold: Hold | None
    boot: str | None
    files: dict[str, bytes]
    incidents: list[Incident]
    notices: list[Notice]
    submissions: list[SaveSubmission]
    numbers: dict[str, int]
    keys: Keys
    meta: dict[str, str]


def read(db: sqlite3.Connection) -> SavedState:
    """Read everything that a start needs.  Raises sqlite3.Error or one of NONSENSE."""
    jobs = [_memory(*row) for row in db.execute(f"SELECT {_JOB_COLUMNS} FROM job")]
    unfinished = [_run(*row) for row in db.execute(f"SELECT {_RUN_COLUMNS} FROM run WHERE record IS NULL")]
    newest = "(job, number) IN (SELECT job, (SELECT max(number) FROM run WHERE run.job = job.job) FROM job)"
    skips = [_run(*row) for row in db.execute(f"SELECT {_RUN_COLUMNS} FROM run WHERE state = 'skipped' AND {newest}")]
    meta, keys = read_meta(db), Keys()
    keys.put(db.execute("SELECT job, key FROM asked"))
    kept = SavedState(
        jobs,
        [*unfinished, *skips],
        hold_in(meta),
        meta.get("boot"),
        read_files(db),
        *read_notices(db),
        *read_submissions(db),
        keys,
        meta,
    )
    stats = {id(job.stats): job.stats for job in jobs}.values()  # most jobs have the same statistics
    for noun in (*jobs, *stats, *kept.runs, *kept.submissions, kept):
        _look_at(noun)
    for run in unfinished:
        if run.state not in LIVE | PENDING or run.id.number < 1:
            raise ValueError(f"{run.id} is {run.state}, and has no record")
    return kept


def read_meta(db: sqlite3.Connection) -> dict[str, str]:
    """Return the facts about the host, by name."""
    return dict(db.execute("SELECT name, value FROM meta"))


def read_files(db: sqlite3.Connection) -> dict[str, bytes]:
    """Return the texts of accepted files, by name."""
    return dict(db.execute("SELECT name, text FROM file ORDER BY name"))


def hold_in(meta: Mapping[str, str]) -> Hold | None:
    """Return the host's hold, or None."""
    return _hold(json.loads(meta["hold"])) if "hold" in meta else None


def record_in(job: str, number: int, text: bytes) -> Record | None:
    """Return the record in a run's row, or None if it is damaged."""
    try:
        record = json.loads(text)
    except (RecursionError, ValueError):
        return None
    whole = isinstance(record, dict) and record.get("run") == f"{job}@{number}"
    return cast("Record", record) if whole else None


# the check of values

_NOTHING = object()


def _look_at(noun: Any) -> None:
    """Raise TypeError if a field of an object does not match its annotation, or ValueError if a job ID is
    impossible.
    """
    for name, kind, plain, empty in _kinds(noun.__class__):
        value = getattr(noun, name)
        if type(value) not in plain and value is not empty and not _fits(value, kind):
            raise TypeError(f"{name} of a {type(noun).__name__} is {str(value)[:40]!r}")
    job = noun.job if isinstance(noun, SavedJob | SaveSubmission) else noun.id.job if isinstance(noun, Run) else "job"
    if "+" in job or "\0" in job or not all(part.strip(".") for part in job.split("/")):
        raise ValueError(f"{job!r} is no job")


@cache
def _kinds(noun: type) -> list[tuple[str, Any, tuple[type, ...], object]]:
    """Return, for each field of a class, its name, its annotation, the types whose values need no more checks, and `()`
    if an empty tuple is valid.
    """
    hints = get_type_hints(noun)
    return [
        (name, kind, tuple(filter(_is_plain, _choices(kind))), () if _fits((), kind) else _NOTHING)
        for name, kind in hints.items()
    ]


def _is_plain(kind: Any) -> bool:
    """Return whether values of a type need no check beyond the type itself."""
    return isinstance(kind, type) and get_origin(kind) is None and not issubclass(kind, Enum | tuple | list | dict)


def _choices(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)


def _fits(value: Any, kind: Any) -> bool:
    """Return whether a value matches an annotation."""
    return any(_is_of(value, each) for each in _choices(kind))


def _is_of(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind) or kind, get_args(kind)
    if kind is Any:
        return True
    if origin is tuple:
        of = parts[:1] * len(value) if parts[-1] is ... else parts
        return isinstance(value, tuple) and len(of) == len(value) and all(map(_fits, value, of))
    if issubclass(origin, Enum):
        return value in set(origin)
    if issubclass(origin, tuple):
        return isinstance(value, origin) and all(_fits(getattr(value, n), k) for n, k, *_ in _kinds(origin))
    if origin is list:
        return isinstance(value, list)
    if issubclass(origin, dict):
        return isinstance(value, dict) and (not parts or all(_fits(item, parts[1]) for item in value.values()))
    return type(value) is origin

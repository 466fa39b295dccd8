"""The trace: all inputs and decisions of the scheduler, for reading and replaying.

Each event gets a number and is added to a ring buffer before it is handled.  A trace file is the ring as lines of JSON
(docs/trace.md).  If a trace begins with a start of the daemon, a replay yields the same commands.

A dataclass or a named tuple becomes an object without the fields that have their default values; its "is" is the name
of the class. Dictionaries (records) remain unchanged.
"""

from __future__ import annotations

import marshal
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import datetime
from enum import Enum
from functools import cache
from types import UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from jobqueued.base.instants import to_text
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.reasons import Reason, parse
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state import scheduler_state
from jobqueued.model import commands, events, job, saved
from jobqueued.model.commands import Command
from jobqueued.model.events import Event
from jobqueued.model.job import Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.timing import schedule

VERSION = 1
RING = 10_000
_SMALL = 8192

Line = dict[str, Any]


class Started(NamedTuple):
    """A scheduler started with the state that an earlier scheduler saved."""

    limits: HostLimits
    jobs: tuple[SavedJob, ...]
    runs: tuple[Run, ...]
    hold: Hold | None = None


class TurnOver(NamedTuple):
    """A turn ended: the scheduler decided the consequences of the turn's events and, if `admit` is true, which runs
    start.
    """

    admit: bool


@dataclass(slots=True)
class TraceEntry:
    """One input of the scheduler. `bug`: the exception raised by the handling of the input, or ""."""

    number: int
    now: Now
    told: Event | Started | TurnOver
    bug: str = ""


class Packed:
    """A record, compressed with another record as the dictionary: it takes about 400 bytes instead of 8 KiB in a
    hundred objects.
    """

    __slots__ = ("_data", "_like")

    def __init__(self, record: bytes, like: bytes) -> None:
        packer = zlib.compressobj(1, zdict=like)
        self._data, self._like = packer.compress(record) + packer.flush(), like

    @property
    def record(self) -> Record:
        """The record."""
        return cast("Record", marshal.loads(zlib.decompressobj(zdict=self._like).decompress(self._data)))


class Recorder:
    """A scheduler whose inputs and decisions are recorded.

    `ring` has the newest inputs without the decisions, because commands would cost the garbage collector twice as much
    as all events. `note` gets each input and decision as a line when it occurs.
    """

    def __init__(self, scheduler: Scheduler, note: Callable[[Line], None] | None = None) -> None:
        self._scheduler, self._note = scheduler, note
        self.ring: deque[TraceEntry] = deque(maxlen=RING)
        self._like = b""
        """The first small record, used as the dictionary to compress all others."""
        self._number = 0
        self._is_quiet = False
        self._quiet: TraceEntry | None = None

    def restore(self, jobs: Iterable[SavedJob], runs: Iterable[Run], now: Now, hold: Hold | None) -> None:
        """Let the scheduler restore the state that an earlier scheduler saved."""
        started = Started(self._scheduler.limits, tuple(jobs), tuple(runs), hold)
        entry = self._begin(started, now)
        self._scheduler.restore(started.jobs, started.runs, now, hold)
        self._end(entry, ())

    def handle(self, event: Event, now: Now) -> Sequence[Command]:
        """Let the scheduler handle an event. An exception is recorded and re-raised."""
        entry = self._begin(event, now)
        self._is_quiet = False
        try:
            decided = self._scheduler.handle(event, now)
        except Exception as error:
            self._fail(entry, error)
            raise
        self._end(entry, decided)
        return decided

    def over(self, now: Now, *, admit: bool = True) -> Sequence[Command]:
        """Let the scheduler decide the consequences at the end of a turn.

        If consecutive turns have no inputs and decisions, only the last of these turns is recorded.
        """
        entry = TraceEntry(self._number, now, TurnOver(admit))
        try:
            decided = (self._scheduler.admit if admit else self._scheduler.settle)(now)
        except Exception as error:
            self._enter(entry)
            self._fail(entry, error)
            raise
        if self._is_quiet and not decided:
            self._quiet = entry
        else:
            self._is_quiet = True
            self._enter(entry)
            self._end(entry, decided)
        return decided

    def _begin(self, told: Event | Started, now: Now) -> TraceEntry:
        self._number += 1
        entry = TraceEntry(self._number, now, told)
        self._enter(entry)
        return entry

    def _enter(self, entry: TraceEntry) -> None:
        if self._quiet is not None:
            quiet, self._quiet = self._quiet, None
            self._enter(quiet)
            self._end(quiet, ())
        if self._note is not None:
            self._note(input_line(entry))
        self.ring.append(self._packed(entry))

    def _packed(self, entry: TraceEntry) -> TraceEntry:
        """Return the entry, with its record compressed if it has one."""
        if isinstance(entry.told, events.RunEnded):
            told: Any = entry.told.record
            record = marshal.dumps(told)
            if not self._like and len(record) <= _SMALL:
                self._like = record
            entry.told = entry.told._replace(record=cast("Record", Packed(record, self._like)))
        return entry

    def _fail(self, entry: TraceEntry, error: Exception) -> None:
        entry.bug = named(error)
        self._end(entry, ())

    def _end(self, entry: TraceEntry, decided: Iterable[Command]) -> None:
        if self._note is not None:
            self._note(decided_line(entry, decided))


def lines_of(entry: TraceEntry) -> list[Line]:
    """Return the lines of a ring entry: the input and, if any, the bug."""
    return [input_line(entry), decided_line(entry, ())] if entry.bug else [input_line(entry)]


def input_line(entry: TraceEntry) -> Line:
    """Return the line of an input, with its time."""
    return {"number": entry.number, "wall": entry.now.wall, "mono": entry.now.mono, "told": plain(entry.told)}


def decided_line(entry: TraceEntry, decided: Iterable[Command]) -> Line:
    """Return the line of a decision."""
    line: Line = {"number": entry.number, "decided": [plain(command) for command in decided]}
    return {**line, "bug": entry.bug} if entry.bug else line


def named(error: Exception) -> str:
    """Return an exception as one line."""
    return f"{type(error).__name__}: {error}"


# values


def plain(value: Any) -> Any:
    """Return a value in a form that JSON can represent."""
    if is_dataclass(value) and not isinstance(value, type):
        return _tagged(value, [(field.name, _default(field)) for field in fields(value) if field.init])
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        defaults: dict[str, Any] = getattr(value, "_field_defaults", {})
        return _tagged(value, [(name, defaults.get(name, MISSING)) for name in value._fields])
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Packed):
        return value.record
    return value.value if isinstance(value, Enum) else value


def _tagged(value: Any, defaults: list[tuple[str, Any]]) -> Line:
    told = ((name, getattr(value, name)) for name, default in defaults if getattr(value, name) != default)
    return {"is": type(value).__name__, **{name: plain(item) for name, item in told}}


def _default(field: Any) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def revived(value: Any, kind: Any = object) -> Any:
    """Return the value from its `plain` form; `kind` is the annotation of its field.

    Raises KeyError if the class is unknown.
    """
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    if isinstance(value, dict) and "is" in value and not any(_is_plain(each) for each in kinds):
        found = _classes()[value["is"]]
        hints = _hints(found)
        return found(**{name: revived(item, hints[name]) for name, item in value.items() if name != "is"})
    for each in kinds:
        if each is datetime and isinstance(value, str):
            return datetime.fromisoformat(value)
        if each is Reason and isinstance(value, str):
            return parse(value)
        if isinstance(each, type) and issubclass(each, Enum) and isinstance(value, str):
            return each(value)
        if get_origin(each) is tuple and isinstance(value, list):
            of = get_args(each)
            of = of[:1] * len(value) if of[-1] is Ellipsis else of
            return tuple(revived(item, one) for item, one in zip(value, of, strict=True))
    return value


def _is_plain(kind: Any) -> bool:
    """Return whether values with this annotation remain dictionaries, as records and metadata do."""
    origin = get_origin(kind) or kind
    return origin is Any or (isinstance(origin, type) and issubclass(origin, dict))


@cache
def _classes() -> dict[str, Any]:
    """Return all classes that a trace can hold, by name."""
    modules = (job, saved, events, commands, schedule, scheduler_state)
    found = (item for module in modules for item in vars(module).values() if isinstance(item, type))
    known = {each.__name__: each for each in found if is_dataclass(each) or hasattr(each, "_fields")}
    return {**known, "Started": Started, "TurnOver": TurnOver}


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


# uses of a trace


class Broken(Exception):
    """A file is not a trace, or can't be used in this way; the message gives the reason."""


def replay(lines: Iterable[Line]) -> Iterator[str]:
    """Replay a trace with a new scheduler, and yield a description of each decision that differs from the trace.

    Raises Broken if the trace does not begin with a start.
    """
    scheduler: Scheduler | None = None
    decided = Line()
    for line in lines:
        if "decided" in line and {**decided, "number": line["number"]} != line:
            yield f"{line['number']}: then {line}\n{line['number']}: now {decided}"
        if "told" not in line:
            continue
        told, now = revived(line["told"]), Now(line["wall"], line["mono"])
        if isinstance(told, Started):
            scheduler = Scheduler(told.limits)
        if scheduler is None:
            raise Broken("this trace does not begin with a start of jobqueued, so it can't be replayed; story reads it")
        decided = _again(scheduler, told, now)


def _again(scheduler: Scheduler, told: Any, now: Now) -> Line:
    entry, commands = TraceEntry(0, now, told), list[Command]()
    try:
        match told:
            case Started(_, jobs, runs, hold):
                scheduler.restore(jobs, runs, now, hold)
            case TurnOver(admit):
                commands = (scheduler.admit if admit else scheduler.settle)(now)
            case _:
                commands = scheduler.handle(told, now)
    except Exception as error:
        entry.bug = named(error)
    return decided_line(entry, commands)


def story(lines: Iterable[Line], run: RunId) -> Iterator[str]:
    """Yield the history of one run: a line for each event and command about the run, with the wall time."""
    time, event = "", ""
    for line in lines:
        if "told" in line:
            time, told = to_text(line["wall"]), line["told"]
            event = "" if told["is"] in ("Started", "TurnOver") else f"{time} {brief(told)}"
            if event and _concerns(told, run):
                yield event
                event = ""
        about = [command for command in line.get("decided", ()) if _concerns(command, run)]
        if about and event:
            yield event
        yield from (f"{time}   → {brief(command)}" for command in about)
        if line.get("bug") and not event:
            yield f"{time}   bug: {line['bug']}"


def _concerns(value: Any, run: RunId) -> bool:
    """Return whether a run's name occurs anywhere in a value."""
    if isinstance(value, dict):
        named = (value.get("job"), value.get("number")) == run
        return named or any(_concerns(item, run) for item in value.values())
    if isinstance(value, list):
        return any(_concerns(item, run) for item in value)
    return bool(value == str(run))


_BRIEF = 160


def brief(value: Any, *, nested: bool = False) -> str:
    """Describe a plain value on one line: its name and its short fields."""
    if not isinstance(value, dict):
        return str(value)
    if value.get("is") == "RunId":
        return f"{value['job']}@{value['number']}"
    words = [str(value["is"])] if "is" in value else []
    for name, item in value.items():
        if name == "is" or item is None or isinstance(item, list):
            continue
        if not isinstance(item, dict) or not nested or item.get("is") == "RunId":
            words.append(f"{name}={brief(item, nested=True)}")
    text = " ".join(words)
    text = text if len(text) <= _BRIEF or not nested else f"{text[:_BRIEF]} …"
    return f"({text})" if nested else text

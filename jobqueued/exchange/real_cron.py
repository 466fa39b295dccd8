"""Real crons: for each table line, the first difference between a real cron and the line's job.

If a cron refuses a whole table because of one line, all lines of the table differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from jobqueued.base.problem import Problem
from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.crontabs.periods import when
from jobqueued.crontabs.table import Assignment, Form, TableEntry, read
from jobqueued.crontabs.variables import first_hour
from jobqueued.exchange import reckoning
from jobqueued.exchange.draft import DIFFERS, JobDraft
from jobqueued.exchange.proof import clock_of, differs_at, reckoned, times_of, windows
from jobqueued.timing.schedule import Schedule


class Cron(StrEnum):
    """The crons for which a table may have been written."""

    DEBIAN = "debian"
    CRONIE = "cronie"

    @property
    def sentence_name(self) -> str:
        """The cron's name in a sentence."""
        return "Debian's cron" if self is Cron.DEBIAN else "cronie"


class RealCronHost(NamedTuple):
    """The host on which the cron runs: its timezone, the current time, and a function that returns whether a user
    exists.
    """

    zone: str
    now: datetime
    has_user: Callable[[str], bool]


def problems(
    file: str, data: bytes, form: Form, drafts: Iterable[JobDraft], cron: Cron, host: RealCronHost
) -> Iterator[Problem]:
    """Yield the differences between a cron and the jobs that a table is converted to."""
    if form is Form.ANACRON:
        yield from (_problem(file, draft.line, text, draft.id) for draft, text in _of_anacron(data, drafts, cron))
        return
    if cron is Cron.DEBIAN and (found := refusal(data, form, host.has_user)):
        line, reason = found
        yield _problem(
            file, line, f"{cron.sentence_name} runs nothing of this table, because line {line} has an error: {reason}"
        )
        return
    entries = _entries(data, form)
    for draft in drafts:
        if text := _of_line(draft, entries[draft.line], cron, host):
            yield _problem(file, draft.line, text, draft.id)


def _problem(file: str, line: int, text: str, job: str = "") -> Problem:
    return Problem(file, line, 0, "", f"differs: {text}", "error", job, DIFFERS)


def _entries(data: bytes, form: Form) -> dict[int, TableEntry]:
    return {item.line: item for item in read(data, form) if isinstance(item, TableEntry)}


# ── one line ──


def _of_line(draft: JobDraft, entry: TableEntry, cron: Cron, host: RealCronHost) -> str:
    """Return the first difference in behavior between a cron's line and the line's job, or "" if there is none."""
    variables = dict(entry.environment)
    if cron is Cron.DEBIAN and entry.only_on_error:
        return f"{cron.sentence_name} reads -n as the beginning of the command"
    if cron is Cron.DEBIAN and draft.means.spread:
        return f"starts up to RANDOM_DELAY later, but {cron.sentence_name} ignores RANDOM_DELAY"
    if draft.means.at_boot or not draft.means.schedule or draft.means.schedule[0] == "@reboot":
        return ""
    zone = variables.get("CRON_TZ", "") if cron is Cron.CRONIE else ""
    if cron is Cron.CRONIE and (text := _of_lost_change(zone or host.zone, host.now)):
        return text
    schedule = _drawn(draft) if cron is Cron.CRONIE and "~" in entry.schedule else entry.schedule
    text = _of_times(draft, schedule, zone or host.zone, _ways(cron, schedule, zone, host), cron, host.now)
    ignored = cron is Cron.DEBIAN and variables.get("CRON_TZ", host.zone) != host.zone
    return f"{text}, because it ignores CRON_TZ" if text and ignored else text


def _drawn(draft: JobDraft) -> str:
    """Return the five fields with the numbers that the job drew, because cronie could have drawn the same numbers."""
    (trigger,) = draft.means.triggers
    assert isinstance(trigger, Schedule)
    return trigger.in_numbers


def _ways(cron: Cron, schedule: str, zone: str, host: RealCronHost) -> str:
    if cron is Cron.DEBIAN:
        return reckoning.DEBIAN
    if not zone:
        return reckoning.CRONIE
    is_wild = any(field.startswith("*") for field in schedule.split()[:2])
    return reckoning.CRON_TZ if is_wild or zone != host.zone else "skip"


def _of_times(draft: JobDraft, schedule: str, zone: str, ways: str, cron: Cron, now: datetime) -> str:
    """Describe the first start that only the cron or only the job has, or return "" if all starts agree."""
    clock = clock_of(draft.means)
    for begin, end in windows({zone, draft.means.timezone}, now):
        wanted, got = reckoned(schedule, zone, ways, begin, end), times_of(clock, begin, end)
        if (place := differs_at(wanted, got, end)) is not None:
            return _difference(wanted, got, place, cron)
    return ""


def _difference(wanted: Sequence[datetime], got: Sequence[datetime], place: int, cron: Cron) -> str:
    if 0 < place < len(wanted) and wanted[place] == wanted[place - 1]:
        return f"is due once at {wanted[place]}, but {cron.sentence_name} starts it {wanted.count(wanted[place])} times"
    ours, theirs = (f"{times[place]}" if place < len(times) else "never" for times in (got, wanted))
    return f"is due {ours}, but {cron.sentence_name} starts it {theirs}"


def _of_lost_change(name: str, now: datetime) -> str:
    """Describe a clock change that cronie misses, because cronie checks only the summer-time flag; return "" if there
    is none.
    """
    zone = ZoneInfo(name)
    for change in reckoning.changes(name, now, 2):
        before, after = (at.astimezone(zone).dst() for at in (change - timedelta(seconds=1), change))
        if bool(before) == bool(after):
            return f"{name} changes its clock at {change} without daylight saving time, and cronie ignores this change"
    return ""


# ── anacron ──

_WHEN = {
    1: "each day",
    7: "each Sunday",
    30: "on the first of each month",
    31: "on the first of each month",
    365: "on 1 January",
}
_LENGTHS = {"@weekly": "7 days", "@monthly": "a month", "@yearly": "a year", "@annually": "a year"}
_NAMED = frozenset(("@monthly", "@yearly"))
"""The named periods of Debian's anacron."""
_RANGE, _HOUR = "([0-9]{1,4})-([0-9]{1,4})", "[0-9]{1,4}"
_DAY = 24 * 60


def _of_anacron(data: bytes, drafts: Iterable[JobDraft], cron: Cron) -> Iterator[tuple[JobDraft, str]]:
    items = read(data, Form.ANACRON)
    entries = {item.line: item for item in items if isinstance(item, TableEntry)}
    variables = [(item.name, item.value) for item in items if isinstance(item, Assignment)]
    for draft in drafts:
        if text := _of_period(draft, entries[draft.line], cron, variables):
            yield draft, text


def _of_period(draft: JobDraft, entry: TableEntry, cron: Cron, variables: Iterable[tuple[str, str]]) -> str:
    """Return the first difference between anacron and a line's job, or "" if there is none. `variables` has all
    assignments of the table.
    """
    period, days = entry.schedule, entry.days
    if cron is Cron.DEBIAN:
        if period.startswith("@") and period not in _NAMED:
            return f"is due {_when(days)}, but Debian's anacron ignores the line, because it has no {period}"
        if first_hour(entry.environment) is not None:
            return "is due in START_HOURS_RANGE, but Debian's anacron ignores START_HOURS_RANGE"
        if draft.means.spread:
            return "starts up to RANDOM_DELAY later, but Debian's anacron ignores RANDOM_DELAY"
    if days == 1:
        return _of_start(entry, variables) if cron is Cron.CRONIE else ""
    return f"is due {_when(days)}, but anacron runs it {_LENGTHS.get(period, f'{days} days')} after its last run"


def _when(days: int) -> str:
    return _WHEN.get(days, f"every {days} days of the calendar")


def _of_start(entry: TableEntry, variables: Iterable[tuple[str, str]]) -> str:
    """Describe the start that cronie's anacron selects for a daily line, or return "" if the job starts then too.

    Cron starts this anacron each hour at minute 1. It then starts the jobs that will be due in the allowed hours.
    """
    hours = preferred = range(24)
    for name, value in variables:  # also below the line
        if name == "START_HOURS_RANGE" and (found := re.fullmatch(_RANGE, value)):
            hours = range(int(found[1]), int(found[2]))
        elif name == "PREFERRED_HOUR" and re.fullmatch(_HOUR, value):
            hour = int(value)
            preferred = range(hour, hour + 1) if hour <= 24 else range(24)
    starts = (hour * 60 + 1 + entry.delay for hour in range(24))
    theirs = next((it % _DAY for it in starts if it // 60 % 24 in hours and it // 60 % 24 in preferred), None)
    minute, hour = map(int, when(entry)[0].split()[:2])
    ours = hour * 60 + minute
    if theirs is not None and theirs in (ours, (ours + 1) % _DAY):
        return ""
    shown = "never starts it" if theirs is None else f"starts it at {theirs // 60:02}:{theirs % 60:02}"
    return f"is due at {hour:02}:{minute:02}, but cronie's anacron {shown}"


# ── a table that Debian's cron refuses ──

_MOST_LINES, _LONGEST = 10_003, 998
"""Two limits of cron: the last line on which an entry may end (three lines are a header), and the maximum
characters of a command or of a variable's line. Cron drops the rest of a longer line.
"""
_ASSIGNMENT = r"""(?as)(?:"[^"=]*"|'[^'=]*'|[^\s"'=][^\s=]*|)\s*=\s*+(?:"[^"]*"\s*|'[^']*'\s*|(?!["']).*)"""
_SKIPPED = r"(?:[ \t]*(?:#[^\n]*)?(?:\n|\Z))*[ \t]*"
_LINE = r"([^\n\0]*)([\n\0]?)"
_NICKNAME = r"@([^ \t\n\0]*)[ \t]*"
_FIELD = r"([^ \t\n]*)[ \t]*"
_USER = r"([^ \t\0]*)([ \t\0]?)"
_NICKNAMES = frozenset(("reboot", "yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"))
_Field = tuple[str, int, int]
_FIELDS: tuple[_Field, ...] = (
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day-of-month", 1, 31),
    ("month", 1, 12),
    ("day-of-week", 0, 7),
)


def refusal(data: bytes, form: Form, has_user: Callable[[str], bool]) -> tuple[int, str] | None:
    """Return the number of the line that makes Debian's cron ignore a whole table, and cron's reason.

    Return None if there is no such line. A NUL ends a command, a variable's line, a nickname and a user, like a
    newline; in a comment or a field it is a character.
    """
    text, at, number = data.decode("latin-1"), 0, 1
    while number <= _MOST_LINES + 1:
        begin = _match(_SKIPPED, text, at).end()
        number += text.count("\n", at, begin)
        line = _match(_LINE, text, begin)
        if not line[2]:
            return (number, "missing newline before EOF") if line[1] else None
        try:
            is_set = re.fullmatch(_ASSIGNMENT, line[1][:_LONGEST])
            at = line.end() if is_set else _end_of_entry(text, begin, form, has_user)
        except ValueError as error:
            return number, str(error)
        number += text.count("\n", begin, at)
    return _MOST_LINES + 1, "too many lines"


def _match(pattern: str, text: str, at: int) -> re.Match[str]:
    """Return the match of a pattern that matches everywhere."""
    found = re.compile(pattern).match(text, at)
    assert found is not None
    return found


def _end_of_entry(text: str, at: int, form: Form, has_user: Callable[[str], bool]) -> int:
    """Return the end of the entry that begins at this index. Raises ValueError with the name that Debian's cron gives
    to the error in the entry.
    """
    if text.startswith("@", at):
        name = _match(_NICKNAME, text, at)
        if name[1] not in _NICKNAMES:
            raise ValueError("bad time specifier")
        at = name.end()
    else:
        for field in _FIELDS:
            found = _match(_FIELD, text, at)
            at = found.end()
            if not _is_good(field, found[1]) or at == len(text):
                raise ValueError(f"bad {field[0]}")
    if form is Form.SYSTEM:
        at = _end_of_user(text, at, has_user)
    elif text.startswith("*", at):
        raise ValueError("bad command")
    command = _match(_LINE, text, at)
    if len(command[1]) > _LONGEST:
        raise ValueError("command too long")
    if not command[2]:
        raise ValueError("bad command")
    return command.end()


def _end_of_user(text: str, at: int, has_user: Callable[[str], bool]) -> int:
    """Return the end of the user at this index, who may be in a later line. Raises ValueError like `_end_of_entry`."""
    user = _match(_USER, text, at)
    if not user[2]:
        raise ValueError("bad command")
    if not user[1] or "\n" in user[1] or not has_user(user[1]):
        raise ValueError(f"bad username {printable(user[1])}".rstrip())
    return user.end()


def _is_good(field: _Field, text: str) -> bool:
    name, low, high = field
    try:
        reckoning.lax_numbers(text, low, high, *reckoning.NAMES.get(name, ()))
    except ValueError:
        return False
    return True

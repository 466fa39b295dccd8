"""Parses a crontab: each line becomes an item, as cron reads it; a faulty line becomes a LineFlaw.

A faulty line does not affect other lines. docs/moving-from-cron.md lists where this parser is stricter than cron.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache

from jobqueued.base.text import printable
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.crontabs.words import assignment, split_command
from jobqueued.jobfile.tree.yamltext import Steps, at_once
from jobqueued.timing.cronexpr import MAX_CHARACTERS, ScheduleError, check_field
from jobqueued.timing.crontab import ALIASES

LONGEST = (128 << 10) - 1
"""Maximum length (bytes) of a line, because the kernel accepts no longer argument (MAX_ARG_STRLEN)."""
MOST_VARIABLES = 256
"""Maximum number of variables in one table, because each job gets all variables above it."""
LINES_A_STEP = 100
"""Number of lines to read in one step, which takes about half a millisecond."""
REBOOT = "@reboot"

_BLANKS = re.compile(r"[ \t]+")
_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@-]*\$?", re.ASCII)
_ONLY_ON_ERROR = re.compile(r"-n[ \t]+")


_PERIODS = {"@daily": 1, "@weekly": 7, "@monthly": 30, "@yearly": 365, "@annually": 365}
_PERIOD, _DELAY = re.compile(r"[1-9]\d{0,2}", re.ASCII), re.compile(r"\d{1,4}", re.ASCII)
_NAME = re.compile(r"[\w.-]+", re.ASCII)


_TILDES = "write a range of this field, such as `1~5`"


class Form(StrEnum):
    """The forms of a table. A system table has a user column; an anacrontab has columns for period, delay and name."""

    USER = "user"
    SYSTEM = "system"
    ANACRON = "anacron"


class Comment(NamedTuple):
    """A line that begins with ``#``."""

    line: int
    text: str


class Assignment(NamedTuple):
    """A line that sets a variable for all jobs below it."""

    line: int
    name: str
    value: str


class TableEntry(NamedTuple):
    """A line with a job. `schedule` is five fields separated by spaces, or a nickname. `user` None means the table's
    owner.

    `environment`: the variables set above the line. `above`: the comments directly above the line. `stdin` None means
    no standard input. `quiet`: whether a ``-`` before the line keeps the job out of syslog. `only_on_error`: whether
    cronie's ``-n`` before the command suppresses the mail of a successful run. `dos`: whether the line ends with a
    carriage return; cron would pass it to the command, but `command` and `stdin` do not include it.

    In an anacrontab, `schedule` is the period as written, `days` the length of the period, `delay` the minutes before
    the start, and `name` the job's name.
    """

    line: int
    schedule: str
    user: str | None
    command: str
    stdin: str | None
    environment: tuple[tuple[str, str], ...]
    above: tuple[Comment, ...] = ()
    quiet: bool = False
    only_on_error: bool = False
    dos: bool = False
    name: str = ""
    days: int = 0
    delay: int = 0


class LineFlaw(NamedTuple):
    """A faulty line, which has no effect.

    `reason` is cron's message; `message` is jobqueued's message, with the correct form.

    `is_half`: whether the line is incomplete, because the table ends without a newline.
    """

    line: int
    reason: str
    message: str
    text: str
    is_half: bool = False


Item = Comment | Assignment | TableEntry | LineFlaw


def read(data: bytes, form: Form) -> list[Item]:
    """Return all items of a table, in order. Never raises; takes time linear in the length of the text."""
    return at_once(read_in_steps(data, form))


def read_in_steps(data: bytes, form: Form) -> Steps[list[Item]]:
    """Return all items of a table, in order; each step takes about a millisecond."""
    reading = _TableParser(form)
    *lines, rest = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not number % LINES_A_STEP:
            yield
        reading.take(number, line)
    if rest:
        reading.take_rest(len(lines) + 1, rest)
    return reading.items


class _Wrong(Exception):
    """A line is not valid."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)
        self.reason, self.message = reason, message


class _TableParser:
    """A table that is being read."""

    def __init__(self, form: Form) -> None:
        self.items: list[Item] = []
        self._form = form
        self._variables: dict[str, str] = {}
        self._environment: tuple[tuple[str, str], ...] | None = ()
        self._above: list[Comment] = []

    def take(self, number: int, raw: bytes) -> None:
        """Process a line; `raw` does not include the newline."""
        body = raw.strip(b" \t\r")
        if not body:
            self._above.clear()
        elif body.startswith(b"#"):
            comment = Comment(number, body[: LONGEST + 1].decode(errors="replace"))
            self._above.append(comment)
            self.items.append(comment)
        else:
            above = tuple(self._above)
            self._above.clear()
            self._add(number, raw, above)

    def take_rest(self, number: int, raw: bytes) -> None:
        """Report a last line that has no newline as faulty, because half a line may be a valid but wrong command."""
        if (body := raw.strip(b" \t\r")) and not body.startswith(b"#"):
            message = "found no newline at its end; expected a newline, because a line without one may be incomplete"
            self.items.append(LineFlaw(number, "missing newline before EOF", message, _shown(raw), is_half=True))

    def _add(self, number: int, raw: bytes, above: tuple[Comment, ...]) -> None:
        try:
            text = _text(raw)
            found = assignment(text)
            self.items.append(self._entry(number, text, above) if found is None else self._set(number, *found))
        except _Wrong as wrong:
            self.items.append(LineFlaw(number, wrong.reason, wrong.message, _shown(raw)))

    def _set(self, number: int, name: str, value: str) -> Assignment:
        if name not in self._variables and len(self._variables) >= MOST_VARIABLES:
            raise _Wrong(
                "too many variables", f"found more than {MOST_VARIABLES} variables; expected at most {MOST_VARIABLES}"
            )
        self._variables[name] = value
        self._environment = None
        return Assignment(number, name, value)

    def _entry(self, number: int, text: str, above: tuple[Comment, ...]) -> TableEntry:
        line, dos = text.rstrip("\r"), text.endswith("\r")
        line = line.lstrip(" \t")
        if line.startswith("="):
            raise _Wrong("bad name", "found no name before `=`; expected NAME = value")
        if self._form is Form.ANACRON:
            return self._periodic(number, line, above, dos)
        quiet = line.startswith("-")
        schedule, rest = _when(line[1:].lstrip(" \t") if quiet else line)
        user, rest = self._user(rest)
        flag = _ONLY_ON_ERROR.match(rest)
        command, stdin = split_command(rest[flag.end() :] if flag else rest)
        if not command or command.startswith("*"):
            raise _Wrong("bad command", _no_command(command, self._form))
        return TableEntry(
            number, schedule, user, command, stdin, self._set_by_now(), above, quiet, flag is not None, dos
        )

    def _periodic(self, number: int, line: str, above: tuple[Comment, ...], dos: bool) -> TableEntry:
        """Return the entry for an anacrontab line. Raises _Wrong."""
        period, delay, name, command = (*_BLANKS.split(line, 3), "", "", "")[:4]
        if period not in _PERIODS and not _PERIOD.fullmatch(period):
            found = f"found the period {_short(period)}; expected 1 to 999 days, or {' '.join(_PERIODS)}"
            raise _Wrong("bad period", found)
        if not _DELAY.fullmatch(delay):
            raise _Wrong("bad delay", f"found the delay {_short(delay)!r}; expected 0 to 9999 minutes")
        if not _NAME.fullmatch(name):
            raise _Wrong("bad job identifier", f"found the name {_short(name)!r}; expected letters, digits and . _ -")
        if not command:
            raise _Wrong("bad command", "found no command; expected a command after period, delay and name")
        days = _PERIODS.get(period) or int(period)
        own = self._set_by_now()
        return TableEntry(
            number, period, None, command, None, own, above, dos=dos, name=name, days=days, delay=int(delay)
        )

    def _set_by_now(self) -> tuple[tuple[str, str], ...]:
        """Return the variables set so far, as a tuple that all lines up to the next assignment share."""
        if self._environment is None:
            self._environment = tuple(self._variables.items())
        return self._environment

    def _user(self, rest: str) -> tuple[str | None, str]:
        """Return the user in a system table's line, and the rest of the line. In other tables, the user is None."""
        if self._form is Form.USER or not rest or rest.startswith("*"):
            return None, rest
        user, *behind = _BLANKS.split(rest, 1)
        if not _USER.fullmatch(user):
            message = f"found {_short(user)} as the user; expected a user, and then the command, as in /etc/crontab"
            raise _Wrong("bad username", message)
        return user, behind[0] if behind else ""


def _shown(raw: bytes) -> str:
    return raw.lstrip(b" \t").decode(errors="replace")


def _text(raw: bytes) -> str:
    """Return a line as text. Raises _Wrong if this is impossible."""
    if len(raw) > LONGEST:
        message = f"found {len(raw)} bytes in a line; expected at most {LONGEST}; for a longer command, call a script"
        raise _Wrong("command too long", message)
    if b"\0" in raw:
        raise _Wrong("bad command", f"found a NUL (byte {raw.index(0) + 1} of the line); expected text without NUL")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        where = f"0x{raw[error.start]:02X} (byte {error.start + 1} of the line)"
        message = f"found {where}, which is not UTF-8; expected UTF-8, for example from iconv -f latin1 -t utf-8"
        raise _Wrong("bad command", message) from None


def _when(line: str) -> tuple[str, str]:
    """Return the schedule at the beginning of a line, and the rest of the line. Raises _Wrong if the schedule is
    invalid.
    """
    if line.startswith("@"):
        name, *behind = _BLANKS.split(line, 1)
        if name not in ALIASES and name != REBOOT:
            found = f"found {_short(name)}; expected {' '.join((REBOOT, *ALIASES))}, in lower case"
            raise _Wrong("bad time specifier", found)
        return name, behind[0] if behind else ""
    parts = _BLANKS.split(line, len(_FIELDS))
    for index, name in enumerate(_FIELDS):
        if index >= len(parts) or not parts[index]:
            raise _Wrong(
                f"bad {name}",
                f"found {len([*filter(None, parts)])} of five fields; expected five fields and a command",
            )
        if refused := _refused(index, parts[index]):
            raise _Wrong(f"bad {name}", refused)
    return " ".join(parts[: len(_FIELDS)]), parts[5] if len(parts) > len(_FIELDS) else ""


@lru_cache(maxsize=4096)
def _refused(index: int, text: str) -> str:
    """Return why a field is invalid, or "" if it is valid."""
    if len(text) > MAX_CHARACTERS:
        return f"found a field of {len(text)} characters; expected at most {MAX_CHARACTERS}"
    try:
        check_field(index, text)
    except ScheduleError as error:
        reason = f"found `{text}`: {_TILDES}" if "~" in text else error.reason
        return f"{error.field}: {_short(reason, 400)}"
    return ""


def _no_command(command: str, form: Form) -> str:
    if command:
        return "found a sixth field, `*`; expected five fields, and then the command"
    who = "a user and " if form is Form.SYSTEM else ""
    return f"found no command; expected {who}a command after the five fields"


def _short(text: str, most: int = 80) -> str:
    """Return an untrusted text for a message, shortened and printable."""
    return printable(text if len(text) <= most else f"{text[:most]}…")

"""The closed table of job-file keys: what each takes, its default, its help; everything about a key is said here.

A wrong value is a Problem "found X; accepted: Y".  Problems made here name no file: whoever read the file adds it.
Where a text is wanted, a number or a word such as ``true`` means its characters as written: ``command: [sleep, 5]``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from jobqueued.model import DAY, HOUR, MINUTE, SECOND, CatchUp, Problem
from jobqueued.yamltext import Entry, Mapping, Node, Scalar, Sequence, described, is_null, meaning, quoted

MAX_PROBLEMS = 100  # of one file; who looks for more helps nobody, and each costs a search for the nearest key

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of value: its name, what is accepted (for people), and `read`: its node → the value, or raises Wrong."""

    name: str
    accepted: str
    read: Callable[[Node], Any]


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `default` and `example` are YAML; the default "" means that there is none."""

    name: str
    kind: Kind
    default: str
    help: str
    example: str


class Wrong(Exception):
    """A value is not accepted.  Each Problem's `key` is the place inside the value: "", ``[2]``, ``.PATH``."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)
        self.problems = problems


def read_keys(
    entries: dict[str, Entry], table: dict[str, Key], planned: frozenset[str] = frozenset()
) -> tuple[dict[str, Any], list[Problem]]:
    """The values that are right, by the name of their key, and what is wrong with the others."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, (key, node) in entries.items():
        if len(problems) >= MAX_PROBLEMS:
            break
        if name not in table:
            problems.append(Problem("", key.line, key.column, "", _unknown(name, table, planned)))
            continue
        try:
            values[name] = table[name].kind.read(node)
        except Wrong as wrong:
            problems += [problem._replace(key=name + problem.key) for problem in wrong.problems]
    return values, problems


def refused(node: Node, accepted: str, found: str = "") -> Problem:
    """The Problem with the value at `node`; `found` describes it where its type does not say what is wrong."""
    return Problem("", node.line, node.column, "", f"found {found or described(node)}; accepted: {accepted}")


def parse_duration(text: str) -> int:
    """Nanoseconds in ``90s``, ``5m``, ``2h``, ``1d12h``; ValueError for anything else."""
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{quoted(text)} is no duration such as 90s, 5m, 2h or 1d12h")
    return sum(int(count) * unit for count, unit in zip(match.groups("0"), (DAY, HOUR, MINUTE, SECOND), strict=True))


def parse_size(text: str) -> int:
    """Bytes in ``512M`` or ``2G`` (powers of 1024); ValueError for anything else."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError(f"{quoted(text)} is no size such as 512M or 2G")
    return int(match[1]) << {"K": 10, "M": 20, "G": 30, "T": 40}[match[2]]


_NONE = ("none", "null")
_DURATION = re.compile("(?:([0-9]{1,6})d)?(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,9})s)?")
_SIZE = re.compile("([0-9]{1,9})([KMGT])")
_OCTAL = re.compile("0[0-7]{2,3}")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


def scalar(name: str, accepted: str, parse: Callable[[Scalar], Any]) -> Kind:
    """A kind for one scalar; `parse` raises ValueError for what it does not accept."""

    def read(node: Node) -> Any:
        try:
            if isinstance(node, Scalar):
                return parse(node)
        except ValueError:
            pass
        raise Wrong([refused(node, accepted)])

    return Kind(name, accepted, read)


def integer(low: int, high: int, *, none: bool = False) -> Kind:
    """A whole number from `low` to `high`; with `none` also the words none and null, which are None."""

    def parse(node: Scalar) -> int | None:
        if none and node.text in _NONE:
            return None
        number = meaning(node)
        if type(number) is not int:
            raise ValueError
        return _inside(low, number, high)

    return scalar("integer", f"a whole number from {low} to {high}" + ", or none" * none, parse)


def duration(low: str, high: str, *, none: bool = False) -> Kind:
    """Nanoseconds from `low` to `high`; with `none` also the words none and null, which are None."""
    least, most = parse_duration(low), parse_duration(high)

    def parse(node: Scalar) -> int | None:
        if none and node.text in _NONE:
            return None
        return _inside(least, parse_duration(node.text), most)

    accepted = f"a duration such as 90s, 5m, 2h or 1d12h, from {low} to {high}"
    return scalar("duration", accepted + ", or none" * none, parse)


def size(low: str, high: str) -> Kind:
    """Bytes from `low` to `high`."""
    least, most = parse_size(low), parse_size(high)

    def parse(node: Scalar) -> int:
        return _inside(least, parse_size(node.text), most)

    return scalar("size", f"a size such as 512M or 2G, from {low} to {high}", parse)


def choice(*words: str) -> Kind:
    """One of a few words; members of a StrEnum stay what they are."""
    values = {str(word): word for word in words}
    *others, last = values

    def parse(node: Scalar) -> str:
        if node.text not in values:
            raise ValueError
        return values[node.text]

    return scalar("choice", f"{', '.join(others)} or {last}", parse)


def text(accepted: str, pattern: str = "(?s).+") -> Kind:
    """A text that matches as a whole."""
    shape = re.compile(pattern)

    def parse(node: Scalar) -> str:
        if is_null(node) or not shape.fullmatch(node.text):
            raise ValueError
        return node.text

    return scalar("text", accepted, parse)


def sequence(item: Kind) -> Kind:
    """One or more values of a kind, as a tuple."""
    accepted = f"a list, each item {item.accepted}"

    def read(node: Node) -> tuple[Any, ...]:
        if not isinstance(node, Sequence) or not node.items:
            raise Wrong([refused(node, accepted)])
        return tuple(_each(((f"[{index}]", child) for index, child in enumerate(node.items)), item.read))

    return Kind(f"list of {item.name}", accepted, read)


def mapping(accepted: str, read: Callable[[dict[str, Entry]], Value]) -> Kind:
    """A mapping; nothing at all counts as an empty one."""

    def read_entries(node: Node) -> Value:
        if isinstance(node, Mapping):
            return read(node.entries)
        if is_null(node):
            return read({})
        raise Wrong([refused(node, accepted)])

    return Kind("mapping", accepted, read_entries)


def section(table: dict[str, Key]) -> Kind:
    """A mapping with keys of its own; the value is a dict of those given."""

    def read(entries: dict[str, Entry]) -> dict[str, Any]:
        values, problems = read_keys(entries, table)
        if problems:
            raise Wrong([problem._replace(key="." * bool(problem.key) + problem.key) for problem in problems])
        return values

    return mapping(f"a mapping with the keys {', '.join(table)}", read)


def _inside(low: int, value: int, high: int) -> int:
    if not low <= value <= high:
        raise ValueError
    return value


def _each(places: Iterable[tuple[str, Node]], read: Callable[[Node], Value]) -> list[Value]:
    """The values at the places inside a bigger value; Wrong tells of every one that is refused."""
    values: list[Value] = []
    problems: list[Problem] = []
    for place, node in places:
        try:
            values.append(read(node))
        except Wrong as wrong:
            problems += [problem._replace(key=place + problem.key) for problem in wrong.problems]
    if problems:
        raise Wrong(problems)
    return values


def _mode(node: Scalar) -> int:
    if not _OCTAL.fullmatch(node.text):
        raise ValueError
    return int(node.text, 8)


def _flag(node: Scalar) -> bool:
    value = meaning(node)
    if not isinstance(value, bool):
        raise ValueError
    return value


def _zone(node: Scalar) -> str:
    try:
        ZoneInfo(node.text)
    except (KeyError, OSError):  # OSError: a directory of the zone data, such as Europe
        raise ValueError from None
    return node.text


def _command(node: Node) -> str | tuple[str, ...]:
    """The words of a list, of which the first is the program, or a text for the shell."""
    if not isinstance(node, Sequence):
        return str(_COMMAND_LINE.read(node))
    words: tuple[str, ...] = sequence(_WORD).read(node)
    if not words[0]:
        raise Wrong([refused(node.items[0], "the program")._replace(key="[0]")])
    return words


def _schedule(node: Node) -> tuple[Scalar, ...]:
    """The expressions, which keep their place in the file: what is wrong inside them is found later."""
    if isinstance(node, Sequence):
        return tuple(sequence(_EXPRESSION).read(node))
    return (_EXPRESSION.read(node),)


def _expression(node: Scalar) -> Scalar:
    if is_null(node) or not node.text.strip():
        raise ValueError
    return node


def _environment(entries: dict[str, Entry]) -> tuple[tuple[str, str], ...]:
    odd = [key for key, _ in entries.values() if not _VARIABLE.fullmatch(key.text)]
    if odd:
        raise Wrong([refused(key, "a name of letters, digits and _", quoted(key.text)) for key in odd])
    values = _each(((f".{name}", entry.value) for name, entry in entries.items()), _WORD.read)
    return tuple(zip(entries, values, strict=True))


def _metadata(entries: dict[str, Entry]) -> dict[str, Any]:
    values = _each(((f".{quoted(name)[1:-1]}", entry.value) for name, entry in entries.items()), _plain)
    return dict(zip(entries, values, strict=True))


def _plain(node: Node) -> Any:
    """The value as JSON knows it; there a number is finite."""
    match node:
        case Sequence():
            return _each(((f"[{index}]", item) for index, item in enumerate(node.items)), _plain)
        case Mapping():
            return _metadata(node.entries)
    value = meaning(node)
    if isinstance(value, float) and not isfinite(value):
        raise Wrong([refused(node, "a finite number of at most 64 bits, or a text in quotes")])
    return value


def _unknown(name: str, table: dict[str, Key], planned: frozenset[str]) -> str:
    if name in planned:
        return f"the key {quoted(name)} is not supported by this version"
    known = sorted((_distance(name[:64], key), key) for key in (*table, *planned))
    accepted = f"{known[0][1]!r}" if known[0][0] <= max(2, len(name) // 3) else f"{', '.join(table)}"
    return f"found the unknown key {quoted(name)}; accepted: {accepted}"


def _distance(one: str, other: str) -> int:
    """Letters to insert, delete or replace between two words (Levenshtein)."""
    row = list(range(len(other) + 1))
    for index, letter in enumerate(one, 1):
        above, row = row, [index]
        for column, match in enumerate(other, 1):
            row.append(min(row[-1] + 1, above[column] + 1, above[column - 1] + (letter != match)))
    return row[-1]


ZONE = scalar("time zone", "a time zone of the tz database, such as UTC or Europe/Berlin", _zone)
_FLAG = scalar("boolean", "true or false", _flag)
_MODE = scalar("mode", "an octal mode with a leading zero, such as 0022", _mode)
_PATH = text("an absolute path", "(?s)/.*")
_WORD = text('a text (nothing at all is written "")', "(?s).*")
_COMMAND_LINE = text("a command for the shell, or a list of the program and its arguments", r"(?s).*\S.*")
_EXPRESSION = scalar("cron expression", 'a cron expression such as "0 2 * * *", or a list of them', _expression)

JOB_KEYS = {
    key.name: key
    for key in (
        Key("description", _WORD, '""', "What the job is for, in a few words.", "Dump the databases"),
        Key(
            "command",
            Kind("command", _COMMAND_LINE.accepted, _command),
            "",
            "What to run: a list is executed as it is, a text is given to `shell` -c.",
            "[/usr/local/bin/backup, --full]",
        ),
        Key("shell", _PATH, "/bin/sh", "The program that runs a `command` that is a text.", "/bin/bash"),
        Key(
            "schedule",
            Kind("schedule", _EXPRESSION.accepted, _schedule),
            "",
            "When the job is due: a cron expression, or a list of them.",
            '"0 2 * * *"',
        ),
        Key("every", duration("1s", "365d", none=True), "none", "Due at each multiple of this time since 1970.", "90m"),
        Key("timezone", ZONE, "", "The zone of `schedule`; else that of jobqueued.yaml.", "Europe/Berlin"),
        Key(
            "dst",
            choice("cron", "once", "both", "skip"),
            "cron",
            "What a change of the clock does to times that are skipped or repeated.",
            "once",
        ),
        Key("user", text("the name of a user"), "", "Who runs the command; else the daemon's own user.", "backup"),
        Key("working_directory", _PATH, "", "Where the command starts; else the user's home.", "/srv"),
        Key(
            "environment",
            mapping("a mapping of names to texts", _environment),
            "{}",
            "Variables for the command, beside those that every run gets.",
            "{LANG: C.UTF-8}",
        ),
        Key("umask", _MODE, "", "The mode bits that new files do not get.", "0027"),
        Key("enabled", _FLAG, "true", "Whether the clock may start the job.", "false"),
        Key("priority", integer(-1000, 1000), "0", "Who goes first when not all can run: higher does.", "10"),
        Key("concurrency", integer(1, 1000), "1", "How many runs of this job may be live at a time.", "2"),
        Key(
            "max_waiting",
            integer(1, 100_000, none=True),
            "none",
            "How many of its runs may wait; more are skipped.",
            "5",
        ),
        Key(
            "catch_up",
            choice(*CatchUp),
            "latest",
            "Which occurrences that were missed for longer than `grace` still run.",
            "all",
        ),
        Key("catch_up_window", duration("1m", "365d"), "1d", "How far back `catch_up` looks.", "12h"),
        Key("grace", duration("0s", "1d"), "1m", "How late an occurrence may start without being missed.", "5m"),
        Key("timeout", duration("1s", "365d", none=True), "none", "How long a run may take.", "2h"),
        Key("kill_grace", duration("0s", "1h"), "10s", "The time between SIGTERM and SIGKILL.", "30s"),
        Key("success_codes", sequence(integer(0, 255)), "[0]", "Exit codes that mean success.", "[0, 24]"),
        Key("output_limit", size("1K", "1T"), "64M", "How much output of a run is kept.", "512M"),
        Key("tags", sequence(text("a text that is not empty")), "", "Words to find jobs by.", "[backup, nightly]"),
        Key("metadata", mapping("a mapping", _metadata), "", "Anything; each record gets a copy.", "{owner: ops}"),
    )
}

PLANNED = frozenset(
    {
        "stdin", "environment_file", "group", "groups", "login_environment", "credentials", "seconds",
        "anchor", "at", "on", "spread", "start_deadline", "max_runs", "escalation", "exclusive", "overlap", "locks",
        "resources", "placement", "dependencies", "dependency_timeout", "on_dependency_failure", "drain",
        "stop_signal", "retries", "retry_delay", "retry_backoff", "retry_max_delay", "retry_on", "failover",
        "leave_children", "resource_limits", "enforce", "nice", "ionice", "cpu_scheduling", "oom_score_adj",
        "no_new_privs", "output", "journal_rate", "retention", "notify", "telemetry_hooks",
    }
)  # fmt: skip

FILE_KEYS = {
    key.name: key
    for key in (
        Key("defaults", mapping("a mapping of job keys", dict), "{}", "What the file's jobs share.", "{user: backup}"),
        Key("jobs", mapping("a mapping of ids to jobs", dict), "{}", "The jobs by id.", "{hello: {command: echo hi}}"),
    )
}

"""The closed table of job-file keys: what each takes, its default, its help; everything about a key is said here.

The parser, JSON Schema (`schema.py`) and the keys in jobqueue.d(5) come from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.jobfile.queue_types import (
    A_NAME,
    CAUSE,
    CPU_AMOUNT,
    ESCALATION,
    EVENT,
    ID,
    LOCKS,
    NAME,
    PATH,
    RESOURCES,
    UNITS,
)
from jobqueued.jobfile.refusal import NotAccepted, Refusal
from jobqueued.jobfile.spelling import Instead
from jobqueued.jobfile.types import (
    ANYTHING,
    FLAG,
    Key,
    ValueType,
    choice,
    duration,
    each,
    integer,
    mapping,
    number,
    one_or_more,
    optional,
    scalar,
    section,
    sequence,
    size,
    table,
    text,
)
from jobqueued.jobfile.yamltext import Entry, Node, Scalar, Sequence, is_null, quoted
from jobqueued.model import CatchUp, Overlap
from jobqueued.timing.schedule import similar_zones

_OCTAL = re.compile("0[0-7]{2,3}")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[-+]\d\d:\d\d)?", re.ASCII)


def _mode(node: Scalar) -> int:
    if not _OCTAL.fullmatch(node.text):
        raise ValueError
    return int(node.text, 8)


def _zone(node: Scalar) -> str:
    if node.text in ("localtime", "posixrules"):
        raise Instead("no key at all for the host's own zone")
    try:
        ZoneInfo(node.text)
    except (KeyError, OSError):  # OSError: a directory of the zone data, such as Europe
        raise Instead(similar_zones(node.text)) from None
    return node.text


def _command(node: Node) -> str | tuple[str, ...]:
    """The words of a list, of which the first is the program, or a text for the shell."""
    if not isinstance(node, Sequence):
        return str(_COMMAND_LINE.read(node))
    words: tuple[str, ...] = sequence(_WORD).read(node)
    if not words[0]:
        raise NotAccepted(Refusal.of(node.items[0], "the program").below("[0]"))
    return words


def _expression(node: Scalar) -> Scalar:
    """The node itself, with its place in the file: what is wrong inside is found later."""
    if is_null(node) or not node.text.strip():
        raise ValueError
    return node


def _instant(node: Scalar) -> datetime:
    """Aware if a zone is written with it, else naive."""
    if _DATE.fullmatch(node.text):
        raise Instead(f"{node.text}T00:00")
    if not _INSTANT.fullmatch(node.text):
        raise ValueError
    try:
        moment = datetime.fromisoformat(node.text)
    except ValueError:
        raise Instead("a date and a time that exist") from None
    if not 1970 <= moment.year < 2200:  # nanoseconds since 1970 in 64 bits end in 2262
        raise ValueError
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def _environment(entries: dict[str, Entry]) -> tuple[tuple[str, str], ...]:
    rule = "a name of letters, digits and _ that does not start with a digit"
    return tuple(_named(entries, _WORD, _VARIABLE, rule).items())


def _named(entries: dict[str, Entry], value: ValueType, name: re.Pattern[str], rule: str) -> dict[str, Any]:
    """Values by names that people choose; what is wrong with a name does not hide what is wrong with a value."""
    refusals = [Refusal.of(key, rule, quoted(key.text)) for key, _ in entries.values() if not name.fullmatch(key.text)]
    try:
        values = each(((f".{quoted(name)[1:-1]}", entry.value) for name, entry in entries.items()), value.read)
    except NotAccepted as wrong:
        refusals += wrong.refusals
    if refusals:
        raise NotAccepted(*refusals)
    return dict(zip(entries, values, strict=True))


def _by_name(value: ValueType) -> Callable[[dict[str, Entry]], dict[str, Any]]:
    return lambda entries: _named(entries, value, re.compile(NAME), A_NAME)


ZONE = scalar("time zone", "a time zone of the tz database, such as UTC or Europe/Berlin", _zone)
_MODE = scalar("mode", "an octal mode with a leading zero, such as 0022", _mode)
_WORD = text('a text (nothing at all is written "")', "(?s).*")
_ACCOUNT = text("the name of an account", r"[^\s:/\x00-\x1f\x7f]{1,64}", "name")
_COMMAND_LINE = text("a command for the shell, or a list of the program and its arguments", r"(?s).*\S.*")
_COMMAND = ValueType(
    "command", _COMMAND_LINE.accepted, _command, {"anyOf": [_COMMAND_LINE.schema, sequence(_WORD).schema]}
)
_EXPRESSION = scalar("cron expression", 'a cron expression such as "0 2 * * *"', _expression)
_SECONDS = scalar("seconds field", 'a field of seconds such as "*/10" or "0,30"', _expression)
_WHEN = scalar("instant", "an instant such as 2027-01-31T02:00 or 2027-01-31T02:00+01:00, from 1970 to 2199", _instant)
_BYTES = optional(size("0", "999999999T"), "unlimited")
_RATE = size("1K", "999999999T")
_SIGNALS = "HUP INT QUIT ABRT KILL USR1 USR2 PIPE ALRM TERM WINCH IO PWR SYS XCPU XFSZ VTALRM PROF TRAP"
_SIGNAL = text("a signal that ends programs, such as SIGTERM, SIGINT or SIGRTMIN+3",
    rf"SIG(?:{_SIGNALS.replace(' ', '|')}|RTMIN\+[1-9]|RTMIN\+[12][0-9]|RTMIN)", "signal")  # fmt: skip

_RESOURCE_LIMITS = table(
    Key("cpu", CPU_AMOUNT, "", "How much CPU the run may use at a time.", "0.5"),
    Key("memory", _RATE, "", "How much memory it may use, page cache included, or be killed.", "512M"),
    Key("memory_high", _RATE, "", "How much memory it may use before it is slowed.", "400M"),
    Key("swap", _BYTES, "", "How much it may swap out.", "0"),
    Key("tasks", UNITS, "", "How many processes and threads it may have.", "64"),
    Key("io_read", _RATE, "", "How many bytes it may read from each disk a second.", "20M"),
    Key("io_write", _RATE, "", "How many bytes it may write to each disk a second.", "20M"),
    Key("open_files", UNITS, "", "RLIMIT_NOFILE of each of its processes.", "1024"),
    Key("file_size", _BYTES, "", "RLIMIT_FSIZE: how large a file may become.", "1G"),
    Key("core", _BYTES, "", "RLIMIT_CORE: how large a core dump may become.", "0"),
    Key("cpu_time", duration("1s", "365d"), "", "RLIMIT_CPU of each of its processes.", "1h"),
    Key("stack", _BYTES, "", "RLIMIT_STACK of each of its processes.", "8M"),
    Key("locked_memory", _BYTES, "", "RLIMIT_MEMLOCK of each of its processes.", "64K"),
    Key("address_space", _BYTES, "", "RLIMIT_AS of each of its processes.", "4G"),
    Key("processes", UNITS, "", "RLIMIT_NPROC: how many processes its user may have.", "256"),
    Key("data", _BYTES, "", "RLIMIT_DATA of each of its processes.", "1G"),
    Key("msgqueue", _BYTES, "", "RLIMIT_MSGQUEUE of its user.", "800K"),
    Key("sigpending", UNITS, "", "RLIMIT_SIGPENDING of its user.", "1000"),
)  # fmt: skip

RETENTION = table(
    Key("runs", integer(1, 1_000_000), "100", "How many records are kept.", "500"),
    Key("age", duration("1h", "36500d"), "90d", "How old a record may become.", "365d"),
    Key("bytes", size("1M", "999T"), "1G", "How much records and output may take.", "10G"),
)

_NOTIFY = table(
    Key("on", one_or_more(choice("failure", "recovery", "missed", "late", "success")),
        "[failure, recovery, missed, late]", "What is told.", "[failure]"),
    Key("email", one_or_more(text("a mail address", r"[^\s@]+@[^\s@]+")), "", "Who is told.", "ops@example.org"),
)  # fmt: skip

GROUPS: dict[str, dict[str, Key]] = {
    "What runs": table(
        Key("description", _WORD, '""', "What the job is for, in a few words.", "Dump the databases"),
        Key("command", _COMMAND, "", "What to run: a list is executed as it is, a text is given to `shell` -c.",
            "[/usr/local/bin/backup, --full]"),
        Key("shell", PATH, "/bin/sh", "The program that runs a `command` that is a text.", "/bin/bash"),
        Key("stdin", _WORD, '""', "What the command reads from its standard input.", "hello"),
        Key("working_directory", PATH, "", "Where the command starts; else the user's home.", "/srv"),
        Key("environment", mapping("a mapping of names to texts", _environment, {"additionalProperties": _WORD.schema}),
            "{}", "Variables for the command, beside those that every run gets.", "{LANG: C.UTF-8}"),
        Key("environment_file", one_or_more(PATH), "", "Files of variables for the command.", "/etc/default/backup"),
        Key("umask", _MODE, "", "The mode bits that new files do not get.", "0027"),
        Key("user", _ACCOUNT, "", "Who runs the command; else the daemon's own user.", "backup"),
        Key("group", _ACCOUNT, "", "The group of the command; else the user's primary one.", "backup"),
        Key("groups", sequence(_ACCOUNT, least=0), "", "Its supplementary groups; else those of the user.",
            "[tape, adm]"),
        Key("login_environment", FLAG, "false", "Whether the command gets what a login of the user would get.", "true"),
        Key("credentials", mapping("a mapping of names to absolute paths", _by_name(PATH)), "{}",
            "Secret files that only the run can read, below $CREDENTIALS_DIRECTORY.", "{token: /etc/backup/token}",
            planned=True),
    ),
    "When it is due": table(
        Key("schedule", one_or_more(_EXPRESSION), "", "When the job is due: a cron expression, or a list of them.",
            '"0 2 * * *"'),
        Key("seconds", _SECONDS, "", "The seconds of each minute of `schedule` in which it is due; else second 0.",
            '"*/10"'),
        Key("timezone", ZONE, "", "The zone of `schedule` and `at`; else that of jobqueued.yaml.", "Europe/Berlin"),
        Key("dst", choice("cron", "once", "both", "skip"), "cron",
            "What a change of the clock does to times that are skipped or repeated.", "once"),
        Key("every", optional(duration("1s", "365d")), "none",
            "Due at each multiple of this elapsed time since `anchor`.", "90m"),
        Key("anchor", _WHEN, "1970-01-01T00:00Z", "Where `every` counts from.", "2027-01-31T02:00"),
        Key("at", _WHEN, "", "Due once, at this instant.", "2027-01-31T02:00"),
        Key("on", one_or_more(EVENT), "",
            "Due at an event: `boot` is the first start of the daemon after each boot of the host.", "boot"),
        Key("spread", duration("0s", "1d"), "0s",
            "Starts later by a part of this time that is the job's own, so that jobs due together do not all start "
            "together.", "10m"),
        Key("catch_up", choice(*CatchUp), "latest",
            "Which occurrences that were missed for longer than `grace` still run.", "all"),
        Key("catch_up_window", duration("1m", "365d"), "1d", "How far back `catch_up` looks.", "12h"),
        Key("grace", duration("0s", "1d"), "1m", "How late an occurrence may start without being missed.", "5m"),
        Key("start_deadline", optional(duration("1s", "365d")), "none",
            "How long after it was due an occurrence may still start.", "1h"),
        Key("enabled", FLAG, "true", "Whether the clock or an event may start the job.", "false"),
        Key("max_runs", optional(integer(1, 1_000_000_000)), "none", "After how many runs the job is completed.",
            "100"),
    ),
    "Who goes next": table(
        Key("priority", integer(-1000, 1000), "0", "Who goes first when not all can run: higher does.", "10"),
        Key("escalation", ESCALATION, "", "How the priority grows while a run waits; else as jobqueued.yaml says.",
            "{points: 5, every: 1m}"),
        Key("exclusive", FLAG, "false", "Whether a run is alone on this host.", "true"),
        Key("concurrency", integer(1, 1000), "1", "How many runs of this job may be live at a time.", "2"),
        Key("overlap", choice(*Overlap), "queue",
            "What happens to a run that is due while the job is at its `concurrency`.", "skip"),
        Key("max_waiting", optional(integer(1, 100_000)), "none",
            "How many of its runs may wait, more are skipped; else 1 from the clock, 100 from others.", "5"),
        Key("locks", LOCKS, "", "Locks that a run holds while it is live.",
            "[database, {name: tape, mode: shared}, {name: license, units: 2}]"),
        Key("resources", RESOURCES, "{}",
            "What a run asks for at its admission: cpu, memory, and the units of jobqueued.yaml.",
            "{cpu: 1, memory: 400M, gpu: 1}"),
        Key("placement", choice("spread", "pack", "none"), "none", "Which CPUs and units of a resource runs get.",
            "spread"),
        Key("dependencies", sequence(ID, least=0), "", "Jobs that must have succeeded before.", "[rotate-logs]"),
        Key("dependency_timeout", duration("1s", "365d"), "1d", "How long a run waits for its `dependencies`.", "2h"),
        Key("on_dependency_failure", choice("skip", "run"), "skip", "What a run does when one of them failed.", "run"),
        Key("drain", duration("1s", "365d"), "1h",
            "How long others are held back for a run that waits for one without `timeout`.", "10m"),
    ),
    "How it ends": table(
        Key("timeout", optional(duration("1s", "365d")), "none", "How long a run may take.", "2h"),
        Key("kill_grace", duration("0s", "1h"), "10s", "The time between `stop_signal` and SIGKILL.", "30s"),
        Key("stop_signal", _SIGNAL, "SIGTERM", "The signal that asks a run to stop.", "SIGINT"),
        Key("success_codes", sequence(integer(0, 255)), "[0]", "Exit codes that mean success.", "[0, 24]"),
        Key("retries", integer(0, 1000), "0", "How often a run that failed is tried again.", "3"),
        Key("retry_delay", duration("0s", "30d"), "1m", "How long it waits before that.", "5m"),
        Key("retry_backoff", number(1, 10), "1", "By what `retry_delay` is multiplied each time.", "2"),
        Key("retry_max_delay", optional(duration("1s", "30d")), "none", "What the delay may grow to.", "1h"),
        Key("retry_on", sequence(CAUSE), "", "Which failures are tried again; else all.", "[75, timeout]"),
        Key("failover", _COMMAND, "", "What runs instead when the last retry failed.", "/usr/local/bin/backup-to-disk"),
        Key("leave_children", FLAG, "false", "Whether processes that outlive the command are left alone.", "true"),
    ),
    "What it may use": table(
        Key("resource_limits", section(_RESOURCE_LIMITS), "{}", "What the kernel lets a run have at most.",
            "{open_files: 4096, core: 0}"),
        Key("enforce", choice("required", "best_effort"), "best_effort",
            "What happens where a limit can't be enforced: `required` starts nothing.", "required"),
        Key("nice", integer(-20, 19), "0", "The scheduling priority of the command: less is more.", "10"),
        Key("ionice", text("idle, or best-effort:N or realtime:N, N from 0 to 7", "idle|(best-effort|realtime):[0-7]"),
            "", "The I/O scheduling class of the command.", "idle"),
        Key("cpu_scheduling", text("other, batch, idle, or fifo:N or rr:N, N from 1 to 99",
            "other|batch|idle|(fifo|rr):[1-9][0-9]?"), "other", "The CPU scheduling policy of the command.", "batch"),
        Key("oom_score_adj", integer(-1000, 1000), "0", "How early the kernel kills it when memory is short.", "500"),
        Key("no_new_privs", FLAG, "false", "Whether set-user-ID programs have no effect below it.", "true"),
    ),
    "What is told": table(
        Key("output", choice("both", "file", "journal", "none"), "both",
            "Where the output of a run goes: to a file beside its record, as lines to the journal, to both or to none.",
            "file"),
        Key("output_limit", size("1K", "1T"), "64M", "How much output of a run its file keeps.", "512M"),
        Key("journal_rate", integer(1, 1_000_000), "100",
            "How many lines a second of it go to the journal, and ten times as many at once.", "20"),
        Key("retention", section(RETENTION), "{}", "How much of the job's history is kept.", "{runs: 500}",
            planned=True),
        Key("notify", section(_NOTIFY), "{}", "Who is told what.", "{on: failure, email: ops@example.org}",
            planned=True),
        Key("telemetry_hooks", sequence(PATH), "", "Programs that are given the record of each run.",
            "[/usr/local/bin/push-metrics]", planned=True),
        Key("tags", sequence(text("a text that is not empty")), "", "Words to find jobs by.", "[backup, nightly]"),
        Key("metadata", ANYTHING, "", "Anything; each record gets a copy.", "{owner: ops}"),
    ),
}  # fmt: skip

JOB_KEYS = {name: key for group in GROUPS.values() for name, key in group.items()}

_JOB = {"$ref": "#/definitions/job"}

_FOREIGN = {
    "command": "run cmd script exec execstart args program action",
    "environment": "env envs vars variables",
    "environment_file": "envfile",
    "working_directory": "cwd workdir workingdir chdir dir directory",
    "user": "runas username becomeuser",
    "group": "gid",
    "schedule": "cron oncalendar when crontab cronexpression",
    "timezone": "tz crontz zone",
    "every": "interval onunitactivesec period",
    "at": "date runat",
    "on": "trigger triggers onbootsec",
    "spread": "randomizeddelaysec jitter randomdelay",
    "catch_up": "persistent catchup misfire",
    "start_deadline": "startingdeadlineseconds",
    "enabled": "suspend disabled state active disable",
    "concurrency": "maxinstances",
    "overlap": "concurrencypolicy",
    "locks": "lock flock mutex",
    "dependencies": "dependson depends needs requires after",
    "timeout": "timeoutminutes activedeadlineseconds timeoutstartsec runtimemaxsec",
    "retries": "retry attempts maxretries backofflimit",
    "resource_limits": "memory cpu openfiles memorymax cpuquota tasksmax limits ulimit nofile",
    "output": "log logs stdout stderr",
    "retention": "successfuljobshistorylimit failedjobshistorylimit",
    "notify": "mail mailto email notifications",
    "description": "comment desc summary",
    "tags": "labels",
    "metadata": "annotations",
}

ELSEWHERE = {word: key for key, words in _FOREIGN.items() for word in words.split()}
"""Names of our keys in other schedulers, in small letters without - and _: the key, or what to write here."""

ELSEWHERE |= dict.fromkeys(("name", "id", "job"), "the id as the key above the job, as in jobs: {backup: {…}}")

AT_THE_TOP = {
    word: f"defaults and jobs; {name!r} belongs to a job, as in jobs: {{backup: {{{name}: {key.example}}}}}"
    for name, key in JOB_KEYS.items()
    for word in (name.replace("_", ""), *_FOREIGN.get(name, "").split())
}
"""The advice for a job's key that stands beside `jobs`."""

FILE_KEYS = table(
    Key("defaults", mapping("a mapping of job keys", dict, {"allOf": [_JOB]}), "{}", "What the file's jobs share.",
        "{user: backup}"),
    Key("jobs", mapping("a mapping of ids to jobs", dict,
        {"propertyNames": {"pattern": f"^(?:{NAME})$"}, "additionalProperties": _JOB}), "{}", "The jobs by id.",
        "{hello: {command: echo hi}}"),
)  # fmt: skip

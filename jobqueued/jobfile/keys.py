"""The closed table of job-file keys: what each takes, its default, its help; everything about a key is said here.

The parser, JSON Schema (`schema.py`) and the keys in jobqueue.d(5) come from it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
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
from jobqueued.jobfile.scalars import (
    FLAG,
    Key,
    ValueType,
    choice,
    duration,
    integer,
    number,
    optional,
    scalar,
    size,
    table,
    text,
)
from jobqueued.jobfile.spelling import Instead, nearest
from jobqueued.jobfile.types import (
    ANYTHING,
    each,
    either,
    made,
    mapping,
    one_or_more,
    section,
    sequence,
)
from jobqueued.jobfile.yamltext import Entry, Node, Scalar, Sequence, is_null, quoted
from jobqueued.model import UNBOUNDED, CatchUp, Overlap
from jobqueued.notify import EVENTS, Notify, Webhook
from jobqueued.timing.schedule import LEAPING, similar_zones, zones

_IO_CLASS = re.compile("idle|(best-effort|realtime):[0-7]")
_TYPO = 2
_OCTAL = re.compile("0[0-7]{2,3}")
_HEADER = re.compile("[A-Za-z0-9][A-Za-z0-9-]*")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(Z|[-+]\d\d:\d\d)?", re.ASCII)


def _mode(node: Scalar) -> int:
    if not _OCTAL.fullmatch(node.text):
        digits = re.fullmatch("(?:0o)?([0-7]{1,4})", node.text)
        mode = digits[1].lstrip("0").zfill(4) if digits else ""
        raise Instead(mode if _OCTAL.fullmatch(mode) else "")
    return int(node.text, 8)


def _zone(node: Scalar) -> str:
    if node.text in ("localtime", "posixrules"):
        raise Instead("no key at all for the host's own zone")
    try:
        ZoneInfo(node.text)
    except (KeyError, ValueError, OSError):  # a path; a directory of the zone data, such as Europe
        raise Instead(similar_zones(node.text) or nearest(node.text, _like(node.text) or ("",))) from None
    if node.text.startswith(LEAPING):
        raise Instead(node.text.removeprefix(LEAPING))
    return node.text


def _like(name: str) -> list[str]:
    """The zones that begin like a name and are about as long: to compare it with all would take long."""
    return [zone for zone in zones() if zone[:1] == name[:1].upper() and abs(len(zone) - len(name)) <= _TYPO]


def _or_unbounded(inner: ValueType) -> ValueType:
    """The inner type, or none, which is `UNBOUNDED` and not what counts without the key."""
    outer = optional(inner)

    def read(node: Node) -> int:
        value = outer.read(node)
        return UNBOUNDED if value is None else int(value)

    return replace(outer, read=read)


def _io_class(node: Scalar) -> str:
    if not _IO_CLASS.fullmatch(node.text):
        level = re.fullmatch("(?:best-effort|be|realtime|rt)?:?([0-7]?)", node.text)
        name = "realtime" if node.text[:1] == "r" else "best-effort"
        idle = "idle" if node.text.startswith("idle") else "idle or " * (node.text == "3")  # class 3 of ionice(1)
        raise Instead(f"{idle}{name}:{level[1] or 4}" if level else idle)
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
        raise Instead(_meant_instant(node.text))
    try:
        moment = datetime.fromisoformat(node.text)
    except ValueError:
        raise Instead("a date and a time that exist") from None
    if not 1970 <= moment.year < 2200:  # nanoseconds since 1970 in 64 bits end in 2262
        raise ValueError
    return moment if moment.tzinfo is None else moment.astimezone(UTC)


def _meant_instant(text: str) -> str:
    """The spelling of an instant that is written as elsewhere; "" for no guess."""
    if clock := re.fullmatch(r"(\d{1,2}):(\d\d)", text, re.ASCII):
        daily = f'`schedule: "{int(clock[2])} {int(clock[1])} * * *"`'
        return f"a date before it, such as 2027-01-31T{int(clock[1]):02}:{clock[2]}; for every day, {daily}"
    if re.fullmatch("[1-9][0-9]{8,9}", text):
        return datetime.fromtimestamp(int(text), UTC).isoformat().replace("+00:00", "Z")
    text = re.sub(r"(\d\d)\.(\d\d)\.(\d{4})", r"\3-\2-\1", text.strip())
    text = re.sub(r"([-+]\d\d)(\d\d)$", r"\1:\2", re.sub(r"([T ])(\d:\d\d)", r"\g<1>0\2", text))
    text = text.replace(" UTC", "Z").replace(" Z", "Z").replace("/", "-")
    try:
        datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return ""
    return text if _INSTANT.fullmatch(text) else ""


def _environment(entries: dict[str, Entry]) -> tuple[tuple[str, str], ...]:
    rule = "a name of letters, digits and _ that does not start with a digit"
    return tuple(_named(entries, _unshown(_WORD), _VARIABLE, rule).items())


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


def _unshown(kind: ValueType) -> ValueType:
    """The same type, for values that may be secrets: what is wrong with one does not quote it."""

    def read(node: Node) -> Any:
        try:
            return kind.read(node)
        except NotAccepted as wrong:
            if not isinstance(node, Scalar) or is_null(node):
                raise
            raise NotAccepted(*(refusal._replace(found=_UNSHOWN, meant="") for refusal in wrong.refusals)) from None

    return replace(kind, read=read)


_UNSHOWN = "a value that is not shown, as it may be a secret"
ZONE = scalar("time zone", "a time zone of the tz database, such as UTC or Europe/Berlin", _zone)
_MODE = scalar("mode", "an octal mode with a leading zero, such as 0022", _mode)
_WORD = text('a text ("" for none)', "(?s).*")
ACCOUNT = text("the name of an account", r"[^\s:,/\x00-\x1f\x7f]{1,64}", "name")
_COMMAND_LINE = text("a command for the shell, or a list of the program and its arguments", r"(?s).*\S.*")
_COMMAND = ValueType(
    "command", _COMMAND_LINE.accepted, _command, {"anyOf": [_COMMAND_LINE.schema, sequence(_WORD).schema]}
)
_EXPRESSION = scalar("cron expression", 'a cron expression such as "0 2 * * *"', _expression)
_SECONDS = scalar("seconds field", 'a field of seconds such as "*/10" or "0,30"', _expression)
_WHEN = scalar("instant", "an instant such as 2027-01-31T02:00 or 2027-01-31T02:00+01:00, from 1970 to 2199", _instant)
_IO = scalar(
    "text", "idle, or best-effort:N or realtime:N, N from 0 to 7", _io_class, {"pattern": f"^(?:{_IO_CLASS.pattern})$"}
)
_BYTES = optional(size("0", "1000000T"), "unlimited")
_RATE = size("1K", "1000000T")
_SIGNALS = "HUP INT QUIT ABRT KILL USR1 USR2 PIPE ALRM TERM WINCH IO PWR SYS XCPU XFSZ VTALRM PROF TRAP"
_SIGNAL = text("a signal that ends programs, such as SIGTERM, SIGINT or SIGRTMIN+3",
    rf"SIG(?:{_SIGNALS.replace(' ', '|')}|RTMIN\+[1-9]|RTMIN\+[12][0-9]|RTMIN)", "signal")  # fmt: skip

_RESOURCE_LIMITS = table(
    Key("cpu", CPU_AMOUNT, "", "CPU cores that the run may use at a time.", "0.5"),
    Key("memory", _RATE, "", "Memory that it may use, page cache included; beyond this it is killed.", "512M"),
    Key("memory_high", _RATE, "", "Memory that it may use before it is slowed down.", "400M"),
    Key("swap", _BYTES, "", "Memory that it may swap out.", "0"),
    Key("tasks", UNITS, "", "Processes and threads that it may have.", "64"),
    Key("io_read", _RATE, "", "Bytes per second that it may read from each disk.", "20M"),
    Key("io_write", _RATE, "", "Bytes per second that it may write to each disk.", "20M"),
    Key("open_files", UNITS, "", "RLIMIT_NOFILE: open files of each process.", "1024"),
    Key("file_size", _BYTES, "", "RLIMIT_FSIZE: size of a file that is written.", "1G"),
    Key("core", _BYTES, "", "RLIMIT_CORE: size of a core dump.", "0"),
    Key("cpu_time", duration("1s", "365d"), "", "RLIMIT_CPU: CPU time of each process.", "1h"),
    Key("stack", _BYTES, "", "RLIMIT_STACK: stack of each process.", "8M"),
    Key("locked_memory", _BYTES, "", "RLIMIT_MEMLOCK: locked memory of each process.", "64K"),
    Key("address_space", _BYTES, "", "RLIMIT_AS: address space of each process.", "4G"),
    Key("processes", UNITS, "", "RLIMIT_NPROC: processes of the user on this host.", "256"),
    Key("data", _BYTES, "", "RLIMIT_DATA: data segment of each process.", "1G"),
    Key("msgqueue", _BYTES, "", "RLIMIT_MSGQUEUE: POSIX message queues of the user.", "800K"),
    Key("sigpending", UNITS, "", "RLIMIT_SIGPENDING: queued signals of the user.", "1000"),
)  # fmt: skip

RETENTION = table(
    Key("runs", integer(1, 1_000_000), "100", "Records to keep, and as many of skips.", "500"),
    Key("age", duration("1h", "36500d"), "90d", "Age up to which records are kept.", "365d"),
    Key("bytes", size("1M", "999T"), "1G", "Space for records and output.", "10G"),
)

_PART = r"[^\s@<>,;:\\\"()\[\]-][^\s@<>,;:\\\"()\[\]]*"  # a leading - would be an option of sendmail(8)
ADDRESS = text("a mail address", f"{_PART}(@{_PART})?")
_URL = _unshown(text("a URL such as https://example.org/hook", r"https?://[^\s/]+(/\S*)?"))
_HOOK = table(
    Key("url", _URL, "", "The URL.", "https://example.org/hook"),
    Key("template", _unshown(_WORD), "", "Text that is posted instead, with names such as $title; see docs/notices.md.",
        '\'{"text": "$title"}\''),
    Key("headers", _unshown(mapping("a mapping of names to texts", lambda entries: tuple(
            _named(entries, _unshown(_WORD), _HEADER, "the name of a header").items()),
            {"additionalProperties": _WORD.schema})), "{}",
        "Further headers of the request.", "{Authorization: Bearer tk_123}"),
    Key("secret_file", PATH, "", "File with the secret that signs what is posted.", "/etc/jobqueued/webhook-secret"),
    Key("proxy", text("a URL such as http://proxy.example.org:3128", r"http://\S+"), "", "Proxy for the request.",
        "http://proxy.example.org:3128"),
)  # fmt: skip


def _webhook(node: Node) -> Webhook:
    values = section(_HOOK).read(node)
    if "url" not in values:
        raise NotAccepted(Refusal.of(node, "its `url` as well"))
    return Webhook(**values)


_WEBHOOK = replace(section(_HOOK), read=_webhook)
NOTIFY = table(
    Key("on", one_or_more(choice(*EVENTS)), "[failure, recovery, missed]",
        "Events to send a notice of; `failure` includes timeout, oom and lost, `skipped` includes missed.",
        "[failure, recovery, success]"),
    Key("email", one_or_more(ADDRESS), "", "Mail addresses that get the notices.", "ops@example.org"),
    Key("webhook", one_or_more(either(made(_URL, Webhook), _WEBHOOK)), "",
        "URLs to which the notices are posted as JSON; what is behind the host is shown to nobody.",
        "https://example.org/hook"),
    Key("command", one_or_more(PATH), "", "Programs that get the notices as JSON on their standard input.",
        "/usr/local/bin/page-me"),
    Key("apprise", one_or_more(_unshown(text("a URL of Apprise such as ntfy://topic", r"[a-z][a-z0-9+.-]*://\S+"))), "",
        "URLs of Apprise that get the notices; it needs python3-apprise.", "ntfy://my-topic"),
    Key("remind", optional(duration("1m", "365d")), "6h", "Time after which a failure that goes on is told again.",
        "1d"),
)  # fmt: skip


def notify(values: dict[str, Any]) -> Notify:
    """The wish of a mapping with the keys of NOTIFY."""
    return Notify(**{name: value for name, value in values.items() if name in NOTIFY})


GROUPS: dict[str, dict[str, Key]] = {
    "The command": table(
        Key("description", _WORD, '""', "Purpose of the job, in a few words.", "Dump the databases"),
        Key("command", _COMMAND, "", "Program to run: a list is executed as it is, a text is passed to `shell` -c.",
            "[/usr/local/bin/backup, --full]"),
        Key("shell", PATH, "/bin/sh", "Shell that runs a `command` given as a text.", "/bin/bash"),
        Key("stdin", _unshown(_WORD), '""', "Text that the command reads from its standard input.", "hello"),
        Key("working_directory", PATH, "", "Directory in which the command starts; by default the user's home.",
            "/srv"),
        Key("environment", _unshown(mapping("a mapping of names to texts", _environment,
            {"additionalProperties": _WORD.schema})), "{}",
            "Variables for the command, in addition to those that every run gets; only root and the job's user see "
            "their values.", "{LANG: C.UTF-8}"),
        Key("environment_file", one_or_more(PATH), "", "Files of variables for the command.", "/etc/default/backup"),
        Key("umask", _MODE, "", "File mode creation mask, the mode bits that new files do not get; by default 0022.",
            "0027"),
        Key("user", ACCOUNT, "", "User that runs the command; by default the daemon's own.", "backup"),
        Key("group", ACCOUNT, "", "Group of the command; by default the user's primary group.", "backup"),
        Key("groups", one_or_more(ACCOUNT, least=0), "",
            "Supplementary groups of the command; by default those of the user.",
            "[tape, adm]"),
        Key("login_environment", FLAG, "false", "Give the command the environment of a login of the user.", "true"),
        Key("credentials", mapping("a mapping of names to absolute paths", _by_name(PATH)), "{}",
            "Secret files that only the run can read, below $CREDENTIALS_DIRECTORY.", "{token: /etc/backup/token}",
            planned=True),
    ),
    "When it is due": table(
        Key("schedule", one_or_more(_EXPRESSION), "",
            "Times at which the job is due: a cron expression, or a list of them.", '"0 2 * * *"'),
        Key("seconds", _SECONDS, "", "Seconds of each minute of `schedule` at which the job is due; by default 0.",
            '"*/10"'),
        Key("timezone", ZONE, "", "Time zone of `schedule` and `at`; by default that of jobqueued.yaml.",
            "Europe/Berlin"),
        Key("dst", choice("cron", "once", "both", "skip"), "cron",
            "Rule for times that a clock change skips or repeats.", "once"),
        Key("every", optional(duration("1s", "365d")), "none",
            "Interval of elapsed time, counted from `anchor`, at which the job is due.", "90m"),
        Key("anchor", _WHEN, "1970-01-01T00:00Z", "Instant from which `every` counts.", "2027-01-31T02:00"),
        Key("at", _WHEN, "", "Instant at which the job is due, once.", "2027-01-31T02:00"),
        Key("on", one_or_more(EVENT), "",
            "Events that make the job due: `boot` is the first start of the daemon after each boot of the host.",
            "boot"),
        Key("spread", duration("0s", "1d"), "0s",
            "Longest delay of a start; each job has a fixed share of it, so that jobs due together do not all start "
            "together.", "10m"),
        Key("catch_up", choice(*CatchUp), "latest",
            "Occurrences that still run after they were missed by more than `grace`.", "all"),
        Key("catch_up_window", duration("1m", "365d"), "1d", "Time that `catch_up` looks back.", "12h"),
        Key("grace", duration("0s", "1d"), "1m", "Lateness up to which an occurrence does not count as missed.", "5m"),
        Key("start_deadline", optional(duration("1s", "365d")), "none",
            "Time after which a due run that has not started is skipped.", "1h"),
        Key("enabled", FLAG, "true", "Let the clock and events start the job.", "false"),
        Key("max_runs", optional(integer(1, 1_000_000_000)), "none", "Number of runs after which the job is completed.",
            "100"),
    ),
    "The queue": table(
        Key("priority", integer(-1000, 1000), "0", "Rank in the queue: runs of higher priority go first.", "10"),
        Key("escalation", ESCALATION, "",
            "Growth of the priority while a run waits; by default that of jobqueued.yaml.",
            "{points: 5, every: 1m}"),
        Key("exclusive", FLAG, "false", "Run alone on this host.", "true"),
        Key("concurrency", integer(1, 1000), "1", "Runs of this job that may be live at a time.", "2"),
        Key("overlap", choice(*Overlap), "queue",
            "Action when a run comes due while the job is at its `concurrency`: queue it, skip it, or let it replace "
            "the live one, which is stopped.", "skip"),
        Key("max_waiting", _or_unbounded(integer(1, 100_000)), "",
            "Waiting runs of this job, beyond which runs are skipped; by default 1 by the clock, 100 otherwise, with "
            "`none` however many.", "5"),
        Key("locks", LOCKS, "", "Locks that a run holds while it is live.",
            "[database, {name: tape, mode: shared}, {name: license, units: 2}]"),
        Key("resources", RESOURCES, "{}",
            "Resources that a run holds while it is live: cpu, memory, and the units of jobqueued.yaml.",
            "{cpu: 1, memory: 400M, gpu: 1}"),
        Key("placement", choice("spread", "pack", "none"), "none",
            "Choice of units, and of CPUs to run on: `spread` takes those least used, `pack` the first free, `none` "
            "leaves the CPUs alone.",
            "spread"),
        Key("dependencies", one_or_more(ID, least=0), "", "Jobs that must succeed before this one runs.",
            "[rotate-logs]"),
        Key("dependency_timeout", duration("1s", "365d"), "1d", "Time that a run waits for its `dependencies`.", "2h"),
        Key("on_dependency_failure", choice("skip", "run"), "skip",
            "Action when a dependency has failed: skip the run, or run it all the same.", "run"),
        Key("drain", duration("1s", "365d"), "1h",
            "Time that a run may keep others waiting while a run without `timeout` holds what it needs.", "10m"),
    ),
    "The end of a run": table(
        Key("timeout", optional(duration("1s", "365d")), "none", "Time after which a live run is stopped.", "2h"),
        Key("kill_grace", duration("0s", "1h"), "10s", "Time between `stop_signal` and SIGKILL.", "30s"),
        Key("stop_signal", _SIGNAL, "SIGTERM", "Signal that asks a run to stop.", "SIGINT"),
        Key("success_codes", one_or_more(integer(0, 255)), "[0]", "Exit codes that mean success.", "[0, 24]"),
        Key("retries", integer(0, 1000), "0", "Further attempts after a failure.", "3"),
        Key("retry_delay", duration("0s", "30d"), "1m",
            "Time between a failure and the next attempt; from the sixth retry on it is 1s at least.", "5m"),
        Key("retry_backoff", number(1, 10), "1", "Factor by which `retry_delay` grows with each attempt.", "2"),
        Key("retry_max_delay", optional(duration("1s", "30d")), "none", "Upper bound of the delay.", "1h"),
        Key("retry_on", one_or_more(CAUSE), "", "Failures to try again after; by default all but `lost`.",
            "[75, timeout]"),
        Key("failover", _COMMAND, "", "Command to run after the last attempt has failed.",
            "/usr/local/bin/backup-to-disk"),
        Key("leave_children", FLAG, "false",
            "Leave processes alone that outlive the command, instead of stopping them.", "true"),
    ),
    "Limits and scheduling": table(
        Key("resource_limits", section(_RESOURCE_LIMITS), "{}", "Limits on a run, enforced by the kernel.",
            "{open_files: 4096, core: 0}"),
        Key("enforce", choice("required", "best_effort"), "best_effort",
            "Action if this host can't enforce a limit: `required` does not start the run.", "required"),
        Key("nice", integer(-20, 19), "0", "Nice value of the command: lower values get more CPU.", "10"),
        Key("ionice", _IO, "", "I/O scheduling class of the command.", "idle"),
        Key("cpu_scheduling", text("other, batch, idle, or fifo:N or rr:N, N from 1 to 99",
            "other|batch|idle|(fifo|rr):[1-9][0-9]?"), "other", "CPU scheduling policy of the command.", "batch"),
        Key("oom_score_adj", integer(-1000, 1000), "0",
            "OOM score adjustment: when memory is short, the kernel kills high scores first.", "500"),
        Key("no_new_privs", FLAG, "false", "Keep the command from gaining privileges, as by set-user-ID programs.",
            "true"),
    ),
    "Output and records": table(
        Key("output", choice("both", "file", "journal", "none"), "both",
            "Destination of the output: a file beside the record, the journal (line by line), both or none.",
            "file"),
        Key("output_limit", size("1K", "1T"), "64M", "Size up to which the file keeps the output of a run.", "512M"),
        Key("journal_rate", integer(1, 1_000_000), "100",
            "Lines of output per second that go to the journal; ten times as many in a burst.", "20"),
        Key("redact", one_or_more(text("a text that is not empty")), "",
            "Words of `command` and `failover` that are shown as ***: in records to everybody, elsewhere to all but "
            "root and the job's user.", "[hunter2]"),
        Key("retention", section(RETENTION), "{}", "History to keep of the job.", "{runs: 500}",
            planned=True),
        Key("notify", made(section(NOTIFY), notify), "{}", "Notices to send, and their recipients.",
            "{on: failure, email: ops@example.org}"),
        Key("telemetry_hooks", one_or_more(PATH), "", "Programs that get the record of each run.",
            "[/usr/local/bin/push-metrics]", planned=True),
        Key("tags", one_or_more(text("a text without a comma", "(?s)[^,]+")), "", "Labels to find jobs by.",
            "[backup, nightly]"),
        Key("metadata", ANYTHING, "", "Data of any kind, copied to each record; 1.10 and 0x1F stay what is written.",
            "{owner: ops}"),
    ),
}  # fmt: skip

JOB_KEYS = {name: key for group in GROUPS.values() for name, key in group.items()}

_JOB = {"$ref": "#/definitions/job"}

FILE_KEYS = table(
    Key("defaults", mapping("a mapping of job keys", dict, {"allOf": [_JOB]}), "{}", "Keys that the file's jobs share.",
        "{user: backup}"),
    Key("jobs", mapping("a mapping of ids to jobs", dict,
        {"propertyNames": {"pattern": f"^(?:{NAME})$"}, "additionalProperties": _JOB}), "{}", "The jobs by id.",
        "{hello: {command: echo hi}}"),
)  # fmt: skip

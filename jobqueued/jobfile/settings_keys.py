"""The keys of jobqueued.yaml, as keys.py has those of job files; jobqueued.yaml(5) comes from it."""

from __future__ import annotations

import re
from typing import Any

from jobqueued.jobfile.keys import ACCOUNT, ADDRESS, NOTIFY, RETENTION, ZONE, notify
from jobqueued.jobfile.queue_types import AMOUNTS, ESCALATION, PATH
from jobqueued.jobfile.refusal import NotAccepted, Refusal
from jobqueued.jobfile.scalars import Key, choice, duration, integer, optional, scalar, size, table, text
from jobqueued.jobfile.types import ANYTHING, made, mapping, one_or_more, read_keys, section
from jobqueued.jobfile.yamltext import Entry, Mapping, Node, Scalar, quoted
from jobqueued.model import DAY, HOUR, MINUTE
from jobqueued.notify import DEFAULT_POLICY, EVENTS_OF_SITE, Policy, Rule


def _resources(entries: dict[str, Entry]) -> dict[str, int]:
    taken = [entry.key for entry in entries.values() if entry.key.text in _VARIABLES]
    if taken:
        accepted = f"another name, as {_TAKEN} mean something else"
        raise NotAccepted(*(Refusal.of(key, accepted, quoted(key.text)) for key in taken))
    return dict(AMOUNTS.read(Mapping(0, 0, entries)))


def _reserved(entries: dict[str, Entry]) -> dict[str, int]:
    others = [entry.key for entry in entries.values() if entry.key.text not in _BOTH]
    if others:
        raise NotAccepted(*(Refusal.of(key, "cpu or memory", quoted(key.text)) for key in others))
    return dict(AMOUNTS.read(Mapping(0, 0, entries)))


_BOTH = ("cpu", "memory")
_VARIABLES = ("cpus", "job", "run", "attempt", "due", "invocation_id", "invocation-id", "invocation.id")
"""Names whose variables (JOBQUEUE_JOB …) tell a command other things."""
_TAKEN = "cpus, job, run, attempt, due and invocation_id"
_RESOURCES = mapping(AMOUNTS.accepted, _resources, AMOUNTS.schema)
_RESERVE = mapping("a mapping with the keys cpu and memory", _reserved)

_PERCENT = re.compile("([1-9][0-9]?)%")


def _percent(node: Scalar) -> int:
    found = _PERCENT.fullmatch(node.text)
    if found is None:
        raise ValueError
    return int(found[1])


_PART = scalar("percentage", "a percentage such as 40%, from 1% to 99%", _percent)
_PRESSURE = section(
    table(
        Key("cpu", _PART, "", "Share of time in which work waits for CPU.", "80%"),
        Key("memory", _PART, "", "Share of time in which work waits for memory.", "10%"),
        Key("io", _PART, "", "Share of time in which work waits for disks.", "40%"),
        Key(
            "below",
            integer(-1000, 1000),
            "0",
            "Runs wait while their priority, with its growth, is lower than this.",
            "10",
        ),
    )
)

_CLOCK = re.compile("([01]?[0-9]|2[0-3]):([0-5][0-9])-([01]?[0-9]|2[0-3]):([0-5][0-9])")
_RATE = re.compile("([1-9][0-9]{0,3})/(1m|1h|1d)")


def _quiet(node: Scalar) -> tuple[int, int]:
    found = _CLOCK.fullmatch(node.text)
    if found is None or found[1] + found[2] == found[3] + found[4]:
        raise ValueError
    begin, begin_minute, end, end_minute = map(int, found.groups())
    return begin * 60 + begin_minute, end * 60 + end_minute


def _rate(node: Scalar) -> tuple[int, int]:
    found = _RATE.fullmatch(node.text)
    if found is None:
        raise ValueError
    return int(found[1]), {"1m": MINUTE, "1h": HOUR, "1d": DAY}[found[2]]


_RULE = table(
    *NOTIFY.values(),
    Key("jobs", one_or_more(text("a job id, or a pattern of them with * and ?", r"[A-Za-z0-9_.:/*?\[\]!-]+")), "",
        "Jobs that the rule is about, by id or pattern; by default all.", '["db-*", backup]'),
    Key("tags", one_or_more(text("a text without a comma", "(?s)[^,]+")), "",
        "Tags of which a job has one if the rule is about it.", "[nightly]"),
    Key("users", one_or_more(ACCOUNT), "", "Users that the jobs run as.", "[www-data]"),
    Key("quiet", scalar("part of the day", "a part of the day such as 22:00-07:00", _quiet), "",
        "Part of the day, in `timezone`, in which notices are held back; what has gathered comes at its end.",
        "22:00-07:00"),
    Key("digest", duration("1m", "30d"), "", "Time for which notices are gathered into one message.", "1h"),
    Key("rate", scalar("rate", "a rate such as 10/1h: messages in 1m, 1h or 1d", _rate), "30/1h",
        "Messages to each address in so long; what is beyond comes in the next, with its number.", "10/1h"),
)  # fmt: skip
_MAIL = table(
    Key("from", ADDRESS, "", "Sender of mails; by default jobqueued at the name of the host.", "jobqueued@example.org"),
    Key("smtp", text("a URL such as smtp://localhost:25 or smtps://user@mail.example.org:465",
        r"smtps?://([^\s@/]+@)?[^\s@/]+"), "", "Server that takes the mails; by default they go to `sendmail`.",
        "smtp://localhost:25"),
    Key("starttls", choice("required", "opportunistic", "never"), "opportunistic",
        "Encryption of the connection to smtp://.", "required"),
    Key("password_file", PATH, "", "File with the password for the user in `smtp`.", "/etc/jobqueued/smtp-password"),
    Key("sendmail", PATH, "/usr/sbin/sendmail", "Program that takes mails.", "/usr/lib/sendmail"),
    Key("attach_limit", size("0", "100M"), "1M", "Size up to which the output of the run is attached.", "200K"),
)  # fmt: skip


def _rule(values: dict[str, Any]) -> Rule:
    policy = DEFAULT_POLICY._replace(**{name: values[name] for name in Policy._fields if name in values})
    scope = {name: values[name] for name in ("jobs", "tags", "users") if name in values}
    return Rule(notify({"on": EVENTS_OF_SITE, **values}), policy=policy, **scope)


_GROUPS = one_or_more(ACCOUNT, least=0)

SETTINGS_KEYS = table(
    Key("max_running", optional(integer(1, 100_000)), "none", "Runs that may be live on this host at a time.", "8"),
    Key("timezone", ZONE, "", "Time zone of jobs that name none; by default the host's.", "Europe/Berlin"),
    Key("retention", section(RETENTION), "{}", "History to keep of each job.", "{runs: 500, age: 365d, bytes: 10G}"),
    Key("max_use", optional(size("1M", "999T")), "none",
        "Space for records and output of all jobs together: beyond it the oldest runs go, those of the job that uses "
        "most first.", "20G"),
    Key("keep_free", size("0", "999T"), "",
        "Space that output leaves free on the disk of the log directory: output that would take it is dropped, and the "
        "record counts it; by default a twentieth of the disk, but at most 4G.", "1G"),
    Key("resources", _RESOURCES, "{}", "Units of each resource and lock that jobs can hold in all; of cpu and memory "
        "by default what the host has.", "{gpu: 2, license: 5, memory: 16G}"),
    Key("reserve", _RESERVE, "{}", "CPU and memory of the host that jobs do not get.",
        "{cpu: 0.5, memory: 1G}"),
    Key("escalation", ESCALATION, "{points: 1, every: 1m}",
        "Growth of the priority while a run waits, for jobs that do not set it.",
        "{points: 2, every: 5m}"),
    Key("pressure", _PRESSURE, "{}",
        "Pressure on the host (the kernel's PSI) above which runs of low priority do not start.",
        "{cpu: 80%, io: 40%, below: 10}"),
    Key("operators", _GROUPS, "[jobqueue]",
        "Groups whose members may see everything and run, stop, pause and hold.",
        "[jobqueue, wheel]"),
    Key("readers", _GROUPS, "[]", "Groups whose members may see everything, and change nothing.", "[adm]"),
    Key("notify", one_or_more(made(section(_RULE), _rule), least=0), "[]",
        "Notices to send, and their recipients: rules about many jobs, the job files and the daemon.",
        "{email: ops@example.org}"),
    Key("notifier", ACCOUNT, "jobqueue", "User as which notices are sent; without root the daemon's own.", "nobody"),
    Key("mail", section(_MAIL), "{}", "How mails are sent.", "{smtp: 'smtp://localhost:25'}"),
    Key("users", ANYTHING, "", "Users that may have job files of their own.", "{allow: all}", planned=True),
    Key("metrics", ANYTHING, "", "Endpoint for metrics.", "{listen: 9100}", planned=True),
    Key("fleet", ANYTHING, "", "The other hosts.", "{etcd: here}", planned=True),
)  # fmt: skip

_LIVE = ", ".join(name for name, key in SETTINGS_KEYS.items() if not key.planned)
_TOP = mapping(f"a mapping with the keys {_LIVE}", dict)


def read_settings_tree(tree: Node) -> tuple[dict[str, Any], list[Refusal]]:
    """The settings that are right, by the name of their key, and what is wrong with the others."""
    try:
        return read_keys(_TOP.read(tree), SETTINGS_KEYS)
    except NotAccepted as wrong:
        return {}, list(wrong.refusals)

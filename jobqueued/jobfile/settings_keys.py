"""The keys of jobqueued.yaml, as in keys.py for job files; jobqueued.yaml(5) is generated from it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jobqueued.jobfile.drop_ins import merged
from jobqueued.jobfile.fleet_keys import FLEET_SETTINGS
from jobqueued.jobfile.keys import RETENTION
from jobqueued.jobfile.notify_keys import HEARTBEAT, MAIL, RULES
from jobqueued.jobfile.process_types import ACCOUNT, GROUP
from jobqueued.jobfile.queue_types import AMOUNTS, ESCALATION
from jobqueued.jobfile.refusal import NotAccepted, Refusal
from jobqueued.jobfile.scalars import FLAG, Key, integer, optional, scalar, size, table, text
from jobqueued.jobfile.time_types import ZONE
from jobqueued.jobfile.types import mapping, one_or_more, read_keys, section
from jobqueued.jobfile.user_keys import USERS
from jobqueued.jobfile.yamltext import Entry, Mapping, Node, Scalar, quoted


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
"""Names whose variables (JOBQUEUE_JOB …) have another meaning for a command."""
_TAKEN = "cpus, job, run, attempt, due and invocation_id"
_RESOURCES = mapping(AMOUNTS.accepted, _resources, AMOUNTS.schema)
_RESERVE = mapping("a mapping with the keys cpu and memory such as {cpu: 0.5, memory: 1G}", _reserved)

_PERCENT = "([1-9][0-9]?)%"


def _percent(node: Scalar) -> int:
    found = re.fullmatch(_PERCENT, node.text)
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

_PROM = text("an absolute path that ends in .prom such as /var/lib/jobqueued.prom", r"/(?:[^\0]*/)?[^/\0]+\.prom")
_METRICS = table(
    Key("textfile", _PROM, "", "File for the textfile collector of node_exporter, written at most every 15 s.",
        "/var/lib/prometheus/node-exporter/jobqueued.prom"),
)  # fmt: skip

_CRON = table(
    Key("live", FLAG, "false",
        "Run the jobs of cron's own tables, /etc/crontab, /etc/cron.d and users' crontabs, while no other cron runs.",
        "true"),
    Key("expand", FLAG, "false",
        "Make one job of each script of /etc/cron.daily and its like, in place of one that runs all of them.", "true"),
)  # fmt: skip

_GROUPS = one_or_more(GROUP, least=0)

SETTINGS_KEYS = table(
    Key("max_running", optional(integer(1, 100_000)), "none", "Runs that may be live on this host at a time.", "8"),
    Key("timezone", ZONE, "", "Time zone of jobs that name none; by default the host's.", "Europe/Berlin"),
    Key("retention", section(RETENTION), "{}", "History to keep of each job.", "{runs: 500, age: 365d, bytes: 10G}"),
    Key("max_use", optional(size("1M", "999T")), "none",
        "Space for records and output of all jobs together: beyond it the oldest runs go, those of the job that uses "
        "most first.", "20G"),
    Key("keep_free", size("0", "999T"), "",
        "Space that output leaves free on the disk of the log directory: output that would take it is dropped, and the "
        "record counts it; by default a twentieth of the disk, but at most 4G.  Runs of users leave twice as much.",
        "1G"),
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
    Key("notify", RULES, "[]",
        "Notices to send, and their recipients: rules about many jobs, the job files and the daemon.",
        "{email: ops@example.org}"),
    Key("notifier", ACCOUNT, "jobqueue",
        "User that sends the notices; if the daemon does not run as root, its own user.", "nobody"),
    Key("mail", MAIL, "{}", "How mails are sent.", "{smtp: 'smtp://localhost:25'}"),
    Key("heartbeat", HEARTBEAT, "", "Ping of a monitor that raises the alarm when it stays away: sent while scheduling "
        "goes on.", "{url: 'https://hc-ping.com/UUID', every: 1m}"),
    Key("metrics", section(_METRICS), "{}", "Metrics that are written to a file; by default none.",
        "{textfile: /var/lib/prometheus/node-exporter/jobqueued.prom}"),
    Key("cron", section(_CRON), "{}", "Cron's tables as jobs; see docs/moving-from-cron.md.", "{live: true}"),
    Key("users", section(USERS), "{}", "What users may do with jobs of their own; see docs/users.md.",
        "{deny: ['@guests'], jobs: 20, live: 4, caps: {memory: 8G}}"),
    Key("fleet", FLEET_SETTINGS, "", "Fleet of hosts that the host is in; by default none.",
        "{etcd: https://etcd.example.org:2379}"),
)  # fmt: skip

_LIVE = ", ".join(name for name, key in SETTINGS_KEYS.items() if not key.planned)
_TOP = mapping(f"a mapping with the keys {_LIVE}", dict)


_HOSTS = ("operators", "readers", "notifier", "cron", "users", "fleet")
"""Keys about other users and hosts, which have nothing to do with a user's own instance."""
_NOT_OWN = "the file without it, as a user's own instance (--user) has to do with no other user or host"


def read_settings_parts(trees: Sequence[Node | None], *, of_user: bool = False) -> tuple[dict[str, Any], list[Refusal]]:
    """Return the valid settings of a file and its drop-ins by key, and the refusals of the others.

    An empty part has no tree. `of_user`: the settings are those of a user's own instance.
    """
    main, *others = trees
    try:
        tree = Mapping(0, 0, {} if main is None else _TOP.read(main))
        for above in others:
            tree = merged(tree, Mapping(0, 0, {} if above is None else _TOP.read(above)), [])
        entries = tree.entries
    except NotAccepted as wrong:
        return {}, list(wrong.refusals)
    idle = [entries[name].key for name in _HOSTS if of_user and name in entries]
    values, refusals = read_keys(
        {name: entry for name, entry in entries.items() if entry.key not in idle}, SETTINGS_KEYS
    )
    found = [Refusal.of(key, _NOT_OWN, "a setting of the host", code="JQ214").below(key.text) for key in idle]
    return values, [*found, *refusals]

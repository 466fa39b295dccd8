"""The keys of jobqueued.yaml; the build generates jobqueued.yaml(5) from them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from jobqueued.jobfile.keys.fleet_keys import FLEET_SETTINGS
from jobqueued.jobfile.keys.keys import RETENTION
from jobqueued.jobfile.keys.notify_keys import HEARTBEAT, MAIL, RULES
from jobqueued.jobfile.keys.user_keys import USERS
from jobqueued.jobfile.tree.drop_ins import merged
from jobqueued.jobfile.tree.yamltext import Mapping, Node, Scalar, YamlEntry, quoted
from jobqueued.jobfile.types.process_types import ACCOUNT, GROUP
from jobqueued.jobfile.types.queue_types import AMOUNTS, ESCALATION
from jobqueued.jobfile.types.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types.scalars import FLAG, Key, integer, optional, reworded, scalar, size, table, text
from jobqueued.jobfile.types.time_types import ZONE
from jobqueued.jobfile.types.types import each, mapping, one_or_more, read_keys, section


def _resources(entries: dict[str, YamlEntry]) -> dict[str, int]:
    taken = [entry.key for entry in entries.values() if entry.key.text in _VARIABLES]
    if taken:
        accepted = f"another name, because {_TAKEN} have other meanings"
        raise NotAccepted(*(Refusal.of(key, accepted, quoted(key.text)) for key in taken))
    return dict(AMOUNTS.read(Mapping(0, 0, entries)))


def _reserved(entries: dict[str, YamlEntry]) -> dict[str, int]:
    others = [entry.key for entry in entries.values() if entry.key.text not in _BOTH]
    if others:
        raise NotAccepted(*(Refusal.of(key, "cpu or memory", quoted(key.text)) for key in others))
    return dict(AMOUNTS.read(Mapping(0, 0, entries)))


def _limit(node: Node) -> int:
    """Return the maximum number of live runs of one tag."""
    limits = _TAG.read(node)
    if not limits:
        raise NotAccepted(Refusal.of(node, _TAG.accepted))
    return int(limits["live"])


def _tags(entries: dict[str, YamlEntry]) -> dict[str, int]:
    """Return tag → maximum number of live runs."""
    lists = [entry.key for entry in entries.values() if "," in entry.key.text]
    if lists:
        raise NotAccepted(*(Refusal.of(key, "a tag without a comma", quoted(key.text)) for key in lists))
    return dict(zip(entries, each(((f".{tag}", it.value) for tag, it in entries.items()), _limit), strict=True))


_BOTH = ("cpu", "memory")
_VARIABLES = ("cpus", "job", "run", "attempt", "due", "invocation_id", "invocation-id", "invocation.id")
"""Names that can't be used, because their variables (JOBQUEUE_JOB …) have another meaning for a command."""
_TAKEN = "cpus, job, run, attempt, due and invocation_id"
_RESOURCES = mapping(AMOUNTS.accepted, _resources, AMOUNTS.schema)
_RESERVE = mapping("a mapping with the keys cpu and memory such as {cpu: 0.5, memory: 1G}", _reserved)

_LIVE_RUNS = Key("live", integer(1, 100_000), "", "Runs of jobs with this tag that can be live at the same time.", "4")
_TAG = reworded(section(table(_LIVE_RUNS)), "a mapping with the key live such as {live: 4}")
_TAGS = mapping(
    "a mapping of tags to their limits such as {nightly: {live: 4}}", _tags, {"additionalProperties": _TAG.schema}
)

_PERCENT = "([1-9][0-9]?)%"


def _percent(node: Scalar) -> int:
    found = re.fullmatch(_PERCENT, node.text)
    if found is None:
        raise ValueError
    return int(found[1])


_PART = scalar("percentage", "a percentage such as 40%, from 1% to 99%", _percent)
_PRESSURE = section(
    table(
        Key("cpu", _PART, "", "Share of time in which a task waits for CPU.", "80%"),
        Key("memory", _PART, "", "Share of time in which a task waits for memory.", "10%"),
        Key("io", _PART, "", "Share of time in which a task waits for disks.", "40%"),
        Key(
            "below",
            integer(-1000, 1000),
            "0",
            "Lowest priority of runs that start under pressure. The priority includes its growth by `escalation`.",
            "10",
        ),
    )
)

_PROM = text("an absolute path that ends in .prom such as /var/lib/jobqueued.prom", r"/(?:[^\0]*/)?[^/\0]+\.prom")
_METRICS = table(
    Key(
        "textfile",
        _PROM,
        "",
        "File for the textfile collector of node_exporter. The daemon writes the file at most every 15 s.",
        "/var/lib/prometheus/node-exporter/jobqueued.prom",
    ),
)

_CRON = table(
    Key(
        "live",
        FLAG,
        "false",
        "Run the jobs of cron's own tables while no other cron runs: /etc/crontab, /etc/cron.d, users' crontabs, and "
        "/etc/anacrontab if anacron is not installed.",
        "true",
    ),
    Key(
        "expand",
        FLAG,
        "false",
        "Make one job for each script in /etc/cron.daily and similar directories, instead of one job for all scripts.",
        "true",
    ),
)

_GROUPS = one_or_more(GROUP, least=0)

SETTINGS_KEYS = table(
    Key("max_running", optional(integer(1, 100_000)), "none",
        "Runs that can be live on this host at the same time.", "8"),
    Key("timezone", ZONE, "",
        "Time zone of jobs that have no `timezone`. The default is the host's time zone.", "Europe/Berlin"),
    Key("retention", section(RETENTION), "{}", "History to keep of each job.", "{runs: 500, age: 365d, bytes: 10G}"),
    Key("max_use", optional(size("1M", "999T")), "none",
        "Space for the records and output of all jobs together, and 8 KiB for each run. Beyond this limit, the oldest "
        "runs of the job that uses the most space are deleted first.", "20G"),
    Key("keep_free", size("0", "999T"), "",
        "Free space that output must leave on the log directory's disk. Output that would use this space is dropped, "
        "and the record has the number of dropped bytes. The default is a twentieth of the disk, but at most 4G. "
        "Users' runs must leave twice as much.", "1G"),
    Key("resources", _RESOURCES, "{}",
        "Units of each resource and lock that all live runs together can hold. The default for cpu and memory is the "
        "host's amount minus `reserve`.", "{gpu: 2, license: 5, memory: 16G}"),
    Key("reserve", _RESERVE, "{}",
        "Host CPU and memory that jobs do not get. An amount that `resources` sets is not reduced.",
        "{cpu: 0.5, memory: 1G}"),
    Key("escalation", ESCALATION, "{points: 1, every: 1m}",
        "How fast a run's priority grows while the run waits, for jobs without `escalation`.",
        "{points: 2, every: 5m}"),
    Key("tags", _TAGS, "{}",
        "Limits of live runs that all jobs with a tag share. A run of a job with several tags counts for each of them. "
        "Users' jobs do not count and are not limited.", "{nightly: {live: 4}, database: {live: 1}}"),
    Key("pressure", _PRESSURE, "{}",
        "Limits on the host's pressure (the kernel's PSI). While a limit is exceeded, runs of low priority do "
        "not start.", "{cpu: 80%, io: 40%, below: 10}"),
    Key("operators", _GROUPS, "[jobqueue]",
        "Groups whose members can see everything, run, stop and pause jobs, and put the host on hold.",
        "[jobqueue, wheel]"),
    Key("readers", _GROUPS, "[]", "Groups whose members can see everything but change nothing.", "[adm]"),
    Key("notify", RULES, "[]",
        "Rules about jobs, job files and the daemon: the notices to send, and their recipients.",
        "{email: ops@example.org}"),
    Key("notifier", ACCOUNT, "jobqueue",
        "User that sends the notices. A daemon that does not run as root sends them as its own user.", "nobody"),
    Key("mail", MAIL, "{}", "Settings for sending mails.", "{smtp: 'smtp://localhost:25'}"),
    Key("heartbeat", HEARTBEAT, "",
        "Requests to a monitor while the daemon can start runs. The monitor raises an alarm if no more requests come.",
        "{url: 'https://hc-ping.com/UUID', every: 1m}"),
    Key("metrics", section(_METRICS), "{}",
        "File for metrics. Without this key, the daemon writes none.",
        "{textfile: /var/lib/prometheus/node-exporter/jobqueued.prom}"),
    Key("cron", section(_CRON), "{}",
        "Settings for running cron's tables; see docs/moving-from-cron.md.", "{live: true}"),
    Key("users", section(USERS), "{}",
        "Limits on users' own jobs; see docs/users.md.", "{deny: ['@guests'], jobs: 20, live: 4, caps: {memory: 8G}}"),
    Key("fleet", FLEET_SETTINGS, "",
        "Fleet that this host is in. Without this key, the host is in no fleet.",
        "{etcd: https://etcd.example.org:2379}"),
)  # fmt: skip

_LIVE = ", ".join(name for name, key in SETTINGS_KEYS.items() if not key.planned)
_TOP = mapping(f"a mapping with the keys {_LIVE} such as {{max_running: 8}}", dict)


_HOSTS = ("operators", "readers", "notifier", "cron", "users", "fleet")
"""Keys about other users and hosts, which a user's own instance does not have."""
_NOT_OWN = "the file without this key, because a user's own instance (--user) does not affect other users or hosts"


def read_settings_parts(trees: Sequence[Node | None], *, of_user: bool = False) -> tuple[dict[str, Any], list[Refusal]]:
    """Return the valid settings in a file and its drop-ins, by key, and the refusals of invalid settings.

    The tree of an empty file is None. `of_user`: whether the settings are for a user's own instance.
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

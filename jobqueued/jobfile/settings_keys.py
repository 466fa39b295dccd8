"""The keys of jobqueued.yaml, as keys.py has those of job files; jobqueued.yaml(5) comes from it."""

from __future__ import annotations

import re
from typing import Any

from jobqueued.jobfile.keys import RETENTION, ZONE
from jobqueued.jobfile.queue_types import AMOUNTS, ESCALATION
from jobqueued.jobfile.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types import (
    ANYTHING,
    Key,
    integer,
    mapping,
    optional,
    read_keys,
    scalar,
    section,
    table,
)
from jobqueued.jobfile.yamltext import Entry, Mapping, Node, Scalar, quoted


def _resources(entries: dict[str, Entry]) -> dict[str, int]:
    taken = [entry.key for entry in entries.values() if entry.key.text in ("cpus", "job", "run", "attempt", "due")]
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
_TAKEN = "cpus, job, run, attempt and due"
"""Names whose variables (JOBQUEUE_JOB …) tell a command other things."""
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
        Key("cpu", _PART, "", "In how much of the time work may wait for CPU.", "80%"),
        Key("memory", _PART, "", "In how much of the time work may wait for memory.", "10%"),
        Key("io", _PART, "", "In how much of the time work may wait for disks.", "40%"),
        Key("below", integer(-1000, 1000), "0", "Runs of less priority, as far as it has grown, wait then.", "10"),
    )
)

SETTINGS_KEYS = table(
    Key("max_running", optional(integer(1, 100_000)), "none", "How many runs may be live on this host at a time.", "8"),
    Key("timezone", ZONE, "", "The zone of jobs that name none; else the host's.", "Europe/Berlin"),
    Key("retention", section(RETENTION), "{}", "How much history each job keeps.",
        "{runs: 500, age: 365d, bytes: 10G}"),
    Key("resources", _RESOURCES, "{}", "How much there is for jobs that ask for it: of cpu and memory, else what the "
        "host has; of whatever else comes in units, for `resources` and `locks`.", "{gpu: 2, license: 5, memory: 16G}"),
    Key("reserve", _RESERVE, "{}", "How much of the host's cpu and memory is kept for all that is no job.",
        "{cpu: 0.5, memory: 1G}"),
    Key("escalation", ESCALATION, "{points: 1, every: 1m}",
        "How the priority of a waiting run grows, where its job does not say.",
        "{points: 2, every: 5m}"),
    Key("pressure", _PRESSURE, "{}",
        "When the host has too much to do for runs of low priority to start (the kernel's PSI).",
        "{cpu: 80%, io: 40%, below: 10}"),
    Key("notify", ANYTHING, "", "The channels for notices.", "{smtp: localhost}", planned=True),
    Key("users", ANYTHING, "", "Who may have job files of their own.", "{allow: all}", planned=True),
    Key("metrics", ANYTHING, "", "Where figures are offered.", "{listen: 9100}", planned=True),
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

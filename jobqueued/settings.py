"""What /etc/jobqueued.yaml says about the daemon itself."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.core.scheduler_state import HostLimits
from jobqueued.jobfile.keys import RETENTION, ZONE
from jobqueued.jobfile.queue_types import AMOUNTS, ESCALATION, made
from jobqueued.jobfile.refusal import NotAccepted, Refusal
from jobqueued.jobfile.types import (
    ANYTHING,
    Key,
    ValueType,
    integer,
    mapping,
    optional,
    read_keys,
    scalar,
    section,
    table,
)
from jobqueued.jobfile.yamltext import MAX_BYTES, Entry, Mapping, Scalar, quoted, read_tree
from jobqueued.model import CORE, CPU, DAY, MEMORY, ONE_A_MINUTE, Escalation, Problem


@dataclass(frozen=True, slots=True)
class Retention:
    """How much history each job keeps: what is beyond any of the bounds goes (`age` in ns)."""

    runs: int = 100
    age: int = 90 * DAY
    bytes: int = 1 << 30


def host_timezone(etc: Path = Path("/etc")) -> str:
    """The name of the host's zone: /etc/timezone (Debian's), or where /etc/localtime points, else UTC."""
    for name in (_written(etc / "timezone"), _linked_zone(etc / "localtime")):
        try:
            return ZoneInfo(name).key
        except (KeyError, ValueError, OSError):
            continue
    return "UTC"


def machine_id(file: Path = Path("/etc/machine-id")) -> str:
    """What tells this host from others, so that a fleet's `H` do not all fall on the same minute; "" where nothing."""
    return _written(file)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of jobqueued.yaml; without `max_running` any number of runs may be live."""

    max_running: int | None = None
    resources: dict[str, int] = field(default_factory=dict)
    reserve: dict[str, int] = field(default_factory=dict)
    escalation: Escalation = ONE_A_MINUTE
    pressure: dict[str, int] = field(default_factory=dict)
    timezone: str = field(default_factory=host_timezone)
    retention: Retention = Retention()

    @property
    def calm(self) -> int:
        """The effective priority from which on runs start under pressure, too."""
        return self.pressure.get("below", 0)


def capacity(config: Settings, cores: int, memory: int) -> dict[str, int]:
    """How many units of each resource jobs have: what the settings say, else the host's own without the reserve.

    `cores` and `memory` (bytes) are the host's; of CPU the units are thousandths of a core.
    """
    own = {CPU: cores * CORE - config.reserve.get(CPU, 0), MEMORY: memory - config.reserve.get(MEMORY, 0)}
    return {**{name: max(0, amount) for name, amount in own.items()}, **config.resources}


def limits_of(config: Settings, host: str, cpus: list[int], memory: int) -> HostLimits:
    """What the queue may give out on a host of this name, with CPUs of these numbers and so many bytes of memory."""
    resources = capacity(config, len(cpus), memory)
    return HostLimits(host, config.max_running, resources, tuple(cpus), config.escalation, config.calm)


def read_settings(path: Path) -> tuple[Settings, list[Problem]]:
    """The settings of a file, with the default for each that is missing or wrong; no file: all defaults."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Settings(), []
    except OSError as error:
        return Settings(), [Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]
    tree, problems = read_tree(data, str(path))
    values: dict[str, Any] = {}
    if tree is not None:
        try:
            values, refusals = read_keys(_TOP.read(tree), SETTINGS_KEYS)
        except NotAccepted as wrong:
            refusals = list(wrong.refusals)
        problems += [refusal.problem(str(path)) for refusal in refusals]
    return Settings(**values), problems


def _written(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _linked_zone(link: Path) -> str:
    return os.path.realpath(link).partition("/zoneinfo/")[2]


def _retention() -> ValueType:
    return made(section(RETENTION), lambda _node, values: Retention(**values))


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
"""Whose variables (JOBQUEUE_JOB …) tell a command other things."""
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
    Key("retention", _retention(), "{}", "How much history each job keeps.", "{runs: 500, age: 365d, bytes: 10G}"),
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

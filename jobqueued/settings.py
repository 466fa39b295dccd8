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
from jobqueued.jobfile.queue_types import AMOUNTS, ESCALATION
from jobqueued.jobfile.types import (
    ANYTHING,
    Key,
    ValueType,
    Wrong,
    integer,
    mapping,
    optional,
    read_keys,
    refused,
    scalar,
    section,
    table,
)
from jobqueued.jobfile.yamltext import MAX_BYTES, Entry, Mapping, Scalar, quoted, read_tree
from jobqueued.model import CPU, DAY, MEMORY, ONE_A_MINUTE, Escalation, Problem


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
    own = {CPU: cores * 1000 - config.reserve.get(CPU, 0), MEMORY: memory - config.reserve.get(MEMORY, 0)}
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
            values, wrong = read_keys(_TOP.read(tree), SETTINGS_KEYS)
        except Wrong as refused:
            wrong = refused.problems
        problems += [problem._replace(file=str(path)) for problem in wrong]
    return Settings(**values), problems


def _written(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _linked_zone(link: Path) -> str:
    return os.path.realpath(link).partition("/zoneinfo/")[2]


def _retention() -> ValueType:
    keys = section(RETENTION)
    return ValueType(keys.name, keys.accepted, lambda node: Retention(**keys.read(node)), keys.schema, keys.keys)


def _resources(entries: dict[str, Entry]) -> dict[str, int]:
    taken = [entry.key for entry in entries.values() if entry.key.text in ("cpus", "job", "run", "attempt", "due")]
    if taken:
        raise Wrong([refused(key, f"another name, as {_TAKEN} mean something else", quoted(key.text)) for key in taken])
    return dict(AMOUNTS.read(Mapping(0, 0, entries)))


def _reserved(entries: dict[str, Entry]) -> dict[str, int]:
    problems = [refused(key, "cpu or memory", quoted(key.text)) for key, _ in entries.values() if key.text not in _BOTH]
    if problems:
        raise Wrong(problems)
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

SETTINGS_KEYS = table(
    Key("max_running", optional(integer(1, 100_000)), "none", "Runs that may be live on this host at a time.", "8"),
    Key("timezone", ZONE, "", "Time zone of jobs that name none; by default the host's.", "Europe/Berlin"),
    Key("retention", _retention(), "{}", "History to keep of each job.", "{runs: 500, age: 365d, bytes: 10G}"),
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
    Key("notify", ANYTHING, "", "Channels for notices.", "{smtp: localhost}", planned=True),
    Key("users", ANYTHING, "", "Users that may have job files of their own.", "{allow: all}", planned=True),
    Key("metrics", ANYTHING, "", "Endpoint for metrics.", "{listen: 9100}", planned=True),
    Key("fleet", ANYTHING, "", "The other hosts.", "{etcd: here}", planned=True),
)  # fmt: skip

_LIVE = ", ".join(name for name, key in SETTINGS_KEYS.items() if not key.planned)
_TOP = mapping(f"a mapping with the keys {_LIVE}", dict)

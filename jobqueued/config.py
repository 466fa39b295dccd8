"""Where things are (the command line's paths), and what /etc/jobqueued.yaml says about the daemon itself."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.child.journald import ADDRESS
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

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Paths:
    """The daemon's file and directories."""

    config: Path
    jobs: Path
    state: Path
    run: Path
    logs: Path
    journal: Path
    """The socket of journald."""

    @classmethod
    def system(cls) -> Paths:
        """Those of the system's own daemon."""
        state, logs = Path("/var/lib/jobqueue"), Path("/var/log/jobqueue")
        run, journal = Path("/run/jobqueue"), Path(ADDRESS)
        return cls(Path("/etc/jobqueued.yaml"), Path("/etc/jobqueue.d"), state, run, logs, journal)

    @classmethod
    def under(cls, root: Path) -> Paths:
        """All in one directory, as ``--root`` has it; so nothing goes to the host's journal."""
        state, logs = root / "state", root / "logs"
        return cls(root / "jobqueued.yaml", root / "jobqueue.d", state, root / "run", logs, root / "journal")

    @classmethod
    def chosen(cls, root: Path | None, **options: Path | None) -> Paths:
        """Those under `root` (None: the system's), each replaced by the option of its name where that is given."""
        base = cls.system() if root is None else cls.under(root.absolute())
        return replace(base, **{name: path.absolute() for name, path in options.items() if path is not None})

    @property
    def control(self) -> Path:
        """The control socket."""
        return self.run / "control"

    @property
    def launcher(self) -> Path:
        """The launcher's socket."""
        return self.run / "launcher"

    @property
    def runs(self) -> Path:
        """The run directory of this boot, with one directory R for each live attempt."""
        return self.run / "runs" / BOOT_ID.read_text().strip()


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
class Config:
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


def capacity(config: Config, cores: int, memory: int) -> dict[str, int]:
    """How many units of each resource jobs have: what the settings say, else the host's own without the reserve.

    `cores` and `memory` (bytes) are the host's; of CPU the units are thousandths of a core.
    """
    own = {CPU: cores * 1000 - config.reserve.get(CPU, 0), MEMORY: memory - config.reserve.get(MEMORY, 0)}
    return {**{name: max(0, amount) for name, amount in own.items()}, **config.resources}


def limits_of(config: Config, host: str, cpus: list[int], memory: int) -> HostLimits:
    """What the queue may give out on a host of this name, with CPUs of these numbers and so many bytes of memory."""
    resources = capacity(config, len(cpus), memory)
    return HostLimits(host, config.max_running, resources, tuple(cpus), config.escalation, config.calm)


def read_config(path: Path) -> tuple[Config, list[Problem]]:
    """The settings of a file, with the default for each that is missing or wrong; no file: all defaults."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Config(), []
    except OSError as error:
        return Config(), [Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]
    tree, problems = read_tree(data, str(path))
    values: dict[str, Any] = {}
    if tree is not None:
        try:
            values, wrong = read_keys(_TOP.read(tree), CONFIG_KEYS)
        except Wrong as refused:
            wrong = refused.problems
        problems += [problem._replace(file=str(path)) for problem in wrong]
    return Config(**values), problems


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
        Key("cpu", _PART, "", "In how much of the time work may wait for CPU.", "80%"),
        Key("memory", _PART, "", "In how much of the time work may wait for memory.", "10%"),
        Key("io", _PART, "", "In how much of the time work may wait for disks.", "40%"),
        Key("below", integer(-1000, 1000), "0", "Runs of less priority, as far as it has grown, wait then.", "10"),
    )
)

CONFIG_KEYS = table(
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

_LIVE = ", ".join(name for name, key in CONFIG_KEYS.items() if not key.planned)
_TOP = mapping(f"a mapping with the keys {_LIVE}", dict)

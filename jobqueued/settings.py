"""The daemon's own settings: what /etc/jobqueued.yaml says, else what the host says."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.child import atomic_file
from jobqueued.child.trust import Refused, check_path
from jobqueued.core.host_limits import HostLimits
from jobqueued.jobfile.settings_keys import read_settings_tree
from jobqueued.jobfile.yamltext import MAX_BYTES, read_tree
from jobqueued.model import CORE, CPU, DAY, MEMORY, Escalation
from jobqueued.notify import Heartbeat, Rule
from jobqueued.problem import Problem
from jobqueued.timing.schedule import LEAPING
from jobqueued.users import UserLimits

_ONE_A_MINUTE, _AS_USUAL = Escalation(), UserLimits()


@dataclass(frozen=True, slots=True)
class Retention:
    """The history that each job keeps: what is beyond any of the bounds goes (`age` in ns)."""

    runs: int = 100
    age: int = 90 * DAY
    bytes: int = 1 << 30


def host_timezone(etc: Path = Path("/etc")) -> str:
    """The name of the host's zone: /etc/timezone (Debian's), or where /etc/localtime points, else UTC."""
    for name in (_written(etc / "timezone"), _linked_zone(etc / "localtime")):
        try:
            return ZoneInfo(name.removeprefix(LEAPING)).key
        except (KeyError, ValueError, OSError):
            continue
    return "UTC"


def machine_id(file: Path = Path("/etc/machine-id")) -> str:
    """The id that tells this host from others, so that a fleet's `H` do not all fall on one minute; "" without one."""
    return _written(file)


OPERATORS = ("jobqueue",)


def user_name(uid: int) -> str | None:
    """The name of a user, or the number of one without; None: root, who may be anybody."""
    if uid == 0:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of jobqueued.yaml; without `max_running` any number of runs may be live."""

    max_running: int | None = None
    resources: dict[str, int] = field(default_factory=dict)
    reserve: dict[str, int] = field(default_factory=dict)
    escalation: Escalation = _ONE_A_MINUTE
    pressure: dict[str, int] = field(default_factory=dict)
    timezone: str = field(default_factory=host_timezone)
    retention: Retention = Retention()
    operators: tuple[str, ...] = OPERATORS
    readers: tuple[str, ...] = ()
    max_use: int | None = None
    keep_free: int | None = None
    """Bytes that output leaves free on its disk; None: by the size of that."""
    notify: tuple[Rule, ...] = ()
    notifier: str = "jobqueue"
    mail: dict[str, Any] = field(default_factory=dict)
    heartbeat: Heartbeat | None = None
    metrics: dict[str, str] = field(default_factory=dict)
    cron: dict[str, bool] = field(default_factory=dict)
    users: UserLimits = _AS_USUAL

    @property
    def calm(self) -> int:
        """The effective priority from which on runs start under pressure, too."""
        return self.pressure.get("below", 0)


def capacity(config: Settings, cores: int, memory: int) -> dict[str, int]:
    """The units of each resource that jobs have: what the settings say, else the host's own without the reserve.

    `cores` and `memory` (bytes) are the host's; of CPU the units are thousandths of a core.
    """
    own = {CPU: cores * CORE - config.reserve.get(CPU, 0), MEMORY: memory - config.reserve.get(MEMORY, 0)}
    return {**{name: max(0, amount) for name, amount in own.items()}, **config.resources}


def limits_of(config: Settings, host: str, cpus: list[int], memory: int) -> HostLimits:
    """The limits of a host of this name, with CPUs of these numbers and so many bytes of memory."""
    return HostLimits(
        host, config.max_running, capacity(config, len(cpus), memory), tuple(cpus), config.escalation, config.calm,
        machine_id(), config.users.live, config.users.waiting,
    )  # fmt: skip


def read_settings(path: Path, daemon: int | None = None) -> tuple[Settings, list[Problem]]:
    """The settings of a file, with the default for each that is missing or wrong; no file: all defaults.

    `daemon` is the user of the daemon that reads it, who believes only what nobody but root and that user can change;
    None: nobody's.
    """
    try:
        if daemon is not None:
            check_path(str(path.absolute()), daemon)
        with open(atomic_file.to_read(str(path), follow=True), "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Settings(), []
    except OSError as error:
        return Settings(), [Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror}")]
    except Refused as refused:
        return Settings(), [Problem(str(path), 0, 0, "", str(refused))]
    tree, problems = read_tree(data, str(path))
    values, refusals = read_settings_tree(tree) if tree is not None else ({}, [])
    if "retention" in values:
        values["retention"] = Retention(**values["retention"])
    if "users" in values:
        values["users"] = UserLimits(**values["users"])
    errors = [problem for problem in problems if problem.severity == "error"]
    return Settings(**values), [*errors, *(refusal.problem(str(path)) for refusal in refusals)]


def _written(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""


def _linked_zone(link: Path) -> str:
    return os.path.realpath(link).partition("/zoneinfo/")[2]

"""The daemon's settings, from /etc/jobqueued.yaml; the host's values are the defaults."""

from __future__ import annotations

import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jobqueued.base.instants import DAY
from jobqueued.base.problem import Problem
from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.trust import FileRefused, check_path, check_status, distrust
from jobqueued.core.records.host_limits import HostLimits
from jobqueued.jobfile.keys.settings_keys import read_settings_parts
from jobqueued.jobfile.scopes import Locality
from jobqueued.jobfile.tree.drop_ins import FileText, in_its_file
from jobqueued.jobfile.tree.yamltext import MAX_BYTES, at_once, read_trees_in_steps
from jobqueued.model.fleet import FLEET, FleetSettings
from jobqueued.model.job import CORE, CPU, MEMORY, Escalation
from jobqueued.model.notify import Heartbeat, NotifyRule
from jobqueued.model.users import UserLimits
from jobqueued.settings.drop_in_files import drop_in_directory, listed
from jobqueued.settings.drop_in_files import places as drop_ins
from jobqueued.settings.host_names import host_timezone, machine_id

_ONE_A_MINUTE, _AS_USUAL = Escalation(), UserLimits()


@dataclass(frozen=True, slots=True)
class Retention:
    """The limits of each job's history. Records that exceed any of these limits are deleted. `age` is in ns."""

    runs: int = 100
    age: int = 90 * DAY
    bytes: int = 1 << 30


OPERATORS = ("jobqueue",)


def user_name(uid: int) -> str | None:
    """Return a user's name, or the UID if the user has no name. Return None for root, who may act as any user."""
    if uid == 0:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in jobqueued.yaml. If `max_running` is None, any number of runs may be live."""

    max_running: int | None = None
    resources: dict[str, int] = field(default_factory=dict)
    reserve: dict[str, int] = field(default_factory=dict)
    escalation: Escalation = _ONE_A_MINUTE
    pressure: dict[str, int] = field(default_factory=dict)
    timezone: str = ""
    """The timezone of jobs that set none, or "" for the host's timezone."""
    retention: Retention = Retention()
    operators: tuple[str, ...] = OPERATORS
    readers: tuple[str, ...] = ()
    max_use: int | None = None
    keep_free: int | None = None
    """Bytes that output must leave free on its disk; None means a value that depends on the disk's size."""
    notify: tuple[NotifyRule, ...] = ()
    notifier: str = "jobqueue"
    mail: dict[str, Any] = field(default_factory=dict)
    heartbeat: Heartbeat | None = None
    metrics: dict[str, str] = field(default_factory=dict)
    cron: dict[str, bool] = field(default_factory=dict)
    users: UserLimits = _AS_USUAL
    tags: dict[str, int] = field(default_factory=dict)
    """Tag → maximum number of live runs of the host's jobs with this tag."""
    fleet: FleetSettings | None = None

    @property
    def zone(self) -> str:
        """The timezone of jobs that set none: from the settings, or the host's current timezone."""
        return self.timezone or host_timezone()

    @property
    def locality(self) -> Locality:
        """The facts about the host that are needed to read job files."""
        return Locality(self.zone, machine_id(), self.fleet)

    @property
    def calm(self) -> int:
        """The lowest effective priority that a run needs to start while the host is under pressure."""
        return self.pressure.get("below", 0)


def capacity(config: Settings, cores: int, memory: int) -> dict[str, int]:
    """Return resource → units for jobs: from the settings, or the host's capacity minus the reserve.

    `cores` and `memory` (bytes) are the host's. Units of CPU are thousandths of a core.
    """
    own = {CPU: cores * CORE - config.reserve.get(CPU, 0), MEMORY: memory - config.reserve.get(MEMORY, 0)}
    return {**{name: max(0, amount) for name, amount in own.items()}, **config.resources}


def limits_of(config: Settings, host: str, cpus: list[int], memory: int, has_slurm: bool) -> HostLimits:
    """Return the limits of a host with this name, these CPU numbers and this memory (bytes); `has_slurm`: whether the
    host has Slurm.
    """
    return HostLimits(
        host,
        config.max_running,
        capacity(config, len(cpus), memory),
        tuple(cpus),
        config.escalation,
        config.calm,
        machine_id(),
        config.users.live,
        config.users.waiting,
        "" if config.fleet is None else config.fleet.name,
        {} if config.fleet is None else {f"{FLEET}{name}": units for name, units in config.fleet.resources.items()},
        () if config.fleet is None else config.fleet.labels,
        has_slurm,
        config.tags,
    )


def read_settings(
    path: Path, daemon: int | None = None, more: Sequence[Path] = (), *, of_user: bool = False
) -> tuple[Settings, list[Problem]]:
    """Return the settings in a file and its drop-ins, and the problems; a missing or wrong setting gets its default.

    `daemon` is the user of the daemon that reads the files; files that users other than this user and root can change
    are refused. None means no check. `more`: other places for the file, in order, in case `path` does not exist. The
    drop-ins of all places are read. A place in `more` that other users can change is ignored, with a warning.
    `of_user`: whether the settings are for a user's own instance.
    """
    parts, found = _read_all(list(map(str, (path, *more))), daemon)
    if not parts:
        return Settings(), found
    trees, paths = at_once(read_trees_in_steps(parts)), [part.path for part in parts]
    problems = [problem for _, those in trees for problem in those]
    values, refusals = read_settings_parts([tree for tree, _ in trees], of_user=of_user)
    if "retention" in values:
        values["retention"] = Retention(**values["retention"])
    if "users" in values:
        values["users"] = UserLimits(**values["users"])
    errors = [problem for problem in problems if problem.severity == "error"]
    return Settings(**values), [*found, *errors, *(in_its_file(refusal.problem(), paths) for refusal in refusals)]


def settings_parts(places: Sequence[str], daemon: int) -> list[FileText]:
    """Return the settings file and its drop-ins as this user's daemon reads them, except missing or masked files.

    Raises FileRefused.
    """
    parts, problems = _read_all(places, daemon)
    if not parts:
        raise FileRefused(str(problems[-1]))
    return [part for part in parts if part.text]


def distrusted(place: str, daemon: int) -> FileRefused | None:
    """Return why a place can't be trusted, or None: other users than root and the daemon's can write to it."""
    return distrust(drop_in_directory(place), daemon, may_miss=True)


def _trusted(places: Sequence[str], daemon: int | None) -> tuple[list[str], list[Problem]]:
    """Return the first place, the others that only root and the daemon's user can change, and warnings about the rest.

    An ignored place without settings causes no warning.
    """
    found, warnings = [places[0]], []
    for place in places[1:]:
        refused = None if daemon is None else distrusted(place, daemon)
        if refused is None:
            found.append(place)
        elif file := next(filter(os.path.lexists, (place, drop_in_directory(place))), ""):
            message = f"{refused}; until then the settings in {os.path.dirname(place)} are ignored"
            warnings.append(Problem(file, 0, 0, "", message, "warning", code="JQ521"))
    return found, warnings


def _read_all(places: Sequence[str], daemon: int | None) -> tuple[list[FileText], list[Problem]]:
    """Return the parts (the file, empty if missing, and its drop-ins) and warnings.

    If a file can't be read, return [], and an error after the warnings.
    """
    places, warnings = _trusted(places, daemon)
    at = next(filter(os.path.lexists, places), places[0])
    folders = [drop_in_directory(place) for place in places]

    def names(_: int, folder: str) -> list[str]:
        nonlocal at
        at = folder
        if daemon is not None and os.path.lexists(folder):
            check_path(folder, daemon)
        return listed(folder, daemon)

    try:
        parts = [_read(at, daemon)]
        for number, name in drop_ins(folders, names):
            at = f"{folders[number]}/{name}"
            parts.append(_read(at, daemon))
    except OSError as error:
        return [], [*warnings, Problem(at, 0, 0, "", f"cannot be read: {error.strerror}", code="JQ501")]
    except FileRefused as refused:
        return [], [*warnings, Problem(at, 0, 0, "", str(refused), code="JQ502")]
    return parts, warnings


def _read(path: str, daemon: int | None) -> FileText:
    """Read a file; return an empty part if the file is missing or masked by a link to /dev/null."""
    path = os.path.abspath(path)
    try:
        if os.path.islink(path) and os.readlink(path) == os.devnull:
            if daemon is not None:
                check_path(os.path.dirname(path), daemon)
                check_status(os.lstat(path), path, daemon)
            return FileText(path, b"")
        if daemon is not None:
            check_path(path, daemon)
        with open(atomic_file.to_read(path, follow=True), "rb") as file:
            return FileText(path, file.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return FileText(path, b"")

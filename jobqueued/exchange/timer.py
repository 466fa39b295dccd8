"""Converts a systemd timer and its service to a job draft, and lists the settings that no job file can express."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from typing import Any

from jobqueued.base.instants import SECOND
from jobqueued.exchange.calendar_event import Unsayable, cron_time
from jobqueued.exchange.draft import ImportedFile, JobDraft, UniqueIds
from jobqueued.exchange.job_file import text_of
from jobqueued.exchange.unit_files import TRUE, Unit, commands_of, has_specifier, has_variable, span_of, words_of
from jobqueued.exchange.yaml_values import Written
from jobqueued.jobfile.reader import read_jobs
from jobqueued.jobfile.types.spelling import spelled_duration
from jobqueued.model.job import Job

_IGNORED = frozenset((
    "AccuracySec", "Unit", "Documentation", "WantedBy", "Type", "RemainAfterExit", "StandardOutput", "StandardError",
    "SyslogIdentifier", "After", "Before", "Wants", "DefaultDependencies", "Also", "Alias", "RequiresMountsFor",
))  # fmt: skip
"""Settings that do not affect a job, or only affect the boot order."""
_SIMPLE = {
    "User": "user",
    "Group": "group",
    "UMask": "umask",
    "Nice": "nice",
    "OOMScoreAdjust": "oom_score_adj",
    "KillSignal": "stop_signal",
}
"""Service setting → the equivalent job key."""
_MOST_GRACE = "1h"
"""The longest `kill_grace` that a job may have."""
_NEVER = "infinity"
_OF_USERS = "/systemd/user/"
"""Part of the path of units that belong to a user's service manager."""
_IONICE = {"idle": "idle", "3": "idle", "best-effort": "best-effort:4", "2": "best-effort:4"}
_PREFIXED = r"(?s)([-@:+!|]*)(.*)"


class _NotConvertible(Exception):
    """A timer can't become a job; the message is the reason."""


def read_timer(timer: Unit, service: Unit | None, file: str, name: str, timezone: str, ids: UniqueIds) -> ImportedFile:
    """Read the job of a timer with this `name`. If `service` is None, the timer's service is missing. Never raises."""
    source = ImportedFile(file, name)
    reading = _TimerImport(timer, service or {}, "" if _OF_USERS in file else "/")
    try:
        if service is None:
            raise _NotConvertible("has no service, neither in `Unit=` nor by its name")
        keys = reading.keys()
        job_id = ids.free(name)
        draft = JobDraft(id=job_id, keys=keys, means=Job(id=job_id, command="true"), differs=tuple(reading.lost))
        jobs, problems = read_jobs(text_of([draft], "x").encode(), file, timezone=timezone)
        if not jobs:
            raise _NotConvertible("; ".join(f"{problem.key}: {problem.message}" for problem in problems))
        source.drafts.append(replace(draft, means=jobs[0]))
        for text in reading.lost:
            source.add_problem(0, text)
    except (_NotConvertible, Unsayable, ValueError) as error:
        source.add_problem(0, f"{error}; it is not imported", "error")
    source.rows.append(
        {
            "line": 0,
            "type": "job",
            "schedule": "; ".join(reading.all("OnCalendar")),
            "user": reading.last("User", "root"),
            "command": "; ".join(reading.all("ExecStart")),
            "stdin": None,
            "environment": {},
            "id": source.drafts[0].id if source.drafts else None,
            "notes": [problem.message for problem in source.problems],
        }
    )
    return source


class _TimerImport:
    """The conversion of two units to a job's keys; unused settings are reported as lost."""

    def __init__(self, timer: Unit, service: Unit, directory: str) -> None:
        self._directory = directory
        self._settings: dict[str, list[str]] = {}
        for unit in (timer, service):
            for section in unit.values():
                for name, values in section.items():
                    self._settings[name] = self._settings.get(name, []) + values
        description = [*timer.get("Unit", {}).get("Description", []), *service.get("Unit", {}).get("Description", [])]
        self._settings["Description"] = description[-1:]
        self._asked = set[str]()
        self.lost: list[str] = []

    def all(self, name: str) -> list[str]:
        """Return a setting's values."""
        self._asked.add(name)
        return self._settings.get(name, [])

    def last(self, name: str, default: str = "") -> str:
        """Return a setting's last value, which is the effective value, or `default` if there is none."""
        return (self.all(name) or [default])[-1]

    def keys(self) -> dict[str, Any]:
        """Return all of the job's keys; add settings without an equivalent key to `lost`."""
        self._asked.clear()
        keys: dict[str, Any] = {"description": self.last("Description")}
        keys |= self._when() | self._command()
        for setting, key in _SIMPLE.items():
            if value := self.last(setting):
                keys[key] = Written(self._plain(setting, value))
        keys.setdefault("user", "root")
        keys |= self._limits()
        directory = self._plain("WorkingDirectory", self.last("WorkingDirectory", self._directory))
        keys["working_directory"] = "" if directory.removeprefix("-") == "~" else directory
        keys["overlap"] = "skip"
        keys["ionice"] = _IONICE.get(self.last("IOSchedulingClass"), "")
        keys["leave_children"] = self.last("KillMode") in ("process", "none")
        codes = " ".join(self.all("SuccessExitStatus")).split()
        if numbers := [int(code) for code in codes if code.isdigit()]:
            keys["success_codes"] = [0, *numbers]
        if len(numbers) < len(codes):
            self.lost.append("`success_codes` has only numbers; other words of `SuccessExitStatus=` are left out")
        if files := self.all("EnvironmentFile"):
            keys["environment_file"] = [self._plain("EnvironmentFile", text.lstrip("-")) for text in files]
            if any(text.startswith("-") for text in files):
                self.lost.append("`EnvironmentFile=-…`: here the job fails if the file is missing")
        words = (word for text in self.all("Environment") for word in words_of(text))
        variables = [self._plain("Environment", word) for word in words]
        keys["environment"] = dict(word.split("=", 1) for word in variables if "=" in word)
        rest = sorted(name for name, values in self._settings.items() if values and name not in self._asked | _IGNORED)
        if rest:
            self.lost.append(f"no job key corresponds to {', '.join(f'`{name}=`' for name in rest)}")
        return {name: value for name, value in keys.items() if value not in ("", {}, [], False)}

    def _limits(self) -> dict[str, str]:
        grace = self.last("TimeoutStopSec")
        if grace in (_NEVER, "0"):
            self.lost.append(f"`kill_grace` is {_MOST_GRACE} at most, but systemd waits forever")
        grace = _MOST_GRACE if grace in (_NEVER, "0") else _span(grace)
        return {"timeout": _span(self._finite("RuntimeMaxSec")), "kill_grace": grace}

    def _finite(self, name: str) -> str:
        """Return a setting's time span, or "" if the setting is missing or infinite."""
        return "" if (value := self.last(name)) == _NEVER else value

    def _plain(self, setting: str, value: str) -> str:
        if has_specifier(value):
            raise _replaced(setting, value)
        return value.replace("%%", "%")

    def _when(self) -> dict[str, Any]:
        keys: dict[str, Any] = {}
        times = [cron_time(text) for text in self.all("OnCalendar")]
        if len({(time.seconds, time.timezone) for time in times}) > 1:
            raise Unsayable("`OnCalendar=` has several time zones or seconds, but a job can have only one of each")
        if times:
            schedules = [time.schedule for time in times]
            keys |= {"schedule": schedules if len(schedules) > 1 else schedules[0], "dst": "skip"}
            keys |= {"timezone": times[0].timezone, "seconds": times[0].seconds if times[0].seconds != "0" else ""}
        boot = self._finite("OnBootSec") or self._finite("OnStartupSec") or self._finite("OnActiveSec")
        if boot:
            keys["on"] = "boot"
            if span_of(boot) >= SECOND:
                self.lost.append(f"starts at boot, not {spelled_duration(span_of(boot))} later")
        if again := self._finite("OnUnitActiveSec") or self._finite("OnUnitInactiveSec"):
            keys["every"] = _span(again)
            self.lost.append(f"`every: {keys['every']}` counts from 1 January 1970, 00:00 UTC, not from the last run")
        if not {"schedule", "on", "every"} & keys.keys():
            raise _NotConvertible("has no time that a job file can express")
        persistent = self.last("Persistent").lower() in TRUE
        keys["catch_up"] = "latest" if persistent else "none"
        if persistent:
            keys["catch_up_window"] = "365d"
        if delay := self.last("RandomizedDelaySec"):
            keys["spread"] = _span(delay)
            if self.last("FixedRandomDelay").lower() not in TRUE:
                self.lost.append("`spread` is the same delay at each start, not a new random one")
        return keys

    def _command(self) -> dict[str, Any]:
        """Return the key with the command: the words of one command, or a shell line if there are several commands or a
        command may fail.
        """
        lines = list[tuple[str, list[str]]]()
        for setting in ("ExecStartPre", "ExecStart", "ExecStartPost"):
            for text in self.all(setting):
                lines += (self._line(setting, text, *words) for words in commands_of(text))
        if not lines:
            raise _NotConvertible("has no command")
        if len(lines) == 1 and "-" not in lines[0][0]:
            return {"command": lines[0][1]}
        joined = [f"{shlex.join(words)} || true" if "-" in prefix else shlex.join(words) for prefix, words in lines]
        if len(joined) == 1:
            return {"command": joined[0]}
        return {"command": " && ".join(f"{{ {text}; }}" if " || " in text else text for text in joined)}

    def _line(self, setting: str, text: str, first: str, *words: str) -> tuple[str, list[str]]:
        """Return a command's prefixes and words. Raises _NotConvertible."""
        found = re.fullmatch(_PREFIXED, first)
        prefix, program = (found[1], found[2]) if found else ("", first)
        if set(prefix) & set("@+!|"):
            raise _NotConvertible(f"`{setting}={text}`: a job file can't have {prefix!r} before a command")
        if not program:
            raise _NotConvertible("has no command")
        has_variables = ":" not in prefix
        if any(has_specifier(word) or (has_variables and has_variable(word)) for word in (program, *words)):
            raise _replaced(setting, text)
        plain = [word.replace("%%", "%") for word in (program, *words)]
        return prefix, [word.replace("$$", "$") for word in plain] if has_variables else plain


def _replaced(setting: str, text: str) -> _NotConvertible:
    return _NotConvertible(f"`{setting}={text}` has a specifier or variable that systemd replaces")


def _span(text: str) -> str:
    if not text:
        return ""
    span = span_of(text)
    if span < SECOND:
        raise ValueError(f"{text!r} is less than a second")
    return spelled_duration(span)

"""The file of the settings, which count from the start of the daemon on, and what has become of it since."""

from __future__ import annotations

import os

from jobqueued.instance import Instance
from jobqueued.jobdir.inbox import Signature, signature_of
from jobqueued.paths import Paths
from jobqueued.problem import Problem
from jobqueued.settings import Settings, read_settings


class SettingsFile:
    """The file at `paths.config`, and the settings that were read of it at the start."""

    def __init__(self, paths: Paths, in_force: Settings) -> None:
        self._paths, self._path, self._in_force = paths, paths.config, in_force
        self._signature: Signature | None = None
        self._problems: list[Problem] = []

    @property
    def problems(self) -> list[Problem]:
        """Problems of the file as it is now, or the warning that it is not in force; it is read if it has changed."""
        if (signature := signature_of(str(self._path))) != self._signature:
            self._signature, self._problems = signature, self._read()
        return self._problems

    def _read(self) -> list[Problem]:
        settings, problems = read_settings(self._path, os.geteuid(), of_user=self._paths.runtime is not None)
        if any(problem.severity == "error" for problem in problems):
            stays = "the settings of the last start stay in force, and with this file there is no other start"
            return [problem._replace(message=f"{problem.message}; {stays}") for problem in problems]
        if settings == self._in_force:
            return []
        remedy = f"{Instance.of(self._paths.run).restart} (live runs go on)"
        return [Problem(str(self._path), 0, 0, "", f"was changed after the start; to follow it: {remedy}", "warning")]

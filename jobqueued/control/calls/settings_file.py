"""The settings files and their later changes; the daemon reads these files only when it starts."""

from __future__ import annotations

import os
from contextlib import suppress

from jobqueued.base.problem import Problem
from jobqueued.child.contract.trust import FileRefused
from jobqueued.jobdir.file_changes import Signature
from jobqueued.jobdir.inbox import signature_of
from jobqueued.settings.drop_in_files import drop_in_directory, listed
from jobqueued.settings.instance import Instance
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings, distrusted, read_settings


class SettingsFile:
    """The settings in force, and the current files: `paths.config` or the alternative file, and drop-ins."""

    def __init__(self, paths: Paths, in_force: Settings) -> None:
        self._paths, self._in_force = paths, in_force
        self._signature: Signature | None = None
        self._problems: list[Problem] = []

    @property
    def problems(self) -> list[Problem]:
        """Problems of the current files, or a warning if they differ from the settings in force.

        Changed files are read again.
        """
        if (signature := self._looked_at()) != self._signature:
            self._signature, self._problems = signature, self._read()
        return self._problems

    def _looked_at(self) -> Signature:
        """Return the signature of all possible settings files and their drop-ins."""
        return tuple(map(_signature, map(str, self._paths.config_files)))

    def _read(self) -> list[Problem]:
        of_user = self._paths.runtime is not None
        settings, problems = read_settings(self._paths.config, os.geteuid(), self._paths.more_config, of_user=of_user)
        if any(problem.severity == "error" for problem in problems):
            stays = "the settings of the last start remain in force, but jobqueued can't start again with this file"
            return [
                problem._replace(message=f"{problem.message}; {stays}") if problem.severity == "error" else problem
                for problem in problems
            ]
        if settings == self._in_force:
            return problems
        remedy = f"{Instance.of(self._paths.run).restart} (live runs continue)"
        ignored = {problem.file for problem in problems}
        places = (place for place in map(str, self._paths.config_files) if place not in ignored)
        return [
            *problems,
            Problem(
                next(filter(os.path.lexists, places), str(self._paths.config)),
                0,
                0,
                "",
                f"has changed since the daemon started; to apply the changes: {remedy}",
                "warning",
                code="JQ519",
            ),
        ]


def _signature(path: str) -> Signature:
    """Return the signature of a file, its trust and its drop-ins; the file's later read reports any error."""
    folder, names, refused = drop_in_directory(path), list[str](), distrusted(path, os.geteuid())
    if refused is None:
        with suppress(OSError, FileRefused):
            names = sorted(listed(folder, None))
    drop_ins = (signature_of(f"{folder}/{name}") for name in names)
    return (int(refused is None), signature_of(path), signature_of(folder), *drop_ins)

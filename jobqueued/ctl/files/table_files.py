"""Cron's tables in the directories of this host's crons, read in the daemon's way but without the daemon."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueued.base.problem import Problem
from jobqueued.child.contract.trust import FileRefused, check_path
from jobqueued.crontabs.jobs import read_jobs_in_steps
from jobqueued.jobdir.cron_tables import host_of, kinds_by_place, kinds_of_host, place_of
from jobqueued.jobdir.kinds import DirectoryKind, Unreadable
from jobqueued.jobdir.scripts import Scripts
from jobqueued.jobfile.tree.yamltext import at_once
from jobqueued.settings.paths import Paths
from jobqueued.settings.settings import Settings

if TYPE_CHECKING:
    from jobqueued.jobdir.acceptance import Content


class TableFiles:
    """This host's tables, as read by a daemon with these settings that runs as this user."""

    def __init__(self, paths: Paths, config: Settings, daemon: int) -> None:
        self._paths, self._config, self._daemon = paths, config, daemon
        self._kinds, self._scripts = kinds_of_host(paths), Scripts(watched=False)
        self._host = host_of(config, config.zone)

    def all_live(self) -> Iterator[Path]:
        """Yield the tables and table directories that the daemon runs; none unless `cron: {live: true}` is set."""
        if self._config.cron.get("live"):
            (etc, kind), *others = kinds_by_place(self._paths).items()
            tables = [etc / name for name in ("crontab", "anacrontab") if kind.reads(name)]
            yield from filter(os.path.lexists, [*tables, *(directory for directory, _ in others)])

    def is_table(self, file: Path) -> bool:
        """Return whether a file has the path of a cron table."""
        kind = self._kinds.get(file.absolute().parent)
        return kind is not None and (kind.reads(file.name) or kind.is_foreign(file.name))

    def kind_in(self, directory: Path) -> DirectoryKind | None:
        """Return the kind of the tables in a directory, or None if the directory does not contain only tables."""
        return None if directory.absolute() == self._paths.crontabs[0] else self._kinds.get(directory.absolute())

    def distrust(self, directory: Path) -> list[Problem]:
        """Return why the daemon does not trust a table directory; [] if it does, or for other directories."""
        if kind := self.kind_in(directory):
            try:
                check_path(str(directory.absolute()), self._daemon, sticky=kind.sticky)
            except FileNotFoundError:
                pass
            except FileRefused as refused:
                return [Problem(str(directory), 0, 0, "", str(refused), code="JQ502")]
        return []

    def read(self, file: Path) -> Content:
        """Return the jobs and problems in a table. Raises FileRefused or OSError."""
        path, name = str(file.absolute()), str(file)
        kind = self._kinds[file.absolute().parent]
        if not kind.reads(file.name):
            return (), [Problem(ascii(name)[1:-1], 0, 0, "", kind.unread, "warning", code="JQ503")]
        try:
            data = kind.read(path, self._daemon, True)
        except Unreadable:  # only the daemon is allowed to read it
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path) from None
        host = self._host._replace(scripts=self._scripts.of_table(path))
        place = place_of(kind, path, expand=self._config.cron.get("expand", False))
        return at_once(read_jobs_in_steps(data, name, place, host))

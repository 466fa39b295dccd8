"""The scripts in directories that system tables run with run-parts."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice

from jobqueued.child.watcher import inotify
from jobqueued.crontabs.run_parts import is_script

_MOST_NAMES, MOST_SCRIPTS = 10_000, 500
_CHANGES = (
    inotify.IN_CREATE
    | inotify.IN_MOVED_TO
    | inotify.IN_MOVED_FROM
    | inotify.IN_DELETE
    | inotify.IN_CLOSE_WRITE
    | inotify.IN_ATTRIB
)


class Scripts:
    """The directories that tables run, each with its tables and the scripts that were reported last."""

    def __init__(self, *, watched: bool = True) -> None:
        """`watched`: whether to watch the directories for changes."""
        self._told: dict[str, tuple[str, ...]] = {}
        self._tables: dict[str, set[str]] = {}
        self._inotify: int | None = None
        self._watched = watched

    def fileno(self) -> int | None:
        """Return the inotify descriptor, or None if no table runs a directory or inotify is not available."""
        return self._inotify

    def close(self) -> None:
        """Stop watching."""
        if self._inotify is not None:
            os.close(self._inotify)
            self._inotify = None

    def of_table(self, table: str) -> Mapping[str, tuple[str, ...]]:
        """Return a mapping of directory → scripts for the table at this path.

        If the scripts change, the table must be re-read.
        """
        return _Asked(self, table)

    def ask(self, directory: str, table: str) -> tuple[str, ...]:
        """Return the scripts that run-parts finds in a directory."""
        self._tables.setdefault(directory, set()).add(table)
        if self._watched:
            with suppress(OSError):  # without a watch, a rescan finds changes once a minute
                self._inotify = inotify.instance() if self._inotify is None else self._inotify
                inotify.watch(self._inotify, directory, _CHANGES)
        self._told[directory] = found = _listed(directory)
        return found

    def reported_to(self, name: str) -> dict[str, tuple[str, ...]]:
        """Return directory → scripts, as reported last to the table that has this name in state.db."""
        of_table = (each for each, tables in self._tables.items() if any(it.endswith(f"/{name}") for it in tables))
        return {directory: self._told[directory] for directory in sorted(of_table)}

    def drain(self) -> set[str]:
        """Process inotify's events; return the tables that must be re-read."""
        if self._inotify is not None:
            for _ in inotify.events(self._inotify):
                pass
        return self.changed()

    def changed(self) -> set[str]:
        """List all directories; return the tables whose scripts have changed."""
        changed = [directory for directory, told in self._told.items() if _listed(directory) != told]
        return {table for directory in changed for table in self._tables[directory]}


class _Asked(Mapping[str, tuple[str, ...]]):
    """A mapping of directory → scripts that records which directories a table runs."""

    def __init__(self, scripts: Scripts, table: str) -> None:
        self._scripts, self._table = scripts, table

    def __getitem__(self, directory: str) -> tuple[str, ...]:
        return self._scripts.ask(directory, self._table)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _listed(directory: str) -> tuple[str, ...]:
    """Return the executable files whose names run-parts accepts, in the order of run-parts."""
    try:
        with os.scandir(directory) as entries:
            names = [entry.name for entry in islice(entries, _MOST_NAMES) if is_script(entry.name) and _runs(entry)]
    except OSError:
        return ()
    return tuple(sorted(names, key=os.fsencode)[:MOST_SCRIPTS])


def _runs(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        found = entry.stat()
        return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)
    return False

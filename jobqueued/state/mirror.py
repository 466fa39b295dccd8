"""A copy in memory of what only state.db has: it goes into the next one where this one can't be read any more.

The scheduler has all else that is no history.  It is small, as there may be many texts of files, and keys.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from jobqueued.model import Record, Run
from jobqueued.submission import KEY

_OF_A_COMMIT = ("saved", "untaken")
"""The facts that each commit has of its own."""


class Keys:
    """The keys by which submissions were asked for, by their jobs: some 40 bytes each."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    def put(self, keys: Iterable[tuple[str, str]]) -> None:
        """Add keys of jobs; TypeError, if one is none."""
        for pair in keys:
            if not all(isinstance(it, str) for it in pair):
                raise TypeError(f"{pair!r} are no job and its key")
            if self._db is None:
                self._db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
                self._db.execute("CREATE TABLE asked (job TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID")
            self._db.execute("INSERT OR REPLACE INTO asked VALUES (?, ?)", pair)

    def forget(self, jobs: Iterable[str]) -> None:
        """Drop the keys of jobs."""
        if self._db is not None:
            self._db.executemany("DELETE FROM asked WHERE job = ?", [(job,) for job in jobs])

    def by_job(self) -> dict[str, str]:
        """All of them."""
        return {} if self._db is None else dict(self._db.execute("SELECT job, key FROM asked"))


class Mirror:
    """Facts about the host, texts of accepted files, and keys of submissions, as the last commit has left them."""

    def __init__(self, meta: Mapping[str, str], files: Mapping[str, bytes], keys: Keys) -> None:
        self._meta, self._files, self._keys = dict[str, str](), dict[str, bytes](), keys
        self.follow(meta, files, {})

    def follow(
        self, meta: Mapping[str, str | None], files: Mapping[str, bytes | None], keys: Mapping[str, str]
    ) -> None:
        """Take over what a commit has changed; None: it is no more."""
        _change(self._meta, meta)
        _change(self._files, {name: None if it is None else zlib.compress(it, 1) for name, it in files.items()})
        self._keys.put(keys.items())

    def forget_keys(self, jobs: Iterable[str]) -> None:
        """Drop the keys of submissions of which nothing is kept any more."""
        self._keys.forget(jobs)

    @property
    def meta(self) -> dict[str, str]:
        """The facts by name, without those that each commit has of its own."""
        return {name: value for name, value in self._meta.items() if name not in _OF_A_COMMIT}

    @property
    def files(self) -> dict[str, bytes]:
        """The texts by the names of their files."""
        return {name: zlib.decompress(text) for name, text in self._files.items()}

    @property
    def keys(self) -> dict[str, str]:
        """The keys by the jobs of their submissions."""
        return self._keys.by_job()


def keys_in(ends: Iterable[tuple[Run, Record | None]]) -> dict[str, str]:
    """The keys by which submissions were asked for, by their jobs, as records of their runs tell them."""
    told = ((run.id.job, record.get("submission_key")) for run, record in ends if record is not None)
    return {job: key for job, key in told if isinstance(key, str) and KEY.fullmatch(key)}


def _change(known: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if value is None:
            known.pop(name, None)
        else:
            known[name] = value

"""An in-memory copy of data that only state.db has, to write a new state.db if the old one becomes unreadable.

The scheduler has all other data except history. The copy is compact, because there may be many texts and keys.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.model.run import Run
from jobqueued.model.submission import KEY

_OF_A_COMMIT = ("saved", "untaken")
"""Names of facts about the host that every commit rewrites."""


class Keys:
    """Job → key of its submission, stored in about 40 bytes each."""

    def __init__(self) -> None:
        self._db: sqlite3.Connection | None = None

    def put(self, keys: Iterable[tuple[str, str]]) -> None:
        """Add keys of jobs.  Raises TypeError if a job or key is not a string."""
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
        """Return all keys, by job."""
        return {} if self._db is None else dict(self._db.execute("SELECT job, key FROM asked"))


class Mirror:
    """Facts about the host, texts of accepted files, and keys of submissions, as in the last commit."""

    def __init__(self, meta: Mapping[str, str], files: Mapping[str, bytes], keys: Keys) -> None:
        self._meta, self._files, self._keys = dict[str, str](), dict[str, bytes](), keys
        self.follow(meta, files, {})

    def follow(
        self, meta: Mapping[str, str | None], files: Mapping[str, bytes | None], keys: Mapping[str, str]
    ) -> None:
        """Apply the changes of a commit; None deletes a value."""
        _change(self._meta, meta)
        _change(self._files, {name: None if it is None else zlib.compress(it, 1) for name, it in files.items()})
        self._keys.put(keys.items())

    def forget_keys(self, jobs: Iterable[str]) -> None:
        """Drop the keys of these submissions, because they have no history."""
        self._keys.forget(jobs)

    @property
    def meta(self) -> dict[str, str]:
        """The facts by name, except facts that every commit rewrites."""
        return {name: value for name, value in self._meta.items() if name not in _OF_A_COMMIT}

    @property
    def files(self) -> dict[str, bytes]:
        """The texts by file name."""
        return {name: zlib.decompress(text) for name, text in self._files.items()}

    @property
    def keys(self) -> dict[str, str]:
        """The keys by job."""
        return self._keys.by_job()


def keys_in(ends: Iterable[tuple[Run, Record | None]]) -> dict[str, str]:
    """Return job → key of its submission, from records of the job's runs."""
    told = ((run.id.job, record.get("submission_key")) for run, record in ends if record is not None)
    return {job: key for job, key in told if isinstance(key, str) and KEY.fullmatch(key)}


def _change(known: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for name, value in changes.items():
        if value is None:
            known.pop(name, None)
        else:
            known[name] = value

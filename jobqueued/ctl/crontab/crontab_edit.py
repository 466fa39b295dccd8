"""crontab -e: edit a copy of the table, then install the copy."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable

from jobqueued.child.spool.spool import LARGEST
from jobqueued.ctl.base.editor import run, wants
from jobqueued.ctl.crontab.crontab_spool import SpoolFailure

TEMPLATE = """\
# Edit this file to introduce tasks to be run by cron.
#
# Each task to run has to be defined through a single line
# indicating with different fields when the task will be run
# and what command to run for the task
#
# To define the time you can provide concrete values for
# minute (m), hour (h), day of month (dom), month (mon),
# and day of week (dow) or use '*' in these fields (for 'any').
#
# Tasks are started by the clock of this host, in its time zone.
#
# Output of the tasks (including errors) is sent through email to
# the user the crontab file belongs to (unless redirected).
#
# For example, you can run a backup of all your user accounts
# at 5 a.m every week with:
# 0 5 * * 1 tar -zcf /var/backups/home.tgz /home/
#
# A comment above a task can set options for it:
# # jobqueue: {timeout: 2h, locks: [backup]}
#
# For more information see the manual page of jobqueue-crontab(1)
#
# m h  dom mon dow   command
"""

Install = Callable[[bytes, str], bool]
"""Installs a table from its text and file name. If the table has errors, prints them and returns False.

Raises SpoolFailure.
"""


def edit(table: bytes, install: Install) -> int:
    """Let the user edit a table, install it, and return the exit status. Raises SpoolFailure if nothing was changed."""
    try:
        directory = tempfile.mkdtemp(prefix="crontab.", dir=os.environ.get("TMPDIR") or "/tmp")
    except OSError as error:
        raise SpoolFailure(
            f"{error.filename}: {error.strerror}\nCreation of temporary crontab file failed - aborting"
        ) from None
    file = os.path.join(directory, "crontab")
    try:
        with open(file, "xb", opener=_private) as copy:
            copy.write(table)
    except OSError as error:
        _clean_up(directory)
        raise SpoolFailure(f"crontab: error while writing new crontab to {file}: {error.strerror}") from None
    session = _CrontabEdit(directory, file, table)
    return session.last(install)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class _CrontabEdit:
    """An edit: the copy, and the table before the edit."""

    def __init__(self, directory: str, file: str, table: bytes) -> None:
        self._directory, self._file, self._table = directory, file, table
        self._since = os.stat(file).st_mtime_ns

    def last(self, install: Install) -> int:
        """Edit until the table is installed or the user gives up; return the exit status."""
        while True:
            edited = self._edited()
            if edited is None:
                _to_stderr("No modification made")
                _clean_up(self._directory)
                return 0
            _to_stderr("crontab: installing new crontab")
            try:
                if install(edited, self._file):
                    _clean_up(self._directory)
                    return 0
            except SpoolFailure as failure:
                self._keep(str(failure))
            if (again := wants("Do you want to retry the same edit?")) is not True:
                self._say_kept()
                return 1 if again is None else 0

    def _edited(self) -> bytes | None:
        """Return the table after the edit, or None if the table is unchanged. Raises SpoolFailure."""
        trouble = run(self._file, "crontab")
        try:
            edited, changed = self._read()
        except OSError as error:
            self._give_up(f"{trouble}Can't open tempfile after edit: {error.strerror}")
        if trouble and edited != self._table:
            self._keep(trouble.rstrip("\n"))
        if trouble:
            _clean_up(self._directory)
            raise SpoolFailure(trouble.rstrip("\n"))
        return edited if edited != self._table or changed != self._since else None

    def _read(self) -> tuple[bytes, int]:
        descriptor = os.open(self._file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_uid != os.getuid():
                self._give_up("Temporary crontab no longer owned by you.")
            if not stat.S_ISREG(found.st_mode):
                self._give_up("The temporary crontab must remain a regular file")
            return file.read(LARGEST + 1), found.st_mtime_ns

    def _give_up(self, why: str) -> None:
        _clean_up(self._directory)
        raise SpoolFailure(f"{why}\nError while editing crontab")

    def _keep(self, why: str) -> None:
        raise SpoolFailure(f"{why}\ncrontab: edits left in {self._file}")

    def _say_kept(self) -> None:
        _to_stderr(f"crontab: edits left in {self._file}")


def _clean_up(directory: str) -> None:
    """Remove the copy, and the files that an editor left next to it."""
    try:
        shutil.rmtree(directory)
    except OSError as error:
        _to_stderr(f"crontab: {error.filename}: {error.strerror}")


def _to_stderr(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

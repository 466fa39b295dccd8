"""Kinds of watched directories: the names and owners of their files, and the effect of an error."""

from __future__ import annotations

import errno
import os
import pwd
import re
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from jobqueued.child.contract.trust import FileRefused, check_path, name_of, quoted
from jobqueued.jobdir import trust
from jobqueued.settings.drop_in_files import is_job_file

_UNREADABLE = (
    "cannot be read: Permission denied; the daemon needs CAP_DAC_READ_SEARCH, as in the drop-in cron.conf of"
    " docs/moving-from-cron.md"
)
NOT_OF_CRON = "is not read, as in cron; expected a name of A-Z a-z 0-9 _ and -"
_OF_RUN_PARTS = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Unreadable(FileRefused):
    """A table was refused because this process is not allowed to read it."""


def _read_job_file(path: str, daemon: int, closed: bool) -> bytes:
    return trust.read_trusted(path, daemon, closed=closed)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryKind:
    """A kind of directory.

    `reads` returns whether a file with a name is read; `is_foreign` returns whether an unread file deserves a warning.
    `read` gets a path, the user of the daemon, and whether the file certainly has no writer; it raises FileRefused,
    InWriting and OSError. In state.db, `prefix` precedes the names. `lenient`: an error in a line disables only that
    line. `optional`: the directory may be missing. `sticky`: other users may put their own files into it. `follows`: a
    file may be a link. `drop_ins`: a file may have drop-ins, and may be in one of several directories. `vital`: jobs in
    other directories may depend on jobs in an unreadable file. `heard`: inotify reports changes; otherwise the code
    that writes the files reports them.
    """

    reads: Callable[[str], bool] = is_job_file
    is_foreign: Callable[[str], bool] = trust.is_foreign
    is_meant: Callable[[str], bool] = trust.is_meant
    unread: str = trust.UNREAD
    read: Callable[[str, int, bool], bytes] = _read_job_file
    prefix: str = ""
    lenient: bool = False
    optional: bool = False
    sticky: bool = False
    follows: bool = False
    drop_ins: bool = False
    vital: bool = True
    heard: bool = True


JOB_FILES = DirectoryKind(drop_ins=True)


# ── tables of cron ──


def _is_of_run_parts(name: str) -> bool:
    return _OF_RUN_PARTS.fullmatch(name) is not None


def _is_foreign_to_cron(name: str) -> bool:
    return not (_is_of_run_parts(name) or trust.is_leftover(name))


_never = frozenset[str]().__contains__


def _read_of_system(path: str, daemon: int, closed: bool) -> bytes:
    """Read a system table: a file that belongs to root, or a link that no other user can redirect."""
    is_link = os.path.islink(path)
    if is_link and os.path.realpath(path) == os.devnull:
        return b""
    if is_link and not os.path.exists(path):
        raise FileRefused("found a broken link; expected a regular file, or root's link to a regular file")
    if is_link:
        check_path(path, daemon)
    try:
        descriptor = os.open(path, trust.OPEN | (0 if is_link else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # it became a link just now, or is a socket
            raise FileRefused(
                "found a special file; expected a regular file, or root's link to a regular file"
            ) from None
        raise
    return trust.read_checked(descriptor, lambda found: trust.check_trusted(found, path, daemon), asks=not closed)


def _read_of_user(path: str, daemon: int, closed: bool) -> bytes:
    """Read a user's table.

    The table must belong to the user or root, have one hard link, and deny access to other users.
    """
    user = os.path.basename(path)
    owners = {0, daemon, _uid(user)}
    try:
        descriptor = os.open(path, trust.OPEN | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise FileRefused("found a special file or a link; expected a regular file that crontab(1) made") from None
        if error.errno == errno.EACCES:
            raise Unreadable(_UNREADABLE) from None
        raise

    def check(found: os.stat_result) -> None:
        trust.check_trusted(found, path, None)
        if found.st_nlink > 1:
            raise FileRefused(f"found {found.st_nlink} hard links to this file; expected a file with one name")
        if found.st_uid not in owners:
            remedy = f"chown {quoted(user)} {quoted(path)}"
            raise FileRefused(
                f"found a table that user {name_of(found.st_uid)} owns; expected one that {user} owns: {remedy}"
            )
        if (mode := stat.S_IMODE(found.st_mode)) & ~0o600:
            raise FileRefused(f"found mode {mode:04o}; expected 0600: chmod 600 {quoted(path)}")

    return trust.read_checked(descriptor, check, asks=not closed)


def _uid(user: str) -> int | None:
    """Return a user's UID, or None if unknown. Query network databases only for users absent from /etc/passwd."""
    with suppress(OSError), open("/etc/passwd", errors="replace") as file:
        for line in file:
            if line.startswith(f"{user}:") and (number := line.split(":")[2]).isdigit():
                return int(number)
    with suppress(KeyError):
        return pwd.getpwnam(user).pw_uid
    return None


def _is_of_spool(name: str) -> bool:
    """Return whether a file in the spool has a user's name. Other names are crontab(1)'s temporary files."""
    return name.isprintable() and not name.startswith((".", "tmp.")) and not trust.is_leftover(name)


CRON_D = DirectoryKind(
    reads=_is_of_run_parts,
    is_foreign=_is_foreign_to_cron,
    is_meant=_never,
    unread=NOT_OF_CRON,
    read=_read_of_system,
    prefix="cron.d/",
    lenient=True,
    optional=True,
    follows=True,
)
CRONTAB = DirectoryKind(
    reads=frozenset(("crontab",)).__contains__,
    is_foreign=_never,
    is_meant=_never,
    read=_read_of_system,
    prefix="etc/",
    lenient=True,
    optional=True,
    follows=True,
)
CRONTAB_AND_ANACRONTAB = replace(CRONTAB, reads=frozenset(("crontab", "anacrontab")).__contains__)
"""The kind for /etc if anacron is not installed: the daemon also reads anacrontab."""
SPOOL = DirectoryKind(
    reads=_is_of_spool,
    is_foreign=_never,
    is_meant=_never,
    read=_read_of_user,
    prefix="crontabs/",
    lenient=True,
    optional=True,
    sticky=True,
)

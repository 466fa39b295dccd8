"""The spool of users' crontabs: a table is there as a whole, the old one or the new one, whoever dies in between.

Others may put files of their own there (Debian's crontab is set-group-id crontab), so nothing is followed, and nothing
is believed but its owner, its kind, and that it has one name.  Writers go one after the other, by a lock of the
directory; a leftover of one that died is gone with the next.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import stat
from collections.abc import Iterator

from jobqueued.child import atomic_file, trust
from jobqueued.child.text import printable

LARGEST = 1 << 20
"""Bytes of a table: the daemon reads no more of one."""
LARGEST_SENT = 128 << 10
"""Bytes of one that is sent to the daemon; who is root writes larger ones without it."""
PLACE = "var/spool/cron/crontabs"
"""Below the host's root."""
NONE = "none"
"""The stamp of a table that is not there."""
GROUP = "crontab"
_TEMPORARY, _MAKING = "tmp.jobqueued", ".crontabs.jobqueued"
_LISTS = "etc/cron.allow", "etc/cron.deny"
_LONGEST_NAME = 200


class Refused(Exception):
    """Refusal of what is asked for: str() says why, and what mends it."""


class Changed(Refused):
    """The table is not any more the one of the stamp."""


def allowed(host: str, name: str, asker: int) -> bool:
    """Tell whether a user may have a crontab, as for Debian's: by a line of cron.allow, else by none of cron.deny.

    Root always may, and where neither file is there everybody.  Where Debian's crontab could not read the file, as it
    runs with its group only, nobody may for whom root does not ask.  Refused: the file can't be read.
    """
    if name == "root":
        return True
    for path, verdict in zip(_LISTS, (True, False), strict=True):
        try:
            with open(os.path.join(host, path), "rb") as file:
                if asker and _is_kept_from_crontab(os.fstat(file.fileno())):
                    return False
                return (os.fsencode(name) in file.read(LARGEST).split(b"\n")) is verdict
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refused(f"{os.path.join(host, path)}: {error.strerror}") from None
    return True


def unreadable(host: str) -> str:
    """The file of the two that decides and this process can't read, "": none, in the words of Debian's crontab."""
    path = next((path for each in _LISTS if os.path.lexists(path := os.path.join(host, each))), "")
    return f"{path}: {os.strerror(errno.EACCES)}" if path and not os.access(path, os.R_OK) else ""


def _is_kept_from_crontab(found: os.stat_result) -> bool:
    """Tell whether the group crontab, where there is one, may not read a file."""
    group = _group()
    return group is not None and not found.st_mode & (stat.S_IROTH | stat.S_IRGRP * (found.st_gid == group))


def fits(name: str) -> bool:
    """Tell whether a user's name may be that of a table: no path, no hidden file, none of those that are being made."""
    return not (
        not name or "/" in name or name.startswith((".", "tmp.")) or not name.isprintable()
        or len(os.fsencode(name)) > _LONGEST_NAME
    )  # fmt: skip


class Spool:
    """The spool below the `host`'s root."""

    def __init__(self, host: str) -> None:
        self._host, self.path = host, os.path.join(host, PLACE)

    def read(self, name: str, uid: int) -> tuple[bytes, str]:
        """A user's table, and its stamp; b"", NONE: there is none.  Refused, OSError."""
        try:
            with _opened(self.path) as directory:
                return self._content(directory, name, uid)
        except FileNotFoundError:
            return b"", NONE

    def install(self, name: str, uid: int, table: bytes, stamp: str | None = None) -> None:
        """Put a table in place, durably; Changed unless there is the one of that `stamp`, if one is given.

        Refused, OSError: the old one is there.
        """
        if len(table) > LARGEST:
            raise Refused(f"the table has {len(table)} bytes; accepted: at most {LARGEST}")
        self._make()
        with _locked(self.path) as directory:
            found = self._found(directory, name, uid)
            if stamp not in (None, _stamp(found)):
                raise Changed("the table has been changed meanwhile")
            try:
                self._write(directory, table, uid)
                os.rename(_TEMPORARY, name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(_TEMPORARY, dir_fd=directory)
                raise
            os.fsync(directory)

    def remove(self, name: str, uid: int) -> bool:
        """Remove a user's table, durably; False: there is none.  Refused, OSError."""
        try:
            with _locked(self.path) as directory:
                if self._found(directory, name, uid) is None:
                    return False
                os.unlink(name, dir_fd=directory)
                os.fsync(directory)
        except FileNotFoundError:
            return False
        return True

    def _place(self, name: str) -> str:
        return f"{self.path}/{name}"

    def _make(self) -> None:
        """Make the directory if it is missing: it has its owner, group and mode before it has its name."""
        if os.path.isdir(self.path):
            return
        parent, name = os.path.split(self.path)
        place = self._host
        for part in os.path.dirname(PLACE).split("/"):
            place = os.path.join(place, part)
            with contextlib.suppress(FileExistsError):
                os.mkdir(place, 0o755)
                os.chmod(place, 0o755)
                atomic_file.sync(place)
        with _locked(parent) as directory:
            if os.path.isdir(self.path):  # another was quicker
                return
            with contextlib.suppress(FileExistsError):
                os.mkdir(_MAKING, 0o700, dir_fd=directory)
            group = _group()
            if group is not None:
                os.chown(_MAKING, -1, group, dir_fd=directory, follow_symlinks=False)
                os.chmod(_MAKING, 0o1730, dir_fd=directory)
            os.rename(_MAKING, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)

    def _content(self, directory: int, name: str, uid: int) -> tuple[bytes, str]:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
        if self._found(directory, name, uid) is None:
            return b"", NONE
        descriptor = os.open(name, flags, dir_fd=directory)
        try:
            found = os.fstat(descriptor)
            self._check(found, name, uid)
            with open(descriptor, "rb", closefd=False) as file:
                table = file.read(LARGEST + 1)
            if len(table) > LARGEST:
                raise Refused(
                    f"{printable(self._place(name))}: found more than {LARGEST} bytes; accepted: at most that"
                )
            return table, _stamp(found)
        finally:
            os.close(descriptor)

    def _found(self, directory: int, name: str, uid: int) -> os.stat_result | None:
        """The table that is there, None: there is none; Refused: something else is."""
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        self._check(found, name, uid)
        return found

    def _check(self, found: os.stat_result, name: str, uid: int) -> None:
        place, remove = printable(self._place(name)), f"rm {trust.quoted(self._place(name))}"
        if not stat.S_ISREG(found.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "no regular file"
            raise Refused(f"{place}: found {kind}; accepted: a regular file; as root: {remove}")
        if found.st_nlink > 1:
            raise Refused(
                f"{place}: found {found.st_nlink} hard links; accepted: one name for a file; as root: {remove}"
            )
        if found.st_uid not in (0, os.geteuid(), uid):
            mend = f"chown {trust.quoted(name)} {trust.quoted(self._place(name))}"
            raise Refused(
                f"{place}: user {trust.name_of(found.st_uid)} owns it; accepted: {printable(name)}'s own: {mend}"
            )

    def _write(self, directory: int, table: bytes, uid: int) -> None:
        """Write the temporary file, as the table is to be; OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):  # of one who died here
            os.unlink(_TEMPORARY, dir_fd=directory)
        descriptor = os.open(_TEMPORARY, flags, 0o600, dir_fd=directory)
        try:
            rest = memoryview(table)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
            os.fchmod(descriptor, 0o600)
            group = _group()
            if os.geteuid() == 0:
                os.fchown(descriptor, uid, -1 if group is None else group)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    """A directory that nobody else can exchange."""
    try:
        trust.check_path(path, os.geteuid(), sticky=True)
    except trust.Refused as refused:
        raise Refused(f"{path}: {refused}") from None
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """The same for one writer at a time: only who may list it can lock it, and of the spool that is root."""
    with _opened(path) as directory:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield directory


def _stamp(found: os.stat_result | None) -> str:
    """The stamp of a table: it tells it from those before and after it."""
    return NONE if found is None else f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"


def _group() -> int | None:
    """The group of Debian's crontab, None: there is none, or it is not ours to give files to it."""
    try:
        return grp.getgrnam(GROUP).gr_gid if os.geteuid() == 0 else None
    except KeyError:
        return None

"""The spool of users' crontabs. A table is always complete, either old or new, even if a process dies.

Other users may put files into the spool (Debian's crontab is set-group-id crontab), so no link is followed. A file
counts only if its owner and type are right and it has one hard link. A directory lock admits one writer at a time. A
writer removes the file that a dead writer left behind.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import stat
from collections.abc import Iterator

from jobqueued.child.contract import atomic_file, trust
from jobqueued.child.contract.text import printable

LARGEST = 1 << 20
"""Maximum size (bytes) of a table; the daemon reads no more."""
LARGEST_SENT = 128 << 10
"""Maximum size (bytes) of a table that is sent to the daemon. Root writes larger tables directly."""
PLACE = "var/spool/cron/crontabs"
"""Path of the spool below the host's root directory."""
NONE = "none"
"""Stamp of a missing table."""
GROUP = "crontab"
_TEMPORARY, _MAKING = "tmp.jobqueued", ".crontabs.jobqueued"
_LISTS = "etc/cron.allow", "etc/cron.deny"
_LONGEST_NAME = 200


class SpoolRefused(Exception):
    """A request is refused; str() has the reason and the fix."""


class Changed(SpoolRefused):
    """The table was changed after its stamp was read."""


def allowed(host: str, name: str, asker: int) -> bool:
    """Return whether a user may have a crontab, under Debian's rules. Raises SpoolRefused if a list can't be read.

    If cron.allow exists, only its users may. Otherwise, if cron.deny exists, all except its users may. If neither list
    exists, all users may. Root always may. Debian's crontab has only its group's rights. If it could not read the list,
    no other user may have a crontab, unless root makes the request.
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
            raise SpoolRefused(f"{os.path.join(host, path)}: {error.strerror}") from None
    return True


def unreadable(host: str) -> str:
    """Return Debian's message if this process can't read the deciding list, or ""."""
    path = next((path for each in _LISTS if os.path.lexists(path := os.path.join(host, each))), "")
    return f"{path}: {os.strerror(errno.EACCES)}" if path and not os.access(path, os.R_OK) else ""


def _is_kept_from_crontab(found: os.stat_result) -> bool:
    """Return whether the group crontab exists but can't read a file."""
    group = _group()
    return group is not None and not found.st_mode & (stat.S_IROTH | stat.S_IRGRP * (found.st_gid == group))


def fits(name: str) -> bool:
    """Return whether a user name can be a table's name: no path, no hidden file, no temporary file."""
    return not (
        not name
        or "/" in name
        or name.startswith((".", "tmp."))
        or not name.isprintable()
        or len(os.fsencode(name)) > _LONGEST_NAME
    )


class Spool:
    """The spool below the root directory `host`."""

    def __init__(self, host: str) -> None:
        self._host, self.path = host, os.path.join(host, PLACE)

    def read(self, name: str, uid: int) -> tuple[bytes, str]:
        """Return a user's table and its stamp, or b"" and NONE if it is missing. Raises SpoolRefused and OSError."""
        try:
            with _opened(self.path) as directory:
                return self._content(directory, name, uid)
        except FileNotFoundError:
            return b"", NONE

    def install(self, name: str, uid: int, table: bytes, stamp: str | None = None) -> None:
        """Save a table durably. Raises Changed if `stamp` is given and the current table has another stamp.

        Raises SpoolRefused and OSError; the old table then remains.
        """
        if len(table) > LARGEST:
            raise SpoolRefused(f"the table has {len(table)} bytes; expected at most {LARGEST}")
        self._make()
        with _locked(self.path) as directory:
            found = self._found(directory, name, uid)
            if stamp not in (None, _stamp(found)):
                raise Changed("another program changed the table at the same time")
            try:
                self._write(directory, table, uid)
                os.rename(_TEMPORARY, name, src_dir_fd=directory, dst_dir_fd=directory)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(_TEMPORARY, dir_fd=directory)
                raise
            os.fsync(directory)

    def remove(self, name: str, uid: int) -> bool:
        """Remove a user's table durably. Return False if it is missing. Raises SpoolRefused and OSError."""
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
        """Make the directory if missing. The file gets its owner, group and mode before its final name."""
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
            if os.path.isdir(self.path):  # another process made it
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
                raise SpoolRefused(
                    f"{printable(self._place(name))}: found more than {LARGEST} bytes, which is the limit"
                )
            return table, _stamp(found)
        finally:
            os.close(descriptor)

    def _found(self, directory: int, name: str, uid: int) -> os.stat_result | None:
        """Return the file status of the table, or None if it is missing.

        Raises SpoolRefused if the table is not acceptable.
        """
        try:
            found = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        self._check(found, name, uid)
        return found

    def _check(self, found: os.stat_result, name: str, uid: int) -> None:
        place, remove = printable(self._place(name)), f"rm {trust.quoted(self._place(name))}"
        if not stat.S_ISREG(found.st_mode):
            kind = "a symbolic link" if stat.S_ISLNK(found.st_mode) else "a special file"
            raise SpoolRefused(f"{place}: found {kind}; expected a regular file; as root: {remove}")
        if found.st_nlink > 1:
            raise SpoolRefused(
                f"{place}: found {found.st_nlink} hard links; expected a file with one name; as root: {remove}"
            )
        if found.st_uid not in (0, os.geteuid(), uid):
            remedy = f"chown {trust.quoted(name)} {trust.quoted(self._place(name))}"
            raise SpoolRefused(
                f"{place}: user {trust.name_of(found.st_uid)} owns it; expected owner {printable(name)}: {remedy}"
            )

    def _write(self, directory: int, table: bytes, uid: int) -> None:
        """Write the temporary file with the table's content, owner and mode. Raises OSError."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(FileNotFoundError):  # left by a writer that died
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
    """Open a directory that no other user can replace."""
    try:
        trust.check_path(path, os.geteuid(), sticky=True)
    except trust.FileRefused as refused:
        raise SpoolRefused(f"{path}: {refused}") from None
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def _locked(path: str) -> Iterator[int]:
    """Open a directory for one writer at a time. Only users who can list the directory can lock it.

    Only root can list the spool.
    """
    with _opened(path) as directory:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield directory


def _stamp(found: os.stat_result | None) -> str:
    """Return the stamp of a table, which differs for each version."""
    return NONE if found is None else f"{found.st_ino}.{found.st_mtime_ns}.{found.st_size}"


def _group() -> int | None:
    """Return the GID of Debian's crontab, or None if the group is missing or we are not root."""
    try:
        return grp.getgrnam(GROUP).gr_gid if os.geteuid() == 0 else None
    except KeyError:
        return None

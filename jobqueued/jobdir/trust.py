"""Trust in files of the job directory: by name, type, owner and mode, and not while they are written."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import pwd
import signal
import stat

from jobqueued.jobfile.yamltext import MAX_BYTES

_F_SETSIG = 10
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
_UNOPENED = {errno.ELOOP: "symbolic link", errno.ENXIO: "socket"}


class InWriting(Exception):
    """Somebody has the file open for writing."""


class Refused(Exception):
    """A file that is not to be read, and why."""


def is_job_file(name: str) -> bool:
    """True if the directory's entry of this name is read.

    ``*.yaml`` and ``*.yml`` leave out what editors and package managers leave behind (``~``, ``.swp``, ``.dpkg-old``);
    dotfiles, and names that no terminal or journal could show, are left out too.
    """
    return name.endswith((".yaml", ".yml")) and not name.startswith(".") and name.isprintable()


UNREAD = "is not read; accepted: a name that ends in .yaml or .yml, in small letters, and that can be printed"


def is_meant(name: str) -> bool:
    """True if a file that is not read was probably meant to be: it is worth a word."""
    return name.lower().endswith((".yaml", ".yml")) and not name.startswith(".") and not is_job_file(name)


def read_trusted(path: str, daemon: int | None, *, closed: bool = False) -> bytes:
    """A file's bytes, at most one more than it may have; Refused as `check_trusted` says, OSError as open(2).

    `daemon` is the user of the daemon that reads it, and InWriting tells that a writer has it open, unless it is known
    to be `closed`; None: nobody's, so anybody may own and write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _UNOPENED:
            raise Refused(f"found a {_UNOPENED[error.errno]}; accepted: a regular file") from None
        raise
    try:
        check_trusted(os.fstat(descriptor), daemon)
        if daemon is not None and not closed and has_writer(descriptor):
            raise InWriting
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)


def check_trusted(found: os.stat_result, daemon: int | None) -> None:
    """Refused unless it is a regular file and, for a daemon, of one name that only root or its user may write."""
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"found a {_KINDS.get(stat.S_IFMT(found.st_mode), 'special file')}; accepted: a regular file")
    if daemon is None:
        return
    if found.st_nlink > 1:
        raise Refused(f"found {found.st_nlink} hard links to this file; accepted: one name for a file")
    if found.st_uid not in (0, daemon):
        raise Refused(f"found a file of user {found.st_uid}; accepted: one of root or of the daemon's user")
    if found.st_mode & stat.S_IWOTH:
        raise Refused("found a world-writable file; accepted: write permission for its owner only (chmod go-w)")
    if found.st_mode & stat.S_IWGRP and not _is_private(found.st_gid, found.st_uid):
        raise Refused(f"found a file that group {found.st_gid} may write; accepted: write permission for its owner")


def has_writer(descriptor: int) -> bool:
    """True if the kernel refuses a read lease because of a writer (fcntl(2)); False where it gives no leases at all.

    A writer that comes while we hold it waits for these microseconds, and we are told by a signal that does nothing.
    """
    try:
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    return False


def _is_private(group: int, user: int) -> bool:
    """True if a group is the user's private one: primary, of the same name, and nobody else's."""
    try:
        owner, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    return owner.pw_gid == group and owner.pw_name == members.gr_name and set(members.gr_mem) <= {owner.pw_name}

"""Trust in files of the job directory: by name, type, owner and mode, and not while they are written.

Who can change the directory itself is asked of `child/trust.py`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable

from jobqueued.child.trust import Refused, check_status
from jobqueued.child.watcher.listing import has_writer
from jobqueued.drop_in_files import is_job_file
from jobqueued.jobfile.yamltext import MAX_BYTES

OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags of open(2) for a file that may be anything."""
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
_UNOPENED = {errno.ELOOP: "symbolic link", errno.ENXIO: "socket"}


class InWriting(Exception):
    """Somebody has the file open for writing."""


MASKED = b"jobs: {}  # a link to /dev/null\n"
"""The text that a link to /dev/null stands for: so systemd's units are masked, and so people disable a file.

Such a link is root's or the daemon's user's, as a file would be, and leads there in one step.
"""
IS_MASKED = "is masked by its link to /dev/null, and has no jobs"
UNREAD = "is not read; accepted: a name that ends in .yaml or .yml, in small letters, and that can be printed"


def is_meant(name: str) -> bool:
    """True if a file that is not read was probably meant to be: it is worth a word."""
    return name.lower().endswith((".yaml", ".yml")) and not name.startswith(".") and not is_job_file(name)


_LEFTOVERS = (
    r"(?i)\..*|#.*#|README.*|(?!.*\.ya?ml\.).*\.(md|txt)|.*(~|\.(bak|disabled|example|new|off|old|orig|rej|sample|save|sw[a-p]|te?mp)"
    r"|\.(dpkg|ucf)-\w+|\.(rpm|pac)(new|save|orig))"
)  # fmt: skip


def is_foreign(name: str) -> bool:
    """True if a file that is not read may have been meant to be: no leftover, nothing that is switched off by its name.

    A name that lives for a moment while an editor saves looks no different, so this is for listings only.
    """
    return is_meant(name) or not (is_job_file(name) or is_leftover(name))


def is_leftover(name: str) -> bool:
    """True if editors and package managers leave files of this name, or people switch one off by it."""
    return re.fullmatch(_LEFTOVERS, name) is not None


def read_trusted(path: str, daemon: int | None, *, closed: bool = False) -> bytes:
    """A file's bytes, at most one more than it may have; Refused as `check_trusted` says, OSError as open(2).

    `daemon` is the user of the daemon that reads it, and InWriting tells that a writer has it open, unless it is known
    to be `closed`; None: nobody's, so anybody may own and write it.
    """
    try:
        descriptor = os.open(path, OPEN | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP and os.readlink(path) == os.devnull:
            if daemon is not None:
                check_status(os.lstat(path), path, daemon)
            return MASKED
        if error.errno in _UNOPENED:
            raise Refused(f"found a {_UNOPENED[error.errno]}; accepted: a regular file") from None
        raise
    return read_checked(
        descriptor, lambda found: check_trusted(found, path, daemon), asks=daemon is not None and not closed
    )


def read_checked(descriptor: int, check: Callable[[os.stat_result], None], *, asks: bool) -> bytes:
    """The bytes behind a descriptor, which is closed, as `read_trusted`: `check` raises Refused.

    If it `asks` for a writer, InWriting tells of one.
    """
    try:
        check(os.fstat(descriptor))
        if asks and has_writer(descriptor):
            raise InWriting
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
        check(os.fstat(descriptor))  # who may write it now may have done so before it was read
        return data
    finally:
        os.close(descriptor)


def check_trusted(found: os.stat_result, path: str, daemon: int | None) -> None:
    """Refused unless it is a regular file and, for a daemon, of one name that only root or its user may write."""
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"found a {_KINDS.get(stat.S_IFMT(found.st_mode), 'special file')}; accepted: a regular file")
    if daemon is None:
        return
    if found.st_nlink > 1:
        raise Refused(f"found {found.st_nlink} hard links to this file; accepted: one name for a file")
    check_status(found, path, daemon)

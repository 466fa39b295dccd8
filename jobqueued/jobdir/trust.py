"""Decides whether to trust files in the job directory, by name, type, owner and mode, and only while no process writes.

`child/contract/trust.py` checks who can change the directory itself.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable

from jobqueued.child.contract.trust import FileRefused, check_status
from jobqueued.child.watcher.listing import has_writer
from jobqueued.jobfile.tree.yamltext import MAX_BYTES
from jobqueued.settings.drop_in_files import is_job_file

OPEN = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""Flags of open(2) for a file of unknown type."""
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFIFO: "FIFO", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
_UNOPENED = {errno.ELOOP: "symbolic link", errno.ENXIO: "socket"}


class InWriting(Exception):
    """A process has the file open for writing."""


MASKED = b"jobs: {}  # a link to /dev/null\n"
"""The text that replaces a link to /dev/null. Such a link disables a job file, as it masks a systemd unit.

The link must belong to root or the daemon's user, and point directly to /dev/null.
"""
IS_MASKED = "is masked by its link to /dev/null, so it has no jobs"
LEFT_OUT = "until then its files are ignored"
"""The result if other users can change a directory of job files, except the first directory."""
UNREAD = "is ignored; expected a printable name that ends in .yaml or .yml (lower case)"


def is_meant(name: str) -> bool:
    """Return whether an unread file was probably meant to be read, and deserves a warning."""
    return name.lower().endswith((".yaml", ".yml")) and not name.startswith(".") and not is_job_file(name)


_LEFTOVERS = (
    r"(?i)\..*|#.*#|README.*|(?!.*\.ya?ml\.).*\.(md|txt)|.*(~|\.(bak|disabled|example|new|off|old|orig|rej|sample|save|sw[a-p]|te?mp)"
    r"|\.(dpkg|ucf)-\w+|\.(rpm|pac)(new|save|orig))"
)


def is_foreign(name: str) -> bool:
    """Return whether an unread file may be a misnamed job file: not a leftover, and not disabled by its name.

    Call this function for listings only, because an editor's temporary file looks misnamed too while the editor saves.
    """
    return is_meant(name) or not (is_job_file(name) or is_leftover(name))


def is_leftover(name: str) -> bool:
    """Return whether a name belongs to a leftover of an editor or package manager, or disables a file."""
    return re.fullmatch(_LEFTOVERS, name) is not None


def read_trusted(path: str, daemon: int | None, *, closed: bool = False) -> bytes:
    """Return a file's bytes, or one byte more than the limit if the file is too large.

    Raises FileRefused like `check_trusted`, and OSError. `daemon` is the UID of the daemon that reads the file. None
    means that no daemon reads the file, so any user may own and write it. For a daemon, raises InWriting if a process
    is writing the file, unless the caller found it `closed`.
    """
    try:
        descriptor = os.open(path, OPEN | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno == errno.ELOOP and os.readlink(path) == os.devnull:
            if daemon is not None:
                check_status(os.lstat(path), path, daemon)
            return MASKED
        if error.errno in _UNOPENED:
            raise FileRefused(f"found a {_UNOPENED[error.errno]}; expected a regular file") from None
        raise
    return read_checked(
        descriptor, lambda found: check_trusted(found, path, daemon), asks=daemon is not None and not closed
    )


def read_checked(descriptor: int, check: Callable[[os.stat_result], None], *, asks: bool) -> bytes:
    """Read a descriptor's bytes as `read_trusted` does, and close the descriptor; `check` raises FileRefused.

    With `asks`, raises InWriting if a process is writing the file.
    """
    try:
        check(os.fstat(descriptor))
        if asks and has_writer(descriptor):
            raise InWriting
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(MAX_BYTES + 1)
        check(os.fstat(descriptor))  # in case the owner or mode changed during the read
        return data
    finally:
        os.close(descriptor)


def check_trusted(found: os.stat_result, path: str, daemon: int | None) -> None:
    """Raise FileRefused unless the file is a regular file.

    For a daemon, the file must also have only one name, and only root and the daemon's user may be able to write to it.
    """
    if not stat.S_ISREG(found.st_mode):
        raise FileRefused(f"found a {_KINDS.get(stat.S_IFMT(found.st_mode), 'special file')}; expected a regular file")
    if daemon is None:
        return
    if found.st_nlink > 1:
        raise FileRefused(f"found {found.st_nlink} hard links to this file; expected a file with one name")
    check_status(found, path, daemon)

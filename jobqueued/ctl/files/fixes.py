"""Fixes of job files: printed as a diff, or written to the file, which keeps its owner and mode."""

from __future__ import annotations

import contextlib
import difflib
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from jobqueued.base.text import printable
from jobqueued.child.contract.trust import FileRefused
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.ctl.files.job_files import settings_of
from jobqueued.ctl.files.job_units import STANDARD_INPUT, Unit, units, user_of_daemon
from jobqueued.ctl.files.table_files import TableFiles
from jobqueued.jobdir.trust import MASKED
from jobqueued.jobfile.mending import mended
from jobqueued.jobfile.tree.drop_ins import parts_of
from jobqueued.settings.paths import Paths

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Unwritten(Exception):
    """Raised if a fix was not written, and the file is unchanged; str() is the reason."""


class Mend(NamedTuple):
    """A file, its text, and the fixed text."""

    path: str
    old: bytes
    new: bytes

    def diff(self) -> str:
        """Return a unified diff that is safe to print on a terminal."""
        old, new = (_lines(text.decode(errors="replace")) for text in (self.old, self.new))
        name = printable(self.path)
        lines = difflib.unified_diff(old, new, name, name)
        return "".join(printable(line if line.endswith("\n") else f"{line}\n", "\t\n") for line in lines)

    def write(self) -> None:
        """Replace the file with the fixed text durably. Raises Unwritten or OSError. A symbolic link is not followed.

        The function refuses a file with several hard links, because its other names would keep the old text.
        """
        directory = os.open(os.path.dirname(self.path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        name = os.path.basename(self.path)
        new = f".{name}.{os.getpid()}"
        try:
            found = _unchanged(directory, name, self.old)
            _fill(os.open(new, _NEW, 0o600, dir_fd=directory), self.new, found)
            os.rename(new, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.fsync(directory)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new, dir_fd=directory)
            raise
        finally:
            os.close(directory)


def mends(paths: Paths, files: Iterable[Path]) -> Iterator[Mend]:
    """Yield the possible fixes of the job files and drop-ins that `check` reads."""
    tables = TableFiles(paths, settings_of(paths)[0], user_of_daemon(paths))
    for found in units(paths, tuple(files) or (paths.jobs,), tables):
        if not isinstance(found, Unit) or Path(found.file) == STANDARD_INPUT or tables.is_table(Path(found.file)):
            continue
        with contextlib.suppress(OSError, FileRefused):  # check reports this error
            for path, text in parts_of(found.text(), found.file):
                if text != MASKED and (new := mended(text)) != text:
                    yield Mend(path, text, new)


def _lines(text: str) -> list[str]:
    *lines, rest = text.split("\n")
    return [f"{line}\n" for line in lines] + ([f"{rest}\n\\ No newline at end of file"] if rest else [])


def _unchanged(directory: int, name: str, text: bytes) -> os.stat_result:
    """Return the file's status if it still has this text. Raises Unwritten."""
    try:
        descriptor = os.open(name, _OLD, dir_fd=directory)
    except OSError as error:
        raise Unwritten("it is a link" if _is_link(directory, name) else str(error.strerror)) from None
    with open(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise Unwritten("it is not a regular file")
        if found.st_nlink > 1:
            raise Unwritten(f"it has {found.st_nlink} names (hard links)")
        if file.read(len(text) + 1) != text:
            raise Unwritten("it changed in the meantime")
    return found


def _is_link(directory: int, name: str) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISLNK(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)
    return False


def _fill(descriptor: int, text: bytes, like: os.stat_result) -> None:
    with open(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        made = os.fstat(descriptor)  # the new file may have the directory's group
        if (like.st_uid, like.st_gid) != (made.st_uid, made.st_gid):
            os.fchown(descriptor, like.st_uid, like.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(like.st_mode))
        os.fsync(descriptor)

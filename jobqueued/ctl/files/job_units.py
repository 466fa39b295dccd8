"""The job files for names on the command line, found and read in the daemon's way but without the daemon."""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from jobqueued.base.problem import Problem
from jobqueued.child.contract.trust import FileRefused, distrust
from jobqueued.jobdir.trust import UNREAD, is_foreign, read_trusted
from jobqueued.jobdir.units import ORPHANS, Assembly
from jobqueued.jobfile.tree.drop_ins import FileText, packed
from jobqueued.jobfile.tree.yamltext import MAX_BYTES
from jobqueued.settings.drop_in_files import drop_in_directory, file_of_drop_ins, is_job_file, listed
from jobqueued.settings.paths import Paths

if TYPE_CHECKING:
    from jobqueued.ctl.files.table_files import TableFiles

STANDARD_INPUT, _HERE = Path("-"), Path()


class Unit:
    """A job file that can be read; `file` is the job file's name in the catalog."""

    def __init__(self, file: str, assembly: Assembly | None = None) -> None:
        """`assembly` reads the file with its drop-ins. None reads the file alone, even through a pipe or a link."""
        self.file, self._assembly = file, assembly

    @property
    def at(self) -> str:
        """The path that was read last, for error messages."""
        return self.file if self._assembly is None else self._assembly.at

    def text(self) -> bytes:
        """Return the file and its drop-ins, joined into one text. Raises OSError or FileRefused."""
        if self._assembly is not None:
            return self._assembly.text(os.path.basename(self.file))
        return packed([FileText(self.file, read_file(Path(self.file)))], self.file)


def units(paths: Paths, files: Iterable[Path], tables: TableFiles | None = None) -> Iterator[Unit | Problem]:
    """Yield the job files in these files and directories in this order, and warnings about files that are not read.

    The daemon's own directory stands for all directories that the daemon reads. A later directory that other users can
    change is left out.
    """
    for path in files:
        if path == STANDARD_INPUT:
            yield Unit(str(path))
            continue
        if file := file_of_drop_ins(path.absolute().parent.name):
            yield _with_drop_in(paths, path.absolute().parent.parent, file)
            continue
        is_own = path.absolute() == paths.jobs
        directories = _read_by_daemon(paths) if is_own else (path,)
        listings = [_listing(directory) for directory in directories]
        if listings[0] is None:
            yield Unit(str(path))  # not a directory, or unreadable: reading it raises the error
            continue
        if tables is not None and (kind := tables.kind_in(path)):
            names = sorted(listings[0], key=os.fsencode)
            read = (
                name for name in names if kind.reads(name) or (kind.is_foreign(name) and os.path.isfile(path / name))
            )
            yield from (Unit(str(path / name)) for name in read)
            continue
        daemon = user_of_daemon(paths) if is_own else None
        named = ["" if directory == _HERE else str(directory) for directory in directories]
        yield from _units(named, [names or [] for names in listings], daemon)


def _read_by_daemon(paths: Paths) -> tuple[Path, ...]:
    """Return the daemon's directories of job files, except later directories that other users can change."""
    daemon = user_of_daemon(paths)
    return (paths.jobs, *(each for each in paths.more_jobs if distrust(str(each), daemon) is None))


def _listing(directory: Path) -> list[str] | None:
    try:
        return os.listdir(directory)
    except OSError:
        return None


def _with_drop_in(paths: Paths, directory: Path, name: str) -> Unit:
    """Return the file that drop-ins in this directory belong to."""
    is_own = directory in paths.job_directories
    directories = [str(each) for each in (_read_by_daemon(paths) if is_own else (directory,))]
    return Unit(os.path.join(directories[0], name), _assembly(directories, user_of_daemon(paths) if is_own else None))


def _assembly(directories: list[str], daemon: int | None) -> Assembly:
    """Return the reader of job files for a daemon that runs as this UID. None accepts files of any owner."""

    def read(number: int, path: str) -> bytes:
        return read_trusted(os.path.join(directories[number], path), daemon)

    def drop_ins(number: int, name: str) -> list[str]:
        return listed(os.path.join(directories[number], drop_in_directory(name)), daemon)

    return Assembly(directories, read, drop_ins)


def _units(directories: list[str], listings: list[list[str]], daemon: int | None) -> Iterator[Unit | Problem]:
    """Yield the job files in these directories, sorted by name, then warnings about files that are not read."""
    assembly = _assembly(directories, daemon)
    names = {name for listing in listings for name in listing}
    for name in sorted(filter(is_job_file, names), key=os.fsencode):
        yield Unit(os.path.join(directories[0], name), assembly)
    for directory, listing in zip(directories, listings, strict=True):
        for name in sorted(listing, key=os.fsencode):
            path, file = os.path.join(directory, name), file_of_drop_ins(name)
            if file and file not in names:
                yield Problem(path, 0, 0, "", ORPHANS.format(file), "warning", code="JQ503")
            elif not file and is_foreign(name) and os.path.isfile(path):
                yield Problem(ascii(path)[1:-1], 0, 0, "", UNREAD, "warning", code="JQ503")


def read_file(file: Path) -> bytes:
    """Read a file, up to one byte more than allowed; ``-`` is the standard input.

    Raises FileRefused for a FIFO without a writer.
    """
    if file == STANDARD_INPUT:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    with open(os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC), "rb", buffering=0) as stream:
        is_pipe = stat.S_ISFIFO(os.fstat(stream.fileno()).st_mode)
        data = stream.read(MAX_BYTES + 1)  # None if the writer has not written yet
        if data == b"" and is_pipe and not select.select([stream], [], [], 0)[0]:
            raise FileRefused("found a FIFO without a writer; expected a file, or a pipe with a program's output")
        os.set_blocking(stream.fileno(), True)
        data = data or b""
        while len(data) <= MAX_BYTES and (more := stream.read(MAX_BYTES + 1 - len(data))):
            data += more
        return data


def user_of_daemon(paths: Paths) -> int:
    """Return the UID of the owner of the daemon's directories, or the caller's UID if these are missing."""
    for path in (paths.run, paths.state):
        with suppress(OSError):
            return path.stat().st_uid
    return os.geteuid()

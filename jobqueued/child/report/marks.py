"""R and its marks, made by the launcher and the supervisor, and the files that outlive R."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from typing import Any

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import LaunchSpec


def parent_of_this_boot(parent: str) -> str:
    """Return the parent directory for all R during this boot. Each boot has a different directory."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return os.path.join(parent, file.read().strip())


def make_parent(runs: str) -> None:
    """Make the directory that contains every R of this boot, if it is missing. Users may enter but not list it."""
    os.makedirs(runs, 0o711, exist_ok=True)


def make_directory(runs: str, name: str, attempts: Callable[[], list[str]]) -> None:
    """Make an R. Raises OSError (FileExistsError if the attempt is in `attempts` or may have started)."""
    path = f"{runs}/{name}"
    try:
        os.mkdir(path, 0o700)
    except FileNotFoundError:
        make_parent(runs)
        os.mkdir(path, 0o700)
    except FileExistsError:
        if name in attempts():
            raise
        vacate(path)
        os.mkdir(path, 0o700)


def write_spec(path: str, spec: bytes) -> None:
    """Write the launch spec into a new R. Raises OSError; R is then removed, now or when the spec is re-sent."""
    try:
        wire.write_mark(None, f"{path}/{wire.SPEC}", spec)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(path)
        raise


def vacate(path: str) -> None:
    """Remove an R where nothing started, because R is incomplete or recovery abandoned it.

    Raises FileExistsError otherwise. An earlier launcher's supervisor may still try to claim this R, and then finds it
    deleted.
    """
    directory = wire.open_directory(path)
    try:
        if wire.may_have_started(directory):
            raise FileExistsError
        for mark in wire.MARKS:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(mark, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        os.rmdir(path)
    except OSError as error:
        raise FileExistsError if error.errno == errno.ENOTEMPTY else error from None


def declined(name: str, error: OSError) -> str:
    """Return the notice for an attempt whose R can't be claimed: it was claimed or deleted, or an error occurred."""
    if error.errno in (errno.EEXIST, errno.EADDRINUSE):
        return f"idle {name}"
    where = "supervisor" if error.errno in wire.NO_DESCRIPTOR else "run directory"
    return f"unstarted {name} {where}: {error.strerror}"


class Marks:
    """The marks of the attempt `name` in R (the descriptor `directory`).

    Methods raise OSError if R can't be written, unless noted.
    """

    __slots__ = ("_beside", "directory", "name")

    def __init__(self, directory: int, name: str) -> None:
        self.directory, self.name = directory, name
        self._beside = -1

    def spec(self) -> LaunchSpec:
        """Return the launch spec. Raises OSError if the spec can't be read or is incomplete."""
        order = wire.read_spec(self.directory)
        if order is None:
            raise OSError(errno.ENODATA, "its launch spec is incomplete")
        return order

    def claim(self, mark: wire.SpawningMark) -> None:
        """Make R/spawning. Only its maker starts this attempt. Raises FileExistsError if it exists."""
        wire.claim(self.directory, mark)

    def started(self, mark: wire.PidMark) -> None:
        """Write R/pid if the disk has space. R/control shows that the supervisor is alive."""
        with contextlib.suppress(OSError):
            wire.write_mark(self.directory, wire.PID, mark.encode())

    def started_again(self, mark: wire.PidMark) -> None:
        """Rewrite R/pid, because another process replaced the attempt's main process."""
        with contextlib.suppress(OSError):
            os.unlink(wire.PID, dir_fd=self.directory)
        self.started(mark)

    def telemetry(self, found: Mapping[str, Any]) -> None:
        """Write the telemetry so far if the disk has space, for readers and, if the supervisor dies, for the record."""
        with contextlib.suppress(OSError):
            wire.replace_mark(self.directory, wire.TELEMETRY, found)

    def slurm(self, found: Mapping[str, Any]) -> None:
        """Write the Slurm job's state for readers, if the disk has space."""
        with contextlib.suppress(OSError):
            wire.replace_mark(self.directory, wire.SLURM, found)

    def are_there(self) -> bool:
        """Return whether R exists. Without R, the run is lost, even if the scheduler has not declared it lost."""
        try:
            os.stat(wire.SPAWNING, dir_fd=self.directory)
        except FileNotFoundError:
            return False
        except OSError:  # unknown now
            return True
        return True

    def end(self, record: bytes) -> None:
        """Write R/ended. Replace a partial file from an earlier try."""
        try:
            wire.write_mark(self.directory, wire.ENDED, wire.ended(record))
        except FileExistsError:
            os.unlink(wire.ENDED, dir_fd=self.directory)
            wire.write_mark(self.directory, wire.ENDED, wire.ended(record))

    def lose(self, status: int) -> None:
        """Write the command's wait status to R/lost, because no record will be written."""
        with contextlib.suppress(OSError):
            wire.write_mark(self.directory, wire.LOST, str(status).encode())

    def stay_reachable(self) -> None:
        """Move R/control next to R, which will be removed, so that followers can still stop the remaining processes."""
        with contextlib.suppress(OSError):
            self._beside = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=self.directory)
            os.rename(wire.CONTROL, self.name + wire.LEFT, src_dir_fd=self.directory, dst_dir_fd=self._beside)

    def leave(self) -> None:
        """Remove the socket next to R, because no process is left."""
        with contextlib.suppress(OSError):
            os.unlink(self.name + wire.LEFT, dir_fd=self._beside)
            os.close(self._beside)

"""R and its marks as launcher and supervisor make them, and the parts of R that outlive it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from typing import Any

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import LaunchSpec


def parent_of_this_boot(parent: str) -> str:
    """Return the parent of all R of this boot; those of another boot are ignored."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return os.path.join(parent, file.read().strip())


def make_parent(runs: str) -> None:
    """Make the parent of all R of this boot if it is missing; users may enter it but not list it."""
    os.makedirs(runs, 0o711, exist_ok=True)


def make_directory(runs: str, name: str, attempts: Callable[[], list[str]]) -> None:
    """Make an R. Raises FileExistsError if `attempts` has it or it may have started, and other OSErrors."""
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
    """Write the launch spec into a new R. Raises OSError; then R is removed, or vacated when the spec is sent again."""
    try:
        wire.write_mark(None, f"{path}/{wire.SPEC}", spec)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(path)
        raise


def vacate(path: str) -> None:
    """Remove an R in which nothing started: half made, or abandoned by recovery. Raises FileExistsError otherwise.

    A supervisor of an earlier launcher may still be about to claim it, and finds it deleted.
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
    """Return the notice for an attempt whose R can't be claimed: it is another's, or deleted, or there is an error."""
    if error.errno in (errno.EEXIST, errno.EADDRINUSE):
        return f"idle {name}"
    where = "supervisor" if error.errno in wire.NO_DESCRIPTOR else "run directory"
    return f"unstarted {name} {where}: {error.strerror}"


class Marks:
    """The marks of one attempt, in R (a descriptor). Methods raise OSError if R can't be written now, unless noted."""

    __slots__ = ("_beside", "_directory", "_name")

    def __init__(self, directory: int, name: str) -> None:
        self._directory, self._name = directory, name
        self._beside = -1

    def spec(self) -> LaunchSpec:
        """Return the launch spec. Raises OSError if it can't be read or is incomplete."""
        order = wire.read_spec(self._directory)
        if order is None:
            raise OSError(errno.ENODATA, "its launch spec is incomplete")
        return order

    def claim(self, mark: wire.SpawningMark) -> None:
        """Make the token that decides who starts this attempt. Raises FileExistsError if another has it."""
        wire.claim(self._directory, mark)

    def started(self, mark: wire.PidMark) -> None:
        """Write the pids of the processes, if there is room; R/control shows that the supervisor lives."""
        with contextlib.suppress(OSError):
            wire.write_mark(self._directory, wire.PID, mark.encode())

    def started_again(self, mark: wire.PidMark) -> None:
        """Write R/pid again, because another process replaced the main process of the attempt."""
        with contextlib.suppress(OSError):
            os.unlink(wire.PID, dir_fd=self._directory)
        self.started(mark)

    def telemetry(self, found: Mapping[str, Any]) -> None:
        """Write the telemetry so far, if there is room: for readers, and for the record if the supervisor dies."""
        with contextlib.suppress(OSError):
            wire.replace_mark(self._directory, wire.TELEMETRY, found)

    def slurm(self, found: Mapping[str, Any]) -> None:
        """Write the state of the Slurm job, if there is room, for readers."""
        with contextlib.suppress(OSError):
            wire.replace_mark(self._directory, wire.SLURM, found)

    def are_there(self) -> bool:
        """Return whether R exists. If it does not, the run is lost, even if no scheduler decided so."""
        try:
            os.stat(wire.SPAWNING, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        except OSError:  # unknown at this moment
            return True
        return True

    def end(self, record: bytes) -> None:
        """Write R/ended. Replaces a partial file that an earlier try left behind."""
        try:
            wire.write_mark(self._directory, wire.ENDED, wire.ended(record))
        except FileExistsError:
            os.unlink(wire.ENDED, dir_fd=self._directory)
            wire.write_mark(self._directory, wire.ENDED, wire.ended(record))

    def lose(self, status: int) -> None:
        """Write the wait status of the command, because its record will not be written."""
        with contextlib.suppress(OSError):
            wire.write_mark(self._directory, wire.LOST, str(status).encode())

    def stay_reachable(self) -> None:
        """Move R/control next to R, which will be removed, so that callers reach the processes that are left."""
        with contextlib.suppress(OSError):
            self._beside = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=self._directory)
            os.rename(wire.CONTROL, self._name + wire.LEFT, src_dir_fd=self._directory, dst_dir_fd=self._beside)

    def leave(self) -> None:
        """Remove that socket, because no process is left."""
        with contextlib.suppress(OSError):
            os.unlink(self._name + wire.LEFT, dir_fd=self._beside)
            os.close(self._beside)

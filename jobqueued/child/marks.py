"""R and its marks as launcher and supervisor make them, and what of R outlives it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping
from typing import Any

from jobqueued.child import wire
from jobqueued.child.documents import LaunchSpec


def parent_of_this_boot(parent: str) -> str:
    """The parent of all R's of this boot; those of another boot are not looked at."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return os.path.join(parent, file.read().strip())


def make_parent(runs: str) -> None:
    """Make the parent of all R's of this boot, where there is none: who may enter it can't list it."""
    os.makedirs(runs, 0o711, exist_ok=True)


def make_directory(runs: str, name: str, attempts: Callable[[], list[str]]) -> None:
    """Make an R; FileExistsError: one of `attempts`, which somebody has, or one that has begun; other OSErrors."""
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
    """Write the launch spec into a new R; OSError, and R is gone, or to be vacated when it is sent again."""
    try:
        wire.write_mark(None, f"{path}/{wire.SPEC}", spec)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(path)
        raise


def vacate(path: str) -> None:
    """Remove an R in which nothing began: half made, or given up by a recovery.  FileExistsError: something may have.

    A supervisor of an earlier launcher that is still on its way to it finds it gone.
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
    """The notice of an attempt whose R can't be taken: it is another's, or it is gone, or nobody could do so now."""
    if error.errno in (errno.EEXIST, errno.EADDRINUSE):
        return f"idle {name}"
    where = "supervisor" if error.errno in wire.NO_DESCRIPTOR else "run directory"
    return f"unstarted {name} {where}: {error.strerror}"


class Marks:
    """Those of one attempt, in R (a descriptor).  Where nothing else is said, OSError: R can't be written now."""

    __slots__ = ("_beside", "_directory", "_name")

    def __init__(self, directory: int, name: str) -> None:
        self._directory, self._name = directory, name
        self._beside = -1

    def spec(self) -> LaunchSpec:
        """The launch spec; OSError: it can't be read, or is not whole."""
        order = wire.read_spec(self._directory)
        if order is None:
            raise OSError(errno.ENODATA, "its launch spec is incomplete")
        return order

    def claim(self, mark: wire.SpawningMark) -> None:
        """Make the token that decides who starts this attempt; FileExistsError: another has it."""
        wire.claim(self._directory, mark)

    def started(self, mark: wire.PidMark) -> None:
        """Say which processes they are, where there is room; R/control tells that we live."""
        with contextlib.suppress(OSError):
            wire.write_mark(self._directory, wire.PID, mark.encode())

    def started_again(self, mark: wire.PidMark) -> None:
        """Say that another process has taken the place of its own."""
        with contextlib.suppress(OSError):
            os.unlink(wire.PID, dir_fd=self._directory)
        self.started(mark)

    def telemetry(self, found: Mapping[str, Any]) -> None:
        """Say what its hooks have said so far, where there is room: for whoever asks, and for its record if we die."""
        with contextlib.suppress(OSError):
            wire.replace_mark(self._directory, wire.TELEMETRY, found)

    def slurm(self, found: Mapping[str, Any]) -> None:
        """Say what Slurm says of it, where there is room: for whoever asks."""
        with contextlib.suppress(OSError):
            wire.replace_mark(self._directory, wire.SLURM, found)

    def are_there(self) -> bool:
        """True while R is.  Without it the run is lost, also for a scheduler that did not judge it so."""
        try:
            os.stat(wire.SPAWNING, dir_fd=self._directory)
        except FileNotFoundError:
            return False
        except OSError:  # nobody can tell now
            return True
        return True

    def end(self, record: bytes) -> None:
        """Make R/ended, whole: before there was none, or half of one that could not be removed."""
        try:
            wire.write_mark(self._directory, wire.ENDED, wire.ended(record))
        except FileExistsError:
            os.unlink(wire.ENDED, dir_fd=self._directory)
            wire.write_mark(self._directory, wire.ENDED, wire.ended(record))

    def lose(self, status: int) -> None:
        """Say the wait status of its command, as nobody will write its record."""
        with contextlib.suppress(OSError):
            wire.write_mark(self._directory, wire.LOST, str(status).encode())

    def stay_reachable(self) -> None:
        """R goes; whoever asks what is left finds us beside it, if anything can be made there now."""
        with contextlib.suppress(OSError):
            self._beside = os.open("..", os.O_PATH | os.O_CLOEXEC, dir_fd=self._directory)
            os.rename(wire.CONTROL, self._name + wire.LEFT, src_dir_fd=self._directory, dst_dir_fd=self._beside)

    def leave(self) -> None:
        """Nothing is left any more."""
        with contextlib.suppress(OSError):
            os.unlink(self._name + wire.LEFT, dir_fd=self._beside)
            os.close(self._beside)

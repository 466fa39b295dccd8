"""The words between scheduler, launcher and supervisors, and the marks they leave in R.

R is the directory of one live attempt, ``<runs>/<job>@<n>.<a>/``:

    spec      the launch spec, one JSON object                                   launcher
    control   Unix socket; whoever connects follows the attempt, and may stop it  supervisor
    spawning  made with O_EXCL: whoever makes it decides alone whether to start   supervisor (a link: recovery)
              "<before on BOOTTIME> <own|shared>", and its cgroups as /proc/PID/cgroup has them
    pid       "<pid> <started ns, wall> <before> <after> <supervisor>", before and after on BOOTTIME   supervisor
    telemetry what its hooks have said so far, one JSON object; telemetry.tmp before it is that   supervisor
    slurm     of an attempt on Slurm: its job, where that is, in which state and why, one JSON object   supervisor
    ended     the record as one line, complete only with its newline; "over" in it: when, on BOOTTIME   supervisor
    lost      the wait status of a job whose supervisor died                      launcher (or that supervisor)

Beside R, ``<job>@<n>.<a>.left`` is R/control of an attempt that has ended, while processes that it left live, and the
scheduler's ``whole``, or ``emptied`` before it, goes with whoever removes all of them.

Between scheduler and launcher go lines over a stream socket:

    → hello VERSION            ← holds NAME (for each attempt it has), then hello VERSION PID CGROUPS
    → launch NAME SPEC         ← known NAME | unstarted NAME REASON | started NAME PID NS
                                 | stopping NAME REASON | ended NAME | lost NAME STATUS
    → account NUMBER KIND NAME ← account NUMBER TROUBLE (nothing: jobs can run as that user, or with that group), NAME
                                 in JSON, as identity.trouble_with takes it
                                 (of KIND "uid" and "NUMBER" it is "named NAME" of that user, or nothing)
    → notify NUMBER ORDER      ← part NUMBER PART ANSWER (of each part that has one of its own, by its number), then
                                 notified NUMBER ANSWER (of the notifier: sent, later …, never …)
    → crontab NUMBER ORDER     ← the same, with the parts of a table, and an answer of spool_orders.carry_out; also to
                                 ask who somebody is
    → watch NUMBER UID ORDER   ← of a user's watcher, the only one (watching.become has ORDER): appeared NUMBER PLACE
                                 INSTANT FILE (of the path at PLACE; "-": now; a JSON string), unnoticed NUMBER PLACE
                                 ERRNO ("-" 0: nothing any more); unwatched NUMBER: it has ended
    → unwatch NUMBER

Launcher and supervisor exchange packets: NAME with the directory's descriptor, "sync", and the notices above; "left"
is the "ended" of a supervisor that leaves the pool.
CGROUPS is "cgroups" with the controllers that those of attempts have (``cgroups,memory,pids``), or "-" for none at all.
On R/control a follower reads "live", "stopping REASON", and "ended" at the end; it may write "stop REASON".
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import resource
import socket
import stat
import time
from collections.abc import Mapping
from typing import Any, cast

from jobqueued.child import atomic_file, json_values
from jobqueued.child.documents import LaunchSpec, Record
from jobqueued.child.tuples import NamedTuple

VERSION = 13
NOTICE = 4096
"""No message between launcher and supervisor is longer (bytes)."""
SPEC, CONTROL, SPAWNING, PID, ENDED, LOST = "spec", "control", "spawning", "pid", "ended", "lost"
TELEMETRY, SLURM = "telemetry", "slurm"
_ASIDE = {TELEMETRY: "telemetry.tmp", SLURM: "slurm.tmp"}
LEFT = ".left"
OVER = "over"
SYNC = "sync"
NAME_OF, NAMED = "uid", "named "
MARKS = (SPEC, CONTROL, SPAWNING, PID, TELEMETRY, SLURM, *_ASIDE.values(), ENDED, LOST)
USUAL = (SPEC, CONTROL, SPAWNING, PID, ENDED)
"""Those of an attempt that has come to its end as most do."""

_CGROUPS = "cgroups"

SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Failures that say nothing about a file, but that it can't be looked at now."""
SYSTEM_TROUBLE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT})
"""Failures to start that say nothing about the job: the attempt goes back to waiting and counts for nothing."""
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


_RECOVERY = "recovery"


def take_token(directory: int) -> None:
    """Make R/spawning, as recovery does, so that no supervisor can: FileExistsError if one has; other OSErrors.

    It is a symbolic link: there or not, never torn, and never mistaken for a supervisor's.
    """
    os.symlink(_RECOVERY, SPAWNING, dir_fd=directory)


def may_have_started(directory: int) -> bool:
    """Tell whether a supervisor has made R/spawning; OSError."""
    try:
        return not stat.S_ISLNK(os.stat(SPAWNING, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def cgroups(controllers: list[str] | None) -> str:
    """The word for the cgroups of attempts in the launcher's hello; None: they have none."""
    return "-" if controllers is None else ",".join([_CGROUPS, *controllers])


def cgroup_of_user(uid: int) -> str:
    """The name of the cgroup in which all runs of a user are."""
    return f"u{uid}"


def controllers(hello: str) -> list[str] | None:
    """The same from VERSION PID CGROUPS."""
    name, *found = hello.rpartition(" ")[2].split(",")
    return found if name == _CGROUPS else None


def limit_files(soft: int | None) -> None:
    """Set the soft limit of open files, None: as high as it goes; jobs get the traditional one (select(2) users)."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft is None else min(soft, hard), hard))


def open_directory(path: str) -> int:
    """A descriptor for a directory: names below it stay the same directory's, whatever happens to the path."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def write_mark(directory: int | None, name: str, data: bytes = b"", mode: int = 0o600) -> None:
    """Create R/name with this content; FileExistsError if it is there already.  OSError: nothing of it stays.

    `directory` None: `name` is a path.
    """
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=directory)
    try:
        if data and os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=directory)
        raise
    finally:
        os.close(descriptor)


def replace_mark(directory: int, name: str, document: Mapping[str, Any]) -> None:
    """Make or replace R/name; OSError: the one before is still there."""
    aside = _ASIDE[name]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=directory)
    write_mark(directory, aside, encode(document))
    os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)


def claim(directory: int, mark: SpawningMark) -> None:
    """Make R/spawning, as supervisors do; FileExistsError.  Where there is no room for what it tells, it is empty."""
    descriptor = os.open(SPAWNING, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    with contextlib.suppress(OSError):
        os.write(descriptor, mark.encode())
    os.close(descriptor)


def read_mark(directory: int | None, name: str) -> bytes | None:
    """R/name's content; None: not there.  `directory` None: `name` is a path."""
    try:
        return atomic_file.content(name, directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # recovery's R/spawning
            return None
        raise


def read_whole(directory: int, name: str) -> bytes | None:
    """The same of a mark that ends with a newline; None: not there, or its writer did not come to the end."""
    data = read_mark(directory, name)
    return data if data and data.endswith(b"\n") else None


def read_spec(directory: int) -> LaunchSpec | None:
    """The launch spec; None: not there, not whole, or not one at all."""
    with contextlib.suppress(ValueError):
        found = json.loads(read_whole(directory, SPEC) or b"null")
        return cast("LaunchSpec", found) if isinstance(found, dict) else None
    return None


def encode(document: LaunchSpec | Record | Mapping[str, Any]) -> bytes:
    """One JSON object on one line, with its newline."""
    return json_values.line(document).encode() + b"\n"


def ended(record: bytes) -> bytes:
    """R/ended of this record: with the instant, which tells the order of ends whatever the wall clock does."""
    instant = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return record.removesuffix(b"}\n") + f',"{OVER}":{instant}}}\n'.encode()


class SpawningMark(NamedTuple):
    """R/spawning: the instant (BOOTTIME, ns) before which nothing of the attempt was born, and the cgroups of its
    supervisor, as /proc/PID/cgroup has them; `own`: the attempt gets one of its own beside that.
    """

    before: int
    own: bool
    cgroups: str

    @classmethod
    def now(cls, cgroups: str, *, own: bool) -> SpawningMark:
        """That of an attempt that is about to begin."""
        return cls(time.clock_gettime_ns(time.CLOCK_BOOTTIME), own, cgroups)

    def encode(self) -> bytes:
        """As R/spawning has it."""
        return f"{self.before} {'own' if self.own else 'shared'}\n{self.cgroups}".encode(errors="surrogateescape")

    @classmethod
    def parse(cls, mark: bytes) -> SpawningMark | None:
        """The inverse of `encode`; None: it is not whole, or of a version that wrote nothing into it."""
        head, newline, cgroups = mark.decode(errors="surrogateescape").partition("\n")
        found = _SPAWNING_MARK.fullmatch(head)
        if found is None or not newline or not cgroups.endswith("\n") or int(found[1]) >= 1 << 63:
            return None
        return cls(int(found[1]), found[2] == "own", cgroups)


class PidMark(NamedTuple):
    """R/pid: two processes, when the first was started (wall, ns), and between which instants (BOOTTIME)."""

    pid: int
    started: int
    before: int
    after: int
    supervisor: int | None = None
    """Which supervisors of older versions did not say."""

    @classmethod
    def of(cls, pid: int, started: int, before: int) -> PidMark:
        """That of a process of ours that was started since `before`."""
        return cls(pid, started, before, time.clock_gettime_ns(time.CLOCK_BOOTTIME), os.getpid())

    def encode(self) -> bytes:
        """As R/pid has it."""
        return " ".join(map(str, self)).encode() + b"\n"

    @classmethod
    def parse(cls, mark: bytes) -> PidMark | None:
        """The inverse of `encode`; None: it is not whole, or no such mark at all."""
        numbers = [int(field) for field in mark.split()] if _PID_MARK.fullmatch(mark) else []
        return cls(*numbers) if numbers and max(numbers) < 1 << 63 else None


_PID_MARK = re.compile(rb"\d{1,7}( \d{1,19}){3}( \d{1,7})?\n", re.A)
_SPAWNING_MARK = re.compile(r"(\d{1,19}) (own|shared)", re.A)
_STATUS = re.compile(r"\d{1,5}", re.A)


def parse_status(text: str) -> int | None:
    """The wait status in R/lost and in the notice `lost`; None where nobody knows it, "-"."""
    return int(text) if _STATUS.fullmatch(text) else None


class Lines:
    """Complete lines from a non-blocking stream socket."""

    def __init__(self, connection: socket.socket, chunk: int = 1 << 16) -> None:
        self._connection, self._chunk = connection, chunk
        self._rest = b""

    def read(self) -> list[bytes] | None:
        """The lines that are complete now; None: the other side is gone and no complete line is left."""
        try:
            data = self._connection.recv(self._chunk)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

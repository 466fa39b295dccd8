"""The protocols between scheduler, launcher and supervisors, and the marks, which are files in R.

R is the directory of a live attempt, ``<runs>/<job>@<n>.<a>/``. The marks in R, with their writers:

    spec      the launch spec, one JSON object                                   launcher
    control   Unix socket: a process that connects follows the attempt, and may stop it   supervisor
    spawning  made with O_EXCL: its maker decides alone whether the job starts    supervisor (a link: recovery)
              "<before on BOOTTIME> <own|shared>", and its cgroups in the format of /proc/PID/cgroup
    pid       "<pid> <started ns, wall> <before> <after> <supervisor>", before and after on BOOTTIME   supervisor
    telemetry the telemetry so far, one JSON object; it is renamed from telemetry.tmp                  supervisor
    slurm     for an attempt on Slurm: job, node, state and reason, one JSON object                    supervisor
    ended     the record in one line, complete only with its newline; "over": instant on BOOTTIME      supervisor
    lost      the wait status of a job whose supervisor died                      launcher (or that supervisor)

Next to R, ``<job>@<n>.<a>.left`` is an ended attempt's R/control while processes that it left are alive. The
scheduler's file ``whole`` next to R, or ``emptied`` before it, is also removed when a user empties the directory
(runs/emptying.py).

Scheduler (→) and launcher (←) exchange lines over a stream socket:

    → hello VERSION            ← holds NAME (for each of its attempts), then hello VERSION PID CGROUPS
    → launch NAME SPEC         ← known NAME | unstarted NAME REASON | started NAME PID NS
                                 | stopping NAME REASON | ended NAME | lost NAME STATUS
    → account NUMBER KIND NAME ← account NUMBER PROBLEM ("": jobs can run as that user, or with that group); NAME is
                                 JSON for identity.trouble_with
                                 (of KIND "uid" and "NUMBER": "named NAME" of that user, or "")
    → notify NUMBER ORDER      ← part NUMBER PART ANSWER (for each part that has its own answer), then
                                 notified NUMBER ANSWER (of the notifier: sent, later …, never …)
    → crontab NUMBER ORDER     ← the same, with the parts of a table, and an answer of spool_orders.carry_out; also to
                                 get a user's identity
    → watch NUMBER UID ORDER   ← from the user's only watcher (ORDER: see watching.become): appeared NUMBER PLACE
                                 INSTANT FILE (for the path at PLACE; "-": now; a JSON string), unnoticed NUMBER PLACE
                                 ERRNO ("-" 0: nothing is missed now); unwatched NUMBER: the watcher ended
    → unwatch NUMBER

Launcher and supervisor exchange packets: NAME with the descriptor of R, "sync", and the notices above. A supervisor
that leaves the pool sends "left" instead of "ended". CGROUPS is "cgroups" with the controllers that attempts' cgroups
have (``cgroups,memory,pids``), or "-" if attempts have no cgroups. On R/control a follower reads "live", "stopping
REASON", and "ended" at the end; it may write "stop REASON".
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

from jobqueued.child.contract import atomic_file, json_values
from jobqueued.child.contract.documents import LaunchSpec, Record
from jobqueued.child.contract.tuples import NamedTuple

VERSION = 13
NOTICE = 4096
"""Maximum length of a message between launcher and supervisor (bytes)."""
SPEC, CONTROL, SPAWNING, PID, ENDED, LOST = "spec", "control", "spawning", "pid", "ended", "lost"
TELEMETRY, SLURM = "telemetry", "slurm"
_ASIDE = {TELEMETRY: "telemetry.tmp", SLURM: "slurm.tmp"}
LEFT = ".left"
OVER = "over"
SYNC = "sync"
NAME_OF, NAMED = "uid", "named "
MARKS = (SPEC, CONTROL, SPAWNING, PID, TELEMETRY, SLURM, *_ASIDE.values(), ENDED, LOST)
USUAL = (SPEC, CONTROL, SPAWNING, PID, ENDED)
"""The marks of an attempt that ended normally."""

_CGROUPS = "cgroups"

SHORTAGE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors that mean only that a file can't be checked now."""
SYSTEM_TROUBLE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT})
"""Start errors that the job did not cause. The attempt waits for another start and does not count."""
NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


_RECOVERY = "recovery"


def take_token(directory: int) -> None:
    """Make R/spawning for recovery, so that no supervisor can make it. Raises OSError (FileExistsError if it exists).

    The mark is a symbolic link, because a link is never incomplete, and a supervisor's mark is a file.
    """
    os.symlink(_RECOVERY, SPAWNING, dir_fd=directory)


def may_have_started(directory: int) -> bool:
    """Return whether a supervisor made R/spawning. Raises OSError."""
    try:
        return not stat.S_ISLNK(os.stat(SPAWNING, dir_fd=directory, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def cgroups(controllers: list[str] | None) -> str:
    """Return CGROUPS for the launcher's hello. `controllers` None means that attempts have no cgroups."""
    return "-" if controllers is None else ",".join([_CGROUPS, *controllers])


def cgroup_of_user(uid: int) -> str:
    """Return the name of the cgroup that contains all of a user's runs."""
    return f"u{uid}"


def controllers(hello: str) -> list[str] | None:
    """Return the controllers in VERSION PID CGROUPS, or None if attempts have no cgroups."""
    name, *found = hello.rpartition(" ")[2].split(",")
    return found if name == _CGROUPS else None


def limit_files(soft: int | None) -> None:
    """Set the soft limit of open files; None means the hard limit.

    Jobs get a lower limit, because select(2) needs it.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if soft is None else min(soft, hard), hard))


def open_directory(path: str) -> int:
    """Return a descriptor of a directory. The descriptor refers to the same directory even if the path changes."""
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def write_mark(directory: int | None, name: str, data: bytes = b"", mode: int = 0o600) -> None:
    """Create R/name with this content. Raises OSError (FileExistsError if it exists); no partial file remains.

    If `directory` is None, `name` is a path.
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
    """Make or replace R/name. Raises OSError; the old mark then remains."""
    aside = _ASIDE[name]
    with contextlib.suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=directory)
    write_mark(directory, aside, encode(document))
    os.rename(aside, name, src_dir_fd=directory, dst_dir_fd=directory)


def claim(directory: int, mark: SpawningMark) -> None:
    """Make R/spawning for a supervisor. Raises FileExistsError if it exists. On a full disk, the mark is empty."""
    descriptor = os.open(SPAWNING, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    with contextlib.suppress(OSError):
        os.write(descriptor, mark.encode())
    os.close(descriptor)


def read_mark(directory: int | None, name: str) -> bytes | None:
    """Return R/name's content, or None if it is missing. If `directory` is None, `name` is a path."""
    try:
        return atomic_file.content(name, directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:  # recovery's R/spawning is a link
            return None
        raise


def read_whole(directory: int, name: str) -> bytes | None:
    """Return the content of a mark that ends with a newline, or None if it is missing or incomplete."""
    data = read_mark(directory, name)
    return data if data and data.endswith(b"\n") else None


def read_spec(directory: int) -> LaunchSpec | None:
    """Return the launch spec, or None if it is missing, incomplete or invalid."""
    with contextlib.suppress(ValueError):
        found = json.loads(read_whole(directory, SPEC) or b"null")
        return cast("LaunchSpec", found) if isinstance(found, dict) else None
    return None


def encode(document: LaunchSpec | Record | Mapping[str, Any]) -> bytes:
    """Return a document as one line of JSON, with its newline."""
    return json_values.line(document).encode() + b"\n"


def ended(record: bytes) -> bytes:
    """Return R/ended's content for a record.

    It includes an instant that orders ends even if the wall clock is changed.
    """
    instant = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return record.removesuffix(b"}\n") + f',"{OVER}":{instant}}}\n'.encode()


class SpawningMark(NamedTuple):
    """R/spawning's content.

    `before`: no process of the attempt started before this instant (BOOTTIME, ns). `own`: the attempt gets a separate
    cgroup, next to its supervisor's cgroup. `cgroups`: its supervisor's cgroups, in the format of /proc/PID/cgroup.
    """

    before: int
    own: bool
    cgroups: str

    @classmethod
    def now(cls, cgroups: str, *, own: bool) -> SpawningMark:
        """Return the mark of an attempt that starts now."""
        return cls(time.clock_gettime_ns(time.CLOCK_BOOTTIME), own, cgroups)

    def encode(self) -> bytes:
        """Return the content of R/spawning."""
        return f"{self.before} {'own' if self.own else 'shared'}\n{self.cgroups}".encode(errors="surrogateescape")

    @classmethod
    def parse(cls, mark: bytes) -> SpawningMark | None:
        """Parse the content of R/spawning. Return None if it is incomplete, or empty as in old versions."""
        head, newline, cgroups = mark.decode(errors="surrogateescape").partition("\n")
        found = _SPAWNING_MARK.fullmatch(head)
        if found is None or not newline or not cgroups.endswith("\n") or int(found[1]) >= 1 << 63:
            return None
        return cls(int(found[1]), found[2] == "own", cgroups)


class PidMark(NamedTuple):
    """The content of R/pid: the main process, its start (wall, ns), and the supervisor.

    `before`, `after`: instants before and after the start (BOOTTIME, ns).
    """

    pid: int
    started: int
    before: int
    after: int
    supervisor: int | None = None
    """None if a supervisor of an older version wrote the mark."""

    @classmethod
    def of(cls, pid: int, started: int, before: int) -> PidMark:
        """Return the mark for our child `pid`, which was started after `before`."""
        return cls(pid, started, before, time.clock_gettime_ns(time.CLOCK_BOOTTIME), os.getpid())

    def encode(self) -> bytes:
        """Return the content of R/pid."""
        return " ".join(map(str, self)).encode() + b"\n"

    @classmethod
    def parse(cls, mark: bytes) -> PidMark | None:
        """Parse the content of R/pid. Return None if it is incomplete or invalid."""
        numbers = [int(field) for field in mark.split()] if _PID_MARK.fullmatch(mark) else []
        return cls(*numbers) if numbers and max(numbers) < 1 << 63 else None


_PID_MARK = re.compile(rb"\d{1,7}( \d{1,19}){3}( \d{1,7})?\n", re.A)
_SPAWNING_MARK = re.compile(r"(\d{1,19}) (own|shared)", re.A)
_STATUS = re.compile(r"\d{1,5}", re.A)


def parse_status(text: str) -> int | None:
    """Parse the wait status in R/lost or in the notice `lost`. Return None if it is unknown ("-")."""
    return int(text) if _STATUS.fullmatch(text) else None


class SocketLines:
    """Complete lines from a non-blocking stream socket."""

    def __init__(self, connection: socket.socket, chunk: int = 1 << 16) -> None:
        self._connection, self._chunk = connection, chunk
        self._rest = b""

    def read(self) -> list[bytes] | None:
        """Return the complete lines so far, or None if the other side closed and no complete line is left."""
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

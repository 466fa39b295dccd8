"""The daemon, and its launcher, with I/O that fails: every call that changes a disk, starts a process, or needs a
descriptor is wrapped from outside, in scheduler, launcher and supervisors.

As the daemon:    python tests/support/failing.py DAEMON-ARGUMENTS…
As the launcher:  python -I -S tests/support/failing.py RUNS_PARENT --exit-when-idle

With a directory ROOT/calls one call of all fails.  A point is "WHO CALL PLACE NTH", the NTH such call of this host:
"supervisor write R1/ended 1".  ROOT/calls gets a file for each "WHO CALL PLACE", a byte long for each call, so an
ordinary life tells which points there are.  ROOT/fault, a line "FAULT" and a line "POINT", arms one fault; the file
goes when the point is reached:

    ENOSPC, EIO, EROFS, EMFILE, EAGAIN   the call fails so, and does nothing
    dies                                 the process is killed right after the call
    torn                                 half of the bytes are written, and the rest finds no room
    torn, dies                           half of the bytes are written, and the process is killed
    ENOSPC… EIO… EROFS…                  from this call on whatever changes this disk fails so, until ROOT/lasting goes

Without, in launcher and supervisors, whatever a line "CALL NAME FAULT" of ROOT/standing is about fails as long as that
is there; NAME is the last word of a path, or "-".
"""

from __future__ import annotations

import builtins
import contextlib
import errno
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

LASTING = "…"
READS = ("SELECT", "PRAGMA")
CHANGES = ("create", "write", "mkdir", "rename", "bind", "symlink", "unlink", "rmdir", "allocate", "fsync", "sql")
"""The calls that change a disk."""
NEEDS_ROOM = ("create", "write", "mkdir", "symlink", "bind", "allocate", "sql")
OF_SQLITE = {
    "ENOSPC": ("SQLITE_FULL", 13, "database or disk is full"),
    "EIO": ("SQLITE_IOERR_WRITE", 778, "disk I/O error"),
    "EROFS": ("SQLITE_READONLY", 8, "attempt to write a readonly database"),
}
"""What SQLite makes of it: name, code and message of its error."""

_REAL = ("open", "read", "write", "close", "fstat", "rename", "readlink")
_os = SimpleNamespace(**{name: getattr(os, name) for name in _REAL})
"""The functions as they were."""


class Points:
    """What this process does, counted, and the fault that is armed."""

    def __init__(self, root: str, who: str) -> None:
        self._root, self._who = root, {os.getpid(): who}
        self.replace: Callable[[Any, str, Any], object] = setattr
        self.torn: set[int] = set()
        """Descriptors to which nothing more can be written."""

    def become(self, who: str) -> None:
        """This process, a fork, is somebody else now; a fork that isn't told so does nothing that counts."""
        self._who[os.getpid()] = who

    def place(self, path: Any, directory: int | None = None) -> str | None:
        """The name of a path below our root, the same for every host; None: it is none of ours."""
        if isinstance(path, int):
            directory, path = path, ""
        text = os.fsdecode(path)
        with contextlib.suppress(OSError):
            if through := re.match("/proc/self/fd/([0-9]+)/", text):
                directory, text = int(through[1]), text[through.end() :]
            if directory is not None and not text.startswith("/"):
                text = f"{_os.readlink(f'/proc/self/fd/{directory}')}/{text}".rstrip("/")
        if not text.startswith(f"{self._root}/"):
            return None
        text = text.removeprefix(f"{self._root}/")
        text = re.sub(r"^run/runs/[^/]*/probe@1\.([0-9])(?=/|$)", r"R\1", text)
        return re.sub(r"^run/runs/[^/]*", "runs", text).replace(" (deleted)", "")

    def reached(self, call: str, place: str) -> str | None:
        """Count this call; the fault that it is to meet."""
        who = self._who.get(os.getpid())
        if who is None:
            return None
        point = f"{who} {call} {place}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        counter = _os.open(f"{self._root}/calls/{point.replace('/', '|')}", flags, 0o644)
        _os.write(counter, b".")
        nth = _os.fstat(counter).st_size
        _os.close(counter)
        armed, _, at = self._told("fault").partition("\n")
        if at == f"{point} {nth}":
            with contextlib.suppress(FileNotFoundError):
                _os.rename(f"{self._root}/fault", f"{self._root}/lasting" if LASTING in armed else f"{self._root}/met")
                return armed.removesuffix(LASTING)
        lasting, _, since = self._told("lasting").partition("\n")
        kind, failing = call.partition("-")[0], lasting.removesuffix(LASTING)
        same_disk = since and _disk(since.split()[2]) == _disk(place)
        return failing if same_disk and kind in (NEEDS_ROOM if failing == "ENOSPC" else CHANGES) else None

    def _told(self, name: str) -> str:
        try:
            descriptor = _os.open(f"{self._root}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # without a descriptor left, as a test may have it, no fault is added
            return ""
        text = _os.read(descriptor, 200).decode().strip()
        _os.close(descriptor)
        return text


class Standing(Points):
    """The faults of ROOT/standing, in this process and all that it forks."""

    def __init__(self, root: str) -> None:
        super().__init__(root, "")

    def reached(self, call: str, place: str) -> str | None:
        """The fault that such calls meet there."""
        name = place.rpartition("/")[2]
        lines = (line.split() for line in self._told("standing").splitlines())
        return next((fault for where, what, fault in lines if (where, what) == (call, name)), None)

    def install(self, replace: Callable[[Any, str, Any], object] = setattr) -> None:
        """Wrap what launcher and supervisors do, by `setattr` or by what takes it back."""
        self.replace = replace
        wrap_files(self)
        wrap_processes(self)
        wrap(self, socket, "send_fds", "send", lambda *_args, **_kwargs: "-")


def _disk(place: str) -> str:
    """The file system of a place: R's and run/ are on one, the others are on one each."""
    first = place.partition("/")[0]
    return "run" if first[0] == "R" or first in ("runs", "run") else first


def die() -> None:
    """As by SIGKILL from outside."""
    os.kill(os.getpid(), signal.SIGKILL)


def wrap(points: Points, owner: Any, name: str, call: str, place_of: Callable[..., str | None]) -> None:
    """Wrap one function; `place_of` takes its arguments.  Where it gives None nothing is counted."""
    real: Callable[..., Any] = getattr(owner, name)

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        place = place_of(*args, **kwargs)
        kind = "open" if call == "create" and not _creates(*args, **kwargs) else call
        fault = None if place is None else points.reached(kind, place)
        if call == "write" and args[0] in points.torn:
            points.torn.remove(args[0])
            fault = "ENOSPC"
        if fault is None or fault == "dies":
            result = real(*args, **kwargs)
            points.torn -= {result} if kind in ("create", "open") and isinstance(result, int) else set()
            return die() if fault else result
        if fault.startswith("torn"):
            points.torn.add(args[0])
            written = real(args[0], args[1][: len(args[1]) // 2], *args[2:])
            return die() if "dies" in fault else written
        number = getattr(errno, fault)
        raise OSError(number, os.strerror(number))

    points.replace(owner, name, wrapped)


def _creates(path: Any, flags: Any = "r", *_args: Any, dir_fd: int | None = None, **_kwargs: Any) -> bool:
    """Tell an open that makes a file from one that finds it, which needs no room."""
    if isinstance(flags, str):
        return not isinstance(path, int) and flags[0] in "awx" and not os.path.exists(path)
    if not flags & os.O_CREAT:
        return False
    with contextlib.suppress(FileNotFoundError):
        os.stat(path, dir_fd=dir_fd)
        return False
    return True


def wrap_files(points: Points) -> None:
    """The calls of os that have to do with files."""

    def at(path: Any, *_args: Any, dir_fd: int | None = None, **_kwargs: Any) -> str | None:
        return points.place(path, dir_fd)

    def to(_old: Any, new: Any, *_args: Any, dst_dir_fd: int | None = None, **_kwargs: Any) -> str | None:
        return points.place(new, dst_dir_fd)

    for name, call in (("open", "create"), ("write", "write"), ("pwrite", "write"), ("fsync", "fsync")):
        wrap(points, os, name, call, at)
    for name in ("mkdir", "unlink", "rmdir"):
        wrap(points, os, name, name, at)
    for name, call in (("rename", "rename"), ("replace", "rename"), ("symlink", "symlink")):
        wrap(points, os, name, call, to)
    wrap(points, os, "posix_fallocate", "allocate", at)
    wrap(points, os, "scandir", "list", at)
    wrap(points, os, "listdir", "list", at)
    wrap(points, builtins, "open", "create", lambda file, *_args, **_kwargs: points.place(file))


def wrap_processes(points: Points) -> None:
    """What makes processes and descriptors."""
    for name in ("fork", "posix_spawn", "pipe2", "pidfd_open"):
        wrap(points, os, name, name, lambda *_args, **_kwargs: "-")


def wrap_sockets(points: Points) -> None:
    """Sockets: what needs a descriptor, a name, or tells somebody something."""
    for name, call in (("accept", "accept"), ("send", "send"), ("sendmsg", "send")):
        wrap(points, socket.socket, name, call, lambda *_args, **_kwargs: "-")
    wrap(points, socket.socket, "bind", "bind", lambda _self, address: points.place(address))
    wrap(points, socket.socket, "connect", "connect", lambda _self, address: points.place(address))
    real = socket.socket.__init__

    def made(self: socket.socket, *args: Any, **kwargs: Any) -> None:
        adopted = kwargs.get("fileno") is not None or len(args) > 3
        if not adopted and (fault := points.reached("socket", "-")):
            raise OSError(getattr(errno, fault), os.strerror(getattr(errno, fault)))
        real(self, *args, **kwargs)

    socket.socket.__init__ = made  # type: ignore[method-assign]


def wrap_database(points: Points) -> None:
    """Each statement of state.db, and its commits, by a connection that fails as SQLite's own."""
    import sqlite3  # the launcher has no use for it

    def reached(words: str) -> str | None:
        kind = "read" if words.startswith(READS) else "sql"
        fault = points.reached(f"{kind}-{words}", "state/state.db")
        if fault in (None, "dies"):
            return fault
        name, code, message = OF_SQLITE[fault]
        error = sqlite3.OperationalError(message)
        error.sqlite_errorname, error.sqlite_errorcode = name, code
        raise error

    class Failing(sqlite3.Connection):
        def _do(self, act: Callable[..., Any], statement: str, *rows: Any) -> Any:
            fault = reached(statement.split(maxsplit=1)[0].strip(";"))
            result = act(statement, *rows)
            return die() if fault == "dies" else result

        def execute(self, statement: str, *values: Any) -> Any:
            return self._do(super().execute, statement, *values)

        def executemany(self, statement: str, rows: Any) -> Any:
            return self._do(super().executemany, statement, rows) if rows else super().executemany(statement, rows)

        def executescript(self, script: str) -> Any:
            return self._do(super().executescript, script)

        def __exit__(self, kind: Any, error: Any, trace: Any) -> Any:
            if kind is not None:
                return super().__exit__(kind, error, trace)
            try:
                fault = reached("COMMIT")
            except sqlite3.Error:
                self.rollback()
                raise
            super().__exit__(kind, error, trace)
            return die() if fault == "dies" else False

    connect = sqlite3.connect

    def connected(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path == ":memory:":
            return connect(path, *args, **kwargs)
        reached("CONNECT")
        return connect(path, *args, factory=Failing, **kwargs)

    sqlite3.connect = connected


def wrap_all(points: Points) -> None:
    """All but the database."""
    wrap_sockets(points)
    wrap_processes(points)
    wrap_files(points)


def limit_descriptors(pid: int, spare: int) -> None:
    """Let a process open so many more, until its soft limit is set again."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(len(used) + spare + 1) if number not in used]
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[spare], hard))


def as_launcher(arguments: list[str]) -> None:
    """The launcher and its supervisors."""
    from jobqueued.child import launcher, supervisor
    from jobqueued.child.start import posixspawn

    root = os.path.dirname(os.path.dirname(arguments[0]))
    if os.path.exists(f"{root}/calls"):
        points = Points(root, "launcher")
        become = supervisor.become

        def wrapped(*args: Any) -> None:
            points.become("supervisor")
            become(*args)

        supervisor.become = wrapped  # type: ignore[assignment]
        wrap(points, posixspawn, "spawn", "posix_spawn", lambda *_args: "-")
        wrap_all(points)
    else:
        Standing(root).install()
    launcher.main(arguments)


def as_daemon(arguments: list[str]) -> int:
    """The daemon; where one call of all is to fail, it does again sooner than usual what it does after a pause."""
    from pathlib import Path

    from jobqueued.__main__ import main
    from jobqueued.base.instants import SECOND
    from jobqueued.core.attempts import attempts
    from jobqueued.runs import following, launcher_news
    from jobqueued.state import commits, housekeeping

    root = arguments[arguments.index("--root") + 1]
    if not os.path.exists(f"{root}/calls"):
        return main(arguments, launcher=Path(__file__))
    points = Points(root, "scheduler")
    commits._RETRY = commits._AT_MOST_EVERY = launcher_news._CALL_AGAIN = SECOND // 5  # type: ignore[misc]
    housekeeping.AGAIN = SECOND // 5  # type: ignore[misc]
    attempts.SECOND = following.SECOND = SECOND // 10  # type: ignore[misc]
    wrap_database(points)
    wrap_all(points)
    return main(arguments, launcher=Path(__file__))


if __name__ == "__main__":
    if sys.flags.isolated:
        as_launcher(sys.argv[1:])
    else:
        sys.exit(as_daemon(sys.argv[1:]))

"""Steps of launcher and supervisor that fail, as on a full, read-only or broken disk, wrapped from outside.

While ROOT/fault has lines "STEP NAME ERRNO", each such step on a file of that name fails: `open` (for writing), `read`
(its opening), `torn` (half of what is written gets there), `mkdir`, `rmdir`, `unlink`, `fork`, `send`, `pipe2` (these
three have the name "-").

As the daemon:    python tests/support/faults.py DAEMON-ARGUMENTS…
As the launcher:  python -I -S tests/support/faults.py RUNS_PARENT --exit-when-idle
"""

from __future__ import annotations

import errno
import functools
import os
import resource
import socket
import sys
from collections.abc import Callable
from typing import Any

REPO = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_WRITING = os.O_WRONLY | os.O_RDWR
_real_open, _real_read, _real_write, _real_close = os.open, os.read, os.write, os.close


class Faults:
    """Those of the file ROOT/fault, in this process and all that it forks."""

    def __init__(self, root: str) -> None:
        self._path = f"{root}/fault"
        self._names: dict[int, str] = {}
        self._torn: set[int] = set()

    def check(self, step: str, name: object = "-") -> None:
        """OSError where this step is to fail."""
        try:
            descriptor = _real_open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return
        lines = _real_read(descriptor, 4096).decode().splitlines()
        _real_close(descriptor)
        for line in lines:
            what, where, number = line.split()
            if (what, where) == (step, os.path.basename(str(name))):
                raise OSError(getattr(errno, number), os.strerror(getattr(errno, number)))

    def open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        """open(2) for writing, or for reading."""
        self.check("open" if flags & _WRITING else "read", path)
        descriptor = _real_open(path, flags, *args, **kwargs)
        self._names[descriptor] = str(path)
        self._torn.discard(descriptor)
        return descriptor

    def write(self, descriptor: int, data: Any) -> int:
        """write(2) of all; or of half of it, and then of nothing."""
        try:
            self.check("torn", self._names.get(descriptor, "-"))
        except OSError:
            if descriptor in self._torn:
                raise
            self._torn.add(descriptor)
            return _real_write(descriptor, data[: len(data) // 2])
        return _real_write(descriptor, data)

    def wrapped(self, step: str, real: Callable[..., Any], *, named: bool = False) -> Callable[..., Any]:
        """A function that fails by its name alone, or on files of a name."""

        @functools.wraps(real)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.check(step, args[0] if named else "-")
            return real(*args, **kwargs)

        return wrapper

    def install(self, replace: Callable[[Any, str, Any], object] = setattr) -> None:
        """Wrap the steps, by `setattr` or by what takes it back."""
        replace(os, "open", self.open)
        replace(os, "write", self.write)
        for step in ("mkdir", "rmdir", "unlink"):
            replace(os, step, self.wrapped(step, getattr(os, step), named=True))
        for step in ("fork", "pipe2"):
            replace(os, step, self.wrapped(step, getattr(os, step)))
        replace(socket, "send_fds", self.wrapped("send", socket.send_fds))


def limit_descriptors(pid: int, spare: int) -> None:
    """Let a process open so many more, until its soft limit is set again."""
    used = {int(name) for name in os.listdir(f"/proc/{pid}/fd")}
    free = [number for number in range(len(used) + spare + 1) if number not in used]
    hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)[1]
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[spare], hard))


def as_launcher(arguments: list[str]) -> None:
    """The launcher, with faults."""
    from jobqueued.child import launcher

    Faults(os.path.dirname(os.path.dirname(arguments[0]))).install()
    launcher.main(arguments)


def as_daemon(arguments: list[str]) -> int:
    """The daemon as it is, whose launcher has faults."""
    from pathlib import Path

    from jobqueued.__main__ import main

    return main(arguments, launcher=Path(__file__))


if __name__ == "__main__":
    sys.path.append(REPO)
    if sys.flags.isolated:
        as_launcher(sys.argv[1:])
    else:
        sys.exit(as_daemon(sys.argv[1:]))

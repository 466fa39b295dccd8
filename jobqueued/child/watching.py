"""The start of a watcher: a supervisor becomes a process that runs as the user, and executes the watcher's program.

The watcher keeps only two descriptors, and none of the launcher's memory. The user controls the watcher, even with
ptrace(2). But it can't start a process, write a file or exceed its limits, and gets only CPU time that other processes
do not use.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import socket
import sys
from typing import NoReturn

from jobqueued.child.start import identity, spawn
from jobqueued.child.start.identity import StartFailed, User

WATCH = "watch"
"""The order that makes a supervisor become a watcher. A descriptor with the document comes with the order."""
PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "watcher", "main.py")
_LIMITS = {
    resource.RLIMIT_AS: 128 << 20,
    resource.RLIMIT_NOFILE: 32,
    resource.RLIMIT_CORE: 0,
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_MEMLOCK: 0,
    resource.RLIMIT_MSGQUEUE: 0,
    resource.RLIMIT_SIGPENDING: 64,
    resource.RLIMIT_NPROC: 0,
}
_OPTIONS = (
    (spawn.PR_SET_DUMPABLE, 0),
    (spawn.PR_SET_NO_NEW_PRIVS, 1),
    (spawn.PR_SET_PDEATHSIG, signal.SIGKILL),
)
"""prctl(2) options of a watcher: hide our memory until the exec, gain no privileges, die with the launcher."""
_NICE = 10
_PATHS = 3
_SECONDS = 60
"""Timeout (s) for a user database."""


def become(launcher: socket.socket, order: int) -> NoReturn:
    """Watch the paths in ``{"owner": [NAME, UID, ALLOW, DENY], "paths": […]}``. Raises SystemExit with the error.

    `owner` has the format of `identity.trouble_with`. A path may begin with ``~/`` for the user's home directory.
    """
    name = ""
    try:
        with open(order, "rb") as file:
            file.seek(0)
            document = json.loads(file.read())
        signal.alarm(_SECONDS)
        name = document["owner"][0]
        if trouble := identity.trouble_with("owner", document["owner"]):
            raise StartFailed("user", 0, trouble)
        user = identity.user_of(name)
        groups = [] if user.is_us else os.getgrouplist(user.name, user.gid)
        signal.alarm(0)
        _execute(launcher, _paths(document["paths"], user.home), user, groups)
    except (OSError, StartFailed) as error:
        raise SystemExit(f"jq-supervisor: cannot watch the paths of user {name!r}: {error}") from None


def _paths(paths: list[str], home: str) -> int:
    """Return a descriptor with the paths for the watcher, each with a NUL at its end."""
    whole = (f"{home.rstrip('/')}{path[1:]}" if path.startswith("~/") else path for path in paths)
    descriptor = os.memfd_create("paths", os.MFD_CLOEXEC)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(b"".join(os.fsencode(path) + b"\0" for path in whole))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _execute(launcher: socket.socket, paths: int, user: User, groups: list[int]) -> NoReturn:
    """Set session, identity, limits and streams, then exec. Each error is fatal."""
    os.setsid()
    launcher.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0)  # otherwise old reports would wait in the buffer
    signal.set_wakeup_fd(-1)
    os.setpriority(os.PRIO_PROCESS, 0, max(_NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    if not user.is_us:
        spawn.join_keyring()
        os.setgroups(groups)
        os.setresgid(user.gid, user.gid, user.gid)
        os.setresuid(user.uid, user.uid, user.uid)
    for option, value in _OPTIONS:
        spawn.prctl(option, value)
    for path, mode in ((sys.executable, os.X_OK), (PROGRAM, os.R_OK)):
        if not os.access(path, mode):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
    for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(each, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.dup2(paths, _PATHS)  # also closes the launcher's listener, which has this number
    os.set_inheritable(_PATHS, True)
    for target, source in ((0, launcher.fileno()), (1, _null()), (2, _null())):
        os.dup2(source, target)
    for number, limit in _LIMITS.items():  # after changing the user, which checks RLIMIT_NPROC
        most = resource.getrlimit(number)[1]
        limits = (limit, limit) if most == resource.RLIM_INFINITY or limit < most else (most, most)
        resource.setrlimit(number, limits)
    os.execve(sys.executable, [sys.executable, "-I", "-S", PROGRAM, *sys.argv[1:2]], {})


def _null() -> int:
    return os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)

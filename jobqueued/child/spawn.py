"""Start one process: posix_spawn where it can do all that is asked, else fork, with each step's failure named."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import signal
from typing import Any, NoReturn

from jobqueued.child import wire

_ALL_SIGNALS = sorted(signal.valid_signals())
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_DEVNULL = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
_ME = os.geteuid()
_PR_SET_CHILD_SUBREAPER = 36


class StartFailed(Exception):
    """The process could not be started: `step` failed with `number` (an errno, 0 where it is no system call's)."""

    def __init__(self, step: str, number: int, detail: str = "") -> None:
        super().__init__(f"{step}: {detail or os.strerror(number)}")
        self.number = number


class User:
    """What the user database says of the user a job runs as."""

    __slots__ = ("gid", "home", "name", "shell", "uid")

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.name, self.uid, self.gid, self.home, self.shell = (
            entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell,
        )  # fmt: skip


def _own_user() -> User:
    try:
        return User(pwd.getpwuid(_ME))
    except KeyError:  # a container's arbitrary uid
        return User(pwd.struct_passwd((str(_ME), "x", _ME, os.getegid(), "", "/", "/bin/sh")))


_OWN = _own_user()


def user_of(name: str | None) -> User:
    """The user named in a job file, None: our own; only root may choose another."""
    if name is None or name == _OWN.name:
        return _OWN
    try:
        user = User(pwd.getpwnam(name))
    except KeyError:
        raise StartFailed("user", 0, f"no user {name!r} on this host") from None
    if _ME not in (0, user.uid):
        raise StartFailed("user", errno.EPERM, f"only root can run jobs as {name!r}")
    return user


def trouble_with(name: str) -> str:
    """Why jobs can't run as a user, "" where they can."""
    try:
        user_of(name)
    except StartFailed as failure:
        return str(failure).removeprefix("user: ")
    return ""


def environment(order: dict[str, Any], user: User) -> dict[str, str]:
    """The job's environment, built from nothing."""
    return {
        "PATH": _PATH, "HOME": user.home, "SHELL": order["shell"], "LOGNAME": user.name, "USER": user.name,
        "LANG": "C.UTF-8", **order["environment"],
    }  # fmt: skip


def arguments(order: dict[str, Any]) -> list[str]:
    """A list is executed as it is; a string goes to the shell."""
    command = order["command"]
    return [order["shell"], "-c", command] if isinstance(command, str) else command


def find(program: str, path: str) -> str:
    """The file that execvp(3) would run: the job's own PATH decides."""
    if "/" in program:
        return program
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{program}"
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    raise StartFailed("exec", errno.ENOENT, f"no command {program!r} in PATH {path}")


def spawn(order: dict[str, Any], output: int) -> int:
    """Start the job with `output` (a descriptor) as stdout and stderr, in a session of its own; its pid."""
    user = user_of(order["user"])
    env = environment(order, user)
    argv = arguments(order)
    start = _spawn if user.uid == _ME else _fork
    return start(order, user, env, argv, output)


def _spawn(order: dict[str, Any], user: User, env: dict[str, str], argv: list[str], output: int) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, _DEVNULL, 0), (os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    previous = os.umask(order["umask"])
    program = argv[0]
    try:
        _change_directory(order, user)
        program = find(program, env["PATH"])
        return os.posix_spawn(
            program, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_ALL_SIGNALS
        )
    except OSError as error:
        raise StartFailed("exec", error.errno or 0, f"{program}: {error.strerror}") from None
    finally:
        os.umask(previous)
        os.chdir("/")


def _change_directory(order: dict[str, Any], user: User) -> None:
    """To the job's directory; without one to HOME, else to / as cron does for a user without a home."""
    directory = order["working_directory"]
    try:
        os.chdir(directory or user.home)
    except OSError as error:
        if directory:
            raise StartFailed("chdir", error.errno or 0, f"{directory}: {error.strerror}") from None
        os.chdir("/")


def _fork(order: dict[str, Any], user: User, env: dict[str, str], argv: list[str], output: int) -> int:
    reading, writing = os.pipe2(os.O_CLOEXEC)
    with open(reading, "rb") as report:
        try:
            pid = _forked()
            if not pid:
                _become(order, user, env, argv, output, writing)
        finally:
            os.close(writing)
        failure = report.read()
    if failure:
        os.waitpid(pid, 0)
        number, step, detail = failure.decode().split("\n", 2)
        raise StartFailed(step, int(number), detail)
    return pid


def _forked() -> int:
    try:
        return os.fork()
    except OSError as error:
        raise StartFailed("fork", error.errno or 0) from None


def _become(
    order: dict[str, Any], user: User, env: dict[str, str], argv: list[str], output: int, report: int
) -> NoReturn:
    """The forked child, from fork to exec: the order is the privilege drop's, each step fatal and named."""
    step, program = "setsid", ""
    try:
        os.setsid()
        os.umask(order["umask"])
        step = "setgroups"
        os.initgroups(user.name, user.gid)
        step = "setgid"
        os.setresgid(user.gid, user.gid, user.gid)
        step = "setuid"
        os.setresuid(user.uid, user.uid, user.uid)
        step = "stdio"
        for source, target in ((_DEVNULL, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        step = "chdir"
        _change_directory(order, user)
        step = "exec"
        program = find(argv[0], env["PATH"])
        for number in _ALL_SIGNALS:
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
        os.execve(program, argv, env)
    except StartFailed as error:
        failure = f"{error.number}\n{step}\n{str(error).partition(': ')[2]}"
    except OSError as error:
        failure = f"{error.errno}\n{step}\n{program + ': ' if program else ''}{error.strerror}"
    except BaseException as error:
        failure = f"0\n{step}\n{error!r}"
    os.write(report, failure.encode())
    os._exit(127)


def is_system_trouble(failure: StartFailed) -> bool:
    """Whether the host, not the job, kept it from starting."""
    return failure.number in wire.SYSTEM_TROUBLE


def become_subreaper() -> None:
    """Orphans below this process come to it instead of PID 1."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl(PR_SET_CHILD_SUBREAPER): {os.strerror(number)}")

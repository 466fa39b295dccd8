"""Start a process. posix_spawn is used if it supports the launch spec, for another user with the program `become`.

Otherwise a forked child reports the failed step.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import resource
import signal
import stat
import sys
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.processes import process
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.start import become, pam, posixspawn, start_report
from jobqueued.child.start.attributes import ATTRIBUTES
from jobqueued.child.start.become import Becoming
from jobqueued.child.start.environment import Environment, arguments
from jobqueued.child.start.identity import StartFailed, User, groups_lacking, groups_of, user_of_order

_ALL_SIGNALS = sorted(signal.valid_signals())
_LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, _PR_SET_NAME, _PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 1, 4, 15, 36, 38
_WIDE = sys.maxsize > 1 << 32
_KEYCTL = {
    "x86_64": 250 if _WIDE else 288,
    "i686": 288,
    "aarch64": 219 if _WIDE else 311,
    "armv8l": 311,
    "armv7l": 311,
    "riscv64": 219,
    "ppc64le": 271,
    "s390x": 280,
}
_KEYCTL_JOIN_SESSION_KEYRING = 1
_OF_OURSELVES = ("RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_NOFILE")
"""Limits that this interpreter could exceed before the exec, so they are set last."""


class StartedProcess:
    """A started process, and warnings about its start."""

    __slots__ = ("pid", "warnings")

    def __init__(self, pid: int, warnings: list[str]) -> None:
        self.pid, self.warnings = pid, warnings


class _Plan:
    """Values prepared before the fork, because the forked child must not use a user database."""

    __slots__ = ("argv", "attributes", "cgroup", "environment", "groups", "order", "outputs", "stdin", "user")

    def __init__(self, order: LaunchSpec, outputs: tuple[int, ...], cgroup: Cgroup) -> None:
        self.order, self.outputs, self.cgroup = order, outputs, cgroup
        self.attributes: Mapping[str, Any] = order["attributes"]
        self.user = user_of_order(order)
        other = not self.user.is_us or order["group"] is not None or order["groups"] is not None
        self.groups = groups_of(order, self.user) if other else groups_lacking(order, self.user)
        self.environment = Environment(order, self.user)
        self.argv = arguments(order)
        self.stdin = _stdin(order["stdin"])


def spawn(
    order: LaunchSpec, output: int, cgroup: Cgroup, errors: int | None = None, more: tuple[int, ...] = ()
) -> StartedProcess:
    """Start the job in a new session and its cgroup. `errors` None means stdout. `more`: streams after stderr."""
    plan = _Plan(order, (output, output if errors is None else errors, *more), cgroup)
    try:
        able = cgroup.directory < 0 or posixspawn.AVAILABLE
        if plan.attributes or plan.environment.login or not able:
            return _fork(plan)
        return (_spawn(plan) if plan.groups is None else _spawn_as_user(plan)) or _fork(plan)
    finally:
        os.close(plan.stdin)


def _stdin(text: str) -> int:
    """Return a descriptor for a string of any length, which any user's job can read."""
    try:
        if not text:
            return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        descriptor = os.memfd_create("stdin")
        with open(descriptor, "wb", closefd=False) as file:
            file.write(text.encode(errors="surrogateescape"))
        os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        raise StartFailed("stdin", error.errno or 0) from None
    return descriptor


def find(program: str, path: str) -> str:
    """Return the file that execvp(3) would run with the job's PATH. Raises StartFailed."""
    if "/" in program:
        return program
    for folder in path.split(":"):
        candidate = f"{folder or '.'}/{program}"
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    raise StartFailed("exec", errno.ENOENT, f"no command {program!r} in PATH {path}")


def _spawn(plan: _Plan) -> StartedProcess | None:
    """Start with posix_spawn.

    Return None if a step fails; a forked child then repeats the start and reports the step.
    """
    previous = os.umask(plan.order["umask"])
    warnings: list[str] = []
    try:
        _change_directory(plan.order, plan.user, warnings.append)
        env = plan.environment.whole()
        program = find(plan.argv[0], env["PATH"])
        pid = _posix_spawn(plan, program, plan.argv, env)
    except (OSError, StartFailed):
        return None
    finally:
        os.umask(previous)
        os.chdir("/")
    return StartedProcess(pid, warnings)


def _posix_spawn(plan: _Plan, program: str, argv: list[str], env: dict[str, str], *more: int) -> int:
    streams = (plan.stdin, *plan.outputs, *more)
    if plan.cgroup.directory >= 0:
        return posixspawn.spawn(program, argv, env, streams, plan.cgroup.directory)
    actions = [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(streams)]
    return os.posix_spawn(program, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_ALL_SIGNALS)


def _spawn_as_user(plan: _Plan) -> StartedProcess | None:
    """Start as another user with the program `become`.

    Return None if `become` is not installed, lacks what the start needs, or reports a failed step; a forked child then
    repeats the start and reports the step. Raises NoAnswer.
    """
    is_able = not (plan.user.is_us or plan.order.get("asks_pam") or plan.environment.is_read_by_user)
    if not (is_able and os.access(become.PROGRAM, os.X_OK)):
        return None
    previous = os.umask(plan.order["umask"])
    try:
        return _reported(plan, lambda report: _spawn_become(plan, report))
    except start_report.NoAnswer:
        raise
    except (OSError, StartFailed, ValueError):
        return None
    finally:
        os.umask(previous)


def _spawn_become(plan: _Plan, report: int) -> int:
    _give_outputs(plan)
    file = _becoming(plan).plan()
    try:
        place = len(plan.outputs) + 1
        return _posix_spawn(plan, become.PROGRAM, [become.PROGRAM, str(place), str(place + 1)], {}, file, report)
    finally:
        os.close(file)


def _becoming(plan: _Plan) -> Becoming:
    assert plan.groups is not None
    order, user, program, env = plan.order, plan.user, plan.argv[0], plan.environment.whole()
    if "/" not in program and not all(folder.startswith("/") for folder in env["PATH"].split(":")):
        raise StartFailed("exec", 0, "only the user finds a program in a relative PATH")
    return Becoming(
        user.uid,
        *plan.groups,
        _directory(order, user),
        _warning(order, user),
        find(program, env["PATH"]),
        plan.argv,
        env,
    )


def _give_outputs(plan: _Plan) -> None:
    """Give the user the output pipes, because opening /dev/stderr re-opens the pipe. A device keeps its owner."""
    assert plan.groups is not None
    for output in plan.outputs:
        if stat.S_ISFIFO(os.fstat(output).st_mode):
            os.fchown(output, plan.user.uid, plan.groups[0])


def _change_directory(order: LaunchSpec, user: User, warn: Callable[[str], object]) -> None:
    """Change to the job's directory, by default HOME. If HOME or a path after a dash can't be entered, change to /."""
    path, warning = _directory(order, user), _warning(order, user)
    try:
        os.chdir(path)
    except OSError as error:
        if not warning:
            raise StartFailed("chdir", error.errno or 0, f"{path}: {error.strerror}") from None
        warn(f"{warning}: {error.strerror}; it ran in /")
        os.chdir("/")


def _directory(order: LaunchSpec, user: User) -> str:
    return (order["working_directory"] or user.home).removeprefix("-")


def _warning(order: LaunchSpec, user: User) -> str:
    """Return the start of the warning that a job runs in / instead of its directory, or "" if it must not."""
    directory = order["working_directory"] or ""
    return "" if directory.startswith("/") else f"{'' if directory else 'the home '}{_directory(order, user)}"


def _fork(plan: _Plan) -> StartedProcess:
    return _reported(plan, lambda report: _forked(plan, report))


def _reported(plan: _Plan, start: Callable[[int], int]) -> StartedProcess:
    """Start a process that reports its steps, and wait until it has executed the command. Raises StartFailed."""
    reading, writing = map(posixspawn.raised, os.pipe2(os.O_CLOEXEC))
    seconds = min(_START_SECONDS, plan.order.get("timeout") or _START_SECONDS)
    try:
        try:
            pid = start(writing)
        finally:
            os.close(writing)
        report = start_report.read(reading, seconds)
    finally:
        os.close(reading)
    if report.trouble is not None:
        os.kill(pid, signal.SIGKILL)
        process.is_reaped(pid, 1.0)  # can't be killed while a system call waits for a file system
        raise report.trouble
    return StartedProcess(pid, report.warnings)


_NEEDS = {
    step: f": jobs as other users need {capability}, which root does not have here"
    for step, capability in (
        ("stdio", "CAP_CHOWN"),
        ("setgroups", "CAP_SETGID"),
        ("setgid", "CAP_SETGID"),
        ("setuid", "CAP_SETUID"),
    )
}
_START_SECONDS = 60.0
"""Timeout (s) for the start, because a slow file system must not delay a run's timeout and stop."""


def _forked(plan: _Plan, report: int) -> int:
    try:
        pid = os.fork()
    except OSError as error:
        raise StartFailed("fork", error.errno or 0) from None
    if not pid:
        _run_child(plan, report)
    return pid


def _run_child(plan: _Plan, report: int) -> NoReturn:
    """Run the forked child from fork to exec. The child reports the first failed step and exits."""
    steps = _Steps(plan, report)
    try:
        steps.take()
    except StartFailed as error:
        start_report.fail(report, error.number, error.step, error.detail)
    except OSError as error:
        need = _NEEDS.get(steps.step, "") if error.errno == errno.EPERM and not os.geteuid() else ""
        start_report.fail(report, error.errno, steps.step, f"{steps.detail}{error.strerror}{need}")
    except BaseException as error:
        start_report.fail(report, 0, steps.step, f"{steps.detail}{type(error).__name__} {error}")
    os._exit(127)


class _Steps:
    """The steps of the forked child; `step` and `detail` name the current step."""

    def __init__(self, plan: _Plan, report: int) -> None:
        self.step = self.detail = ""
        self._plan, self._report = plan, report

    def take(self) -> None:
        """Carry out the steps: cgroup, session, limits, attributes, identity, streams, directory, exec."""
        plan, attributes = self._plan, self._plan.attributes
        self.step = "cgroup"
        plan.cgroup.join()
        self.step = "setsid"
        os.setsid()
        os.umask(plan.order["umask"])
        self._limit(attributes.get("limits", {}))
        for name, apply in ATTRIBUTES:
            if name in attributes:
                self.step, self.detail = name, f"{attributes[name]}: "
                apply(attributes[name])
        self.detail = ""
        self._identify()
        if attributes.get("no_new_privs"):
            self.step = "no_new_privs"
            prctl(PR_SET_NO_NEW_PRIVS)
        self.step = "stdio"
        for target, source in enumerate((plan.stdin, *plan.outputs)):
            os.dup2(source, target)
        self._begin("chdir", _directory(plan.order, plan.user))
        _change_directory(plan.order, plan.user, self._warn)
        files = ", ".join(plan.order["environment_file"])
        self._begin(*(("login_environment",) if plan.environment.login else ("environment_file", files)))
        env = plan.environment.whole()
        self._execute(env)

    def _begin(self, step: str, detail: str = "") -> None:
        """Report a step that a user's file system may block."""
        self.step = step
        start_report.begin(self._report, step, detail)

    def _warn(self, text: str) -> None:
        start_report.warn(self._report, text)

    def _limit(self, limits: Mapping[str, list[Any]]) -> None:
        """Set limits.

        The hard `cpu_time` limit is some seconds higher, so that SIGXCPU shows the cause before SIGKILL.
        """
        for name, (key, *limit) in limits.items():
            self.step, self.detail = "resource_limits", f"{key}: "
            number = getattr(resource, name)
            soft, hard = resource.getrlimit(number)
            if self._plan.order.get("owner") and _as_number(limit[1]) > _as_number(hard):  # users can only lower limits
                raise StartFailed(self.step, errno.EPERM, f"{key}: users of this host are limited to {hard}")
            if name in _OF_OURSELVES:
                resource.setrlimit(number, (soft, max(hard, limit[1], key=_as_number)))  # lowered last
            else:
                resource.setrlimit(number, tuple(limit))
        self.detail = ""

    def _identify(self) -> None:
        if self._plan.groups is None:
            return
        gid, groups = self._plan.groups
        uid = self._plan.user.uid
        if not self._plan.user.is_us:
            pam.check(self._plan.order, self._plan.user)
            self.step = "stdio"
            _give_outputs(self._plan)
            self.step = "keyring"
            join_keyring()
        self.step = "setgroups"
        os.setgroups(groups)
        self.step = "setgid"
        os.setresgid(gid, gid, gid)
        self.step = "setuid"
        os.setresuid(uid, uid, uid)
        prctl(PR_SET_DUMPABLE, 0)  # until the exec, the memory is ours, whatever fs.suid_dumpable is

    def _execute(self, env: dict[str, str]) -> None:
        plan, limits = self._plan, self._plan.attributes.get("limits", {})
        self._begin("exec", plan.argv[0])
        program = find(plan.argv[0], env["PATH"])
        self.detail = f"{program}: "
        for number in _ALL_SIGNALS:
            if number not in (signal.SIGKILL, signal.SIGSTOP):
                signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        try:
            for name in _OF_OURSELVES:
                if name in limits:
                    resource.setrlimit(getattr(resource, name), limits[name][1:])
            os.execve(program, plan.argv, env)
        except OSError as error:
            used_up = [key for name, (key, _, _) in limits.items() if error.errno in _USED_UP.get(name, ())]
            if used_up:  # the job's own limits are the cause
                raise StartFailed("exec", 0, f"{self.detail}its {' or '.join(used_up)} is used up") from None
            raise StartFailed("exec", error.errno or 0, self.detail + _explained(program, error)) from None


def _explained(program: str, error: OSError) -> str:
    """Return a better message for an execve(2) error whose usual message is misleading."""
    if error.errno == errno.EACCES and os.path.isdir(program):
        return "it is a directory"
    if error.errno == errno.ENOEXEC:
        return f"{error.strerror}: a script needs a first line such as #!/bin/sh"
    if error.errno == errno.ENOENT and os.path.exists(program):
        with contextlib.suppress(OSError):  # the user can't read the file, or the job can't open files
            return _what_is_missing(program)
    return str(error.strerror)


def _what_is_missing(program: str) -> str:
    with open(program, "rb") as file:
        line = file.readline(256)
    if not line.startswith(b"#!"):
        return "the loader that the program needs is missing"
    dos = "; the file has DOS line ends" if line.endswith(b"\r\n") else ""
    return f"its interpreter {line[2:].strip().decode(errors='replace')} is missing{dos}"


_USED_UP = {
    "RLIMIT_NPROC": (errno.EAGAIN,),
    "RLIMIT_AS": (errno.ENOMEM,),
    "RLIMIT_DATA": (errno.ENOMEM,),
    "RLIMIT_STACK": (errno.ENOMEM, errno.E2BIG),
}


def _as_number(limit: int) -> float:
    return float("inf") if limit == -1 else limit


def prctl(option: int, value: int = 1) -> None:
    if _LIBC.prctl(option, value, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def join_keyring() -> None:
    """Join a new session keyring (keyrings(7)). In our keyring, the job could read other jobs' keys.

    The keyring belongs to root, so that it does not count toward the user's quota.
    """
    number = _KEYCTL.get(os.uname().machine, -1)
    if _LIBC.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None) < 0:
        number = ctypes.get_errno()
        if number not in (errno.ENOSYS, errno.EPERM):  # no keyrings, or a container forbids them
            raise OSError(number, os.strerror(number))


def is_system_trouble(failure: StartFailed) -> bool:
    """Return whether the host, rather than the job, caused a failed start."""
    return failure.number in wire.SYSTEM_TROUBLE


def call_ourselves(name: str) -> None:
    """Set the process name in ps(1), top(1) and the journal's _COMM, at most 15 bytes."""
    # not with /proc/self/comm, because Python's text files would unshare 60 pages in each fork
    _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)


def become_subreaper() -> None:
    """Make orphans below this process its children, instead of children of PID 1."""
    prctl(_PR_SET_CHILD_SUBREAPER)

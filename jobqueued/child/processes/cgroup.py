"""cgroup v2: each attempt starts in a separate cgroup, which is used to measure and end it.

The cgroups are below the launcher's cgroup if that cgroup was delegated (``Delegate=`` in its scope). Launcher and
supervisors are next to them in ``self``, because a cgroup with controllers for its children must not have processes.
The cgroups for a user's own jobs and crontab are inside the user's cgroup, such as ``u1000``, which exists while any of
them exists.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from typing import cast

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import Above, Figures
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.processes.cgroup_files import capped, pairs, read, total, write

_MOUNT, _SELF = "/sys/fs/cgroup", "self"
_MEMBERSHIP = "/proc/{}/cgroup"
_CONTROLLERS = ("memory", "pids", "io")
_REFUSED = {
    "memory": ("memory.events.local", "oom"),
    "tasks": ("pids.events", "max"),
    "cpu": ("cpu.stat", "throttled_usec"),
}
"""A limit's key → file that counts its refusals, and the counter's name."""
_SHARED = {"cpu": "cgroup.kill", "cpuset": f"{_SELF}/cgroup.kill"}
"""Controller → lock file. The controller is on only while an attempt that needs it holds a shared lock on the file.

Only the owner can open these files. All daemons in this cgroup share them.
"""
_DELEGATED = ("trusted.delegate", "user.delegate")
"""systemd's extended attributes for a delegated cgroup (CGROUP_DELEGATION.md)."""
_OF_A_USER = re.compile(r"u[0-9]+", re.ASCII)
_GONE = (errno.ENOENT, errno.ENODEV)
_ROUNDS = 10
_LONGEST_WAIT = 1.0
"""Maximum time (s) to wait until the kernel has removed killed processes."""


def prepare(*, delegated: bool = False) -> int:
    """Move this process to `self`.

    Return a descriptor of the attempts' parent cgroup, or -1 if attempts can't have cgroups. `delegated`: our cgroup is
    delegated, even if systemd's attribute is missing, as under a user's systemd.
    """
    base = _divided(delegated)
    if base is None:
        return -1
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(f"{base}/{_SELF}")
        home = os.open(base, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        write(home, f"{_SELF}/cgroup.procs", b"0")
    except OSError:  # delegated in name only
        return -1
    _clear(home)
    for controller in _CONTROLLERS:
        with contextlib.suppress(OSError):  # the kernel or the delegating process does not have the controller
            write(home, "cgroup.subtree_control", b"+" + controller.encode())
    return home


def _clear(home: int) -> None:
    """Move other processes out of the delegated cgroup, such as the scheduler that started us, or a whole container."""
    for _round in range(_ROUNDS):  # because they may fork during the move
        if not (others := (read(home, "cgroup.procs") or b"").split()):
            return
        for pid in others:
            with contextlib.suppress(OSError):  # the process ended, or we may not move it
                write(home, f"{_SELF}/cgroup.procs", pid)


def controllers(home: int) -> list[str] | None:
    """Return the controllers that attempts' cgroups have or can get, or None if attempts have no cgroups."""
    if home < 0:
        return None
    offered = (read(home, "cgroup.controllers") or b"").decode().split()
    always = (read(home, "cgroup.subtree_control") or b"").decode().split()
    return [name for name in (*_CONTROLLERS, *_SHARED) if name in (always if name in _CONTROLLERS else offered)]


def _divided(delegated: bool) -> str | None:
    """Return our cgroup, or its parent if our cgroup is already `self`. Return None if we may not make cgroups in it.

    We may do so with `delegated`, with systemd's attribute, or at the root of a container's cgroup namespace.
    """
    own = _directory_of("self")
    if own is None:
        return None
    base = own.removesuffix(f"/{_SELF}")
    is_root = base.rstrip("/") == _MOUNT and os.path.exists(f"{_MOUNT}/cgroup.type")  # the host's root has no type
    noted = any(_attribute(base, name) == b"1" for name in _DELEGATED)
    return base if delegated or is_root or noted else None


def _directory_of(process: str) -> str | None:
    """Return the directory of a process's cgroup, or None if this host has no unified hierarchy."""
    path = unified(membership(process))
    if path is None or not os.path.exists(f"{_MOUNT}{path}/cgroup.procs"):
        return None
    return f"{_MOUNT}{path}"


def unified(membership: str) -> str | None:
    """Return the cgroup v2 from /proc/PID/cgroup's text, such as ``/system.slice/ssh.service``, or None."""
    return next((line[3:] for line in membership.splitlines() if line.startswith("0::")), None)


def membership(process: str = "self") -> str:
    """Return the cgroups of a process in all hierarchies, in the format of /proc/PID/cgroup, or "" if it exited."""
    try:
        with open(_MEMBERSHIP.format(process), errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


class SupervisorCgroups(NamedTuple):
    """A supervisor's cgroups: `home` (see `prepare`) and the supervisor's own (see `membership`)."""

    home: int
    own: str


def _attribute(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""


class Cgroup:
    """The cgroup of an attempt. `home`: the descriptor from `prepare`, or -1 if attempts have no cgroups."""

    def __init__(self, home: int, name: str) -> None:
        self._home, self._name = home, name
        self.above: Above | None = None
        """The cgroup above this cgroup, with its limits, made if needed.

        None means that this cgroup is directly in `home`.
        """
        self._parent = -1
        self.directory = -1
        self._shared: dict[str, int] = {}
        self.troubles: list[str] = []
        """Limits of the cgroup above that can't be set, with the reasons."""

    @property
    def is_own(self) -> bool:
        """Return whether the attempt has or will have a separate cgroup."""
        return self._home >= 0

    def make(self) -> None:
        """Make the cgroup. Raises OSError; EBUSY means that the cgroup already has processes."""
        for rounds_left in reversed(range(_ROUNDS if self._home >= 0 else 0)):
            try:
                self._make()
                return
            except OSError as error:
                self._let_go_of_parent()
                if self.above is None or error.errno not in _GONE or not rounds_left:  # an ended run removed it
                    raise

    def _make(self) -> None:
        parent = self._home if self.above is None else self._make_above(self.above)
        try:
            os.mkdir(self._name, 0o755, dir_fd=parent)
        except FileExistsError:  # left by a failed start, or made by another daemon
            if b"populated 1" in (read(parent, f"{self._name}/cgroup.events") or b""):
                raise OSError(errno.EBUSY, "another daemon's run with the same name is in this cgroup") from None
        self.directory = _opened(parent, self._name)

    def _make_above(self, above: Above) -> int:
        """Make the cgroup above if missing, set its limits, and return its descriptor."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(above["name"], 0o755, dir_fd=self._home)
        self._parent = _opened(self._home, above["name"])
        for controller in (read(self._home, "cgroup.subtree_control") or b"").split():
            if controller.decode() in _CONTROLLERS:
                with contextlib.suppress(OSError):  # a run's `cap` reports the error
                    write(self._parent, "cgroup.subtree_control", b"+" + controller)
        if any(key == "cpu" for key, _, _ in above["caps"]):
            self._share("cpu")
        found = [(key, capped(self._parent, file, text)) for key, file, text in above["caps"]]
        self.troubles = [f"{key}: {trouble}" for key, trouble in found if key and trouble]
        return self._parent

    def _let_go_of_parent(self) -> None:
        if self._parent >= 0:
            os.close(self._parent)
            self._parent = -1

    @classmethod
    def find(cls, home: int, name: str) -> Cgroup:
        """Return the cgroup of an attempt whose supervisor died. Its `remove` also releases its shared controllers."""
        found = cls(home, name)
        if home >= 0:
            with contextlib.suppress(OSError):
                user, found.directory = _found(home, name)
                if user:
                    found.above, found._parent = {"name": user, "caps": []}, _opened(home, user)
                found._shared = {name: found._lock(name) for name in _SHARED}
        return found

    @classmethod
    def of(cls, name: str, pid: int, supervisor: int | None) -> Cgroup:
        """Find the cgroup of another supervisor's attempt: next to the supervisor's, or the main process's cgroup."""
        found = cls(-1, name)
        with contextlib.suppress(OSError):
            if supervisor is None:
                home, inside, _below = f"{_directory_of(str(pid))}/".partition(f"/{name}/")
            else:
                home, inside = (_directory_of(str(supervisor)) or "").removesuffix(f"/{_SELF}"), name
            if home and inside:
                base = os.open(home, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _user, found.directory = _found(base, name)
                finally:
                    os.close(base)
        return found

    def refused_tasks(self) -> int:
        """Return the number of forks that the task limit refused (pids.events)."""
        return self._pairs("pids.events").get("max", 0) if self.directory >= 0 else 0

    def close(self) -> None:
        """Close the descriptor, but do not remove the cgroup."""
        if self.directory >= 0:
            os.close(self.directory)
            self.directory = -1

    def join(self) -> None:
        """Move this process into the cgroup."""
        if self.directory >= 0:
            write(self.directory, "cgroup.procs", b"0")

    def cap(self, file: str, text: str) -> str:
        """Write a limit. Return "", or the reason why it can't be set. Raises OSError if no descriptor is free."""
        return capped(self.directory, file, text) if self.directory >= 0 else "its run has no cgroup"

    def share(self, controller: str) -> None:
        """Turn on the controller `cpu` or `cpuset` until the last attempt that needs it is over.

        These controllers are usually off, because they restrict a process's nice value to its run.
        """
        if self.directory >= 0:
            self._share(controller)
            if self._parent >= 0:
                with contextlib.suppress(OSError):
                    write(self._parent, "cgroup.subtree_control", b"+" + controller.encode())

    def _share(self, controller: str) -> None:
        if controller not in self._shared:
            lock = self._shared[controller] = self._lock(controller)
            if lock >= 0:
                fcntl.flock(lock, fcntl.LOCK_SH)
            with contextlib.suppress(OSError):  # the controller is not delegated, which `cap` reports
                write(self._home, "cgroup.subtree_control", b"+" + controller.encode())

    def _lock(self, controller: str) -> int:
        """Return a descriptor of the controller's lock file, or -1 before Linux 5.14, where the controller stays on."""
        try:
            return os.open(_SHARED[controller], os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._home)
        except OSError as error:
            if error.errno in wire.NO_DESCRIPTOR:
                raise
        return -1

    def _unshare(self) -> None:
        for controller, lock in self._shared.items():
            if lock >= 0:
                with contextlib.suppress(OSError):  # other attempts need it
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._end_sharing(b"-" + controller.encode())
                os.close(lock)
        self._shared.clear()

    def _end_sharing(self, word: bytes) -> None:
        """Turn a controller off, including in users' cgroups."""
        for user in _users(self._home):
            with contextlib.suppress(OSError):  # the user's cgroup was just removed
                write(self._home, f"{user}/cgroup.subtree_control", word)
        write(self._home, "cgroup.subtree_control", word)

    def now(self) -> tuple[int, int] | None:
        """Return the memory (bytes) and the number of tasks in use, or None if unknown."""
        if self.directory < 0:
            return None
        memory, tasks = self._number("memory.current"), self._number("pids.current")
        return None if memory is None or tasks is None else (memory, tasks)

    def refused_above(self) -> dict[str, int]:
        """Return the refusals by the limits that the user's runs share: counts for memory and tasks, µs for cpu."""
        if self._parent < 0:
            return {}
        return {key: pairs(self._parent, file).get(word, 0) for key, (file, word) in _REFUSED.items()}

    def events(self) -> dict[str, int]:
        """Return the counters of memory shortages in the cgroup (memory.events)."""
        return self._pairs("memory.events") if self.directory >= 0 else {}

    def limits(self) -> dict[str, float | None]:
        """Return the limits for memory (bytes), cpu (CPUs) and tasks. None means no limit."""
        limit, _, period = (read(self.directory, "cpu.max") or b"max").partition(b" ")
        cpu = int(limit) / int(period) if limit.isdigit() else None
        return {"cpu": cpu, "memory": self._number("memory.max"), "tasks": self._number("pids.max")}

    def kill(self) -> None:
        """Send SIGKILL to all processes at once, so that no new process escapes."""
        if self.directory >= 0:
            with contextlib.suppress(OSError):  # a kernel before 5.14
                write(self.directory, "cgroup.kill", b"1")

    def figures(self) -> Figures:
        """Return the figures for all processes (seconds, bytes, tasks). Missing figures are omitted."""
        if self.directory < 0:
            return {}
        cpu, disks = self._pairs("cpu.stat"), read(self.directory, "io.stat")
        throttled = cpu.get("throttled_usec")
        figures = {
            "cpu_user": cpu["user_usec"] / 1e6 if "user_usec" in cpu else None,
            "cpu_system": cpu["system_usec"] / 1e6 if "system_usec" in cpu else None,
            "memory_peak": self._number("memory.peak"),
            "throttled": None if throttled is None else throttled / 1e6,
            "tasks_peak": self._number("pids.peak"),
            "io_read": None if disks is None else total(disks, b"rbytes"),
            "io_write": None if disks is None else total(disks, b"wbytes"),
        }
        known = cast("Figures", {name: figure for name, figure in figures.items() if figure is not None})
        return {**known, "memory_peak_below": None} if "memory_peak" in known else known

    def remove(self, longest_wait: float = _LONGEST_WAIT) -> bool:
        """Kill the processes and remove the cgroup, within `longest_wait` (s). Return whether it was removed."""
        if self.directory < 0:
            return True
        until = time.monotonic() + longest_wait
        while not (gone := self._removed()):
            self.kill()
            if time.monotonic() >= until:
                break
            time.sleep(0.005)
        self._let_go_of_parent()
        if self.above is not None:
            with contextlib.suppress(OSError):  # the user has other live runs
                os.rmdir(self.above["name"], dir_fd=self._home)
        self._unshare()
        self.close()
        return gone

    def _removed(self) -> bool:
        """Remove the cgroups that the job made, then the cgroup. Return whether it no longer exists."""
        with contextlib.suppress(OSError):
            for path, _names, _files, _fd in os.fwalk(".", topdown=False, dir_fd=self.directory):
                if path != ".":
                    with contextlib.suppress(OSError):
                        os.rmdir(path, dir_fd=self.directory)
        try:
            os.rmdir(self._name, dir_fd=self._parent if self.above is not None else self._home)
        except OSError as error:
            return error.errno in _GONE
        return True

    def _number(self, name: str) -> int | None:
        text = (read(self.directory, name) or b"").strip()
        return int(text) if text.isdigit() else None

    def _pairs(self, name: str) -> dict[str, int]:
        return pairs(self.directory, name)


def _users(home: int) -> list[str]:
    """Return the names of users' cgroups."""
    return [name for name in os.listdir(home) if _OF_A_USER.fullmatch(name)]


def _found(home: int, name: str) -> tuple[str, int]:
    """Return the name of the user's cgroup above the named cgroup, or "", and a descriptor of the named cgroup.

    Raises OSError.
    """
    with contextlib.suppress(FileNotFoundError):
        return "", _opened(home, name)
    for user in _users(home):
        with contextlib.suppress(FileNotFoundError):
            return user, _opened(home, f"{user}/{name}")
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _opened(home: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=home)

"""cgroup v2: each attempt is started in a cgroup of its own, measured by it, and ended by it.

They are made below the launcher's own cgroup, where that was delegated to it (``Delegate=`` of its scope).  Launcher
and supervisors live beside them in ``self``, as a cgroup that passes controllers on may have no processes.  Those of a
user's jobs and crontab are in one of that user, ``u1000``, which exists as long as one of them does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import time
from typing import cast

from jobqueued.child import wire
from jobqueued.child.cgroup_files import capped, pairs, read, total, write
from jobqueued.child.documents import Above, Figures

_MOUNT, _SELF = "/sys/fs/cgroup", "self"
_MEMBERSHIP = "/proc/{}/cgroup"
_CONTROLLERS = ("memory", "pids", "io")
_REFUSED = {
    "memory": ("memory.events.local", "oom"),
    "tasks": ("pids.events", "max"),
    "cpu": ("cpu.stat", "throttled_usec"),
}
"""Files that tell what the limits of a cgroup have refused to what is in it, by key."""
_SHARED = {"cpu": "cgroup.kill", "cpuset": f"{_SELF}/cgroup.kill"}
"""Controllers that are on only while an attempt needs them: each that does has a lock on such a file, which nobody but
its owner can open, and which all who divide this cgroup share.
"""
_DELEGATED = ("trusted.delegate", "user.delegate")
"""Notes of systemd at a cgroup that it leaves to others (CGROUP_DELEGATION.md)."""
_OF_A_USER = re.compile(r"u[0-9]+", re.ASCII)
_GONE = (errno.ENOENT, errno.ENODEV)
_ROUNDS = 10
_PATIENCE = 1.0
"""The time (s) to wait until the kernel has taken away what was killed."""


def prepare(*, delegated: bool = False) -> int:
    """Move this process to `self`; a descriptor for where attempts get theirs, -1: nothing is delegated to us.

    `delegated`: our cgroup is, though nothing says so: the systemd of a user leaves no note.
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
        with contextlib.suppress(OSError):  # the host's kernel, or who delegates, does not have it
            write(home, "cgroup.subtree_control", b"+" + controller.encode())
    return home


def _clear(home: int) -> None:
    """Move what else was delegated together with us, a scheduler that has started us, say, or all of a container."""
    for _round in range(_ROUNDS):  # they may fork meanwhile
        if not (others := (read(home, "cgroup.procs") or b"").split()):
            return
        for pid in others:
            with contextlib.suppress(OSError):  # it has ended, or is not ours to move
                write(home, f"{_SELF}/cgroup.procs", pid)


def controllers(home: int) -> list[str] | None:
    """Those that the attempts' cgroups have, or get while they need them; None: there are no cgroups."""
    if home < 0:
        return None
    offered = (read(home, "cgroup.controllers") or b"").decode().split()
    always = (read(home, "cgroup.subtree_control") or b"").decode().split()
    return [name for name in (*_CONTROLLERS, *_SHARED) if name in (always if name in _CONTROLLERS else offered)]


def _divided(delegated: bool) -> str | None:
    """The cgroup that is ours to divide: our own, or the one above if we are in `self` of it already.

    By systemd's note at it, or as it is the root of a container, that is of a cgroup namespace.
    """
    own = _directory_of("self")
    if own is None:
        return None
    base = own.removesuffix(f"/{_SELF}")
    is_root = base.rstrip("/") == _MOUNT and os.path.exists(f"{_MOUNT}/cgroup.type")  # the host's own has no type
    noted = any(_attribute(base, name) == b"1" for name in _DELEGATED)
    return base if delegated or is_root or noted else None


def _directory_of(process: str) -> str | None:
    """The directory of the cgroup of a process; None: this host has no unified hierarchy."""
    path = unified(membership(process))
    if path is None or not os.path.exists(f"{_MOUNT}{path}/cgroup.procs"):
        return None
    return f"{_MOUNT}{path}"


def unified(membership: str) -> str | None:
    """The cgroup v2 in such a text, ``/system.slice/ssh.service``; None: there is none."""
    return next((line[3:] for line in membership.splitlines() if line.startswith("0::")), None)


def membership(process: str = "self") -> str:
    """The cgroups of a process, in all hierarchies, as /proc/PID/cgroup has them; "": it is gone."""
    try:
        with open(_MEMBERSHIP.format(process), errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _attribute(path: str, name: str) -> bytes:
    try:
        return os.getxattr(path, name)
    except OSError:
        return b""


class Cgroup:
    """That of one attempt.  `home`: where it is, as `prepare` gave it; -1: there is none, and nothing is measured."""

    def __init__(self, home: int, name: str) -> None:
        self._home, self._name = home, name
        self.above: Above | None = None
        """The one that it is in, with its limits, which is made if need be; None: `home`."""
        self._parent = -1
        self.directory = -1
        self._shared: dict[str, int] = {}
        self.troubles: list[str] = []
        """The limits of the one above that can't be set, and why."""

    @property
    def is_own(self) -> bool:
        """True where it has, or will have, one."""
        return self._home >= 0

    def make(self) -> None:
        """OSError: it can't be made; EBUSY: it has processes."""
        for patience in reversed(range(_ROUNDS if self._home >= 0 else 0)):
            try:
                self._make()
                return
            except OSError as error:
                self._let_go_of_parent()
                if self.above is None or error.errno not in _GONE or not patience:  # a run that has just ended took it
                    raise

    def _make(self) -> None:
        parent = self._home if self.above is None else self._make_above(self.above)
        try:
            os.mkdir(self._name, 0o755, dir_fd=parent)
        except FileExistsError:  # of a start that came to nothing; or of another daemon in this place
            if b"populated 1" in (read(parent, f"{self._name}/cgroup.events") or b""):
                raise OSError(errno.EBUSY, "a run of that name of another daemon is in it") from None
        self.directory = _opened(parent, self._name)

    def _make_above(self, above: Above) -> int:
        """The one of a user, with the limits as they are now: a descriptor of it."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(above["name"], 0o755, dir_fd=self._home)
        self._parent = _opened(self._home, above["name"])
        for controller in (read(self._home, "cgroup.subtree_control") or b"").split():
            if controller.decode() in _CONTROLLERS:
                with contextlib.suppress(OSError):  # which `cap` tells of a run
                    write(self._parent, "cgroup.subtree_control", b"+" + controller)
        if any(key == "cpu" for key, _, _ in above["caps"]):
            self._share("cpu")
        found = {key: capped(self._parent, file, text) for key, file, text in above["caps"]}
        self.troubles = [f"{key}: {trouble}" for key, trouble in found.items() if trouble]
        return self._parent

    def _let_go_of_parent(self) -> None:
        if self._parent >= 0:
            os.close(self._parent)
            self._parent = -1

    @classmethod
    def find(cls, home: int, name: str) -> Cgroup:
        """That of an attempt whose supervisor is gone, if there is one; what it needed nobody needs any more."""
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
        """That of an attempt, for a look from outside: beside its supervisor's; where nobody knows that, the one of its
        main process.
        """
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
        """The number of forks that failed as there were as many as it may have (pids.events)."""
        return self._pairs("pids.events").get("max", 0) if self.directory >= 0 else 0

    def close(self) -> None:
        """Let go of it, as it is."""
        if self.directory >= 0:
            os.close(self.directory)
            self.directory = -1

    def join(self) -> None:
        """This process is the attempt's from now on."""
        if self.directory >= 0:
            write(self.directory, "cgroup.procs", b"0")

    def cap(self, file: str, text: str) -> str:
        """Write a limit; why that can't be, "" where it can.  OSError: there is no descriptor to be had."""
        return capped(self.directory, file, text) if self.directory >= 0 else "its run has no cgroup"

    def share(self, controller: str) -> None:
        """`cpu` or `cpuset` is shared out by cgroups from now on, until the last attempt that needs it is over.

        Without need they are not: the nice of processes would count inside of their runs only.
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
            with contextlib.suppress(OSError):  # it is not delegated, which `cap` will tell
                write(self._home, "cgroup.subtree_control", b"+" + controller.encode())

    def _lock(self, controller: str) -> int:
        """-1: a kernel before 5.14, where it stays on."""
        try:
            return os.open(_SHARED[controller], os.O_WRONLY | os.O_CLOEXEC, dir_fd=self._home)
        except OSError as error:
            if error.errno in wire.NO_DESCRIPTOR:
                raise
        return -1

    def _unshare(self) -> None:
        for controller, lock in self._shared.items():
            if lock >= 0:
                with contextlib.suppress(OSError):  # others need it
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    self._end_sharing(b"-" + controller.encode())
                os.close(lock)
        self._shared.clear()

    def _end_sharing(self, word: bytes) -> None:
        """Nobody needs it, in the cgroups of users neither."""
        for user in _users(self._home):
            with contextlib.suppress(OSError):  # it has just gone
                write(self._home, f"{user}/cgroup.subtree_control", word)
        write(self._home, "cgroup.subtree_control", word)

    def now(self) -> tuple[int, int] | None:
        """Bytes of memory and tasks that it has at present; None: there is no such figure."""
        if self.directory < 0:
            return None
        memory, tasks = self._number("memory.current"), self._number("pids.current")
        return None if memory is None or tasks is None else (memory, tasks)

    def refused_above(self) -> dict[str, int]:
        """Read what the limits of all its user's runs have refused: times of memory and tasks, microseconds of cpu."""
        if self._parent < 0:
            return {}
        return {key: pairs(self._parent, file).get(word, 0) for key, (file, word) in _REFUSED.items()}

    def events(self) -> dict[str, int]:
        """The number of times that memory was short in it, by kind (memory.events)."""
        return self._pairs("memory.events") if self.directory >= 0 else {}

    def limits(self) -> dict[str, float | None]:
        """The most that it may have of memory (bytes), cpu (CPUs), tasks; None: as much as there is."""
        limit, _, period = (read(self.directory, "cpu.max") or b"max").partition(b" ")
        cpu = int(limit) / int(period) if limit.isdigit() else None
        return {"cpu": cpu, "memory": self._number("memory.max"), "tasks": self._number("pids.max")}

    def kill(self) -> None:
        """SIGKILL to all that is in it, at once: no process forks faster than that."""
        if self.directory >= 0:
            with contextlib.suppress(OSError):  # a kernel before 5.14
                write(self.directory, "cgroup.kill", b"1")

    def figures(self) -> Figures:
        """The figures of all its processes: seconds, bytes, tasks; what the kernel does not tell is left out."""
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

    def remove(self, patience: float = _PATIENCE) -> bool:
        """End what is still in it, and take it away, which may need so long (s); whether that was done."""
        if self.directory < 0:
            return True
        until = time.monotonic() + patience
        while not (gone := self._removed()):
            self.kill()
            if time.monotonic() >= until:
                break
            time.sleep(0.005)
        self._let_go_of_parent()
        if self.above is not None:
            with contextlib.suppress(OSError):  # others of this user live
                os.rmdir(self.above["name"], dir_fd=self._home)
        self._unshare()
        self.close()
        return gone

    def _removed(self) -> bool:
        """Those that the job made in it go first."""
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
    """The cgroups of users."""
    return [name for name in os.listdir(home) if _OF_A_USER.fullmatch(name)]


def _found(home: int, name: str) -> tuple[str, int]:
    """The one of this name, in that of a user or not: a descriptor of it; OSError."""
    with contextlib.suppress(FileNotFoundError):
        return "", _opened(home, name)
    for user in _users(home):
        with contextlib.suppress(FileNotFoundError):
            return user, _opened(home, f"{user}/{name}")
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _opened(home: int, name: str) -> int:
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=home)

"""The user as whom a job runs: what the host's user database says, and what keeps a job from starting."""

from __future__ import annotations

import ctypes
import errno
import grp
import os
import pwd

from jobqueued.child import wire
from jobqueued.child.documents import LaunchSpec

_ME = os.geteuid()
_LIBC = ctypes.CDLL(None)
_CLOSE_RANGE_CLOEXEC = 4


class StartFailed(Exception):
    """The process could not be started: `step` failed with `number` (an errno, 0 where it is no system call's)."""

    def __init__(self, step: str, number: int, detail: str = "") -> None:
        self.step, self.number, self.detail = step, number, detail or os.strerror(number)
        super().__init__(f"{step}: {self.detail}")


class User:
    """A user as the user database knows it."""

    __slots__ = ("gid", "home", "name", "shell", "uid")

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.name, self.uid, self.gid, self.home, self.shell = (
            entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_shell,
        )  # fmt: skip

    @property
    def is_us(self) -> bool:
        """True if a job of this user needs no change of user."""
        return self.uid == _ME


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
        raise _unknown("user", name, "/etc/passwd") from None
    finally:
        keep_from_jobs()
    if _ME not in (0, user.uid):
        raise StartFailed("user", errno.EPERM, f"only root can run jobs as {name!r}")
    return user


def groups_of(order: LaunchSpec, user: User) -> tuple[int, list[int]]:
    """The primary and the supplementary groups: as the job says, else as the databases say of its user."""
    gid = user.gid if order["group"] is None else _gid(order["group"])
    try:
        if order["groups"] is None:
            return gid, os.getgrouplist(user.name, gid)
        return gid, [_gid(name) for name in order["groups"]]
    finally:
        keep_from_jobs()


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise _unknown("group", name, "/etc/group") from None


def _unknown(kind: str, name: str, database: str) -> StartFailed:
    """The host has no such user or group, unless it is the database that can't be opened now: pwd and grp don't say."""
    try:
        os.close(os.open(database, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in wire.SYSTEM_TROUBLE:
            return StartFailed(kind, error.errno or 0, f"{database}: {error.strerror}")
    return StartFailed(kind, 0, f"no {kind} {name!r} on this host")


def keep_from_jobs() -> None:
    """Close to jobs what a module of the user database left open (LDAP's connection, say)."""
    try:
        _LIBC.close_range(3, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC)
    except AttributeError:  # a C library without it
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and os.path.exists(f"/proc/self/fd/{name}"):
                os.set_inheritable(int(name), False)


def name_of(number: str) -> str:
    """The name of the user of a number, by all databases of the host, behind a word; "": it has no such user."""
    try:
        return wire.NAMED + pwd.getpwuid(int(number)).pw_name
    except KeyError:
        return ""
    finally:
        keep_from_jobs()


def trouble_with(kind: str, name: str) -> str:
    """The reason why jobs can't run as a user or with a group, "" where they can, or where a start has to tell it."""
    try:
        user_of(name) if kind == "user" else _gid(name)
    except StartFailed as failure:
        return "" if failure.number in wire.SYSTEM_TROUBLE else failure.detail
    finally:
        keep_from_jobs()
    return ""

"""The user that a job runs as: entries in the host's user database, and reasons why a job can't start."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import grp
import os
import pwd
from typing import Any

from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import LaunchSpec

_ME = os.geteuid()
_LIBC = ctypes.CDLL(None)
_CLOSE_RANGE_CLOEXEC = 4
NOBODY = 65534
"""UID that network file systems and user namespaces show for unknown users."""


class StartFailed(Exception):
    """A process could not be started, because `step` failed with `number` (an errno, or 0 if no system call failed)."""

    def __init__(self, step: str, number: int, detail: str = "") -> None:
        self.step, self.number, self.detail = step, number, detail or os.strerror(number)
        super().__init__(f"{step}: {self.detail}")


class User:
    """A user in the user database."""

    __slots__ = ("gid", "home", "name", "shell", "uid")

    def __init__(self, entry: pwd.struct_passwd) -> None:
        self.name, self.uid, self.gid, self.home, self.shell = (
            entry.pw_name,
            entry.pw_uid,
            entry.pw_gid,
            entry.pw_dir,
            entry.pw_shell,
        )

    @property
    def is_us(self) -> bool:
        """Return whether this user's job can run without changing the user."""
        return self.uid == _ME


def _own_user() -> User:
    try:
        return User(pwd.getpwuid(_ME))
    except KeyError:  # an arbitrary UID in a container
        return User(pwd.struct_passwd((str(_ME), "x", _ME, os.getegid(), "", "/", "/bin/sh")))


_OWN = _own_user()


def user_of(name: str | None) -> User:
    """Return the user with this name; None means our own user. Raises StartFailed if only root may choose the user."""
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


def user_of_order(order: LaunchSpec) -> User:
    """Return the user that a job runs as. Raises StartFailed if its owner's name and UID no longer match."""
    user, owner = user_of(order["user"]), order.get("owner")
    if owner is not None and (trouble := _trouble_with_owner(user.uid, owner["name"], owner["uid"])):
        raise StartFailed("user", 0, trouble)
    return user


def _trouble_with_owner(found: int, name: str, uid: int) -> str:
    """Return why the jobs of the owner with this name and UID can't run, or "". `found`: the name's current UID."""
    if uid == NOBODY:
        return f"uid {NOBODY} stands for users without a uid on this host, so it can't have jobs"
    if found != uid:
        return f"user {name!r} has uid {found} on this host, but the job belongs to uid {uid}"
    return "root's jobs are in the job directory; for a user's files, add --user NAME" if uid == 0 and _ME == 0 else ""


def groups_of(order: LaunchSpec, user: User) -> tuple[int, list[int]]:
    """Return the primary and supplementary groups, from the job or else from the databases.

    Raises StartFailed if a user's own job has a group that does not include the user, unless the site permits the
    group.
    """
    gid = user.gid if order["group"] is None else _gid(order["group"])
    owner = order.get("owner")
    try:
        if owner is not None:
            for name in (*([order["group"]] if order["group"] is not None else []), *(order["groups"] or ())):
                if name not in owner["more_groups"] and not _is_in(user, _gid(name)):
                    raise StartFailed("group", 0, f"user {user.name!r} is not in group {name!r}")
        if order["groups"] is None:
            return gid, os.getgrouplist(user.name, user.gid if owner is not None else gid)
        return gid, [_gid(name) for name in order["groups"]]
    finally:
        keep_from_jobs()


def groups_lacking(order: LaunchSpec, user: User) -> tuple[int, list[int]] | None:
    """Return the groups for root's cron job if this process does not have all of them, or None if no change is needed.

    A daemon started by systemd has no supplementary groups, but cron gives root the groups in the databases.
    """
    if _ME or not order.get("asks_pam"):
        return None
    gid, groups = groups_of(order, user)
    return None if {*groups} <= {os.getegid(), *os.getgroups()} else (gid, groups)


def _is_in(user: User, gid: int) -> bool:
    return gid in os.getgrouplist(user.name, user.gid)


def _gid(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise _unknown("group", name, "/etc/group") from None


def _unknown(kind: str, name: str, database: str) -> StartFailed:
    """Return the error for an unknown user or group, or for an unreadable database, which pwd and grp do not report."""
    try:
        os.close(os.open(database, os.O_RDONLY | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in wire.SYSTEM_TROUBLE:
            return StartFailed(kind, error.errno or 0, f"{database}: {error.strerror}")
    return StartFailed(kind, 0, f"no {kind} {name!r} on this host")


def keep_from_jobs() -> None:
    """Keep jobs from inheriting descriptors that the user database's modules left open, such as LDAP's connection."""
    try:
        _LIBC.close_range(3, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC)
    except AttributeError:  # the C library does not have close_range
        for name in os.listdir("/proc/self/fd"):
            if int(name) > 2 and os.path.exists(f"/proc/self/fd/{name}"):
                os.set_inheritable(int(name), False)


def name_of(number: str) -> str:
    """Return ``named NAME`` for the user with this UID, or "" if the host has no such user."""
    try:
        return wire.NAMED + pwd.getpwuid(int(number)).pw_name
    except KeyError:
        return ""
    finally:
        keep_from_jobs()


def trouble_with(kind: str, name: str | list[Any]) -> str:
    """Return why jobs can't run as a user or with a group. Return "" if they can, or if only a start can find out.

    `name` is the name of a user or group. A group that must include a user is ``[GROUP, USER]``. The owner of jobs is
    ``[NAME, UID, ALLOW, DENY]`` with the lists of `barred`. A crontab's user is given as ``[NAME, ALLOW, DENY]``.
    """
    try:
        match kind, name:
            case "owner", [user, uid, allow, deny]:
                return _trouble_with_owner(user_of(user).uid, user, uid) or barred(user_of(user), allow, deny)
            case "crontab", [user, allow, deny]:
                return barred(user_of(user), allow, deny)
            case "group", [group, user]:
                is_in = _is_in(user_of(user), _gid(group))
                return "" if is_in else f"user {user!r} is not in group {group!r}"
            case "user", str():
                user_of(name)
            case _, str():
                _gid(name)
    except StartFailed as failure:
        return "" if failure.number in wire.SYSTEM_TROUBLE else failure.detail
    finally:
        keep_from_jobs()
    return ""


def barred(user: User, allow: list[str] | None, deny: list[str]) -> str:
    """Return the reason why a user may not have jobs, or "".

    `allow` and `deny` contain user names and, with an ``@``, group names. `allow` None allows all users. An unknown
    group counts as empty.
    """
    if _is_among(user, deny):
        return f"user {user.name!r} can't have jobs here, because of `users: {{deny: …}}` in jobqueued.yaml"
    if allow is not None and not _is_among(user, allow):
        return f"user {user.name!r} can't have jobs here, because of `users: {{allow: …}}` in jobqueued.yaml"
    return ""


def _is_among(user: User, names: list[str]) -> bool:
    groups = [name[1:] for name in names if name.startswith("@")]
    if user.name in names:
        return True
    for name in groups:
        with contextlib.suppress(StartFailed):
            if _is_in(user, _gid(name)):
                return True
    return False

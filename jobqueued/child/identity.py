"""The user as whom a job runs: what the host's user database says, and what keeps a job from starting."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import grp
import os
import pwd
from typing import Any

from jobqueued.child import wire
from jobqueued.child.documents import LaunchSpec

_ME = os.geteuid()
_LIBC = ctypes.CDLL(None)
_CLOSE_RANGE_CLOEXEC = 4
NOBODY = 65534
"""The uid of whoever has none here: users of a network's file system, processes of another user namespace."""


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


def user_of_order(order: LaunchSpec) -> User:
    """The user as whom a job runs; one of a user's own runs only while both name and number are that user's."""
    user, owner = user_of(order["user"]), order.get("owner")
    if owner is not None and (trouble := _trouble_with_owner(user.uid, owner["name"], owner["uid"])):
        raise StartFailed("user", 0, trouble)
    return user


def _trouble_with_owner(found: int, name: str, uid: int) -> str:
    """The reason why jobs of who had this name and number do not run, where the user of that name has the number
    `found`; "": they do."""
    if uid == NOBODY:
        return f"{NOBODY} is the number of whoever has none here, and has no jobs"
    if found != uid:
        return f"user {name!r} is number {found} on this host, and the job is of one with number {uid}"
    return (
        "root's jobs are files of the job directory; for those of a user, say --user NAME"
        if uid == 0 and _ME == 0
        else ""
    )


def groups_of(order: LaunchSpec, user: User) -> tuple[int, list[int]]:
    """The primary and the supplementary groups: as the job says, else as the databases say of its user.

    StartFailed if a user's own job asks for another's, unless the site permits that.
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
    """Those of a job of cron's that runs as root, like us, where we lack one of them; None: nothing is to be changed.

    A daemon that systemd starts has no supplementary groups, and cron gives root those of the databases.
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


def trouble_with(kind: str, name: str | list[Any]) -> str:
    """The reason why jobs can't run as a user or with a group, "" where they can, or where a start has to tell it.

    A user and a group are their names; a group in which a user has to be is ``[GROUP, USER]``; the owner of jobs is
    ``[NAME, UID, ALLOW, DENY]``, these as `barred` takes them; the user of a crontab is the same without the UID.
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
    """The reason why a user may not have jobs; "" if there is none.

    `allow` (None: everybody) and `deny` are names of users, and of groups with an ``@``; a group that there is not has
    nobody in it.
    """
    if _is_among(user, deny):
        return f"user {user.name!r} may not have jobs here, by `users: {{deny: …}}` in jobqueued.yaml"
    if allow is not None and not _is_among(user, allow):
        return f"user {user.name!r} may not have jobs here, by `users: {{allow: …}}` in jobqueued.yaml"
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

"""Trust in a path: only root and one user can change or replace its target."""

from __future__ import annotations

import contextlib
import errno
import grp
import os
import pwd
import re
import stat
from collections.abc import Iterator

_ACCESS_CONTROL_LIST = "system.posix_acl_access"
_MOST_LINKS = 40
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFLNK: "symbolic link", stat.S_IFREG: "file"}
_PLAIN = re.compile(r"[\w/.+:@%,=-]+", re.ASCII)


_EVERYBODYS = ("/tmp", "/var/tmp", "/dev/shm")


class FileRefused(Exception):
    """A path is not trusted. str() contains the problem, the accepted state, and the commands that fix it."""


def check_path(path: str, user: int, *, sticky: bool = False, may_miss: bool = False) -> None:
    """Raise FileRefused unless only root and `user` can change or redirect an absolute path's target. Raises OSError.

    All directories and links on the way are checked. A sticky directory on the way may be writable for all users if the
    next part of the path is a directory. Other users can't replace this directory, or move another of root's
    directories to its place. They could do so with a file that root owns. `sticky`: the last directory may also be
    sticky and writable.

    A user who can write to a directory on the way can make the next look-up fail with almost any error, so the check
    of the way precedes such an error. The error of a missing path precedes the check, unless the path `may_miss`: then
    only its existing directories are checked.
    """
    way, failure = list[tuple[str, os.stat_result]](), None
    try:
        way.extend(_way(path))  # keeps the steps before an error
    except (FileNotFoundError, NotADirectoryError):
        if not may_miss:
            raise
    except OSError as error:
        failure = error
    safe = [*(stat.S_ISDIR(entry.st_mode) for _, entry in way[1:]), sticky]
    for (place, found), is_safe in zip(way, safe, strict=True):
        if is_safe and found.st_mode & stat.S_ISVTX and found.st_uid in (0, user):
            continue
        if place in _EVERYBODYS:  # these must be writable
            accepted = f"a place in directories that only {_owners(user)} can write"
            raise FileRefused(f"found it in {place}, where all users may write; expected {accepted}")
        check_status(found, place, user)
    if failure is not None:
        raise failure


def distrust(path: str, user: int, *, sticky: bool = False, may_miss: bool = False) -> FileRefused | None:
    """Return the exception that `check_path` raises if other users can change a path's target.

    Return None if the path is trusted or a look-up fails; a later read reports the error of the look-up.
    """
    try:
        check_path(path, user, sticky=sticky, may_miss=may_miss)
    except FileRefused as refused:
        return refused
    except OSError:
        pass
    return None


def followed(path: str, user: int) -> str:
    """Return an absolute path with links followed. Raises OSError, or FileRefused if another user owns a link."""
    place = path
    for place, found in _way(path):
        if stat.S_ISLNK(found.st_mode):
            check_status(found, place, user)
    return place


def is_roots_alone(path: str) -> bool:
    """Return whether only root can change the target of an absolute path, or redirect it."""
    try:
        check_path(path, 0)
    except (FileRefused, OSError):
        return False
    return True


def check_status(found: os.stat_result, path: str, user: int) -> None:
    """Raise FileRefused unless only root and `user` can change this file, directory or link at `path`."""
    kind, place = _KINDS.get(stat.S_IFMT(found.st_mode), "special file"), quoted(path)
    is_link = stat.S_ISLNK(found.st_mode)
    faults, commands = [], []
    if found.st_uid not in (0, user):
        faults.append(f"user {name_of(found.st_uid)} owns")
        commands.append(f"chown {'-h ' if is_link else ''}{name_of(user)} {place}")
    if writers := "" if is_link else _writers(found, path):
        faults.append(f"{writers} may write")
        commands.append(f"chmod go-w {place}")
    if faults:
        what = f"a {kind} that {' and '.join(faults)}"
        raise FileRefused(f"found {what}; expected one that only {_owners(user)} can write: {' && '.join(commands)}")


def _owners(user: int) -> str:
    return "root" if user == 0 else f"root or {name_of(user)}"


def quoted(path: str) -> str:
    """Return a path quoted for a shell."""
    return path if _PLAIN.fullmatch(path) else "'" + path.replace("'", r"'\''") + "'"


def name_of(user: int, database: str = "/etc/passwd") -> str:
    """Return a UID's name, or a GID's name if `database` has groups. Return the number if it has no entry."""
    with contextlib.suppress(OSError), open(database, errors="replace") as file:
        for line in file:
            if line.split(":")[2:3] == [str(user)]:
                return line.partition(":")[0]
    return str(user)


def _way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield each directory and link on the way to a path's target, and the target itself. Raises OSError."""
    todo, done, links = path.split("/")[::-1], "/", 0
    yield done, os.lstat(done)
    while todo:
        name = todo.pop()
        if name == "..":
            done = os.path.dirname(done)
            yield done, os.lstat(done)
        elif name not in ("", "."):
            place = os.path.join(done, name)
            found = os.lstat(place)
            yield place, found
            if not stat.S_ISLNK(found.st_mode):
                done = place
                continue
            if (links := links + 1) > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(place)
            todo += target.split("/")[::-1]
            done = "/" if target.startswith("/") else done


def _writers(found: os.stat_result, path: str) -> str:
    """Describe the users who can write, except the owner.

    With an access control list, the group bits are its mask.
    """
    if found.st_mode & stat.S_IWOTH:
        return "all users"
    if not found.st_mode & stat.S_IWGRP:
        return ""
    with contextlib.suppress(OSError):  # no access control list, or the file system does not support them
        os.getxattr(path, _ACCESS_CONTROL_LIST)
        return "others, through its access control list,"
    return "" if _is_private(found.st_gid, found.st_uid) else f"group {name_of(found.st_gid, '/etc/group')}"


def _is_private(group: int, user: int) -> bool:
    """Return whether a group is an ordinary user's private group: primary, with the user's name, no other members."""
    if user == 0:
        return False
    try:
        owner, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    return owner.pw_gid == group and owner.pw_name == members.gr_name and set(members.gr_mem) <= {owner.pw_name}

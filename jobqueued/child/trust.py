"""Trust in a path: nobody but root and one user can change what is there, or put something else there."""

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


class Refused(Exception):
    """Distrust: str() has what was found, what is accepted, and the commands that mend it."""


def check_path(path: str, user: int, *, sticky: bool = False) -> None:
    """Refused unless only root and `user` can change what an absolute path leads to, or lead it elsewhere; OSError.

    All directories and links on the way count.  A sticky one that leads to a directory may be everybody's: others can't
    replace it, nor move one of root's there, as they can a file of root's that is in a directory of their own.
    `sticky`: so may be the last.
    """
    way = list(_way(path))
    safe = [*(stat.S_ISDIR(entry.st_mode) for _, entry in way[1:]), sticky]
    for (place, found), is_safe in zip(way, safe, strict=True):
        if is_safe and found.st_mode & stat.S_ISVTX and found.st_uid in (0, user):
            continue
        if place in _EVERYBODYS:  # which has to stay so
            accepted = f"a place in directories that only {_owners(user)} can write"
            raise Refused(f"found it in {place}, where everybody may write; accepted: {accepted}")
        check_status(found, place, user)


def followed(path: str, user: int) -> str:
    """An absolute path with all links followed; Refused at one that is not root's or `user`'s, OSError."""
    place = path
    for place, found in _way(path):
        if stat.S_ISLNK(found.st_mode):
            check_status(found, place, user)
    return place


def is_roots_alone(path: str) -> bool:
    """True if nobody but root can change what an absolute path leads to, or lead it elsewhere."""
    try:
        check_path(path, 0)
    except (Refused, OSError):
        return False
    return True


def check_status(found: os.stat_result, path: str, user: int) -> None:
    """Refused unless only root and `user` can change this file, directory or link, which is at `path`."""
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
        raise Refused(f"found {what}; accepted: one that only {_owners(user)} can write: {' && '.join(commands)}")


def _owners(user: int) -> str:
    return "root" if user == 0 else f"root or {name_of(user)}"


def quoted(path: str) -> str:
    """A path as a shell takes it."""
    return path if _PLAIN.fullmatch(path) else "'" + path.replace("'", r"'\''") + "'"


def name_of(user: int, database: str = "/etc/passwd") -> str:
    """The name of a user, or of a group by the `database` of groups; its number where only a network may know it."""
    with contextlib.suppress(OSError), open(database, errors="replace") as file:
        for line in file:
            if line.split(":")[2:3] == [str(user)]:
                return line.partition(":")[0]
    return str(user)


def _way(path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Each directory and link on the way to what a path leads to, and that itself; OSError."""
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
    """Others than its owner who may write it, in words; of a file with an access control list, the group bits mask
    it."""
    if found.st_mode & stat.S_IWOTH:
        return "everybody"
    if not found.st_mode & stat.S_IWGRP:
        return ""
    with contextlib.suppress(OSError):  # none, or no such thing there
        os.getxattr(path, _ACCESS_CONTROL_LIST)
        return "others, by its access control list,"
    return "" if _is_private(found.st_gid, found.st_uid) else f"group {name_of(found.st_gid, '/etc/group')}"


def _is_private(group: int, user: int) -> bool:
    """True if a group is an ordinary user's private one: primary, of the same name, and nobody else's."""
    if user == 0:
        return False
    try:
        owner, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    return owner.pw_gid == group and owner.pw_name == members.gr_name and set(members.gr_mem) <= {owner.pw_name}

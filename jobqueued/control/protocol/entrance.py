"""The mode and access control list (acl(5)) of a socket, so that the kernel lets only the intended users connect."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from jobqueued.control.protocol.peers import Access
from jobqueued.settings.paths import Paths

ACL = "system.posix_acl_access"
_VERSION, _NOBODY = 2, 0xFFFFFFFF
_OWNER, _USER, _GROUP_OF_OWNER, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_READ_AND_WRITE = 6
_NONE = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})


def doors(paths: Paths, access: Access) -> dict[Path, Callable[[Path], str]]:
    """Return socket path → function that lets the socket's callers connect."""
    return {paths.operators: partial(admit_operators, access=access), paths.control: admit_everybody}


def admit_everybody(path: Path) -> str:
    """Let every user connect, because the peer's credentials determine the rights.

    Return "", because no user is kept out.
    """
    path.chmod(0o666)
    return ""


def admit_operators(path: Path, access: Access) -> str:
    """Let root, the owner and operators connect, but not the user that sends notices. Raises OSError.

    Returns the reason why operators can't connect, or "" if operators can connect or no operators exist.
    """
    path.chmod(0o600)
    if not access.operators:
        return ""
    try:
        os.setxattr(path, ACL, _list([access.notifier] if access.notifier >= 0 else [], sorted(access.operators)))
    except OSError as error:
        if error.errno not in _NONE:
            raise
        return "this file system has no access control lists, so operators share the socket with all users"
    return ""


def _list(refused: Iterable[int], groups: Iterable[int]) -> bytes:
    """Return an access control list that admits the owner and the groups, but not the refused users."""
    entries = [
        (_OWNER, _READ_AND_WRITE, _NOBODY),
        *((_USER, 0, uid) for uid in refused),
        (_GROUP_OF_OWNER, 0, _NOBODY),
        *((_GROUP, _READ_AND_WRITE, gid) for gid in groups),
        (_MASK, _READ_AND_WRITE, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ]
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)

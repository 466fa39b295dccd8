"""A file by rename: a reader sees the old one or the new one, whole."""

from __future__ import annotations

import errno
import os


def replace(path: str, data: bytes) -> None:
    """Make `path` a file of this content, for its owner and group, and its directory where there is none; OSError."""
    temporary = f"{path}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(temporary, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        descriptor = os.open(temporary, flags, 0o640)
    try:
        os.fchmod(descriptor, 0o640)  # whatever the umask is
        if os.write(descriptor, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(descriptor)
    os.rename(temporary, path)

"""A file by rename: a reader sees the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import os

TEMPORARY = ".tmp"
"""What the name of a file that is being written ends in."""


def replace(path: str, data: bytes) -> None:
    """Make `path` a file of this content, for its owner and group, and its directory where there is none; OSError.

    After a failure the old one is there, and nothing else.
    """
    temporary = path + TEMPORARY
    try:
        _write(temporary, data)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _write(path: str, data: bytes) -> None:
    descriptor = opened(path, os.O_TRUNC)
    try:
        os.fchmod(descriptor, 0o640)  # whatever the umask is
        rest = memoryview(data)
        while rest:  # a disk that is about to be full takes a part, and only the next write says what is wrong
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


def opened(path: str, how: int) -> int:
    """A descriptor to write a file, which is made, and its directory too: O_APPEND or O_TRUNC.  OSError."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how
    try:
        return os.open(path, flags, 0o640)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        return os.open(path, flags, 0o640)

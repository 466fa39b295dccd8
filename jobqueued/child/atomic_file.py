"""A file by rename: a reader sees the old one or the new one, whole.

Who reads takes regular files only, whatever somebody has put in their place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

LARGEST = 64 << 20
"""Bytes of the largest file that is read as a whole, whatever somebody has put in its place."""
TEMPORARY = ".tmp"
"""What the name of a file that is being written ends in."""
Kept = tuple[str, int, int]
"""A directory, its mode and group."""


def replace(
    path: str, data: bytes, mode: int = 0o640, *, durable: bool = False, above: Kept | None = None
) -> None:  # fmt: skip
    """Make `path` a file of this content and mode, and its directory where there is none, `above` as it was; OSError.

    After a failure the old one is there, and nothing else.  `durable`: after a crash of the host, too, it is one of
    them, whole.
    """
    temporary = path + TEMPORARY
    try:
        _write(temporary, data, mode, durable=durable, above=above)
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def sync(path: str) -> None:
    """Make a file durable where that can be, with its name and that of its directory, which may be new; "" is none."""
    directory = os.path.dirname(path)
    for target in (path, directory, os.path.dirname(directory)) if path else ():
        _sync(target)


def make_directory(path: str, mode: int) -> None:
    """Make a directory, and those above it that are missing, for good: a crash of the host leaves them; OSError."""
    parent = os.path.dirname(path)
    try:
        os.mkdir(path, mode)
    except FileNotFoundError:
        make_directory(parent, 0o755)
        make_directory(path, mode)  # another daemon may have made it by now
        return
    except OSError:  # of one that is there: EEXIST, EROFS …
        if not os.path.isdir(path):
            raise
        return
    _sync(parent)


def _sync(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        os.fsync(descriptor)
        os.close(descriptor)


def kept(path: str) -> Kept:
    """A directory with its mode and group, as `restore` takes it; one that is not there, as `opened` would make it."""
    try:
        found = os.stat(path)
    except OSError:
        return path, 0o750, -1
    return path, found.st_mode & 0o7777, found.st_gid


def restore(path: str, mode: int, group: int) -> None:
    """Make a directory as it was, if it is gone; where that can't be, who writes there is told."""
    with contextlib.suppress(OSError):
        os.mkdir(path, 0o700)
        with contextlib.suppress(PermissionError):  # a sandbox without CAP_CHOWN
            os.chown(path, -1, group)
        os.chmod(path, mode)


def _write(path: str, data: bytes, mode: int, *, durable: bool, above: Kept | None) -> None:
    descriptor = opened(path, os.O_TRUNC, above)
    try:
        os.fchmod(descriptor, mode)  # whatever the umask is
        rest = memoryview(data)
        while rest:  # a disk that is about to be full takes a part, and only the next write says what is wrong
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened(path: str, how: int, above: Kept | None = None) -> int:
    """A descriptor to write a file, which is made, and its directory too: O_APPEND or O_TRUNC.  OSError.

    `above`: a directory further up that is made as it was, if it is gone.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | how
    try:
        return os.open(path, flags, 0o640)
    except FileNotFoundError:
        if above is not None:
            restore(*above)
        os.makedirs(os.path.dirname(path), 0o750, exist_ok=True)
        return os.open(path, flags, 0o640)


def to_read(path: str, directory: int | None = None, *, follow: bool = False) -> int:
    """A descriptor to read a regular file, `path` being below `directory` (a descriptor) where one is given; OSError.

    A FIFO does not hang, a device does nothing, and no link is followed, unless it is to be.
    """
    return _to_read(path, directory, 0 if follow else os.O_NOFOLLOW)[0]


def _to_read(path: str, directory: int | None, how: int) -> tuple[int, int]:
    """The same, and the size of the file."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | how
    descriptor = os.open(path, flags, dir_fd=directory)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        return descriptor, status.st_size
    os.close(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.EINVAL, "not a regular file", path)


def content(path: str, directory: int | None = None) -> bytes:
    """The bytes of a regular file; OSError, also where it is none, or larger than LARGEST."""
    descriptor, size = _to_read(path, directory, os.O_NOFOLLOW)
    try:
        if size > LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)

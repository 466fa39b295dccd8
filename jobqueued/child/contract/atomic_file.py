"""Files replaced by rename: a reader sees the old file or the new one, complete.

Readers accept regular files only, in case a user put something else in their place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

LARGEST = 64 << 20
"""Maximum bytes of a file that is read completely, in case a user put a larger one in its place."""
TEMPORARY = ".tmp"
"""Suffix of a file that is being written."""
Kept = tuple[str, int, int]
"""A directory with its mode and group."""


def replace(path: str, data: bytes, mode: int = 0o640, *, durable: bool = False, above: Kept | None = None) -> None:
    """Replace `path` with a file of this content and mode. Make its directory if missing, and restore `above` first.

    Raises OSError, and leaves the old file as it was. `durable`: even after a crash of the host, the old or the new
    file is complete.
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
    """Make a file, its name and the name of its directory durable, if possible. Do nothing if `path` is ""."""
    directory = os.path.dirname(path)
    for target in (path, directory, os.path.dirname(directory)) if path else ():
        _sync(target)


def make_directory(path: str, mode: int) -> None:
    """Make a directory and its missing parents durably. Raises OSError."""
    parent = os.path.dirname(path)
    try:
        os.mkdir(path, mode)
    except FileNotFoundError:
        make_directory(parent, 0o755)
        make_directory(path, mode)  # another daemon may just have made it
        return
    except OSError:  # an existing directory: EEXIST, EROFS …
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
    """Return a directory with its mode and group for `restore`; for a missing one, the mode that `opened` would use."""
    try:
        found = os.stat(path)
    except OSError:
        return path, 0o750, -1
    return path, found.st_mode & 0o7777, found.st_gid


def restore(path: str, mode: int, group: int) -> None:
    """Make a deleted directory again as it was. If that fails, the next writer in it gets the error."""
    with contextlib.suppress(OSError):
        os.mkdir(path, 0o700)
        with contextlib.suppress(PermissionError):  # a sandbox without CAP_CHOWN
            os.chown(path, -1, group)
        os.chmod(path, mode)


def _write(path: str, data: bytes, mode: int, *, durable: bool, above: Kept | None) -> None:
    descriptor = opened(path, os.O_TRUNC, above)
    try:
        os.fchmod(descriptor, mode)  # independent of the umask
        rest = memoryview(data)
        while rest:  # a disk that is almost full takes a part, and only the next write has the error
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened(path: str, how: int, above: Kept | None = None) -> int:
    """Open a file for writing, and return its descriptor. Create the file and its directory if missing. Raises OSError.

    `how`: O_APPEND or O_TRUNC. `above`: a directory further up, restored if it was deleted.
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
    """Open a regular file for reading, and return its descriptor. Raises OSError.

    `directory`: descriptor of the directory that a relative path starts at. To open a FIFO does not block, and to open
    a device has no effect. Links are followed only with `follow`.
    """
    return _to_read(path, directory, 0 if follow else os.O_NOFOLLOW)[0]


def _to_read(path: str, directory: int | None, how: int) -> tuple[int, int]:
    """Return a descriptor to read a regular file, and its size."""
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
    """Return the bytes of a regular file. Raises OSError, also if it is not regular or larger than LARGEST."""
    descriptor, size = _to_read(path, directory, os.O_NOFOLLOW)
    try:
        if size > LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)

"""Files replaced by rename, so that a reader sees either the complete old or the complete new file.

Readers accept only regular files, because a user may have replaced a file with something else.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

LARGEST = 64 << 20
"""Maximum size (bytes) of a file to read into memory, because a user may have replaced the file with a larger one."""
TEMPORARY = ".tmp"
"""Suffix of a file that is being written."""
Kept = tuple[str, int, int]
"""A directory with its mode and group."""


def replace(path: str, data: bytes, mode: int = 0o640, *, durable: bool = False, above: Kept | None = None) -> None:
    """Replace `path` with a file with this content and mode.

    If its directory is missing, restore `above`, then make the directory. Raises OSError; the old file is then
    unchanged. `durable`: the complete old or new file survives a host crash.
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
    """Make a file, its name and its directory's name durable if possible. Do nothing if `path` is ""."""
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
        make_directory(path, mode)  # another daemon may have made the directory
        return
    except OSError:  # for an existing directory: EEXIST, EROFS …
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
    """Return a directory, its mode and its group for `restore`.

    A missing directory gets the mode that `opened` uses.
    """
    try:
        found = os.stat(path)
    except OSError:
        return path, 0o750, -1
    return path, found.st_mode & 0o7777, found.st_gid


def restore(path: str, mode: int, group: int) -> None:
    """Re-create a deleted directory with its mode and group. If this fails, the next write in it raises the error."""
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
        while rest:  # if the disk gets full, a part is written, and only the next write raises the error
            rest = rest[os.write(descriptor, rest) :]
        if durable:
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def opened(path: str, how: int, above: Kept | None = None) -> int:
    """Open a file for writing, and return its descriptor. Create the file and its directory if missing. Raises OSError.

    `how`: O_APPEND or O_TRUNC. `above`: an ancestor directory, restored if it was deleted.
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

    `directory`: descriptor of the directory for a relative path. The call does not block on a FIFO, and has no effect
    on a device. Links are followed only with `follow`.
    """
    return _to_read(path, directory, 0 if follow else os.O_NOFOLLOW)[0]


def _to_read(path: str, directory: int | None, how: int) -> tuple[int, int]:
    """Open a regular file for reading, and return its descriptor and size."""
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
    """Return the bytes of a regular file. Raises OSError, also if the file is not regular or larger than LARGEST."""
    descriptor, size = _to_read(path, directory, os.O_NOFOLLOW)
    try:
        if size > LARGEST:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return os.read(descriptor, size)
    finally:
        os.close(descriptor)

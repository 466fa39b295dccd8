"""Read figures from a cgroup's files, and write limits to them."""

from __future__ import annotations

import contextlib
import errno
import os

from jobqueued.child.contract import wire

_BLOCK = "/sys/block"


def capped(directory: int, file: str, text: str) -> str:
    """Write a limit. Return "", or the reason why it can't be set. Raises OSError if no descriptor is free."""
    try:
        whole = [f"{disk} {text}" for disk in disks()] if file == "io.max" else [text]
        for line in whole:
            write(directory, file, line.encode())
    except FileNotFoundError:
        return f"its cgroup has no {file}"
    except OSError as error:
        if error.errno in wire.NO_DESCRIPTOR or error.errno == errno.ENODEV:
            raise
        return f"{file}: {error.strerror}"
    return "" if whole else "this host has no disk"


def total(disks: bytes, key: bytes) -> int:
    """Return a figure's sum over all disks: ``8:0 rbytes=1 wbytes=2``."""
    return sum(int(value) for name, _, value in (word.partition(b"=") for word in disks.split()) if name == key)


def disks() -> list[str]:
    """Return the numbers of this host's disks, such as ``8:0``. Partitions, mappings and loops can't be limited."""
    found = []
    for name in os.listdir(_BLOCK):
        if os.path.exists(f"{_BLOCK}/{name}/device"):
            with contextlib.suppress(FileNotFoundError), open(f"{_BLOCK}/{name}/dev") as file:  # one of several paths
                found.append(file.read().strip())
    return found


def read(directory: int, name: str) -> bytes | None:
    """Return the content of a file, or None if the file or the cgroup does not exist."""
    with contextlib.suppress(OSError):
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            return os.read(descriptor, 1 << 16)
        finally:
            os.close(descriptor)
    return None


def pairs(directory: int, name: str) -> dict[str, int]:
    """Return name → figure from a file, or {} if the file does not exist."""
    words = (read(directory, name) or b"").decode().split()
    return {key: int(value) for key, value in zip(words[::2], words[1::2], strict=False) if value.isdigit()}


def write(directory: int, name: str, data: bytes) -> None:
    """Write into a file. Raises OSError."""
    descriptor = os.open(name, os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)

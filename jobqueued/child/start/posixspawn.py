"""posix_spawn(3) into a cgroup, which os.posix_spawn does not support. Needs glibc 2.39 and Linux 5.7."""

from __future__ import annotations

import ctypes
import fcntl
import os

_LIBC = ctypes.CDLL(None)
_SETSIGDEF, _SETSIGMASK, _SETSID, _SETCGROUP = 0x04, 0x08, 0x80, 0x100
AVAILABLE = hasattr(_LIBC, "posix_spawnattr_setcgroup_np")
_MOST_STREAMS = 8
_ROOM = 1024
"""Bytes reserved for each of glibc's structures, which need at most 344 bytes on all platforms."""


def spawn(
    program: str, arguments: list[str], environment: dict[str, str], streams: tuple[int, ...], cgroup: int
) -> int:
    """Start a process in `cgroup` (a descriptor, or -1 for our cgroup) and in a new session, with these streams.

    Return its pid. The process has no blocked or ignored signals. Raises OSError if it can't start.
    """
    attributes, actions, signals = (ctypes.create_string_buffer(_ROOM) for _ in range(3))
    pid = ctypes.c_int()
    _LIBC.posix_spawnattr_init(attributes)
    _LIBC.posix_spawn_file_actions_init(actions)
    try:
        flags = _SETSIGDEF | _SETSIGMASK | _SETSID
        if cgroup >= 0:
            flags |= _SETCGROUP
            _LIBC.posix_spawnattr_setcgroup_np(attributes, cgroup)
        _LIBC.posix_spawnattr_setflags(attributes, ctypes.c_short(flags))
        _LIBC.posix_spawnattr_setsigmask(attributes, signals)  # zeros, as from sigemptyset(3)
        _LIBC.sigfillset(signals)
        _LIBC.posix_spawnattr_setsigdefault(attributes, signals)
        for target, source in enumerate(streams):
            _checked(_LIBC.posix_spawn_file_actions_adddup2(actions, source, target), program)
        argv = _strings(arguments)
        envp = _strings([f"{name}={value}" for name, value in environment.items()])
        path = os.fsencode(program)
        _checked(_LIBC.posix_spawn(ctypes.byref(pid), path, actions, attributes, argv, envp), program)
    finally:
        _LIBC.posix_spawn_file_actions_destroy(actions)
        _LIBC.posix_spawnattr_destroy(attributes)
    return pid.value


def _strings(texts: list[str]) -> ctypes.Array[ctypes.c_char_p]:
    return (ctypes.c_char_p * (len(texts) + 1))(*map(os.fsencode, texts), None)


def _checked(number: int, program: str) -> None:
    if number:
        raise OSError(number, os.strerror(number), program)


def raised(descriptor: int) -> int:
    """Move the descriptor to a number above the streams of a new process, and return the number."""
    if descriptor > _MOST_STREAMS:
        return descriptor
    try:
        return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _MOST_STREAMS + 1)
    finally:
        os.close(descriptor)

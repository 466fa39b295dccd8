"""Handles SIGTERM to a supervisor. PID 1 or a user's manager sends it when the host, session or scope shuts down."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal

_LIBC = ctypes.CDLL(None, use_errno=True)
_SFD_NONBLOCK, _SFD_CLOEXEC = 0o4000, 0o2000000
_SIZE_OF_SIGSET, _SIZE_OF_SIGINFO = 128, 128
_SENDER = slice(12, 16)
"""Bytes of ssi_pid in struct signalfd_siginfo (signalfd(2))."""


class Shutdown:
    """Recognizes a shutdown. `descriptor` is readable after any SIGTERM, which is blocked in this process.

    `manager`: the process that started the launcher, for example a user's service manager.
    """

    def __init__(self, manager: int = 1) -> None:
        self._managers = {1, manager}
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        mask = ctypes.create_string_buffer(_SIZE_OF_SIGSET)
        self._began = False
        _LIBC.sigemptyset(mask)
        _LIBC.sigaddset(mask, signal.SIGTERM)
        self.descriptor = _LIBC.signalfd(-1, mask, _SFD_NONBLOCK | _SFD_CLOEXEC)
        if self.descriptor < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"signalfd: {os.strerror(number)}")

    def began(self, longest_wait: float = 0) -> bool:
        """Return whether PID 1 or the manager sent SIGTERM, or sends it within `longest_wait` (s)."""
        if longest_wait and not self._began:
            select.select([self.descriptor], [], [], longest_wait)
        with contextlib.suppress(BlockingIOError):
            while said := os.read(self.descriptor, _SIZE_OF_SIGINFO):
                self._began = self._began or int.from_bytes(said[_SENDER], "little") in self._managers
        return self._began

"""Classic daemonising for hosts without a service manager: ``jobqueued --detach`` (daemon(7), "SysV daemons")."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable

import daemon

_READY = b"\0"
"""The byte that signals to the process at the terminal that the daemon is ready; all bytes before it are text for
people.
"""


def detach(kept: list[int]) -> Callable[[], None]:
    """Move the daemon into the background: double fork, new session, directory /, /dev/null for stdio. Only the
    descriptors `kept` remain open.

    The calling process remains in the foreground and prints the text that the daemon writes to sys.stderr.  It exits
    with status 0 once the returned function is called, or with 1 if the daemon ends earlier.  Call this before any
    thread runs.
    """
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        os._exit(_attend(reading))
    os.close(reading)
    # Set no limit on core files, because jobs would inherit it.
    daemon.DaemonContext(
        umask=0o027, detach_process=True, prevent_core=False, signal_map={}, files_preserve=[*kept, writing]
    ).open()
    os.set_inheritable(writing, False)
    terminal = os.fdopen(writing, "w", buffering=1, errors="backslashreplace")
    nowhere, sys.stderr = sys.stderr, terminal

    def ready() -> None:
        sys.stderr = nowhere
        with contextlib.suppress(OSError), terminal:  # the waiting process may have exited
            terminal.write(_READY.decode())

    return ready


def _attend(reading: int) -> int:
    """Print the daemon's messages until it is ready or exits; return the exit status."""
    text = b""
    while data := os.read(reading, 4096):
        text += data
        os.write(2, data.removesuffix(_READY))
    if text.endswith(_READY):
        return 0
    if not text:
        os.write(2, b"jobqueued: the daemon ended before it was ready, without a message\n")
    return 1

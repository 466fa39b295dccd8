"""Syslog lines about users' crontabs, as Debian's crontab writes them: ``crontab[4711]: (alice) REPLACE (alice)``."""

from __future__ import annotations

import contextlib
import os
import socket
import time

from jobqueued.child.contract import unix_socket
from jobqueued.child.contract.text import printable

LIST, REPLACE, DELETE = "LIST", "REPLACE", "DELETE"
BEGIN_EDIT, END_EDIT = "BEGIN EDIT", "END EDIT"
PLACE = "dev/log"
"""Path of the socket below the host's root directory."""
_CRON_INFO = 9 << 3 | 6
"""Facility and severity (RFC 3164)."""


def say(host: str, asker: str, event: str, user: str, pid: int) -> None:
    """Log that `asker`, in the process `pid`, read or changed a user's table."""
    _send(host, f"({printable(asker)}) {event} ({printable(user)})", pid)


def say_forbidden(host: str, asker: str, pid: int) -> None:
    """Log that a user requested a table, although the user may not have a table."""
    _send(host, f"({printable(asker)}) AUTH (crontab command not allowed)", pid)


def _send(host: str, text: str, pid: int) -> None:
    """Send a line as syslog(3) does, without waiting. If no process reads the socket, the line is lost."""
    time.tzset()  # the host's time zone may have changed since our start
    moment = time.strftime("%b %e %H:%M:%S")
    line = f"<{_CRON_INFO}>{moment} crontab[{pid}]: {text}"
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as log:
        unix_socket.connect(log, os.path.join(host, PLACE))
        log.send(line.encode(errors="replace"))

"""Notifications to PID 1 about start, reload, status, watchdog and end (sd_notify(3)). If NOTIFY_SOCKET is not set, no
notification is sent.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import sdnotify

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.base.text import printable
from jobqueued.model.job import Now
from jobqueued.model.source import Source


class ServiceManager(Source):
    """The notification socket of the daemon's unit, if any. Its deadline wakes the loop, which calls `follow` after
    each turn.
    """

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        self._told = ""
        self._quiet_until = 0
        self._due: int | None = None
        ours = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = int(os.environ.pop("WATCHDOG_USEC", "0")) if ours else 0
        self.watchdog: int | None = microseconds * 1000 // 2 or None
        """The interval (ns) at which `alive` must be called, or None if the watchdog is not enabled."""

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) from which `follow` may notify again, or None until the next event."""
        return self._due

    def starting(self, status: str) -> None:
        """Report that the start continues, and extend the timeout of the start by a minute."""
        self._notify(f"EXTEND_TIMEOUT_USEC={MINUTE // 1000}", f"STATUS={status}")

    def tell_ready(self, status: str) -> None:
        """Report that start-up (or a reload) is complete. Only this call blocks while PID 1 is busy."""
        if self._notifier.socket is None:
            return
        self._notifier.socket.setblocking(True)
        self._notify("READY=1", f"STATUS={status}")
        self._notifier.socket.setblocking(False)
        self._told = status

    def reloading(self, mono: int) -> None:
        """Report that a reload begins; `mono` is CLOCK_MONOTONIC in ns (Type=notify-reload needs it)."""
        self._notify("RELOADING=1", f"MONOTONIC_USEC={mono * 1_000_000 // SECOND}")

    def follow(self, mono: int, status: Callable[[], str]) -> None:
        """Send the line for ``systemctl status`` if it changed, at most once a second. The loop must call this after
        each turn.
        """
        if self._notifier.socket is None:
            return
        if mono < self._quiet_until:
            self._due = self._quiet_until
            return
        self._due, self._quiet_until = None, mono + SECOND
        if (text := status()) != self._told:
            self._told = text
            self._notify(f"STATUS={text}")

    def alive(self) -> None:
        """Report that the loop makes progress."""
        self._notify("WATCHDOG=1")

    def stopping(self, text: str) -> None:
        """Report that the daemon is stopping."""
        self._notify("STOPPING=1", f"STATUS={text}")

    def _notify(self, *assignments: str) -> None:
        """Send assignments as UTF-8. The library would encode them as Latin-1, and drop texts with other letters."""
        self._notifier.notify("\n".join(map(printable, assignments)).encode().decode("latin-1"))


class Watchdog(Source):
    """The source that reports to PID 1's watchdog, if enabled, that the daemon is alive. Each report also calls `beat`,
    because the host is awake anyway.
    """

    def __init__(self, service_manager: ServiceManager, beat: Callable[[int], None]) -> None:
        self._service_manager, self._beat = service_manager, beat
        self._at: int | None = 0 if service_manager.watchdog else None

    @property
    def deadline(self) -> int | None:
        """The time (CLOCK_MONOTONIC, ns) when the next report to the watchdog is due, or None if the watchdog is not
        enabled.
        """
        return self._at

    def turn(self, now: Now) -> tuple[()]:
        """Report that the loop makes progress."""
        self._service_manager.alive()
        self._at = now.mono + (self._service_manager.watchdog or 0)
        self._beat(now.mono)
        return ()

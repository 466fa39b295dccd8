"""What PID 1 is told: READY, RELOADING, STATUS, WATCHDOG, STOPPING (sd_notify(3)); nothing without NOTIFY_SOCKET."""

from __future__ import annotations

import os

import sdnotify

from jobqueued.model import SECOND


class Systemd:
    """The notification socket of the unit that started us, if any."""

    def __init__(self) -> None:
        self._notifier = sdnotify.SystemdNotifier()
        ours = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        microseconds = int(os.environ.pop("WATCHDOG_USEC", "0")) if ours else 0
        self.watchdog: int | None = microseconds * 1000 // 2 or None
        """How often `alive` has to be called (ns); None: nobody watches."""

    def ready(self, status: str) -> None:
        """Start-up (or a reload) is complete."""
        self._notifier.notify(f"READY=1\nSTATUS={status}")

    def reloading(self, mono: int) -> None:
        """A reload begins; `mono` is CLOCK_MONOTONIC in ns (Type=notify-reload wants to know)."""
        self._notifier.notify(f"RELOADING=1\nMONOTONIC_USEC={mono * 1_000_000 // SECOND}")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._notifier.notify(f"STATUS={text}")

    def alive(self) -> None:
        """The loop makes progress."""
        self._notifier.notify("WATCHDOG=1")

    def stopping(self, text: str) -> None:
        """The end begins."""
        self._notifier.notify(f"STOPPING=1\nSTATUS={text}")

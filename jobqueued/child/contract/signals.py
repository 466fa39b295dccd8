"""Names of signals, including real-time signals: ``SIGTERM``, ``SIGRTMIN+3``."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """Return a signal's name, such as ``SIGSEGV`` or ``SIGRTMIN+3``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def signal_number(name: str) -> int:
    """Return the number of the signal with this name."""
    base, _, offset = name.partition("+")
    return int(getattr(signal, base)) + int(offset or 0)

"""The names of signals, real-time signals among them: ``SIGTERM``, ``SIGRTMIN+3``."""

from __future__ import annotations

import signal


def signal_name(number: int) -> str:
    """``SIGSEGV``; of real-time signals ``SIGRTMIN+3``."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def signal_number(name: str) -> int:
    """The inverse of `signal_name`."""
    base, _, offset = name.partition("+")
    return int(getattr(signal, base)) + int(offset or 0)

"""Classic daemonising for hosts without a service manager: ``jobqueued --detach --pid-file F``."""

from __future__ import annotations

import os
from pathlib import Path

import daemon


def detach(pid_file: Path | None) -> None:
    """Go into the background (double fork, new session, /dev/null for stdio, umask 022) and leave our PID in a file.

    To be called before any descriptor is open and any thread runs: none is kept.
    """
    context = daemon.DaemonContext(umask=0o022, detach_process=True, signal_map={})
    context.open()
    if pid_file is not None:
        _write(pid_file)


def _write(pid_file: Path) -> None:
    temporary = pid_file.with_name(pid_file.name + ".tmp")
    temporary.write_text(f"{os.getpid()}\n")
    temporary.replace(pid_file)

"""Classic daemonising for hosts without a service manager: ``jobqueued --detach``."""

from __future__ import annotations

import daemon


def detach() -> None:
    """Go into the background: double fork, new session, directory /, /dev/null for stdio, umask 022.

    To be called before any descriptor is open and any thread runs: none is kept.
    """
    daemon.DaemonContext(umask=0o022, detach_process=True, signal_map={}).open()

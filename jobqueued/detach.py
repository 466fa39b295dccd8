"""Classic daemonising for hosts without a service manager: ``jobqueued --detach``."""

from __future__ import annotations

import daemon


def detach(kept: int) -> None:
    """Go into the background: double fork, new session, directory /, /dev/null for stdio; only `kept` stays open.

    To be called before any thread runs, and after all that a person at the terminal should hear of.
    """
    daemon.DaemonContext(umask=0o027, detach_process=True, signal_map={}, files_preserve=[kept]).open()

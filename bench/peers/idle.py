"""Jobs of which none is due for hours: the memory of all processes, and how often any of them woke up in a minute."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from bench.peers.burst import begun
from bench.peers.daemons import Daemon, Jobs
from bench.peers.hosts import hosted
from bench.peers.installs import Installs
from bench.peers.places import place
from bench.rig import switches

MINUTE = 60


def idle(daemon: Daemon, installs: Installs, *, count: int) -> dict[str, float]:
    """One look at a daemon at rest."""
    far = (datetime.now(UTC) + timedelta(hours=12)).replace(second=0, microsecond=0)
    with place() as (home, _ledger):
        jobs = Jobs(count, far, ("/bin/true",), shell=True)
        with hosted(home, installs.init, *begun(daemon, home, installs, jobs)) as host:
            host.settle(120)
            before = switches(host.pids())
            time.sleep(MINUTE)
            after = switches(host.pids())
            wakeups = sum(after.values()) - sum(before.get(pid, 0) for pid in after)
            return {"pss_mib": host.pss_mib(), "processes": len(after), "wake_ups_a_minute": wakeups}

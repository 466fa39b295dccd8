"""A host of the fleet: a daemon that has a name and a directory of its own, its agent, and its way to etcd."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from math import inf
from pathlib import Path

from jobqueued.runs.fleet_link import AGENT
from tests.fleet.jobs import downfall
from tests.fleet.proxy import Way
from tests.support import REPO
from tests.support.host import Host, kill
from tests.support.places import Place

_SETTINGS = """\
fleet: {{etcd: [{members}], lock_grace: {grace}}}
retention: {{runs: 1000000}}
"""
_BOOTED = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" /proc/sys/kernel/random/boot_id && exec "$@"')


class FleetHost(Host):
    """A host, whose scheduler is started again, as systemd does, once it has ended.

    `settings`: its jobqueued.yaml; `place`: the network namespace of all that is on it, with a boot id of its own;
    None: that of the machine.
    """

    def __init__(self, root: Path, name: str, settings: str, place: Place | None) -> None:
        super().__init__(root, str(REPO / "tests" / "support" / "named.py"), name)
        self.name, self.place = name, place
        self.book = root.parent / "book"
        (root / "jobqueued.yaml").write_text(settings)
        self._boots = 0
        self._start_at: float | None
        self._boot_id: Path
        self.boot()

    def tend(self) -> None:
        """Start the scheduler where it is to be started."""
        if self._start_at is None and self.daemon_ended():
            self._start_at = time.monotonic() + 1
        if self._start_at is not None and self._start_at <= time.monotonic():
            self._start_at = None
            command = self.command()
            if self.place is not None:
                command = [*self.place.enter, *_BOOTED, str(self._boot_id), *command]
            with open(self.root / "daemon.log", "ab") as log:
                self.daemon = subprocess.Popen(
                    command, cwd=REPO, env={**os.environ, "PYTHONPATH": str(REPO)},
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                )  # fmt: skip

    def command(self) -> list[str]:
        """What starts the scheduler."""
        return [sys.executable, *self.program, "--root", str(self.root), "--log", "json"]

    def end(self, down: float) -> None:
        """Kill the scheduler; the next is started after `down` seconds."""
        self.kill()
        self._start_at = time.monotonic() + down

    def lose_power(self) -> None:
        """Lose at once all that lives on it, and what is in memory only, until it boots."""
        assert self.place is not None
        self.place.kill()
        self._start_at = inf
        downfall(self.book, self.name)
        shutil.rmtree(self.root / "run", ignore_errors=True)  # it may not have got so far

    def boot(self) -> None:
        """Boot, with another boot id."""
        self._boots += 1
        self._boot_id = self.root / f"boot_id.{self._boots}"
        self._boot_id.write_text(f"{uuid.uuid4()}\n")
        self._start_at = time.monotonic()

    def agents(self) -> list[int]:
        """The agents of this host: one, but for moments."""
        marker, found = f"{AGENT}\0{self.root / 'run'}\0".encode(), []
        for name in filter(str.isdigit, os.listdir("/proc")):
            with suppress(OSError):
                if Path(f"/proc/{name}/cmdline").read_bytes().endswith(marker):
                    found.append(int(name))
        return found

    def processes(self) -> list[int]:
        """All of ours on this host, without what the jobs are."""
        scheduler = [] if self.daemon is None or self.daemon_ended() else [self.daemon.pid]
        return [*scheduler, *self.small_ones(), *self.agents()]

    def close(self) -> None:
        """End everything, also what is stopped."""
        super().close()
        for agent in self.agents():
            kill(agent)


class DistantHost(FleetHost):
    """A host whose way to etcd may be troubled."""

    def __init__(self, root: Path, name: str, way: Way, place: Place | None, grace: str = "60s") -> None:
        members = ", ".join(f'"{member}"' for member in way.members)
        super().__init__(root, name, _SETTINGS.format(members=members, grace=grace), place)
        self.way = way


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to those that are there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)

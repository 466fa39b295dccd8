"""A real etcd of a test, on loopback: one member, or several that can be killed, stopped and started again."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Gateway, Rejected
from jobqueued.child.fleet.etcd.tls import Tls
from tests.support.host import wait_for
from tests.support.needed import need

_OF_A_RESTORE = ("--data-dir", "--name", "--initial-advertise-peer-urls", "--initial-cluster")
_NAMES = ("one", "two", "three")


class Site(NamedTuple):
    """The URLs at which a member takes calls, of clients and of members; `enter`: what its command begins with; `tls`:
    what clients need.
    """

    clients: str
    peers: str
    enter: tuple[str, ...] = ()
    tls: Tls | None = None


class Member:
    """A member by its name: the address at which it takes calls, and its process; `options`: more ones of etcd."""

    def __init__(
        self, directory: Path, name: str, site: Site, cluster: str, options: Sequence[str | Path]
    ) -> None:  # fmt: skip
        program = need("etcd")
        self.name, self.clients, self._tls = name, site.clients, site.tls
        self.data = directory / name
        self._log = directory / f"{name}.log"
        self._command = [
            *site.enter, program, "--data-dir", str(self.data), "--name", name,
            "--listen-client-urls", site.clients, "--advertise-client-urls", site.clients,
            "--listen-peer-urls", site.peers, "--initial-advertise-peer-urls", site.peers,
            "--initial-cluster", cluster, "--unsafe-no-fsync", *map(str, options),
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        """Start it, with what it has kept."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)

    def wait(self) -> None:
        """Wait until it takes calls."""
        wait_for(lambda: self._listens() or self._process.poll() is not None, why=f"etcd {self.name}")
        assert self._process.poll() is None, self._log.read_text()[-2000:]

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, also if it is stopped."""
        self._process.kill()
        self._process.wait()

    def snapshot(self, path: Path) -> None:
        """Save all that it has, as `etcdctl snapshot save` does."""
        gateway = Gateway([self.clients], 5, self._tls)
        with (
            contextlib.suppress(EtcdUnreachable),
            path.open("wb") as file,
        ):  # so a stream ends, and not only when it breaks
            for part in gateway.stream("maintenance/snapshot", {}):
                file.write(b64decode(part.get("blob", "")))
        gateway.close()

    def restore(self, snapshot: Path, *options: str) -> None:
        """Put a member that is down back to a snapshot, whose hash tells whether it is whole."""
        shutil.rmtree(self.data)
        named = [option for option in self._command if option in _OF_A_RESTORE]
        values = [self._command[self._command.index(option) + 1] for option in named]
        words = [word for pair in zip(named, values, strict=True) for word in pair]
        command = ["etcdutl", "snapshot", "restore", str(snapshot), *words, *options]
        subprocess.run(command, check=True, capture_output=True)

    def ask(self, path: str, message: dict[str, Any], seconds: float = 2) -> dict[str, Any]:
        """Call it, and no other; Unreachable, Rejected."""
        gateway = Gateway([self.clients], seconds, self._tls)
        try:
            return gateway.call(path, message)
        finally:
            gateway.close()

    def _listens(self) -> bool:
        where = urlsplit(self.clients)
        with contextlib.suppress(OSError), socket.create_connection((where.hostname, where.port)):
            return True
        return False


class Cluster:
    """The members of one etcd."""

    def __init__(self, directory: Path, sites: Sequence[Site], options: Sequence[str | Path] = ()) -> None:
        places = list(zip(_NAMES, sites, strict=False))
        cluster = ",".join(f"{name}={site.peers}" for name, site in places)
        self.members = [Member(directory, *place, cluster, options) for place in places]

    def leader(self) -> Member | None:
        """The member that the others follow; None: nobody says so now."""
        for member in self.members:
            with contextlib.suppress(EtcdUnreachable, Rejected):
                status = member.ask("maintenance/status", {})
                if status.get("leader") == status["header"]["member_id"]:
                    return member
        return None

    def wait(self) -> None:
        """Wait until all take calls, and one leads."""
        for member in self.members:
            member.wait()
        wait_for(self.leader, why="a leader")

    def close(self) -> None:
        """End all members."""
        for member in self.members:
            member.kill()


@contextlib.contextmanager
def cluster(directory: Path, sites: Sequence[Site] = (), options: Sequence[str] = ()) -> Iterator[Cluster]:
    """An etcd of a member at each site, or else of three on loopback, which has a leader."""
    found = Cluster(directory, sites or loopback(3), options)
    try:
        found.wait()
        yield found
    finally:
        found.close()


@contextlib.contextmanager
def etcd(directory: Path, *tls: str | Path) -> Iterator[str]:
    """The address at which an etcd of one member takes calls; `tls`: its options for that."""
    found = Cluster(directory, loopback(1, "https" if tls else "http"), tls)
    try:
        found.members[0].wait() if tls else found.wait()
        yield found.members[0].clients
    finally:
        found.close()


def loopback(count: int, scheme: str = "http") -> list[Site]:
    """Sites on loopback."""
    ports = [f"127.0.0.1:{port}" for port in free_ports(2 * count)]
    return [
        Site(f"{scheme}://{clients}", f"http://{peers}") for clients, peers in zip(ports[::2], ports[1::2], strict=True)
    ]


def free_ports(count: int) -> list[int]:
    """Ports at which nobody listens by now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]

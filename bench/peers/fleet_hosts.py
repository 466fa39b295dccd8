"""Three hosts of a fleet, ours or cronstable's: each a network namespace with a name, its scheduler, and its etcd."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import trustme
import yaml

from bench.peers.fleet_ledger import JOBS
from jobqueued.child.fleet.etcd.tls import Tls
from tests.fleet.host import FleetHost, send
from tests.support.etcd import Cluster, Site, cluster
from tests.support.places import Place, Switch

NAMES = ("alpha", "beta", "gamma")
_NAMED = ("unshare", "--uts", "sh", "-c", 'echo "$0" >/proc/sys/kernel/hostname && exec "$@"')
"""What gives a command a host of that name."""
_TTL = 10
"""Seconds after which one that is silent is given up: what ours has, and cronstable's lease is set to."""
_AUTHORITY, _CERTIFICATE, _KEY = "authority.pem", "hosts.pem", "hosts.key"
_GOSSIP = {"listen": "0.0.0.0:8443", "electLeader": True, "interval": 5, "connectTimeout": 2}


class PeerHost(FleetHost):
    """A host of cronstable."""

    def __init__(self, root: Path, name: str, place: Place, program: Path) -> None:
        super().__init__(root, name, "", place)
        self._program = program

    def command(self) -> list[str]:
        """What starts it, as its own unit does."""
        return [str(self._program), "-c", str(self.root / "jobqueue.d")]

    def close(self) -> None:
        """End all that lives on it."""
        assert self.place is not None
        self.place.kill()


class Fleet:
    """Hosts, and the members of their etcd by the number of the host, if they have one."""

    def __init__(self, book: Path, hosts: Sequence[FleetHost], places: Sequence[Place], etcd: Cluster | None) -> None:
        self.book, self.hosts, self.places = book, hosts, places
        self._members = etcd.members if etcd else []

    def kill(self, number: int) -> Callable[[], None]:
        """Kill all that lives on a host; what lets it boot."""
        self.hosts[number].lose_power()

        def boot() -> None:
            for member in self._members[number : number + 1]:
                member.kill()
                member.start()
            self.hosts[number].boot()

        return boot

    def stop(self, number: int) -> Callable[[], None]:
        """Stop all that lives on a host; what lets it go on."""
        stopped = self.places[number].processes()
        send(stopped, signal.SIGSTOP)
        return lambda: send(stopped, signal.SIGCONT)

    def cut(self, *numbers: int) -> Callable[[], None]:
        """Cut hosts off from all others; what mends that."""
        for number in numbers:
            self.places[number].cut(0)

        def mend() -> None:
            for number in numbers:
                self.places[number].mend()

        return mend

    def restart(self) -> Callable[[], None]:
        """Have all schedulers end in order; each is started again once it has."""
        for host in self.hosts:
            if host.daemon is not None:
                send([host.daemon.pid], signal.SIGTERM)
        return lambda: None


class Kind(NamedTuple):
    """A scheduler for several hosts; `host` makes one, which knows the addresses of all, itself first."""

    name: str
    has_etcd: bool
    host: Callable[[Path, str, Place, list[str], Path], FleetHost]


@contextmanager
def fleet(kind: Kind, root: Path, switch: Switch, program: Path) -> Iterator[Fleet]:
    """Three hosts that have begun; `program`: that of cronstable."""
    root.mkdir(parents=True)
    book = root / "book"
    book.touch()
    with ExitStack() as stack:
        places = [stack.enter_context(closing(switch.place())) for _ in NAMES]
        for name, place in zip(NAMES, places, strict=True):
            place.enter = (*place.enter, *_NAMED, name)
        _certify(root, [place.addresses[0] for place in places])
        etcd = stack.enter_context(_etcd(root, places)) if kind.has_etcd else None
        hosts = list[FleetHost]()
        for number, (name, place) in enumerate(zip(NAMES, places, strict=True)):
            known = [it.addresses[0] for it in (*places[number:], *places[:number])]
            hosts.append(stack.enter_context(closing(kind.host(root / name, name, place, known, program))))
        yield Fleet(book, hosts, places, etcd)


def _etcd(root: Path, places: Sequence[Place]) -> AbstractContextManager[Cluster]:
    """A member on each host."""
    (root / "etcd").mkdir()
    tls = Tls(str(root / _AUTHORITY))
    sites = [Site(_member(it.addresses[0]), f"http://{it.addresses[0]}:2380", it.enter, tls) for it in places]
    options = [f"--cert-file={root / _CERTIFICATE}", f"--key-file={root / _KEY}"]
    return cluster(root / "etcd", sites, options)


def _member(address: str) -> str:
    return f"https://{address}:2379"


def _ours(root: Path, name: str, place: Place, known: list[str], _program: Path) -> FleetHost:
    etcd = f"{{etcd: {json.dumps([*map(_member, known)])}, authority: {root.parent / _AUTHORITY}}}"
    host = FleetHost(root, name, f"fleet: {etcd}\nretention: {{runs: 1000000}}\n", place)
    jobs = {job.name: {"command": job.command(str(host.book)), "schedule": "* * * * *", "seconds": str(job.second)}
            for job in JOBS}  # fmt: skip
    host.write("fleet.yaml", yaml.safe_dump({"defaults": {"timezone": "UTC", "scope": "fleet"}, "jobs": jobs}))
    return host


def _theirs(root: Path, name: str, place: Place, program: Path, backend: dict[str, Any], policy: str) -> FleetHost:
    host = PeerHost(root, name, place, program)
    jobs = [{"name": job.name, "command": job.command(str(host.book)), "schedule": f"{job.second} * * * * * *",
             "utc": True, "concurrencyPolicy": "Forbid", "clusterPolicy": policy} for job in JOBS]  # fmt: skip
    host.write("fleet.yaml", yaml.safe_dump({"cluster": {"nodeName": name, **backend}, "jobs": jobs}))
    return host


def _by_etcd(policy: str) -> Callable[[Path, str, Place, list[str], Path], FleetHost]:
    def host(root: Path, name: str, place: Place, known: list[str], program: Path) -> FleetHost:
        etcd = {"ttl": _TTL, "endpoints": [*map(_member, known)], "tls": {"ca": str(root.parent / _AUTHORITY)}}
        return _theirs(root, name, place, program, {"backend": "etcd", "etcd": etcd}, policy)

    return host


def _by_gossip(root: Path, name: str, place: Place, known: list[str], program: Path) -> FleetHost:
    names = {"ca": _AUTHORITY, "cert": _CERTIFICATE, "key": _KEY}
    pem = {"tls": {key: str(root.parent / file) for key, file in names.items()}}
    peers = [{"host": f"{address}:8443"} for address in known[1:]]
    return _theirs(root, name, place, program, {**_GOSSIP, **pem, "peers": peers}, "Leader")


def _certify(folder: Path, addresses: list[str]) -> None:
    """Make an authority, and a certificate of all addresses with its key."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / _AUTHORITY)
    issued = authority.issue_cert(*addresses)
    issued.cert_chain_pems[0].write_to_path(folder / _CERTIFICATE)
    issued.private_key_pem.write_to_path(folder / _KEY)


KINDS = (
    Kind("jobqueued", True, _ours),
    Kind("cronstable, etcd, Leader", True, _by_etcd("Leader")),
    Kind("cronstable, etcd, PreferLeader", True, _by_etcd("PreferLeader")),
    Kind("cronstable, gossip, Leader", False, _by_gossip),
)

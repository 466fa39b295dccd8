"""A day of a fleet: an etcd, hosts, faults that follow each other, and an evening on which nothing is due any more."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.gateway import Gateway, Rejected, Unreachable
from jobqueued.child.fleet.session import all_keys
from tests.fleet import jobs
from tests.fleet.faults import Fault, of_etcd, of_host
from tests.fleet.host import FleetHost
from tests.fleet.jobs import JOBS, Line
from tests.fleet.proxy import Network
from tests.support.etcd import Cluster, cluster

NAMES = ("alpha", "beta", "gamma")
_READY, _READ = 60.0, 5.0
"""Seconds in which all hosts are there, and in which they have surely read a changed file."""
_LOOK = 0.05


class Plan(NamedTuple):
    """What a day is to be: all but what clocks say follows from it.

    `pause`: the mean seconds from fault to fault; `patience`: those in which all is to be caught up after the last, and
    then nothing is to be held any more.
    """

    seed: int
    seconds: float
    pause: float
    patience: float
    only: str
    """A word of the names of the faults; "": all."""


class Day(NamedTuple):
    """What is left of a day: till which instant jobs were due, and whether all was seen to end."""

    morning: datetime
    evening: datetime
    lines: list[Line]
    records: list[tuple[str, dict[str, Any]]]
    """By the host that has written it."""
    keys: dict[str, str]
    """All that was in etcd in the end."""
    faults: Counter[str]
    said: list[str]
    """The faults with their times."""


class Track:
    """Faults of one kind that follow each other: never two at a time of one host, or of etcd."""

    def __init__(self, name: str, faults: Mapping[str, Fault], plan: Plan) -> None:
        self._name, self._chance = name, random.Random(f"{plan.seed}/{name}")
        self._faults = {fault: each for fault, each in faults.items() if plan.only in fault}
        self._pause = plan.pause
        self._end: Callable[[], None] | None = None
        self._next_at = time.monotonic() + self._chance.expovariate(1 / self._pause)

    def step(self) -> str:
        """Do what is to be done now; the name of the fault that has begun."""
        if time.monotonic() < self._next_at or not self._faults:
            return ""
        if self._end is not None:
            self.stop()
            self._next_at = time.monotonic() + self._chance.expovariate(1 / self._pause)
            return ""
        name = self._chance.choice(sorted(self._faults))
        seconds = self._chance.choice(self._faults[name].seconds)
        self._end = self._faults[name].begin(self._chance)
        self._next_at = time.monotonic() + seconds
        return f"{self._name}: {name}, {seconds:g} s"

    def stop(self) -> None:
        """End the fault that there is."""
        if self._end is not None:
            self._end()
        self._end = None


class Fleet:
    """Hosts and their etcd."""

    def __init__(self, root: Path, etcd: Cluster, hosts: list[FleetHost]) -> None:
        self.etcd, self.hosts, self.book = etcd, hosts, root / "book"
        self.said = list[str]()
        self._begin = time.monotonic()

    def let(self, *, enabled: bool) -> None:
        """Write the job files of all hosts."""
        for host in self.hosts:
            host.write("fleet.yaml", jobs.file(self.book, enabled=enabled))

    def say(self, text: str) -> None:
        """Note, and print, what happens."""
        self.said.append(f"{time.monotonic() - self._begin:6.1f} {datetime.now(UTC):%H:%M:%S} {text}")
        print(self.said[-1], flush=True)

    def live(self, seconds: float, until: Callable[[], bool] = lambda: False, tracks: tuple[Track, ...] = ()) -> bool:
        """Let time pass until something is so; False: it was not within these seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for host in self.hosts:
                host.tend()
            for track in tracks:
                if began := track.step():
                    self.say(began)
            if until():
                return True
            time.sleep(_LOOK)
        return False

    def keys(self) -> dict[str, str] | None:
        """All occurrences and locks with their values; None: etcd does not answer."""
        gateway = Gateway([member.clients for member in self.etcd.members], 2)
        try:
            return {key: each.value for _, part in all_keys(gateway) for key, each in part.items()}
        except (Unreachable, Rejected):
            return None
        finally:
            gateway.close()

    def is_quiet(self) -> bool:
        """Tell whether no lock is held, each occurrence has its end, and each run that has begun its record."""
        begun = {line.run.rpartition(".")[0] for line in jobs.read(self.book)}
        recorded = {f"{host.name}:{path.parent.name}@{path.stem}"
                    for host in self.hosts for path in host.root.glob("logs/*/*.json")}  # fmt: skip
        keys = self.keys()
        return begun <= recorded and keys is not None and not unended(keys)


def unended(keys: Mapping[str, str]) -> list[str]:
    """The locks that are held, and the occurrences without an end."""
    locks, runs = f"{ROOT}locks/", f"{ROOT}runs/"
    return [f"{key} {value}" for key, value in keys.items()
            if key.startswith(locks) or (key.startswith(runs) and " " not in value)]  # fmt: skip


@contextmanager
def fleet(root: Path, seed: int) -> Iterator[Fleet]:
    """A fleet that has no jobs yet."""
    with ExitStack() as stack:
        (root / "etcd").mkdir()
        etcd = stack.enter_context(cluster(root / "etcd"))
        network = Network([member.clients for member in etcd.members], len(NAMES), seed)
        stack.callback(network.close)
        hosts = [FleetHost(root / name, name, way) for name, way in zip(NAMES, network.ways, strict=True)]
        for host in hosts:
            stack.callback(host.close)
        yield Fleet(root, etcd, hosts)


def live(root: Path, plan: Plan) -> Day:
    """Live through a day; what is left of it."""
    with fleet(root, plan.seed) as found:
        found.let(enabled=True)
        found.book.touch()
        assert found.live(_READY, lambda: all(host.said("fleet_up") for host in found.hosts)), found.hosts[0].log()
        morning = datetime.now(UTC) + timedelta(seconds=1)
        tracks = tuple(Track(host.name, of_host(host), plan) for host in found.hosts)
        tracks += (Track("etcd", of_etcd(found.etcd), plan),)
        found.live(plan.seconds, tracks=tracks)
        for track in tracks:
            track.stop()
        evening = datetime.now(UTC)
        found.say("no fault from now on")
        found.live(plan.patience, lambda: not missing(found.book, morning, evening))
        found.let(enabled=False)
        found.live(_READ)
        found.say("all is caught up" if not missing(found.book, morning, evening) else "NOT all is caught up")
        found.say("all is quiet" if found.live(plan.patience, found.is_quiet) else "it is NOT quiet")
        faults = Counter(said.partition(": ")[2].rpartition(",")[0] for said in found.said if " s" in said)
        records = [(host.name, json.loads(path.read_text())) for host in found.hosts
                   for path in host.root.glob("logs/*/*.json")]  # fmt: skip
        keys = found.keys()
        assert keys is not None, "etcd is gone"
        return Day(morning, evening, jobs.read(found.book), records, keys, faults, found.said)


def missing(book: Path, morning: datetime, evening: datetime) -> list[str]:
    """What was due between both and has not ended: JOB DUE, with the host of what is each host's."""
    ended = {(line.job, line.due, line.run.partition(":")[0]) for line in jobs.read(book) if line.what == "end"}
    of_all = {(job, due) for job, due, _ in ended}
    return [
        f"{job.name} {due:%H:%M:%S} {place}".rstrip()
        for job in JOBS
        for due in jobs.dues(job, morning, evening)
        for place in ([""] if job.is_of_fleet else NAMES)
        if ((job.name, due) not in of_all if job.is_of_fleet else (job.name, due, place) not in ended)
    ]

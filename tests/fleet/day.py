"""A day of a fleet: an etcd, hosts, faults that follow each other, and an evening on which nothing is due any more."""

from __future__ import annotations

import json
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Gateway, Rejected
from jobqueued.child.fleet.session import snapshot
from tests.fleet import jobs
from tests.fleet.faults import Fault, of_etcd, of_host
from tests.fleet.history import Exchange
from tests.fleet.host import DistantHost
from tests.fleet.jobs import JOBS, Line
from tests.fleet.people import Act, People
from tests.fleet.proxy import Way
from tests.support.etcd import Cluster, Site, cluster
from tests.support.places import Place, Switch

NAMES = ("alpha", "beta", "gamma")
_READY, _READ = 60.0, 5.0
"""Seconds in which all hosts are there, and in which they have surely read a changed file."""
_LOOK = 0.05
_QUOTA = 24 << 20
"""The bytes that etcd may take."""


class Plan(NamedTuple):
    """What a day is to be: all but what clocks say follows from it.

    `pause`: the mean seconds from fault to fault; `longest_wait`: those in which all is to be caught up after the last,
    and then nothing is to be held any more.
    """

    seed: int
    seconds: float
    pause: float
    longest_wait: float
    only: str
    """A word of the names of the faults; "": all."""


class Absence(NamedTuple):
    """A while in which a host could start nothing of the fleet, by the clock of this machine."""

    host: str
    begin: float
    end: float


class Day(NamedTuple):
    """What is left of a day: till which instant jobs were due, and whether all was seen to end."""

    morning: datetime
    evening: datetime
    lines: list[Line]
    records: list[tuple[str, dict[str, Any]]]
    """By the host that has written it."""
    keys: dict[str, str]
    """All that was in etcd in the end."""
    missed: list[str]
    """What was due and has not ended."""
    faults: Counter[str]
    said: list[str]
    """The faults with their times."""
    exchanges: Sequence[Exchange] = ()
    """All that hosts have asked etcd for, with its answers."""
    absences: Sequence[Absence] = ()
    acts: Sequence[Act] = ()
    """What people have done."""


class Track:
    """Faults of one kind that follow each other: never two at a time of one host, or of etcd."""

    def __init__(self, name: str, faults: Mapping[str, Fault], plan: Plan) -> None:
        self._name, self._chance = name, random.Random(f"{plan.seed}/{name}")
        self._faults = {fault: each for fault, each in faults.items() if plan.only in fault}
        self._pause = plan.pause
        self._end: Callable[[], object] | None = None
        self._next_at = time.monotonic() + self._chance.expovariate(1 / self._pause)
        self.absences = list[Absence]()

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
        if self._faults[name].is_away:
            begin = up()
            self.absences.append(Absence(self._name, begin, begin + seconds))
        return f"{self._name}: {name}, {seconds:g} s"

    def stop(self) -> None:
        """End the fault that there is."""
        if self._end is not None:
            self._end()
        self._end = None


class Fleet:
    """Hosts and their etcd, whose members are at these places, if they have any."""

    def __init__(self, root: Path, etcd: Cluster, places: Sequence[Place], hosts: Sequence[DistantHost]) -> None:
        self.etcd, self.places, self.hosts, self.book = etcd, places, hosts, root / "book"
        self.said = list[str]()
        self._begin = time.monotonic()
        self.book.touch()

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

    def live_until(self, what: Callable[[], bool], why: str, seconds: float = _READY) -> None:
        """Let time pass until something is so; AssertionError: it was not in time."""
        assert self.live(seconds, what), f"not within {seconds} s: {why}"

    def keys(self) -> dict[str, str] | None:
        """All occurrences and locks with their values; None: etcd does not answer."""
        gateway = Gateway([member.clients for member in self.etcd.members], 2)
        try:
            parts = snapshot(gateway, {job.name: 0 for job in jobs.JOBS})
            return {key: each.value for _, part in parts for key, each in part.items()}
        except (EtcdUnreachable, Rejected):
            return None
        finally:
            gateway.close()

    def records(self) -> list[tuple[str, dict[str, Any]]]:
        """All records, by the host that has written each."""
        return [(host.name, _record(path)) for host in self.hosts for path in host.root.glob("logs/*/*.json")]

    def is_quiet(self) -> bool:
        """Tell whether no lock is held, nor waited for, each occurrence has its end, and each run that has begun its
        record.
        """
        begun = {line.run.rpartition(".")[0] for line in jobs.read(self.book) if line.what != "down"}
        recorded = {f"{host.name}:{path.parent.name}@{path.stem}"
                    for host in self.hosts for path in host.root.glob("logs/*/*.json")}  # fmt: skip
        keys = self.keys()
        return begun <= recorded and keys is not None and not unended(keys) and not any(map(_waits, self.hosts))

    def missing(self, morning: datetime, evening: datetime) -> list[str]:
        """What was due between both and has not ended, nor was lost with its host: JOB DUE, with whose it is."""
        ended = {(line.job, line.due, line.host) for line in jobs.read(self.book) if line.what == "end"}
        of_all = {(job, due) for job, due, _ in ended}
        found = [
            (job, due, place)
            for job in JOBS
            for due in (() if job.changes or job.skips else jobs.dues(job, morning, evening))
            for place in ([""] if job.is_of_fleet else NAMES)
            if ((job.name, due) not in of_all if job.is_of_fleet else (job.name, due, place) not in ended)
        ]
        lost = {(place, *loss) for host in (self.hosts if found else ()) for path in host.root.glob("logs/*/*.json")
                if (loss := _loss(path)) is not None for place in ("", host.name)}  # fmt: skip
        return [f"{job.name} {due:%H:%M:%S} {place}".rstrip() for job, due, place in found
                if (place, job.name, due) not in lost]  # fmt: skip


def up() -> float:
    """The time by the clock of this machine, as lines of the book have it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _waits(host: DistantHost) -> bool:
    """Tell whether something is to start on a host, as far as it can be asked."""
    with suppress(OSError):
        status = host.call("Status")
        return any(status[name] for name in ("due", "waiting", "retrying"))
    return True


def _record(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


@cache
def _loss(path: Path) -> tuple[str, datetime] | None:
    """The job and the due time of a run that is lost, by its record; None: it is not."""
    record = _record(path)
    return (record["job"], datetime.fromisoformat(record["due"])) if record["state"] == "lost" else None


def unended(keys: Mapping[str, str]) -> list[str]:
    """The locks that are held, and the occurrences without an end."""
    locks, runs = f"{ROOT}locks/", f"{ROOT}runs/"
    return [f"{key} {value}" for key, value in keys.items()
            if key.startswith(locks) or (key.startswith(runs) and " " not in value)]  # fmt: skip


@contextmanager
def fleet(
    root: Path, seed: int, switch: Switch | None, exchanges: list[Exchange], grace: str = "60s"
) -> Iterator[Fleet]:  # fmt: skip
    """A fleet that has no jobs yet, with its hosts and its etcd at a switch, if there is one."""
    with ExitStack() as stack:
        places = [stack.enter_context(closing(switch.place())) for _ in range(2 * len(NAMES))] if switch else []
        here, there = places[: len(NAMES)], places[len(NAMES) :]
        sites = [Site(f"http://{place.addresses[0]}:2379", f"http://{place.addresses[1]}:2380", place.enter)
                 for place in there]  # fmt: skip
        (root / "etcd").mkdir()
        etcd = stack.enter_context(cluster(root / "etcd", sites, [f"--quota-backend-bytes={_QUOTA}"]))
        hosts = list[DistantHost]()
        for number, name in enumerate(NAMES):
            place = here[number] if here else None
            chance = random.Random(f"{seed}/network/{number}")
            members = [member.clients for member in etcd.members]
            way = stack.enter_context(
                closing(Way(name, members, chance, exchanges.append, place.join if place else None))
            )
            hosts.append(stack.enter_context(closing(DistantHost(root / name, name, way, place, grace))))
        yield Fleet(root, etcd, there, hosts)


def live(root: Path, plan: Plan, switch: Switch | None) -> Day:
    """Live through a day; what is left of it."""
    exchanges = list[Exchange]()
    with fleet(root, plan.seed, switch, exchanges) as found:
        found.let(enabled=True)
        found.live_until(lambda: all(host.said("fleet_up") for host in found.hosts), found.hosts[0].log())
        morning = datetime.now(UTC) + timedelta(seconds=1)
        tracks = tuple(Track(host.name, of_host(host), plan) for host in found.hosts)
        tracks += (Track("etcd", of_etcd(found.etcd, found.places), plan),)
        people = People(found.hosts, [member.clients for member in found.etcd.members], plan.seed)
        found.live(plan.seconds, tracks=tracks)
        for track in tracks:
            track.stop()
        evening = datetime.now(UTC)
        found.say("no fault from now on")
        people.stop()
        found.live_until(people.resume, "a job that is resumed")
        found.live(plan.longest_wait, lambda: not found.missing(morning, evening))
        found.let(enabled=False)
        found.live(_READ)
        found.say("all is caught up" if not found.missing(morning, evening) else "NOT all is caught up")
        found.say("all is quiet" if found.live(plan.longest_wait, found.is_quiet) else "it is NOT quiet")
        faults = Counter(said.partition(": ")[2].rpartition(",")[0] for said in found.said if " s" in said)
        keys = found.keys()
        assert keys is not None, "etcd is gone"
        absences = [absence for track in tracks for absence in track.absences]
        missed = found.missing(morning, evening)
        lines, records = jobs.read(found.book), found.records()
        return Day(morning, evening, lines, records, keys, missed, faults, found.said, exchanges, absences, people.acts)

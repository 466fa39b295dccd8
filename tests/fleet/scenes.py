"""Scenes of a fleet, one after another: to hosts that are well one thing is done, and what has to come of it does.

python -m tests.fleet.scenes

A host loses its power while it has a lock, and others take over; a host is held while much comes due; a copy of a host
is started; etcd is put back to a snapshot, as it was, and with revisions that go on; the leader of etcd stands still
while a job is paused and resumed, and goes on.  The exit status is 1 if something else came of it, 2 if it can't be
tried here.
"""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import permutations
from pathlib import Path
from random import Random

from jobqueued.child.fleet.session import TTL
from tests.fleet import jobs
from tests.fleet.day import Fleet, fleet, up
from tests.fleet.history import Exchange, operations
from tests.fleet.host import DistantHost, send
from tests.fleet.jobs import Job, Line
from tests.fleet.judge import BOOTED
from tests.fleet.proxy import Way
from tests.support.places import Switch, lacking

_GRACE = 30
_MANY = 20
_OFTEN = Job("a", 1, 0.01, True)
_LONG = Job("d", 5, 3600, True, "tape")
_AGAIN = Job("r", 5, 3600, True, more="on_host_loss: rerun\n    concurrency: 1000")
_JOBS = (_OFTEN, _LONG, _AGAIN, *(Job(f"m{number}", 10, 0.01, True) for number in range(_MANY)))
_PAUSED = f"/jq/paused/{_OFTEN.name}"
_SLACK = 9.0
"""Seconds by which a machine that has much to do may be slower than what is promised."""


class Scenes:
    """A fleet that is well, and what is done to it."""

    def __init__(self, root: Path, found: Fleet, switch: Switch, exchanges: Sequence[Exchange]) -> None:
        self._root, self._fleet, self._switch, self._exchanges = root, found, switch, exchanges
        self._book = found.book

    def play(self) -> None:
        """Play all."""
        for host in self._fleet.hosts:
            host.write("fleet.yaml", "jobs:\n" + "".join(job.text(self._book, enabled=True) for job in _JOBS))
        self._until(lambda: bool(self._starts("d")), "a run that goes on")
        holder = self._host(self._starts("d")[-1].host)
        self._until(
            lambda: holder.name in {line.host for line in self._starts("r")}, "another run of its that goes on", 120
        )
        others = [host for host in self._fleet.hosts if host is not holder]
        self._until(lambda: time.time() % 10 > 2 and 0.6 < time.time() % 1, "an instant at which nothing short lives")
        holder.lose_power()
        died = up()
        self.a_host_on_hold(*others)
        self.a_copy(others[1])
        self.a_takeover(holder, died)
        holder.boot()
        for bump in ([], ["--bump-revision", "1000000", "--mark-compacted"]):
            self.an_etcd_put_back(*bump)
        for ways in (("Pause", "Resume"), ("Resume", "Pause")):
            self.a_leader_that_stands_still(*ways)

    def a_host_on_hold(self, held: DistantHost, other: DistantHost) -> None:
        """Have much come due while one host of two is held; the other starts all of it."""
        assert "error" not in held.call("Hold")
        since = time.time()
        self._until(lambda: len(self._of_many(since)) == _MANY, "what comes due while a host is held")
        lines = self._of_many(since)
        assert {other.name} == {line.host for line in lines}
        assert "error" not in held.call("Release")
        self._tell(f"{_MANY} jobs that came due while a host was held started elsewhere", max(map(_late, lines)), 1)

    def a_copy(self, host: DistantHost) -> None:
        """Start another host with a copy of what one is; it starts nothing, and says why."""
        members = [member.clients for member in self._fleet.etcd.members]
        with (
            closing(self._switch.place()) as place,
            closing(Way("clone", members, Random(), lambda _: None, place.join)) as way,
            closing(DistantHost(self._root / "clone", host.name, way, place)) as clone,
        ):
            _copy(host, clone.root / "state")
            clone.write("fleet.yaml", "jobs:\n" + "".join(job.text(self._book, enabled=True) for job in _JOBS))
            self._until(lambda: clone.tend() or _is_down(clone, "has a copy"), "a copy that asks nothing")
        assert "clone" not in {line.host for line in jobs.read(self._book)}
        assert not host.said("fleet_down"), host.log()
        self._fleet.say("a copy of a host asks nothing, and the host goes on")

    def a_takeover(self, holder: DistantHost, died: float) -> None:
        """Wait until another host has the lock, and see how late was what needs none."""
        self._until(lambda: self._starts("d")[-1].host != holder.name, "the lock on another host")
        taken = self._starts("d")[-1].up - died
        assert taken >= _GRACE - TTL, f"the lock was taken after {taken:.1f} s"
        lates = [_late(line) for line in self._starts("a") if died <= line.up - _late(line) < died + TTL]
        assert len(lates) > TTL // 2, f"only {len(lates)} of those that were due as a host died have started"
        self._tell("what came due as a host died started elsewhere", max(lates), TTL + 1)
        self._tell(f"the lock of a host that died was another's (lock_grace {_GRACE} s)", taken, _GRACE + 1)
        had = sorted(line.due for line in self._starts("r") if line.host == holder.name)
        again: Callable[[], list[Line]] = lambda: [line for line in self._starts("r") if line.run.endswith(".2")]  # noqa: E731
        self._until(lambda: len(again()) >= len(had), "runs that went down with a host, on others")
        assert (had, {holder.name}) == (
            sorted(line.due for line in again()),
            {holder.name} - {it.host for it in again()},
        )
        self._tell(
            f"{len(had)} runs of a host that died went on on others", max(it.up for it in again()) - died, _GRACE + 5
        )

    def an_etcd_put_back(self, *options: str) -> None:
        """Put etcd back to what it was, while all hosts live: none that has run something since asks anything."""
        fleet, snapshot = self._fleet, self._root / "snapshot"
        self._until(lambda: all(_is_up(host) for host in fleet.hosts), "hosts that are well")
        fleet.etcd.members[0].snapshot(snapshot)
        since = up() + 1  # what starts before may have been claimed before
        self._until(lambda: len(self._ran(since)) > 1 and up() > since + TTL, "runs after a snapshot")
        for member in fleet.etcd.members:
            member.kill()
        ran, back = self._ran(since), up()
        for member in fleet.etcd.members:
            member.restore(snapshot, *options)
            member.start()
        fleet.etcd.wait()
        self._until(lambda: all(_is_down(host, "was restored") for host in ran), "hosts that ask nothing")
        closed = up()
        for host in fleet.hosts:  # each of them has heard of the mark since
            assert "error" not in host.call("AcceptFleet")
        self._until(lambda: all(_is_up(host) for host in fleet.hosts), "hosts that go on")
        began = [line for line in self._starts("a") if back + 1 < line.up < closed and self._host(line.host) in ran]
        assert not began, f"started before that was accepted: {began}"
        accepted = up()
        self._until(lambda: self._starts("a")[-1].up > accepted, "a start after that")
        words = " ".join(options) or "as it was"
        fleet.say(f"an etcd that was put back ({words}) is asked by none of {len(ran)} hosts until they accept that")

    def a_leader_that_stands_still(self, way: str, back: str) -> None:
        """Have a pause, or its end, asked of a leader that stands still, made by another member, and undone by another
        host: as the leader goes on it stays undone.
        """
        etcd, before = self._fleet.etcd, len(self._exchanges)
        self._until(lambda: all(_is_up(host) for host in self._fleet.hosts), "hosts that are well")
        for host, other in permutations(self._fleet.hosts, 2):
            assert "error" not in other.call(back, job=_OFTEN.name)
            leader = etcd.leader()
            assert leader is not None
            leader.send(signal.SIGSTOP)
            self._until(lambda host=host: "error" not in host.call(way, job=_OFTEN.name), f"{way} by {host.name}")
            self._until(lambda other=other: "error" not in other.call(back, job=_OFTEN.name), f"{back} by {other.name}")
            leader.send(signal.SIGCONT)
            etcd.wait()
            self._fleet.live(_SLACK)
            assert (back == "Pause") == (_PAUSED in (self._fleet.keys() or {})), f"{back} by {other.name} is undone"
            late = [
                it for it in operations(self._exchanges[before:]) if it.key == _PAUSED and it.write and not it.result
            ]
            if late:
                break
        assert late, "the leader was asked by no host"
        self._fleet.say(f"{len(late)} late copies of {way} at a leader that stood still have changed nothing")

    def _until(self, what: Callable[[], object], why: str, seconds: float = 60) -> None:
        self._fleet.live_until(lambda: bool(what()), why, seconds)

    def _host(self, name: str) -> DistantHost:
        return next(host for host in self._fleet.hosts if host.name == name)

    def _starts(self, job: str) -> list[Line]:
        return [line for line in jobs.read(self._book) if line.what == "start" and line.job == job]

    def _of_many(self, since: float) -> list[Line]:
        """The starts of many jobs that came due at one instant after that."""
        starts = [line for line in jobs.read(self._book) if line.what == "start" and line.job.startswith("m")]
        later = [line for line in starts if line.due.timestamp() > since + 1]
        return [line for line in later if line.due == later[0].due]

    def _ran(self, since: float) -> list[DistantHost]:
        """The hosts that have started something since then."""
        names = {line.host for line in self._starts("a") if line.up > since}
        return [host for host in self._fleet.hosts if host.name in names]

    def _tell(self, what: str, seconds: float, target: float) -> None:
        """Tell a figure beside what it should be; AssertionError: it is far from that."""
        self._fleet.say(f"{what} after {seconds:.1f} s at most; target {target:.0f} s")
        assert seconds <= target + _SLACK, what


def _late(line: Line) -> float:
    """The seconds by which a start was later than due."""
    return line.up + BOOTED - line.due.timestamp()


def _is_up(host: DistantHost) -> bool:
    """Tell whether a host can ask its fleet, by its log."""
    said = [*host.said("fleet_up"), *host.said("fleet_down")]
    return bool(said) and max(said, key=lambda entry: str(entry["time"]))["event"] == "fleet_up"


def _is_down(host: DistantHost, words: str) -> bool:
    """Tell whether a host asks nothing for a reason with these words, by its log."""
    return not _is_up(host) and any(words in entry["reason"] for entry in host.said("fleet_down")[-1:])


def _copy(host: DistantHost, copy: Path) -> None:
    """Copy the state of a host as of one instant."""
    send(host.processes(), signal.SIGSTOP)
    shutil.copytree(host.root / "state", copy)
    send(host.processes(), signal.SIGCONT)


def main() -> int:
    """Play them; the exit status."""
    if lack := lacking() or ("" if shutil.which("etcdutl") else "needs etcd: apt install etcd-server"):
        print(f"fleet: {lack}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the end of all that was started
    switch, exchanges = Switch(2), list[Exchange]()
    with (
        tempfile.TemporaryDirectory(prefix="scenes-") as name,
        fleet(Path(name), 1, switch, exchanges, f"{_GRACE}s") as found,
    ):
        Scenes(Path(name), found, switch, exchanges).play()
    return 0


if __name__ == "__main__":
    sys.exit(main())

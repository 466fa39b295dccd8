"""When a launcher forks one more supervisor: by what the CPUs can serve, in faked time."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from jobqueued.child import worker
from jobqueued.child.processes import tree
from jobqueued.child.worker import PAUSE, SHORTEST_PAUSE, YOUNG, SpawnLimit

CPUS, AT_ONCE, ENOUGH, LONGEST = 2, 2, 8, 0.25
"""What a host with two CPUs has."""
STEP = 0.001
FOREVER = float("inf")


@dataclass(eq=False)
class Busy:
    """A supervisor with an attempt that needs a CPU for `need` seconds, once it no longer waits for something else."""

    pid: int
    taken: float
    need: float
    until: float
    """The instant from which it wants a CPU."""


@dataclass
class Crowd:
    """A launcher on a host whose CPUs a number of other processes share; attempts come in one burst."""

    load: int
    backlog: deque[tuple[float, float]]
    now: float = 1000.0
    busy: list[Busy] = field(default_factory=list)
    idle: int = 0
    forked: int = 0
    started: list[float] = field(default_factory=list)
    all: list[Busy] = field(default_factory=list)
    limit: SpawnLimit = field(default_factory=SpawnLimit)

    def wanting(self) -> list[Busy]:
        """The supervisors that a CPU would carry on."""
        return [it for it in self.busy if it.until <= self.now]

    def step(self) -> None:
        """Let a millisecond pass: who wants a CPU has a fair share; then the launcher staffs."""
        self.now += STEP
        wanting = self.wanting()
        share = STEP * min(1.0, CPUS / max(1, self.load + len(wanting)))
        for it in wanting:
            it.need -= share
        busy = len(self.busy)
        self.busy = [it for it in self.busy if it.need > 0]
        self.idle += busy - len(self.busy)
        self.staff()

    def staff(self) -> None:
        """Hand over to who is idle, then to one more at a time if that may help, as the launcher does."""
        while self.backlog and self.idle:
            self.idle -= 1
            self.hand_over()
        if self.backlog and self.limit.may_help(self.busy, self.now):  # type: ignore[arg-type]
            self.forked += 1
            self.hand_over()

    def hand_over(self) -> None:
        """Give the first attempt to a supervisor."""
        need, blocked = self.backlog.popleft()
        self.busy.append(Busy(len(self.started), self.now, need, self.now + blocked))
        self.all.append(self.busy[-1])
        self.started.append(self.now)
        self.limit.handed_over(self.now)

    def live(self, seconds: float = 600) -> Crowd:
        """Until all attempts have a supervisor."""
        until = self.now + seconds
        while self.backlog:
            assert self.now < until, f"{len(self.backlog)} attempts wait"
            self.step()
        return self


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the host has that the tests run on."""
    for name, value in {"AT_ONCE": AT_ONCE, "ENOUGH": ENOUGH, "LONGEST": LONGEST}.items():
        monkeypatch.setattr(worker, name, value)


@pytest.fixture
def crowd(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, list[tuple[float, float]]], Crowd]:
    """A crowd whose states the decision sees."""

    def made(load: int, attempts: list[tuple[float, float]]) -> Crowd:
        it = Crowd(load, deque(attempts))
        monkeypatch.setattr(tree, "wants_cpu", lambda pid: it.all[pid].until <= it.now)
        monkeypatch.setattr(worker, "_is_crowded", lambda: load + len(it.wanting()) + 1 > CPUS)
        return it

    return made


Made = Callable[[int, list[tuple[float, float]]], Crowd]
LOADS = pytest.mark.parametrize("load", [0, 4, 20, 40])


@LOADS
@pytest.mark.parametrize("need", [0.002, 0.02])
def test_short_runs_share_few_supervisors(load: int, need: float, crowd: Made) -> None:
    """A burst of short runs that want a CPU has few supervisors more than the CPUs can serve, whatever else they do."""
    it = crowd(load, [(need, 0.0)] * 200).live()
    assert it.forked <= ENOUGH + 2


@LOADS
def test_who_waits_for_something_else_holds_up_nobody(load: int, crowd: Made) -> None:
    """Runs that wait for a disk, a lock or the time have a supervisor each, one every few milliseconds."""
    it = crowd(load, [(0.001, FOREVER)] * 200).live()
    assert it.forked == 200
    assert it.started[-1] - it.started[0] <= 200 * (SHORTEST_PAUSE + STEP)


@LOADS
def test_short_ones_among_those_that_wait(load: int, crowd: Made) -> None:
    """Those that wait are no reason to fork more for short ones, nor are short ones a reason not to start those."""
    it = crowd(load, [(0.01, 0.0), (0.001, FOREVER), (0.01, 0.0)] * 50).live()
    assert it.forked <= 50 + ENOUGH


@LOADS
def test_who_computes_for_long_is_joined_by_others(load: int, crowd: Made) -> None:
    """Of runs that only compute each has its supervisor after LONGEST for each before it, at the latest."""
    it = crowd(load, [(FOREVER, 0.0)] * 30).live()
    assert it.forked == 30
    assert all(second - first <= LONGEST + PAUSE + 2 * STEP for first, second in pairwise(it.started))


@LOADS
def test_old_ones_delay_nobody(load: int, crowd: Made) -> None:
    """Beside runs that have computed for long others start as if these were not there."""
    it = crowd(load, [(FOREVER, 0.0)] * 2 * ENOUGH).live()
    for _ in range(int(YOUNG / STEP) + 1):
        it.step()
    it.backlog.extend([(0.001, FOREVER)] * 100)
    begin = it.now
    it.live()
    assert it.now - begin <= PAUSE + 100 * (SHORTEST_PAUSE + STEP)


def test_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """The launcher sleeps until one more may be worth it: a moment after a hand-over, longer where all are served."""
    monkeypatch.setattr(tree, "wants_cpu", lambda _pid: True)
    monkeypatch.setattr(worker, "_is_crowded", lambda: True)
    limit, now = SpawnLimit(), 1000.0
    pool = [Busy(number, now, 1.0, now) for number in range(ENOUGH)]
    limit.handed_over(now)
    assert limit.rest(now) == pytest.approx(SHORTEST_PAUSE)
    assert not limit.may_help(pool, now + SHORTEST_PAUSE / 2)  # type: ignore[arg-type]
    assert not limit.may_help(pool, now + SHORTEST_PAUSE * 2)  # type: ignore[arg-type]
    assert limit.rest(now + SHORTEST_PAUSE * 2) == pytest.approx(PAUSE)


CROWD = "0.50 0.40 0.30 5/300 4711"
"""/proc/loadavg of a host with four CPUs of which none is free for one more, as the launcher has one of them."""


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        (CROWD, True),
        (CROWD.replace("5/", "4/"), False),
        (CROWD.replace("5/", "many/"), False),
        ("", False),
        (None, False),
    ],
)
def test_crowded(told: str | None, wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no CPU is free; a kernel that does not say has free ones."""

    def opened(path: str, *_: object) -> io.BytesIO:
        assert path == "/proc/loadavg"
        if told is None:
            raise FileNotFoundError(2, "no /proc")
        return io.BytesIO(told.encode())

    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    monkeypatch.setattr(worker, "open", opened, raising=False)
    assert worker._is_crowded() is wanted

"""Crash points of a fleet by their names: scheduler (S), agent (A) and host (H) die between any two steps of a claim.

A row has what is true at that instant, and what comes of it.  In the end the occurrence has run once in the fleet, or
nobody knows of it any more; it never runs twice; and its lock is free, whether another host is there meanwhile or not.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import pytest

from jobqueued.base.instants import HOUR, SECOND
from jobqueued.model.commands import Ask, GiveBack, Launch
from jobqueued.model.fleet import FLEET
from jobqueued.model.job import Claim, Scope
from jobqueued.model.run import RunId
from jobqueued.model.run_states import LIVE, PENDING
from tests.support.fleet import Fleet, Rules
from tests.support.world import MIDNIGHT, job

TAPE = Claim(f"{FLEET}tape", exclusive=True)
TICK = job("tick", "0 1 * * *", scope=Scope.FLEET, locks=(TAPE, Claim("disk", exclusive=True)))
KEY = f"f{(MIDNIGHT + HOUR) // SECOND}"
RUN, LOCK, HOST = f"/jq/runs/tick/{KEY[1:]}/1", "/jq/locks/tape", "/jq/hosts/one"
OURS, OVER = "one", "one over"
ITS_LOCK = f"one tick {KEY}"
FIRST = RunId("tick", 1)


class Truth(NamedTuple):
    """What is where: how the row stands, whether there is an R, and what etcd has for occurrence, lock and session."""

    row: str
    is_there: bool = False
    run: str | None = None
    lock: str | None = None
    session: str | None = "one"


GRANTED = Truth("waiting", run=OURS, lock=ITS_LOCK)
LIVES = Truth("live", is_there=True, run=OURS, lock=ITS_LOCK)


class Row(NamedTuple):
    """A crash point: how it comes to it, and goes on; how often the host asks in all, and the occurrence is launched.

    `state`: what etcd has of it in the end; `by`: who runs it, if another host is there meanwhile.
    """

    falls: Callable[[Scene], None]
    truth: Truth
    rises: Callable[[Scene], None]
    asks: int
    launched: int = 1
    state: str = "one succeeded"
    by: str = "one"


class Scene:
    """Two hosts, a moment before the occurrence; the second is cut off."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.fleet = Fleet(Random(1))
        self.one = self.fleet.add("one", TICK, rules=rules, seconds={"tick": 30})
        self.two = self.fleet.add("two", TICK, seconds={"tick": 30})
        self.fleet.pass_time(3000)
        self.two.agent.cut()
        self.fleet.pass_time(599.99)

    def until(self, what: Callable[[], object]) -> None:
        """Let time pass until that is so."""
        for _ in range(2000):
            if what():
                return
            self.fleet.pass_time(0.0005 if self.fleet.now < MIDNIGHT + HOUR + SECOND // 2 else 1)
        raise AssertionError("it has not come so far")

    def dies(self, when: str, act: type[Ask | Launch | GiveBack]) -> None:
        """The scheduler dies there."""
        self.one.die(when, act)
        self.until(lambda: not self.one.is_alive)

    def has(self, key: str) -> str | None:
        """The value of a key in etcd."""
        return self.fleet.etcd.values(key).get(key)

    def truth(self) -> Truth:
        """What is where now."""
        row = self.one.rows[FIRST][0].state if FIRST in self.one.rows else "absent"
        stands = "waiting" if row in PENDING else "live" if row in LIVE else str(row)
        session = (self.has(HOST) or "").partition(" ")[0] or None
        return Truth(stands, (FIRST, 1) in self.one.marks, self.has(RUN), self.has(LOCK), session)

    def end_locks(self) -> None:
        """All locks end whose hosts have not been there for a while, or never were."""
        for key, value in self.fleet.etcd.values("/jq/locks/").items():
            store = value.partition(" ")[0]
            if store not in self.fleet.hosts or self.fleet.hosts[store].agent.session is None:
                self.fleet.etcd.put(key, None)

    # what falls

    def scheduler_before_ask(self) -> None:
        self.dies("before", Ask)

    def scheduler_before_answer(self) -> None:
        self.dies("after", Ask)
        self.until(lambda: self.has(RUN))

    def scheduler_before_starting(self) -> None:
        self.dies("before its commit", Launch)

    def scheduler_before_launch(self) -> None:
        self.dies("before", Launch)

    def scheduler_after_launch(self) -> None:
        self.dies("after", Launch)

    def scheduler_before_give_back(self) -> None:
        self.until(lambda: self.one.launched)
        self.dies("before", GiveBack)

    def agent(self) -> None:
        self.until(lambda: self.one.launched)
        self.one.agent.die()

    def agent_before_answer(self) -> None:
        self.answers()
        self.one.agent.die()
        self.fleet.lossy = 0

    def agent_for_long(self) -> None:
        self.agent()
        self.fleet.pass_time(11)
        self.end_locks()

    def agent_for_too_long(self) -> None:
        self.agent_for_long()
        self.fleet.etcd.put(LOCK, "three other x1")

    def answers(self) -> None:
        self.fleet.lossy = 1
        self.until(lambda: self.has(RUN))
        self.fleet.pass_time(0.1)

    def network_before_claim(self) -> None:
        self.until(lambda: self.one.asks)
        self.one.agent.cut()
        self.fleet.pass_time(11)

    def network_after_claim(self) -> None:
        self.answers()
        self.one.agent.cut()
        self.fleet.lossy = 0
        self.fleet.pass_time(11)
        self.end_locks()

    def session(self) -> None:
        self.fleet.etcd.put(HOST, None)
        self.one.agent.session = None
        self.until(lambda: self.one.scheduler._state.fleet.down)

    def commits(self) -> None:
        self.one.full.add("state")
        self.until(lambda: FIRST in self.one.rows)
        self.fleet.pass_time(0.1)

    def host(self) -> None:
        self.scheduler_before_starting()
        self.one.agent.cut()
        self.fleet.pass_time(11)

    def state_before_starting(self) -> None:
        self.scheduler_before_starting()
        self._lose_state()

    def state_after_launch(self) -> None:
        self.scheduler_after_launch()
        self._lose_state()

    def _lose_state(self) -> None:
        """The host has a new state.db, and so another name in its fleet."""
        one, hosts = self.one, self.fleet.hosts
        one.rows.clear()
        one.memories.clear()
        one.store = one.agent.store = "anew"
        hosts["anew"] = hosts.pop("one")
        self.fleet.etcd.put(HOST, None)
        one.agent.session = None

    def time_after_launch(self) -> None:
        self._turn_back(lambda: self.one.launched)

    def time_after_end(self) -> None:
        self._turn_back(lambda: self.has(RUN) == "one succeeded")

    def _turn_back(self, until: Callable[[], object]) -> None:
        """Once that is so, state.db is put back to what it was when the fleet was asked."""
        self.until(lambda: self.has(RUN))
        rows, memories = dict(self.one.rows), dict(self.one.memories)
        self.until(until)
        self.one.is_alive, self.one.rows, self.one.memories = False, rows, memories

    # what rises

    def next_scheduler(self) -> None:
        self.one.boot()

    def next_agent(self) -> None:
        self.one.agent.start()

    def calm(self) -> None:
        self.fleet.lossy = 0
        self.one.agent.heal()

    def room(self) -> None:
        self.one.free()
        self.one.agent.connect()

    def power(self) -> None:
        self.one.agent.heal()
        self.one.reboot(0)


ROWS = {
    "S dies after the due commit, before Ask": Row(
        Scene.scheduler_before_ask, Truth("waiting"), Scene.next_scheduler, asks=1, by="two"
    ),
    "S dies after Ask, before the answer": Row(
        Scene.scheduler_before_answer, GRANTED, Scene.next_scheduler, asks=2
    ),
    "S dies after Granted, before the commit of starting": Row(
        Scene.scheduler_before_starting, GRANTED, Scene.next_scheduler, asks=2
    ),
    "S dies after the commit, before Launch": Row(
        Scene.scheduler_before_launch, LIVES._replace(is_there=False), Scene.next_scheduler, asks=2
    ),
    "S dies after R/spawning": Row(Scene.scheduler_after_launch, LIVES, Scene.next_scheduler, asks=2),
    "S dies after the end's commit, before GiveBack": Row(
        Scene.scheduler_before_give_back, GRANTED._replace(row="succeeded"), Scene.next_scheduler, asks=1,
        state="one over",
    ),
    "A dies": Row(Scene.agent, LIVES, Scene.next_agent, asks=2),
    "A dies with an answer in its hands": Row(Scene.agent_before_answer, GRANTED, Scene.next_agent, asks=2),
    "A dead longer than TTL": Row(
        Scene.agent_for_long, LIVES._replace(lock=None, session=None), Scene.next_agent, asks=2
    ),
    "A dead longer than TTL, and its lock another's": Row(
        Scene.agent_for_too_long, LIVES._replace(lock="three other x1", session=None), Scene.next_agent, asks=2
    ),
    "answer lost": Row(Scene.answers, GRANTED, Scene.calm, asks=1),
    "session over while it is asked": Row(
        Scene.network_before_claim, Truth("waiting", session=None), Scene.calm, asks=2, by="two"
    ),
    "session over while it is asked, and its claim there": Row(
        Scene.network_after_claim, GRANTED._replace(lock=None, session=None), Scene.calm, asks=2
    ),
    "session over, which an answer tells": Row(
        Scene.session, Truth("waiting", session=None), Scene.calm, asks=2
    ),
    "commit fails (degraded)": Row(Scene.commits, Truth("waiting"), Scene.room, asks=1, by="two"),
    "H loses power after Granted, before the commit": Row(
        Scene.host, GRANTED._replace(session=None), Scene.power, asks=2
    ),
    "state.db lost": Row(
        Scene.state_before_starting, GRANTED._replace(row="absent", session=None), Scene.next_scheduler, asks=1,
        launched=0, state="one lost",
    ),
    "state.db lost while it runs": Row(
        Scene.state_after_launch, LIVES._replace(row="absent", session=None), Scene.next_scheduler, asks=2,
        state="one lost",
    ),
    "state.db rolled back": Row(
        Scene.time_after_end, Truth("waiting", run="one succeeded"), Scene.next_scheduler, asks=1
    ),
    "state.db rolled back while it runs": Row(
        Scene.time_after_launch, LIVES._replace(row="waiting"), Scene.next_scheduler, asks=2
    ),
}  # fmt: skip
"""FLEET's crash points, some with variants."""


def live(name: str, *, other: bool, rules: Rules | None = None) -> Scene:
    """Live through a row; `other`: the other host is there once it fell, and else only afterwards."""
    row, scene = ROWS[name], Scene(rules)
    row.falls(scene)
    assert row.truth == scene.truth()
    if other:
        scene.two.agent.heal()
        scene.fleet.pass_time(5)
    row.rises(scene)
    scene.fleet.pass_time(100)
    scene.two.agent.heal()
    scene.fleet.pass_time(100)
    return scene


def judge(name: str, *, other: bool, rules: Rules | None = None) -> None:
    """The row comes out as it says: nothing is launched twice, and nobody has a lock."""
    row, scene = ROWS[name], live(name, other=other, rules=rules)
    by = row.by if other else "one"
    scene.end_locks()
    assert by == "two" or row.asks == len(scene.one.asks), scene.one.asks
    assert row.launched == sum(len(host.launched) for host in scene.fleet.hosts.values())
    assert row.state.replace("one", by) == scene.has(RUN)
    assert {} == scene.fleet.etcd.values("/jq/locks/")
    assert {} == {name: run for host in scene.fleet.hosts.values() for name, run in host.scheduler.runs.items()}


@pytest.mark.parametrize("other", [False, True], ids=["alone", "beside another"])
@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str, *, other: bool) -> None:
    """What is true, what comes next, and that it has run once."""
    judge(name, other=other)


def test_a_lock_that_another_has_meanwhile() -> None:
    """It is said that a live run goes on without it."""
    scene = live("A dead longer than TTL, and its lock another's", other=False)
    lost = [each.fields for each in scene.one.said if each.event == "lock_lost"]
    assert [{"run": "tick@1", "lock": "fleet/tape", "holder": "other on three"}] == lost


@pytest.mark.parametrize(
    ("rule", "name"),
    [
        ("own_value", "answer lost"),
        ("own_lock", "answer lost"),
        ("sweep", "S dies after the end's commit, before GiveBack"),
    ],
)
def test_a_row_without_its_rule(rule: str, name: str) -> None:
    """The rule is what makes it come out so."""
    with pytest.raises(AssertionError):
        judge(name, other=False, rules=Rules(**{rule: False}))

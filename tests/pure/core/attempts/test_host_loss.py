"""host_loss: what a host has begun that is gone, one of the others tells of, and begins again where that is wanted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from random import Random
from types import SimpleNamespace

import pytest

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.core.attempts import host_loss
from jobqueued.model import events
from jobqueued.model.commands import Ask, GiveBack, Launch, WriteRecord
from jobqueued.model.fleet import FLEET, FleetReachability
from jobqueued.model.job import Claim, Job, OnHostLoss, Scope
from jobqueued.model.run_states import LIVE, PENDING, RunState
from jobqueued.model.saved import Hold
from tests.support.fleet import LONGEST_WAIT, TTL, Fleet, Host
from tests.support.world import job

HOUR = 3600
LONG = 20 * MINUTE // SECOND
GONE = (TTL + LONGEST_WAIT) // SECOND
"""The seconds after which a host is counted as lost."""
FIRST = "/jq/runs/long/1772409660/1"


def long(**fields: object) -> Job:
    """A job that is due once, and takes long."""
    return job("long", "1 0 * * *", scope=Scope.FLEET, **fields)  # type: ignore[arg-type]


AGAIN = long(on_host_loss=OnHostLoss.RERUN)


class Scene:
    """Hosts of which one runs the job; that goes on until somebody says otherwise."""

    def __init__(self, *jobs: Job, names: str = "abc", able: str = "") -> None:
        self.fleet = Fleet(Random(1))
        labels = [("gpu",) if name in able else () for name in names]
        self.hosts = [
            self.fleet.add(name, *jobs, seconds={"long": LONG}, labels=each)
            for name, each in zip(names, labels, strict=True)
        ]
        self.fleet.pass_time(90)
        (self.first,) = (host for host in self.hosts if host.launched)
        self.others = [host for host in self.hosts if host is not self.first]

    def go_down(self, host: Host) -> None:
        """A host goes down, and takes all that is live with it; its locks end in time."""
        host.is_alive = False
        host.processes.clear()
        host.agent.cut()

    def pass_time(self, seconds: float) -> None:
        """Time passes; what hosts had that are gone is free by its end."""
        self.fleet.pass_time(seconds)
        for key, value in self.fleet.etcd.values("/jq/locks/").items():
            if self.fleet.hosts[value.partition(" ")[0]].agent.session is None:
                self.fleet.etcd.put(key, None)

    def ends(self) -> list[tuple[str, str, str | None]]:
        """What hosts have of their own runs that were lost elsewhere, and are over: by whom, the state, the reason."""
        rows = [(host.store, run) for host in self.hosts for run, _ in host.rows.values()]
        over = [(store, run) for store, run in rows if "." in run.key and run.state not in LIVE | PENDING]
        return [(store, run.state.value, run.reason) for store, run in over]

    def starts(self) -> list[str]:
        """By whom the run was launched, once for each time."""
        return [host.store for host in self.hosts for _ in host.launched]

    @property
    def runs(self) -> dict[str, str]:
        """What etcd knows of occurrences, by their last parts."""
        return {key.rpartition("/")[2]: value for key, value in self.fleet.etcd.values("/jq/runs/").items()}


def test_that_is_told() -> None:
    """One host tells of a run whose host is gone, with a record; no host begins it."""
    scene = Scene(long())
    gone = scene.first.store
    scene.go_down(scene.first)
    scene.pass_time(GONE - 2)
    assert ([], {"1": gone}) == (scene.ends(), scene.runs)
    scene.pass_time(4)
    ((told_by, state, reason),) = scene.ends()
    assert (told_by != gone, "lost", f"its host {gone} is gone, and it may have run there") == (True, state, reason)
    assert {"1": f"{gone} lost", "2": f"{told_by} lost"} == scene.runs
    scene.pass_time(HOUR)
    assert (1, [gone]) == (len(scene.ends()), scene.starts())
    assert not any(host.scheduler.runs for host in scene.others)


def test_few_ask() -> None:
    """Of many hosts the first tells of it, and the others leave it to that."""
    scene = Scene(long(), names="abcdefghijkl")
    scene.go_down(scene.first)
    scene.pass_time(GONE + 5)
    assert 1 == len(scene.ends())
    assert scene.fleet.wanted["/jq/runs/long/1772409660/2"] <= 3, "two that ask at most, and one that tells of its end"


def test_that_is_begun_again() -> None:
    """One host begins such a run again where its job wants that; the record has both attempts."""
    scene = Scene(AGAIN)
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    scene.pass_time(LONG + 10)
    (second,) = set(scene.starts()) - {scene.first.store}
    assert 2 == len(scene.starts())
    assert {"1": f"{scene.first.store} lost", "2": f"{second} succeeded"} == scene.runs
    (told,) = (host for host in scene.hosts if host.store == second)
    (run,) = (row for row, _ in told.rows.values())
    assert (RunState.SUCCEEDED, 2, "f1772409660.2") == (run.state, run.attempt, run.key)


def test_that_comes_back() -> None:
    """A host that was away for a moment goes on with what it has."""
    scene = Scene(AGAIN)
    scene.first.agent.cut()
    scene.fleet.pass_time(GONE - 2)
    scene.first.agent.heal()
    scene.fleet.pass_time(LONG + 10)
    assert ([scene.first.store], {"1": f"{scene.first.store} succeeded"}) == (scene.starts(), scene.runs)


@pytest.mark.parametrize("hours", [1, 9])
@pytest.mark.parametrize("wants", OnHostLoss)
def test_that_is_lost_there_too(wants: OnHostLoss, hours: int) -> None:
    """A host that is back later tries nothing again, even if etcd has forgotten that another host told of the loss."""
    scene = Scene(long(on_host_loss=wants, retries=1, retry_on=("lost",), catch_up_window=3 * HOUR * SECOND))
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    scene.pass_time((hours - 0.5) * HOUR)
    before = scene.starts()
    assert (1 if wants is OnHostLoss.LOST else 2) == len(before)
    assert (hours > 4) == (not scene.runs)
    scene.first.come_back()
    scene.pass_time(HOUR)
    assert before == scene.starts()
    assert RunState.LOST in {run.state for run, _ in scene.first.rows.values()}


def test_that_all_are_away() -> None:
    """Where etcd is away no host is lost that is there a moment after it is."""
    scene = Scene(AGAIN)
    for host in scene.hosts:
        host.agent.cut()
    scene.fleet.pass_time(5 * GONE)
    for host in (*scene.others, scene.first):
        host.agent.heal()
        scene.fleet.pass_time(5)
    scene.fleet.pass_time(LONG)
    assert ([scene.first.store], {"1": f"{scene.first.store} succeeded"}) == (scene.starts(), scene.runs)


def test_that_goes_on() -> None:
    """A host that was cut off goes on, and what it has then changes nothing of what the others know."""
    scene = Scene(long(on_host_loss=OnHostLoss.RERUN, concurrency=2))
    scene.first.agent.cut()
    scene.pass_time(GONE + 2)
    scene.first.agent.heal()
    scene.pass_time(2 * LONG)
    assert 2 == len(set(scene.starts())) == len(scene.starts())
    assert f"{scene.first.store} lost" == scene.runs["1"]
    assert scene.runs["2"].endswith(" succeeded")
    assert not any(host.scheduler.runs for host in scene.hosts)


def test_what_takes_hosts_down() -> None:
    """A run that was lost with two hosts is not begun by a third, which tells of it."""
    scene = Scene(AGAIN)
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    scene.pass_time(2)
    (second,) = (host for host in scene.others if host.launched)
    scene.go_down(second)
    scene.pass_time(GONE + 2)
    scene.pass_time(HOUR)
    (third,) = (host for host in scene.others if host is not second)
    assert ([], {"1", "2", "3"}) == (third.launched, set(scene.runs))
    assert {"2": f"{second.store} lost", "3": f"{third.store} lost"} == {it: scene.runs[it] for it in "23"}
    assert (third.store, "lost") in [end[:2] for end in scene.ends()]


@pytest.mark.parametrize("holder", [0, 1])
def test_a_host_on_hold(holder: int) -> None:
    """A host on hold leaves such a run to others; where there are none it begins once that is over."""
    scene = Scene(AGAIN, names="abc"[: 2 + holder])
    scene.others[0].happen(events.HoldAsked(1, "root", Hold("root")))
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    scene.pass_time(60)
    assert sorted([scene.first.store, *(other.store for other in scene.others[1:])]) == scene.starts()
    scene.others[0].happen(events.HoldAsked(2, "root", None))
    scene.pass_time(5)
    assert 2 == len(scene.starts())


@pytest.mark.parametrize("when", ["before its commit", "before", "after"])
@pytest.mark.parametrize("act", [Ask, Launch, WriteRecord, GiveBack])
@pytest.mark.parametrize("wants", [OnHostLoss.LOST, OnHostLoss.RERUN])
def test_a_death_of_the_next(when: str, act: type[Ask | Launch | WriteRecord | GiveBack], wants: OnHostLoss) -> None:
    """Wherever the scheduler of the only other host dies: it tells of the loss once, and begins the run once."""
    scene = Scene(long(on_host_loss=wants), names="ab")
    (other,) = scene.others
    other.die(when, act)
    scene.go_down(scene.first)
    for _ in range(3):
        scene.pass_time(GONE + 2)
        if not other.is_alive:
            other.boot()
    scene.pass_time(LONG + GONE)
    if not other.is_alive:
        other.boot()
    scene.pass_time(10)
    assert not other.scheduler.runs
    ((row, _),) = (row for row in other.rows.values() if "." in row[0].key)
    if wants is OnHostLoss.RERUN:
        assert (1, RunState.SUCCEEDED, 2) == (len(other.launched), row.state, row.attempt)
    else:
        assert ([], RunState.LOST) == (other.launched, row.state)
    assert re.fullmatch(rf"{other.store} ({row.state}|over)", scene.runs["2"])
    assert f"{scene.first.store} lost" == scene.runs["1"]


def test_a_claim_that_comes_late() -> None:
    """What has ended, or is there again, is not claimed by whoever has missed that."""
    scene = Scene(AGAIN)
    scene.fleet.etcd.put(FIRST, f"{scene.first.store} succeeded")
    told: Callable[[Host], object] = lambda host: host.happen(  # noqa: E731
        events.HostLost("long", "f1772409660.2", scene.first.store)
    )
    for host in scene.others:
        told(host)
    scene.fleet.pass_time(10)
    assert {"1": f"{scene.first.store} succeeded"} == scene.runs
    assert not any(host.scheduler.runs or host.rows for host in scene.others)


def test_a_loss_that_waits() -> None:
    """What waits to be told of keeps nothing else from its place in the queue, and has no start deadline."""
    often = job("long", "* * * * *", scope=Scope.FLEET, start_deadline=MINUTE, concurrency=5)
    scene = Scene(often, names="ab")
    (other,) = scene.others
    other.happen(events.HoldAsked(1, "root", Hold("root")))
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    (waits,) = (run for run in other.scheduler.runs.values() if "." in run.key)
    other.happen(events.HoldAsked(2, "root", None), FleetReachability("etcd is away"))
    other.boot()
    scene.pass_time(30)
    run, _ = other.rows[waits.id]
    assert (RunState.LOST, 1) == (run.state, run.attempt)
    assert not [run.reason for run, _ in other.rows.values() if run.reason == "queue_full"]


def test_locks_of_what_goes_on() -> None:
    """A run that was counted as lost, and goes on, has its locks again, as long as nobody else has them."""
    tape = Claim(f"{FLEET}tape", exclusive=True)
    scene = Scene(long(locks=(tape,)), names="ab")
    (other,) = scene.others
    scene.first.agent.cut()
    scene.pass_time(GONE + 2)
    assert [(other.store, "lost")] == [end[:2] for end in scene.ends()]
    assert {} == scene.fleet.etcd.values("/jq/locks/")
    scene.first.agent.heal()
    scene.fleet.pass_time(5)
    assert {f"/jq/locks/{name}": f"{scene.first.store} long f1772409660" for name in ("job/long", "tape")} == (
        scene.fleet.etcd.values("/jq/locks/")
    )


@pytest.mark.parametrize("key", ["f999999999999.2", "f9999999999.2", "f4102444800.2", "f1772409660.1", "f1772409660"])
def test_what_nobody_can_have_lost(key: str) -> None:
    """What is not due yet was begun by nobody, and a first attempt follows no loss, whatever etcd has."""
    scene = Scene(AGAIN)
    for host in scene.others:
        host.happen(events.HostLost("long", key, "ghost"))
        assert not host.scheduler.runs
    second, _, number = key[1:].partition(".")
    if number:
        scene.fleet.etcd.put(f"/jq/runs/long/{second}/{int(number) - 1}", "ghost:1")
    scene.fleet.pass_time(2 * GONE)
    assert not any(host.scheduler.runs for host in scene.others)


def test_who_can_begin_it() -> None:
    """A host where the job is disabled, or can't run, begins nothing anew; it may tell of a loss."""
    scene = Scene(AGAIN)
    disabled, able = scene.others
    disabled.write("jobs.yaml", replace(AGAIN, enabled=False))
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    scene.pass_time(2)
    assert ([], 1) == (disabled.launched, len(able.launched))
    alone = Scene(long(), names="ab")
    (other,) = alone.others
    other.write("jobs.yaml", long(enabled=False))
    alone.go_down(alone.first)
    alone.pass_time(GONE + 2)
    assert [(other.store, "lost")] == [end[:2] for end in alone.ends()]


def test_who_has_no_label_for_it() -> None:
    """Such a host begins nothing anew, also where no other is left."""
    scene = Scene(long(on_host_loss=OnHostLoss.RERUN, hosts=("gpu",)), names="ab", able="a")
    (other,) = scene.others
    scene.go_down(scene.first)
    scene.pass_time(GONE + 300)
    assert ("b", [], {}) == (other.store, other.launched, other.rows)


def test_a_host_that_is_back_before_it_is_claimed() -> None:
    """Where nobody could claim what is lost before its host was back, it is told once that goes for good."""
    scene = Scene(long(concurrency=2), names="ab")
    (other,) = scene.others
    other.happen(events.HoldAsked(1, "root", Hold("root")))
    scene.first.agent.cut()
    scene.pass_time(GONE + 2)
    scene.first.agent.heal()
    scene.fleet.pass_time(5)
    other.happen(events.HoldAsked(2, "root", None))
    scene.fleet.pass_time(5)
    assert ([], {"1": scene.first.store}) == (scene.ends(), scene.runs)
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    assert [(other.store, "lost")] == [end[:2] for end in scene.ends()]


def test_its_own_retries() -> None:
    """The attempt that was lost is none of those after which the pause before the next one grows."""
    fields = {"retries": 2, "retry_delay": MINUTE, "retry_backoff": 10.0}
    scene = Scene(long(on_host_loss=OnHostLoss.RERUN, **fields), names="ab")
    (other,) = scene.others
    other.ends["long"] = [*["failed 1"] * 3, "succeeded"]
    scene.go_down(scene.first)
    scene.pass_time(GONE + 2)
    scene.pass_time(4 * LONG)
    ((row, _),) = other.rows.values()
    begun = [at for _, at in other.launched]
    assert (RunState.SUCCEEDED, 4) == (row.state, row.attempt)
    assert [1, 10] == [(later - before - LONG * SECOND) // MINUTE for before, later in pairwise(begun)]


def test_each_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of several losses only those are asked for that are not left to other hosts any more; the rest stays."""
    asked: list[object] = []
    monkeypatch.setattr(host_loss, "_ask", lambda _turn, event: asked.append(event))
    losses = {"long": {"f60": (5, "first"), "f120": (10, "second"), "f180": (11, "third")}}
    turn = SimpleNamespace(state=SimpleNamespace(fleet=SimpleNamespace(losses=losses)), now=SimpleNamespace(mono=10))
    host_loss.look(turn, "long")  # type: ignore[arg-type]
    assert (["first", "second"], {"long": {"f180": (11, "third")}}) == (asked, losses)
    turn.now.mono = 11
    host_loss.look(turn, "long")  # type: ignore[arg-type]
    assert (["first", "second", "third"], {}) == (asked, losses)

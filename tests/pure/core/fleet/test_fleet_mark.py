"""An etcd that was put back to an earlier state: no host of its fleet asks it anything until a person accepts that."""

from __future__ import annotations

from random import Random

import pytest

from jobqueued.child.fleet import mark, session
from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.values import MOST
from jobqueued.child.fleet.mark import EtcdMark
from jobqueued.child.fleet.uplink import Uplink
from jobqueued.model import events
from jobqueued.model.commands import Accept, Launch
from jobqueued.model.fleet import FleetMark
from jobqueued.model.job import Scope
from tests.support.fake_etcd import FakeEtcd
from tests.support.fleet import Fleet, Host
from tests.support.world import World, job

TICK = job("tick", "* * * * *", scope=Scope.FLEET)
_KEY = f"{ROOT}fleet"


def hosts(names: str = "abc") -> tuple[Fleet, list[Host]]:
    """A fleet that has run some."""
    fleet = Fleet(Random(1))
    found = [fleet.add(name, TICK) for name in names]
    fleet.pass_time(5 * 60)
    return fleet, found


def is_down(host: Host) -> bool:
    """Tell whether a host asks nothing."""
    return "put back" in host.scheduler.fleet.down


def accept(fleet: Fleet, *hosts: Host) -> None:
    """Let hosts go on by what there is; what has run since may run again, and fences begin anew."""
    fleet.started.clear()
    fleet.fences.clear()
    for host in hosts:
        host.happen(events.FleetAccepted(7, "root"))


@pytest.mark.parametrize("bump", [0, 10**9])
@pytest.mark.parametrize("at_once", [False, True])
def test_put_back(bump: int, *, at_once: bool) -> None:
    """Nothing starts by it, also on hosts that have run nothing since, until each host accepts it."""
    fleet, found = hosts()
    snapshot = fleet.etcd.snapshot()
    fleet.pass_time(5 * 60)
    ran = dict(fleet.started)
    fleet.put_back(snapshot, bump, at_once=at_once)
    fleet.pass_time(10 * 60)
    assert ran == fleet.started
    assert [True] * 3 == list(map(is_down, found))
    accept(fleet, *found)
    fleet.pass_time(5 * 60)
    assert len(fleet.started) >= 5
    assert [False] * 3 == list(map(is_down, found))


@pytest.mark.parametrize("long", [False, True], ids=["away for a while", "away all the time"])
def test_a_host_that_was_away(*, long: bool) -> None:
    """One that was down as the snapshot was made refuses as the others do: it knows of more, or hears it of them."""
    fleet, (one, two, away) = hosts()
    away.leave()
    snapshot = fleet.etcd.snapshot()
    fleet.pass_time(5 * 60)
    if not long:
        away.come_back()
        fleet.pass_time(3 * 60)
        away.leave()
    ran = dict(fleet.started)
    fleet.put_back(snapshot, 0, at_once=False)
    fleet.pass_time(5)
    away.come_back()
    fleet.pass_time(10 * 60)
    assert ran == fleet.started
    accept(fleet, one, two)
    fleet.pass_time(5 * 60)
    assert is_down(away)
    assert "c" not in {host for host, _ in fleet.started.values()}
    away.happen(events.FleetAccepted(7, "root"))
    fleet.pass_time(5 * 60)
    assert not is_down(away)


def test_a_host_that_starts_and_dies() -> None:
    """What it starts is by a mark that was saved before: etcd has all of that, or the host knows it was put back."""
    fleet, (one,) = hosts("a")
    snapshot = fleet.etcd.snapshot()
    one.die("after", Launch)
    fleet.pass_time(65)
    assert not one.is_alive
    fleet.put_back(snapshot, 0, at_once=True)
    one.boot()
    fleet.pass_time(60)
    assert is_down(one)


def test_a_new_host() -> None:
    """One that remembers nothing takes what there is; an etcd that is emptied is one that was put back."""
    fleet, (one, two) = hosts("ab")
    new = fleet.add("c", TICK)
    fleet.pass_time(120)
    assert (one.mark.age, False) == (new.mark.age, is_down(new))
    assert new.mark.number > 0
    fleet.put_back((0, {}), 0, at_once=False)
    fleet.pass_time(60)
    assert [True] * 3 == list(map(is_down, (one, two, new)))
    assert _KEY not in fleet.etcd.values(ROOT)


def test_what_is_accepted() -> None:
    """The mark is forgotten with that; a host in no fleet has none."""
    fleet, (one,) = hosts("a")
    assert one.mark.age
    one.happen(events.FleetAccepted(7, "root"))
    assert (FleetMark(), [Accept()]) == (one.mark, [it for it in one.did if isinstance(it, Accept)])
    fleet.pass_time(65)
    assert one.mark.age
    alone = World(TICK)
    alone.happen(events.FleetAccepted(8, "root"))
    assert "Refused" == alone.replies[8].error


def test_settling() -> None:
    """A fleet gets an age as it has none, and another one if it was put back; nobody who is late changes that."""
    etcd = FakeEtcd()
    read = {"request_range": mark.READING}

    def there() -> EtcdMark:
        return mark.read(etcd.txn({"success": [read]}))

    def settle(seen: EtcdMark, age: str, found: EtcdMark | None = None) -> EtcdMark:
        message = mark.settling(there() if found is None else found, seen, age)
        if message is not None:
            etcd.txn(message)
        return there()

    assert EtcdMark() == settle(EtcdMark("x", 1), "one")
    assert EtcdMark("one", 1) == settle(EtcdMark(), "one")
    assert EtcdMark("one", 1) == settle(EtcdMark(), "two", EtcdMark()), "another host was first"
    assert EtcdMark("one", 1) == settle(EtcdMark("one", 1), "two")
    assert EtcdMark("one", 1) == settle(EtcdMark("x", 1), "two")
    put = mark.guarded({"success": []}, EtcdMark("one", 1))
    assert EtcdMark("one", 2) == mark.after(etcd.txn(put), EtcdMark("one", 1))
    assert EtcdMark("one", 3) == mark.after(etcd.txn(put), EtcdMark("one", 1))
    assert EtcdMark("two", 4) == settle(EtcdMark("one", 9), "two")
    assert EtcdMark("two", 4) == settle(EtcdMark("one", 9), "three", EtcdMark("one", 3))
    assert mark.after(etcd.txn(put), EtcdMark("one", 1)) is None
    assert mark.after(etcd.txn(mark.guarded({"success": []}, EtcdMark("two", 5))), EtcdMark("two", 5)) is None
    other = {"compare": [mark._value(EtcdMark("x"))], "failure": [read]}
    assert EtcdMark("two", 4) == mark.after(etcd.txn(other), EtcdMark("two", 4)), "it failed for something else"


@pytest.mark.parametrize("value", ["", "x" * (MOST + 1), "ü\udcff"])
def test_what_no_host_has_made(value: str) -> None:
    """Whatever is in the place of the age, a host that remembers none, or accepts that, makes its writes by an age."""
    etcd = FakeEtcd()
    for _ in range(3):
        etcd.put(_KEY, value)

    def there() -> EtcdMark:
        return mark.read(etcd.txn({"success": [{"request_range": mark.READING}]}))

    assert mark.settling(EtcdMark("", 3), EtcdMark("before", 1), "new") is None, "not before that is accepted"
    if (message := mark.settling(there(), EtcdMark(), "new")) is not None:
        assert etcd.txn(message)["succeeded"]
        assert not etcd.txn(message).get("succeeded"), "a late copy"
    found = there()
    assert found.age
    assert EtcdMark(found.age, found.number + 1) == mark.after(etcd.txn(mark.guarded({"success": []}, found)), found)


@pytest.mark.parametrize(
    ("found", "is_outdated", "known"), [(7, False, 9), (9, False, 9), (12, False, 12), (4, True, 9)]
)
def test_a_look_while_an_answer_comes(
    found: int, known: int, monkeypatch: pytest.MonkeyPatch, *, is_outdated: bool
) -> None:
    """What was read before this host's own writes is no older state of etcd, but what is older than it knew then."""
    settings = {"lock_grace": 60, "fleet": "test"}
    uplink = Uplink(settings, "", lambda: None)
    uplink._seen = EtcdMark("a", 5)

    def look(*_: object) -> tuple[EtcdMark, dict[str, list[str]]]:
        uplink._seen = EtcdMark("a", 9)
        return EtcdMark("a", found), {}

    monkeypatch.setattr(session, "look_around", look)
    uplink._look_around(Gateway(["http://x:1"], 1))
    assert (is_outdated, EtcdMark("a", known)) == (uplink._conversation.is_outdated, uplink._seen)

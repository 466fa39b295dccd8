"""Copies of what a host asked etcd for that are carried out late, after what came then: nothing changes by them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from jobqueued.child.fleet.claims import ROOT
from jobqueued.child.fleet.etcd.gateway import Gateway
from jobqueued.child.fleet.etcd.wire import after_all, coded, text
from tests.fleet.history import Exchange
from tests.fleet.proxy import Trouble, Way
from tests.support.etcd import etcd
from tests.support.fleet_agent import Agent, agents
from tests.support.host import wait_for

TICK, LATER, RUN = "f1772409660", "f1772409720", "x0000000000000001"


class Late:
    """A host all of whose calls come to etcd again, some time later, and another one."""

    def __init__(self, address: str, one: Agent, other: Agent, exchanges: list[Exchange]) -> None:
        self._store, self.one, self.other, self._exchanges = Gateway([address], 5), one, other, exchanges

    def until(self, key: str, value: str | None) -> None:
        """Wait until a key has a value (None: is not there)."""
        asked = {"key": coded(f"{ROOT}{key}")}

        def found() -> list[str]:
            return [text(kv["value"]) for kv in self._store.call("kv/range", asked).get("kvs", ())]

        wait_for(lambda: found() == ([] if value is None else [value]), why=f"{key}: {value}")

    def changes(self) -> Counter[str]:
        """All that has changed by etcd's own account, once each of its calls has come twice: KEY=VALUE, or KEY."""
        wait_for(lambda: all(count > 1 for count in self._carried_out().values()), why="copies", seconds=30)
        end = f"{ROOT}hosts/~"
        self._store.call("kv/put", {"key": coded(end)})
        wanted = {"key": coded(ROOT), "range_end": coded(after_all(ROOT)), "start_revision": "1"}
        found = Counter[str]()
        for result in Gateway(self._store._members, 5).stream("watch", {"create_request": wanted}):
            for event in result.get("events", ()):
                key, value = text(event["kv"]["key"]), text(event["kv"].get("value", ""))
                if key == end:
                    return found
                found[key.removeprefix(ROOT) + f"={value}" * (event.get("type") != "DELETE")] += 1
        raise AssertionError("the watch has ended")

    def _carried_out(self) -> Counter[bytes]:
        """How often each of its calls that may write something is over."""
        writes = (each.question for each in [*self._exchanges] if each.path == "kv/txn")
        return Counter(question for question in writes if json.loads(question).get("compare"))


@pytest.fixture
def late(tmp_path: Path) -> Iterator[Late]:
    """Both of them, and an etcd."""
    (tmp_path / "etcd").mkdir()
    exchanges = list[Exchange]()
    with etcd(tmp_path / "etcd") as address, closing(Way("one", [address], Random(1), exchanges.append)) as way:
        way.be(Trouble(twice=1))
        with (
            agents(tmp_path, address, "other") as (other,),
            closing(Agent(tmp_path / "one", way.members, "one")) as one,
        ):
            one.hear("up", "")
            yield Late(address, one, other, exchanges)


def test_a_pause(late: Late) -> None:
    """One that another host has ended, and an end after which another host has paused the job again."""
    late.one.say("pause", "backup", "by one", "")
    late.until("paused/backup", "by one")
    late.other.say("pause", "backup", "", "")
    late.until("paused/backup", None)
    late.one.say("pause", "archive", "by one", "")
    late.until("paused/archive", "by one")
    late.one.say("pause", "archive", "", "")
    late.until("paused/archive", None)
    late.other.say("pause", "archive", "by other", "")
    late.until("paused/archive", "by other")
    told = {key: count for key, count in late.changes().items() if key.startswith("paused/")}
    assert {
        "paused/backup=by one": 1, "paused/backup": 1, "paused/archive=by one": 1, "paused/archive": 1,
        "paused/archive=by other": 1,
    } == told  # fmt: skip


def test_each_kind_of_call(late: Late) -> None:
    """Whatever a host writes is written once: each change that etcd has had is that of an order, or of the session."""
    one, other = late.one, late.other
    for held in (True, False):
        one.say("announce", ["gpu"], held)
    for way in ("join", "leave"):
        one.say(way, "tape")
    one.say("publish", "backup", "a spec", 0)
    other.say("publish", "backup", "", other.hear("spec", "backup", "a spec")[3])
    one.say("overdue", "backup", "late", 0)
    one.say("overdue", "backup", "", one.hear("overdue", "backup", "late")[3])
    one.ask("backup", RUN, "tape")
    one.hear("granted", "backup")
    one.say("give_back", "backup", RUN, "")
    one.ask("backup", TICK, "tape", question=2)
    one.hear("granted", "backup")
    one.say("give_back", "backup", TICK, "")
    one.ask("backup", TICK, "tape", question=3)
    one.hear("granted", "backup")
    one.say("give_back", "backup", TICK, "succeeded")
    one.say("skip", "backup", int(LATER[1:]), int(LATER[1:]), 3600, "")
    one.hear("skipped", "backup")
    found, run, others = late.changes(), f"runs/backup/{TICK[1:]}/1", ("writes/", "hosts/other", "fleet=")
    boot = next(key for key in found if key.startswith("hosts/one=")).split(" ")[1]
    assert {
        f"hosts/one=one:oneid {boot} - -": 1, f"hosts/one=one:oneid {boot} gpu held": 1,
        f"hosts/one=one:oneid {boot} gpu -": 1, "wait/one/tape=one:oneid": 1, "wait/one/tape": 1,
        "jobs/backup=a spec": 1, "jobs/backup": 1, "overdue/backup=late": 1, "overdue/backup": 1,
        f"locks/tape=one:oneid backup {RUN}": 1, f"locks/tape=one:oneid backup {TICK}": 2, "locks/tape": 3,
        f"{run}=one:oneid": 1, f"{run}=one:oneid succeeded": 1,
        f"runs/backup/{LATER[1:]}/1=one:oneid skipped {LATER[1:]}": 1, "skipped/backup=one:oneid": 1,
    } == {key: count for key, count in found.items() if not key.startswith(others)}  # fmt: skip

"""Skips for all hosts of a fleet as transactions: of two that overlap one is refused, and of one and a run."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.child.fleet import claims, skips
from jobqueued.child.fleet.claims import Claim, Found, Granted, Newer, Session, SessionOver, Stale, Taken
from jobqueued.child.fleet.skips import Begun, KnownSkips, Mine, Skip
from tests.support.fake_etcd import FakeEtcd

FIRST = 1772409600
LEASES = {"run": 1, "lock": 2}


class Hosts:
    """Hosts that ask one etcd, each by what it knows."""

    def __init__(self) -> None:
        self.etcd = FakeEtcd()
        self.known = dict[str, KnownSkips]()
        self.sessions = {
            name: Session(f"{name}:id", name, self.etcd.put(f"/jq/hosts/{name}", f"{name}:id")) for name in "ab"
        }

    def skip(self, host: str, first: int, last: int, spec: str = "", own: int = 0) -> Any:
        """Ask to skip what is due from one second to another; the outcome."""
        skip, known = Skip("tick", FIRST + first, FIRST + last, 60, spec, own), self.newest(host)
        answer = self.etcd.txn(skips.transaction(skip, self.sessions[host], known, 1))
        return skips.outcome(skip, self.sessions[host], answer, known)

    def run(self, host: str, second: int) -> Any:
        """Claim an occurrence; the outcome."""
        claim, known = Claim("tick", f"f{FIRST + second}", ()), self.newest(host)
        answer = self.etcd.txn(claims.transaction(claim, self.sessions[host], {}, known, LEASES))
        return claims.outcome(claim, self.sessions[host], {}, known, answer, self.etcd.revision)

    def newest(self, host: str) -> str:
        """The newest skip that a host knows of."""
        return self.known.setdefault(host, KnownSkips()).newest("tick")

    def hear(self, host: str) -> Found:
        """Tell a host of the newest skip."""
        found = claims.kept(self.etcd.kvs["/jq/skipped/tick"])
        self.known.setdefault(host, KnownSkips()).note("tick", found)
        return found


def test_a_skip() -> None:
    """It is kept by its last occurrence, and as the newest of its job."""
    hosts = Hosts()
    assert Mine(FIRST, FIRST + 60) == hosts.skip("a", 0, 60)
    assert {f"/jq/runs/tick/{FIRST + 60}/1": f"a:id skipped {FIRST}"} == hosts.etcd.values("/jq/runs/")
    assert {"/jq/skipped/tick": f"a:id {FIRST} {FIRST + 60}"} == hosts.etcd.values("/jq/skipped/")


@pytest.mark.parametrize("other", [(0, 60), (0, 40), (20, 40), (20, 60), (20, 90), (0, 90), (60, 60), (60, 90)])
def test_two_that_overlap(other: tuple[int, int]) -> None:
    """One that knows nothing of the other is refused, and hears of it, whichever begins or ends first."""
    hosts = Hosts()
    hosts.skip("a", 0, 60)
    outcome = hosts.skip("b", *other)
    assert isinstance(outcome, Begun | Newer)
    line = ["taken", "tick", f"f{FIRST + 60}", f"skipped {FIRST}"]
    if isinstance(outcome, Newer):
        assert line == skips.told("tick", outcome.found, "b:id")
        assert skips.span_of(outcome.found).overlaps(skips.Span(FIRST + other[0], FIRST + other[1]))
    else:
        assert {f"/jq/runs/tick/{FIRST + 60}/1": f"a:id skipped {FIRST}"} == {
            key: it.value for key, it in outcome.found.items()
        }


def test_one_after_another() -> None:
    """One that knows of the other skips what comes after it; and before it."""
    hosts = Hosts()
    hosts.skip("a", 30, 60)
    hosts.hear("b")
    assert Mine(FIRST + 90, FIRST + 90) == hosts.skip("b", 90, 90)
    hosts.hear("b")
    assert Mine(FIRST, FIRST + 20) == hosts.skip("b", 0, 20)


def test_what_is_begun() -> None:
    """Nothing is skipped that another host has, and nothing is begun that was skipped, or may have been."""
    hosts = Hosts()
    assert isinstance(hosts.run("a", 30), Granted)
    outcome = hosts.skip("b", 0, 60)
    assert isinstance(outcome, Begun)
    assert {f"/jq/runs/tick/{FIRST + 30}/1": "a:id"} == {key: it.value for key, it in outcome.found.items()}
    assert Mine(FIRST + 40, FIRST + 60) == hosts.skip("b", 40, 60)
    assert hosts.run("a", 50) == Newer(hosts.hear("a")), "it does not know of the skip"
    assert isinstance(hosts.run("a", 60), Taken)
    assert isinstance(hosts.run("a", 90), Granted)


def test_what_is_begun_here() -> None:
    """What this host was granted and has not begun is skipped with the rest."""
    hosts = Hosts()
    assert isinstance(hosts.run("a", 30), Granted)
    again = hosts.skip("a", 0, 30)
    assert isinstance(again, Skip)
    assert again.own
    assert Mine(FIRST, FIRST + 30) == hosts.skip("a", 0, 30, own=again.own)
    assert isinstance(hosts.skip("b", 0, 30), Begun)


@pytest.mark.parametrize("last", [60, 90])
def test_an_answer_that_was_lost(last: int) -> None:
    """What is there by this host is its own, even where it asks for more by now."""
    hosts = Hosts()
    hosts.skip("a", 0, 60)
    assert Mine(FIRST, FIRST + 60) == hosts.skip("a", 0, last)


def test_what_else_is_in_the_way() -> None:
    """A session that is over, and another definition."""
    hosts = Hosts()
    assert Stale(None) == hosts.skip("a", 0, 60, spec="s")
    hosts.etcd.put("/jq/jobs/tick", "s")
    assert Mine(FIRST, FIRST + 60) == hosts.skip("a", 0, 60, spec="s")
    hosts.etcd.put("/jq/hosts/b", None)
    assert SessionOver() == hosts.skip("b", 90, 90)


def test_what_is_known() -> None:
    """An older one does not replace a newer one, and one that is forgotten is none."""
    known = KnownSkips()
    known.note("tick", Found("a:id 2 3", 5, 9))
    known.note("tick", Found("a:id 1 1", 5, 7))
    assert "a:id 2 3" == known.newest("tick")
    known.note("tick", None)
    assert ("", None) == (known.newest("tick"), skips.told("tick", claims.NOTHING, "a:id"))
    assert skips.told("tick", Found("a:id 2 3", 5, 9), "a:id") is None

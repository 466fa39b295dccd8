"""The history of a fleet's keys: what an etcd in memory has answered is in order, and each twist of it is seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from jobqueued.child.fleet import announcements, claims, ends, skips
from jobqueued.child.fleet.claims import (
    ClaimAgain,
    ClaimDenied,
    ClaimGranted,
    ClaimTaken,
    FleetClaim,
    Session,
    StoredKey,
)
from jobqueued.child.fleet.etcd.wire import Message, coded
from jobqueued.child.fleet.skips import SkipRequest
from jobqueued.child.fleet.writes import Writes
from tests.fleet.history import Exchange, disordered
from tests.support.fake_etcd import FakeEtcd

HOSTS = ("alpha", "beta", "gamma")
LEASE, GRACE = 7, 60
LEASES = {"run": 5, "lock": LEASE}


class Wire:
    """Hosts that claim what an etcd has; an answer takes a while, and some are lost."""

    def __init__(self, seed: int = 1, lost: float = 0.0) -> None:
        self.random, self._lost = Random(seed), lost
        self.etcd, self.now = FakeEtcd(), 0.0
        self.exchanges = list[Exchange]()
        self.sessions = {host: Session(f"{host}:id", host, self.etcd.put(f"/jq/hosts/{host}", host)) for host in HOSTS}
        for host, session in self.sessions.items():  # as they opened them
            put = {"request_put": {"key": coded(session.key), "value": coded(host), "lease": "3"}}
            absent = {"key": coded(session.key), "target": "CREATE", "create_revision": "0"}
            answer = {"succeeded": True, "header": {"revision": str(session.created)}, "responses": [{}]}
            self.note(host, "kv/txn", {"compare": [absent], "success": [put]}, answer)
        for lease in (3, LEASE):
            self.keep(lease)
        self.keep(LEASES["run"], 3600)

    def keep(self, lease: int, seconds: int = GRACE) -> None:
        """Keep a lease alive for these seconds."""
        self.note("alpha", "lease/keepalive", {"ID": str(lease)}, {"result": {"ID": str(lease), "TTL": str(seconds)}})

    def note(self, host: str, path: str, question: Message, answer: Message) -> None:
        """Write down what a host asked, now or a little before, and was answered a little later."""
        asked, self.now = self.now + self.random.random(), self.now + 1
        told = b"" if path == "kv/txn" and self.random.random() < self._lost else json.dumps(answer).encode()
        answered = self.now + self.random.random()
        self.exchanges.append(Exchange(host, path, asked, answered, json.dumps(question).encode(), told))

    def call(self, host: str, *transactions: Message) -> list[Message]:
        """Carry transactions out at once; their answers, which the host may not hear."""
        question = claims.batch(transactions)
        answer = self.etcd.txn(question)
        self.note(host, "kv/txn", question, answer)
        return claims.answers(answer)

    def claim(self, host: str, wanted: FleetClaim) -> Any:
        """Claim as an agent does; the outcome."""
        found: dict[str, StoredKey] = {}
        while True:
            session = self.sessions[host]
            [answer] = self.call(host, claims.transaction(wanted, session, found, 0, LEASES))
            outcome = claims.outcome(wanted, session, found, 0, answer, self.etcd.revision)
            if not isinstance(outcome, ClaimAgain):
                return outcome
            found = dict(outcome.found)

    def end(self, host: str, wanted: FleetClaim, state: str = "succeeded") -> None:
        """Give all of it back."""
        locks = [(key, self.found(key)) for name in wanted.locks for key in [f"/jq/locks/{name}"]]
        self.call(host, *ends.end(wanted.job, wanted.key, f"{host}:id", state, locks))

    def found(self, key: str) -> StoredKey:
        """A key that is there."""
        return claims.kept(self.etcd.kvs[key])

    def twist(self, number: int, change: Callable[[Message], object]) -> None:
        """Change the answer to an exchange."""
        answer = json.loads(self.exchanges[number].answer)
        change(answer)
        self.exchanges[number] = self.exchanges[number]._replace(answer=json.dumps(answer).encode())


def tape(second: int, job: str = "a") -> FleetClaim:
    """A claim of an occurrence with a lock."""
    return FleetClaim(job, f"f{second}", ("tape",))


def passed_on() -> Wire:
    """A lock that one host has had, and another has."""
    wire = Wire()
    assert isinstance(wire.claim("alpha", tape(1)), ClaimGranted)
    assert isinstance(wire.claim("beta", tape(2)), ClaimDenied)
    wire.end("alpha", tape(1))
    assert isinstance(wire.claim("beta", tape(2)), ClaimGranted)
    assert isinstance(wire.claim("gamma", tape(2)), ClaimTaken)
    return wire


@pytest.mark.parametrize("seed", range(20))
def test_what_was_so(seed: int) -> None:
    """Hosts that claim, give back and ask again what they did not hear leave a history that is in order."""
    wire = Wire(seed, lost=0.2)
    for second in range(40):
        host = wire.random.choice(HOSTS)
        outcomes = {host: wire.claim(host, tape(second // 2)) for host in wire.random.sample(HOSTS, 2)}
        won = [host for host, outcome in outcomes.items() if isinstance(outcome, ClaimGranted)]
        for host in won:
            wire.end(host, tape(second // 2), wire.random.choice(["succeeded", "returned"]))
        wire.keep(LEASE)
    assert {} == disordered(wire.exchanges)


def granted(answer: Message) -> None:
    """Have the answer to a claim that was refused be that it is granted."""
    answer["responses"] = [{"response_txn": {"succeeded": True}}]


def earlier(answer: Message) -> None:
    """Have an answer tell of an earlier revision."""
    answer["header"]["revision"] = "4"


def refused(answer: Message) -> None:
    """Have the answer to a claim be that nobody has what it wants, but it is not granted."""
    answer["responses"] = [{"response_txn": {"responses": [{"response_range": {}}] * 7}}]


@pytest.mark.parametrize(
    ("number", "change", "keys"),
    [
        (-4, granted, ["/jq/locks/tape", "/jq/runs/a/2/1"]),
        (-1, granted, ["/jq/locks/tape", "/jq/runs/a/2/1"]),
        (-2, earlier, ["/jq/hosts/beta", "/jq/locks/tape"]),
        (-2, refused, ["/jq/hosts/beta", "/jq/locks/tape", "/jq/runs/a/2/1"]),
    ],
    ids=["a lock twice", "an occurrence twice", "a fence that does not rise", "what was granted is refused"],
)
def test_a_twisted_answer(number: int, change: Callable[[Message], object], keys: list[str]) -> None:
    """A history with one answer that is another is refused."""
    wire = passed_on()
    assert {} == disordered(wire.exchanges)
    wire.twist(number, change)
    assert set(disordered(wire.exchanges)) & set(keys), disordered(wire.exchanges)


def test_swapped_answers() -> None:
    """Of two claims each has the answer to the other."""
    wire = passed_on()
    one, other = wire.exchanges[-1], wire.exchanges[-2]
    wire.exchanges[-2:] = [other._replace(answer=one.answer), one._replace(answer=other.answer)]
    assert "/jq/runs/a/2/1" in disordered(wire.exchanges)


def test_a_stale_answer() -> None:
    """A claim is refused for a lock that was given back before it was asked for."""
    wire = passed_on()
    denied = wire.exchanges[-4]
    later = wire.exchanges[-3].answered + 0.01
    wire.exchanges[-4] = denied._replace(asked=later, answered=later + 0.01)
    assert "/jq/locks/tape" in disordered(wire.exchanges)


@pytest.mark.parametrize(("after", "found"), [(GRACE + 1, set()), (GRACE - 20, {"/jq/locks/tape"})])
def test_a_lock_that_lapses(after: float, found: set[str]) -> None:
    """Another has a lock that nobody gave back: not before its lease can be over."""
    wire = Wire()
    assert isinstance(wire.claim("alpha", tape(1)), ClaimGranted)
    wire.etcd.put("/jq/locks/tape", None)
    wire.now += after
    assert isinstance(wire.claim("beta", tape(2)), ClaimGranted)
    assert found == set(disordered(wire.exchanges))


def test_who_gives_back_what_is_anothers() -> None:
    """A lock is taken away by another host than the one that has it."""
    wire = Wire()
    wire.claim("alpha", tape(1))
    wire.call("beta", *ends.end("a", "f1", "alpha:id", "", [("/jq/locks/tape", wire.found("/jq/locks/tape"))]))
    assert {"/jq/locks/tape"} == set(disordered(wire.exchanges))


@pytest.mark.parametrize(("host", "state"), [("beta", ""), ("alpha", "succeeded")])
def test_an_occurrence_that_is_taken_away(host: str, state: str) -> None:
    """Another host takes it away, or its own one once it is over."""
    wire = Wire()
    wire.claim("alpha", tape(1))
    if state:
        wire.end("alpha", tape(1), state)
    wire.call(host, {"compare": [], "success": [{"request_delete_range": {"key": coded("/jq/runs/a/1/1")}}]})
    assert {"/jq/runs/a/1/1"} == set(disordered(wire.exchanges))


def test_a_snapshot() -> None:
    """What is read in ranges says nothing of the order of calls, whether there is an answer or not."""
    wire = passed_on()
    question = {"success": [{"request_range": {"key": coded("/jq/locks/"), "range_end": coded("/jq/locks0")}}]}
    wire.note("alpha", "kv/txn", question, {"header": {"revision": "1"}, "responses": [{"response_range": {}}]})
    assert {} == disordered(wire.exchanges)
    wire.exchanges.append(wire.exchanges[-1]._replace(answer=b""))
    assert {} == disordered(wire.exchanges)


def test_a_skip_beside_a_run() -> None:
    """What was skipped for all hosts though one had begun some of it, by what was told, is no order."""
    wire = Wire()
    wire.keep(LEASES["run"])
    assert isinstance(wire.claim("alpha", tape(1000000030)), ClaimGranted)
    wire.keep(LEASE)  # the claim was answered before the skip is asked for
    skip = SkipRequest("a", 1000000010, 1000000040, 60, "")
    [refused] = wire.call("beta", skips.transaction(skip, wire.sessions["beta"], 5))
    assert "succeeded" not in refused
    assert {} == disordered(wire.exchanges)
    wire.twist(-1, granted)
    assert "/jq/runs/a/1000000030/1" in disordered(wire.exchanges)


def test_what_comes_twice() -> None:
    """A copy of what was done is not done: a history in which it is, or was but for a lost answer, is no order."""
    wire = Wire()
    pause = announcements.pausing(wire.sessions["alpha"], "a", "paused", "")
    message = Writes(wire.sessions["alpha"]).batch(claims.batch([pause]), 1, 3)
    for _ in range(2):
        wire.note("alpha", "kv/txn", message, wire.etcd.txn(message))
    wire.exchanges.append(wire.exchanges[-1]._replace(answer=b""))
    assert {} == disordered(wire.exchanges)
    again = {**json.loads(wire.exchanges[-3].answer), "header": {"revision": "99"}}
    wire.twist(-2, lambda answer: (answer.clear(), answer.update(again)))
    assert {"/jq/writes/alpha"} == set(disordered(wire.exchanges))

"""Claims of a fleet in a real etcd: who has what, whatever was asked twice, at once, or for a session that is over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobqueued.child.fleet import claims, ends, mark, writes
from jobqueued.child.fleet.claims import (
    ClaimAgain,
    ClaimDenied,
    ClaimGranted,
    ClaimTaken,
    FleetClaim,
    Loss,
    Outcome,
    Session,
    SessionOver,
    Stale,
    StoredKey,
    unit,
)
from jobqueued.child.fleet.conversation import _MOST_UNITS
from jobqueued.child.fleet.etcd.gateway import EtcdUnreachable, Gateway, Rejected
from jobqueued.child.fleet.etcd.wire import after_all, coded, text
from jobqueued.child.fleet.mark import EtcdMark
from jobqueued.child.fleet.writes import Writes
from tests.support.etcd import etcd


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An etcd of this module."""
    with etcd(tmp_path_factory.mktemp("etcd")) as found:
        yield found


@pytest.fixture
def gateway(address: str) -> Iterator[Gateway]:
    """A connection to it, where nothing is stored."""
    found = Gateway([address], 5)
    found.call("kv/deleterange", {"key": coded(claims.ROOT), "range_end": coded(after_all(claims.ROOT))})
    yield found
    found.close()


def session(gateway: Gateway, store: str) -> Session:
    """A session of a host that is called as its store."""
    key = f"{claims.ROOT}hosts/{store}"
    answer = gateway.call("kv/put", {"key": coded(key), "value": coded(store)})
    return Session(store, store, claims.revision(answer))


def claim(gateway: Gateway, wanted: FleetClaim, by: Session, *, lost: bool = False) -> Outcome:
    """Claim it, again with what was found; `lost`: carried out, and the answer is not looked at."""
    found: dict[str, StoredKey] = {}
    for _ in range(3):
        answer = gateway.call("kv/txn", claims.transaction(wanted, by, found, 0, {"run": 0, "lock": 0}))
        if lost:
            return ClaimAgain({})
        outcome = claims.outcome(wanted, by, found, 0, answer, claims.revision(answer))
        if not isinstance(outcome, ClaimAgain):
            return outcome
        found = dict(outcome.found)
    raise AssertionError(f"{wanted} is asked for again and again")


def there(gateway: Gateway) -> dict[str, StoredKey]:
    """All keys but those of hosts."""
    answer = gateway.call("kv/range", {"key": coded(claims.ROOT), "range_end": coded(after_all(claims.ROOT))})
    found = {text(kv["key"]): claims.kept(kv) for kv in answer.get("kvs", ())}
    return {key: value for key, value in found.items() if "/hosts/" not in key}


def give_back(gateway: Gateway, wanted: FleetClaim, by: Session, state: str) -> None:
    """The end of a run."""
    value = f"{by.store} {wanted.job} {wanted.key}"
    locks = [(key, known) for key, known in there(gateway).items() if known.value == value]
    for each in ends.end(wanted.job, wanted.key, by.store, state, locks):
        gateway.call("kv/txn", each)


BACKUP = FleetClaim("backup", "f1772409660", ("tape", "job/backup"))


def test_one_of_two(gateway: Gateway) -> None:
    """The first has it, with its locks; the other hears that it is taken, and who has a lock; the fences rise."""
    one, two = session(gateway, "s1"), session(gateway, "s2")
    first = claim(gateway, BACKUP, one)
    assert isinstance(first, ClaimGranted)
    assert ClaimTaken("s1") == claim(gateway, BACKUP, two)
    other = FleetClaim("other", "x1", ("tape",))
    denied = claim(gateway, other, two)
    assert isinstance(denied, ClaimDenied)
    assert ("/jq/locks/tape", "s1 backup f1772409660") == (denied.key, denied.found.value)
    give_back(gateway, BACKUP, one, "succeeded")
    assert {"/jq/runs/backup/1772409660/1": "s1 succeeded"} == {key: it.value for key, it in there(gateway).items()}
    second = claim(gateway, other, two)
    assert isinstance(second, ClaimGranted)
    assert second.fence > first.fence
    assert ClaimTaken("s1 succeeded") == claim(gateway, BACKUP, one), "what is over runs again"


def test_an_answer_that_was_lost(gateway: Gateway) -> None:
    """Asked again it is granted, by the same fence; a retry of the run has its locks anew, by a greater one."""
    one = session(gateway, "s1")
    assert ClaimAgain({}) == claim(gateway, BACKUP, one, lost=True)
    first, again = claim(gateway, BACKUP, one), claim(gateway, BACKUP, one)
    assert isinstance(first, ClaimGranted)
    assert first == again
    give_back(gateway, BACKUP, one, "")
    assert ["/jq/runs/backup/1772409660/1"] == list(there(gateway))
    retried = claim(gateway, BACKUP, one)
    assert isinstance(retried, ClaimGranted)
    assert retried.fence > first.fence


def test_a_session_that_is_over(gateway: Gateway) -> None:
    """Nothing is claimed by it, nor by one of before that has the same name."""
    one = session(gateway, "s1")
    gateway.call("kv/deleterange", {"key": coded(one.key)})
    assert SessionOver() == claim(gateway, BACKUP, one)
    session(gateway, "s1")
    assert SessionOver() == claim(gateway, BACKUP, one)
    assert {} == there(gateway)


def test_many_at_once(gateway: Gateway) -> None:
    """A batch of the most is carried out, each for itself: one that loses does not hurt the others."""
    one, two = session(gateway, "s1"), session(gateway, "s2")
    wanted = [FleetClaim("tick", f"f{second}", (f"job/tick{second}",)) for second in range(claims.MOST)]
    assert isinstance(claim(gateway, wanted[7], two), ClaimGranted)
    transactions = [claims.transaction(each, one, {}, 0, {"run": 0, "lock": 0}) for each in wanted]
    answer = gateway.call("kv/txn", claims.batch(transactions))
    found = [claims.outcome(each, one, {}, 0, it, claims.revision(answer)) for each, it in
             zip(wanted, claims.answers(answer), strict=True)]  # fmt: skip
    assert isinstance(found.pop(7), ClaimTaken)
    assert [ClaimGranted(claims.revision(answer))] * (claims.MOST - 1) == found


def test_the_largest_write(gateway: Gateway) -> None:
    """Etcd takes as many questions as a batch has, each about as many units of locks as one may be about."""
    one = session(gateway, "s1")

    def asked(number: int) -> FleetClaim:
        units = (unit(f"tape{number}", each) for each in range(1, _MOST_UNITS + 1))
        key = f"f{1772409660 + number}"
        return FleetClaim("tick", f"{key}.2", tuple(units), "spec", Loss(key, "s2:id", 0))

    wanted = [asked(number) for number in range(claims.MOST)]
    batch = claims.batch(claims.transaction(each, one, {}, 0, {"run": 0, "lock": 0}) for each in wanted)
    gateway.call("kv/txn", mark.settling(EtcdMark(), EtcdMark(), "age") or {})
    answer = gateway.call("kv/txn", mark.guarded(Writes(one).batch(batch, 0, 0), EtcdMark("age", 1)))
    assert EtcdMark("age", 2) == mark.after(answer, EtcdMark("age", 1))
    outcomes = [claims.outcome(each, one, {}, 0, it, claims.revision(answer)) for each, it in
                zip(wanted, claims.answers(answer), strict=True)]  # fmt: skip
    assert [Stale(None)] * claims.MOST == outcomes


def test_a_session_is_not_opened_late(gateway: Gateway) -> None:
    """A copy of what opens a session does nothing as long as that lasts, and is refused once it is over."""
    lease = int(gateway.call("lease/grant", {"TTL": "60"})["ID"])
    opening = writes.opening(Session("s1:id", "s1", 0), "s1:id", lease)
    assert gateway.call("kv/txn", opening)["succeeded"]
    assert "succeeded" not in gateway.call("kv/txn", opening)
    gateway.call("lease/revoke", {"ID": str(lease)})
    with pytest.raises(Rejected, match="lease not found"):
        gateway.call("kv/txn", opening)
    assert {} == there(gateway)


def test_news(gateway: Gateway, address: str) -> None:
    """A watch tells what has changed since a revision, in order."""
    one = session(gateway, "s1")
    granted = claim(gateway, BACKUP, one)
    assert isinstance(granted, ClaimGranted)
    give_back(gateway, BACKUP, one, "failed")
    watch = Gateway([address], 5)
    asked = {"create_request": {"key": coded(claims.ROOT), "range_end": coded(after_all(claims.ROOT)),
                                "start_revision": str(granted.fence)}}  # fmt: skip
    changes: list[tuple[str, str]] = []
    for news in watch.stream("watch", asked):
        changes += [(each.get("type", "PUT"), text(each["kv"]["key"])) for each in news.get("events", ())]
        if len(changes) >= 6:
            break
    watch.close()
    run, locks = "/jq/runs/backup/1772409660/1", {"/jq/locks/tape", "/jq/locks/job/backup"}
    assert {("PUT", key) for key in (run, *locks)} == set(changes[:3])
    assert {("DELETE", key) for key in locks} | {("PUT", run)} == set(changes[3:])


def test_a_member_that_does_not_answer(gateway: Gateway, address: str) -> None:
    """The next is asked; where none answers that is said of each; what is refused is not asked of others."""
    nobody = "http://127.0.0.1:1"
    both = Gateway([nobody, address], 5)
    assert "header" in both.call("kv/range", {"key": coded("/jq/x")})
    with pytest.raises(Rejected):
        both.call("kv/range", {"key": ""})
    both.close()
    with pytest.raises(
        EtcdUnreachable, match=r"http://127.0.0.1:1: Connection refused; http://127.0.0.1:2: Connection ref"
    ):
        Gateway([nobody, "http://127.0.0.1:2"], 1).call("kv/range", {"key": coded("/jq/x")})
    with pytest.raises(Rejected, match="Not Found"):
        gateway.call("none", {})


def test_a_watch_that_breaks_off(gateway: Gateway, address: str) -> None:
    """One that goes on where it was brings what its first message, and one of many events, came before."""
    puts = [gateway.call("kv/put", {"key": coded(f"{claims.ROOT}runs/{number:04}/1/1")}) for number in range(1200)]
    known, seen = claims.revision(puts[0]) - 1, list[str]()
    for most in (1, 2, 9):
        watch = Gateway([address], 5)
        asked = {
            "key": coded(claims.ROOT),
            "range_end": coded(after_all(claims.ROOT)),
            "start_revision": str(known + 1),
        }
        for number, news in enumerate(watch.stream("watch", {"create_request": asked}), 1):
            known = claims.reported_up_to(news, known)
            seen += [text(event["kv"]["key"]) for event in news.get("events", ())]
            if number == most or len(seen) == len(puts):
                break
        watch.close()
    assert [f"{claims.ROOT}runs/{number:04}/1/1" for number in range(1200)] == seen
    assert claims.revision(puts[-1]) == known

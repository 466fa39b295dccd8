"""Skips for all hosts of a fleet as transactions: of two that overlap one is refused, and of one and a run."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.child.fleet import claims, skips
from jobqueued.child.fleet.claims import ClaimGranted, ClaimTaken, FleetClaim, Newer, Session, SessionOver, Stale
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.child.fleet.etcd.wire import coded
from jobqueued.child.fleet.known_locks import LockUnits
from jobqueued.child.fleet.skips import KnownSkips, Mine, OccurrencesTaken, SkipRequest
from tests.support.fake_etcd import FakeEtcd

FIRST = 1772409600
LEASES = {"run": 1, "lock": 2}


class Hosts:
    """Hosts that ask one etcd, each by what it knows."""

    def __init__(self) -> None:
        self.etcd = FakeEtcd()
        self.known = dict[str, int]()
        self.sessions = {
            name: Session(f"{name}:id", name, self.etcd.put(f"/jq/hosts/{name}", f"{name}:id")) for name in "ab"
        }

    def skip(self, host: str, first: int, last: int, spec: str = "", own: int = 0) -> Any:
        """Ask to skip what is due from one second to another; the outcome."""
        skip = SkipRequest("tick", FIRST + first, FIRST + last, 60, spec, self.newest(host), own)
        answer = self.etcd.txn(skips.transaction(skip, self.sessions[host], 1))
        return skips.outcome(skip, self.sessions[host], answer)

    def run(self, host: str, second: int) -> Any:
        """Claim an occurrence; the outcome."""
        claim, known = FleetClaim("tick", f"f{FIRST + second}", ()), self.newest(host)
        answer = self.etcd.txn(claims.transaction(claim, self.sessions[host], {}, known, LEASES))
        return claims.outcome(claim, self.sessions[host], {}, known, answer, self.etcd.revision)

    def newest(self, host: str) -> int:
        """The newest skip that a host knows of."""
        return self.known.get(host, 0)

    def hear(self, host: str) -> None:
        """Tell a host of the newest skip."""
        self.known[host] = claims.kept(self.etcd.kvs["/jq/skipped/tick"]).modified


def test_a_skip() -> None:
    """It is kept by its last occurrence, and as the newest of its job."""
    hosts = Hosts()
    assert Mine(FIRST, FIRST + 60) == hosts.skip("a", 0, 60)
    assert {f"/jq/runs/tick/{FIRST + 60}/1": f"a:id skipped {FIRST}"} == hosts.etcd.values("/jq/runs/")
    assert {"/jq/skipped/tick": "a:id"} == hosts.etcd.values("/jq/skipped/")


def test_a_skip_of_what_was_given_back() -> None:
    """What was given back is nobody's, and with a skip that covers it nobody is told so any more."""
    hosts, before = Hosts(), [f"/jq/returned/tick/f{FIRST + second}" for second in (-1, 0, 60, 61)]
    for key in before:
        hosts.etcd.put(key, "a:id")
    assert Mine(FIRST, FIRST + 60) == hosts.skip("b", 0, 60)
    assert [before[0], before[-1]] == [*hosts.etcd.values("/jq/returned/")]


@pytest.mark.parametrize("hears", [False, True])
@pytest.mark.parametrize("other", [(0, 60), (0, 40), (20, 40), (20, 60), (20, 90), (0, 90), (60, 60), (60, 90)])
def test_two_that_overlap(other: tuple[int, int], hears: bool) -> None:
    """The second is refused, and hears what the first has skipped, whichever begins or ends first; though that is not
    the newest, and whether it knows of the newest or not.
    """
    hosts = Hosts()
    hosts.skip("a", 0, 60)
    hosts.hear("a")
    hosts.skip("a", 120, 150)
    if hears and other[1] < 60:  # else it is in its range
        hosts.hear("b")
        assert Mine(FIRST + other[0], FIRST + other[1]) == hosts.skip("b", *other), "it was told of all before"
        return
    assert OccurrencesTaken({f"f{FIRST + 60}": f"a:id skipped {FIRST}"}) == hosts.skip("b", *other)


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
    assert isinstance(hosts.run("a", 30), ClaimGranted)
    assert OccurrencesTaken({f"f{FIRST + 30}": "a:id"}) == hosts.skip("b", 0, 60)
    assert Mine(FIRST + 40, FIRST + 60) == hosts.skip("b", 40, 60)
    assert ClaimTaken(f"b:id skipped {FIRST + 40}") == hosts.run("a", 50), "it does not know of the skip"
    assert isinstance(hosts.run("a", 20), Newer)
    hosts.hear("a")
    assert isinstance(hosts.run("a", 20), ClaimGranted)
    assert isinstance(hosts.run("a", 60), ClaimTaken)
    assert isinstance(hosts.run("a", 90), ClaimGranted)


def test_what_is_begun_here() -> None:
    """What this host was granted and has not begun is skipped with the rest."""
    hosts = Hosts()
    assert isinstance(hosts.run("a", 30), ClaimGranted)
    again = hosts.skip("a", 0, 30)
    assert isinstance(again, SkipRequest)
    assert again.own
    assert Mine(FIRST, FIRST + 30) == hosts.skip("a", 0, 30, own=again.own)
    assert isinstance(hosts.skip("b", 0, 30), OccurrencesTaken)


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


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("30/1", f"x skipped {'9' * 5000}", {f"f{FIRST + 30}": f"x skipped {'9' * 5000}"}),
        ("30/1", f"x skipped {FIRST + 999}", {f"f{FIRST + 30}": f"x skipped {FIRST + 999}"}),
        ("30/1", "", {f"f{FIRST + 30}": ""}),
        ("30/none", "x", {f"f{FIRST + 30}": "x"}),
        ("30/1", "a:id skipped x", {f"f{FIRST + 30}": "a:id skipped x"}),
        ("30/1", f"a:id skipped {FIRST + 40}", {f"f{FIRST + 30}": f"a:id skipped {FIRST + 40}"}),
        ("90/1", "x skipped 1 2", {}),
    ],
)
def test_what_no_host_has_written(key: str, value: str, told: dict[str, str]) -> None:
    """Whatever is in the way is told of; nothing is this host's that it did not ask for."""
    hosts = Hosts()
    second, number = key.split("/")
    hosts.etcd.put(f"/jq/runs/tick/{FIRST + int(second)}/{number}", value)
    hosts.etcd.put("/jq/skipped/tick", "x")
    outcome = hosts.skip("a", 0, 60)
    assert (OccurrencesTaken(told) if told else Newer(hosts.etcd.revision)) == outcome


@pytest.mark.parametrize("value", ["", "garbage", "x 1", "9" * 5000])
def test_a_newest_that_no_host_has_written(value: str) -> None:
    """Whatever it is counts as one that is not known yet; then it is."""
    hosts = Hosts()
    hosts.etcd.put("/jq/skipped/tick", value)
    assert Newer(hosts.etcd.revision) == hosts.skip("a", 0, 60) == hosts.run("a", 90)
    hosts.hear("a")
    assert Mine(FIRST, FIRST + 60) == hosts.skip("a", 0, 60)


def test_a_newest_that_is_forgotten() -> None:
    """A host that knows of one that is not there any more hears that there is none."""
    hosts = Hosts()
    hosts.skip("a", 0, 60)
    hosts.hear("b")
    for key in ("/jq/skipped/tick", f"/jq/runs/tick/{FIRST + 60}/1"):
        hosts.etcd.put(key, None)
    assert Newer(0) == hosts.run("b", 60) == hosts.skip("b", 0, 60)


def test_a_run_that_is_to_be_skipped() -> None:
    """A host that was left an occurrence to skip, and asks for it, hears that."""
    hosts = Hosts()
    hosts.skip("a", 0, 60)
    assert ClaimTaken(f"a:id skipped {FIRST}") == hosts.run("a", 60) == hosts.run("a", 30)


def test_a_skip_before_an_own_one() -> None:
    """The scheduler died before it recorded the second skip. It records the occurrences before it first."""
    hosts = Hosts()
    assert Mine(FIRST + 60, FIRST + 120) == hosts.skip("a", 60, 120)
    hosts.hear("a")
    shorter = hosts.skip("a", 0, 120)
    assert SkipRequest("tick", FIRST, FIRST + 59, 60, "", hosts.newest("a")) == shorter
    assert Mine(FIRST, FIRST + 59) == hosts.skip("a", 0, 59)
    assert Mine(FIRST + 60, FIRST + 120) == hosts.skip("a", 60, 180)


def test_what_was_told() -> None:
    """What covers something that is asked about is told again; what does not is no matter."""
    known = KnownSkips({})
    known.note("tick", 60, "b:id skipped 20")
    known.note("tick", 80, "b:id succeeded")
    assert ["taken", "tick", "f30", "skipped 20"] == known.line_about("tick", 30, 30)
    assert ["taken", "tick", "f60", "skipped 20"] == known.line_about("tick", 0, 90)
    assert (None, None, None) == (
        known.line_about("tick", 70, 90),
        known.line_about("tick", 0, 10),
        known.line_about("other", 30, 30),
    )
    known.note_newest("tick", 7)
    assert (7, 0) == (known.newest("tick", 30), known.newest("other", 30))


def test_a_question_that_crosses_a_skip() -> None:
    """What the scheduler asks before it has heard of a skip that covers it is not asked; what is beside it is."""
    conversation = Conversation(0)
    generation = conversation.begin(Session("a:id", "a", 1))
    conversation.read(generation, 5, {})
    conversation.complete(generation)
    put = {f"/jq/runs/tick/{FIRST + 60}/1": f"b:id skipped {FIRST + 30}", "/jq/skipped/tick": "b:id"}
    events = [
        {"kv": {"key": coded(key), "value": coded(value), "create_revision": "7", "mod_revision": "7"}}
        for key, value in put.items()
    ]
    conversation.watched(events, 7, 0)
    line = ["taken", "tick", f"f{FIRST + 60}", f"skipped {FIRST + 30}"]
    assert [["up", ""], line] == conversation.outbox
    conversation.outbox.clear()
    conversation.ask(0, "tick", 1, 1, f"f{FIRST + 45}", [], 60, "")
    conversation.skip(SkipRequest("tick", FIRST, FIRST + 40, 60, ""))
    told = [["taken", "tick", f"f{FIRST + 45}", line[3]], ["taken", "tick", f"f{FIRST + 40}", line[3]]]
    assert (told, False) == (conversation.outbox, conversation.wants)
    conversation.ask(0, "tick", 1, 2, f"f{FIRST + 90}", [], 60, "")
    batch = conversation.next_batch(LEASES | {"session": 3}, 60)
    assert batch is not None
    compare = batch.message["success"][0]["request_txn"]["compare"]
    assert {"key": coded("/jq/skipped/tick"), "target": "MOD", "mod_revision": "7"} in compare


@pytest.mark.parametrize("second", [0, 20, 60, 61, -1])
def test_a_return_that_is_told_after_the_skip(second: int) -> None:
    """What this host has skipped stays over, though the watch tells only afterwards that it had been given back."""
    etcd = FakeEtcd()
    session = Session("a:id", "a", etcd.put("/jq/hosts/a", "a:id"))
    conversation = Conversation(0)
    conversation.read(conversation.begin(session), etcd.revision, {})
    conversation.complete(1)
    returned = f"/jq/returned/tick/f{FIRST + second}"
    revision = etcd.put(returned, "b:id")
    conversation.skip(SkipRequest("tick", FIRST, FIRST + 60, 60, ""))
    batch = conversation.next_batch(LEASES | {"session": 3}, 60)
    assert batch is not None
    conversation.outbox.clear()
    conversation.answered(batch, etcd.txn(batch.message))
    assert [["skipped", "tick", FIRST, FIRST + 60]] == conversation.outbox
    conversation.outbox.clear()
    put = {"key": coded(returned), "value": coded("b:id"), "create_revision": str(revision)}
    conversation.watched([{"kv": {**put, "mod_revision": str(revision)}}], revision, 0)
    is_over = 0 <= second <= 60
    assert ([] if is_over else [["returned", f"tick/f{FIRST + second}", "b:id"]]) == conversation.outbox


def opened(etcd: FakeEtcd, since: dict[str, int]) -> Conversation:
    """A conversation of host a after its snapshot, which has the occurrences from these seconds on."""
    session = Session("a:id", "a", etcd.put("/jq/hosts/a", "a:id"), written=etcd.put("/jq/writes/a", "0 0"))
    conversation = Conversation(0)
    found = {
        key: claims.kept(kv)
        for key, kv in etcd.kvs.items()
        if any(begin <= key < end for begin, end in claims.ranges(since))
    }
    conversation.read(conversation.begin(session, since=since), etcd.revision, found)
    conversation.complete(1)
    conversation.outbox.clear()
    return conversation


def sent(conversation: Conversation, etcd: FakeEtcd) -> Any:
    """Send all that is asked; what the scheduler is told."""
    while (batch := conversation.next_batch(LEASES | {"session": 3}, 60)) is not None:
        conversation.answered(batch, etcd.txn(batch.message))
    return conversation.outbox


@pytest.mark.parametrize("since", [{}, {"tick": FIRST + 70}, {"tick": FIRST}])
def test_a_job_that_comes_back(since: dict[str, int]) -> None:
    """A job with an old clock, whose occurrences the snapshot lacks, runs nothing that was skipped for all; what lies
    outside may run.
    """
    etcd = FakeEtcd()
    etcd.put(f"/jq/runs/tick/{FIRST + 60}/1", f"b:id skipped {FIRST}")
    etcd.put("/jq/skipped/tick", "b:id")
    conversation = opened(etcd, since)
    conversation.ask(0, "tick", 1, 1, f"f{FIRST + 30}", [], 60, "")
    told = sent(conversation, etcd)
    assert ["taken", "tick", "skipped"] == [told[0][0], told[0][1], told[0][3].split()[0]]
    told.clear()
    conversation.ask(0, "tick", 2, 2, f"f{FIRST + 61}", [], 60, "")
    assert ["granted"] == [line[0] for line in sent(conversation, etcd)]


def test_a_skip_that_was_forgotten() -> None:
    """A wide skip, and more skips after it than are remembered: it still holds."""
    etcd = FakeEtcd()
    conversation = opened(etcd, {})
    for number in range(skips._MOST_KNOWN + 1):
        last = FIRST + 60 + number
        put = {f"/jq/runs/tick/{last}/1": f"b:id skipped {last if number else FIRST}", "/jq/skipped/tick": "b:id"}
        for key, value in put.items():
            etcd.put(key, value)
        conversation.watched([{"kv": etcd.kvs[key]} for key in put], etcd.revision, 0)
    conversation.outbox.clear()
    conversation.ask(0, "tick", 1, 1, f"f{FIRST + 30}", [], 60, "")
    assert [["taken", "tick", f"f{FIRST + 30}", f"skipped {FIRST}"]] == sent(conversation, etcd)


@pytest.mark.parametrize("meanwhile", [{"/jq/paused/tick": '["root"]'}, {"/jq/jobs/tick": "other 0 60 60"}])
def test_a_grant_whose_answer_was_lost_before_a_pause(meanwhile: dict[str, str]) -> None:
    """The repeated request is denied, and its host is told what it has in etcd, so that it gives it back."""
    etcd = FakeEtcd()
    etcd.put("/jq/jobs/tick", "spec 0 60 60")
    conversation = opened(etcd, {})
    conversation.ask(0, "tick", 1, 1, f"f{FIRST}", [LockUnits(":fleet/tape", 1, 1)], 60, "spec 0 60 60")
    batch = conversation.next_batch(LEASES | {"session": 3}, 60)
    assert batch is not None
    etcd.txn(batch.message)
    for key, value in meanwhile.items():
        etcd.put(key, value)
    lines = [line for line in sent(conversation, etcd) if line[0] in ("denied", "ours")]
    assert [["denied", "tick", 1, 1], ["ours", "tick", f"f{FIRST}"]] == lines
    conversation.watched([{"kv": etcd.kvs["/jq/locks/:fleet/tape"]}], etcd.revision, 0)
    conversation.give_back(0, "tick", f"f{FIRST}", "returned")
    sent(conversation, etcd)
    assert {} == etcd.values("/jq/runs/") | etcd.values("/jq/locks/")


def test_a_lock_of_an_occurrence_that_another_host_has() -> None:
    """It is released with the return, which changes nothing else."""
    etcd = FakeEtcd()
    run, lock = f"/jq/runs/tick/{FIRST}/1", "/jq/locks/:fleet/tape"
    etcd.put(lock, f"a:id tick f{FIRST}")
    etcd.put(run, f"b:id skipped {FIRST}")
    conversation = opened(etcd, {"tick": FIRST})
    conversation.give_back(0, "tick", f"f{FIRST}", "returned")
    sent(conversation, etcd)
    assert {run: f"b:id skipped {FIRST}"} == etcd.values("/jq/runs/") | etcd.values("/jq/locks/")
    assert {} == etcd.values("/jq/returned/")

"""Late copies of what a host asks etcd for: of each of its transactions one is carried out, and nothing changes by the
others, whatever came between.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import get_args

import pytest

from jobqueued.child.fleet import claims, lines, writes
from jobqueued.child.fleet.claims import NOTHING, Session, StoredKey, kept
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.child.fleet.etcd.wire import Message, text
from jobqueued.child.fleet.known_locks import LockUnits
from jobqueued.child.fleet.lines import Line
from jobqueued.child.fleet.requests import (
    AnnounceRequest,
    Overdue,
    PauseRequest,
    PlaceRequest,
    PublishRequest,
    Request,
    RequestBatch,
)
from jobqueued.child.fleet.skips import SkipRequest
from tests.support import REPO
from tests.support.fake_etcd import FakeEtcd, LeaseOver

NEVER, FIRST = 1 << 62, 1_772_409_600
LEASES = {"run": 1, "lock": 2, "session": 3}
JOBS, LOCKS = ("tick", "tape"), ("disk", "tape")


@dataclass
class Host:
    """A host by its name, whose agent asks one etcd at random; `sent`: all transactions that may write something."""

    name: str
    etcd: FakeEtcd
    random: Random
    leases: int
    kinds: Counter[type] = field(default_factory=Counter)
    sent: list[Message] = field(default_factory=list)
    conversation: Conversation = field(default_factory=lambda: Conversation(NEVER))
    session: Session | None = None
    written: int = 0
    """How many of its transactions have written something."""
    delayed: list[tuple[int, Message]] = field(default_factory=list)
    """Those that are on their way, and how many had written something before."""

    def step(self) -> None:
        """Do something."""
        ways = [self._want] * 4 + [self._ask_etcd] * 6 + [self._hear] * 3 + [self._deliver]
        rare = [self._begin, self.conversation.hello, self._lapse]
        self.random.choice(rare if self.random.random() < 0.05 else ways)()

    def _txn(self, message: Message) -> Message:
        """Have a transaction carried out."""
        self.sent.append(message)
        answer = self.etcd.txn(message)
        self.written += bool(answer.get("succeeded"))
        return answer

    def _deliver(self) -> None:
        """Have one carried out that was on its way: it does something only in the place of the next write."""
        if not self.delayed:
            return
        written, message = self.delayed.pop(self.random.randrange(len(self.delayed)))
        if written == self.written and self.session is not None:
            self._txn(message)
        else:
            self.sent.append(message)
            repeat(self.etcd, message)

    def _own(self, kind: int) -> int:
        return self.leases * 10 + kind

    def _begin(self) -> None:
        """Begin with a snapshot, with the session that there is, or with another one."""
        last, store = NOTHING, f"{self.name}:id"
        if self.session is None:
            self.leases += 1
            opened = self._txn(writes.opening(Session(store, self.name, 0), store, self._own(0)))
            self.session = Session(store, self.name, claims.revision(opened), written=claims.revision(opened))
        else:
            last = self._found(self.session.writes)
            answer = self._txn(writes.taking_over(self.session, last, self._own(0)))
            self.session = self.session._replace(written=claims.revision(answer))
        generation = self.conversation.begin(self.session, last)
        self.conversation.read(generation, self.etcd.revision, {key: kept(kv) for key, kv in self.etcd.kvs.items()})
        self.conversation.complete(generation)

    def _found(self, key: str) -> StoredKey:
        return kept(self.etcd.kvs[key]) if key in self.etcd.kvs else NOTHING

    def _lapse(self) -> None:
        """Lose the session."""
        if self.session is not None:
            self.etcd.lapse(self._own(0), *[self._own(1)] * (self.random.random() < 0.5))
            self.session = None
            self.conversation.suspend("it was over")

    def _hear(self) -> None:
        if not self.conversation.reason:
            for revision, changes in self.etcd.since(self.conversation.revision):
                self.conversation.watched(changes, revision, 0)

    def _ask_etcd(self) -> None:
        """Have etcd carry out what is first; some of that is late, and some answers are lost."""
        if self.session is None or self.conversation.reason:
            self._begin()
        own = {"run": 1, "lock": self._own(1), "session": self._own(0)}
        batch = self.conversation.next_batch(own, 3600)
        if batch is None:
            return
        self._note(batch)
        if self.random.random() < 0.1:
            self.delayed.append((self.written, batch.message))
            return
        answer = self._txn(batch.message)
        if self.random.random() < 0.7:
            self.conversation.answered(batch, answer)

    def _note(self, batch: RequestBatch) -> None:
        queue = [*self.conversation._requests._requests]
        self.kinds.update(type(each) for each in queue[: len(batch.parts)])

    def _want(self) -> None:
        """Have its scheduler want something."""
        chance, talk = self.random, self.conversation
        job, lock, second = chance.choice(JOBS), chance.choice(LOCKS), FIRST + 60 * chance.randrange(5)
        key = chance.choice([f"f{second}", f"f{second}.2", "x1"])
        parts = [LockUnits(lock, 1, 1)] * chance.randrange(2)
        match chance.randrange(5):
            case 0:
                talk.ask(0, job, 1, chance.choice([0, 1]), key, parts, 3600, chance.choice(["", "spec 1"]))
            case 1:
                talk.skip(SkipRequest(job, second, second + 60 * chance.randrange(3), 3600, ""))
            case 2:
                talk.give_back(0, job, key, chance.choice(["", "succeeded"]))
            case _:
                talk.want(chance.choice([*self._announcements(job, lock)]))

    def _announcements(
        self, job: str, lock: str
    ) -> Iterator[PublishRequest | PauseRequest | Overdue | PlaceRequest | AnnounceRequest]:
        defined, told, paused = (self._found(f"/jq/{kind}/{job}") for kind in ("jobs", "overdue", "paused"))
        yield PublishRequest(job, f"spec {self.random.randrange(3)}", defined.modified)
        yield PauseRequest(job, self.random.choice(["", "paused"]), "")
        yield PauseRequest(job, "", paused.value or "paused")
        yield Overdue(job, self.random.choice(["", "late"]), told.modified)
        yield PlaceRequest(lock, self.random.random() < 0.5)
        yield AnnounceRequest(("gpu",), self.random.random() < 0.5)


def repeat(etcd: FakeEtcd, message: Message) -> None:
    """Have a copy carried out."""
    before = etcd.revision, {**etcd.kvs}
    with suppress(LeaseOver):
        etcd.txn(message)
    assert before == (etcd.revision, etcd.kvs), f"a copy has changed {etcd.changes[-1]}: {message}"


def test_a_late_copy_changes_nothing() -> None:
    """Each transaction of three hosts is carried out again at random, and all of them in the end: nothing changes."""
    kinds = Counter[type]()
    for seed in range(30):
        random, etcd = Random(seed), FakeEtcd()
        hosts = [Host(name, etcd, random, 100 * number, kinds) for number, name in enumerate("abc", 1)]
        for _ in range(150):
            random.choice(hosts).step()
            sent = [message for host in hosts for message in host.sent]
            if sent and random.random() < 0.5:
                repeat(etcd, random.choice(sent))
        late = [message for host in hosts for _, message in host.delayed]
        for message in (*random.sample(sent, len(sent)), *late, *late):
            if message in sent:
                repeat(etcd, message)
    assert {*get_args(Request)} == kinds.keys(), "a kind of request was not tried"
    assert min(kinds.values()) > 20, kinds


def test_each_goes_by_a_revision() -> None:
    """Each transaction goes by the host's session and its last write, and each part of it by what it is about."""
    host = Host("a", FakeEtcd(), Random(1), 1)
    for _ in range(400):
        host.step()
    assert len(host.sent) > 100
    for message in host.sent:
        compared = [(text(each["key"]), each["target"]) for each in message["compare"]]
        assert [("/jq/hosts/a", "CREATE"), ("/jq/writes/a", "MOD")][: len(compared)] == compared
        assert len(compared) == 2 or message["compare"][0]["create_revision"] == "0", "it does not open the session"
        written = [text(each["request_put"]["key"]) for each in message["success"] if "request_put" in each]
        assert written[-1] == "/jq/writes/a"
        parts = [each["request_txn"] for each in message["success"] if "request_txn" in each]
        assert all(part["compare"] for part in parts)


class Pausing:
    """A host of which somebody wants pauses, beside an etcd."""

    def __init__(self) -> None:
        self.etcd, self.talk = FakeEtcd(), Conversation(NEVER)
        self.session = Session("a:id", "a", 0)
        self.begin(NOTHING, writes.opening(self.session, "a:id", 3))

    def begin(self, last: StoredKey, message: Message) -> None:
        """Begin with a snapshot."""
        revision = claims.revision(self.etcd.txn(message))
        self.session = self.session._replace(created=self.session.created or revision, written=revision)
        generation = self.talk.begin(self.session, last)
        self.talk.read(generation, revision, {key: kept(kv) for key, kv in self.etcd.kvs.items()})
        self.talk.complete(generation)
        self.lines()

    def lines(self) -> list[Line]:
        """What its scheduler is told."""
        found, self.talk.outbox = self.talk.outbox, []
        return found

    def lost(self) -> None:
        """Have something carried out whose answer is lost."""
        batch = self.talk.next_batch(LEASES, 3600)
        assert batch is not None
        self.etcd.txn(batch.message)

    def carry_out(self) -> None:
        """Have all carried out that there is."""
        while (batch := self.talk.next_batch(LEASES, 3600)) is not None:
            self.talk.answered(batch, self.etcd.txn(batch.message))

    @property
    def paused(self) -> dict[str, str]:
        """The pauses that there are."""
        return self.etcd.values("/jq/paused/")


@pytest.mark.parametrize(("before", "wanted", "after"), [(None, "by a", None), ("by b", "", "by b again")])
def test_a_pause_is_made_once(before: str | None, wanted: str, after: str | None) -> None:
    """One that was made, and whose answer was lost, is not made again once another host has undone it."""
    pausing = Pausing()
    pausing.etcd.put("/jq/paused/tick", before)
    pausing.talk.want(PauseRequest("tick", wanted, ""))
    pausing.lost()
    assert ({} if before else {"/jq/paused/tick": wanted}) == pausing.paused
    pausing.etcd.put("/jq/paused/tick", after)
    assert [] == pausing.lines(), "it is told before it is known"
    pausing.carry_out()
    assert ({"/jq/paused/tick": after} if after else {}) == pausing.paused
    assert [["made", "tick", wanted]] == pausing.lines()


def test_what_was_made_as_an_agent_begins_anew() -> None:
    """It is told before the scheduler may ask again, and what was not made is not told."""
    pausing = Pausing()
    pausing.talk.want(PauseRequest("tick", "by a", ""))
    pausing.lost()
    pausing.talk.want(PauseRequest("tape", "by a", ""))
    generation = pausing.talk.begin(pausing.session, kept(pausing.etcd.kvs["/jq/writes/a"]))
    assert [["made", "tick", "by a"]] == pausing.lines()
    pausing.talk.complete(generation)
    assert pausing.talk.next_batch(LEASES, 3600) is None, "who wants it asks again"


def test_an_earlier_agent() -> None:
    """What an agent has sent that is gone is not carried out once the next has begun."""
    pausing = Pausing()
    pausing.talk.want(PauseRequest("tick", "by a", ""))
    batch = pausing.talk.next_batch(LEASES, 3600)
    assert batch is not None
    last = kept(pausing.etcd.kvs["/jq/writes/a"])
    pausing.begin(last, writes.taking_over(pausing.session, last, 3))
    repeat(pausing.etcd, batch.message)
    pausing.talk.want(PauseRequest("tape", "by a", ""))
    pausing.carry_out()
    assert {"/jq/paused/tape": "by a"} == pausing.paused


# docs/fleet.md

CALLS = {
    ("session", "open_session", "kv/txn"),
    ("session", "check", "kv/txn"),
    ("session", "_granted", "lease/grant"),
    ("session", "_keep_alive", "lease/keepalive"),
    ("session", "revoke", "lease/revoke"),
    ("uplink", "_ask", "kv/txn"),
}
READS = {
    ("session", "marked", "kv/range"),
    ("session", "look_around", "kv/txn"),
    ("session", "jobs_of", "kv/txn"),
    ("session", "snapshot", "kv/txn"),
    ("session", "occurrences", "kv/range"),
    ("uplink", "_check_clock", "kv/range"),
    ("uplink", "_follow", "watch"),
}
BESIDE = {"session", "mark", "lease/grant", "lease/keepalive", "lease/revoke"}
NO_CALL = {"hello", "since", "accept"}
"""What a scheduler says of which etcd hears nothing."""


def calls() -> set[tuple[str, str, str]]:
    """All calls of etcd in the program, by module, function and path."""
    found = set[tuple[str, str, str]]()
    for path in (REPO / "jobqueued").rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text())):
            for node in ast.walk(function) if isinstance(function, ast.FunctionDef) else ():
                match node:
                    case ast.Call(func=ast.Attribute(attr="call" | "stream"), args=[ast.Constant(str(where)), *_]):
                        found.add((path.stem, function.name, where))
    return {call for call in found if call[2].partition("/")[0] in ("kv", "lease", "watch", "maintenance", "auth")}


def test_all_writes_are_known() -> None:
    """The table in docs/dev/late-copies.md lists each write: each line of a scheduler, and each call of etcd beside."""
    assert CALLS | READS == calls()
    orders = [line.partition("→ ")[2] for line in str(lines.__doc__).splitlines() if "→ " in line]
    said = {word for order in orders for word in re.findall(r"(?:^|\| )([a-z_]+)", order)}
    table = (REPO / "docs/dev/late-copies.md").read_text().partition("\n## Keys")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted((said - NO_CALL) | BESIDE) == sorted(name for row in rows for name in re.findall("`(.+?)`", row))

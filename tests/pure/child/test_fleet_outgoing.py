"""Requests on their way to etcd: what was taken back is not asked again."""

from __future__ import annotations

import pytest

from jobqueued.child.fleet.claims import Session, StoredKey
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.child.fleet.etcd.wire import text
from jobqueued.child.fleet.known_locks import LockUnits
from tests.support.fake_etcd import FakeEtcd

LEASES = {"run": 1, "lock": 2, "session": 3}
KEY = "f1772409660"


def begun() -> Conversation:
    """A conversation that may ask."""
    conversation = Conversation(0)
    generation = conversation.begin(Session("a:id", "a", 1))
    conversation.read(generation, 5, {})
    conversation.complete(generation)
    return conversation


def puts(conversation: Conversation) -> list[tuple[str, str]]:
    """What the next batch would write."""
    batch = conversation.next_batch(LEASES, 3600)
    parts = [] if batch is None else batch.message["success"]
    inner = [put for part in parts for put in part.get("request_txn", {}).get("success", ())]
    found = [put["request_put"] for put in inner if "request_put" in put]
    return [(text(put["key"]).rpartition("runs/")[2], text(put["value"])) for put in found]


def ask(conversation: Conversation, question: int, key: str = KEY, *locks: str) -> None:
    """Ask for an occurrence, and locks."""
    conversation.ask(0, "tick", 1, question, key, [LockUnits(lock, 1, 1) for lock in locks], 3600, "")


def test_what_was_taken_back_before_its_answer() -> None:
    """A question without an answer is not asked again once it was taken back: nobody else would get the occurrence."""
    conversation = begun()
    ask(conversation, 1)
    assert [(f"tick/{KEY[1:]}/1", "a:id")] == puts(conversation)
    conversation.give_back(0, "tick", KEY, "skipped")
    assert [(f"tick/{KEY[1:]}/1", "a:id skipped")] == puts(conversation), "if it was carried out"


@pytest.mark.parametrize("state", ["skipped", ""])
@pytest.mark.parametrize("heard", ["before", "meanwhile", "after"])
def test_a_lock_of_what_was_taken_back(state: str, heard: str) -> None:
    """It is given back, whenever it is heard of that it was granted, as no answer has told of it; once, and no more."""
    conversation, etcd = begun(), FakeEtcd()
    etcd.put("/jq/hosts/a", "a:id")
    etcd.revision = 5
    etcd.kvs["/jq/hosts/a"]["create_revision"] = "1"

    def hear() -> None:
        for revision, changes in etcd.since(conversation.revision):
            conversation.watched(changes, revision, 0)

    def carry_out(*, hears: bool = False) -> int:
        batch = conversation.next_batch(LEASES, 3600)
        if batch is None:
            return 0
        answer = etcd.apply(etcd.decided(batch.message))
        if hears:
            hear()
        conversation.answered(batch, answer)
        return 1

    ask(conversation, 1, KEY, "tape")
    batch = conversation.next_batch(LEASES, 3600)
    assert batch is not None
    etcd.apply(etcd.decided(batch.message))  # and the answer is lost
    assert {"/jq/locks/tape": f"a:id tick {KEY}"} == etcd.values("/jq/locks/")
    if heard == "before":
        hear()
    conversation.give_back(0, "tick", KEY, state)
    assert 1 == carry_out(), "it is told that a write was carried out before this one"
    assert 1 == carry_out(hears=heard == "meanwhile")
    hear()
    if heard == "after":
        assert ["ours", "tick", KEY] in conversation.outbox
        conversation.give_back(0, "tick", KEY, "over")
    assert sum(carry_out() for _ in range(5)) <= 2
    hear()
    assert {} == etcd.values("/jq/locks/")
    assert 0 == carry_out()


def test_what_is_asked_anew() -> None:
    """What comes after that is asked, and so is what is about something else."""
    conversation = begun()
    ask(conversation, 1)
    ask(conversation, 2, "f1772409720")
    conversation.give_back(0, "tick", KEY, "")
    ask(conversation, 3)
    batch = conversation.next_batch(LEASES, 3600)
    assert batch is not None
    assert [1, 0] == [count for count, _ in batch.parts], (
        "there is nothing to give back; the next question is about the same, and waits"
    )
    granted = [{"response_txn": {"succeeded": True}}]
    conversation.answered(batch, {"succeeded": True, "header": {"revision": "6"}, "responses": granted})
    assert ["tick/1772409660/1"] == [key for key, _ in puts(conversation)]


def test_a_released_unit_before_the_watch_tells_of_it() -> None:
    """It is asked for at once: a unit that another host has would be denied again and again until the watch tells."""
    conversation, etcd = Conversation(0), FakeEtcd()
    etcd.put("/jq/hosts/a", "a:id")
    etcd.put("/jq/locks/licence", "b:id user c9")
    era = conversation.begin(Session("a:id", "a", 1))
    conversation.read(era, etcd.revision, {"/jq/locks/licence": StoredKey("b:id user c9", 2, 2)})
    conversation.complete(era)

    def told() -> list[str]:
        conversation.outbox.clear()
        batch = conversation.next_batch(LEASES, 3600)
        assert batch is not None
        conversation.answered(batch, etcd.txn(batch.message))
        return [line[0] for line in conversation.outbox]

    def ask_unit(question: int, key: str) -> None:
        conversation.ask(0, "tick", 1, question, key, [LockUnits("licence", 1, 3)], 3600, "")

    for question, key in enumerate(("c1", "c2"), 1):
        ask_unit(question, key)
        assert ["granted"] == told()
    conversation.give_back(0, "tick", "c1", "succeeded")
    assert [] == told()
    ask_unit(3, "c3")
    assert ["granted"] == told()
    conversation.give_back(0, "tick", "c3", "succeeded")
    assert [] == told()
    for revision, changes in etcd.since(conversation.revision):
        conversation.watched(changes, revision, 0)
    assert [] == conversation.outbox, "what the watch tells of c1 and c3 is over"
    assert ["b:id user c9", "a:id tick c2"] == [*etcd.values("/jq/locks/").values()]

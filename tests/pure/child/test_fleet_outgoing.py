"""Requests on their way to etcd: what was taken back is not asked again."""

from __future__ import annotations

from jobqueued.child.fleet.claims import Session
from jobqueued.child.fleet.conversation import Conversation
from jobqueued.child.fleet.wire import text

LEASES = {"run": 1, "lock": 2, "session": 3}
KEY = "f1772409660"


def begun() -> Conversation:
    """A conversation that may ask."""
    conversation = Conversation(0)
    era = conversation.begin(Session("a:id", "a", 1))
    conversation.read(era, 5, {})
    conversation.complete(era)
    return conversation


def puts(conversation: Conversation) -> list[tuple[str, str]]:
    """What the next batch would write."""
    batch = conversation.next_batch(LEASES, 3600)
    parts = [] if batch is None else batch.message["success"]
    found = [put["request_put"] for part in parts for put in part["request_txn"]["success"] if "request_put" in put]
    return [(text(put["key"]).rpartition("runs/")[2], text(put["value"])) for put in found]


def ask(conversation: Conversation, question: int, key: str = KEY) -> None:
    """Ask for an occurrence."""
    conversation.ask(0, "tick", 1, question, key, [], 3600, "")


def test_what_was_taken_back_before_its_answer() -> None:
    """A question without an answer is not asked again once it was taken back: nobody else would get the occurrence."""
    conversation = begun()
    ask(conversation, 1)
    assert [(f"tick/{KEY[1:]}/1", "a:id")] == puts(conversation)
    conversation.give_back(0, "tick", KEY, "skipped")
    assert [(f"tick/{KEY[1:]}/1", "a:id skipped")] == puts(conversation), "if it was carried out"


def test_what_is_asked_anew() -> None:
    """What comes after that is asked, and so is what is about something else."""
    conversation = begun()
    ask(conversation, 1)
    ask(conversation, 2, "f1772409720")
    conversation.give_back(0, "tick", KEY, "")
    ask(conversation, 3)
    batch = conversation.next_batch(LEASES, 3600)
    assert batch is not None
    assert [1, 0] == batch.sizes, "there is nothing to give back; the next question is about the same, and waits"
    conversation.answered(batch, {"header": {"revision": "6"}, "responses": [{"response_txn": {"succeeded": True}}]})
    assert ["tick/1772409660/1"] == [key for key, _ in puts(conversation)]

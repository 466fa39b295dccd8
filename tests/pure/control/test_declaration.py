"""Declarations of methods: they name what the interface has, and are found by class."""

from __future__ import annotations

from typing import Any

import pytest

from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.declaration import declared_in, method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.peers import Peer
from tests.support.askers import asker, bound


class Calls:
    """Two methods."""

    def __init__(self, answer: str) -> None:
        self._answer = answer

    @method("Release", AccessRule(Rank.OPERATOR))
    def release(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        return {**asked, "by": asker.peer.uid, "answer": self._answer}

    @method("Wait", AccessRule(Rank.READER, names="run"), waits=True)
    def wait(self, asked: dict[str, Any], asker: Asker) -> None:
        asker.ticket()


@pytest.mark.parametrize(("name", "names"), [("Nonsense", ""), ("Pause", "run"), ("Emit", "event job")])
def test_the_interface_decides(name: str, names: str) -> None:
    """A method that the interface lacks can't be declared, nor a rule about a parameter that the method lacks."""
    with pytest.raises(ValueError, match=name):
        method(name, AccessRule(Rank.ROOT, names=names))


def test_what_a_class_declares() -> None:
    """Name, rule and limits of each function."""
    declared = declared_in(Calls)
    assert {"Release": (Rank.OPERATOR, False), "Wait": (Rank.READER, True)} == {
        name: (each.rule.rank, each.waits) for name, each in declared.items()
    }


def test_each_object_answers_by_itself() -> None:
    """Two objects of a class have their own answers, to each caller."""
    for text, uid in (("a", 1), ("b", 2)):
        methods = bound(Calls(text), asker(Peer(uid, frozenset()), lambda: 7))
        assert {"x": 1, "by": uid, "answer": text} == methods["Release"]({"x": 1})

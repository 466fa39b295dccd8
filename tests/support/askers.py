"""Callers of the control socket."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from jobqueued.control.protocol.access import Rank
from jobqueued.control.protocol.declaration import Handler, declared_in
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.peers import Peer
from jobqueued.control.protocol.varlink import Method
from jobqueued.model.job import Now


def asker(
    peer: Peer, ticket: Callable[[], int], rank: Rank = Rank.STRANGER, clocks: Callable[[], Now] = lambda: Now(0, 0)
) -> Asker:
    """A caller of this rank; nothing asks whose a job is."""
    return Asker(peer, ticket, rank, cast(Any, None), clocks)


def bound(calls: object, asker: Asker) -> dict[str, Method]:
    """The methods of an object for one caller, without their rules."""
    return {name: partial(_answer, each.__get__(calls), asker) for name, each in declared_in(type(calls)).items()}


def _answer(handler: Handler, asker: Asker, parameters: dict[str, Any]) -> dict[str, Any] | None:
    return handler(parameters, asker)

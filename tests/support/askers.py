"""Callers of the control socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from jobqueued.control.protocol.access import Rank
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.peers import Peer
from jobqueued.model.job import Now


def asker(
    peer: Peer, ticket: Callable[[], int], rank: Rank = Rank.STRANGER, clocks: Callable[[], Now] = lambda: Now(0, 0)
) -> Asker:
    """A caller of this rank; nothing asks whose a job is."""
    return Asker(peer, ticket, rank, cast(Any, None), clocks)

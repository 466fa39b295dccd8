"""Users' commands that hold claims or wait for claims, and the substitute name for a run that a user may not see."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.queue.locks import Claims
from jobqueued.queue.placement import Placed

ANOTHERS_RUN = "a run of another user"
"""Name of a run for a user who may not see its ID."""


PARKED = -1
"""Value of `question` for a client that waits until the fleet is reachable."""


class LockClient(NamedTuple):
    """A user's command that waits for claims or, if `ticket` is 0, holds them; `since`: when the command began to wait
    or hold (wall; 0 if unknown).

    `question`: the number of its question to the fleet, PARKED, or 0 for none. `at_once`: whether the command must be
    refused if it would have to wait.
    """

    claims: Claims
    asked_by: str
    ticket: int
    placed: Placed
    since: int
    at_once: bool = False
    question: int = 0

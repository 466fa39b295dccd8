"""Users' commands that hold claims or wait for some, and the name of a run for users who may not see it."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.queue.locks import Claims
from jobqueued.queue.placement import Placed

ANOTHERS_RUN = "a run of another user"
"""Name of a run for a user who may not see which it is."""


PARKED = -1
"""`question` of a client that waits until the fleet can be asked."""


class LockClient(NamedTuple):
    """A user's command that wants claims or, with `ticket` 0, holds them; `since` an instant (wall; 0 if unknown).

    `question`: the number of its question to the fleet, PARKED, or 0 for none.  `at_once`: it does not wait.
    """

    claims: Claims
    asked_by: str
    ticket: int
    placed: Placed
    since: int
    at_once: bool = False
    question: int = 0

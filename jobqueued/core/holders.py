"""Those who hold claims, or wait for some, and are no runs of this host; and how others are told of a run."""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple
from jobqueued.queue.locks import Claims
from jobqueued.queue.placement import Placed

ANOTHERS_RUN = "a run of another user"
"""The name of a run for whoever may not know which it is."""


PARKED = -1
"""In the place of the number of a question: whoever waits for the fleet to be there."""


class LockClient(NamedTuple):
    """A command of a person that wants claims, or (`ticket` 0) has them, `since` an instant (0: it was not kept).

    `question`: the number of what the fleet is asked for it, PARKED, or 0: nothing.  `at_once`: it does not wait.
    """

    claims: Claims
    asked_by: str
    ticket: int
    placed: Placed
    since: int
    at_once: bool = False
    question: int = 0

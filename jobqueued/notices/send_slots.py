"""Places: the messages that may be sent at a time. One place is for all users, who take turns."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jobqueued.model.notify import Target
from jobqueued.model.users import Owner

_MANY = 1000
"""Maximum users whose last turn is saved."""


class SendSlots:
    """Limits users' receivers to one place, because each may take a process's time limit; the others are the host's."""

    def __init__(self) -> None:
        self._turns: dict[Owner, int] = {}
        """User → number of the last turn, oldest first."""
        self._last = 0

    def left(self, targets: Iterable[Target], busy: Collection[Target]) -> list[Target]:
        """Return the targets for which a place is free while others are `busy`."""
        is_taken = any(target.owner is not None for target in busy)
        return [target for target in targets if target.owner is None or not is_taken]

    def rank(self, target: Target) -> int:
        """Return the rank of a due target: the host's and new users' first, then the user with the oldest last turn."""
        return 0 if target.owner is None else self._turns.get(target.owner, 0)

    def give(self, target: Target) -> None:
        """Note that a message to a target is sent now."""
        if target.owner is None:
            return
        self._last += 1
        self._turns.pop(target.owner, None)
        self._turns[target.owner] = self._last
        if len(self._turns) > _MANY:
            del self._turns[next(iter(self._turns))]

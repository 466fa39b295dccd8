"""Places: of those that may be on their way at a time, one is for all users, who take turns."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jobqueued.notify import Target
from jobqueued.users import Owner

_MANY = 1000
"""Users whose last turn is noted."""


class Places:
    """A receiver of a user's may take as long as a process may: the others are the host's."""

    def __init__(self) -> None:
        self._turns: dict[Owner, int] = {}
        """User → number of the last turn, oldest first."""
        self._last = 0

    def left(self, targets: Iterable[Target], busy: Collection[Target]) -> list[Target]:
        """Those of the targets for which a place is left while others are `busy`."""
        is_taken = any(target.owner is not None for target in busy)
        return [target for target in targets if target.owner is None or not is_taken]

    def rank(self, target: Target) -> int:
        """The order among those that are due: the host's and new users' first, then who had no turn for longest."""
        return 0 if target.owner is None else self._turns.get(target.owner, 0)

    def give(self, target: Target) -> None:
        """Note that a message to a target goes now."""
        if target.owner is None:
            return
        self._last += 1
        self._turns.pop(target.owner, None)
        self._turns[target.owner] = self._last
        if len(self._turns) > _MANY:
            del self._turns[next(iter(self._turns))]

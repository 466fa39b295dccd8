"""Slots: limits for messages that are sent at the same time.

All users together have one slot, and take turns using it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from jobqueued.model.notify import Target
from jobqueued.model.users import Owner

_MANY = 1000
"""Maximum number of users whose last turns are remembered."""


class SendSlots:
    """The limit of one slot for all users' receivers, because each receiver may block a slot until a process times out.

    The other slots are for the host's receivers.
    """

    def __init__(self) -> None:
        self._turns: dict[Owner, int] = {}
        """User → number of the user's last turn, oldest first."""
        self._last = 0

    def left(self, targets: Iterable[Target], busy: Collection[Target]) -> list[Target]:
        """Return the targets for which a slot is free while others are `busy`."""
        is_taken = any(target.owner is not None for target in busy)
        return [target for target in targets if target.owner is None or not is_taken]

    def rank(self, target: Target) -> int:
        """Return a due target's rank; the lowest rank goes first.

        The host's targets, and targets of users without a turn, go first. The targets of the user whose last turn was
        longest ago follow.
        """
        return 0 if target.owner is None else self._turns.get(target.owner, 0)

    def give(self, target: Target) -> None:
        """Record that a message is being sent to a target."""
        if target.owner is None:
            return
        self._last += 1
        self._turns.pop(target.owner, None)
        self._turns[target.owner] = self._last
        if len(self._turns) > _MANY:
            del self._turns[next(iter(self._turns))]

"""The budget of calls that change something: a maximum for each user in a minute."""

from __future__ import annotations

from jobqueued.base.instants import MINUTE

_MANY = 1000
"""Number of users above which those whose minute is over are forgotten."""


class CallRate:
    """The calls of each uid in the minute that began with its first call."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._spent: dict[int, tuple[int, int]] = {}

    def take(self, uid: int, mono: int, cost: int = 1) -> int:
        """Spend `cost` calls and return 0. If the budget is too small, spend nothing and return the time (ns) to wait.

        A cost above the maximum counts as the maximum.
        """
        begin, count = self._spent.get(uid, (mono, 0))
        if mono - begin >= MINUTE:
            begin, count = mono, 0
        if (total := count + min(cost, self._most)) > self._most:
            return begin + MINUTE - mono
        if len(self._spent) >= _MANY:
            self._spent = {other: spent for other, spent in self._spent.items() if mono - spent[0] < MINUTE}
        self._spent[uid] = begin, total
        return 0

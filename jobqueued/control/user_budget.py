"""The budget of calls that change something: so many of a user in a minute, whoever that is."""

from __future__ import annotations

from jobqueued.model import MINUTE

_MANY = 1000
"""Users, beyond whom those whose minute is over are forgotten."""


class UserBudget:
    """Calls of each uid in the minute that began with its first call."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._spent: dict[int, tuple[int, int]] = {}

    def take(self, uid: int, mono: int, cost: int = 1) -> int:
        """Take a call, which counts so often; 0, or for how long (ns) there is too little left.

        One that costs more than there ever is takes all of it.
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

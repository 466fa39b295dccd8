"""The maximum number of changing calls that each user may make in a minute."""

from __future__ import annotations

from jobqueued.base.instants import MINUTE

_MANY = 1000
"""Number of users above which expired counts are removed."""


class CallRate:
    """Each UID's calls in the minute that began with the UID's first call."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._spent: dict[int, tuple[int, int]] = {}

    def take(self, uid: int, mono: int, cost: int = 1) -> int:
        """Spend `cost` calls and return 0. If too few calls are left, spend no call and return the time (ns) to wait.

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

"""Turns: a host that waits for a lock asks only after the hosts before it in the line had time to ask. Pure.

A free lock goes to the first host that asks; without turns that is always the host with the fastest connection to etcd,
or the one that has just given the lock back. So a host waits a moment for each host before it. A host that does not
take the lock in that time, because it is busy or failed, delays nobody. A host that had its turn goes to the end.
"""

from __future__ import annotations

from collections import defaultdict

MOMENT = 200_000_000
"""Time (ns) in which a host can ask for a lock, after the lock is given back or the turn before ends."""
_MOST_BEFORE = 10
"""Maximum number of hosts in the line that a host waits for."""


class Turns:
    """The lines for locks in etcd: lock → host → revision at which it joined. `now`: BOOTTIME, ns."""

    def __init__(self) -> None:
        self._lines = defaultdict[str, dict[str, int]](dict)
        self._freed: dict[str, int] = {}
        """Lock that hosts wait for → instant at which it was last given back."""
        self._passed: dict[str, int] = {}
        """Description of a turn → instant until which this host waits for it."""

    def clear(self) -> list[str]:
        """Forget everything, because it is read again. Return the turns that were reported."""
        told = [*self._passed]
        for known in (self._lines, self._freed, self._passed):
            known.clear()
        return told

    def note(self, place: str, revision: int | None) -> None:
        """Note that a host joined the line for a lock (``HOST/LOCK``) at a revision, or left it (None)."""
        host, _, lock = place.partition("/")
        if revision is None:
            self.left(lock, host)
        else:
            self.joined(lock, host, revision)

    def joined(self, lock: str, host: str, revision: int) -> None:
        """Note that a host joined a line."""
        self._lines[lock][host] = revision

    def left(self, lock: str, host: str) -> None:
        """Note that a host left a line."""
        self._lines[lock].pop(host, None)
        if not self._lines[lock]:
            del self._lines[lock]
            self._freed.pop(lock, None)

    def freed(self, lock: str, now: int) -> None:
        """Note that units of a lock were given back."""
        if lock in self._lines:
            self._freed[lock] = now

    def places(self, host: str) -> list[str]:
        """Return the locks that a host is in the line for."""
        return [lock for lock, line in self._lines.items() if host in line]

    def before(self, lock: str, host: str) -> list[str]:
        """Return the hosts whose turn comes before this host's, in order; a host that is not in the line comes last."""
        line = self._lines.get(lock, {})
        own = line.get(host)
        return sorted((other for other, since in line.items() if own is None or since < own), key=line.__getitem__)

    def lets_pass(self, lock: str, host: str, spare: int, now: int) -> str:
        """Describe the turn that `host` waits for, or return "" if it may ask.

        `spare`: units that are left after `host` gets its own; as many other hosts may ask too.
        """
        before = self.before(lock, host)[:_MOST_BEFORE]
        until = self._freed.get(lock, 0) + len(before) * MOMENT
        if len(before) <= spare or now >= until:
            return ""
        turn = f"{before[0]}, which is next in the line for {lock}"
        self._passed[turn] = until
        return turn

    @property
    def deadline(self) -> int | None:
        """The instant (BOOTTIME, ns) at which the next turn of another host ends, or None."""
        return min(self._passed.values(), default=None)

    def over(self, now: int) -> list[str]:
        """Return the turns of other hosts that are over, once."""
        over = [turn for turn, until in self._passed.items() if until <= now]
        for turn in over:
            del self._passed[turn]
        return over

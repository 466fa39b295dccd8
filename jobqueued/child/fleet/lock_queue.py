"""The line of hosts that wait for a lock: a host requests it only after the hosts before it had time to do so. Pure.

A free lock goes to the first host that requests it. Without turns, this is always the host with the fastest connection
to etcd, or the host that just released the lock. Therefore, a host waits a moment for each host before it. A busy or
failed host delays the others only for this time. A host that had its turn goes to the end of the line.
"""

from __future__ import annotations

from collections import defaultdict

MOMENT = 200_000_000
"""Time (ns) that a host has to request a lock, starting at the lock's release or at the previous turn's end."""
_MOST_BEFORE = 10
"""Maximum number of earlier hosts in the line that a host waits for."""


class Turns:
    """The lines for locks in etcd: lock → host → revision when it joined. All `now` are BOOTTIME, ns."""

    def __init__(self) -> None:
        self._lines = defaultdict[str, dict[str, int]](dict)
        self._freed: dict[str, int] = {}
        """Lock that hosts wait for → instant of its last release."""
        self._passed: dict[str, int] = {}
        """Description of another host's turn → its end."""

    def clear(self) -> list[str]:
        """Forget all lines, because the next snapshot contains them. Return the turns that were reported."""
        told = [*self._passed]
        for known in (self._lines, self._freed, self._passed):
            known.clear()
        return told

    def note(self, place: str, revision: int | None) -> None:
        """Record that a host joined the line for a lock at a revision, or left it (None). `place`: ``HOST/LOCK``."""
        host, _, lock = place.partition("/")
        if revision is None:
            self.left(lock, host)
        else:
            self.joined(lock, host, revision)

    def joined(self, lock: str, host: str, revision: int) -> None:
        """Record that a host joined the line for a lock."""
        self._lines[lock][host] = revision

    def left(self, lock: str, host: str) -> None:
        """Record that a host left the line for a lock."""
        self._lines[lock].pop(host, None)
        if not self._lines[lock]:
            del self._lines[lock]
            self._freed.pop(lock, None)

    def freed(self, lock: str, now: int) -> None:
        """Record that a lock's units were released."""
        if lock in self._lines:
            self._freed[lock] = now

    def places(self, host: str) -> list[str]:
        """Return the locks whose lines include a host."""
        return [lock for lock, line in self._lines.items() if host in line]

    def before(self, lock: str, host: str) -> list[str]:
        """Return the hosts before this host in the line, in order. A host that is not in the line comes last."""
        line = self._lines.get(lock, {})
        own = line.get(host)
        return sorted((other for other, since in line.items() if own is None or since < own), key=line.__getitem__)

    def lets_pass(self, lock: str, host: str, spare: int, now: int) -> str:
        """Describe the turn that `host` waits for, or return "" if it may request the lock.

        `spare`: units left after `host` gets its units. This many other hosts may request the lock at the same time.
        """
        before = self.before(lock, host)[:_MOST_BEFORE]
        until = self._freed.get(lock, 0) + len(before) * MOMENT
        if len(before) <= spare or now >= until:
            return ""
        turn = f"{before[0]}, which is next in line for {lock}"
        self._passed[turn] = until
        return turn

    @property
    def deadline(self) -> int | None:
        """The instant (BOOTTIME, ns) when another host's next turn ends, or None."""
        return min(self._passed.values(), default=None)

    def over(self, now: int) -> list[str]:
        """Return each ended turn of another host once."""
        over = [turn for turn, until in self._passed.items() if until <= now]
        for turn in over:
            del self._passed[turn]
        return over

"""Turns: among hosts that wait for a lock, each asks for it once those before it in the line have had time to.  Pure.

A lock that is free goes to whoever asks first, which is always the host with the shortest way to etcd, or the one that
has just given it back.  So a host that is not the next lets a moment pass for each before it; whoever does not take the
lock in that time, as it is busy or gone, keeps nobody waiting.  A host that has had its turn goes to the end.
"""

from __future__ import annotations

from collections import defaultdict

MOMENT = 200_000_000
"""The time (ns) that a host has from the end of a lock, or of the turn before its own, to ask for it."""
_MOST_BEFORE = 10
"""Hosts in the line that others let pass, at most."""


class Turns:
    """The lines for locks as etcd has them, by the revisions at which hosts joined them; `now`: BOOTTIME, ns."""

    def __init__(self) -> None:
        self._lines = defaultdict[str, dict[str, int]](dict)
        self._freed: dict[str, int] = {}
        """When locks that are waited for were given back last."""
        self._passed: dict[str, int] = {}
        """Until when this host lets others pass, by their turn in words."""

    def clear(self) -> list[str]:
        """Forget all, as it is read anew; the turns that were told."""
        told = [*self._passed]
        for known in (self._lines, self._freed, self._passed):
            known.clear()
        return told

    def note(self, place: str, revision: int | None) -> None:
        """Take over that a host is in the line for a lock (``HOST/LOCK``), or is not any more."""
        host, _, lock = place.partition("/")
        if revision is None:
            self.left(lock, host)
        else:
            self.joined(lock, host, revision)

    def joined(self, lock: str, host: str, revision: int) -> None:
        """A host has got into a line."""
        self._lines[lock][host] = revision

    def left(self, lock: str, host: str) -> None:
        """A host has left it."""
        self._lines[lock].pop(host, None)
        if not self._lines[lock]:
            del self._lines[lock]
            self._freed.pop(lock, None)

    def freed(self, lock: str, now: int) -> None:
        """Some of a lock was given back."""
        if lock in self._lines:
            self._freed[lock] = now

    def places(self, host: str) -> list[str]:
        """The locks in whose line a host is."""
        return [lock for lock, line in self._lines.items() if host in line]

    def before(self, lock: str, host: str) -> list[str]:
        """The hosts whose turn comes before that of one, in order; one that is not in the line comes last."""
        line = self._lines.get(lock, {})
        own = line.get(host)
        return sorted((other for other, since in line.items() if own is None or since < own), key=line.__getitem__)

    def lets_pass(self, lock: str, host: str, spare: int, now: int) -> str:
        """Word whose turn it is before that of `host`, which leaves so many units to `spare` if it has its own;
        "": it is this one's.
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
        """The instant at which a turn of others is over."""
        return min(self._passed.values(), default=None)

    def over(self, now: int) -> list[str]:
        """The turns of others that are over, once."""
        over = [turn for turn, until in self._passed.items() if until <= now]
        for turn in over:
            del self._passed[turn]
        return over

"""Receivers that do not accept messages: when to retry, and when to log the failure."""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterator
from typing import Generic, TypeVar

from jobqueued.base.instants import DAY, HOUR, SECOND
from jobqueued.child.contract.tuples import NamedTuple

_LONGEST_PAUSE, _HOPELESS_PAUSE = HOUR, 6 * HOUR
_SAID_EVERY = DAY
_LONGEST_ASKED = DAY // SECOND
_SECONDS = re.compile("[0-9]{1,20}", re.ASCII)

Receiver = TypeVar("Receiver", bound=Hashable)


class NotifierAnswer(NamedTuple):
    """A notifier's answer: whether it sent the message, or the error and the requested pause (ns) before a retry."""

    sent: bool
    why: str = ""
    pause: int = 0
    is_final: bool = False
    """True if the receiver permanently refused the message."""

    @classmethod
    def parse(cls, answer: str) -> NotifierAnswer:
        """Parse ``sent``, ``later SECONDS WHY`` or ``never WHY``; any other text counts as ``never``.

        The pause is limited to a day, because a user's process may have written the answer.
        """
        word, _, why = answer.partition(" ")
        if word == "sent":
            return cls(True)
        if word != "later":
            return cls(False, why or answer, _HOPELESS_PAUSE, is_final=True)
        seconds, _, why = why.partition(" ")
        asked = int(seconds) if _SECONDS.fullmatch(seconds) else 0
        return cls(False, why or answer, min(asked, _LONGEST_ASKED) * SECOND)


def grown(first: int, tries: int) -> int:
    """Return the pause (ns) after this many failed tries; the pause doubles from `first` up to an hour."""
    return min(_LONGEST_PAUSE, first << min(tries - 1, 12))


class _Trouble(NamedTuple):
    """A receiver's last failure, and the pause (ns) without messages after the failure."""

    shown: str
    error: str
    since: int
    pause: int
    is_final: bool
    times: int


class Troubles(Generic[Receiver]):
    """Receivers that did not accept the last message. In log messages, `what` precedes a receiver's readable name."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._troubles: dict[Receiver, _Trouble] = {}
        self._said: dict[str, int] = {}
        """A receiver's readable name → when its failure was last logged (wall)."""

    @property
    def describe_all(self) -> list[str]:
        """The messages about the failing receivers, each with the error."""
        shown = {trouble.shown: trouble.error for trouble in self._troubles.values()}
        return [f"{self._what}{it} can't be sent: {why}; see: jobqueuectl notify" for it, why in shown.items()]

    def times(self, receiver: Receiver) -> int:
        """Return the number of consecutive failures of a receiver."""
        known = self._troubles.get(receiver)
        return 0 if known is None else known.times

    def note(self, receiver: Receiver, shown: str, answer: NotifierAnswer, pause: int, wall: int) -> bool:
        """Record a failure and the pause (ns) after it.

        Return whether to log the failure, because the last log line is a day old.
        """
        self._troubles[receiver] = _Trouble(shown, answer.why, wall, pause, answer.is_final, self.times(receiver) + 1)
        said = self._said.get(shown)
        if said is not None and said <= wall < said + _SAID_EVERY:
            return False
        self._said[shown] = wall
        return True

    def end(self, receiver: Receiver) -> None:
        """Record that a receiver accepted a message. The next failure is not logged sooner because of this success."""
        self._troubles.pop(receiver, None)

    def retain(self, receivers: Collection[Receiver]) -> None:
        """Forget all receivers except these."""
        self._troubles = {receiver: it for receiver, it in self._troubles.items() if receiver in receivers}
        shown = {it.shown for it in self._troubles.values()}
        self._said = {receiver: at for receiver, at in self._said.items() if receiver in shown}

    def try_again(self, receiver: Receiver) -> None:
        """End a receiver's pause, so that the next message is sent at once."""
        if (known := self._troubles.get(receiver)) is not None:
            self._troubles[receiver] = known._replace(pause=0, is_final=False)

    def is_refused(self, receiver: Receiver) -> bool:
        """Return whether the receiver permanently refused the last message."""
        known = self._troubles.get(receiver)
        return known is not None and known.is_final

    def rest(self, receiver: Receiver) -> list[tuple[int, int]]:
        """Return [(instant, pause in ns)] for a receiver's last failure, or [] if the receiver does not fail."""
        known = self._troubles.get(receiver)
        return [] if known is None else [(known.since, known.pause)]

    def spared(self, receivers: list[Receiver], busy: Collection[Receiver]) -> list[Receiver]:
        """Return the receivers that may get a message while others are `busy`.

        Only one failing receiver at a time may get one.
        """
        if not any(receiver in self._troubles for receiver in busy):
            return receivers
        return [receiver for receiver in receivers if receiver not in self._troubles]

    def __iter__(self) -> Iterator[Receiver]:
        """Iterate over the failing receivers."""
        return iter(self._troubles)

    def __contains__(self, receiver: Receiver) -> bool:
        """Return whether the receiver did not accept the last message."""
        return receiver in self._troubles

    def __bool__(self) -> bool:
        """Return whether any receiver is failing."""
        return bool(self._troubles)


class Numbers:
    """Numbers for notices, which are never reused on this host.

    Each number is an instant that is later than the previous number.
    """

    def __init__(self) -> None:
        self._last = 0

    def saw(self, number: int) -> None:
        """Record a number that is in use, so that all later numbers are greater."""
        self._last = max(self._last, number)

    def next(self, wall: int) -> int:
        """Return the next number."""
        self._last = max(self._last + 1, wall)
        return self._last

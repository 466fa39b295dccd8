"""The order of hosts: which of several does something at once, and for how long each further one leaves it to those.

Each thing has an order of its own, by chance, the same on all hosts; so each host has its share, a host that is busy or
gone keeps nobody waiting for long, and of a large fleet few ask at all.  Pure.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable
from math import gcd

_STAGGER, _FIRST = 250_000_000, 3
"""How much later (ns) each of the first hosts acts than the one before it."""
_LATER, _STEP, _FEW = 1_000_000_000, 500_000_000, 200
"""When the next do: as many as there were before, and again as many a step later, and so on; the step is so long for
few hosts, and longer the more there are, as what one does takes the longer to be known to all.
"""


def drawn_from(text: str) -> int:
    """A number of 64 bits that looks as if it were drawn by chance, the same for each text on all hosts."""
    number = crc32(text.encode(errors="surrogateescape"))
    for _ in range(2):  # https://github.com/aappleby/smhasher/wiki/MurmurHash3, its last steps
        number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD % 2**64
    return number ^ number >> 33


class HostOrder:
    """The orders of some hosts, by their names."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._numbers = {host: number for number, host in enumerate(sorted(hosts))}

    def wait(self, host: str, what: str, within: int | None = None) -> int:
        """For how long (ns) a host leaves something to those before it; one that is none of them comes last.

        `within`: all have their turns in so much time (ns), however many they are.
        """
        number, count = self._numbers.get(host), len(self._numbers)
        wait, last = self._after(count if number is None else _place(number, count, what)), self._after(count)
        return wait if within is None or last <= within else wait * within // last

    def _after(self, before: int) -> int:
        if before < _FIRST:
            return before * _STAGGER
        return _LATER + ((before // _FIRST).bit_length() - 1) * _STEP * max(len(self._numbers), _FEW) // _FEW


def _place(number: int, count: int, what: str) -> int:
    """The place of one of `count` hosts: a permutation that is drawn from `what`, so that this takes no longer where
    there are more of them.
    """
    drawn = drawn_from(what)
    step = 1 + (drawn >> 32) % count
    while gcd(step, count) != 1:
        step += 1
    return (number * step + (drawn & 0xFFFFFFFF)) % count

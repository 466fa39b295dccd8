"""The order of hosts that act, and the time that each host waits for the hosts before it. Pure.

Each subject, such as an occurrence, has a different pseudo-random order, which is the same on all hosts. As a result,
hosts share the load, a busy or failed host delays the others only briefly, and in a large fleet only a few hosts call
etcd.
"""

from __future__ import annotations

from binascii import crc32
from collections.abc import Iterable
from math import gcd

_STAGGER, _FIRST = 250_000_000, 3
"""Delay (ns) between two of the first hosts, and the number of first hosts."""
_LATER, _STEP, _FEW = 1_000_000_000, 500_000_000, 200
"""Delay (ns) of the later hosts, additional delay (ns) of each step, and the largest fleet with steps of this length.

With each step, the number of hosts doubles. Steps are longer in larger fleets, because changes spread more slowly.
"""


def drawn_from(text: str) -> int:
    """Return a pseudo-random number of 64 bits that depends only on the text, so it is the same on all hosts."""
    number = crc32(text.encode(errors="surrogateescape"))
    for _ in range(2):  # https://github.com/aappleby/smhasher/wiki/MurmurHash3, its last steps
        number = (number ^ number >> 33) * 0xFF51AFD7ED558CCD % 2**64
    return number ^ number >> 33


class HostOrder:
    """The orders of the named hosts."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self._numbers = {host: number for number, host in enumerate(sorted(hosts))}

    def wait(self, host: str, what: str, within: int | None = None) -> int:
        """Return the time (ns) that a host waits for the hosts before it in the order for `what`.

        An unknown host is last. `within`: the last host's maximum wait (ns).
        """
        number, count = self._numbers.get(host), len(self._numbers)
        wait, last = self._after(count if number is None else _place(number, count, what)), self._after(count)
        return wait if within is None or last <= within else wait * within // last

    def _after(self, before: int) -> int:
        if before < _FIRST:
            return before * _STAGGER
        return _LATER + ((before // _FIRST).bit_length() - 1) * _STEP * max(len(self._numbers), _FEW) // _FEW


def _place(number: int, count: int, what: str) -> int:
    """Return a host's place among `count` hosts in a permutation drawn from `what`, in constant time."""
    drawn = drawn_from(what)
    step = 1 + (drawn >> 32) % count
    while gcd(step, count) != 1:
        step += 1
    return (number * step + (drawn & 0xFFFFFFFF)) % count

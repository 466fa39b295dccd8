"""The keys of a fleet in an etcd that it may share with others: each key has its name, /jq/hosts/… is /jq/NAME/hosts/….

All else goes by the keys without it; they get it where a call leaves, and lose it where an answer comes.  Both are JSON
as it is sent: no string in it can have what tells a key, as its quotes are escaped there.  Pure.
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

_ROOT = b"/jq/"
_KEY = re.compile(rb'("(?:key|range_end)"\s*:\s*")([A-Za-z0-9+/]+=*)(?=")')


def named(call: bytes, fleet: str) -> bytes:
    """A call with the keys of a fleet."""
    return _changed(call, _ROOT, _root_of(fleet))


def nameless(answer: bytes, fleet: str) -> bytes:
    """An answer without the name of the fleet, which is in all of its keys."""
    return _changed(answer, _root_of(fleet), _ROOT)


def _root_of(fleet: str) -> bytes:
    return _ROOT + fleet.encode() + b"/"


def _changed(data: bytes, before: bytes, after: bytes) -> bytes:
    """The same with all keys that begin with `before` beginning with `after`."""

    def changed(found: re.Match[bytes]) -> bytes:
        key = a2b_base64(found[2])
        if not key.startswith(before):
            return found[0]
        return found[1] + b2a_base64(after + key[len(before) :], newline=False)

    return _KEY.sub(changed, data)

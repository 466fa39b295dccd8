"""The keys of a fleet in an etcd that it may share with others: each key has its name, /jq/hosts/… is /jq/NAME/hosts/….

The rest of the program uses keys without the name: the gateway adds it to a call and removes it from an answer.  Both
are JSON as it is sent, in which a quote inside a string is escaped, so only real keys match.  Pure.

    /jq/@/NAME/HOST            which hosts each fleet has; lives as long as the session of the host

Of these, and of the keys of other fleets, /jq/../… is the way to /jq/….
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

UP = "/jq/../"
HOSTS = f"{UP}@/"
_ROOT = b"/jq/"
_KEY = re.compile(rb'("(?:key|range_end)"\s*:\s*")([A-Za-z0-9+/]+=*)(?=")')


def named(call: bytes, fleet: str) -> bytes:
    """A call with the keys of a fleet."""
    return _changed(call, (UP.encode(), _ROOT), (_ROOT, _root_of(fleet)))


def nameless(answer: bytes, fleet: str) -> bytes:
    """An answer without the name of the fleet, which is in all of its keys."""
    return _changed(answer, (_root_of(fleet), _ROOT))


def _root_of(fleet: str) -> bytes:
    return _ROOT + fleet.encode() + b"/"


def _changed(data: bytes, *changes: tuple[bytes, bytes]) -> bytes:
    """The same with each key that begins with the first of a change beginning with the second."""

    def changed(found: re.Match[bytes]) -> bytes:
        key = a2b_base64(found[2])
        for before, after in changes:
            if key.startswith(before):
                return found[1] + b2a_base64(after + key[len(before) :], newline=False)
        return found[0]

    return _KEY.sub(changed, data)

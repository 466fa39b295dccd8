"""A fleet's keys in an etcd that other fleets may share: /jq/hosts/… becomes /jq/NAME/hosts/…. Pure.

The rest of the program uses keys without the fleet's name. The gateway adds the name to calls and removes it from
answers. The gateway searches encoded JSON, where quotes inside strings are escaped, so only real keys match.

    /jq/@/NAME/HOST            the hosts of each fleet; lives as long as the session of the host

To reach these keys, and keys of other fleets, the program uses /jq/../… for /jq/….
"""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

UP = "/jq/../"
HOSTS = f"{UP}@/"
_ROOT = b"/jq/"
_KEY = re.compile(rb'("(?:key|range_end)"\s*:\s*")([A-Za-z0-9+/]+=*)(?=")')


def named(call: bytes, fleet: str) -> bytes:
    """Return a call with the fleet's name in its keys."""
    return _changed(call, (UP.encode(), _ROOT), (_ROOT, _root_of(fleet)))


def nameless(answer: bytes, fleet: str) -> bytes:
    """Return an answer without the fleet's name in its keys."""
    return _changed(answer, (_root_of(fleet), _ROOT))


def _root_of(fleet: str) -> bytes:
    return _ROOT + fleet.encode() + b"/"


def _changed(data: bytes, *changes: tuple[bytes, bytes]) -> bytes:
    """Replace key prefixes in JSON. The first change (before, after) that matches a key counts."""

    def changed(found: re.Match[bytes]) -> bytes:
        key = a2b_base64(found[2])
        for before, after in changes:
            if key.startswith(before):
                return found[1] + b2a_base64(after + key[len(before) :], newline=False)
        return found[0]

    return _KEY.sub(changed, data)

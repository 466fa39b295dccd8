"""The callers' identities, each a name and a UID."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

from jobqueued.model.users import Owner

_MOST_WAITING = 64
"""Maximum number of callers that wait for one UID's name. If there are more, the oldest are dropped, because the daemon
has already disconnected them.
"""
_MOST_NAMED = 1000
"""Maximum number of existing UIDs from other databases to keep; the oldest are forgotten."""

Then = Callable[[Owner | None], None]


class Identities:
    """Finds names in /etc/passwd. For other users, `ask` queries the host's databases, which may hang."""

    def __init__(self, ask: Callable[[int, Callable[[str], None]], None], passwd: str = "/etc/passwd") -> None:
        self._ask, self._passwd = ask, passwd
        self._seen: tuple[int, ...] = ()
        self._names: dict[int, str] = {}
        self._waiting: dict[int, list[Then]] = {}
        self._named: dict[int, None] = {}

    def has_name(self, uid: int) -> bool:
        """Return whether a user with this UID exists in /etc/passwd or in an earlier reply of the databases."""
        return uid in self._known() or uid in self._named

    def look_up(self, uid: int, then: Then) -> None:
        """Pass a UID's user to `then`, at once or later; pass None if the host has no such user."""
        if (name := self._known().get(uid)) is not None:
            then(Owner(uid, name))
            return
        waiting = self._waiting.setdefault(uid, [])
        waiting.append(then)
        del waiting[:-_MOST_WAITING]
        if len(waiting) == 1:
            self._ask(uid, lambda name: self._heard(uid, name))

    def _heard(self, uid: int, name: str) -> None:
        self._named.pop(uid, None)
        if name:
            self._named[uid] = None
        if len(self._named) > _MOST_NAMED:
            del self._named[next(iter(self._named))]
        for then in self._waiting.pop(uid, []):
            then(Owner(uid, name) if name else None)

    def _known(self) -> dict[int, str]:
        """Return UID → name from the current /etc/passwd. The first name of a UID counts, as in getpwuid(3)."""
        with contextlib.suppress(OSError):
            found = os.stat(self._passwd)
            seen = found.st_ino, found.st_mtime_ns, found.st_size
            if seen != self._seen:
                with open(self._passwd, errors="replace") as file:
                    self._names = _names(file.read())
                self._seen = seen
        return self._names


def _names(text: str) -> dict[int, str]:
    fields = (line.split(":") for line in reversed(text.splitlines()))
    return {int(words[2]): words[0] for words in fields if len(words) > 3 and words[0] and words[2].isdigit()}

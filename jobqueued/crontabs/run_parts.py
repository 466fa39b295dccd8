"""Lines that run all scripts of a directory (run-parts(8)), taken apart: one job a script, by the line's own words.

What guards the line guards each of them: of ``test -x /usr/sbin/anacron || ( cd / && run-parts --report DIRECTORY )``
only ``run-parts --report DIRECTORY`` becomes a script.
"""

from __future__ import annotations

import re

from jobqueued.child.tuples import NamedTuple

_CALL = re.compile(
    r"(?<![\w./-])(?:/usr)?(?:/bin/)?run-parts((?:[ \t]+-[\w-]+)*)[ \t]+(/[\w./-]*[\w-])/?(?=[\s;&|)]|$)"
)
_HARMLESS = frozenset(("--report", "--verbose", "-v", "--"))
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Parts(NamedTuple):
    """A call of run-parts in a command: what stands before it and behind it, and its directory."""

    before: str
    directory: str
    behind: str

    def command(self, script: str) -> str:
        """The command with one script in place of all."""
        return f"{self.before}{self.directory}/{script}{self.behind}"


def parts_of(command: str) -> Parts | None:
    """The only call of run-parts in a command; None: there is none, several, or one with options that change more."""
    calls = list(_CALL.finditer(command))
    if len(calls) != 1 or not _HARMLESS.issuperset(calls[0][1].split()):
        return None
    return Parts(command[: calls[0].start()], calls[0][2], command[calls[0].end() :])


def is_script(name: str) -> bool:
    """True if run-parts takes a file of this name."""
    return _NAME.fullmatch(name) is not None

"""Splits lines that run all of a directory's scripts with run-parts(8) into one job for each script.

Each job keeps the rest of the line: in ``test -x /usr/sbin/anacron || ( cd / && run-parts --report DIRECTORY )`` the
script replaces only ``run-parts --report DIRECTORY``.
"""

from __future__ import annotations

import re

from jobqueued.child.contract.tuples import NamedTuple

_CALL = re.compile(
    r"(?<![\w./-])(?:/usr)?(?:/bin/)?run-parts((?:[ \t]+-[\w-]+)*)[ \t]+(/[\w./-]*[\w-])/?(?=[\s;&|)]|$)"
)
_HARMLESS = frozenset(("--report", "--verbose", "-v", "--"))
_NAME = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


class Parts(NamedTuple):
    """A call of run-parts in a command: the text before the call, the text after it, and the directory."""

    before: str
    directory: str
    behind: str

    def command(self, script: str) -> str:
        """Return the command with one script instead of the call."""
        return f"{self.before}{self.directory}/{script}{self.behind}"


def parts_of(command: str) -> Parts | None:
    """Return the call of run-parts in a command. Return None if the command has no call, several calls, or a call with
    other options.
    """
    calls = list(_CALL.finditer(command))
    if len(calls) != 1 or not _HARMLESS.issuperset(calls[0][1].split()):
        return None
    return Parts(command[: calls[0].start()], calls[0][2], command[calls[0].end() :])


def is_script(name: str) -> bool:
    """Return whether run-parts accepts a file with this name."""
    return _NAME.fullmatch(name) is not None

"""The compiled program `become` (become.c), which becomes a run's user and executes the command.

A supervisor starts the program with posix_spawn, so it need not fork itself. `make native` builds it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.start import posixspawn

PROGRAM = os.path.join(os.path.dirname(__file__), "become")
_FORMAT = "1"


class Becoming(NamedTuple):
    """A user to become, and what to execute then.

    With a `warning`, the command runs in / if the user can't enter `directory`, and the warning is reported.
    """

    uid: int
    gid: int
    groups: list[int]
    directory: str
    warning: str
    program: str
    arguments: Sequence[str]
    environment: Mapping[str, str]

    def plan(self) -> int:
        """Return a descriptor of a file that `become` reads. Raises OSError, and ValueError if a text contains NUL."""
        identity = _FORMAT, str(self.uid), str(self.gid), ",".join(map(str, self.groups))
        command = self.directory, self.warning, self.program, str(len(self.arguments)), *self.arguments
        texts = *identity, *command, *(f"{name}={value}" for name, value in self.environment.items())
        data = os.fsencode("".join(f"{text}\0" for text in texts))
        if data.count(b"\0") != len(texts):
            raise ValueError("a NUL character")
        descriptor = os.memfd_create("plan")
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(data)
        except OSError:
            os.close(descriptor)
            raise
        return posixspawn.raised(descriptor)

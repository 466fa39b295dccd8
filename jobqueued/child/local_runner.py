"""A run on this host: its command is a child of its supervisor, in a cgroup of its own."""

from __future__ import annotations

import time

from jobqueued.child.account import Account
from jobqueued.child.caps import Caps
from jobqueued.child.cgroup import Cgroup
from jobqueued.child.control_socket import Loop
from jobqueued.child.documents import LaunchSpec
from jobqueued.child.ending import Ending
from jobqueued.child.output import Output
from jobqueued.child.record import Draft
from jobqueued.child.spawn import Started
from jobqueued.child.starting import start


class Local:
    """One attempt's.  `order` is that of the process here, `cgroup` its own."""

    def __init__(self, order: LaunchSpec, home: int, name: str) -> None:
        self.order, self.cgroup = order, Cgroup(home, name)

    def start(self, caps: Caps, output: Output) -> Started:
        """Start its process; StartFailed."""
        return start(self.order, self.cgroup, caps, output.writing)

    def watch(self, _loop: Loop, _draft: Draft, account: Account, ending: Ending, is_sampled: bool) -> None:
        """It has started: its time runs, and it is measured."""
        account.begin(time.monotonic(), watched=is_sampled)
        ending.begin(time.monotonic())

    def goes_on(self, _draft: Draft, _output: Output) -> bool:
        """False: with its process the run has ended."""
        return False

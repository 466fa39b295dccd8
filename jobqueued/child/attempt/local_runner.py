"""A run on this host. The command is a child of its supervisor, in a separate cgroup."""

from __future__ import annotations

import time

from jobqueued.child.attempt.ending import Ending
from jobqueued.child.contract.documents import LaunchSpec
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.report.account import AttemptAccount
from jobqueued.child.report.control_socket import DescriptorLoop
from jobqueued.child.report.output import OutputPump
from jobqueued.child.report.record import RecordDraft
from jobqueued.child.start.caps import Caps
from jobqueued.child.start.spawn import StartedProcess
from jobqueued.child.start.starting import start


class Local:
    """The runner of an attempt. `order`: its launch spec. `cgroup`: its cgroup."""

    def __init__(self, order: LaunchSpec, home: int, name: str) -> None:
        self.order, self.cgroup = order, Cgroup(home, name)

    def start(self, caps: Caps, output: OutputPump) -> StartedProcess:
        """Start the attempt's process. Raises StartFailed."""
        return start(self.order, self.cgroup, caps, output.writing)

    def watch(
        self, _loop: DescriptorLoop, _draft: RecordDraft, account: AttemptAccount, ending: Ending, is_sampled: bool
    ) -> None:
        """Start the timeout and begin to measure the process."""
        account.begin(time.monotonic(), watched=is_sampled)
        ending.begin(time.monotonic())

    def goes_on(self, _draft: RecordDraft, _output: OutputPump) -> bool:
        """Return False, because the run ends with its process."""
        return False

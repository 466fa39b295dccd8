"""Follow a run's output to its end. Between changes, sleep until the kernel or the daemon reports one."""

from __future__ import annotations

import os
import select
import socket
import sys
from collections.abc import Callable
from contextlib import suppress

from jobqueued.child.contract.documents import Record
from jobqueued.child.watcher import inotify
from jobqueued.ctl.base.client import Call, DaemonUnreachable
from jobqueued.ctl.base.output import OutputSource
from jobqueued.ctl.past import offline
from jobqueued.model.run import RunId
from jobqueued.settings.paths import Paths
from jobqueued.state import record_files

_COMES = inotify.IN_CREATE | inotify.IN_MOVED_TO


def follow(paths: Paths, run: RunId, source: OutputSource, copy: Callable[[], None]) -> Record:
    """Call `copy` when more output may exist, and once after the run's end. Return the run's record.

    The daemon reports the end. While it is down, the supervisor, the run directory and the record file show the end.
    """
    with _Wakeups(paths, run, source) as wakeups:
        while True:
            wakeups.renew()
            record = wakeups.final_record()
            copy()
            if record is not None:
                return record
            wakeups.wait()


class _Wakeups:
    """Descriptors that become readable when more output may exist or the run ended."""

    def __init__(self, paths: Paths, run: RunId, source: OutputSource) -> None:
        self._paths, self._run, self._source = paths, run, source
        self._inotify = inotify.instance()
        self._supervisor: socket.socket | None = None
        self._call: Call | None = None
        with suppress(DaemonUnreachable):
            self._call = Call(paths.control, "Wait", None, run=str(run))

    def __enter__(self) -> _Wakeups:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._inotify)
        self._hang_up()
        if self._supervisor is not None:
            self._supervisor.close()

    def renew(self) -> None:
        """Watch all existing files, outer directories first, so that no new file is missed before the next call."""
        for _event in inotify.events(self._inotify):
            pass  # the content of events does not matter
        logs, output = self._paths.logs, record_files.output_of(self._paths.logs, self._run)
        places = [(logs, _COMES), (output.parent, _COMES), (output, inotify.IN_MODIFY)]
        if self._call is None:
            places += [(path, _COMES) for path in offline.run_directories(self._paths, self._run)]
            self._heed_supervisor()
        for path, mask in places:
            with suppress(OSError):  # missing, or unreadable for us
                inotify.watch(self._inotify, str(path), mask)

    def _heed_supervisor(self) -> None:
        if self._supervisor is None:
            self._supervisor = offline.supervisor_of(self._paths, self._run)
        try:
            has_left = self._supervisor is not None and not self._supervisor.recv(64)
        except BlockingIOError:
            has_left = False
        except OSError:
            has_left = True
        if self._supervisor is not None and has_left:
            self._supervisor.close()
            self._supervisor = None

    def final_record(self) -> Record | None:
        """Return the final record if the run has ended, or None."""
        if self._call is None:
            return offline.final_record(self._paths, self._run)
        try:
            if not self._call.is_answered():
                return None
            record: Record = self._call.answer()["record"]
            return record
        except DaemonUnreachable:
            self._hang_up()
            if self._source.watched is None:
                raise
            return self.final_record()

    def wait(self) -> None:
        """Sleep until a descriptor is readable. Raises BrokenPipeError if the reader of our output exited."""
        poll = select.poll()
        poll.register(self._inotify, select.POLLIN)
        poll.register(sys.stdout, 0)
        if self._call is not None:
            poll.register(self._call, select.POLLIN)
        if self._supervisor is not None:
            poll.register(self._supervisor, select.POLLIN)
        if any(bits & select.POLLERR for descriptor, bits in poll.poll() if descriptor == sys.stdout.fileno()):
            raise BrokenPipeError(32, "no reader")

    def _hang_up(self) -> None:
        if self._call is not None:
            self._call.__exit__()
            self._call = None

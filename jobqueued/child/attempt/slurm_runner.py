"""A run on Slurm. The local process is a helper (child/slurm/main.py) that submits, follows and ends a Slurm job.

If the helper dies, the supervisor restarts it, because the Slurm job continues. The run ends only with the helper's
final report. The helper has no cgroup, so that no limit ends it. If its supervisor dies, the helper gets SIGTERM and
cancels the job.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Mapping
from typing import Any, cast

from jobqueued.child.attempt.ending import Ending
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import LaunchSpec, ProcessEnd, SlurmOrder
from jobqueued.child.contract.reasons import of
from jobqueued.child.processes import process
from jobqueued.child.processes.cgroup import Cgroup
from jobqueued.child.report.account import NEVER, AttemptAccount
from jobqueued.child.report.control_socket import DescriptorLoop
from jobqueued.child.report.marks import Marks
from jobqueued.child.report.output import OutputPump
from jobqueued.child.report.record import RecordDraft
from jobqueued.child.start import posixspawn, spawn
from jobqueued.child.start.caps import Caps
from jobqueued.child.start.environment import arguments
from jobqueued.child.start.identity import StartFailed
from jobqueued.child.start.spawn import StartedProcess

HELPER = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "slurm", "main.py")
_FAREWELL = 5.0
"""Time (s) that a helper without a submitted job has to clean up."""
_FIRST_WORD = 120.0
"""Timeout (s) of the helper's first report. After this time the run counts as started."""
_MOST_DEATHS, _LONGEST_PAUSE = 10, 30.0
_LONG = 600.0
"""If a helper lives this long (s), earlier deaths no longer count."""
_SEEN_TO = ("memory", "cpu")
"""The limits that Slurm enforces."""
_CHUNK = 1 << 16


class Slurm:
    """Runs an attempt on Slurm, without a cgroup. `order`: the helper's launch spec."""

    def __init__(self, order: LaunchSpec, there: SlurmOrder, marks: Marks) -> None:
        self._order, self._there, self._marks = order, there, marks
        self.cgroup = Cgroup(-1, marks.name)
        self.order: LaunchSpec = {
            **order,
            "command": [sys.executable, "-I", "-S", HELPER],
            "caps": [],
            "cpus": None,
            "attributes": {},
            "umask": 0o077,
            "stop_signal": "SIGTERM",
            "kill_grace": NEVER,
        }
        self._reading = self._writing = self._output = -1
        self._rest = b""
        self._words: list[dict[str, Any]] = []
        self._heard = self._deaths = 0
        self._born = 0.0
        self._is_running = False
        self._place: dict[str, Any] = {}

    def start(self, caps: Caps, output: OutputPump) -> StartedProcess:
        """Start the helper, and wait until it has submitted the job.

        Raises StartFailed if the job can't be submitted.
        """
        caps.enforced |= {key: "slurm" for key in _SEEN_TO if self._there["limits"][key]}
        self._reading, self._writing = map(posixspawn.raised, os.pipe2(os.O_CLOEXEC))
        os.set_blocking(self._reading, False)
        self._output = os.dup(output.writing)
        try:
            return self._submitted()
        except BaseException:
            self._close()
            raise

    def _submitted(self) -> StartedProcess:
        started = self._helper(0, stopping=False)
        until = time.monotonic() + _FIRST_WORD
        while not (has_begun := self._has(*_FIRST)) and (left := until - time.monotonic()) > 0:
            has_died = process.is_over(started.pid, self._reading, left)
            self._read()
            if has_died and not self._has(*_FIRST):
                os.waitpid(started.pid, 0)
                started = self._next(0, stopping=False)
        if has_begun and (why := self._word("unstarted") or self._word("refused")):
            process.is_reaped(started.pid, _FAREWELL)
            raise StartFailed("slurm", errno.EAGAIN if self._has("unstarted") else 0, why)
        return started

    def watch(
        self, loop: DescriptorLoop, draft: RecordDraft, account: AttemptAccount, ending: Ending, is_sampled: bool
    ) -> None:
        """Read the helper's reports. The timeout counts only the time on a node."""
        self._loop, self._draft, self._ending = loop, draft, ending
        loop.on(self._reading, self._read_reports)
        self._read_reports()

    def goes_on(self, draft: RecordDraft, output: OutputPump) -> bool:
        """Restart a helper that died without a final report, and return True.

        Return False after a final report or too many deaths.
        """
        self._read()
        if not self._has(*_LAST):
            before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            try:
                output.pump_all()
                draft.pid, draft.status = self._next(output.taken, stopping=self._ending.cause is not None).pid, None
            except StartFailed as failure:
                self._words.append({"end": {"cause": ("lost", str(failure)), "status": None}})
            else:
                self._marks.started_again(wire.PidMark.of(draft.pid, draft.started, before))
                return True
        self._read_reports()
        self._loop.off(self._reading)
        self._conclude(draft)
        self._close()
        return False

    def _close(self) -> None:
        for descriptor in (self._reading, self._writing, self._output):
            os.close(descriptor)

    def _conclude(self, draft: RecordDraft) -> None:
        why = self._word("unstarted") or self._word("refused")
        end = self._word("end") or {"cause": ("failed", f"start_failed: slurm: {why}"), "status": None}
        if end.get("failed"):
            step, number, detail = end["failed"]
            end["cause"] = "failed", f"start_failed: {StartFailed(step, number, detail)}"
        state, text = end["cause"] or ("", "")
        draft.conclude((state, of(text)) if state else None, end["status"], _used(end))

    def _next(self, taken: int, *, stopping: bool) -> StartedProcess:
        self._deaths = self._deaths + 1 if time.monotonic() < self._born + _LONG else 1
        if self._deaths > _MOST_DEATHS:
            name = self._there["name"]
            raise StartFailed(
                "slurm",
                0,
                f"its helper was killed {self._deaths} times; to cancel its Slurm job: scancel --name={name}",
            )
        return self._helper(taken, stopping=stopping)

    def _helper(self, taken: int, *, stopping: bool) -> StartedProcess:
        order = posixspawn.raised(os.memfd_create("order"))
        self._born = time.monotonic()
        try:
            os.write(order, json.dumps(self._ordered(taken, stopping=stopping)).encode())
            return spawn.spawn(self.order, self._output, self.cgroup, more=(order, self._writing))
        except OSError as error:
            raise StartFailed("slurm", error.errno or 0) from None
        finally:
            os.close(order)

    def _ordered(self, taken: int, *, stopping: bool) -> dict[str, Any]:
        order = self._order
        return {
            **self._there,
            "offset": taken,
            "stopping": stopping,
            "supervisor": os.getpid(),
            "pause": min(self._deaths * self._deaths / 2, _LONGEST_PAUSE),
            "stop_signal": order["stop_signal"],
            "kill_grace": order["kill_grace"],
            "process": {
                "command": arguments(order),
                "umask": order["umask"],
                "limits": order["attributes"].get("limits", {}),
                "nice": order["attributes"].get("nice", 0),
            },
        }

    # reports of the helper

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._reading, _CHUNK):
                *lines, self._rest = (self._rest + data).split(b"\n")
                self._words += map(json.loads, lines)

    def _read_reports(self) -> None:
        """Handle new reports about the job's ID, state and node, and about the reason why it does not run."""
        self._read()
        words, self._heard = self._words[self._heard :], len(self._words)
        for word in words:
            if "running" in word and not self._is_running:
                self._is_running = True
                self._ending.begin(time.monotonic())
            if "state" in word or "unheard" in word:
                self._place |= word
                if "job" in self._place:
                    self._marks.slurm(self._place)
            if "warning" in word:
                self._draft.warnings.append(word["warning"])

    def _has(self, *names: str) -> bool:
        return any(name in word for word in self._words for name in names)

    def _word(self, name: str) -> Any:
        return next((word[name] for word in self._words if name in word), None)


def _used(end: Mapping[str, Any]) -> ProcessEnd:
    """Return the figures that the wrapper measured for its reaped processes."""
    used = end.get("used") or {}
    facts: dict[str, Any] = {**_NOT_MEASURED, **{name: used.get(name) for name in _MEASURED}}
    if facts["memory_peak"] is not None:
        facts["memory_peak_below"] = None
    return cast("ProcessEnd", {**facts, **({"slurm": end["slurm"]} if "slurm" in end else {})})


_NOT_MEASURED = dict.fromkeys(("memory_mean", "throttled", "tasks_peak"))
_FIRST = ("submitted", "unstarted", "refused", "end")
_LAST = ("unstarted", "refused", "end")
_MEASURED = ("rusage", "cpu_user", "cpu_system", "memory_peak", "memory_peak_below", "io_read", "io_write")

"""An attempt's record, from the first facts to the file."""

from __future__ import annotations

import json
import os
import resource
import signal
import time
from typing import Any, cast

from jobqueued.child.contract import atomic_file, wire
from jobqueued.child.contract.documents import (
    UNKNOWN_OF_ATTEMPT,
    UNSTARTED,
    AttemptRecord,
    LaunchSpec,
    ProcessEnd,
    Record,
    with_attempt,
)
from jobqueued.child.contract.instants import to_text
from jobqueued.child.contract.reasons import Code, Reason, fields, of
from jobqueued.child.contract.signals import signal_name
from jobqueued.child.report.account import AttemptAccount
from jobqueued.child.report.output import OutputPump
from jobqueued.child.start import spawn
from jobqueued.child.start.caps import Caps
from jobqueued.child.start.identity import StartFailed

_COUNTS = ("ru_maxrss", "ru_minflt", "ru_majflt", "ru_inblock", "ru_oublock", "ru_nvcsw", "ru_nivcsw")
_TERMINATED = (-signal.SIGTERM, 128 + signal.SIGTERM)
_SPAN = slice(36, 52)
"""The slice that is the span's id in a traceparent."""
_LIMIT_OF: dict[int, str] = {signal.SIGXCPU: "cpu_time", signal.SIGXFSZ: "file_size"}


class RecordDraft:
    """The facts about an attempt so far. Instants are wall time (ns); `status` is a wait status."""

    __slots__ = ("_caps", "_cause", "_elsewhere", "_ended", "_order", "_usage", "pid", "started", "status", "warnings")

    def __init__(self, order: LaunchSpec, caps: Caps) -> None:
        self._order, self._caps = order, caps
        self.pid = self.started = self._ended = 0
        self.status: int | None = None
        self._usage: resource.struct_rusage | None = None
        self._cause: tuple[str, Reason] | None = None
        self._elsewhere: ProcessEnd | None = None
        self.warnings: list[str] = []

    def begin(self) -> None:
        """Record when the start begins."""
        self.started = time.time_ns()

    def end(self) -> None:
        """Reap the main process, which ended."""
        self._ended = time.time_ns()
        _pid, self.status, self._usage = os.wait4(self.pid, 0)

    def conclude(self, cause: tuple[str, Reason] | None, status: int | None, used: ProcessEnd) -> None:
        """Save the end of a command on Slurm: state and reason, wait status (None if unknown), and figures.

        At least `cause` or `status` is not None.
        """
        self._cause, self.status, self._elsewhere = cause, status, used

    @property
    def code(self) -> int:
        """The command's exit code, or the negative number of the signal that ended it."""
        assert self.status is not None
        return os.waitstatus_to_exitcode(self.status)

    @property
    def was_terminated(self) -> bool:
        """Return whether SIGTERM ended the command."""
        return self.status is not None and self.code in _TERMINATED

    def verdict(self, cause: tuple[str, Reason] | None) -> tuple[str, Reason | None]:
        """Return state and reason of the end. `cause`: state and reason if the attempt was stopped, or None."""
        if (cause := cause or self._cause) is not None:
            return cause
        if self.code == -signal.SIGKILL and (reason := self._caps.killed()):
            return "oom_killed", reason
        if self.code in self._order["success_codes"]:
            return "succeeded", None
        return "failed", self._failure()

    def _failure(self) -> Reason:
        """Return the reason for a failure, such as ``signal 11 (SIGSEGV, core dumped)``."""
        assert self.status is not None
        if self.code >= 0:
            return Reason(Code.EXIT_CODE, exit_code=self.code)
        facts = {"signal": -self.code, "name": signal_name(-self.code), "core_dumped": os.WCOREDUMP(self.status)}
        limits = self._order["attributes"].get("limits", {})
        used_up = [key for key, _, _ in limits.values() if key == _LIMIT_OF.get(-self.code)]
        return Reason(Code.LIMIT_USED_UP, **facts, limit=used_up[0]) if used_up else Reason(Code.SIGNAL, **facts)

    def facts(self, account: AttemptAccount) -> ProcessEnd:
        """Return the main process's exit, and the resources that all processes used."""
        assert self._usage is not None
        used: ProcessEnd = {"rusage": {name[3:]: getattr(self._usage, name) for name in _COUNTS}}
        if self._elsewhere is None:
            used.update(cast("ProcessEnd", account.figures(self._usage)))
        else:
            used = self._elsewhere
        code = None if self.status is None else self.code
        used["pid"] = self.pid
        used["exit_code"] = code if code is not None and code >= 0 else None
        used["signal"] = -code if code is not None and code < 0 else None
        return used

    def so_far(self, reason: str, account: AttemptAccount, output: OutputPump) -> Record:
        """Return the live run's record with this attempt's facts. `reason`: why the attempt is stopping, or ""."""
        known: ProcessEnd = {"pid": self.pid, "exit_code": None, "signal": None, "rusage": None}
        known.update(cast("ProcessEnd", account.so_far()))
        state, cause = ("stopping", of(reason)) if reason else ("running", None)
        live = self._attempt(state, cause, known, output, over=False)
        live["ended"] = None
        return {**with_attempt(self._order["record"], live), "attempts": self._order["record"]["attempts"]}

    def not_started(self, failure: StartFailed, output: OutputPump) -> Record:
        """Return the whole record of an attempt that could not start."""
        self._ended = time.time_ns()
        state, reason = "failed", Reason(Code.START_FAILED, why=str(failure))
        if spawn.is_system_trouble(failure):
            state, reason = UNSTARTED, of(str(failure))
        return self.finished(state, reason, {}, output, over=True)

    def finished(
        self, state: str, reason: Reason | None, facts: ProcessEnd, output: OutputPump, *, over: bool
    ) -> Record:
        """Return the whole record of the run with this attempt. `over`: the output ended."""
        self.warnings += [loss for loss in output.losses() if loss not in self.warnings]
        return with_attempt(self._order["record"], self._attempt(state, reason, facts, output, over=over))

    def _attempt(
        self, state: str, reason: Reason | None, facts: ProcessEnd, output: OutputPump, *, over: bool
    ) -> AttemptRecord:
        told: Any = {
            **UNKNOWN_OF_ATTEMPT,
            "attempt": self._order["attempt"],
            "span_id": self._order.get("traceparent", "")[_SPAN] or None,
            "started": to_text(self.started),
            "ended": to_text(self._ended),
            "state": state,
            **fields(reason),
            "warnings": self.warnings,
            **facts,
            "enforced": self._caps.enforced,
            "failover": self._order["failover"],
            "output": output.report(over=over),
        }
        return cast("AttemptRecord", told)


def verdict(record: Record) -> str:
    """Return the end of a run in a few words."""
    return (record["reason"] or record["state"])[:200]


def is_told(order: LaunchSpec) -> bool:
    """Return whether the record file already contains this attempt, because recovery wrote the file."""
    try:
        with open(f"{order['logs']}.json", "rb") as file:
            attempts = json.load(file)["attempts"]
        return any(each["attempt"] == order["attempt"] for each in attempts)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def write(order: LaunchSpec, record: Record) -> tuple[str, bytes]:
    """Write the record file. Return its path and the record's bytes.

    The path is "" if the attempt did not start or the write failed. If the write failed, the record has the error.
    """
    if record["state"] == UNSTARTED:
        return "", wire.encode(record)
    path = f"{order['logs']}.json"
    record.pop("record_error", None)
    data = wire.encode(record)
    try:
        atomic_file.replace(path, data, above=order.get("log_directory"))
    except OSError as error:
        record["record_error"] = f"{path}: {error.strerror}"
        return "", wire.encode(record)
    return path, data

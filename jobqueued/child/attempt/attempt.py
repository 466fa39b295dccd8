"""Carries out an attempt: claims R, starts the job, pumps its output, ends it if required, and writes its record."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

from jobqueued.child.attempt.attempt_life import (
    COMMAND_LIVES,
    NOTHING_TO_END,
    AttemptStep,
    IllegalAttemptStep,
    State,
    after,
)
from jobqueued.child.attempt.ending import Ending, ended_all
from jobqueued.child.attempt.runner import runner_of
from jobqueued.child.attempt.shutdown import Shutdown
from jobqueued.child.contract import wire
from jobqueued.child.contract.documents import UNSTARTED, Record
from jobqueued.child.contract.reasons import Code, Reason, of
from jobqueued.child.hooks.hooks import Hooks
from jobqueued.child.processes import tree
from jobqueued.child.processes.cgroup import SupervisorCgroups
from jobqueued.child.report import record
from jobqueued.child.report.account import NEVER, AttemptAccount
from jobqueued.child.report.budget import CommonBudget
from jobqueued.child.report.control_socket import REST, DescriptorLoop
from jobqueued.child.report.followers import Audience
from jobqueued.child.report.marks import Marks, declined
from jobqueued.child.report.output import OutputPump
from jobqueued.child.start.caps import Caps
from jobqueued.child.start.identity import StartFailed
from jobqueued.child.start.lockfile import LockFiles, Withheld

_DRAIN, _DRAIN_OF_LEFT = 1.0, 0.1
_SIGNAL_OF_INIT = 0.2
"""Time (s) to wait for our own SIGTERM if SIGTERM killed the job: at shutdown, init signals processes one by one."""
_FIRST_TRY, _LONGEST_TRY = 0.1, 2.0
"""First and longest pause (s) between two tries to write the end."""
_MOST_MISHAPS = 10


class Attempt:
    """An attempt, from claiming R to marking its end."""

    def __init__(
        self,
        marks: Marks,
        launcher: socket.socket,
        wakeups: int,
        shutdown: Shutdown,
        common: CommonBudget,
        cgroups: SupervisorCgroups,
        *,
        last: bool,
    ) -> None:
        """`wakeups`: becomes readable after each SIGCHLD. `last`: whether this is the supervisor's last attempt."""
        self._marks, self._name = marks, marks.name
        self._state = State.CLAIMING
        self._last = last
        self._wakeups, self._shutdown, self._common = wakeups, shutdown, common
        self._audience = Audience(marks.name, launcher)
        self._loop = DescriptorLoop(self._contain)
        self._cgroups = cgroups
        self._drain_until, self._mishaps = NEVER, 0

    @property
    def leaves(self) -> bool:
        """Return whether this supervisor must leave its pool."""
        return self._audience.leaves

    def _step(self, step: AttemptStep) -> bool:
        """Take a step of the state table, and return whether the state changed. An illegal step only adds a warning."""
        try:
            before, self._state = self._state, after(self._state, step)
        except IllegalAttemptStep as error:
            self._contain(error)
            return False
        return self._state is not before

    def _contain(self, error: Exception) -> None:
        """Add a warning about a bug or a lack of memory, but each warning only once.

        Raise the error if there are too many errors after the command's end.
        """
        text = f"bug in the supervisor: {error or type(error).__name__}"
        if text not in self._draft.warnings:
            self._warn(text)
        self._mishaps += self._state not in COMMAND_LIVES
        if self._mishaps > _MOST_MISHAPS:
            raise error

    def carry_out(self) -> str:
        """Carry out the whole attempt. Return the path of the record, or "" if the attempt did not start here."""
        held: list[Callable[[], object]] = []
        try:
            notice = self._begin(held)
            if notice is None:
                return self._live()
        finally:
            while held:
                held.pop()()
        self._step(AttemptStep.DECLINE)
        self._audience.say(notice)
        return ""

    def _begin(self, held: list[Callable[[], object]]) -> str | None:
        """Acquire the attempt's locks and other resources, R last, and add their release functions to `held`.

        Return None, or a notice if this fails.
        """
        try:
            self._order = self._marks.spec()
            self._runner = runner_of(self._order, self._cgroups.home, self._marks)
            self._cgroup = self._runner.cgroup
            self._account = AttemptAccount(self._cgroup)
            self._caps = Caps(self._runner.order, self._cgroup)
            self._ending = Ending(self._runner.order, self._cgroup)
            self._draft = record.RecordDraft(self._order, self._caps)
            self._hooks = Hooks(self._order, self._cgroups.home, self._loop, self._marks, self._so_far)
            self._locks = LockFiles(self._order)
            held.append(self._locks.free)
            self._listen()
            held.append(self._audience.close)
            self._output = OutputPump.of(self._order, self._common)
            held.append(self._output.shut)
            self._locks.take()
            self._claim()
        except Withheld as why:
            return f"unstarted {self._name} {why}"
        except OSError as error:
            return declined(self._name, error)
        return None

    def _live(self) -> str:
        try:
            return self._settle(self._run_to_end())
        except BaseException:  # a bug: save the command's exit status if it ended
            if self._draft.status is not None:
                self._marks.lose(self._draft.status)
            raise

    def _run_to_end(self) -> Record:
        """Run the job's processes until they end, and return the record."""
        try:
            self._start()
        except StartFailed as failure:
            self._step(AttemptStep.FAIL)
            self._clear()
            return self._draft.not_started(failure, self._output)
        self._watch()
        return self._record()

    def _settle(self, document: Record) -> str:
        """Write the record file, then R/ended, and retry until R/ended is written. Return the path of the record.

        If R was deleted, or the host is shutting down, the record file is enough.
        """
        self._locks.free()
        if self._hooks and document["state"] != UNSTARTED:
            self._run_end_hooks(document)
        path, data, pause = "", b"", _FIRST_TRY
        while self._marks.are_there():
            path, data = (path, data) if path else self._write_record(document)
            try:
                self._mark_end(data)
            except OSError as error:
                if path and self._shutdown.began():
                    self._audience.leaves = True
                    return path
                self._pause_before_retry(document, error, pause)
                pause = min(2 * pause, _LONGEST_TRY)
                continue
            self._farewell()
            if self._state is State.LEFT:
                self._outlive()
            else:
                self._cgroup.remove()  # the last processes may have ended while R/ended could not be written
            return path
        if not path and not record.is_told(self._order):
            path, _ = record.write(self._order, document)
        self._lose()
        return path

    def _run_end_hooks(self, document: Record) -> None:
        """Run the hooks for the end. Write the record file first, so that the end is saved even if a hook fails."""
        path = self._write_record(self._hooks.interim(document))[0]
        if path:
            self._accept_requests()
            self._hooks.see_off(document, path, lambda it: self._write_record(it)[0], self._audience)
        else:
            self._hooks.give_up("its record file can't be written")
        self._draft.warnings += self._hooks.warnings()
        document["telemetry"] = self._hooks.telemetry
        self._audience.leaves |= self._hooks.left or (self._state is State.EMPTY and self._hooks.orphans_killed())

    def _accept_requests(self) -> None:
        """Start to handle followers' requests and the host's shutdown."""
        self._audience.accept()
        self._loop.on(self._shutdown.descriptor, self._check_for_shutdown)

    def _pause_before_retry(self, document: Record, error: OSError, seconds: float) -> None:
        """Pause before the next try to write R.

        During the pause, serve followers and pump the output of remaining processes.
        """
        reason = f"it ended ({record.verdict(document)}), but its run directory can't be written: {error.strerror}"
        if reason != self._audience.reason:
            self._audience.stopping(reason)
        self._accept_requests()
        if self._state is State.LEAVING:
            self._loop.on(self._output.reading, self._pump)
        self._loop.go_on(seconds)

    def _lose(self) -> None:
        """Report the attempt as lost, and end its remaining processes, because without R they would be invisible."""
        self._audience.lost(self._draft.status)
        if self._state is State.LEAVING:
            self._step(AttemptStep.CLEAR)
        self._clear()
        self._step(AttemptStep.LOSE)

    # the start

    def _listen(self) -> None:
        self._audience.listen(self._marks.directory, self._loop, self._asked)

    def _claim(self) -> None:
        """Claim R. From now on, the job may have run.

        R/spawning shows a later launcher which cgroups may have processes.
        """
        self._marks.claim(wire.SpawningMark.now(self._cgroups.own, own=self._cgroup.is_own))
        self._step(AttemptStep.CLAIM)

    def _start(self) -> None:
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._draft.begin()
        warnings = self._locks.examined()
        started = self._runner.start(self._caps, self._output)
        self._step(AttemptStep.START)
        self._draft.pid, self._draft.warnings = started.pid, [*self._caps.warnings, *warnings, *started.warnings]
        self._output.started(started.pid)
        self._write_pid(before)
        self._runner.watch(self._loop, self._draft, self._account, self._ending, self._caps.sampled is not None)
        self._audience.say(f"started {self._name} {started.pid} {self._draft.started}")
        self._hooks.begin(time.monotonic())

    def _write_pid(self, before: int) -> None:
        self._marks.started(wire.PidMark.of(self._draft.pid, self._draft.started, before))

    def _clear(self) -> None:
        """End all processes of the attempt. A failed start may have left some, such as a profile's processes."""
        self._loop.on(self._wakeups, self._reap)
        self._reap()
        if not ended_all(self._loop.turn, lambda: self._state is State.EMPTY):
            self._audience.leaves = True  # the launcher inherits processes that can't end yet; they got SIGKILL
            self._step(AttemptStep.EMPTY)
        self._cgroup.remove()

    # its life

    def _watch(self) -> None:
        """Wait until the main process ended, no other process must be ended, and the output is drained or abandoned."""
        self._loop.on(self._wakeups, self._reap)
        self._loop.on(self._output.reading, self._pump)
        self._accept_requests()
        while self._state not in NOTHING_TO_END or self._output.reading in self._loop:
            try:
                self._wait()
                self._check_deadlines()
            except Exception as error:
                self._contain(error)
                self._loop.turn(REST)

    def _wait(self) -> None:
        ending = self._ending
        times = ending.deadline, ending.kill_at, self._drain_until, self._account.at, self._hooks.at
        self._loop.turn(min(times) - time.monotonic())

    def _check_deadlines(self) -> None:
        now = time.monotonic()
        if now >= self._ending.deadline:
            self._reap()  # a command that ended in time did not time out, even if we check late
        if now >= self._ending.deadline:
            self._stop("timed_out", Reason(Code.TIMEOUT, seconds=self._order["timeout"]))
        if now >= self._account.at:
            self._sample(now)
        if now >= self._ending.kill_at:
            self._kill(now)
        if now >= self._drain_until:
            self._give_the_output_up()
        if now >= self._hooks.at:
            self._hooks.look(now)

    def _sample(self, now: float) -> None:
        if (excess := self._caps.exceeded(self._account.sample(now))) and self._state in COMMAND_LIVES:
            self._stop("oom_killed", excess)

    def _pump(self) -> None:
        if not self._output.pump():
            self._loop.off(self._output.reading)

    def _give_the_output_up(self) -> None:
        self._drain_until = NEVER
        if not self._output.ended and self._output.reading in self._loop and self._state is State.EMPTY:
            self._warn("a process of another run or service keeps its output open; the run did not wait for it")
        self._loop.off(self._output.reading)

    # its end

    def _stop(self, state: str, reason: Reason, *, told: bool = False) -> None:
        """End the run if its command is alive. The first cause counts.

        `told`: whether its processes already got SIGTERM.
        """
        if self._step(AttemptStep.STOP):
            self._ending.cause = state, reason
            self._signal_end(reason, told=told)

    def _signal_end(self, reason: str, *, told: bool = False) -> None:
        self._audience.stopping(reason)
        self._ending.signal_stop(time.monotonic(), is_signalled=told)

    def _kill(self, now: float) -> None:
        if warning := self._ending.warning():
            self._warn(warning)
        self._ending.kill(now)

    def _asked(self, reason: str) -> None:
        self._reap()
        if self._state in COMMAND_LIVES:
            self._stop("killed", of(reason))
        elif self._state in NOTHING_TO_END and reason != self._audience.reason:  # a new scheduler may ask again
            self._hooks.give_up(reason)

    def _check_for_shutdown(self) -> None:
        if self._shutdown.began():
            self._hooks.give_up("shutdown")
            self._reap()
            if self._state in COMMAND_LIVES:
                self._stop("killed", Reason(Code.SHUTDOWN), told=True)

    def _reap(self) -> None:
        """Reap ended processes, and record their resource use."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakeups, 512)
        try:
            for pid in tree.ended():
                if pid == self._draft.pid:
                    self._draft.end()
                    if self._runner.goes_on(self._draft, self._output):
                        continue
                    self._ending.deadline = NEVER
                    self._step(AttemptStep.END)
                elif not self._hooks.reaped(pid):
                    self._account.add(os.wait4(pid, 0)[2])
        except ChildProcessError:
            if self._step(AttemptStep.EMPTY):
                self._ending.kill_at = self._account.at = NEVER
                self._drain_until = time.monotonic() + _DRAIN
            return
        if self._state is State.ENDED:
            self._look_at_what_is_left()

    def _look_at_what_is_left(self) -> None:
        """Handle processes that outlived the command."""
        if self._draft.status == signal.SIGKILL and self._caps.killed():
            self._step(AttemptStep.CLEAR)
            self._ending.kill(time.monotonic())  # the kernel, too, would kill all processes in a memory cgroup
            return
        names = ", ".join(tree.names(tree.children())[:5]) or "some"
        if self._order["leave_children"]:
            self._step(AttemptStep.LEAVE)
            self._warn(f"left running: {names}")
            self._drain_until = time.monotonic() + _DRAIN_OF_LEFT
            return
        self._step(AttemptStep.CLEAR)
        self._warn(f"its command left processes behind; they were ended: {names}")
        self._signal_end(f"its command has ended and left {names}")

    def _outlive(self) -> None:
        """Stay until processes left by `leave_children` end, because they are our children and write to our pipe."""
        self._drain_until = self._account.at = NEVER
        self._loop.on(self._output.reading, self._pump)
        while self._state is not State.OVER:
            self._wait()
        self._cgroup.remove()
        self._marks.leave()

    def _warn(self, text: str) -> None:
        self._draft.warnings.append(text)

    # the record

    def _so_far(self) -> Record:
        return self._draft.so_far(self._audience.reason, self._account, self._output)

    def _record(self) -> Record:
        draft, ending = self._draft, self._ending
        if ending.cause is None and draft.was_terminated and self._shutdown.began(_SIGNAL_OF_INIT):
            ending.cause = "killed", Reason(Code.SHUTDOWN)
        state, reason = draft.verdict(ending.cause)
        facts = draft.facts(self._account)
        draft.warnings += self._caps.limit_warnings(state)
        over = self._state is State.EMPTY
        if over and not self._cgroup.remove():
            self._warn("cannot remove its cgroup: a process in it does not end")
        return draft.finished(state, reason, facts, self._output, over=over)

    def _write_record(self, document: Record) -> tuple[str, bytes]:
        return record.write(self._order, document) if self._marks.are_there() else ("", wire.encode(document))

    def _mark_end(self, document: bytes) -> None:
        """Write the record to R/ended, where the scheduler reads it even if the log directory is not writable."""
        self._marks.end(document)
        if self._state is State.LEAVING:
            self._marks.stay_reachable()
        self._step(AttemptStep.MARK)

    def _farewell(self) -> None:
        self._audience.leaves |= self._last or self._state is State.LEFT
        self._audience.farewell()

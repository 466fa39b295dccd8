"""An attempt's telemetry hooks, called one after another at its start, for samples, and at its end.

Their objects are merged in the order of the calls. A hook can't end the run. A hook's failures become one warning with
their number.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import cast

from jobqueued.child.contract import atomic_file
from jobqueued.child.contract.documents import LaunchSpec, Record
from jobqueued.child.contract.text import counted
from jobqueued.child.hooks import hook
from jobqueued.child.hooks.telemetry import END, SAMPLE, START, TelemetryRefused, failed, merged
from jobqueued.child.processes import tree
from jobqueued.child.report.account import NEVER
from jobqueued.child.report.control_socket import DescriptorLoop
from jobqueued.child.report.followers import Audience
from jobqueued.child.report.marks import Marks
from jobqueued.child.report.record import verdict

LONGEST_WAIT = 5.0
"""Time (s) after a hook's timeout when the supervisor gives up on a hook that can't be killed (nfs(5))."""
_MOMENT = 1.0
"""If hooks for the end run longer than this (s), the audience is notified, and the record file is synced."""
_CHUNK = 1 << 16
_INTERIM = "this record was written before its telemetry hooks ended; their later output is missing"


class Hooks:
    """The hooks of an attempt. `at`: next call of `look` (CLOCK_MONOTONIC, s). `telemetry`: merged so far.

    `left`: True if a hook can't be killed.
    """

    def __init__(
        self, order: LaunchSpec, home: int, loop: DescriptorLoop, marks: Marks, record: Callable[[], Record]
    ) -> None:
        """`home`: place of cgroups. `record` returns the live attempt's record for the hooks."""
        self._order, self._home = order, home
        self._loop, self._marks, self._record = loop, marks, record
        self._hooks = order.get("hooks", [])
        self.telemetry = order["record"].get("telemetry", {})
        self.at, self.left = NEVER, False
        self._sample_at = [NEVER] * len(self._hooks)
        self._waiting: deque[tuple[int, str]] = deque()
        self._current: tuple[int, str] | None = None
        self._last_called = -1
        self._keeper = hook.Keeper(-1, -1)
        self._until = NEVER
        self._answer = b""
        self._given_up = ""
        self._final: Record | None = None
        self._failures: dict[int, tuple[str, str]] = {}
        self._failed: dict[int, int] = defaultdict(int)
        self._left_out: dict[tuple[int, int], int] = defaultdict(int)

    def __bool__(self) -> bool:
        """Return whether the job has hooks."""
        return bool(self._hooks)

    def begin(self, now: float) -> None:
        """Queue the calls for the attempt's start, and schedule the first samples."""
        for index, each in enumerate(self._hooks):
            if SAMPLE in each["at"]:
                self._sample_at[index] = now + each["every"]
        self._queue_calls(START)

    def look(self, now: float) -> None:
        """Call hooks whose sample is due, unless their previous sample is still waiting.

        Give up on a hook that hangs.
        """
        if self._current is not None and now >= self._until:
            self._leave()
        for index, at in enumerate(self._sample_at):
            if now >= at:
                every = self._hooks[index]["every"]
                self._sample_at[index] = at + every * ((now - at) // every + 1)
                if (index, SAMPLE) in (self._current, *self._waiting):
                    self._left_out[index, self._last_called] += 1
                else:
                    self._waiting.append((index, SAMPLE))
        self._call_next()

    def interim(self, record: Record) -> Record:
        """Return an ended attempt's record, to be saved before the hooks for the end run, in case this process dies."""
        warnings = [*record["warnings"], *self.warnings()]
        if not self._given_up and (self._current is not None or any(END in each["at"] for each in self._hooks)):
            warnings.append(_INTERIM)
        *before, attempt = record["attempts"]
        attempts = [*before, {**attempt, "warnings": warnings}]
        return cast("Record", {**record, "telemetry": self.telemetry, "warnings": warnings, "attempts": attempts})

    def see_off(self, record: Record, path: str, write: Callable[[Record], str], audience: Audience) -> None:
        """Call the hooks for the end, after any calls that wait for the start, and wait until all hooks are done.

        `write` saves the record file (`path`) after each hook. If this takes longer than `_MOMENT`, notify the
        audience, and make the file durable at once and after each later write.
        """
        written = self.telemetry
        self._final = record
        self._sample_at = [NEVER] * len(self._hooks)
        self._waiting = deque(one for one in self._waiting if one[1] == START)
        self._queue_calls(END)
        linger_at = time.monotonic() + _MOMENT
        self.look(time.monotonic())
        while self._current is not None:
            self._loop.turn(min(self.at, linger_at) - time.monotonic())
            if time.monotonic() >= linger_at and self._current is not None:
                linger_at = NEVER
                over = f"it ended ({verdict(record)}), but its telemetry hooks still run"
                audience.stopping(f"{over}; to end them: jobqueuectl stop {record['run']}")
                atomic_file.sync(path)
            if self._waiting and self.telemetry is not written:
                written = self.telemetry
                if write(self.interim(record)) and linger_at == NEVER:
                    atomic_file.sync(path)
            self.look(time.monotonic())

    def give_up(self, why: str) -> None:
        """Call no more hooks, and end the running hook."""
        self._given_up = self._given_up or why
        self._sample_at = [NEVER] * len(self._hooks)
        self._waiting.clear()
        if self._current is not None:
            self._hang_up()
            self._until = min(self._until, time.monotonic() + LONGEST_WAIT)
        self._schedule()

    def reaped(self, pid: int) -> bool:
        """Reap an ended child if it is a keeper. Return whether it was one."""
        if pid not in tree.apart:
            return False
        os.waitpid(pid, 0)
        tree.apart.discard(pid)
        if self._current is not None and pid == self._keeper.pid:
            self._read_answer()
            self._finish(*self._current)
        return True

    def orphans_killed(self) -> bool:
        """If a keeper was killed, kill its hook's processes, unless other processes are below us.

        Return whether any existed. After this, the supervisor leaves its pool, because it does not notice the end of
        these processes.
        """
        found = bool(tree.children())
        if found:
            tree.signal_all(signal.SIGKILL)
        return found

    def warnings(self) -> Iterator[str]:
        """Yield a warning for each hook that failed or was not called, and a warning if the hooks were cut short."""
        for index, each in enumerate(self._hooks):
            if failure := self._failures.get(index):
                more = self._failed[index] - 1
                often = f" (and {counted(more, 'more failure')})" if more else ""
                yield failed(each["name"], *failure) + often
            if held_up := {by: count for (whom, by), count in self._left_out.items() if whom == index}:
                busy = " or ".join("it" if by == index else self._hooks[by]["name"] for by in held_up)
                times = counted(sum(held_up.values()), "time")
                yield failed(each["name"], SAMPLE, f"not started {times}, because {busy} was still busy")
        if self._given_up:
            yield f"its telemetry hooks were cut short: {self._given_up}"

    def _queue_calls(self, moment: str) -> None:
        if not self._given_up:
            self._waiting += [(index, moment) for index, each in enumerate(self._hooks) if moment in each["at"]]
        self._schedule()

    def _call_next(self) -> None:
        """Call the next hook, if none is running."""
        while self._current is None and self._waiting:
            index, moment = self._waiting.popleft()
            each = self._hooks[index]
            record = self._record() if self._final is None else self._final
            try:
                told: Record = {**record, "telemetry": self.telemetry}
                self._keeper = hook.start_hook(self._marks.name, self._order, each, moment, told, self._home)
            except OSError as error:
                self._note(index, moment, f"could not be started: {error.strerror}")
                continue
            self._current, self._last_called, self._answer = (index, moment), index, b""
            self._until = time.monotonic() + each["timeout"] + LONGEST_WAIT
            self._loop.on(self._keeper.answer, self._read_answer)
        self._schedule()

    def _schedule(self) -> None:
        """Set the next time for `look`. If no hook is running, a waiting call is due at once."""
        until = self._until if self._current is not None else 0 if self._waiting else NEVER
        self.at = min([*self._sample_at, until], default=NEVER)

    def _read_answer(self) -> None:
        """Read the available part of the answer. The answer's end counts only after the keeper is reaped."""
        with contextlib.suppress(BlockingIOError):
            while self._keeper.answer in self._loop:
                data = os.read(self._keeper.answer, _CHUNK)
                self._answer += data
                if not data:
                    self._loop.off(self._keeper.answer)

    def _finish(self, index: int, moment: str) -> None:
        self._hang_up()
        self._current = None
        try:
            if not self._given_up:
                said = hook.understood(self._answer)
                if said:
                    self.telemetry = merged(self.telemetry, said)
                    self._marks.telemetry(self.telemetry)
        except TelemetryRefused as refusal:
            self._note(index, moment, str(refusal))
        self._schedule()

    def _hang_up(self) -> None:
        """Close the answer's descriptor, which makes the keeper end the hook."""
        if self._keeper.answer >= 0:
            self._loop.off(self._keeper.answer)
            os.close(self._keeper.answer)
            self._keeper = self._keeper._replace(answer=-1)

    def _leave(self) -> None:
        assert self._current is not None
        self._note(*self._current, "does not end, although it was killed")
        self._current, self.left = None, True
        self._hang_up()
        self.give_up("one of them does not end")

    def _note(self, index: int, moment: str, failure: str) -> None:
        self._failures.setdefault(index, (moment, failure))
        self._failed[index] += 1

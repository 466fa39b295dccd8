"""The scheduler's decisions, with a trace. A bug in the scheduler is logged, and affects only one event.

Any exception counts as a bug, even an impossible step (lifecycle.IllegalRunStep). If the event is an attempt's end, the
run counts as lost. If the handling of the lost run raises an exception too, the attempt is set aside until the next
start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from jobqueued.base.instants import MINUTE, SECOND
from jobqueued.base.text import printable
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.trace import Recorder
from jobqueued.daemon.trace import TraceFile, write_ring
from jobqueued.host.log import Log
from jobqueued.model.commands import Command, Reply
from jobqueued.model.events import Event, NeverStarted, RunEnded, RunLost
from jobqueued.model.job import Now
from jobqueued.model.run import Run, RunId
from jobqueued.model.saved import Hold, SavedJob
from jobqueued.runs.run_directory import Name

_AGAIN = 10 * SECOND
_FILE_EVERY = 10 * MINUTE


class Decisions:
    """A scheduler and its trace. If `trace` is None, trace files about bugs are written to `directory`."""

    def __init__(self, scheduler: Scheduler, log: Log, directory: Path, trace: TraceFile | None) -> None:
        self._scheduler, self._log, self._directory, self._trace = scheduler, log, directory, trace
        self._recorder = Recorder(scheduler, None if trace is None else trace.note)
        self._set_aside: dict[Name, str] = {}
        self._stuck = ""
        self._stuck_until = 0
        self._file: Path | None = None
        self._file_at: int | None = None
        self._unwritten = ""
        self._said = ""
        self._answered: dict[str, int] = {}

    @property
    def troubles(self) -> list[str]:
        """Descriptions of the lasting problems: attempts that were set aside after a bug, a stuck scheduler, and a
        trace that ended.
        """
        trace = "" if self._trace is None else self._trace.trouble
        return [*self._set_aside.values(), *filter(None, (self._stuck, trace))]

    @property
    def stands_still(self) -> str:
        """The reason why no run starts (a bug or unsaved state), or "" if runs start."""
        return self._stuck or self._scheduler.unsaved

    def restore(self, jobs: Iterable[SavedJob], runs: Iterable[Run], now: Now, hold: Hold | None) -> None:
        """Start with the state that an earlier scheduler saved."""
        self._recorder.restore(jobs, runs, now, hold)

    def about(self, happened: Sequence[Event], now: Now) -> list[Command]:
        """Decide about events, in order."""
        return [command for event in happened for command in self._about(event, now)]

    def following(self, now: Now, *, admit: bool) -> Sequence[Command]:
        """Decide the consequences at the end of a turn and, if `admit`, which runs start."""
        if self._stuck_until > now.mono:
            return ()
        try:
            decided = self._recorder.over(now, admit=admit)
        except Exception as error:
            self._get_stuck(error, now)
            return ()
        self._stuck = ""
        return decided

    def next_wakeup(self, now: Now) -> int | None:
        """Return when (wall, ns) the scheduler needs a turn, or None if it needs none.

        A stuck scheduler needs no turn before the next retry.
        """
        wake = self._scheduler.next_wakeup(now)
        rest = self._stuck_until - now.mono
        return wake if not self._stuck or rest <= 0 else max(wake or 0, now.wall + rest)

    def unanswered(self, what: str, error: Exception, now: Now) -> str:
        """Log a bug that prevents a reply to a caller, at most once in ten minutes for each place.

        Return the bug's type and place.
        """
        kind = f"{type(error).__name__}{_place(error)}"
        if self._answered.get(kind, 0) <= now.mono:
            self._answered[kind] = now.mono + _FILE_EVERY
            self._say(printable(f"{what} could not be answered: {_where(error)}; {self._told(None, now)}"))
        return kind

    def _about(self, event: Event, now: Now) -> Sequence[Command]:
        name = _attempt(event)
        if name in self._set_aside:
            return ()
        try:
            return self._recorder.handle(event, now)
        except Exception as error:
            return self._instead(event, name, error, now)

    def _instead(self, event: Event, name: Name | None, error: Exception, now: Now) -> Sequence[Command]:
        """Handle an event as far as possible after the scheduler raised an exception for it."""
        why, how = _where(error), self._told(name, now)
        if name is not None and isinstance(event, RunEnded | NeverStarted):
            try:
                lost = RunLost(*name, Reason(Code.END_NOT_HANDLED, bug=str(why)))
                decided = self._recorder.handle(lost, now)
                self._say(f"the end of {name} could not be handled, so the run counts as lost: {why}; {how}")
                return decided
            except Exception as second:
                why = f"{why}; {_where(second)}"
        if name is not None and isinstance(event, RunEnded | NeverStarted | RunLost):
            aside = f"{name} is set aside: its end could not be handled, so the run counts as live until the next start"
            self._set_aside[name] = aside
            self._say(f"{aside}: {why}; {how}")
            return ()
        self._say(f"{type(event).__name__}{_subject(event)} could not be handled and is ignored: {why}; {how}")
        ticket: int | None = getattr(event, "ticket", None)
        return () if ticket is None else (Reply(ticket, {"reason": f"a bug in jobqueued: {why}"}, "Refused"),)

    def _get_stuck(self, error: Exception, now: Now) -> None:
        self._stuck_until = now.mono + _AGAIN
        self._stuck = "the scheduler could not decide what to start, so nothing new starts; it retries every 10 s"
        self._say(f"{self._stuck}: {_where(error)}; to start again, restart jobqueued; {self._told(None, now)}")

    def _told(self, name: Name | None, now: Now) -> str:
        """Write a trace file, at most one in ten minutes, and return a string that refers to this file."""
        if self._trace is not None and self._trace.is_whole:
            path = self._trace.path
        else:
            if self._file_at is None or self._file_at + _FILE_EVERY <= now.mono:
                self._file_at = now.mono
                try:
                    self._file = write_ring(self._directory, self._recorder.ring)
                except OSError as error:
                    self._file = None
                    self._unwritten = f"no trace could be written to {self._directory}: {error.strerror}"
            if self._file is None:
                return self._unwritten
            path = self._file
        story = "" if name is None else f" (python3 -m jobqueued.daemon.trace story {path} {name.run})"
        return f"please report this bug with {path}, a trace of the events before it{story}; the file contains commands"

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._log.say("bug", text=text)


def _attempt(event: Event) -> Name | None:
    """Return the attempt that an event is about, or None if the event is not about an attempt."""
    run, attempt = getattr(event, "run", None), getattr(event, "attempt", None)
    return Name(run, attempt) if isinstance(run, RunId) and isinstance(attempt, int) else None


def _subject(event: Event) -> str:
    """Return a string that names the run, job or file that an event is about."""
    found = (getattr(event, name, None) for name in ("run", "job", "file", "user", "path", "client"))
    return next((f" of {subject}" for subject in found if subject), "")


def _where(error: Exception) -> str:
    """Return an exception and its place as text: ``KeyError: 'x' (completion.py:45)``."""
    return f"{type(error).__name__}: {error}{_place(error)}"


def _place(error: Exception) -> str:
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return "" if place is None else f" ({os.path.basename(place.tb_frame.f_code.co_filename)}:{place.tb_lineno})"

"""Recovery: one verdict for every attempt that was or may be live, before anything new is admitted.

R                        supervisor               verdict
ended                    any                      ingest it
missing                  –                        the end in its record. Without one it is lost, or it never started
                                                  (if no start was reported, and the directory of all R was not
                                                  emptied), when neither supervisor nor process lives
                                                  (lost_attempts.py). Of an earlier boot: lost. Not sent to any
                                                  launcher: never started
without spawning         held by the launcher     it will start soon
without spawning         –                        never started (recovery makes spawning first, so that it stays so)
recovery's spawning      –                        never started, as an earlier scheduler decided
spawning, not ended      listens                  adopt; it lives, whether it answers or not
spawning, not ended      does not listen          killed; lost when nothing is left (lost_attempts.py), unless its
                                                  record was written
unknown now              –                        live, and checked again: no descriptor is free, no room in R

R always overrides an older row, because a commit may have failed. In the table, a is the run's newest attempt with an
R, and n is the attempt of the row (for a waiting run, the next attempt):

row                      R of a
missing                  found: its number and its occurrence are used, then as above
waits                    a ≥ n: found to be live, then as above; a < n: a leftover
live                     a > n: found, in the same way; a = n: as above; a < n: a leftover
final                    a leftover

If a run has several R, all except the newest are leftovers. The recovery removes a leftover, because the end is in a
commit and a record file (otherwise run_files.py retains the R), or in the launch spec of the next attempt. marks.py
describes damaged marks.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter

from jobqueued.child.contract import wire
from jobqueued.child.contract.reasons import Code, Reason
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model import events
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE
from jobqueued.runs import leftover_processes
from jobqueued.runs.leftover_processes import Clues
from jobqueued.runs.run_directory import Name, RunDirectory

GONE, DEAD = Reason(Code.SUPERVISOR_GONE), Reason(Code.SUPERVISOR_DIED)
NO_DIRECTORY = Reason(Code.RUN_DIRECTORY_GONE)
KNOWN = "its end was known already"


class Dead(NamedTuple):
    """An attempt whose supervisor died: the reason why the attempt is lost, and the clues to its live processes.

    `is_leftover`: whether its end is already recorded, so that other runs may have its claims. `unheard`: the count of
    `emptying` if no start was reported, else None. If no start was reported, and neither a process nor a record exists,
    the attempt never started, unless the directory of all R was emptied since.
    """

    reason: str
    clues: Clues
    is_leftover: bool = False
    unheard: int | None = None

    def over(self, name: Name, marks: RunDirectory) -> events.AttemptOver:
        """Return the end of the attempt, which no longer has a live process. Raises OSError if a mark can't be read
        now.
        """
        end = marks.lost(name, self.reason)
        never = self.unheard is not None and self.unheard == marks.emptying.count and isinstance(end, events.RunLost)
        return events.NeverStarted(*name) if never else end


class Recovery:
    """One recovery.

    `held`: attempts of the current launcher. `unsent`: attempts that no launcher received. `followed`: number of
    supervisors that the daemon already follows. The recovery collects supervisors to follow in `adopted`, attempts
    without a verdict (with the reason) in `unsettled`, and attempts whose supervisor died without a report in `dead`.
    """

    def __init__(
        self, marks: RunDirectory, held: set[Name], followed: int = 0, unsent: Container[Name] = frozenset()
    ) -> None:
        self._marks, self._held, self._followed, self._unsent = marks, held, followed, unsent
        self._emptyings = marks.emptying.count
        self.adopted: list[tuple[Name, socket.socket]] = []
        self.unsettled: dict[Name, str] = {}
        self.dead: dict[Name, Dead] = {}

    def verdicts(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[events.Event]:
        """Yield the verdicts on every attempt that has an R, and on every live run of `runs` without an R."""
        yield from self._in_order(self._of_each(runs, is_final, same_boot=same_boot))

    def _of_each(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[Iterator[events.Event]]:
        """Yield the verdicts, grouped by run."""
        names = self._marks.names()
        for run, attempts in groupby(names, key=lambda name: name.run):
            if is_final(run):
                yield from map(self._leftover, attempts)
            else:
                yield self._of_run(list(attempts), runs.get(run))
        for live in list(runs.values()):
            if live.state in LIVE and Name(live.id, live.attempt) not in names:
                yield self._without_directory(live, same_boot=same_boot)

    def _in_order(self, verdicts: Iterable[Iterator[events.Event]]) -> Iterator[events.Event]:
        """Yield the verdicts run by run: first live runs, then ended runs in the order of their ends."""
        over: list[tuple[int, list[events.Event]]] = []
        for found in map(list, verdicts):
            ends = [event for event in found if isinstance(event, events.RunEnded | events.RunLost)]
            if ends:
                over.append((self._marks.over(ends[-1]), found))
            else:
                yield from found
        for _, found in sorted(over, key=itemgetter(0)):
            yield from found

    def verdict(self, name: Name) -> Iterator[events.Event]:
        """Yield the verdict on one attempt that the scheduler has as live, or nothing if the attempt must be
        rechecked.
        """
        try:
            yield from self._verdict(name)
        except OSError as error:
            self.unsettled[name] = str(error.strerror)

    def _of_run(self, attempts: list[Name], row: Run | None) -> Iterator[events.Event]:
        """Yield the verdicts on all attempts of an unfinished run; `row` is None if the scheduler does not have the
        run.
        """
        if row is not None and row.state in LIVE and [name.attempt for name in attempts] == [row.attempt]:
            yield from self.verdict(attempts[0])
            return
        newest, sent = next(
            ((name, sent) for name in reversed(attempts) if (sent := self._marks.sent(name)) is not None), (None, None)
        )
        first = max(0 if row is None else row.attempt, 0 if newest is None else newest.attempt)
        for name in attempts:
            if name.attempt >= first:
                if name == newest or self._marks.has_begun(name):
                    yield events.Found(*name, sent if name == newest else None)
                yield from self.verdict(name)
        for name in attempts:
            if name.attempt < first:
                yield from self._leftover(name)

    def _leftover(self, name: Name) -> Iterator[events.Event]:
        """Handle an attempt whose end is recorded but whose marks still exist."""
        if (end := self._marks.end(name)) is not None:
            yield end
        else:
            self.dead[name] = Dead(KNOWN, self._marks.clues(name), is_leftover=True)

    def _verdict(self, name: Name) -> Iterator[events.Event]:
        if (end := self._marks.end(name)) is not None:
            yield end
            return
        with self._marks.opened(name) as directory:
            if directory is None:
                yield from self._without(name)
                return
            if (status := wire.read_mark(directory, wire.LOST)) is not None:
                yield from self._started(name)
                yield self._marks.lost(name, DEAD, wire.parse_status(status.decode(errors="replace")))
                return
            if not wire.may_have_started(directory):
                if name in self._held:
                    return
                if _took_token(directory):
                    yield events.NeverStarted(*name)
                    return
        yield from self._by_supervisor(name)

    def _by_supervisor(self, name: Name) -> Iterator[events.Event]:
        """Yield the verdict on an attempt whose end only its supervisor can report, or nothing if the launcher will
        report the end.
        """
        connection = self._marks.follow(name)
        if connection is not None:
            if self._followed + len(self.adopted) >= resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2:
                connection.close()
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            self.adopted.append((name, connection))
            yield from self._started(name)
        elif (end := self._marks.end(name)) is not None:
            yield end
        elif name not in self._held:
            yield from self._started(name)
            self.dead[name] = Dead(GONE, self._marks.clues(name))

    def _started(self, name: Name) -> Iterator[events.Event]:
        """Yield the start of an attempt, in case an earlier scheduler did not receive it."""
        started = self._marks.started(name)
        if started is not None:
            yield started

    def _without_directory(self, run: Run, *, same_boot: bool) -> Iterator[events.Event]:
        """Yield the verdict on a run without R, or nothing if the launcher holds the attempt and will therefore report
        its end.
        """
        name = Name(run.id, run.attempt)
        if not same_boot:
            yield self._marks.lost(name, Reason(Code.HOST_WENT_DOWN))
        elif name in self._held:
            return
        elif name in self._unsent:
            yield events.NeverStarted(*name)
        else:
            begin = run.queued if run.started is None else run.started
            is_unheard = (run.pid is None or run.started is None) and not run.doubted
            yield from self._without(name, leftover_processes.since(begin), self._emptyings if is_unheard else None)

    def _without(self, name: Name, since: int = 0, unheard: int | None = None) -> Iterator[events.Event]:
        """Yield the end in the record of an attempt without R. If no record exists, add the attempt to `dead`, so that
        its processes are checked.
        """
        end = self._marks.lost(name, NO_DIRECTORY)
        if isinstance(end, events.RunLost):
            self.dead[name] = Dead(NO_DIRECTORY, self._marks.clues_without(name, since), unheard=unheard)
        else:
            yield end


def _took_token(directory: int) -> bool:
    """Make `spawning`, so that an attempt can never start; return False if a supervisor made it first. Raises OSError
    if the disk is full.
    """
    try:
        wire.take_token(directory)
    except FileExistsError:
        return not wire.may_have_started(directory)
    return True

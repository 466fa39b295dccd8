"""Recovery: one verdict for every attempt that was or may be live, before anything new is admitted.

R                        supervisor               verdict
ended                    any                      ingest it
none                     –                        as the record tells; without one lost, or if nobody has told of a
                                                  start, nor emptied the directory of all R's, never started,
                                                  once neither supervisor nor process lives
                                                  (lost_attempts.py); of an earlier boot lost; never started,
                                                  if no launcher was sent it
without spawning         held by the launcher     it is about to be started
without spawning         –                        never started (spawning is taken first, so that it stays so)
recovery's spawning      –                        never started, as an earlier scheduler saw
spawning, not ended      listens                  adopt; it lives, whether it answers or not
spawning, not ended      does not listen          killed; lost once nothing is left (lost_attempts.py), unless its
                                                  record was written
it can't be told now     –                        live, and looked at again: no descriptor is left, no room in R

R always wins over an older row, as a commit may have failed.  By attempts, a the newest in an R that tells of its
run, n that of the row (of a run that waits the one to come):

row                      R of a
none                     found: its number and its occurrence are used, then as above
waits                    a ≥ n: found to be live, then as above; a < n: a leftover
live                     a > n: found, likewise; a = n: as above; a < n: a leftover
final                    a leftover

Of several R's of a run all but the newest are leftovers.  A leftover is removed: its end is in a commit and a record
file (else acts.py keeps it), or in the launch spec of the next attempt.  Marks that say nothing are in marks.py.
"""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter

from jobqueued import events
from jobqueued.child import wire
from jobqueued.child.tuples import NamedTuple
from jobqueued.model import LIVE, Run, RunId
from jobqueued.runs import kin
from jobqueued.runs.kin import Clues
from jobqueued.runs.run_directory import Name, RunDirectory

GONE = "its supervisor is gone"
DEAD = "its supervisor died"
NO_DIRECTORY = "its run directory is gone"
KNOWN = "its end was known already"


class Dead(NamedTuple):
    """An attempt whose supervisor is gone: the reason why it is lost, and the clues to what may live of it.

    Of a leftover the end is known, and the claims are others' already.  Of one that is `unheard` nobody has told that
    it started.  If nobody has emptied the directory of all R's since that era began, nothing of it lives, and no record
    tells of it, it never did.
    """

    reason: str
    clues: Clues
    is_leftover: bool = False
    unheard: int | None = None

    def over(self, name: Name, marks: RunDirectory) -> events.AttemptOver:
        """Its end, once nothing of it lives.  OSError as of any mark."""
        end = marks.lost(name, self.reason)
        never = self.unheard is not None and self.unheard == marks.emptying.era and isinstance(end, events.RunLost)
        return events.NeverStarted(*name) if never else end


class Recovery:
    """One recovery.  `held` are the attempts that the present launcher has, `unsent` those that none was sent; so many
    supervisors are `followed` already.

    `adopted` collects whom to follow, `unsettled` of whom nothing can be told now, and why, and `dead` those whose
    supervisor is gone without a word.
    """

    def __init__(
        self, marks: RunDirectory, held: set[Name], followed: int = 0, unsent: Container[Name] = frozenset()
    ) -> None:
        self._marks, self._held, self._followed, self._unsent = marks, held, followed, unsent
        self._era = marks.emptying.era
        self.adopted: list[tuple[Name, socket.socket]] = []
        self.unsettled: dict[Name, str] = {}
        self.dead: dict[Name, Dead] = {}

    def verdicts(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[events.Event]:
        """The verdict on every attempt that has an R, and of every live run of `runs` that has none."""
        yield from self._in_order(self._of_each(runs, is_final, same_boot=same_boot))

    def _of_each(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[Iterator[events.Event]]:
        """Yield the verdicts on each run."""
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
        """Yield verdicts run by run: what goes on first, then what has ended, as it did: others follow these ends."""
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
        """The verdict on one attempt that its row has, or that was found; none if it is to be looked at again."""
        try:
            yield from self._verdict(name)
        except OSError as error:
            self.unsettled[name] = str(error.strerror)

    def _of_run(self, attempts: list[Name], row: Run | None) -> Iterator[events.Event]:
        """The verdicts on all attempts of a run that is not final; `row` None: nobody knows of it."""
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
        """An attempt whose end is known already: only its marks are still there."""
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
        """The verdict where only its supervisor can tell the end; a launcher that holds a dead one's is burying it."""
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
        """The news of the start, which may have been lost with the scheduler that was to hear it."""
        started = self._marks.started(name)
        if started is not None:
            yield started

    def _without_directory(self, run: Run, *, same_boot: bool) -> Iterator[events.Event]:
        """None where the launcher has it, which will tell its end all the same; a record that has the end tells it."""
        name = Name(run.id, run.attempt)
        if not same_boot:
            yield self._marks.lost(name, "the host went down")
        elif name in self._held:
            return
        elif name in self._unsent:
            yield events.NeverStarted(*name)
        else:
            begin = run.queued if run.started is None else run.started
            is_unheard = (run.pid is None or run.started is None) and not run.doubted
            yield from self._without(name, kin.since(begin), self._era if is_unheard else None)

    def _without(self, name: Name, since: int = 0, unheard: int | None = None) -> Iterator[events.Event]:
        """The end that the record tells; without one it is to be seen whether its supervisor, or what it has, lives."""
        end = self._marks.lost(name, NO_DIRECTORY)
        if isinstance(end, events.RunLost):
            self.dead[name] = Dead(NO_DIRECTORY, self._marks.clues_without(name, since), unheard=unheard)
        else:
            yield end


def _took_token(directory: int) -> bool:
    """Decide that an attempt never starts; False: a supervisor was quicker.  OSError: there is no room to decide it."""
    try:
        wire.take_token(directory)
    except FileExistsError:
        return not wire.may_have_started(directory)
    return True

"""Recovery: one verdict for every attempt that was or may be live, before anything new is admitted.

R                        supervisor               verdict
ended                    any                      ingest it
none                     –                        never started; of an earlier boot: lost, unless a record tells
without spawning         held by the launcher     it is about to be started
without spawning         dead                     never started (spawning is taken first, so that it stays so)
spawning, not ended      answers                  adopt
spawning, not ended      dead, or silent 10 s     killed; lost, unless its record was written
without a row            any                      as above, and its number and occurrence count as used

Marks that say nothing are in marks.py.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Iterator, Mapping

from jobqueued import events
from jobqueued.child import wire
from jobqueued.model import LIVE, Run, RunId
from jobqueued.runs.run_directory import Name, RunDirectory

SILENT_SECONDS = 10.0

GONE = "its supervisor is gone"
DEAD = "its supervisor died"
NO_DIRECTORY = "its run directory is gone"


class Recovery:
    """One recovery.  `held` are the attempts that the present launcher has; `adopted` collects whom to follow."""

    def __init__(self, marks: RunDirectory, held: set[Name]) -> None:
        self._marks, self._held = marks, held
        self.adopted: dict[int, tuple[Name, socket.socket]] = {}

    def verdicts(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[events.Event]:
        """The verdict on every attempt that has an R, and of every live run of `runs` that has none."""
        names = self._marks.names()
        doubtful: list[Name] = []
        for name in names:
            run = runs.get(name.run)
            if run is None or run.attempt != name.attempt:
                if is_final(name.run):
                    yield self._leftover(name)
                    continue
                found = self._marks.found(name)
                if found is not None:
                    yield found
            verdict = self._from_marks(name)
            if verdict is None:
                doubtful.append(name)
            else:
                yield from verdict
        yield from self._adopt(doubtful)
        for run in list(runs.values()):
            if run.state in LIVE and Name(run.id, run.attempt) not in names:
                yield self._without_directory(run, same_boot=same_boot)

    def _leftover(self, name: Name) -> events.Event:
        """An attempt whose end is committed: only its marks are still there."""
        end = self._marks.end(name)
        if end is None:
            self._marks.kill(name)
        return end or events.RunLost(*name, "its run was final already")

    def _from_marks(self, name: Name) -> list[events.Event] | None:
        """From R alone; None: `spawning` stands there without an end, so only its supervisor can tell."""
        end = self._marks.end(name)
        if end is not None:
            return [end]
        with self._marks.opened(name) as directory:
            if directory is None:
                return []
            status = wire.read_mark(directory, wire.LOST)
            if status is not None:
                return [
                    *self._started(name),
                    self._marks.lost(name, DEAD, wire.parse_status(status.decode(errors="replace"))),
                ]
            if wire.read_mark(directory, wire.SPAWNING) is not None:
                return None
            if name in self._held:
                return []
            try:
                wire.write_mark(directory, wire.SPAWNING)  # whoever makes it decides: now no supervisor can start it
            except FileExistsError:
                return None
        return [events.NeverStarted(*name)]

    def _adopt(self, names: list[Name]) -> Iterator[events.Event]:
        """Ask the supervisors; who answers is followed, who is dead or silent has lost its run."""
        asked = {connection: name for name in names if (connection := self._marks.follow(name)) is not None}
        dead = [name for name in names if name not in asked.values()]
        until = time.monotonic() + SILENT_SECONDS
        while asked and (patience := until - time.monotonic()) > 0:
            for connection in select.select(list(asked), [], [], patience)[0]:
                name = asked.pop(connection)
                if not _answers(connection):
                    dead.append(name)
                    continue
                self.adopted[connection.fileno()] = name, connection
                yield from self._started(name)
        for name in dead:
            yield from self._of_the_dead(name)
        for connection, name in asked.items():
            connection.close()
            yield from self._end(name)

    def _of_the_dead(self, name: Name) -> Iterator[events.Event]:
        """The end of one whose R/control has no listener; a launcher that still holds it is burying its supervisor."""
        end = self._marks.end(name)
        if end is not None:
            yield end
        elif name not in self._held:
            yield from self._end(name)

    def _end(self, name: Name) -> Iterator[events.Event]:
        yield from self._started(name)
        self._marks.kill(name)
        yield self._marks.lost(name, GONE)

    def _started(self, name: Name) -> Iterator[events.Event]:
        """The news of the start, which may have been lost with the scheduler that was to hear it."""
        started = self._marks.started(name)
        if started is not None:
            yield started

    def _without_directory(self, run: Run, *, same_boot: bool) -> events.Event:
        name = Name(run.id, run.attempt)
        if not same_boot:
            return self._marks.lost(name, "the host went down")
        if run.pid is None:
            return events.NeverStarted(*name)
        return self._marks.lost(name, NO_DIRECTORY)


def _answers(connection: socket.socket) -> bool:
    try:
        if connection.recv(5) == b"live\n":
            return True
    except OSError:
        pass
    connection.close()
    return False

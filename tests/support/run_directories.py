"""The run directories (R) of a faked world, and what a scheduler learns from them by the table of runs/recovery.py."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import chain, groupby
from operator import itemgetter
from typing import cast

from jobqueued.child.contract.documents import Record
from jobqueued.model import events
from jobqueued.model.commands import Launch
from jobqueued.model.run import Run, RunId
from jobqueued.model.run_states import LIVE
from jobqueued.runs.marks import IDENTITY

Name = tuple[RunId, int]


class RunDirectories:
    """Every R that there is; `started` tells when an attempt did (wall), while its supervisor lives, else None."""

    def __init__(self, started: Callable[[Name], int | None]) -> None:
        self._started = started
        self.specs: dict[Name, Launch] = {}
        """R/spec."""
        self.ended: dict[Name, Record] = {}
        """R/ended."""
        self.unclaimed: set[Name] = set()
        """Those whose R/spawning is recovery's, or not there."""

    def __contains__(self, name: Name) -> bool:
        """True of an attempt that has an R."""
        return name in self.specs

    def remove(self, name: Name, *, possible: bool) -> None:
        """Remove R, if that is possible."""
        if possible:
            self.specs.pop(name, None)
            self.ended.pop(name, None)
            self.unclaimed.discard(name)

    def clear(self) -> None:
        """The host goes down."""
        for what in (self.specs, self.ended, self.unclaimed):
            what.clear()

    def verdicts(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[events.Event]:
        """What is told of each R, then of the live runs that have none: what has ended last, in order."""
        order = {name: place for place, name in enumerate(self.ended)}
        told = [list(each) for each in self._of_each(runs, is_final, same_boot=same_boot)]
        yield from chain.from_iterable(sorted(told, key=lambda each: max(_place(event, order) for event in each)))

    def _of_each(
        self, runs: Mapping[RunId, Run], is_final: Callable[[RunId], bool], *, same_boot: bool
    ) -> Iterator[Iterable[events.Event]]:
        for run, names in groupby(sorted(self.specs), key=itemgetter(0)):
            yield list(self._of_run(run, [attempt for _, attempt in names], runs.get(run), is_final=is_final(run)))
        for live in list(runs.values()):
            name = live.id, live.attempt
            if live.state in LIVE and name not in self:
                yield [events.NeverStarted(*name) if same_boot else events.RunLost(*name, "the host went down")]

    def _of_run(self, run: RunId, attempts: list[int], row: Run | None, *, is_final: bool) -> Iterator[events.Event]:
        if not is_final:
            if row is None or row.state not in LIVE or attempts != [row.attempt]:
                yield events.Found(run, attempts[-1], self._sent(run, attempts[-1]))
            yield self.verdict(run, attempts.pop())
        for attempt in attempts:
            end = self.verdict(run, attempt)
            yield end if isinstance(end, events.RunEnded) else events.RunLost(run, attempt, "it is known already")

    def sent_beside(self, known: Container[RunId]) -> list[Run]:
        """The runs of which R's alone tell, as they were sent."""
        return [self._sent(*name) for name in sorted(self.specs) if name[0] not in known]

    def verdict(self, run: RunId, attempt: int) -> events.Event:
        """What R alone says, and whether its supervisor lives."""
        name = run, attempt
        if name in self.ended:
            return events.RunEnded(*name, self.ended[name])
        if (started := self._started(name)) is not None:
            return events.RunStarted(*name, 4711, started)
        return events.NeverStarted(*name) if name in self.unclaimed else events.RunLost(*name, "its supervisor died")

    def _sent(self, run: RunId, attempt: int) -> Run:
        """The run as R/spec has it."""
        launch = self.specs[run, attempt]
        told = {field: getattr(launch.run, field) for field in IDENTITY}
        before = launch.record["attempts"]
        so_far = {**launch.record, "state": before[-1]["state"], "reason": None} if before else None
        return Run(id=run, arrival=0, so_far=cast("Record | None", so_far), **told)


def _place(event: events.Event, order: Mapping[Name, int]) -> int:
    """The place of an event in the order of ends, before all of them where it is none."""
    match event:
        case events.RunEnded(run, attempt):
            return order[run, attempt]
        case events.RunLost():
            return len(order)
    return -1

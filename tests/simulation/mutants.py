"""Mutants: the program broken on purpose, each in one place; the simulation has to see every one of them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from jobqueued.child import adopted_attempts
from jobqueued.child.attempt import attempt
from jobqueued.child.contract import wire
from jobqueued.child.report import record
from jobqueued.control.calls.submit_calls import SubmitCalls
from jobqueued.core import scheduler
from jobqueued.core.attempts import attempts
from jobqueued.core.due import clock, redefinition
from jobqueued.core.runs import dependencies, eligibility
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.state.submitted import UnfinishedSubmissions
from jobqueued.daemon.acts import Acts
from jobqueued.model import commands, events
from jobqueued.model.run_states import RunState
from jobqueued.queue.admission import Admission
from jobqueued.runs.emptying import Emptying
from jobqueued.runs.recovery import Recovery
from jobqueued.runs.run_directory import RunDirectory
from jobqueued.state.db.store import Store
from tests.simulation.life import Life, Terms

Broken = Iterator[None]


@dataclass(frozen=True)
class Mutant:
    """One of them: where, what is put there of what was there, and the lives in which it is looked for."""

    owner: Any
    name: str
    broken: Callable[[Any], Any]
    terms: Terms
    within: int
    """It is seen in one of the first so many seeds."""
    beside: Mutant | None = None
    """Another place that is broken, too, as each protects from what the other one lets through."""

    @contextlib.contextmanager
    def installed(self) -> Broken:
        """Have it."""
        before = vars(self.owner)[self.name]
        setattr(self.owner, self.name, self.broken(before))
        try:
            with self.beside.installed() if self.beside else contextlib.nullcontext():
                yield
        finally:
            setattr(self.owner, self.name, before)

    def seen(self) -> tuple[int, str] | None:
        """The first seed that shows it, and by what; None: none does."""
        for seed in range(1, self.within + 1):
            with self.installed():
                if violations := Life(seed, self.terms).live():
                    return seed, violations[0]
        return None


_KILLS = Terms(hours=2, jobs=8, faults=24, people=0, kinds=frozenset({"kill", "kill-all", "give-way"}))
_POWER = replace(_KILLS, kinds=frozenset({"kill", "power", "disk", "error"}))
_DISKS = replace(_KILLS, faults=30, kinds=frozenset({"kill", "kill-all", "give-way", "disk"}))
_LONG_DISKS = Terms(hours=3, jobs=3, faults=20, people=0, kinds=frozenset({"kill", "disk"}))
_EMPTIED = replace(_KILLS, jobs=12, faults=0, kinds=frozenset({"emptied"}))
_SET_BACK = Terms(hours=1, jobs=6, faults=0, people=0, kinds=frozenset({"set-back"}))
_BATCHES = Terms(hours=1, jobs=1, faults=40, people=0, kinds=frozenset({"kill", "batch", "resize", "retry"}))
_LOST_BATCHES = replace(_BATCHES, kinds=frozenset({"kill", "disk", "batch", "resize"}))
_CALLS = Terms(hours=1, jobs=2, faults=0, people=30, kinds=frozenset({"submit"}))


def _launches_first(carry_out: Any) -> Any:
    def broken(self: Any, decided: Any) -> Any:
        for each in decided:
            if isinstance(each, commands.Launch):
                self._link.launch(each)
        self._link.flush()
        return carry_out(self, [each for each in decided if not isinstance(each, commands.Launch)])

    return broken


def _removes_first(carry_out: Any) -> Any:
    def broken(self: Any, decided: Any) -> Any:
        for each in decided:
            if isinstance(each, commands.RemoveMarks):
                self._files._directories._remove(each)
        return carry_out(self, decided)

    return broken


def _does_what_it_takes(take: Any) -> Any:
    inside: list[Any] = []

    def broken(self: Any, decided: Any) -> None:
        if inside:
            take(self, decided)
            return
        inside.append(self)
        try:
            self.carry_out(decided)
        finally:
            inside.clear()

    return broken


def _as_they_come(_in_order: Any) -> Any:
    return lambda _self, verdicts: (event for found in verdicts for event in found)


def _knows_the_key_only(keep: Any) -> Any:
    return lambda turn, run: keep(turn, replace(run, triggered_by=None))


def _by_the_last_end(satisfy: Any) -> Any:
    def broken(turn: Any, ended: Any, job: Any, *, counts: bool) -> Any:
        return (ended.id,) if satisfy(turn, ended, job, counts=counts) else ()

    return broken


def _keeps_what_was_replaced(satisfy: Any) -> Any:
    def broken(turn: Any, ended: Any, job: Any, *, counts: bool) -> Any:
        is_used = f"d{ended.id}" in turn.state.found.get(job.id, {})
        return () if is_used else satisfy(turn, ended, job, counts=counts)

    return broken


def _jobs_first(commit: Any) -> Any:
    def broken(self: Any, runs: Any, jobs: Any, *rest: Any) -> None:
        if jobs:
            commit(self, {}, jobs)
        commit(self, runs, jobs, *rest)

    return broken


def _counts_anew(restore: Any) -> Any:
    def broken(self: Any, saved: Any, runs: Any, *rest: Any) -> None:
        again = [replace(run, attempt=run.attempt - 1) if run.state is RunState.RETRYING else run for run in runs]
        restore(self, saved, again, *rest)

    return broken


def _row_wins(of_run: Any) -> Any:
    def broken(self: Any, attempts: Any, row: Any) -> Any:
        known = [name for name in attempts if row is not None and name.attempt <= row.attempt]
        return of_run(self, known, row) if known else iter(())

    return broken


def _drops_found(hold: Any) -> Any:
    def broken(self: Any, run: Any, claims: Any, ends_at: Any, *, found: bool = False) -> None:
        hold(self, run, () if found else claims, ends_at, found=found)

    return broken


def _loses(end: Any) -> Any:
    return lambda self, name: None if end(self, name) is None else events.RunLost(*name, "a mutant")


def _ends_nothing(_end: Any) -> Any:
    def broken(self: Any, _supervisors: Any) -> list[str]:
        over, self._mains = self._mains, {}
        return [self._told(name, status) for name, (main, status) in over.items() if main != -1]

    return broken


def _shrugs(declined: Any) -> Any:
    return lambda name, error: f"idle {name}" if isinstance(error, FileNotFoundError) else declined(name, error)


def _stands_still(_set_back: Any) -> Any:
    return lambda saved, _job, _wall, _back=0: saved


def _goes_back(_set_back: Any) -> Any:
    return lambda saved, _job, wall, _back=0: replace(saved, cursor=min(saved.cursor, wall))


def _keeps_its_width(_reword: Any) -> Any:
    return lambda self, job, _text: self._saves[job]


def _retries_too_early(deciders: Any) -> Any:
    def broken(turn: Any, event: Any) -> None:
        if (run := turn.state.runs.get(event.run)) is not None and run.state is RunState.RETRYING:
            turn.state.change(run, attempt=run.attempt - 1)
        eligibility.retry_asked(turn, event)

    return {**deciders, events.RetryAsked: broken}


MUTANTS: dict[str, Mutant] = {
    "launches before the commit": Mutant(Acts, "carry_out", _launches_first, _KILLS, 5),
    "commits the cursors before the runs": Mutant(Store, "commit", _jobs_first, _KILLS, 60),
    "removes R before the commit of its end": Mutant(Acts, "carry_out", _removes_first, _POWER, 60),
    "a start uses up R's before it covers them": Mutant(Acts, "take", _does_what_it_takes, _DISKS, 100),
    "ends are told in the order of names, and go by the last of them": Mutant(
        Recovery, "_in_order", _as_they_come, _DISKS, 100,
        Mutant(
            dependencies, "satisfy", _by_the_last_end, _DISKS, 0,
            Mutant(attempts, "_keep_from_coming_again", _knows_the_key_only, _DISKS, 0),
        ),
    ),
    "an end that was replaced makes due again":
        Mutant(dependencies, "satisfy", _keeps_what_was_replaced, _LONG_DISKS, 60),
    "the row wins over R": Mutant(Recovery, "_of_run", _row_wins, _POWER, 60),
    "what is in R/ended counts as lost": Mutant(RunDirectory, "end", _loses, _KILLS, 5),
    "claims of live runs are dropped by a restart": Mutant(Admission, "hold", _drops_found, _KILLS, 20),
    "a retry repeats its attempt after a restart": Mutant(Scheduler, "restore", _counts_anew, _KILLS, 60),
    "a launcher lets go before all is dead": Mutant(adopted_attempts.AdoptedAttempts, "end", _ends_nothing, _KILLS, 60),
    "a key stands for runs that are lost":
        Mutant(SubmitCalls, "_check_whole", lambda _: lambda *_: None, _LOST_BATCHES, 60),
    "a key is forgotten": Mutant(SubmitCalls, "_known", lambda _: lambda _self, *_: None, _CALLS, 5),
    "an exit status is one of others": Mutant(
        record.RecordDraft, "code", lambda _: property(lambda self: 0 if self.status is not None else 1), _KILLS, 5
    ),
    "what has begun is taken for what has not":
        Mutant(wire, "may_have_started", lambda _: lambda _directory: False, _KILLS, 60),
    "what was emptied counts as whole":
        Mutant(Emptying, "count", lambda _: property(lambda _: 0), _EMPTIED, 200),
    "a clock that is set back stands still": Mutant(clock, "set_back", _stands_still, _SET_BACK, 40),
    "the cursor goes back with the clock": Mutant(clock, "set_back", _goes_back, _SET_BACK, 40),
    "a definition waits for a clock that was set back":
        Mutant(redefinition, "set_back", _stands_still, _SET_BACK, 60),
    "a restart gives a batch its first width": Mutant(UnfinishedSubmissions, "reword", _keeps_its_width, _BATCHES, 60),
    "an early retry repeats its attempt": Mutant(scheduler, "_DECIDERS", _retries_too_early, _BATCHES, 20),
    "an R that is gone counts as another's": Mutant(attempt, "declined", _shrugs, _EMPTIED, 200),
}  # fmt: skip
"""By what is wrong with the program."""


def main(names: list[str]) -> int:
    """Look for all of them, or those in whose names one of these words is; the exit status."""
    missed = 0
    for name, mutant in MUTANTS.items():
        if names and not any(word in name for word in names):
            continue
        found = mutant.seen()
        missed += found is None
        print(f"{name}: {'NOT SEEN' if found is None else f'seed {found[0]}: {found[1][:120]}'}", flush=True)
    return bool(missed)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

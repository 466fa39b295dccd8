"""The story of one future: each run as a record, for a chart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from jobqueued.base.instants import to_text
from jobqueued.child.contract.reasons import reserved_for
from jobqueued.foresight.tally import CONCURRENCY, DEPENDENCIES, HOLD, RATE, RESERVATION, Blame, Tally
from jobqueued.model.run import RunId
from jobqueued.model.run_states import RunState


class Story(Tally):
    """A tally that also records each run."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[RunId, dict[str, Any]] = {}

    def started(
        self, run: RunId, due: int, planned: int, start: int, blame: Blame | None, holder: RunId | None = None
    ) -> None:
        """Record the start of a run."""
        super().started(run, due, planned, start, blame, holder)
        self._runs[run] = {
            "due": due,
            "queued": planned,
            "started": start,
            "state": RunState.RUNNING.value,
            "attempts": [],
            **_wait(blame, holder),
        }

    def waits(
        self, run: RunId, due: int, planned: int, until: int, blame: Blame | None, holder: RunId | None = None
    ) -> None:
        """Record a run that still waits at the end of the simulation."""
        super().waits(run, due, planned, until, blame, holder)
        self._runs[run] = {
            "due": due,
            "queued": planned,
            "state": RunState.WAITING.value,
            "attempts": [],
            **_wait(blame, holder),
        }

    def found(self, run: RunId, due: int, queued: int, started: int, attempts: Sequence[tuple[int, int]]) -> None:
        """Record a run that started before the simulation."""
        told = {
            "due": due,
            "queued": queued,
            "started": started,
            "state": RunState.RUNNING.value,
            "attempts": [*attempts],
        }
        self._runs.setdefault(run, told)

    def attempted(self, run: RunId, start: int, end: int) -> None:
        """Record an attempt."""
        super().attempted(run, start, end)
        self._runs[run]["attempts"].append((start, end))

    def retries(self, run: RunId) -> None:
        """Record that a run waits for its next attempt at the end of the simulation."""
        self._runs[run]["state"] = RunState.RETRYING.value

    def ended(self, run: RunId, state: str) -> None:
        """Record the end of a run."""
        super().ended(run, state)
        if (told := self._runs.get(run)) is not None:
            told["state"] = state

    def skipped(self, run: RunId, reason: str, times: int, first: int, last: int) -> None:
        """Record a skip; later skips of the same run are added to it."""
        super().skipped(run, reason, times, first, last)
        told = self._runs.setdefault(run, {"due": first, "attempts": [], "count": 0})
        told |= {"state": RunState.SKIPPED.value, "reason": reason, "last_due": last, "count": told["count"] + times}

    def records(self, until: int) -> Iterator[dict[str, Any]]:
        """Yield a record of each run, for `jobqueuectl timeline --from`; `until`: the end of the simulation."""
        for run, told in self._runs.items():
            found = {"job": run.job, "number": run.number, "trigger": "simulated", "tags": [], **told}
            attempts = told["attempts"]
            found["attempts"] = [{"started": to_text(start), "ended": to_text(end)} for start, end in attempts]
            waits_on = told["state"] == RunState.WAITING
            found["ended"] = attempts[-1][1] if attempts else until if waits_on else None
            yield {**found, **{name: to_text(found[name]) for name in _TIMES if found.get(name) is not None}}


def _wait(blame: Blame | None, holder: RunId | None) -> dict[str, Any]:
    """Return the record fields that describe a wait."""
    told: dict[str, Any] = {} if holder is None else {"held_by": str(holder)}
    if blame is not None and blame.lacked not in (DEPENDENCIES, CONCURRENCY, RATE, HOLD):
        told["waited_for"] = [reserved_for(str(holder)) if blame.lacked == RESERVATION else blame.lacked]
    return told


_TIMES = ("due", "queued", "started", "ended", "last_due")

"""The story of one future: each of its runs, as a record of it would be, for a chart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from jobqueued.foresight.tally import CONCURRENCY, DEPENDENCIES, RESERVATION, Blame, Tally
from jobqueued.model import RunId, RunState, to_text


class Story(Tally):
    """A tally that keeps each run too."""

    def __init__(self) -> None:
        super().__init__()
        self._runs: dict[RunId, dict[str, Any]] = {}

    def started(
        self, run: RunId, due: int, planned: int, start: int, blame: Blame | None, holder: RunId | None = None
    ) -> None:
        """Keep the start of a run."""
        super().started(run, due, planned, start, blame, holder)
        told = self._runs[run] = {
            "due": due, "queued": planned, "started": start, "state": RunState.RUNNING.value, "attempts": [],
        }  # fmt: skip
        if holder is not None:
            told["held_by"] = str(holder)
        if blame is not None and blame.lacked not in (DEPENDENCIES, CONCURRENCY):
            told["waited_for"] = [f"what is kept for {holder}" if blame.lacked == RESERVATION else blame.lacked]

    def attempted(self, run: RunId, start: int, end: int) -> None:
        """Keep an attempt; of a run that was live at the beginning nothing else is known."""
        super().attempted(run, start, end)
        told = self._runs.setdefault(run, {"due": start, "started": start, "attempts": []})
        told["attempts"].append((start, end))

    def ended(self, run: RunId, state: str) -> None:
        """Keep the end of a run."""
        super().ended(run, state)
        if (told := self._runs.get(run)) is not None:
            told["state"] = state

    def skipped(self, run: RunId, reason: str, times: int, first: int, last: int) -> None:
        """Keep a skip, which may grow."""
        super().skipped(run, reason, times, first, last)
        told = self._runs.setdefault(run, {"due": first, "attempts": [], "count": 0})
        told |= {"state": RunState.SKIPPED.value, "reason": reason, "last_due": last, "count": told["count"] + times}

    def records(self, until: int) -> Iterator[dict[str, Any]]:
        """Yield a record of each run, for `jobqueuectl timeline --from`; what lives until the end ends then."""
        for run, told in self._runs.items():
            found = {"job": run.job, "number": run.number, "trigger": "simulated", "tags": [], **told}
            attempts = told["attempts"]
            if told["state"] == RunState.RUNNING.value:
                attempts = [*attempts, (told["started"] if not attempts else attempts[-1][1], until)]
            found["attempts"] = [{"started": to_text(start), "ended": to_text(end)} for start, end in attempts]
            found["ended"] = attempts[-1][1] if attempts else None
            yield {**found, **{name: to_text(found[name]) for name in _TIMES if found.get(name) is not None}}


_TIMES = ("due", "queued", "started", "ended", "last_due")

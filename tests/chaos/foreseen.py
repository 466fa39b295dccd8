"""Foreseen: how well a part of the day could have been known before, by the records; no promise, but a figure."""

from __future__ import annotations

from pathlib import Path

from jobqueued.base.replace import changed
from jobqueued.ctl.simulate.kept_forecast import KeptForecast, came
from jobqueued.ctl.simulate.parallel_futures import play_in_parallel
from jobqueued.ctl.simulate.past_snapshot import back_then
from jobqueued.ctl.simulate.snapshot import chance
from jobqueued.foresight.calibration import FUTURES, forecast, together
from jobqueued.foresight.futures import HostSnapshot
from jobqueued.model.run_states import RunState
from jobqueued.settings.paths import Paths

_MILLISECOND = 10**6


def foreseen(root: Path, at: int, span: int) -> dict[str, int]:
    """The figures of a forecast that could have been made at an instant (ns, wall), for so long after it.

    `root` has jobqueue.d, jobqueued.yaml and logs; a job that was disabled in the evening was not at that instant.
    """
    host = back_then(paths_of(root), at, None)
    host = host.with_jobs(changed(job, enabled=True) for job in host.jobs)
    return {**_state(host), **_compared(root, host, at + span)}


def paths_of(root: Path) -> Paths:
    """The paths of a day that is kept there; nothing of the host's own is read."""
    places = {"jobs": "jobqueue.d", "config": "jobqueued.yaml", "logs": "logs", "state": "state", "run": "run"}
    return Paths.chosen(root, **{name: root / place for name, place in places.items()})


def _state(host: HostSnapshot) -> dict[str, int]:
    waiting = sum(run.state is RunState.WAITING for run in host.runs)
    return {"runs that waited where a part of the day is foreseen from": waiting}


def _compared(root: Path, host: HostSnapshot, until: int) -> dict[str, int]:
    futures = play_in_parallel(host, until, [chance(0, number) for number in range(FUTURES)], keeps_starts=True)
    found = forecast(futures)
    began = came(paths_of(root), KeptForecast(host.begin, until, FUTURES, found, {}))
    verdict = together(found, began)
    known = [(it, began[name].get(it.due, 0)) for name, expected in found.items() for it in expected]
    soonest = min((start - it.due for it, start in known if start), default=0)
    return {
        "starts that are foreseen, and known": verdict.compared,
        "starts of these in their bands of 95 %": verdict.inside,
        "starts of these that were skipped": sum(start is None for _, start in known),
        "milliseconds that half of these starts came off": verdict.error // _MILLISECOND,
        "milliseconds that the quickest of these starts took": soonest // _MILLISECOND,
    }

"""What ends make due: each end is followed once, and what waits for several is due once for each round of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.oracle import Execution, Oracle

_FORGETS = frozenset({"power", "emptied", "shutdown"})
"""With these goes what nobody could save: ends that were followed, and those that were not."""


def too_many(oracle: Oracle, it: Execution) -> Iterator[str]:
    """Tell of a start which those that it waits for can't have made due, as they have not succeeded that often."""
    work = oracle.works.get(it.job)
    if work is None or not work.needs or not it.key.startswith("d") or oracle.excuses & _FORGETS:
        return
    keys = {other.key for other in oracle.executions.values() if other.job == it.job} | {it.key}
    keys |= {row.key for (job, _), row in oracle.rows.items() if job == it.job}
    due = sum(key.startswith("d") for key in keys)
    for name in work.needs:
        succeeded = sum(other.job == name and other.status == 0 for other in oracle.executions.values())
        if due > succeeded:
            yield f"{it.name} is number {due} that {name} has made due, which has succeeded {succeeded} times"


def unfollowed(oracle: Oracle) -> Iterator[str]:
    """Tell of each success that those who wait for it have not followed."""
    if oracle.excuses & _FORGETS:
        return
    for work in oracle.works.values():
        followed = {row.key for (job, _), row in oracle.rows.items() if job == work.id}
        for (job, number), row in oracle.rows.items():
            is_followed = f"j{job}@{number}" in followed or {job, work.id} & oracle.edited
            if job == work.after and row.state == "succeeded" and not is_followed:
                yield f"{job}@{number} has succeeded, and {work.id} has not followed"


def missed(oracle: Oracle) -> Iterator[str]:
    """Tell of each job that was not due as often as all that it waits for had succeeded since it was due last.

    Whoever is out of step, or hears late of an end, goes by another count; what people start by hand uses up what there
    was.
    """
    if oracle.excuses & (_FORGETS | {"by hand"}):
        return
    for work in oracle.works.values():
        if not work.needs or {work.id, *work.needs} & (oracle.edited | oracle.out_of_step | oracle.heard_late):
            continue
        ends = [
            (oracle.executions[job, number, row.ends[-1][0]].over, job)
            for (job, number), row in oracle.rows.items()
            if job in work.needs and row.state == "succeeded" and row.ends
        ]
        due, waiting = 0, set[str]()
        for _, job in sorted(ends):
            waiting.add(job)
            if len(waiting) == len(work.needs):
                due, waiting = due + 1, set()
        known = sum(row.key.startswith("d") for (job, _), row in oracle.rows.items() if job == work.id)
        if known != due:
            yield f"{work.id} was due {known} times, and those that it waits for make that {due}"


def stale(oracle: Oracle) -> Iterator[str]:
    """Yield each end that a run used too late: an earlier run had used the same end, or a later end of the same job."""
    if oracle.excuses & _FORGETS:
        return
    for work in oracle.works.values():
        if oracle.heard_late & {*work.needs}:
            continue
        newest = dict[str, int]()
        for (job, number), row in sorted(oracle.rows.items()):
            for run in row.used if job == work.id and work.needs else ():
                name, _, of = run.rpartition("@")
                end = max(it.over for it in oracle.executions.values() if (it.job, it.number) == (name, int(of)))
                if end <= newest.get(name, -1):
                    yield f"{job}@{number} has used {run}, and an earlier run has used it or a later end of {name}"
                newest[name] = end

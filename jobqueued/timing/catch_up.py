"""The rules after a gap: which missed occurrences still run, and which are skipped as missed."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import CatchUp, Job


class Sorted(NamedTuple):
    """Due times, oldest first: the ones to run, and the ones to skip as missed."""

    run: list[int]
    missed: list[int]


def window_of(job: Job, memory: int | None) -> int:
    """Return how far back (ns) a job makes up for missed occurrences, at most its fleet's `memory`."""
    return job.catch_up_window if memory is None else min(job.catch_up_window, memory)


def grace_of(job: Job, memory: int | None) -> int:
    """Return how late (ns) an occurrence may start before it counts as missed, at most its fleet's `memory`."""
    return job.grace if memory is None else min(job.grace, memory)


def sort_out(
    job: Job, dues: list[int], wall: int, *, complete: bool, since: int | None = None, memory: int | None = None
) -> Sorted:
    """Decide which due times run.

    Due times that are at most `grace` late run; `catch_up` decides about older ones within `catch_up_window`.

    `catch_up: latest` means one run for the whole gap, so no missed occurrence runs if a newer one runs anyway.
    `complete` is False if later due times follow in another call, so that these do not include the latest due time.
    `since`: the instant from which a clock step passed over due times. The latest due time after `since` runs even with
    `catch_up: none`. `memory` (ns): occurrences older than this do not run, because they may have run on another of the
    fleet's hosts; None means no limit.
    """
    grace = grace_of(job, memory)
    fresh = [due for due in dues if wall - due <= grace]
    late = [due for due in dues if wall - due > grace]
    inside = [due for due in late if wall - due <= window_of(job, memory)]
    match job.catch_up:
        case CatchUp.NONE:
            passed = [due for due in late if since is not None and due > since]
            passed = [due for due in passed if memory is None or wall - due <= memory]
            caught = passed[-1:] if complete and not fresh else []
        case CatchUp.LATEST:
            caught = inside[-1:] if complete and not fresh else []
        case CatchUp.ALL:
            caught = inside
    return Sorted(caught + fresh, late[: len(late) - len(caught)])

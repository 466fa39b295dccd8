"""Catching up after a gap: some of the occurrences that came due still run, the others are skipped as missed."""

from __future__ import annotations

from jobqueued.child.tuples import NamedTuple
from jobqueued.model import CatchUp, Job


class Sorted(NamedTuple):
    """Due times, oldest first: those that run, and those missed for good."""

    run: list[int]
    missed: list[int]


def sort_out(job: Job, dues: list[int], wall: int, *, complete: bool, since: int | None = None) -> Sorted:
    """Let run what is at most `grace` late, and of older ones what `catch_up` says, inside `catch_up_window`.

    `latest` means one run for the whole gap, so it catches nothing up where a fresh one runs anyway.  `complete` False:
    later due times follow in another call, so the latest is not among these.  `since`: what is due later than that was
    passed over by a step of the clock, and of that the latest runs even where `catch_up` is `none`.
    """
    fresh = [due for due in dues if wall - due <= job.grace]
    late = [due for due in dues if wall - due > job.grace]
    inside = [due for due in late if wall - due <= job.catch_up_window]
    match job.catch_up:
        case CatchUp.NONE:
            passed = [due for due in late if since is not None and due > since]
            caught = passed[-1:] if complete and not fresh else []
        case CatchUp.LATEST:
            caught = inside[-1:] if complete and not fresh else []
        case CatchUp.ALL:
            caught = inside
    return Sorted(caught + fresh, late[: len(late) - len(caught)])

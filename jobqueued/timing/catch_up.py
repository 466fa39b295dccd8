"""Catching up after a gap: some of the occurrences that came due still run, the others are skipped as missed."""

from __future__ import annotations

from typing import NamedTuple

from jobqueued.model import CatchUp, Job


class Sorted(NamedTuple):
    """Due times, oldest first: those that run, and those missed for good."""

    run: list[int]
    missed: list[int]


def sort_out(job: Job, dues: list[int], wall: int, *, complete: bool) -> Sorted:
    """Let run what is at most `grace` late, and of older ones what `catch_up` says, inside `catch_up_window`.

    `latest` means one run for the whole gap, so it catches nothing up where a fresh one runs anyway.  `complete` False:
    later due times follow in another call, so the latest is not among these.
    """
    fresh = [due for due in dues if wall - due <= job.grace]
    late = [due for due in dues if wall - due > job.grace]
    inside = [due for due in late if wall - due <= job.catch_up_window]
    match job.catch_up:
        case CatchUp.NONE:
            caught = []
        case CatchUp.LATEST:
            caught = inside[-1:] if complete and not fresh else []
        case CatchUp.ALL:
            caught = inside
    return Sorted(caught + fresh, late[: len(late) - len(caught)])

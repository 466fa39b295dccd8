"""The users and groups that jobs name, and that a host has or not."""

from __future__ import annotations

from typing import NamedTuple

from jobqueued.model import Job


class Account(NamedTuple):
    """A user or a group; `kind` says which."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


def accounts(job: Job) -> tuple[Account, ...]:
    """The user and the groups that a job's file names, and without which it can't start."""
    if job.user is None and job.group is None and not job.groups:
        return ()
    named = [("user", job.user), *(("group", group) for group in (job.group, *(job.groups or ())))]
    return tuple(dict.fromkeys(Account(kind, name) for kind, name in named if name is not None))

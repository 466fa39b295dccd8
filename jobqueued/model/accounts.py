"""The users and groups that jobs need; a host may not have them."""

from __future__ import annotations

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.job import Job
from jobqueued.model.users import budget_of


class Account(NamedTuple):
    """An account: a user, a group, the owner of jobs, or the user of a crontab, depending on its `kind`.

    An owner must have this `uid`. A group with a `uid` must contain the user with this UID, whose name is `member`.
    """

    kind: str
    name: str
    uid: int = -1
    member: str = ""

    def __str__(self) -> str:
        return f"{'group' if self.kind == 'group' else 'user'} {self.name}"


def accounts(job: Job) -> tuple[Account, ...]:
    """Return the user and the groups that a job needs; the job can't start if one of them does not exist."""
    if job.user is None and job.group is None and not job.groups:
        return ()
    groups = [group for group in (job.group, *(job.groups or ())) if group is not None]
    if job.owner is None:
        named = [("crontab" if budget_of(job.id) else "user", job.user), *(("group", group) for group in groups)]
        return tuple(dict.fromkeys(Account(kind, name) for kind, name in named if name is not None))
    uid, name = job.owner
    of_site = (Account("group", group) for group in groups if group in job.more_groups)
    own = (Account("group", group, uid, name) for group in groups if group not in job.more_groups)
    return tuple(dict.fromkeys((Account("owner", name, uid), *of_site, *own)))

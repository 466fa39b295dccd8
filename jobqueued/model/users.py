"""Users with jobs of their own: their identity and their rights on this host.

A job of a user is ``alice/backup``. Name and number together are the identity: either may belong to another user later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.submission import OF_THE_HOST

_NAME = r"(?a)(?!u[0-9]+$)[a-z_][a-z0-9_.-]{0,31}"
"""Pattern of a name that is a share: not ``u1000``, which belongs to the user with this number."""
_CRONTABS = "crontabs"
_TABLES = frozenset(("cron.d", _CRONTABS, OF_THE_HOST))
"""First parts of ids that belong to cron's tables, or to root's submissions."""
_ROOT = "root"
_MINUTE = 60_000_000_000
LARGEST_FILE = 1 << 16
"""Maximum size of a user's file (bytes), so that it is read in a turn or two."""


class Owner(NamedTuple):
    """The user who owns a job, and put it here."""

    uid: int
    name: str

    @property
    def share(self) -> str:
        """The first part of the ids of this user's jobs, and the key of their shared limits: ``alice``, or ``u1000``.

        It is the latter if the name can't be part of an id, or means something else there.
        """
        return self.name if _is_share(self.name) else f"u{self.uid}"


def _is_share(name: str) -> bool:
    return re.fullmatch(_NAME, name) is not None and name not in _TABLES


def share_of(job: str) -> str:
    """Return the share of the user whose job has this id, or "" for a job of the host."""
    share, slash, _ = job.partition("/")
    return share if slash and share not in _TABLES else ""


def budget_of(job: str) -> str:
    """Return the share of the user whose budget the runs of this job id count against, or "" for the host's work.

    It is the owner of the job, or the user of the crontab. Tables of the system are root's, whatever user a line names.
    A table of a user whose name is no share has a budget of its own, ``crontabs/Alice``.
    """
    first, _, rest = job.partition("/")
    if first != _CRONTABS:
        return share_of(job)
    table = rest.partition(":")[0]
    return "" if table in ("", _ROOT) else table if _is_share(table) else f"{first}/{table}"


def path_in(resource: str) -> str:
    """Return the path of the lock file that a claim is for, or "" if the claim is for another resource.

    A claim of a user's job begins with the user's share, ``alice//srv/x.lock``: the file itself, opened as that user,
    shows its holder.
    """
    share, _, rest = resource.partition("/")
    return resource if not share else rest if rest.startswith("/") else ""


def awaited_path(name: str) -> str:
    """Return the path of a trigger of this name.

    The name of a user's trigger has the share first: ``alice/~/in/*.csv``. So no file of the host is reported to a
    user, nor a user's file to anyone else.
    """
    share, _, rest = name.partition("/")
    return rest if share else name


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The key `users` of jobqueued.yaml: which users may have jobs, and the limits of each.

    `allow` and `deny` name users, and groups with an ``@``; None: all are allowed. `interval` is the shortest time
    between two starts by the clock of one job (ns); `live` and `waiting` count runs, `logs` bytes of records and
    output, `calls` those in a minute that add, change or submit. `permit` names the keys that otherwise only root has,
    `groups` those that jobs may have without membership; `reach` the addresses of the host that their notices may go
    to, ``127.0.0.1:80``; `caps` limit all runs of a user together, as `resource_limits` limit one.
    `defaults` hold where `caps` has no value. They depend on the host, so no job is refused because of them.
    """

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()
    jobs: int = 100
    interval: int = _MINUTE
    live: int = 32
    waiting: int = 10_000
    logs: int = 2 << 30
    calls: int = 20_000
    permit: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    reach: tuple[str, ...] = ()
    caps: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, int] = field(default_factory=dict)

    @property
    def output_of_a_run(self) -> int:
        """Maximum output of one run (bytes): all live runs of a user together stay below `logs`."""
        return self.logs // max(1, self.live)

"""Users with their own jobs: their identity and their rights on this host.

A user's job has an ID such as ``alice/backup``. Name and UID together identify a user, because either may later belong
to another user.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.model.submission import OF_THE_HOST

_NAME = r"(?a)(?!u[0-9]+$)[a-z_][a-z0-9_.-]{0,31}"
"""Pattern of a user name that can be a share. The pattern excludes names such as ``u1000``, which is the share of the
user with UID 1000.
"""
_CRONTABS = "crontabs"
_TABLES = frozenset(("cron.d", _CRONTABS, OF_THE_HOST))
"""First parts of the IDs of jobs in cron tables and of root's submissions."""
_ROOT = "root"
_MINUTE = 60_000_000_000
LARGEST_FILE = 1 << 16
"""Maximum size (bytes) of a user's file, so that the daemon can read the file in a turn or two."""


class Owner(NamedTuple):
    """The user who owns a job."""

    uid: int
    name: str

    @property
    def share(self) -> str:
        """The first part of the IDs of this user's jobs, and the key of their shared limits: ``alice`` or ``u1000``.

        The share contains the UID if the name can't be part of an ID, or has another meaning in IDs.
        """
        return self.name if _is_share(self.name) else f"u{self.uid}"


def _is_share(name: str) -> bool:
    return re.fullmatch(_NAME, name) is not None and name not in _TABLES


def share_of(job: str) -> str:
    """Return the share of the user whose job has this ID, or "" for the host's jobs."""
    share, slash, _ = job.partition("/")
    return share if slash and share not in _TABLES else ""


def budget_of(job: str) -> str:
    """Return the share whose limits apply to a job's runs, or "" for the host's jobs.

    This is the share of the job's owner, or of the crontab's user. System tables belong to the host, regardless of the
    users in their lines. If the name of a crontab's user can't be a share, the crontab has separate limits, under
    ``crontabs/Alice``.
    """
    first, _, rest = job.partition("/")
    if first != _CRONTABS:
        return share_of(job)
    table = rest.partition(":")[0]
    return "" if table in ("", _ROOT) else table if _is_share(table) else f"{first}/{table}"


def path_in(resource: str) -> str:
    """Return the path of the lock file that a claim is for, or "" if the claim is for another resource.

    A claim of a user's job begins with the user's share, as in ``alice//srv/x.lock``.  The supervisor opens the file as
    this user, and the file's lock shows the holder.
    """
    share, _, rest = resource.partition("/")
    return resource if not share else rest if rest.startswith("/") else ""


def awaited_path(name: str) -> str:
    """Return the path in the name of a path trigger.

    The name of a user's trigger begins with the user's share, as in ``alice/~/in/*.csv``, so that users learn nothing
    about other users' files.
    """
    share, _, rest = name.partition("/")
    return rest if share else name


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The key `users` of jobqueued.yaml: which users may have jobs, and the limits of each.

    `allow` and `deny` list users, and groups with an ``@``; `allow` None means all users. `interval`: shortest time
    (ns) between two scheduled starts of one job. `live` and `waiting`: maximum numbers of runs. `logs`: maximum bytes
    of records and output. `calls`: maximum number of calls per minute that add, change or submit jobs. `permit`: keys
    that otherwise only root may use. `groups`: groups that a user's jobs may have even if the user is not a member.
    `reach`: addresses of this host to which notices may be sent, such as ``127.0.0.1:80``.

    `caps`: limits for all runs of a user together, in the format of `resource_limits`. `defaults`: values for limits
    that are not in `caps`. No job is refused because of these defaults, because they depend on the host.
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
        """Maximum output (bytes) of one run, so that a user's live runs together write no more than `logs`."""
        return self.logs // max(1, self.live)

"""Users with jobs of their own: who they are, and what they may do on this host.

A job of theirs is ``alice/backup``.  The name and the number are a user's identity, both: either may be somebody else's
one day.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from jobqueued.child.tuples import NamedTuple
from jobqueued.submission import OF_THE_HOST

_NAME = r"(?a)(?!u[0-9]+$)[a-z_][a-z0-9_.-]{0,31}"
"""A name that is a share: not ``u1000``, which is that of another user who has this number."""
_CRONTABS = "crontabs"
_TABLES = frozenset(("cron.d", _CRONTABS, OF_THE_HOST))
"""The first parts of ids that are of cron's tables, or of what root has submitted."""
_ROOT = "root"
_MINUTE = 60_000_000_000
LARGEST_FILE = 1 << 16
"""Bytes of a file of a user's, which is read in a turn or two."""


class Owner(NamedTuple):
    """The user whose job it is, who put it here."""

    uid: int
    name: str

    @property
    def share(self) -> str:
        """The first part of the ids of this user's jobs, and what their runs share among them: ``alice``, or ``u1000``.

        The latter where the name could not stand in an id, or means something else there, as that of a number would.
        """
        return self.name if _is_share(self.name) else f"u{self.uid}"


def _is_share(name: str) -> bool:
    return re.fullmatch(_NAME, name) is not None and name not in _TABLES


def share_of(job: str) -> str:
    """The share of the user whose job has this id; "" where it is a job of the host's."""
    share, slash, _ = job.partition("/")
    return share if slash and share not in _TABLES else ""


def budget_of(job: str) -> str:
    """The share of the user whose budget the runs of this job id count against; "" if they are the host's work.

    That is the user whose own job it is, or in whose crontab it is.  Tables of the system are root's, whatever user a
    line names.  A table of a user whose name is no share has a budget of its own, ``crontabs/Alice``.
    """
    first, _, rest = job.partition("/")
    if first != _CRONTABS:
        return share_of(job)
    table = rest.partition(":")[0]
    return "" if table in ("", _ROOT) else table if _is_share(table) else f"{first}/{table}"


def path_in(resource: str) -> str:
    """The path of the lock file that a claim is for, whoever has it; "": it is for none.

    What jobs of a user claim has the user's share before it, ``alice//srv/x.lock``: who holds the file is for the file
    to tell, which is opened as that user.
    """
    share, _, rest = resource.partition("/")
    return resource if not share else rest if rest.startswith("/") else ""


def awaited_path(name: str) -> str:
    """The path of a trigger of this name, whoever has it: of a user's, ``alice/~/in/*.csv``, it is what that wrote.

    So no file of the host's is told to a user, nor one of a user's to anybody else.
    """
    share, _, rest = name.partition("/")
    return rest if share else name


@dataclass(frozen=True, slots=True)
class UserLimits:
    """The key `users` of jobqueued.yaml: who may have jobs, and how much each of them.

    `allow` and `deny` name users, and groups with an ``@``; None: all are allowed.  `interval` is the shortest between
    two starts by the clock of one job (ns); `live` and `waiting` count runs, `logs` bytes of records and output,
    `calls` those in a minute that add, change or submit.  `permit` names the keys that only root has otherwise,
    `groups` those that jobs may have, though their user is not in them; `reach` the addresses of the host that their
    notices may go to, ``127.0.0.1:80``; `caps` bound what all runs of a user together have, as `resource_limits` bound
    one.  `defaults` hold where `caps` has no value.  They depend on the host, so no job is refused because of them.
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

"""The rights on the control socket, decided by the caller's rank and the owner of the job or run that a call names.

Each method has a rule (`declaration.py`). `methods.py` collects the rules for the table in the manual.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum, IntEnum

from jobqueued.child.contract.tuples import NamedTuple


class Rank(IntEnum):
    """The rank of a caller. Strangers see IDs, states and times; readers see everything.

    Operators, root and the daemon's user may also change something.
    """

    STRANGER = 0
    READER = 1
    OPERATOR = 2
    ROOT = 3


class Whose(Enum):
    """The owner of the job, run or event that a call names: the host, the caller, another user, or no owner."""

    HOST = "host"
    OWN = "own"
    ANOTHERS = "another's"
    NOBODYS = "nobody's"


class AccessRule(NamedTuple):
    """The lowest rank that may call a method for all jobs. `own`: all users may call it for their own jobs and runs.

    `public`: all other callers get a reply without private facts. `names`: the parameters that name a job, a run or an
    event. `reason`: the explanation that refused callers get.
    """

    rank: Rank
    own: bool = False
    names: str = ""
    public: bool = False
    reason: str = ""


def table(rules: Mapping[str, AccessRule]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of a table of rights: the column headings, then each method with its allowed callers."""
    yield "method", "every user", "its owner", "readers", "operators", "root"
    for method, rule in rules.items():
        ranks = ("yes" if rank >= rule.rank else "-" for rank in list(Rank)[1:])
        yield method, "in part" if rule.public else "-", "yes" if rule.own else "-", *ranks


def is_allowed(rule: AccessRule, rank: Rank, whose: Whose = Whose.NOBODYS) -> bool:
    """Return whether a caller of this rank may make a call. The method leaves out what the caller may not see.

    `whose`: the owner of the job or run that the call names; see `ownership.py`. A name that no job or run can have
    counts as the caller's own, so that the method refuses the name.
    """
    return rank >= rule.rank or rule.public or (rule.own and whose in (Whose.OWN, Whose.NOBODYS))

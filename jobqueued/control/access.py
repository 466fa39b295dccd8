"""The rights on the control socket: one table, from which the manual's is generated, with a test for each field.

The peer's rank decides, and the owner of the job or run that a call names.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum, IntEnum

from jobqueued.child.tuples import NamedTuple


class Rank(IntEnum):
    """A stranger sees ids, states and times; a reader everything; an operator also acts, as do root and our user."""

    STRANGER = 0
    READER = 1
    OPERATOR = 2
    ROOT = 3


class Whose(Enum):
    """The owner of what a call names: the host, the caller or another user; or the call names nothing."""

    HOST = "host"
    OWN = "own"
    ANOTHERS = "another's"
    NOBODYS = "nobody's"


class Answer(Enum):
    """The part that a caller gets: everything, only what is about its own jobs, or nothing."""

    ALL = "all"
    OWN = "own"
    NO = "-"


class Rule(NamedTuple):
    """The rank from which a method is allowed for everything; `own`: every user may call it for own jobs and runs.

    `public`: other callers get a reply too, without private facts. `names`: the parameters that name a job, a run or an
    event. `reason`: what refused callers are told.
    """

    rank: Rank
    own: bool = False
    names: str = ""
    public: bool = False
    reason: str = ""


_SEES, _ACTS = Rank.READER, Rank.OPERATOR

RULES: dict[str, Rule] = {
    "Status": Rule(_SEES, own=True, public=True),
    "List": Rule(_SEES, own=True, public=True),
    "Describe": Rule(_SEES, own=True, names="job"),
    "Next": Rule(_SEES, own=True, names="job"),
    "Why": Rule(_SEES, own=True, names="job run"),
    "Show": Rule(_SEES, own=True, names="run"),
    "Logs": Rule(_SEES, own=True, names="run"),
    "Wait": Rule(_SEES, own=True, names="run"),
    "History": Rule(_SEES, own=True, names="job"),
    "Usage": Rule(_SEES, own=True),
    "Watch": Rule(_SEES, own=True),
    "Locks": Rule(_SEES, own=True),
    "Metrics": Rule(_SEES),
    "Notices": Rule(_SEES),
    "Run": Rule(_ACTS, own=True, names="job"),
    "Rerun": Rule(_ACTS, own=True, names="run"),
    "Retry": Rule(_ACTS, own=True, names="run"),
    "Stop": Rule(_ACTS, own=True, names="run"),
    "Emit": Rule(_ACTS, own=True, names="event"),
    "Pause": Rule(_ACTS, own=True, names="job"),
    "Resume": Rule(_ACTS, own=True, names="job"),
    "SkipNext": Rule(_ACTS, own=True, names="job"),
    "Forget": Rule(_ACTS, own=True, names="job"),
    "Reload": Rule(_ACTS),
    "Hold": Rule(_ACTS),
    "Release": Rule(_ACTS),
    "Fleet": Rule(_SEES, own=True, public=True),
    "AcceptFleet": Rule(_ACTS),
    "Lock": Rule(_ACTS),
    "Evict": Rule(_ACTS),
    "Notify": Rule(_ACTS),
    "DueChanges": Rule(Rank.ROOT, reason="job files may hold secrets; run this as root, or the daemon's user"),
    "CrontabGet": Rule(Rank.ROOT, own=True),
    "CrontabSet": Rule(Rank.ROOT, own=True),
    "CrontabRemove": Rule(Rank.ROOT, own=True),
    "UserFiles": Rule(Rank.ROOT, own=True),
    "UserFileGet": Rule(Rank.ROOT, own=True),
    "UserFileSet": Rule(Rank.ROOT, own=True),
    "UserFileRemove": Rule(Rank.ROOT, own=True),
    "Submit": Rule(Rank.ROOT, own=True),
    "Await": Rule(_SEES, own=True, names="job"),
    "Withdraw": Rule(_ACTS, own=True, names="job"),
    "Resize": Rule(_ACTS, own=True, names="job"),
    "Submissions": Rule(_SEES, own=True),
}
"""Method → rule. For crontabs the supervisors decide who the owner is (`child/spool_orders.py`)."""


def table() -> Iterator[tuple[str, ...]]:
    """Yield the rules as a table: the column headings, then each method with its callers."""
    yield "method", "every user", "its owner", "readers", "operators", "root"
    for method, rule in RULES.items():
        ranks = ("yes" if rank >= rule.rank else "-" for rank in list(Rank)[1:])
        yield method, "in part" if rule.public else "-", "yes" if rule.own else "-", *ranks


def answer(method: str, rank: Rank, whose: Whose = Whose.NOBODYS) -> Answer:
    """Return the part of a method that a caller of this rank gets, by the owner of what the call names."""
    rule = RULES[method]
    if rank >= rule.rank:
        return Answer.ALL
    if (rule.own and whose in (Whose.OWN, Whose.NOBODYS)) or rule.public:
        return Answer.OWN
    return Answer.NO

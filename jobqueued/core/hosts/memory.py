"""The fleet's memory of a job's occurrences: how long an occurrence that ran is remembered.

etcd keeps an occurrence for as long as hosts with the same definition may request it. A later definition may look back
farther, to occurrences that etcd has forgotten. Therefore the definition in etcd includes the period that etcd
remembers (child/fleet/claims.py), and no host starts an older occurrence.
"""

from __future__ import annotations

from jobqueued.base.instants import HOUR, SECOND, STEP_LIMIT
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.fleet.etcd.values import parsed
from jobqueued.model.job import Job

_LEAST = HOUR // SECOND
"""Minimum time (s) that etcd remembers an occurrence (child/fleet/uplink.py)."""
_ON_ITS_WAY = HOUR // SECOND
"""Time (s) within which a published definition reaches etcd; before that, hosts may use the previous definition."""


class Definition(NamedTuple):
    """A job's definition in its fleet: its `spec`, and how long (s) occurrences are remembered.

    Occurrences due in the second `since` or later are remembered for `window`, earlier occurrences for `before`. A
    `window` of 0 means that the time is unknown, because no host wrote it.
    """

    spec: str
    since: int = 0
    before: int = 0
    window: int = 0

    @property
    def text(self) -> str:
        """The definition as the value of a key in etcd."""
        return f"{self.spec} {self.since} {self.before} {self.window}"

    def reach(self, wall: int) -> int:
        """Return the period (ns) before an instant (wall) in which all occurrences are remembered."""
        return min(self.window * SECOND, max(self.before * SECOND, wall - self.since * SECOND))

    def kept(self, due: int) -> int:
        """Return how long (ns) an occurrence due at `due` (wall) is remembered after a host had it."""
        return SECOND * (self.window if due >= self.since * SECOND else self.before)


def parse_definition(text: str) -> Definition:
    """Parse the value of a definition in etcd; a malformed value becomes a `spec` that matches no job."""
    found = parsed(Definition, text)
    if found is None or not (found == Definition(found.spec) or _LEAST <= found.before <= found.window):
        return Definition(text)
    return found


def looks_back(job: Job) -> int:
    """Return how long (ns) an occurrence must be remembered, because a host's clock may still make it due this long
    afterwards.
    """
    return max(job.catch_up_window, job.grace, STEP_LIMIT)


def next_definition(there: str, spec: str, job: Job, wall: int) -> Definition:
    """Return the definition that replaces `there` in the fleet from now on; `there` is "" if the fleet has none."""
    known, window, now = parse_definition(there), looks_back(job) // SECOND, wall // SECOND
    if not there:
        return Definition(spec, 0, window, window)
    if not known.window:
        return Definition(spec, now + _ON_ITS_WAY, _LEAST, window)
    if window <= known.window:
        return Definition(spec, known.since, min(known.before, window), window)
    is_over = known.since <= now - known.window  # occurrences before `since` are no longer remembered
    before = known.window if is_over else min(known.before, known.window)
    return Definition(spec, now + _ON_ITS_WAY, before, window)

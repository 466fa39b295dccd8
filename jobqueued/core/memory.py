"""The memory of a fleet: for how long it knows which occurrences of a job were run.

An occurrence is remembered for as long as a host may come to it by the definition by which it was run: hosts that go by
that ask for it no later.  A later definition may look back farther, into a time of which all is forgotten.  So the
definition that counts says, too, from when on occurrences are remembered for how long (child/fleet/claims.py), and no
host starts what is older.
"""

from __future__ import annotations

from jobqueued.child.fleet.values import parsed
from jobqueued.child.tuples import NamedTuple
from jobqueued.instants import STEP_LIMIT
from jobqueued.model import HOUR, SECOND, Job

_LEAST = HOUR // SECOND
"""Seconds for which an occurrence is remembered at least, whatever its job says (child/fleet/uplink.py)."""
_ON_ITS_WAY = HOUR // SECOND
"""Seconds in which a definition that is published has come to etcd: until then hosts may go by the one before."""


class Definition(NamedTuple):
    """A definition of a job as its fleet has it: its `spec`, and for how long (s) occurrences are remembered: for
    `window` those that are due from the second `since` on, and for `before` those before that.

    `window` 0: that is not known, as no host has said it.
    """

    spec: str
    since: int = 0
    before: int = 0
    window: int = 0

    @property
    def text(self) -> str:
        """The value of its key."""
        return f"{self.spec} {self.since} {self.before} {self.window}"

    def reach(self, wall: int) -> int:
        """Return for how long (ns) before an instant (wall) all occurrences are remembered."""
        return min(self.window * SECOND, max(self.before * SECOND, wall - self.since * SECOND))

    def kept(self, due: int) -> int:
        """Return for how long (ns) an occurrence is remembered after a host had it, by when (wall) it was due."""
        return SECOND * (self.window if due >= self.since * SECOND else self.before)


def told(text: str) -> Definition:
    """Read what the fleet has; what no host has made is nobody's definition."""
    found = parsed(Definition, text)
    if found is None or not (found == Definition(found.spec) or _LEAST <= found.before <= found.window):
        return Definition(text)
    return found


def looks_back(job: Job) -> int:
    """Return how long (ns) after it was due an occurrence may come from a job's clock, and so is to be remembered."""
    return max(job.catch_up_window, job.grace, STEP_LIMIT)


def following(there: str, spec: str, job: Job, wall: int) -> Definition:
    """The definition of a job with which the fleet replaces the text that is `there` ("": none) from now on."""
    known, window, now = told(there), looks_back(job) // SECOND, wall // SECOND
    if not there:
        return Definition(spec, 0, window, window)
    if not known.window:
        return Definition(spec, now + _ON_ITS_WAY, _LEAST, window)
    if window <= known.window:
        return Definition(spec, known.since, min(known.before, window), window)
    is_over = known.since <= now - known.window  # nothing that is due before that is remembered by either
    before = known.window if is_over else min(known.before, known.window)
    return Definition(spec, now + _ON_ITS_WAY, before, window)

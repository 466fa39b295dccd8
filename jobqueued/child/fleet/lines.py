"""The lines between the scheduler and the agent of its fleet, each a JSON array, over a stream socket.

    → hello VERSION SETTINGS SEEN SINCE     the first; whatever an earlier scheduler has asked is not answered any more
    → since SINCE                     the same anew, each time after it can't be asked
    → ask JOB NUMBER QUESTION KEY [[LOCK, UNITS, OF]…] KEEP SPEC
                                      a run's claims, all or nothing: UNITS of the OF that a lock has; KEEP (s): how
                                      long its occurrence is remembered; SPEC: the definition by which it may be
                                      granted ("": any)
    → skip JOB FIRST LAST KEEP SPEC   all its occurrences from one second to another, to skip them for all hosts
    → accept                          what etcd has counts, whatever was SEEN
    → publish JOB SPEC BEFORE         the definition of a job that counts from now on, if BEFORE ("": none) did so far
    → join LOCK | leave LOCK          runs of this host wait for that, or none does any more
    → pause JOB TEXT BEFORE           the pause of a job for all hosts ("": none), if it is BEFORE ("": whatever it is)
    → overdue JOB TEXT BEFORE         that a job is overdue ("": no more), if what was said of it is BEFORE ("": none)
    → announce LABELS HELD            the labels of this host, and whether it is on hold
    → give_back JOB KEY STATE         its locks; with a STATE (``failed exit code 3``) its occurrence is over;
                                      ``returned``: that is nobody's again, for whichever host asks first
    ← up REASON                       "": whatever is asked from now on is answered, and all locks of others were told,
                                      and all occurrences that they have SINCE
    ← mark AGE NUMBER                 the mark to be remembered, before anything starts by what is granted after it
    ← granted JOB NUMBER QUESTION FENCE UNTIL | denied JOB NUMBER QUESTION    UNTIL (ns, BOOTTIME): from then on its
                                      locks may be another's; 0: never
    ← taken JOB KEY STATE             that occurrence is not this host's; STATE: how it has ended, where that is known;
                                      ``skipped FIRST``: so are all from that second on, which were skipped
    ← skipped JOB FIRST LAST          these are this host's to skip
    ← lost JOB KEY HOST               an occurrence, to be asked for by KEY, that HOST had, which is gone
    ← returned JOB/KEY STORE          an occurrence that a host had, and gave back before it ran; "": no more
    ← paused JOB TEXT                 its pause for all hosts; "": none
    ← made JOB TEXT                   a pause whose BEFORE was "" was, by this host, maybe before what was told last
    ← overdue JOB TEXT                what was told of it being overdue; "": nothing, or that is over
    ← spec JOB SPEC                   the definition that counts
    ← held HOLDER [[LOCK, UNITS]…]    all that a run of another host has by now; or a host whose turn it is
    ← host NAME STORE LABELS HELD COMMON    a host that has a session, who that is ("": it has none any more), and what
                                      it has announced
    ← fleets {NAME: [HOST…]} {NAME: [JOB…]}    the other fleets in this etcd, with their hosts, and some of their jobs
    ← ours JOB KEY                    this host has that occurrence, or locks, unasked for by this connection

KEY names an occurrence of the fleet (``f1772409660``; ``f1772409660.2`` once its first host was lost) or another run
(``x…``); LOCK is a name without prefix.

SEEN is AGE NUMBER, the mark of the fleet that this host has heard of last ("" 0: of none): an etcd that has not come so
far was put back.

SPEC of `publish` and `spec` is the whole value (core/memory.py), by which a job's runs and skips are asked for, too.

SINCE is {JOB: SECOND}: by job, from when on an occurrence may be asked for.  Of those before that, and of other jobs,
only `ours` is told, some of it after `up`.

SETTINGS: `store` and `host` (who this host is), `fleet` (its name), `etcd` (URLs of its members), `lock_grace` (s),
`authority`, `certificate`, `key` (files of TLS; "": none), `common`: COMMON of this host, what is to be the same on all
hosts (values.Common as JSON).
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 5
RETURNED = "returned"
"""The STATE of an occurrence that its host gives back before it has run."""

Line = list[Any]


def encode(line: Line) -> bytes:
    """As the socket has it."""
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def decode(data: bytes) -> Line:
    """The inverse, without the newline; ValueError."""
    line = json.loads(data)
    if not isinstance(line, list) or not line:
        raise ValueError(f"{data[:80]!r} is no line")
    return line

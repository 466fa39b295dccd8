"""The lines between the scheduler and its fleet's agent. Each line is a JSON array, sent over a stream socket.

    → hello VERSION SETTINGS SEEN SINCE     the first line; an earlier scheduler's requests no longer get answers
    → since SINCE                     the current SINCE, each time the fleet is reachable again
    → ask JOB NUMBER QUESTION KEY [[LOCK, UNITS, OF]…] KEEP SPEC
                                      a run's claims, all or nothing: UNITS of the OF units of a lock; KEEP (s): how
                                      long etcd remembers its occurrence; SPEC: the definition that must be in force
                                      ("": any)
    → skip JOB FIRST LAST KEEP SPEC   skip all occurrences from one second to another for all hosts
    → accept                          accept the state of etcd, whatever was SEEN
    → publish JOB SPEC REVISION       put a job's definition into force, if the one in force has REVISION (0: none is)
    → join LOCK | leave LOCK          this host's runs wait for the lock, or no longer do
    → pause JOB TEXT BEFORE           set a job's pause for all hosts ("": none), if it is BEFORE ("": any)
    → overdue JOB TEXT REVISION       report a job as overdue ("": no longer), if the last report has REVISION (0: none)
    → announce LABELS HELD            this host's labels, and whether it is on hold
    → give_back JOB KEY STATE         give back its locks; with a STATE (``failed exit code 3``) its occurrence is over;
                                      ``returned``: any host may claim the occurrence again
    ← up REASON                       "": from now on requests are answered, and all locks of other hosts and all their
                                      occurrences SINCE were reported
    ← mark AGE NUMBER                 the mark to save before anything starts by a later `granted`
    ← granted JOB NUMBER QUESTION FENCE UNTIL | denied JOB NUMBER QUESTION    UNTIL (ns, BOOTTIME): from then on
                                      another host may have its locks; 0: never
    ← taken JOB KEY STATE             another host has the occurrence; STATE: how it ended, if known;
                                      ``skipped FIRST``: all occurrences from that second on were skipped
    ← skipped JOB FIRST LAST          this host skips these occurrences
    ← lost JOB KEY HOST               an occurrence of HOST, which failed; it can be claimed by KEY
    ← returned JOB/KEY STORE          an occurrence that a host gave back before it ran; "": no longer
    ← paused JOB TEXT                 the job's pause for all hosts; "": none
    ← made JOB TEXT                   this host set a pause with BEFORE "", maybe before the last `paused`
    ← overdue JOB TEXT REVISION       the last report that the job is overdue; "" 0: none, or that is over
    ← spec JOB SPEC REVISION          the definition in force; "" 0: none
    ← held HOLDER [[LOCK, UNITS]…]    everything that another host's run holds now; or the host whose turn it is
    ← host NAME STORE LABELS HELD COMMON    a host that has a session, its identity ("": no session anymore), and its
                                      announcement
    ← fleets {NAME: [HOST…]} {NAME: [JOB…]}    the other fleets in this etcd, with their hosts, and some of their jobs
    ← ours JOB KEY                    this host has the occurrence, or locks, that this connection did not request

KEY names a fleet's occurrence (``f1772409660``, or ``f1772409660.2`` after its first host was lost) or another run
(``x…``); LOCK is a name without prefix.

SEEN is AGE NUMBER, the fleet's last mark that this host received (``"" 0`` means none). If etcd's mark is lower, etcd
was restored to an earlier state.

In `publish` and `spec`, SPEC is the whole value (core/hosts/memory.py). Claims for a job's runs and skips also contain
it. REVISION is the revision of etcd that wrote the value.

SINCE is {JOB: SECOND}, the first second whose occurrence may be requested. For earlier occurrences and other jobs, the
agent reports only `ours`, sometimes after `up`.

SETTINGS: `store` and `host` (this host's identity), `fleet` (its name), `etcd` (the members' URLs), `lock_grace` (s),
`authority`, `certificate`, `key` (TLS files; "" means none), and `common` (this host's COMMON, the settings that must
be equal on all hosts: values.CommonSettings as JSON).
"""

from __future__ import annotations

import json
from typing import Any

VERSION = 6
RETURNED = "returned"
"""The STATE of an occurrence that a host returns without running it."""

Line = list[Any]


def encode(line: Line) -> bytes:
    """Return a line as bytes for the socket."""
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def decode(data: bytes) -> Line:
    """Parse a line from these bytes, which have no newline. Raises ValueError."""
    line = json.loads(data)
    if not isinstance(line, list) or not line:
        raise ValueError(f"{data[:80]!r} is not a valid line")
    return line

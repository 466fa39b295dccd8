"""The classes that answer the control socket's methods, and the table of their rules."""

from __future__ import annotations

import re

from jobqueued.control.calls.accepted_submissions import SubmissionCalls
from jobqueued.control.calls.crontab_calls import CrontabCalls
from jobqueued.control.calls.due_calls import DueCalls
from jobqueued.control.calls.event_stream import EventStream
from jobqueued.control.calls.host_calls import HostCalls
from jobqueued.control.calls.job_calls import JobCalls
from jobqueued.control.calls.lock_calls import LockCalls
from jobqueued.control.calls.notice_calls import NoticeCalls
from jobqueued.control.calls.record_calls import RecordCalls
from jobqueued.control.calls.reload import Reload
from jobqueued.control.calls.run_calls import RunCalls
from jobqueued.control.calls.status_calls import StatusCalls
from jobqueued.control.calls.submit_calls import SubmitCalls
from jobqueued.control.calls.user_file_calls import UserFileCalls
from jobqueued.control.calls.why_calls import WhyCalls
from jobqueued.control.protocol.access import AccessRule
from jobqueued.control.protocol.declaration import declared_in
from jobqueued.control.protocol.interface import INTERFACE

CLASSES: tuple[type, ...] = (
    StatusCalls, RecordCalls, WhyCalls, EventStream, JobCalls, RunCalls, HostCalls, Reload, LockCalls, NoticeCalls,
    DueCalls, CrontabCalls, UserFileCalls, SubmitCalls, SubmissionCalls,
)  # fmt: skip


def rules() -> dict[str, AccessRule]:
    """Return method → rule, sorted by rank, then by ownership, then in the interface's order.

    For crontabs, supervisors determine the owner (`child/spool/spool_orders.py`).
    """
    order = re.findall(r"^method (\w+)", INTERFACE, re.M)
    found = [each for one in CLASSES for each in declared_in(one).values()]
    found.sort(key=lambda it: (it.rule.rank, not it.rule.public, not it.rule.own, order.index(it.name)))
    return {each.name: each.rule for each in found}

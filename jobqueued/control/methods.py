"""All methods of the control socket: the classes that answer them, and the table of their rules."""

from __future__ import annotations

import re

from jobqueued.control.access import Rule
from jobqueued.control.crontab_calls import CrontabCalls
from jobqueued.control.declaration import declared_in
from jobqueued.control.due_calls import DueCalls
from jobqueued.control.event_stream import EventStream
from jobqueued.control.host_calls import HostCalls
from jobqueued.control.interface import INTERFACE
from jobqueued.control.job_calls import JobCalls
from jobqueued.control.lock_calls import LockCalls
from jobqueued.control.notice_calls import NoticeCalls
from jobqueued.control.record_calls import RecordCalls
from jobqueued.control.reload import Reload
from jobqueued.control.run_calls import RunCalls
from jobqueued.control.status_calls import StatusCalls
from jobqueued.control.submission_calls import SubmissionCalls
from jobqueued.control.submit_calls import SubmitCalls
from jobqueued.control.user_file_calls import UserFileCalls
from jobqueued.control.why_calls import WhyCalls

CLASSES: tuple[type, ...] = (
    StatusCalls, RecordCalls, WhyCalls, EventStream, JobCalls, RunCalls, HostCalls, Reload, LockCalls, NoticeCalls,
    DueCalls, CrontabCalls, UserFileCalls, SubmitCalls, SubmissionCalls,
)  # fmt: skip


def rules() -> dict[str, Rule]:
    """Return method → rule, by rank and owner, and then in the order of the interface.

    Crontabs: the supervisors decide who the owner is (`child/spool_orders.py`).
    """
    order = re.findall(r"^method (\w+)", INTERFACE, re.M)
    found = [each for one in CLASSES for each in declared_in(one).values()]
    found.sort(key=lambda it: (it.rule.rank, not it.rule.public, not it.rule.own, order.index(it.name)))
    return {each.name: each.rule for each in found}

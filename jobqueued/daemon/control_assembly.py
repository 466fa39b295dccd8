"""The daemon's control socket: its server, all its methods, and the metrics file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.control.calls.accepted_submissions import SubmissionCalls
from jobqueued.control.calls.crontab_calls import CrontabCalls
from jobqueued.control.calls.due_calls import DueCalls
from jobqueued.control.calls.event_stream import EventStream
from jobqueued.control.calls.host_calls import HostCalls
from jobqueued.control.calls.job_calls import JobCalls
from jobqueued.control.calls.lock_calls import LockCalls
from jobqueued.control.calls.monitor import Monitor, processes
from jobqueued.control.calls.notice_calls import NoticeCalls
from jobqueued.control.calls.past_calls import PastCalls
from jobqueued.control.calls.record_calls import RecordCalls
from jobqueued.control.calls.run_calls import RunCalls
from jobqueued.control.calls.status_calls import StatusCalls
from jobqueued.control.calls.submit_calls import SubmitCalls, Submitters
from jobqueued.control.calls.user_file_calls import UserFileCalls
from jobqueued.control.calls.why_calls import WhyCalls
from jobqueued.control.dispatcher import Dispatcher
from jobqueued.control.listener import Listener
from jobqueued.control.metrics_file import MetricsFile
from jobqueued.control.protocol.at_lists import AtLists
from jobqueued.control.protocol.entrance import doors
from jobqueued.control.protocol.identities import Identities
from jobqueued.control.protocol.ownership import Ownership
from jobqueued.control.protocol.peers import Access
from jobqueued.control.protocol.replies import Replies, TellBug
from jobqueued.control.server import ControlServer
from jobqueued.core.scheduler import Scheduler
from jobqueued.daemon.installation import Installation
from jobqueued.daemon.job_assembly import JobAssembly
from jobqueued.daemon.loop import read_clocks
from jobqueued.daemon.run_assembly import RunAssembly
from jobqueued.daemon.state_assembly import StateAssembly
from jobqueued.metrics.counts import Counts
from jobqueued.metrics.readings import Figure, Readings
from jobqueued.model.events import Event
from jobqueued.model.run import RunId


class Outside(NamedTuple):
    """Functions of the daemon that the control socket's methods need.

    `happen` adds an event. `status` and `health` return values that only the daemon has. `tell_bug` logs a bug.
    `remake_run` re-creates the run directory.
    """

    happen: Callable[[Event], None]
    status: Callable[[], dict[str, Any]]
    health: Callable[[], dict[str, Figure]]
    tell_bug: TellBug
    remake_run: Callable[[], None]


class ControlAssembly:
    """All objects that reply to callers."""

    def __init__(
        self,
        installation: Installation,
        scheduler: Scheduler,
        state: StateAssembly,
        jobs: JobAssembly,
        runs: RunAssembly,
        replies: Replies,
        daemon: Outside,
    ) -> None:
        paths, config, _host, log = installation
        access, self.unknown_groups = Access.of(config)
        store, batch, link, happen = state.store, state.batch, runs.link, daemon.happen
        ownership = Ownership(scheduler, batch)
        self.monitor = Monitor(partial(processes, scheduler), link.marks, replies.stream)
        self.user_files = UserFileCalls(
            link, jobs.files, jobs.watches, scheduler, config.users, paths.host, replies.reply
        )
        self.counts = Counts()
        readings = Readings(scheduler, state.notices, self.counts, daemon.health)
        self.submissions = SubmissionCalls(scheduler, batch, happen, replies.reply)
        self._records = RecordCalls(scheduler, store, batch, paths.logs, self.monitor, replies)
        self._status = StatusCalls(scheduler, ownership, daemon.status, readings.all, read_clocks, replies)
        self.texts, self.events = self._status.texts, EventStream(scheduler.owner_of, replies)
        at_lists = AtLists(paths.host / "etc", config.users)
        submitters = Submitters(access, config.users, self.user_files.call_rate, at_lists)
        calls = (
            self._status,
            self._records,
            self.events,
            jobs.reload,
            self.user_files,
            self.submissions,
            WhyCalls(scheduler, batch, self._records, PastCalls(scheduler, store, batch, self._records.begun)),
            JobCalls(scheduler, happen, at_lists),
            RunCalls(scheduler, happen, self._records, link.lost_attempts),
            HostCalls(scheduler, happen, paths.runs.name),
            LockCalls(scheduler, runs.lock_processes, happen),
            NoticeCalls(state.notices, runs.notices.test),
            DueCalls(store, batch),
            CrontabCalls(link, paths.host, replies.reply, live=lambda: jobs.runs_tables, users=config.users),
            SubmitCalls(scheduler, batch, happen, config, paths, submitters, state.commits.keep),
        )
        self.metrics_file = MetricsFile(
            config.metrics.get("textfile"), readings.all, lambda: self.texts.version, log, daemon.tell_bug
        )
        listener = Listener(doors(paths, access), daemon.remake_run, log)
        dispatcher = Dispatcher(calls, access, ownership, read_clocks)
        self.server = ControlServer(listener, dispatcher, replies, access.rank, Identities(link.name_of))

    def notify_ended(self, run: RunId, record: Record) -> None:
        """Reply to the callers that wait for a run's end."""
        self._records.notify_ended(run, record)

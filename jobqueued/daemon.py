"""The composition root: one scheduler, everything that serves it, and the turns of its loop.

A turn: collect events, let the scheduler decide, commit, act. Between turns the process sleeps in poll(2) until a
descriptor is ready or the timer of the next wake-up fires; nothing polls periodically. Events come from a list of
sources (source.py has the recipe for a new one).
"""

from __future__ import annotations

import contextlib
import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from jobqueued import __version__, events
from jobqueued.acts import Acts
from jobqueued.commands import Command, SaveBoot
from jobqueued.control import submit_calls
from jobqueued.control.crontab_calls import CrontabCalls
from jobqueued.control.dispatcher import Dispatcher
from jobqueued.control.due_calls import DueCalls
from jobqueued.control.entrance import doors
from jobqueued.control.event_stream import EventStream
from jobqueued.control.host_calls import HostCalls
from jobqueued.control.identities import Identities
from jobqueued.control.job_calls import JobCalls
from jobqueued.control.listener import Listener
from jobqueued.control.lock_calls import LockCalls
from jobqueued.control.lock_processes import LockProcesses
from jobqueued.control.metrics_file import MetricsFile
from jobqueued.control.monitor import Monitor, processes
from jobqueued.control.notice_calls import NoticeCalls
from jobqueued.control.ownership import Ownership
from jobqueued.control.past_calls import PastCalls
from jobqueued.control.peers import Access
from jobqueued.control.record_calls import RecordCalls
from jobqueued.control.reload import Reload
from jobqueued.control.replies import Replies
from jobqueued.control.run_calls import RunCalls
from jobqueued.control.server import ControlServer
from jobqueued.control.settings_file import SettingsFile
from jobqueued.control.status_calls import StatusCalls
from jobqueued.control.submission_calls import SubmissionCalls
from jobqueued.control.submit_calls import SubmitCalls, Submitters
from jobqueued.control.summary import farewell, summary
from jobqueued.control.user_file_calls import UserFileCalls
from jobqueued.control.why_calls import WhyCalls
from jobqueued.core.scheduler import Scheduler
from jobqueued.decisions import Decisions
from jobqueued.host.capacity import caps_by_default, host_has
from jobqueued.host.garbage import freeze
from jobqueued.host.linux import has_just_booted
from jobqueued.host.log import Log
from jobqueued.host.other_cron import OtherCron
from jobqueued.host.psi import PressureTriggers
from jobqueued.host.sd_notify import ServiceManager, Watchdog
from jobqueued.host.signals import Signals
from jobqueued.instance import Instance
from jobqueued.jobdir import cron_tables
from jobqueued.jobdir.account_files import AccountFiles
from jobqueued.jobdir.cron_tables import takes_mails
from jobqueued.jobdir.job_files import JobFiles, watches_of
from jobqueued.jobdir.path_triggers import PathTriggers
from jobqueued.jobdir.user_files import DIRECTORY, UserFiles
from jobqueued.jobdir.user_watchers import UserWatchers
from jobqueued.loop import Loop, read_clocks
from jobqueued.metrics.counts import SHORT_TIMES, Counts, Histogram
from jobqueued.metrics.families import Sample
from jobqueued.metrics.readings import Figure, Readings
from jobqueued.model import SECOND, Now, Record, RunId, to_text
from jobqueued.notices.notices import Notices
from jobqueued.paths import Paths
from jobqueued.runs.fleet_link import AGENT, FleetLink
from jobqueued.runs.heartbeat import Heartbeat
from jobqueued.runs.launch_spec import shortfall
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.runs.launcher_news import LauncherNews
from jobqueued.runs.notice_sender import NoticeSender
from jobqueued.settings import Settings, limits_of, user_name
from jobqueued.source import Source
from jobqueued.state.commits import Commits
from jobqueued.state.due_history import DueHistory
from jobqueued.state.faults import StoreError
from jobqueued.state.housekeeping import Housekeeping
from jobqueued.state.store import Store
from jobqueued.state.takeover import PART, Takeover
from jobqueued.state.write_batch import WriteBatch
from jobqueued.trace import TraceFile
from jobqueued.users import share_of


class Daemon:
    """One scheduler with everything that serves it."""

    def __init__(
        self, paths: Paths, config: Settings, store: Store, link: LauncherLink, log: Log, host: str,
        trace: TraceFile | None = None, make_run: Callable[[], None] | None = None,
    ) -> None:  # fmt: skip
        self._paths, self._config, self._store, self._link, self._log = paths, config, store, link, log
        self._host, self._since, self._make_run = host, time.time_ns(), make_run or paths.make_run
        self._happened: list[events.Event] = []
        self._unrestored: Takeover | None = None
        """The takeover whose results the scheduler has not received yet."""
        self._boot: list[Command] = []
        """The command that saves this boot as recovered, after the recovery."""
        self._scheduler = Scheduler(limits_of(config, host, *host_has()))
        self._decisions = Decisions(self._scheduler, log, paths.state, trace)
        self._other_cron = OtherCron(paths.host, self._cron_changed) if config.cron.get("live") else None
        users = UserFiles(paths.state / DIRECTORY)
        boots, of_cron = not store.is_new or has_just_booted(), self._other_cron is not None
        self._watches = watches_of(paths, config, store.files(), users, of_cron=of_cron, boots=boots)
        noted = partial(cron_tables.with_scripts, self._watches.scripts, config.cron.get("expand", False))
        self._due_history = DueHistory.of(store, self._watches.zone, noted)
        self._batch = WriteBatch(store, self._due_history.anew)
        self._commits = Commits(store, self._batch, self._everything, paths, log)
        self._job_files = JobFiles(self._watches, self._take_files, log)
        self._reload = Reload(self._watches, SettingsFile(paths, config), self._scheduler.catalog, self._reloaded)
        self._pressure = PressureTriggers({name: part for name, part in config.pressure.items() if name != "below"})
        self._lock_processes, self._path_triggers = LockProcesses(paths.run / "with-lock"), PathTriggers()
        self._user_watchers = UserWatchers(link, self._scheduler)
        self._replies = Replies(self._unanswered, Instance.of(paths.run).see_log)
        self._monitor = Monitor(partial(processes, self._scheduler), link.marks, self._replies.stream)
        access, self._unknown_groups = Access.of(config)
        self._user_files = UserFileCalls(
            link, users, self._watches, self._scheduler, config.users, paths.host, self._replies.reply
        )  # fmt: skip
        user, notifier = user_name(os.geteuid()) or "root", config.notifier if os.geteuid() == 0 else None
        self._notices = Notices(host, config.notify, self._watches.zone, self._scheduler.told_of, user)
        link.accounts.users = replace(config.users, defaults=caps_by_default())
        self._notice_sender = NoticeSender(self._notices, link, notifier, config.mail, read_clocks, link.accounts.users)
        is_stuck = lambda: self._decisions.stands_still  # noqa: E731
        self._heartbeat = Heartbeat(config.heartbeat, link, notifier, is_stuck, log, read_clocks)
        self._counts, self._turns = Counts(), Histogram(SHORT_TIMES)
        self._readings = Readings(self._scheduler, self._notices, self._counts, self._health)
        self._submissions = SubmissionCalls(
            self._scheduler, self._batch, self._happened.append, self._replies.reply
        )  # fmt: skip
        self._serve(access)
        own = AGENT if link.is_own else None
        self._fleet_link = FleetLink(
            paths.run / "fleet", config.fleet, host, self._commits.of_fleet, self._scheduler.askable, own
        )
        self._acts = Acts(
            self._batch, self._commits, link, log, paths.logs, self._lock_processes, self._replies.reply, self._ended,
            lambda run, error: self._housekeeping.miss(run, error, read_clocks()),
            lambda job: self._housekeeping.note(job, read_clocks()), self._fleet_link,
        )  # fmt: skip
        spared = lambda: self._acts.spared(self._scheduler.runs)  # noqa: E731
        self._housekeeping = Housekeeping(
            store, paths.logs, config.retention, spared, self._commits, log, self._acts.filed, config.max_use,
            config.keep_free, self._scheduler.is_nowhere, config.users.logs,
        )  # fmt: skip
        self._service_manager, self._signals = ServiceManager(), Signals(self._asked_to_reload)
        self._loop = Loop(self._sources(), self._decisions.next_wakeup)

    def _serve(self, access: Access) -> None:
        """Make the parts that answer callers and write metrics."""
        paths, link, log = self._paths, self._link, self._log
        scheduler, store, batch, happen = self._scheduler, self._store, self._batch, self._happened.append
        ownership, replies = Ownership(scheduler, batch), self._replies
        self._records = records = RecordCalls(scheduler, store, batch, paths.logs, self._monitor, replies)
        self._status_calls = StatusCalls(
            scheduler, ownership, self._status, self._readings.all, read_clocks, replies
        )  # fmt: skip
        self._event_stream = EventStream(scheduler.owner_of, replies)
        submitters = Submitters(access, self._config.users, self._user_files.budget)
        calls = (
            self._status_calls, records, self._event_stream, self._reload, self._user_files, self._submissions,
            WhyCalls(scheduler, batch, records, PastCalls(scheduler, store, batch, records.begun)),
            JobCalls(scheduler, happen), RunCalls(scheduler, happen, records, link.lost_attempts),
            HostCalls(scheduler, happen, paths.runs.name), LockCalls(scheduler, self._lock_processes, happen),
            NoticeCalls(self._notices, self._notice_sender.test), DueCalls(store, batch),
            CrontabCalls(
                link, paths.host, replies.reply, live=lambda: self._runs_tables, users=self._config.users
            ),
            SubmitCalls(scheduler, batch, happen, self._config, paths, submitters, self._commits.keep),
        )  # fmt: skip
        dispatcher = Dispatcher(calls, access, ownership, read_clocks)
        self._metrics_file = MetricsFile(
            self._config.metrics.get("textfile"), self._readings.all, lambda: self._status_calls.texts.version, log,
            self._unanswered,
        )  # fmt: skip
        listener = Listener(doors(paths, access), self._remake_run, log)
        self._control = ControlServer(listener, dispatcher, replies, access.rank, Identities(link.name_of))
        log.listeners += self._notice_sender.hear, self._event_stream.hear

    def _sources(self) -> tuple[Source, ...]:
        """Return all sources of events, in the order of their turns."""
        return (
            *([] if self._other_cron is None else [self._other_cron]),
            self._signals, self._path_triggers, self._lock_processes,
            LauncherNews(self._link, partial(self._recover, same_boot=True), self._log), self._link.lost_attempts,
            self._user_watchers, self._pressure, self._reload, self._user_files, AccountFiles(), self._job_files,
            self._control, self._status_calls.texts, self._event_stream, self._monitor, self._commits,
            self._housekeeping,
            *([] if self._config.fleet is None else [self._fleet_link]),
            self._notice_sender, self._heartbeat, self._metrics_file, self._service_manager,
            Watchdog(self._service_manager, self._watches.rescan),
        )  # fmt: skip

    def begin(self, boot_id: str) -> None:
        """Take over what an earlier daemon left. Raises LauncherError, StoreError or OSError if that can't be read."""
        self._signals.catch()
        gc.disable()
        self._begin(boot_id)

    def run(self, ready: Callable[[], None]) -> None:
        """Run jobs until the stop; `ready` is called first."""
        ready()
        gc.freeze()
        gc.enable()
        self._loop.woke = time.monotonic_ns()
        while not self._signals.stop:
            self._turn()
            mono = read_clocks().mono
            self._turns.add((mono - self._loop.woke) / SECOND)
            self._service_manager.follow(mono, self._summary)
            self._loop.wait(self._happened)
        self._end()

    # start and stop

    def _begin(self, boot_id: str) -> None:
        takeover = self._take_over(boot_id)
        self._decisions.restore(*takeover.saved, read_clocks(), self._store.hold())
        self._notices.restore(*self._store.notices())
        self._unrestored = None
        self._watches.hold_tables(not self._runs_tables)
        limits, mails = self._config.users, takes_mails(self._config)
        kept, troubles = submit_calls.kept(self._store, limits, self._config.zone, mails=mails)
        beside = self._link.marks.sent_beside({run.id for run in takeover.saved[1]})
        self._happened += [*map(events.Recorded, (*takeover.recorded, *beside)), kept]
        while self._job_files.has_more:
            self._happened += self._job_files.turn(read_clocks())
        known = self._store.knows_boot(boot_id)
        self._turn(admit=False)
        self._happened += self._lock_processes.found()
        self._link.keep_free = self._config.keep_free
        self._link.connect()
        self._happened += self._recover(same_boot=known)
        self._acts.take(self._decide(admit=False))  # an R may be removed only once its content is saved
        self._happened += submit_calls.unheard(self._scheduler, (it for it, *_ in kept.kept), self._batch)
        boot = None if known or takeover.lost else boot_id
        self._happened.append(events.JobsLoaded(self._job_files.read_once(), boot))
        self._path_triggers.begin()
        self._turn(admit=False)
        self._reconcile_notices()
        self._boot = [SaveBoot(boot_id)]
        self._happened += self._commits.begun()
        self._service_manager.tell_ready(self._summary())
        for trouble in (*troubles, *self._troubles(), *self._shortfall()[0]):
            self._log.say("trouble", text=trouble)
        self._log.say("ready", summary=f"jobqueued {__version__}, {self._summary()}")
        self._happened.append(events.Woke())
        self._housekeeping.begin(read_clocks(), None if known else takeover.saved_at)

    def _take_over(self, boot_id: str) -> Takeover:
        """Take over what the records have and state.db lacks."""
        logs, limits, found = self._paths.logs, self._scheduler.limits, {name.run for name in self._link.marks.names()}
        takeover = Takeover(self._store, self._batch, logs, found, self._commit_part, boot_id, limits)
        self._unrestored = takeover
        takeover.carry_out(time.time_ns())
        for trouble in takeover.told(self._paths.state):
            self._log.say("trouble", text=trouble)
        return takeover

    def _commit_part(self) -> bool:
        if len(self._batch.runs) >= PART:
            self._service_manager.starting("takes over records")
        return self._commits.make()

    def _recover(self, *, same_boot: bool) -> Iterator[events.Event]:
        yield from self._link.recover(self._scheduler.runs, self._is_final, same_boot=same_boot)
        for flaw in self._link.marks.flaws():
            self._log.say("trouble", text=flaw)

    def _is_final(self, run: RunId) -> bool:
        """Return whether the end of a run is saved; if it can't be read, the end is handled again."""
        with contextlib.suppress(StoreError):
            return run not in self._scheduler.runs and self._batch.record(run) is not None
        return False

    def _everything(self) -> list[Command]:
        """Return everything that a new state.db must have."""
        if self._unrestored is not None:
            return self._unrestored.everything()
        return [*self._scheduler.everything(), *self._notices.everything(), *self._boot]

    def _end(self) -> None:
        self._acts.last()
        if forgotten := self._commits.forgotten:
            self._log.say("trouble", text=forgotten)
        said = farewell(self._scheduler)
        self._service_manager.stopping(said)
        self._log.say("stopped", summary=said)
        self._control.close()
        self._link.close()
        self._fleet_link.close()
        self._store.close()

    def _remake_run(self) -> None:
        self._make_run()
        self._happened += self._link.emptied()

    # one turn

    def _turn(self, *, admit: bool = True) -> None:
        if (decided := self._decide(admit=admit)) or self._commits:
            self._acts.carry_out(decided)
            self._submissions.answer()

    def _decide(self, *, admit: bool) -> list[Command]:
        happened, self._happened[:] = [*self._loop.clock_changes(), *self._happened], ()
        if self._job_files.has_more:
            freeze()
        now, catalog = read_clocks(), self._scheduler.catalog
        decided = self._decisions.about(happened, now)
        self._user_watchers.follow(happened, now.mono)
        if any(isinstance(event, events.JobsRead | events.FileGone) for event in happened):
            self._path_triggers.want(name for name in catalog.awaited_names("path") if not share_of(name))
            self._reconcile_notices()
            self._counts.make_room(catalog)
            freeze()
        self._batch.take_due_changes(self._due_history.after(happened, now.wall))
        decided += self._decisions.following(now, admit=admit)
        self._counts.about(decided)
        decided += self._notice_sender.decide(decided, now)
        if happened or decided:
            self._status_calls.texts.note_change()
        return decided

    def _take_files(self, files: Mapping[str, bytes | None]) -> None:
        self._batch.take_files(files)
        self._due_history.take_files(files)

    def _reconcile_notices(self) -> None:
        catalog, invalid = self._scheduler.catalog, self._scheduler.invalid
        refused = self._watches.problems.keys()
        can_not_run = lambda job: bool(invalid(catalog[job])) if job in catalog else None  # noqa: E731
        self._notice_sender.reconcile(refused, can_not_run, self._scheduler.needs)
        if self._watches.complete:
            self._notice_sender.retain(self._scheduler.all_told_of)

    # replies and reports

    def _summary(self) -> str:
        return summary(self._scheduler, len(self._watches.refused), self._commits.degraded)

    def _status(self) -> dict[str, Any]:
        """Return the part of the method Status that only the daemon has."""
        degraded = self._commits.degraded
        return {
            "version": __version__, "pid": os.getpid(), "host": self._host, "started": to_text(self._since),
            "state": "degraded" if degraded else "ok", "reason": degraded,
            "max_running": self._config.max_running, "launcher": self._link.greeted, **self._reload.refused(),
            "troubles": self._troubles(), "unenforced": self._shortfall()[0],
            "unwatched": self._user_watchers.words(),
            "left": [str(name.run) for name in self._link.marks.left(tidy=True)], "controllers": self._link.controllers,
        }  # fmt: skip

    def _health(self) -> dict[str, Figure]:
        """Return the daemon's own metrics."""
        return {
            "jobqueue_build_info": [Sample("", {"version": __version__}, 1)],
            "jobqueue_start_time_seconds": self._since / SECOND,
            "jobqueue_degraded": self._commits.degraded is not None,
            "jobqueue_launcher_up": self._link.greeted,
            "jobqueue_on_hold": self._scheduler.hold is not None,
            "jobqueue_troubles": len(self._troubles()),
            "jobqueue_files_refused": len(self._watches.refused),
            "jobqueue_loop_turn_seconds": self._turns.samples(),
            "jobqueue_loop_longest_turn_seconds": self._turns.longest,
            "jobqueue_commit_seconds": self._commits.times.samples(),
            "jobqueue_commit_failures": [Sample("_total", {}, self._commits.failures)],
            "jobqueue_kept_bytes": self._housekeeping.kept,
        }

    def _troubles(self) -> list[str]:
        """Return all lasting problems; a source, or one of these, also logs when a new one begins."""
        return [*self._unknown_groups, *self._loop.troubles, *self._shortfall()[1], *self._decisions.troubles]

    def _shortfall(self) -> tuple[list[str], list[str]]:
        """Return the limits that can't be enforced here, in words, and the jobs that don't start because of that."""
        return shortfall(self._scheduler.catalog.limited(), self._link.controllers)

    def _ended(self, run: RunId, record: Record) -> None:
        self._records.notify_ended(run, record)
        self._housekeeping.note(run.job, read_clocks())

    def _unanswered(self, what: str, bug: Exception) -> str:
        return self._decisions.unanswered(what, bug, read_clocks())

    def _asked_to_reload(self, now: Now) -> None:
        self._service_manager.reloading(now.mono)
        self._reload.begin()

    def _reloaded(self) -> None:
        self._service_manager.tell_ready(self._summary())
        for ticket, value in self._reload.answers():
            self._replies.reply(ticket, value)

    @property
    def _runs_tables(self) -> bool:
        return self._other_cron is not None and not self._other_cron.words

    def _cron_changed(self, is_there: bool, told: str) -> None:
        """Leave cron's tables to another cron daemon, or take them back."""
        self._watches.hold_tables(is_there)
        self._log.say("trouble" if is_there else "recovered", text=told)

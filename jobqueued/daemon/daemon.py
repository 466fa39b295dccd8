"""The composition root: one scheduler, four assemblies that serve it, and the turns of the loop.

In each turn, the daemon collects events, lets the scheduler decide, commits, and acts. Between turns the process sleeps
in poll(2) until a descriptor is ready or the timer for the next wake-up fires; nothing polls periodically. Events come
from a list of sources (model/source.py shows how to add one).
"""

from __future__ import annotations

from collections.abc import Callable

from jobqueued.control.calls import submit_calls
from jobqueued.control.protocol.replies import Replies
from jobqueued.core.scheduler import Scheduler
from jobqueued.daemon.control_assembly import ControlAssembly, Outside
from jobqueued.daemon.decisions import Decisions
from jobqueued.daemon.installation import Installation
from jobqueued.daemon.job_assembly import JobAssembly, watched
from jobqueued.daemon.loop import Loop, read_clocks
from jobqueued.daemon.run_assembly import RunAssembly
from jobqueued.daemon.self_report import SelfReport
from jobqueued.daemon.state_assembly import StateAssembly
from jobqueued.daemon.trace import TraceFile
from jobqueued.host import garbage
from jobqueued.host.sd_notify import ServiceManager, Watchdog
from jobqueued.host.signals import Signals
from jobqueued.model import events
from jobqueued.model.commands import Command
from jobqueued.model.job import Now
from jobqueued.model.source import Source
from jobqueued.runs.launcher_link import LauncherLink
from jobqueued.state.db.store import Store


class Daemon:
    """One daemon: a scheduler and all parts that serve it."""

    def __init__(
        self,
        installation: Installation,
        store: Store,
        link: LauncherLink,
        trace: TraceFile | None = None,
        make_run: Callable[[], None] | None = None,
    ) -> None:
        paths, config, _host, self._log = installation
        self._config, self._make_run = config, make_run or paths.make_run
        self._happened: list[events.Event] = []
        self._scheduler = scheduler = Scheduler(installation.limits)
        self._decisions = Decisions(scheduler, self._log, paths.state, trace)
        self._replies = Replies(self._tell_bug, installation.see_log)
        watches = watched(installation, store)
        self._state = state = StateAssembly(installation, store, scheduler, watches)
        self._jobs = jobs = JobAssembly(installation, watches, scheduler, link, state.take_files, self._reloaded)
        self._runs = runs = RunAssembly(
            installation, link, scheduler, state, lambda: self._decisions.stands_still, self._replies.reply
        )
        self._report = SelfReport(installation, scheduler, state, jobs, runs, self._problems)
        outside = Outside(
            self._happened.append, self._report.status, self._report.health, self._tell_bug, self._remake_run
        )
        self._control = ControlAssembly(installation, scheduler, state, jobs, runs, self._replies, outside)
        self._service_manager, self._signals = ServiceManager(), Signals(self._asked_to_reload)
        self._loop = Loop(self._sources(), self._decisions.next_wakeup)
        self._log.listen(runs.notices.hear)
        self._log.listen(self._control.events.hear)

    def _sources(self) -> tuple[Source, ...]:
        """Return all event sources, in the order of their calls in a turn."""
        state, jobs, runs, control = self._state, self._jobs, self._runs, self._control
        return (
            *jobs.first_sources,
            self._signals,
            jobs.path_triggers,
            runs.lock_processes,
            runs.news,
            runs.link.lost_attempts,
            jobs.user_watchers,
            runs.pressure,
            jobs.reload,
            control.user_files,
            jobs.accounts,
            jobs.job_files,
            control.server,
            control.texts,
            control.events,
            control.monitor,
            state.commits,
            runs.housekeeping,
            *([] if self._config.fleet is None else [runs.fleet]),
            runs.notices,
            runs.heartbeat,
            control.metrics_file,
            self._service_manager,
            Watchdog(self._service_manager, jobs.watches.rescan),
        )

    def begin(self, boot_id: str) -> None:
        """Restore an earlier daemon's state. Raises LauncherError, StoreError or OSError if this fails."""
        self._signals.catch()
        garbage.pause()
        self._begin(boot_id)

    def run(self, ready: Callable[[], None]) -> None:
        """Run jobs until the daemon is stopped; call `ready` before the first turn."""
        ready()
        garbage.resume()
        self._loop.start()
        while not self._signals.stop:
            self._turn()
            mono = read_clocks().mono
            self._report.add_turn(mono - self._loop.woke)
            self._service_manager.follow(mono, self._report.summary)
            self._loop.wait(self._happened)
        self._end()

    # start and stop

    def _begin(self, boot_id: str) -> None:
        state, jobs, runs, link = self._state, self._jobs, self._runs, self._runs.link
        live, progress = {name.run for name in link.marks.names()}, self._service_manager.starting
        takeover = state.take_over(boot_id, live, lambda: progress("takes over records"))
        self._decisions.restore(*takeover.saved, read_clocks(), state.store.hold())
        state.note_restored()
        jobs.watches.hold_tables(not jobs.runs_tables)
        kept, troubles = submit_calls.kept(state.store, self._config)
        beside = link.marks.sent_beside({run.id for run in takeover.saved[1]})
        self._happened += [*map(events.Recorded, (*takeover.recorded, *beside)), kept]
        self._happened += jobs.read_all()
        same_boot = state.store.has_seen_boot(boot_id)
        self._turn(admit=False)
        self._happened += runs.lock_processes.found()
        link.connect()
        self._happened += runs.recover(same_boot=same_boot)
        runs.acts.take(self._decide(admit=False))  # an R may be removed only once its content is saved
        self._happened += submit_calls.unheard(self._scheduler, (it for it, *_ in kept.kept), state.batch)
        # A restart makes no `@reboot` due. If state.db was lost, nothing shows whether those jobs ran in this boot.
        new_boot = None if same_boot or takeover.lost else boot_id
        self._happened.append(events.JobsLoaded(jobs.job_files.read_once(), new_boot))
        jobs.path_triggers.begin()
        self._turn(admit=False)
        self._reconcile_notices()
        state.note_recovered(boot_id)
        self._happened += state.commits.begun()
        self._say_ready(troubles)
        self._happened.append(events.Woke())
        runs.housekeeping.begin(read_clocks(), None if same_boot else takeover.saved_at)

    def _say_ready(self, troubles: list[str]) -> None:
        self._service_manager.tell_ready(self._report.summary())
        for trouble in (*troubles, *self._problems(), *self._runs.shortfall()[0]):
            self._log.say("trouble", text=trouble)
        self._log.say("ready", summary=self._report.greeting())

    def _end(self) -> None:
        self._runs.acts.last()
        if forgotten := self._state.commits.forgotten:
            self._log.say("trouble", text=forgotten)
        said = self._report.farewell()
        self._service_manager.stopping(said)
        self._log.say("stopped", summary=said)
        self._control.server.close()
        self._runs.close()
        self._state.store.close()

    def _remake_run(self) -> None:
        self._make_run()
        self._happened += self._runs.link.emptied()

    # one turn

    def _turn(self, *, admit: bool = True) -> None:
        if (decided := self._decide(admit=admit)) or self._state.commits:
            for run, record in self._runs.acts.carry_out(decided):
                self._control.notify_ended(run, record)
                self._runs.files.check(run.job, record["output"]["bytes"])
            self._control.submissions.answer()

    def _decide(self, *, admit: bool) -> list[Command]:
        happened, self._happened[:] = [*self._loop.clock_changes(), *self._happened], ()
        state, jobs = self._state, self._jobs
        if jobs.job_files.has_more:
            garbage.freeze()
        now = read_clocks()
        decided = self._decisions.about(happened, now)
        jobs.user_watchers.follow(happened, now.mono)
        if any(isinstance(event, events.JobsRead | events.FileGone) for event in happened):
            self._follow_jobs()
        state.batch.take_due_changes(state.due_history.after(happened, now.wall))
        decided += self._decisions.following(now, admit=admit)
        self._control.counts.about(decided)
        decided += self._runs.notices.decide(decided, now)
        if happened or decided:
            self._control.texts.note_change()
        return decided

    def _follow_jobs(self) -> None:
        """Update everything that depends on the set of jobs."""
        self._jobs.want_paths(self._scheduler.catalog)
        self._reconcile_notices()
        self._control.counts.make_room(self._scheduler.catalog)
        garbage.freeze()

    def _reconcile_notices(self) -> None:
        catalog, invalid, watches = self._scheduler.catalog, self._scheduler.invalid, self._jobs.watches
        can_not_run = lambda job: bool(invalid(catalog[job])) if job in catalog else None  # noqa: E731
        self._runs.notices.reconcile(watches.problems.keys(), can_not_run, self._scheduler.needs)
        if watches.complete:
            self._runs.notices.retain(self._scheduler.remembered_jobs)

    # reports

    def _problems(self) -> list[str]:
        """Return descriptions of all lasting problems. The affected part logs a problem when the problem begins."""
        unknown_groups, cannot_start = self._control.unknown_groups, self._runs.shortfall()[1]
        return [*unknown_groups, *self._loop.troubles, *cannot_start, *self._decisions.troubles]

    def _tell_bug(self, what: str, bug: Exception) -> str:
        return self._decisions.unanswered(what, bug, read_clocks())

    def _asked_to_reload(self, now: Now) -> None:
        self._service_manager.reloading(now.mono)
        self._jobs.reload.begin()

    def _reloaded(self) -> None:
        self._service_manager.tell_ready(self._report.summary())
        for ticket, value in self._jobs.reload.answers():
            self._replies.reply(ticket, value)

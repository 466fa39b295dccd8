"""The composition root and the loop: the only place that reads clocks and signals.

A turn: take what happened, let the scheduler decide, commit, act.  Between turns the process sleeps in poll(2) until a
descriptor is ready or the timer of the next wake-up fires; nothing ticks.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from jobqueued import __version__, commands, events
from jobqueued.commands import Command, RemoveMarks, SaveRun
from jobqueued.control.lock_processes import LockProcesses
from jobqueued.control.methods import Methods
from jobqueued.control.monitor import Monitor, processes
from jobqueued.control.reload import Reload, refused, tell_changes
from jobqueued.control.server import ControlServer
from jobqueued.control.summary import farewell, summary
from jobqueued.core.lifecycle import IllegalStep
from jobqueued.core.scheduler import Scheduler
from jobqueued.host.log import Log
from jobqueued.host.psi import PressureTriggers
from jobqueued.host.sd_notify import ServiceManager
from jobqueued.host.usage import host_has
from jobqueued.host.wall_timer import WallTimer
from jobqueued.jobdir.path_triggers import PathTriggers
from jobqueued.jobdir.watch import Watch
from jobqueued.jobfile.reader import read_jobs
from jobqueued.model import SECOND, Now, Record, RunId, to_text
from jobqueued.paths import Paths
from jobqueued.runs.launcher_link import LauncherError, LauncherLink
from jobqueued.runs.run_directory import Name
from jobqueued.settings import Settings, limits_of, machine_id
from jobqueued.state import record_files
from jobqueued.state.housekeeping import Housekeeping
from jobqueued.state.store import CommitFailed, Store
from jobqueued.state.write_batch import WriteBatch

_RETRY_COMMIT, _CALL_AGAIN = 10 * SECOND, 10 * SECOND


class Daemon:
    """One scheduler with everything that serves it."""

    def __init__(
        self, paths: Paths, config: Settings, store: Store, link: LauncherLink, journal: Log, host: str
    ) -> None:
        self._paths, self._config, self._store, self._link, self._journal = paths, config, store, link, journal
        self._host, self._since = host, time.time_ns()
        self._scheduler = Scheduler(limits_of(config, host, *host_has()))
        self._pressure = PressureTriggers({name: part for name, part in config.pressure.items() if name != "below"})
        reader = partial(read_jobs, timezone=config.timezone, seed=machine_id())
        self._watch = Watch(paths.jobs, reader, store.files())
        self._happened: list[events.Event] = []
        self._reload = Reload(self._watch, self._scheduler.catalog)
        self._unsaved = WriteBatch(store)
        self._company, self._arrivals = LockProcesses(paths.run / "with-lock"), PathTriggers()
        self._monitor = Monitor(partial(processes, self._scheduler), link.marks)
        self._verbs = Methods(
            self._scheduler, store, self._unsaved, self._status, self._happened.append, paths.logs, self._reload.begin,
            _now, paths.runs.name, self._company, self._monitor,
        )  # fmt: skip
        self._control = ControlServer(paths.control, self._verbs.of)
        self._monitor.reply = self._control.stream
        self._held_back: list[RemoveMarks] = []
        self._degraded: str | None = None
        self._upkeep = Housekeeping(store, paths.logs, config.retention)
        self._alive_at: int | None = None
        self._call_again_at: int | None = None
        self._complete, self._stop = True, False
        self._systemd, self._alarm = ServiceManager(), WallTimer()

    def run(self, boot_id: str, ready: Callable[[], None]) -> None:
        """From start to stop; `ready` is called once jobs run."""
        self._catch_signals()
        gc.disable()
        self._begin(boot_id)
        ready()
        gc.freeze()  # a collection that looks at every job again takes 60 ms
        gc.enable()
        while not self._stop:
            self._turn()
            self._tell_reloaded()
            self._systemd.follow(_now().mono, self._summary)
            self._wait()
        self._end()

    # start and stop

    def _catch_signals(self) -> None:
        reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._signals = reading, writing
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note_signal)
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a launcher of our own that has left is no zombie
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)

    def _note_signal(self, number: int, _frame: object) -> None:
        self._stop |= number != signal.SIGHUP

    def _begin(self, boot_id: str) -> None:
        memories, runs = self._store.load()
        found = record_files.memories(self._paths.logs) if self._store.is_new else []
        if found:
            lost = self._store.lost or f"{self._paths.state}/state.db was not there; runs that waited are lost"
            self._journal.say("trouble", text=f"{lost}; run numbers go on from the records in {self._paths.logs}")
        self._scheduler.restore(found or memories, runs, _now(), self._store.hold())
        while self._watch.has_more:
            self._look_at_files()
        self._turn(admit=False)
        known = self._store.knows_boot(boot_id)
        self._happened += self._company.found()
        self._link.connect()
        self._settle(same_boot=known)
        if found:  # state.db is lost, so nobody knows what this boot has made due
            self._unsaved.take(commands.SaveBoot(boot_id))
        self._complete = self._watch.complete
        self._happened.append(events.JobsLoaded(self._complete, None if known or found else boot_id))
        self._happened += self._arrivals.found()
        self._turn(admit=False)
        self._systemd.ready(self._summary())
        for trouble in self._status()["troubles"]:
            self._journal.say("trouble", text=trouble)
        self._journal.say("ready", summary=f"jobqueued {__version__}, {self._summary()}")
        self._happened.append(events.Woke())
        self._upkeep.begin(_now())
        self._tell_alive(_now())

    def _settle(self, *, same_boot: bool) -> None:
        self._happened += self._link.settle(self._scheduler.runs, self._is_final, same_boot=same_boot)
        for flaw in self._link.marks.flaws():
            self._journal.say("odd", text=flaw)

    def _is_final(self, run: RunId) -> bool:
        return run not in self._scheduler.runs and (run in self._unsaved.runs or self._store.record(run) is not None)

    def _summary(self) -> str:
        return summary(self._scheduler, len(self._watch.problems), self._degraded)

    def _end(self) -> None:
        said = farewell(self._scheduler)
        self._systemd.stopping(said)
        self._journal.say("stopped", summary=said)
        self._control.close()
        self._link.close()
        self._store.close()

    # one turn

    def _turn(self, *, admit: bool = True) -> None:
        if step := self._alarm.step():  # before all else: what is due must not be judged by the new clock
            self._happened.insert(0, events.ClockStepped(step))
        if slept := self._alarm.slept():
            self._happened.insert(0, events.Slept(slept))
        happened, self._happened[:] = self._happened[:], []
        now = _now()
        decided: list[Command] = []
        for event in happened:
            decided += self._decide(event, now)
        if any(isinstance(event, events.JobsRead | events.FileGone) for event in happened):
            self._arrivals.want(self._scheduler.catalog.awaited_paths())
        decided += self._scheduler.admit(now) if admit else self._scheduler.settle(now)
        if decided or self._unsaved or self._degraded:
            self._carry_out(decided)

    def _decide(self, event: events.Event, now: Now) -> list[Command]:
        try:
            return self._scheduler.handle(event, now)
        except IllegalStep as error:
            self._journal.say("bug", text=f"{error}; event dropped: {event}")
            return []

    def _carry_out(self, decided: list[Command]) -> None:
        """Commit first, then act, in the order given."""
        ended = [(each.run.id, each.record) for each in decided if isinstance(each, SaveRun) and each.record]
        for command in decided:
            self._unsaved.take(command)
        committed = self._commit()
        for command in decided:
            self._act(command, committed)
        self._link.flush()
        for run, record in ended:
            self._note_end(run, record)

    def _commit(self) -> bool:
        try:
            if trouble := self._unsaved.commit():
                self._journal.say("trouble", text=trouble)
        except CommitFailed as error:
            self._degrade(str(error))
            return False
        if self._degraded:
            self._degraded = None
            self._journal.say("recovered", text=f"{self._paths.state}: state is saved again")
        held_back, self._held_back = self._held_back, []
        for command in held_back:
            self._remove_marks(command)
        return True

    def _status(self) -> dict[str, Any]:
        """What only the daemon knows of the verb Status."""
        return {
            "version": __version__, "pid": os.getpid(), "host": self._host, "started": to_text(self._since),
            "state": "degraded" if self._degraded else "ok", "reason": self._degraded,
            "max_running": self._config.max_running, "launcher": self._link.greeted, **refused(self._watch),
            "troubles": [*self._pressure.troubles, *self._link.shortfall(self._scheduler.catalog)],
            "left": [str(name.run) for name in self._link.marks.left()], "controllers": self._link.controllers,
        }  # fmt: skip

    def _degrade(self, error: str) -> None:
        cost = f"what starts and ends meanwhile is only in {self._paths.run}, and may run again if the host goes down"
        text = f"{self._paths.state}: state can't be saved ({error}); runs go on, but {cost}"
        if self._degraded is None:
            self._journal.say("degraded", text=text)
        self._degraded = text

    def _act(self, command: Command, committed: bool) -> None:
        match command:
            case commands.Launch():
                self._link.launch(command)
            case commands.Stop(run, attempt, reason):
                self._link.stop(Name(run, attempt), reason)
            case commands.LookUp(user):
                self._link.look_up(user)
            case RemoveMarks():
                self._remove_marks(command) if committed or command.again else self._held_back.append(command)
            case commands.WriteRecord(record):
                self._write_record(record)
            case commands.MarkLockHolder():
                if trouble := self._company.mark(command):
                    self._journal.say("trouble", text=trouble)
            case commands.Say(event, fields):
                self._journal.say(event, **fields)
            case commands.Reply(ticket, value, error):
                self._control.reply(ticket, value, error)

    def _remove_marks(self, command: RemoveMarks) -> None:
        name = Name(command.run, command.attempt)
        try:
            self._link.marks.remove(name)
        except OSError as error:
            self._journal.say("trouble", text=f"the run directory of {name} can't be removed: {error}")

    def _write_record(self, record: Record) -> None:
        try:
            record_files.write(self._paths.logs, record)
        except OSError as error:
            self._journal.say("trouble", text=f"record of {record['run']} can't be written: {error}; it is in state.db")

    def _note_end(self, run: RunId, record: Record) -> None:
        if record.get("record_error"):
            self._write_record(record)
        for ticket in self._verbs.waiters.pop(run, []):
            self._control.reply(ticket, {"record": record})
        self._upkeep.note(run.job, _now())

    # between turns

    def _wait(self) -> None:
        """Sleep until something is ready, and take it."""
        now = _now()
        wake = self._wake_at(now)
        at_once = (
            bool(self._happened)
            or self._watch.has_more
            or self._control.has_more
            or self._monitor.has_more
            or self._stop
        )
        if wake is not None:
            at_once = at_once or wake <= now.wall or not self._alarm.set(wake)
        for descriptor, _bits in self._interests().poll(0 if at_once else None):
            self._take(descriptor)
        if self._watch.has_more:
            self._look_at_files()
        self._control.go_on()
        self._monitor.turn(_now())
        self._look_at_the_clock()

    def _wake_at(self, now: Now) -> int | None:
        deadlines = [self._watch.deadline, self._upkeep.at, self._alive_at, self._call_again_at, self._systemd.due]
        deadlines += [self._link.overdue, self._monitor.at]
        if self._degraded:
            deadlines.append(now.mono + _RETRY_COMMIT)
        times = [now.wall + max(0, deadline - now.mono) for deadline in deadlines if deadline is not None]
        wake = self._scheduler.next_wakeup(now)
        return min([*times, *([] if wake is None else [wake])], default=None)

    def _interests(self) -> select.poll:
        """What counts now; made anew each time, as a number may be another file's by the next."""
        own = self._alarm, self._watch, self._signals[0], self._arrivals
        fixed = dict.fromkeys((*(each.fileno() for each in own), *self._company.descriptors()), False)
        link = {number: number == self._link.unsent for number in self._link.descriptors()}
        poll = select.poll()
        for descriptor, writing in {**fixed, **link, **self._control.descriptors()}.items():
            poll.register(descriptor, select.POLLIN | (select.POLLOUT if writing else 0))
        for urgent in (self._watch.mounts, *self._pressure.descriptors()):
            if urgent is not None:
                poll.register(urgent, select.POLLPRI)
        return poll

    def _take(self, descriptor: int) -> None:
        if descriptor == self._alarm.fileno():
            self._alarm.rang()
        elif descriptor == self._signals[0].fileno():
            self._signalled()
        elif descriptor == self._watch.fileno():
            self._watch.drain()
            self._look_at_files()
        elif descriptor == self._watch.mounts:
            self._watch.remounted()
            self._look_at_files()
        elif descriptor in self._link.descriptors():
            self._hear_launcher(descriptor)
        elif descriptor == self._arrivals.fileno():
            self._happened += self._arrivals.take()
        elif descriptor in self._pressure.descriptors():
            self._happened.append(self._pressure.event(descriptor, _now().mono))
        elif descriptor in self._company.descriptors():
            self._happened.append(self._company.left(descriptor))
        else:
            self._control.ready(descriptor)

    def _signalled(self) -> None:
        if signal.SIGHUP in self._signals[0].recv(4096):
            self._systemd.reloading(_now().mono)
            self._reload.begin()

    def _tell_reloaded(self) -> None:
        """Once every file was read, slice by slice, and its jobs count."""
        if self._reload.is_complete():
            self._happened.append(events.Reloaded())
            self._systemd.ready(self._summary())
            for ticket, value in self._reload.answers():
                self._control.reply(ticket, value)

    def _hear_launcher(self, descriptor: int) -> None:
        self._link.flush()
        heard = self._link.read(descriptor)
        if heard is None:
            if self._link.greeted:
                self._journal.say("trouble", text="the launcher is gone; its live runs go on, a new one is called")
            self._call_launcher()
            return
        self._happened += heard
        if self._link.answers_again():
            self._journal.say("recovered", text="the launcher answers again")
        if self._call_again_at is not None and self._link.greeted:
            self._call_again_at = None
            self._settle(same_boot=True)

    def _call_launcher(self) -> None:
        """A new launcher; until one answers what is admitted stays `starting`, and is sent once it has settled."""
        try:
            self._link.call()
        except LauncherError as error:
            self._journal.say("trouble", text=f"{error}; tried again in {_CALL_AGAIN // SECOND} s")
        self._call_again_at = _now().mono + _CALL_AGAIN

    def _look_at_the_clock(self) -> None:
        now = _now()
        wake = self._scheduler.next_wakeup(now)
        if wake is not None and wake <= now.wall:
            self._happened.append(events.Woke())
        if self._watch.deadline is not None and self._watch.deadline <= now.mono:
            self._watch.drain()
            self._look_at_files()
        if self._upkeep.at is not None and self._upkeep.at <= now.mono:
            self._keep_up(now)
        if self._call_again_at is not None and self._call_again_at <= now.mono:
            self._call_launcher()
        overdue = self._link.overdue
        if overdue is not None and overdue <= now.mono and (silence := self._link.silence()):
            self._journal.say("trouble", text=silence)
        self._tell_alive(now)

    def _keep_up(self, now: Now) -> None:
        try:
            self._upkeep.turn(now, self._scheduler.runs)
        except CommitFailed as error:
            self._degrade(str(error))

    def _tell_alive(self, now: Now) -> None:
        if self._systemd.watchdog and (self._alive_at is None or self._alive_at <= now.mono):
            self._systemd.alive()
            self._alive_at = now.mono + self._systemd.watchdog
            self._watch.rescan(now.mono)

    def _look_at_files(self) -> None:
        self._happened += self._watch.scan(_now().mono)
        self._unsaved.take_files(self._watch.accepted)
        tell_changes(self._watch, self._journal)
        if not self._complete and self._watch.complete:  # what is nowhere never comes
            self._complete = True
            self._happened.append(events.JobsLoaded(True))


def _now() -> Now:
    return Now(time.time_ns(), time.monotonic_ns())

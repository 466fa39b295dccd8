"""The methods of the control socket: their replies, and who may call which."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jobqueued.child.trust import name_of
from jobqueued.control import access, views
from jobqueued.control.access import RULES, Answer, Rank, Whose
from jobqueued.control.crontab_calls import CrontabCalls
from jobqueued.control.due_calls import due_changes
from jobqueued.control.event_stream import EventStream
from jobqueued.control.lock_calls import LockCalls
from jobqueued.control.monitor import Monitor
from jobqueued.control.notice_calls import NoticeCalls
from jobqueued.control.ownership import Asker, Ownership, refusal
from jobqueued.control.parameters import cause_of, event_of, instant_of, run_of, wrong
from jobqueued.control.past_calls import PastCalls
from jobqueued.control.peers import Access, Peer
from jobqueued.control.record_calls import MOST_RUNS, RecordCalls
from jobqueued.control.seen import Seen, public_status, seen_status, unwatched
from jobqueued.control.server import ControlServer
from jobqueued.control.submit_calls import SubmitCalls
from jobqueued.control.texts import Texts
from jobqueued.control.unwell import unwell
from jobqueued.control.user_file_calls import UserFileCalls
from jobqueued.control.varlink import Method, VarlinkError
from jobqueued.core import record
from jobqueued.core.scheduler import Scheduler
from jobqueued.core.set_back import waits_until
from jobqueued.events import (
    Emitted,
    Event,
    FleetAccepted,
    ForgetAsked,
    HoldAsked,
    LostAsked,
    PauseAsked,
    RetryAsked,
    RunAsked,
    SkipAsked,
    StopAsked,
)
from jobqueued.metrics.readings import Readings
from jobqueued.model import Job, Now, RunId, to_text
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.saved import Hold
from jobqueued.state.faults import StoreError
from jobqueued.state.store import Store
from jobqueued.state.write_batch import WriteBatch
from jobqueued.users import Owner

_EXPLAINED_RUNS = 10

Ticket = Callable[[], int]


class Methods:
    """Replies from memory and state.db, to callers that `access` and the table of access.py allow."""

    def __init__(
        self, scheduler: Scheduler, store: Store, batch: WriteBatch, status: Callable[[], dict[str, Any]],
        happen: Callable[[Event], None], logs: Path, reload: Callable[[int], None], now: Callable[[], Now], boot: str,
        lock_calls: LockCalls, notice_calls: NoticeCalls, monitor: Monitor, lost_attempts: LostAttempts,
        access: Access, readings: Readings, crontabs: CrontabCalls, user_files: UserFileCalls,
        submit_calls: SubmitCalls,
    ) -> None:  # fmt: skip
        self._scheduler, self._store, self._batch = scheduler, store, batch
        self._status, self._happen, self._reload, self._now, self._boot = status, happen, reload, now, boot
        self._locks, self._notices, self._monitor, self._crontabs = lock_calls, notice_calls, monitor, crontabs
        self._lost_attempts, self._access, self._ownership = lost_attempts, access, Ownership(scheduler, batch)
        self._user_files, self._submit_calls = user_files, submit_calls
        self._records = RecordCalls(scheduler, store, batch, logs, monitor, now)
        self.events = EventStream(scheduler.owner_of)
        self._past = PastCalls(scheduler, store, batch, self._records.begun)
        self.texts = Texts(scheduler, self._status_for, lambda: readings.all(self._now()))

    @property
    def waiters(self) -> dict[RunId, list[int]]:
        """Run → tickets that wait for its end."""
        return self._records.waiters

    def of(self, peer: Peer, ticket: Ticket) -> Mapping[str, Method]:
        """Return the methods for this peer; `ticket` returns a number for a reply that comes later."""
        rank = self._access.rank(peer)
        asker = Asker(peer, ticket, rank >= Rank.READER, self._ownership)
        files = {**self._crontabs.of(peer, ticket), **self._user_files.of(peer, ticket)}
        work = self._submit_calls.of(peer, ticket)
        methods = {**self._reading(asker), **self._acting(asker), **files, **work}
        return {name: self._guarded(name, method, rank, peer) for name, method in methods.items()}

    def _guarded(self, name: str, method: Method, rank: Rank, peer: Peer) -> Method:
        """Return the method restricted by the table; the caller gets errors of state.db and files."""
        rule = RULES[name]

        def told(parameters: dict[str, Any]) -> dict[str, Any] | None:
            try:
                if rank < rule.rank:
                    whose = self._ownership.named(parameters, rule.names, peer.owner) if rule.own else Whose.NOBODYS
                    if access.answer(name, rank, whose) is Answer.NO:
                        raise refusal(rule, parameters, whose)
                return method(parameters)
            except StoreError as error:
                raise VarlinkError("Refused", {"reason": str(error)}) from None
            except OSError as error:
                where = f"{error.filename}: " if error.filename else ""
                raise VarlinkError("Refused", {"reason": f"{where}{error.strerror}"}) from None

        return told

    def _reading(self, asker: Asker) -> dict[str, Method]:
        """Return the methods that only read."""
        texts, records, ticket = self.texts, self._records, asker.ticket
        return {
            "Status": lambda _: self._whole_status() if asker.sees_all else texts.ask_status(asker, self._now()),
            "List": lambda _: texts.ask_jobs(asker, self._now()),
            "Describe": lambda p: records.describe(
                p["job"], p.get("runs", 10), asker, whole=self._owned_by(asker.peer)
            ),
            "Show": lambda p: records.show(p["run"], asker),
            "Usage": lambda p: self._monitor.join(ticket(), bool(p.get("history")), self._now(), _of_own_runs(asker)),
            "Watch": lambda p: self.events.watch(p, asker),
            "Metrics": lambda _: texts.ask(texts.metrics, ticket(), self._now()),
            "Next": lambda p: self._next(p["job"], p["count"]),
            "History": lambda p: records.history(p, asker),
            "Logs": records.logs,
            "Why": lambda p: self._why(p, asker),
            "Locks": lambda p: self._locks.told(p, asker),
            "Fleet": lambda _: views.fleet(self._scheduler, whole=asker.sees_all),
            "Notices": self._notices.told,
            "DueChanges": lambda p: due_changes(self._store, self._batch, p.get("after", 0)),
            "Wait": lambda p: records.await_end(p["run"], asker),
        }

    def _acting(self, asker: Asker) -> dict[str, Method]:
        """Return the methods that change something."""
        happen, ticket, by = self._happen, asker.ticket, asker.peer.name
        return {
            "Reload": lambda _: self._reload(ticket()),
            "Run": lambda p: happen(RunAsked(ticket(), p["job"], by, _key(), None, cause_of(p))),
            "Rerun": lambda p: self._ask_for_rerun(p, asker),
            "Emit": lambda p: happen(Emitted(ticket(), event_of(p["event"]), by, _key(), cause_of(p))),
            "Retry": lambda p: self._ask_for_retry(p["run"], asker),
            "Stop": lambda p: self._ask_for_stop(p["run"], bool(p.get("lost")), asker),
            "Pause": lambda p: happen(PauseAsked(ticket(), p["job"], by, pause=True, until=instant_of(p, "until"))),
            "Resume": lambda p: happen(PauseAsked(ticket(), p["job"], by, pause=False)),
            "SkipNext": lambda p: happen(SkipAsked(ticket(), p["job"], by, bool(p.get("undo")))),
            "Forget": lambda p: happen(ForgetAsked(ticket(), p["job"], by)),
            "Hold": lambda p: self._ask_for_hold(p, asker),
            "Release": lambda _: happen(HoldAsked(ticket(), by, None)),
            "AcceptFleet": lambda _: happen(FleetAccepted(ticket(), by)),
            "Lock": lambda p: self._locks.ask_for(p, asker.peer, ticket),
            "Evict": lambda p: self._locks.evict(p["holder"], asker.peer, ticket),
            "Notify": self._notices.test,
        }

    def answer_by(self, server: ControlServer) -> None:
        """Send later replies through this server."""
        self._monitor.reply, self._records.reply = server.stream, server.reply
        self.events.reply, self.events.takes = server.stream, server.takes
        self._crontabs.reply = self._user_files.reply = self._submit_calls.reply = server.reply
        self.texts.answer, self.texts.stumble = server.send, server.stumble

    def left(self, ticket: int) -> None:
        """Forget a caller that left before its reply; it no longer waits for a lock."""
        for calls in (self._locks, self._crontabs, self._user_files, self._submit_calls, self._records, self.events):
            calls.left(ticket)

    def _whole_status(self, seen: Seen | None = None) -> dict[str, Any]:
        """Return the status of everything, or of what a user sees."""
        catalog, soonest = self._scheduler.catalog, views.next_job(self._scheduler, seen)
        attention, own = self._scheduler.attention(self._now()), self._status()
        if seen is not None:
            own, attention = seen_status(own, seen), (one for one in attention if seen.job(one.job))
        status = {
            **own, **views.hold(self._scheduler), **views.counts(self._scheduler, seen),
            **views.exclusive(self._scheduler), **views.attention(attention), **views.fleet_counted(self._scheduler),
            "jobs": len(catalog) if seen is None else len(catalog) - catalog.owned + len(catalog.of_owner(seen.user)),
            "next": to_text(soonest[0]) if soonest else None, "next_job": soonest[1] if soonest else None,
            "unwatched": unwatched(own["unwatched"], seen),
        }  # fmt: skip
        return {"unwell": unwell(status), **status}

    def _status_for(self, user: Owner | None) -> dict[str, Any]:
        """Return the status for a user who is no reader."""
        seen = Seen(lambda job: self._ownership.job(job, user) in (Whose.OWN, Whose.HOST), user)
        return public_status(self._whole_status(seen), seen)

    def _next(self, name: str, count: int) -> dict[str, Any]:
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        starts = self._scheduler[name].saved.starts(job, max(0, min(count, MOST_RUNS)))
        row = views.job_row(job, views.standing(self._scheduler, job))
        barred = {name: row[name] for name in ("enabled", "invalid", "paused", "paused_until")}
        return {
            "timezone": job.timezone, "next": list(map(to_text, starts)), **barred,
            "set_back_until": views.moment(self._waits_until(job)), **views.hold(self._scheduler),
        }  # fmt: skip

    def _waits_until(self, job: Job) -> int | None:
        return waits_until(self._scheduler[job.id].saved, job, self._now().wall)

    def _owned_by(self, peer: Peer) -> Callable[[Job], bool]:
        """Return a function that returns whether the caller may see the secrets in a job's definition.

        Root, the daemon's own user and the job's user may.
        """
        if peer.uid in (0, os.geteuid()):
            return lambda _job: True

        def is_theirs(job: Job) -> bool:
            if job.owner is not None:
                return job.owner == peer.owner
            return job.user is not None and job.user == name_of(peer.uid)

        return is_theirs

    def _ask_for_rerun(self, asked: dict[str, Any], asker: Asker) -> None:
        run = run_of(asked["run"])
        known = self._scheduler.runs.get(run)
        by = self._records.ended(asked["run"]).get("triggered_by") if known is None else known.triggered_by
        told = cause_of(asked, record.repeated(by))
        self._happen(RunAsked(asker.ticket(), run.job, asker.peer.name, _key(), run, told))

    def _ask_for_retry(self, text: str, asker: Asker) -> None:
        if (run := run_of(text)) not in self._scheduler.runs:
            self._records.ended(text)  # NoSuchRun if it never existed
        self._happen(RetryAsked(asker.ticket(), run, asker.peer.name))

    def _ask_for_hold(self, asked: dict[str, Any], asker: Asker) -> None:
        boot, by = self._boot if asked.get("boot") else None, asker.peer.name
        until = instant_of(asked, "until")
        self._happen(HoldAsked(asker.ticket(), by, Hold(by, until, boot)))

    def _why(self, asked: dict[str, Any], asker: Asker) -> dict[str, Any]:
        if ("run" in asked) == ("job" in asked):
            raise wrong("run")
        if (at := instant_of(asked, "at")) is not None:
            found = self._past.why(asked, at, asker)
            return {"why": None, "runs": [], "more": 0, "idle": None, "past": found}
        if "job" in asked:
            return self._why_of_job(asked["job"], asker)
        why = self._why_of_run(asked["run"], asker)
        return {"why": why, "runs": [why], "more": 0, "idle": None, "past": None}

    def _why_of_run(self, text: str, asker: Asker) -> dict[str, Any]:
        run = run_of(text)
        if run in self._scheduler.runs:
            return self._records.explained(run, self._now(), asker.owner)
        record = self._records.ended(text)
        said = f"{run} ended: {record['state']}" + (f", {record['reason']}" if record["reason"] else "")
        return {"run": text, "state": record["state"], "reasons": [said]}

    def _why_of_job(self, name: str, asker: Asker) -> dict[str, Any]:
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        waiting = len(self._scheduler[name].pending)
        runs = self._scheduler.explain_pending(name, _EXPLAINED_RUNS, self._now(), asker.owner)
        newest = () if waiting else self._batch.history(name, 1)
        standing = views.standing(self._scheduler, job)
        idle = None if waiting else views.idleness(job, standing, filter(asker.has, newest), self._waits_until(job))
        return {"why": None, "runs": runs, "more": waiting - len(runs), "idle": idle, "past": None}

    def _ask_for_stop(self, text: str, lost: bool, asker: Asker) -> None:
        run, by = run_of(text), asker.peer.name
        if run not in self._scheduler.runs:
            raise VarlinkError("Refused", {"reason": f"{run} has already ended: {self._records.ended(text)['state']}"})
        if lost:
            try:
                over = self._lost_attempts.give_up(run, by)
            except OSError as error:
                reason = f"cannot read the files of {run} now ({error.strerror}); try again"
                raise VarlinkError("Refused", {"reason": reason}) from None
            if over is None:
                raise VarlinkError("Refused", {"reason": f"{run} is not lost; to stop it: jobqueuectl stop {run}"})
            self._happen(LostAsked(asker.ticket(), over))
            return
        self._happen(StopAsked(asker.ticket(), run, by))


def _of_own_runs(asker: Asker) -> Callable[[RunId], bool] | None:
    """Return whether a run's usage is for this caller, as a function; None: all runs."""
    return None if asker.sees_all else asker.has_run


def _key() -> str:
    """Return a key for an occurrence that no clock makes."""
    return f"x{os.urandom(8).hex()}"

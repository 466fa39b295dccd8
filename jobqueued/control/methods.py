"""The methods of the control socket: their answers, and who may call which."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Container, Mapping
from datetime import datetime
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from jobqueued.child.trust import name_of
from jobqueued.control import views
from jobqueued.control.crontab_calls import CrontabCalls
from jobqueued.control.due_calls import due_changes
from jobqueued.control.lock_calls import LockCalls
from jobqueued.control.monitor import Monitor
from jobqueued.control.notice_calls import NoticeCalls
from jobqueued.control.peers import Access, Peer, Rank
from jobqueued.control.server import ControlServer
from jobqueued.control.submit_calls import SubmitCalls
from jobqueued.control.texts import Text, Texts
from jobqueued.control.varlink import Method, VarlinkError
from jobqueued.core import event_data, record, spans
from jobqueued.core.scheduler import Scheduler
from jobqueued.events import (
    Emitted,
    Event,
    ForgetAsked,
    HoldAsked,
    LostAsked,
    PauseAsked,
    RunAsked,
    SkipAsked,
    StopAsked,
)
from jobqueued.jobfile.queue_types import is_name
from jobqueued.metrics.readings import Readings
from jobqueued.model import LIVE, Job, Now, Record, Run, RunId, TriggeredBy, to_instant, to_text
from jobqueued.runs.lost_attempts import LostAttempts
from jobqueued.runs.run_directory import Name
from jobqueued.saved import Hold
from jobqueued.state import record_files
from jobqueued.state.faults import StoreError
from jobqueued.state.store import NEWEST, Mark, Store
from jobqueued.state.write_batch import WriteBatch

_MOST_RUNS = 1000
_EXPLAINED_RUNS, _PAGE_RUNS, _PAGE_BYTES = 10, 50, 1 << 16
_LIVE_PLACE = "live/"
_ANY = 1 << 63
"""After every instant."""

Ticket = Callable[[], int]


class Methods:
    """Answers from memory and state.db, to whom may ask by `access`.

    `waiters` are the tickets that wait for a run's end.
    """

    def __init__(
        self, scheduler: Scheduler, store: Store, batch: WriteBatch, status: Callable[[], dict[str, Any]],
        happen: Callable[[Event], None], logs: Path, reload: Callable[[int], None], now: Callable[[], Now], boot: str,
        lock_calls: LockCalls, notice_calls: NoticeCalls, monitor: Monitor, lost_attempts: LostAttempts,
        access: Access, readings: Readings, crontabs: CrontabCalls, submit_calls: SubmitCalls,
    ) -> None:  # fmt: skip
        self._scheduler, self._store, self._batch, self._logs = scheduler, store, batch, logs
        self._status, self._happen, self._reload, self._now, self._boot = status, happen, reload, now, boot
        self._locks, self._notices, self._monitor, self._crontabs = lock_calls, notice_calls, monitor, crontabs
        self._lost_attempts, self._access, self._submit_calls = lost_attempts, access, submit_calls
        self.texts = Texts(scheduler, self._whole_status, lambda: readings.all(self._now()))
        self._reply: Callable[[int, dict[str, Any], str | None], None]
        self.waiters: dict[RunId, list[int]] = {}

    def of(self, peer: Peer, ticket: Ticket) -> Mapping[str, Method]:
        """The methods as this peer may call them; `ticket` is for an answer that comes later."""

        rank = self._access.rank(peer)

        def reads(method: Method) -> Method:
            return _readable(method) if rank >= Rank.READER else _denied

        def acts(method: Method) -> Method:
            return _readable(method) if rank >= Rank.OPERATOR else _denied

        def text(written: Text) -> Method:
            return lambda _: self.texts.ask(written, ticket(), self._now())

        sees_all = rank >= Rank.READER
        return {
            "Status": _readable(lambda _: self._whole_status()) if sees_all else text(self.texts.public_status),
            "List": text(self.texts.jobs if sees_all else self.texts.public_jobs),
            "Describe": reads(lambda p: self._describe(p["job"], p.get("runs", 10), peer)),
            "Show": reads(lambda p: self._show_to(p["run"], ticket)),
            "Usage": reads(lambda p: self._monitor.join(ticket(), bool(p.get("history")), self._now())),
            "Metrics": reads(lambda _: self.texts.ask(self.texts.metrics, ticket(), self._now())),
            "Next": reads(lambda p: self._next(p["job"], p["count"])),
            "History": reads(self._history),
            "Logs": reads(self._logs_of),
            "Reload": acts(lambda _: self._reload(ticket())),
            "Run": acts(lambda p: self._happen(RunAsked(ticket(), p["job"], peer.name, _key(), None, _told(p)))),
            "Rerun": acts(lambda p: self._ask_for_rerun(p, peer, ticket)),
            "Emit": acts(lambda p: self._happen(Emitted(ticket(), _event(p["event"]), peer.name, _key(), _told(p)))),
            "Why": reads(self._why),
            "Stop": acts(lambda p: self._ask_for_stop(p["run"], bool(p.get("lost")), peer, ticket)),
            "Pause": acts(
                lambda p: self._happen(
                    PauseAsked(ticket(), p["job"], peer.name, pause=True, until=_instant(p, "until"))
                )
            ),
            "Resume": acts(lambda p: self._happen(PauseAsked(ticket(), p["job"], peer.name, pause=False))),
            "SkipNext": acts(lambda p: self._happen(SkipAsked(ticket(), p["job"], peer.name, bool(p.get("undo"))))),
            "Forget": acts(lambda p: self._happen(ForgetAsked(ticket(), p["job"], peer.name))),
            "Hold": acts(lambda p: self._ask_for_hold(p, peer, ticket())),
            "Lock": acts(lambda p: self._locks.ask_for(p, peer, ticket)),
            "Locks": reads(self._locks.told),
            "Notices": reads(self._notices.told),
            "Notify": acts(self._notices.test),
            "Evict": acts(lambda p: self._locks.evict(p["holder"], peer, ticket)),
            "DueChanges": reads(lambda p: due_changes(self._store, self._batch, p.get("after", 0), peer)),
            "Release": acts(lambda _: self._happen(HoldAsked(ticket(), peer.name, None))),
            "Wait": reads(lambda p: self._await_end(p["run"], ticket)),
            **self._crontabs.of(peer, ticket),
            **{name: _readable(method) for name, method in self._submit_calls.of(peer, ticket).items()},
        }

    def answer_by(self, server: ControlServer) -> None:
        """Give the answers that come later by this server."""
        self._monitor.reply, self._reply = server.stream, server.reply
        self._crontabs.reply = self._submit_calls.reply = server.reply
        self.texts.answer, self.texts.stumble = server.send, server.stumble

    def left(self, ticket: int) -> None:
        """Forget a caller that has left before its answer; it wants no lock any more."""
        for calls in (self._locks, self._crontabs, self._submit_calls):
            calls.left(ticket)
        for run, tickets in list(self.waiters.items()):
            if ticket in tickets:
                tickets.remove(ticket)
                if not tickets:
                    del self.waiters[run]

    def _whole_status(self) -> dict[str, Any]:
        soonest = views.next_job(self._scheduler)
        status = {
            **self._status(), **views.hold(self._scheduler), **views.counts(self._scheduler),
            **views.exclusive(self._scheduler), **views.attention(self._scheduler.attention(self._now())),
            "jobs": len(self._scheduler.catalog),
            "next": to_text(soonest[0]) if soonest else None, "next_job": soonest[1] if soonest else None,
        }  # fmt: skip
        return {"unwell": views.unwell(status), **status}

    def _next(self, name: str, count: int) -> dict[str, Any]:
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        starts = self._scheduler[name].saved.starts(job, max(0, min(count, _MOST_RUNS)))
        row = views.job_row(job, views.standing(self._scheduler, job))
        barred = {name: row[name] for name in ("enabled", "invalid", "paused", "paused_until")}
        return {
            "timezone": job.timezone, "next": list(map(to_text, starts)), **barred, **views.hold(self._scheduler),
        }  # fmt: skip

    def _describe(self, name: str, limit: int, peer: Peer) -> dict[str, Any]:
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        state = self._scheduler[name]
        limit = max(0, min(limit, _MOST_RUNS))
        unfinished = sorted(state.unfinished, reverse=True)
        runs = [self._begun(self._scheduler.runs[run]) for run in unfinished[:limit]] + self._batch.history(name, limit)
        return {
            "job": views.job_row(job, views.standing(self._scheduler, job)),
            "definition": views.definition(job, whole=self._owns(peer, job)), "stats": views.stats(state),
            "runs": runs[:limit],
        }  # fmt: skip

    def _owns(self, peer: Peer, job: Job) -> bool:
        """Root, the daemon's own user, and the job's: they see the secrets in its definition."""
        return peer.uid in (0, os.geteuid()) or (job.user is not None and job.user == name_of(peer.uid))

    def _show_to(self, text: str, ticket: Ticket) -> dict[str, Any] | None:
        """The record at once, or of a live run what there is of it, once it is known what that uses."""
        run = self._scheduler.runs.get(_named(text))
        if run is None:
            return {"record": self._show(text)}
        so_far = self._so_far(run)
        if not run.pid:
            return {"record": so_far}
        if (telemetry := self._monitor.marks.telemetry(Name(run.id, run.attempt))) is not None:
            so_far["telemetry"] = telemetry
        number = ticket()

        def then(used: dict[str, Any] | OSError | None) -> None:
            if isinstance(used, OSError):
                self._reply(number, {"reason": str(used.strerror)}, "Refused")
            else:
                self._reply(number, {"record": {**so_far, "usage": used}}, None)

        self._monitor.measure(run, then)
        return None

    def _show(self, text: str) -> Record:
        """The record of a run that has ended."""
        run = _named(text)
        document = self._batch.record(run)
        if document is None:
            raise VarlinkError("NoSuchRun", {"run": text})
        return document

    def _so_far(self, run: Run) -> Record:
        begun, is_live = self._begun(run), run.state in LIVE
        return {
            **begun, "output": record_files.found_output(self._logs, run.id) or begun["output"],
            "usage": None,
            "holds": views.holds(run) if is_live else [],
            "waits_for": [] if is_live else self._scheduler.explain(run.id, self._now())["reasons"],
        }  # fmt: skip

    def _begun(self, run: Run) -> Record:
        begun = record.begin(run, self._scheduler.catalog.get(run.id.job), self._scheduler.limits)
        return {**begun, "pid": run.pid, "started": to_text(run.started) if run.started else None}

    def _history(self, asked: dict[str, Any]) -> dict[str, Any]:
        job, limit = asked.get("job"), max(1, min(asked.get("limit", _PAGE_RUNS), _PAGE_RUNS))
        states, since, until = asked.get("states"), _instant(asked, "since"), _instant(asked, "until")
        first, last = since or 0, _ANY - 1 if until is None else until

        def wanted(mark: Mark, state: str) -> bool:
            return first <= mark.queued < last and (states is None or state in states)

        place, among_live = _place(asked.get("before", _LIVE_PLACE))
        fresh: list[tuple[Mark, Run]] = []
        if among_live:
            found = self._fresh(job, place, states or ())
            fresh = [(mark, run) for mark, run in found if wanted(mark, run.state)][:limit]
            place = NEWEST._replace(queued=last)
        ended = self._batch.ended
        runs = [ended.get(run.id) or self._begun(run) for _, run in fresh]
        if len(fresh) == limit:
            return {"runs": runs, "next": _LIVE_PLACE + _place_text(fresh[-1][0])}
        page = self._store.ended(place, first, limit - len(fresh), wanted, job)
        if job is not None and not (fresh or page.records or page.end or self._knows(job)):
            raise VarlinkError("NoSuchJob", {"job": job})
        runs += [known for known in page.records if RunId.parse(known["run"]) not in ended]
        return {"runs": runs, "next": None if page.end is None else _place_text(page.end)}

    def _fresh(self, job: str | None, before: Mark, wanted: Container[str]) -> list[tuple[Mark, Run]]:
        """The live runs, those of `wanted` states, and those whose end is not saved yet, from a place on."""
        live = [run for run in self._scheduler.runs.values() if run.state in LIVE or run.state in wanted]
        runs = live + [run for run, record in self._batch.runs.values() if record is not None]
        marks = ((Mark(run.queued, *run.id), run) for run in runs if job in (None, run.id.job))
        return sorted((found for found in marks if found[0] < before), key=itemgetter(0), reverse=True)

    def _knows(self, job: str) -> bool:
        return job in self._scheduler.catalog or bool(self._batch.history(job, 1))

    def _logs_of(self, asked: dict[str, Any]) -> dict[str, Any]:
        run, offset = _named(asked["run"]), max(0, asked.get("offset", 0))
        limit = max(0, min(asked.get("limit", _PAGE_BYTES), _PAGE_BYTES))
        live = run in self._scheduler.runs
        document = None if live else self._show(asked["run"])
        try:
            data, size = record_files.read_output(self._logs, run, offset, limit)
        except FileNotFoundError:
            if document is None:
                return {"data": "", "size": 0, "live": True}
            raise VarlinkError("NoOutput", {"run": str(run), "reason": record_files.no_output(document)}) from None
        except OSError as error:
            raise VarlinkError("NoOutput", {"run": str(run), "reason": f"it can't be read: {error.strerror}"}) from None
        return {"data": base64.b64encode(data).decode(), "size": size, "live": live}

    def _ask_for_rerun(self, asked: dict[str, Any], peer: Peer, ticket: Ticket) -> None:
        run = _named(asked["run"])
        known = self._scheduler.runs.get(run)
        by = self._show(asked["run"]).get("triggered_by") if known is None else known.triggered_by
        self._happen(RunAsked(ticket(), run.job, peer.name, _key(), run, _told(asked, record.repeated(by))))

    def _ask_for_hold(self, asked: dict[str, Any], peer: Peer, ticket: int) -> None:
        boot = self._boot if asked.get("boot") else None
        self._happen(HoldAsked(ticket, peer.name, Hold(peer.name, _instant(asked, "until"), boot)))

    def _why(self, asked: dict[str, Any]) -> dict[str, Any]:
        if ("run" in asked) == ("job" in asked):
            raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "run"})
        if "job" in asked:
            return self._why_of_job(asked["job"])
        why = self._why_of_run(asked["run"])
        return {"why": why, "runs": [why], "more": 0, "idle": None}

    def _why_of_run(self, text: str) -> dict[str, Any]:
        run = _named(text)
        if run in self._scheduler.runs:
            return self._scheduler.explain(run, self._now())
        record = self._show(text)
        said = f"{run} has ended: {record['state']}" + (f", {record['reason']}" if record["reason"] else "")
        return {"run": text, "state": record["state"], "reasons": [said]}

    def _why_of_job(self, name: str) -> dict[str, Any]:
        job = self._scheduler.catalog.get(name)
        if job is None:
            raise VarlinkError("NoSuchJob", {"job": name})
        waiting = len(self._scheduler[name].pending)
        runs = self._scheduler.explain_pending(name, _EXPLAINED_RUNS, self._now())
        newest = () if waiting else self._batch.history(name, 1)
        idle = None if waiting else views.idleness(job, views.standing(self._scheduler, job), newest)
        return {"why": None, "runs": runs, "more": waiting - len(runs), "idle": idle}

    def _ask_for_stop(self, text: str, lost: bool, peer: Peer, ticket: Ticket) -> None:
        run = _named(text)
        if run not in self._scheduler.runs:
            raise VarlinkError("Refused", {"reason": f"{run} has ended: {self._show(text)['state']}"})
        if lost:
            over = self._lost_attempts.give_up(run, peer.name)
            if over is None:
                raise VarlinkError("Refused", {"reason": f"{run} is not lost; to stop it: jobqueuectl stop {run}"})
            self._happen(LostAsked(ticket(), over))
            return
        self._happen(StopAsked(ticket(), run, peer.name))

    def _await_end(self, text: str, ticket: Ticket) -> dict[str, Any] | None:
        run = _named(text)
        if run not in self._scheduler.runs:
            return {"record": self._show(text)}
        self.waiters.setdefault(run, []).append(ticket())
        return None


def _readable(method: Method) -> Method:
    """The method, with what can't be read, state.db or any other file, told to the asker."""

    def told(parameters: dict[str, Any]) -> dict[str, Any] | None:
        try:
            return method(parameters)
        except StoreError as error:
            raise VarlinkError("Refused", {"reason": str(error)}) from None
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise VarlinkError("Refused", {"reason": f"{where}{error.strerror}"}) from None

    return told


def _denied(_parameters: dict[str, Any]) -> dict[str, Any]:
    raise VarlinkError("PermissionDenied")


def _key() -> str:
    """Of an occurrence that no clock makes."""
    return f"x{os.urandom(8).hex()}"


def _told(asked: dict[str, Any], known: TriggeredBy | None = None) -> TriggeredBy | None:
    """All that a run is told of its cause beside what is `known`: data and traceparent of a call."""
    if "data" in asked and (flaw := event_data.flaw(asked["data"])):
        raise VarlinkError("Refused", {"reason": flaw})
    if "traceparent" in asked and not spans.is_traceparent(asked["traceparent"]):
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "traceparent"})
    given = {name: asked[name] for name in ("data", "traceparent") if name in asked}
    return cast("TriggeredBy", {**(known or {}), **given}) or None


def _event(name: str) -> str:
    if not is_name(name):
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "event"})
    return name


def _instant(asked: dict[str, Any], name: str) -> int | None:
    try:
        return to_instant(datetime.fromisoformat(asked[name])) if name in asked else None
    except (ValueError, TypeError):  # TypeError: without a zone
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": name}) from None


def _place_text(mark: Mark) -> str:
    return f"{mark.queued}/{RunId(mark.job, mark.number)}"


def _place(text: str) -> tuple[Mark, bool]:
    """The place where a page of history begins, as the page before has told, and if that is among the live runs."""
    among_live = text.startswith(_LIVE_PLACE)
    queued, _, run = text.removeprefix(_LIVE_PLACE).partition("/")
    try:
        mark = NEWEST if text == _LIVE_PLACE else Mark(int(queued), *RunId.parse(run))
        if not -_ANY <= mark.queued < _ANY:
            raise ValueError
        return mark, among_live
    except ValueError:
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "before"}) from None


def _named(text: str) -> RunId:
    try:
        return RunId.parse(text)
    except ValueError:
        raise VarlinkError("NoSuchRun", {"run": text}) from None

"""Calls about users' job files. A stored file is in force before the reply.

Calls are handled one at a time. A supervisor identifies the caller, because a user database may hang. A text is
parsed in slices, like other files.
"""

from __future__ import annotations

import base64
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from typing import Any

from jobqueued.base.filenames import named
from jobqueued.base.instants import to_text
from jobqueued.base.problem import Problem
from jobqueued.base.text import duration, size
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.child.spool import spool_orders
from jobqueued.control.protocol.access import AccessRule, Rank
from jobqueued.control.protocol.call_rate import CallRate
from jobqueued.control.protocol.declaration import method
from jobqueued.control.protocol.ownership import Asker
from jobqueued.control.protocol.replies import Reply
from jobqueued.control.protocol.varlink import VarlinkError
from jobqueued.core.explain.attention import is_over
from jobqueued.core.scheduler import Scheduler
from jobqueued.jobdir.acceptance import Content
from jobqueued.jobdir.job_files import Watches
from jobqueued.jobdir.user_file_rules import UserFileRules, names_of
from jobqueued.jobdir.user_files import UserFile, UserFiles, stamp_of
from jobqueued.jobfile.tree.yamltext import Steps
from jobqueued.model.job import Job, Now
from jobqueued.model.source import Source
from jobqueued.model.users import LARGEST_FILE, Owner, UserLimits
from jobqueued.runs.launcher_link import Answered, LauncherLink

_LIST, _GET, _SET, _REMOVE = "list", "get", "set", "remove"
_CHANGES = (_SET, _REMOVE)
_OWN = AccessRule(Rank.ROOT, own=True)
_MOST_LISTED = 1000
_NEXT = 3
_BYTES_OF_A_CALL = 128
"""Number of a string's bytes that count as one more call in the user's call rate, because parsing takes time."""
_STEPS = 16
"""Maximum number of parsing steps in a turn: about 10 ms."""
_LONGEST_LOOK_UP = 5_000_000_000
"""Maximum wait for an account before the reply (ns)."""
_LAUNCHER_SILENT = "the launcher does not answer; see: systemctl status jobqueued-launcher"
_FOR_NEW = "for a user's new file, add --user NAME"
_EMPTY = "found an empty file; expected `jobs: {}` for a file without jobs, or: jobqueuectl remove"

Answer = tuple[dict[str, Any], str | None]
"""A reply's parameters, and its error or None."""


@dataclass(frozen=True, slots=True)
class _FileCall:
    """A call. `user`: the name of the files' owner, or None for the caller."""

    ticket: int
    act: str
    asker: int
    user: str | None
    name: str = ""
    text: bytes = b""
    stamp: str | None = None


class _TextReading(NamedTuple):
    """A string that is being parsed."""

    call: _FileCall
    file: UserFile
    steps: Steps[Content]


class _Change(NamedTuple):
    """A stored change that is not in force yet. `reply` returns the reply, later."""

    call: _FileCall
    path: str
    deadline: int
    """The time (CLOCK_MONOTONIC, ns) when the caller gets the reply, even if an account is still being looked up."""
    reply: Callable[[Now], Answer]


class UserFileCalls(Source):
    """Stores, returns and removes users' files."""

    def __init__(
        self,
        link: LauncherLink,
        files: UserFiles,
        watches: Watches,
        scheduler: Scheduler,
        limits: UserLimits,
        host: Path,
        reply: Reply,
    ) -> None:
        """`host`: the host's root directory, which contains etc/cron.allow and etc/cron.deny."""
        self._host = str(host)
        self._link, self._files, self._scheduler = link, files, scheduler
        self._limits, self._reply = limits, reply
        self._rules = UserFileRules(files, scheduler.catalog, limits)
        self.call_rate = CallRate(limits.calls)
        self._waiting: deque[_FileCall] = deque()
        self._is_busy = False
        self._watch = next(watch for watch in watches if watch.directory == files.directory)
        self._reading: _TextReading | None = None
        self._change: _Change | None = None

    @method("UserFiles", _OWN)
    def list_files(self, asked: dict[str, Any], asker: Asker) -> None:
        """Reply with the files of a user."""
        self._ask(_LIST, asked, asker)

    @method("UserFileGet", _OWN)
    def get_file(self, asked: dict[str, Any], asker: Asker) -> None:
        """Reply with the text of a file."""
        self._ask(_GET, asked, asker, _name(asked["name"]))

    @method("UserFileSet", _OWN)
    def store_file(self, asked: dict[str, Any], asker: Asker) -> None:
        """Store a file."""
        self._ask(_SET, asked, asker, _name(asked["name"]), _text(asked["text"]))

    @method("UserFileRemove", _OWN)
    def remove_file(self, asked: dict[str, Any], asker: Asker) -> None:
        """Remove a file."""
        self._ask(_REMOVE, asked, asker, _name(asked["name"]))

    def _ask(self, act: str, asked: dict[str, Any], asker: Asker, name: str = "", text: bytes = b"") -> None:
        """Queue a call. Users may use their own files; root may use any user's files."""
        uid, user = asker.peer.uid, asked.get("user")
        if user is not None and not _may_see_to_others(uid):
            raise VarlinkError("PermissionDenied", {"needs": "root"})
        if act in _CHANGES and not _may_see_to_others(uid):
            self._spend(uid, asker.now.mono, 1 + len(text) // _BYTES_OF_A_CALL)
        self._waiting.append(_FileCall(asker.ticket(), act, uid, user, name, text, asked.get("stamp")))
        self._go_on()

    def left(self, ticket: int) -> None:
        """Drop the waiting call of a caller that left. A call that already started is carried out."""
        self._waiting = deque(call for call in self._waiting if call.ticket != ticket)

    def _spend(self, uid: int, mono: int, cost: int) -> None:
        wait = self.call_rate.take(uid, mono, cost)
        if wait:
            most = f"more than {self._limits.calls} in a minute (users: {{calls: …}} in jobqueued.yaml)"
            raise VarlinkError("Refused", {"reason": f"{most}; try again in {duration(wait / 1_000_000_000)}"})

    # one call

    def _go_on(self) -> None:
        while self._waiting and not self._is_busy:
            call = self._waiting.popleft()
            if call.act != _SET and _may_see_to_others(call.asker) and (call.user is not None or call.asker == 0):
                self._carry_out_for_root(call)
            else:
                self._look_up_owner(call)

    def _look_up_owner(self, call: _FileCall) -> None:
        if not self._link.greeted:
            self._finish(call, _refused(_LAUNCHER_SILENT))
            return
        self._is_busy = True
        self._link.see_to_crontab(self._who(call), self._heard_by(call))
        self._link.flush()

    def _who(self, call: _FileCall) -> dict[str, Any]:
        """Return a supervisor's order: it identifies the caller and, before a file is stored, checks the user's
        right.
        """
        adds = call.act == _SET
        allow, deny = (self._limits.allow, self._limits.deny) if adds else (None, ())
        return {
            "host": self._host,
            "act": spool_orders.WHO,
            "asker": call.asker,
            "user": call.user and call.user.partition(":")[0],
            "allow": allow,
            "deny": deny,
            "lists": adds and allow is None,
        }

    def _finish(self, call: _FileCall, answer: Answer) -> None:
        self._is_busy = False
        self._reply(call.ticket, *answer)

    def _heard_by(self, call: _FileCall) -> Answered:
        def answered(_part: int | None, answer: str) -> None:
            verb, _, rest = answer.partition(" ")
            match verb:
                case "done":
                    uid, _, name = rest.partition(" ")
                    owner = Owner(int(uid), name)
                    if ":" in (call.user or "") and call.user != names_of(owner)[1]:
                        self._finish(call, _refused(f"this host has no user {call.user}"))
                    else:
                        self._take(call, owner)
                case "refused":
                    self._finish(call, _refused(rest))
                case "denied":
                    self._finish(call, ({"needs": "root"}, "PermissionDenied"))
                case _:
                    self._finish(call, _refused(f"nothing was done: {rest.removeprefix('0 ')}; try again"))
            self._go_on()

        return answered

    def _take(self, call: _FileCall, owner: Owner) -> None:
        file = UserFile(owner, call.name)
        try:
            match call.act:
                case "list":
                    self._finish(call, self._listed([file for file in self._files.all() if file.owner == owner]))
                case "get":
                    self._finish(call, self._file_reply(file))
                case "set":
                    self._begin(call, file)
                case "remove":
                    self._remove(call, file)
        except OSError as error:
            self._finish(call, _refused(f"{self._files.directory}: {error.strerror}"))

    def _carry_out_for_root(self, call: _FileCall) -> None:
        """Carry out root's call without looking up the owner, whose account may be deleted or renamed.

        Only for a file that does not exist, the owner's account must exist.
        """
        try:
            files = [file for file in self._files.all() if call.user is None or call.user in names_of(file.owner)]
            if call.act == _LIST:
                self._finish(call, self._listed(files))
                return
            found = [file for file in files if file.name == call.name]
            if not found and call.act == _GET and call.user is not None:
                self._look_up_owner(call)
            elif not found:
                new = f"no user has a job file {call.name}; root's jobs are in the job directory; {_FOR_NEW}"
                self._finish(call, _refused(new) if call.user is None else _no_file(call))
            elif call.user is None or len(found) > 1:
                users = " or ".join(f"--user {names_of(file.owner)[1]}" for file in found[:3])
                self._finish(call, _refused(f"root has no such file, but another user has: add {users}"))
            elif call.act == _GET:
                self._finish(call, self._file_reply(found[0]))
            else:
                self._is_busy = True
                self._remove(call, found[0])
        except OSError as error:
            self._finish(call, _refused(f"{self._files.directory}: {error.strerror}"))

    def _listed(self, files: list[UserFile]) -> Answer:
        jobs = {file: self._scheduler.catalog.of_file(self._files.path(file)) for file in files[:_MOST_LISTED]}
        refused = self._watch.problems
        told = [
            {
                "name": file.name,
                "user": file.owner.name,
                "uid": file.owner.uid,
                "jobs": [job.id for job in found],
                "invalid": next(filter(None, map(self._scheduler.invalid, found)), None),
                "refused": next((str(each) for each in refused.get(self._files.path(file), ())), None),
            }
            for file, found in jobs.items()
        ]
        return {"files": told, "more": max(0, len(files) - _MOST_LISTED)}, None

    def _file_reply(self, file: UserFile) -> Answer:
        text, stamp = self._files.read(file)
        return {"text": base64.b64encode(text).decode(), "stamp": stamp, "user": file.owner.name}, None

    # a change

    def _begin(self, call: _FileCall, file: UserFile) -> None:
        if reason := self._rules.against(file):
            self._finish(call, _refused(reason))
            return
        if call.stamp is not None and call.stamp != self._files.read(file)[1]:
            self._finish(call, ({"name": file.name}, "UserFileChanged"))
            return
        self._reading = _TextReading(call, file, self._watch.read(call.text, self._files.path(file)))

    def _remove(self, call: _FileCall, file: UserFile) -> None:
        if call.stamp is not None and call.stamp != self._files.read(file)[1]:
            self._finish(call, ({"name": file.name}, "UserFileChanged"))
            return
        jobs = [job.id for job in self._scheduler.catalog.of_file(self._files.path(file))]
        if not self._files.remove(file):
            self._finish(call, _no_file(call))
            return
        unsaved = _unsaved(self._files.made_durable())
        self._watch.settle()
        self._change = _Change(call, "", 0, lambda _now: ({"jobs": jobs, **unsaved}, None))

    @property
    def has_more(self) -> bool:
        """Return whether a string is being parsed, or a stored change just came into force."""
        return self._reading is not None or (self._change is not None and self._is_in_force(self._change))

    @property
    def deadline(self) -> int | None:
        """The time when a reply no longer waits for an account."""
        return None if self._change is None or self._watch.has_more else self._change.deadline

    def _is_in_force(self, change: _Change) -> bool:
        """Return whether the jobs of a change are loaded and their accounts known."""
        if self._watch.has_more:
            return False
        return not any(map(self._scheduler.unknown_account, self._scheduler.catalog.of_file(change.path)))

    def _is_to_be_answered(self, change: _Change, now: Now) -> bool:
        return self._is_in_force(change) or (now.mono >= change.deadline and not self._watch.has_more)

    def turn(self, now: Now) -> tuple[()]:
        """Continue the current call."""
        if self._reading is not None:
            self._read_on(self._reading, now)
        elif (change := self._change) is not None and self._is_to_be_answered(change, now):
            self._change = None
            self._finish(change.call, change.reply(now))
        self._go_on()
        return ()

    def _read_on(self, reading: _TextReading, now: Now) -> None:
        try:
            for _ in range(_STEPS):
                next(reading.steps)
        except StopIteration as over:
            self._reading = None
            try:
                self._judge(reading, now, *over.value)
            except OSError as error:
                reason = f"it could not be stored, so nothing has changed: {self._files.directory}: {error.strerror}"
                self._finish(reading.call, _refused(reason))

    def _judge(self, reading: _TextReading, now: Now, jobs: tuple[Job, ...], problems: list[Problem]) -> None:
        """Store the text if it has no error. Raises OSError if the text was not stored."""
        call, file, path = reading.call, reading.file, self._files.path(reading.file)
        problems = [*problems, *self._scheduler.catalog.conflicts(path, jobs), *self._rules.beyond(file, jobs)]
        if not call.text.strip():
            problems = [Problem(path, 0, 0, "", _EMPTY, code="JQ112")]
        told = [self._as_shown(problem, file)._asdict() for problem in problems]
        if any(problem.severity == "error" for problem in problems):
            self._finish(call, ({"stored": False, "problems": told, "jobs": [], "next": []}, None))
            return
        self._files.write(file, call.text)
        unsaved = _unsaved(self._files.made_durable())
        self._watch.read_again(path)

        def reply(then: Now) -> Answer:
            return {**self._in_force(path, call.text, then), "problems": told, **unsaved}, None

        self._change = _Change(call, path, now.mono + _LONGEST_LOOK_UP, reply)

    def _as_shown(self, problem: Problem, file: UserFile) -> Problem:
        """Return the problem, with the file names that the user chose."""
        begin = f"{self._files.directory}/{file.owner.name}:{file.owner.uid}+"
        return problem._replace(file=file.shown, message=problem.message.replace(begin, ""))

    def _in_force(self, path: str, text: bytes, now: Now) -> dict[str, Any]:
        """Return the reply to a call whose stored text is in force."""
        jobs = self._scheduler.catalog.of_file(path)
        invalid = {job.id: self._obstacle(job) for job in jobs}
        active = (job.id for job in jobs if invalid[job.id] is None)
        soonest = [(start, name) for name in active if (start := self._scheduler.next_start(name)) is not None]
        some = [self._scheduler.catalog[name] for _, name in nsmallest(_NEXT, soonest)]
        starts = [(start, job) for job in some for start in job.next_starts(now.wall, _NEXT)]
        first = nsmallest(_NEXT, starts, key=lambda each: each[0])
        return {
            "stored": True,
            "stamp": stamp_of(text),
            "jobs": [{"id": name, "invalid": reason} for name, reason in invalid.items()],
            "next": [{"job": job.id, "at": to_text(start), "timezone": job.timezone} for start, job in first],
        }

    def _obstacle(self, job: Job) -> str | None:
        """Return the reason why a job can't run now or ever, or None if it can."""
        if reason := self._scheduler.invalid(job):
            return reason
        if (account := self._scheduler.unknown_account(job)) is not None:
            return f"{account} is still being looked up"
        following, unfinished = self._scheduler.next_start(job.id), self._scheduler[job.id].unfinished
        if job.at is not None and is_over(job, following, had_some=not unfinished):
            return "the instant of its `at` has passed"
        return None


def _may_see_to_others(uid: int) -> bool:
    return uid in (0, os.geteuid())


def _refused(reason: str) -> Answer:
    return {"reason": reason}, "Refused"


def _no_file(call: _FileCall) -> Answer:
    return {"name": call.name}, "NoSuchUserFile"


def _unsaved(reason: str) -> dict[str, str]:
    return {"unsaved": f"the file is active but not saved; a host crash may lose it: {reason}"} if reason else {}


def _name(text: str) -> str:
    try:
        return named(text)
    except ValueError as wrong:
        raise VarlinkError("Refused", {"reason": f"found {wrong}"}) from None


def _text(encoded: str) -> bytes:
    try:
        text = base64.b64decode(encoded, validate=True)
    except ValueError:  # not base64, or not ASCII
        raise VarlinkError("org.varlink.service.InvalidParameter", {"parameter": "text"}) from None
    if len(text) > LARGEST_FILE:
        reason = f"the file has {size(len(text))}; expected at most {size(LARGEST_FILE)}; divide it into several files"
        raise VarlinkError("Refused", {"reason": reason})
    return text

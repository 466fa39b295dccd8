"""Pings: an outside monitor is notified of each run's start and end, so that it can alert people if these pings do not
arrive.

Pings report the current state. Therefore a check's newer ping replaces a waiting ping, and a ping that is too old is
given up. All other pings are sent at least once; a repeated ping has the same run ID.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from jobqueued.base.instants import DAY, SECOND, to_text
from jobqueued.base.replace import changed
from jobqueued.base.sha256 import sha256
from jobqueued.child.contract.documents import Record
from jobqueued.child.contract.tuples import NamedTuple
from jobqueued.core.records.recollection import has_failover
from jobqueued.model.commands import Command, ForgetNotice, SaveNotice, Say
from jobqueued.model.job import Job
from jobqueued.model.notify import Ping, Target
from jobqueued.model.saved import Notice
from jobqueued.notices import happenings
from jobqueued.notices.failing_receivers import NotifierAnswer, Numbers, Troubles, grown
from jobqueued.notices.send_slots import SendSlots

SENDING = 2
"""Maximum number of batches that are sent at the same time, each to a different receiver."""
MOST = 50
"""Maximum number of checks in one batch."""
_APART = SECOND
"""Minimum time (ns) between the starts of two batches, because each batch needs a process."""
_FIRST_PAUSE = 10 * SECOND
_TOO_OLD = DAY


class PingBatch(NamedTuple):
    """Pings for several of a receiver's checks (`receiver_of`), in order, each with its number."""

    number: int
    receiver: Target
    pings: list[tuple[int, dict[str, Any]]]


class Pings:
    """The waiting pings; `job` returns the job with an ID."""

    def __init__(self, host: str, job: Callable[[str], Job | None], numbers: Numbers) -> None:
        self._host, self._job, self._numbers = host, job, numbers
        self._waiting: dict[Target, dict[int, Notice]] = {}
        self._sending: dict[int, tuple[Target, dict[Target, list[int]]]] = {}
        self._taken = 0
        self._places = SendSlots()
        self.troubles = Troubles[Target]("")

    def __iter__(self) -> Iterator[Notice]:
        """Iterate over all pings that wait or are being sent."""
        return (notice for notices in self._waiting.values() for notice in notices.values())

    def restore(self, notices: Iterable[Notice]) -> None:
        """Restore the pings that an earlier scheduler saved."""
        for notice in sorted(notices, key=lambda notice: notice.id):
            self._waiting.setdefault(Target.parse(notice.target), {})[notice.id] = notice
            self._numbers.saw(notice.id)

    # pings of runs

    def about(self, commands: Iterable[Command], wall: int) -> list[Command]:
        """Return the commands that save the pings for these commands."""
        said = (each for each in commands if isinstance(each, Say) and each.event in _TOLD)
        return [command for each in said for command in _TOLD[each.event](self, each, wall)]

    def _started(self, said: Say, wall: int) -> list[Command]:
        run = said.fields["run"]
        job, wish = self._wish(run.rpartition("@")[0], said)
        if wish is None or "late" not in said.fields:  # this is a later attempt, not the start of the run
            return []
        return self._put(wish, "start", "/start", job, run, f"{run} started", "", wall)

    def _ended(self, said: Say, wall: int) -> list[Command]:
        record: Record = said.fields["record"]
        job, wish = self._wish(record["job"], said)
        if wish is None or (record["state"] == "killed" and not record["started"]):
            return []
        event, how = _outcome(record)
        tail = record["output"]["tail"] if wish.output else ""
        return self._put(wish, event, how, job, record["run"], happenings.ending(record), tail, wall)

    def _wish(self, name: str, said: Say) -> tuple[str, Ping | None]:
        job = said.removed or self._job(name)
        return name, None if job is None else job.ping

    def _put(
        self, wish: Ping, event: str, how: str, job: str, run: str, summary: str, tail: str, wall: int
    ) -> list[Command]:
        url = wish.at(event, how, run_id(self._host, run))
        if not url:
            return [] if event == "start" else self._outdate(wish.target)
        about = {
            "event": event,
            "at": to_text(wall),
            "job": job,
            "run": run,
            "summary": summary,
            "url": url,
            "tail": tail,
            "is_own": not wish.url or bool(getattr(wish, event)),
        }
        notice = Notice(self._numbers.next(wall), str(wish.target), wall, about)
        self._waiting.setdefault(wish.target, {})[notice.id] = notice
        return [SaveNotice(notice), *self._prune(wish.target)]

    def _prune(self, target: Target) -> list[Command]:
        """Drop a check's outdated pings: all ends except the newest, and starts of ended runs.

        The newest end takes over the error of a dropped ping, because people look for the error in the newest ping.
        """
        waiting, busy = self._waiting[target], self._on_way(target)
        ends = [notice for notice in waiting.values() if notice.about["event"] != "start"]
        over = {notice.about["run"] for notice in ends}
        stale = [notice.id for notice in ends[:-1]]
        stale += [it.id for it in waiting.values() if it.about["event"] == "start" and it.about["run"] in over]
        dropped = [number for number in stale if number not in busy]
        errors = [error for number in sorted(dropped) if (error := waiting[number].error)]
        saves = list[Command]()
        if errors and not ends[-1].error:
            newest = waiting[ends[-1].id] = changed(ends[-1], error=errors[-1])
            saves.append(SaveNotice(newest))
        return [*saves, *self._drop(target, dropped)]

    def _outdate(self, target: Target) -> list[Command]:
        """Drop a check's waiting end pings, because a newer end needs no ping."""
        waiting, busy = self._waiting.get(target, {}), self._on_way(target)
        ends = [it.id for it in waiting.values() if it.about["event"] != "start" and it.id not in busy]
        return self._drop(target, ends) if ends else []

    def _drop(self, target: Target, numbers: Iterable[int]) -> list[Command]:
        waiting = self._waiting[target]
        dropped = [waiting.pop(number).id for number in numbers]
        if not waiting:
            del self._waiting[target]
        return [*map(ForgetNotice, dropped)]

    @property
    def is_idle(self) -> bool:
        """True if no ping waits and no receiver has a problem."""
        return not (self._waiting or self.troubles)

    def retain(self, targets: Collection[Target]) -> list[Command]:
        """Drop pings for all targets except these, and forget the problems of the dropped targets; keep pings that are
        being sent.
        """
        gone = [target for target in self._waiting if target not in targets and not self._on_way(target)]
        self.troubles.retain({*targets, *map(receiver_of, targets)})
        return [command for target in gone for command in self._drop(target, list(self._waiting[target]))]

    # when

    def next_at(self, wall: int) -> int | None:
        """Return the instant (wall) when `take` will have a batch, or None if there will be none before the next answer
        or run.
        """
        if not self._waiting or len(self._sending) >= SENDING:
            return None
        return min((self._opens(target, wall) for target in self._ready()), default=None)

    def _on_way(self, target: Target) -> set[int]:
        return {number for _, checks in self._sending.values() for number in checks.get(target, ())}

    def _ready(self) -> list[Target]:
        busy = {receiver for receiver, _ in self._sending.values()}
        receivers = self._places.left({receiver_of(target) for target in self._waiting} - busy, busy)
        spared = set(self.troubles.spared(receivers, busy))
        return [target for target in self._waiting if receiver_of(target) in spared]

    def _opens(self, target: Target, wall: int) -> int:
        marks = [(self._taken, _APART), *self.troubles.rest(target), *self.troubles.rest(receiver_of(target))]
        return max([wall, *(since + pause for since, pause in marks if since <= wall)])

    # sending

    def take(self, wall: int) -> PingBatch | None:
        """Return the due pings for one receiver, or None if none are due. The pings count as being sent until
        `answered` is called.
        """
        if len(self._sending) >= SENDING:
            return None
        due = [target for target in self._ready() if self._opens(target, wall) <= wall]
        if not due:
            return None
        first = min(due, key=self._rank)
        receiver = receiver_of(first)
        self._places.give(receiver)
        checks = {target: list(self._waiting[target]) for target in due if receiver_of(target) == receiver}
        checks = dict(list(checks.items())[:MOST])
        number = self._waiting[first][checks[first][0]].id
        self._sending[number], self._taken = (receiver, checks), wall
        return PingBatch(
            number, receiver, [(it, self._waiting[target][it].about) for target, ids in checks.items() for it in ids]
        )

    def _rank(self, target: Target) -> tuple[int, bool, int]:
        return self._places.rank(target), receiver_of(target) in self.troubles, min(self._waiting[target])

    def expire(self, wall: int) -> list[Command]:
        """Give up the pings that are too old."""
        commands: list[Command] = []
        for target in list(self._waiting):
            busy, waiting = self._on_way(target), self._waiting[target].values()
            old = [it for it in waiting if it.id not in busy and it.created + _TOO_OLD <= wall]
            if old:
                why = next((it.error for it in reversed(old) if it.error), "no process could send them")
                fields = {"target": target.shown, "reason": why, "count": len(old), "after": "a day"}
                commands += [*self._drop(target, [it.id for it in old]), Say("notice_given_up", fields)]
        return commands

    def answered(self, batch: int, verdicts: Mapping[int, str], others: str, wall: int) -> list[Command]:
        """Handle the answer about a batch.

        `verdicts`: ping number → verdict; `others`: the verdict for all other pings.
        """
        receiver, checks = self._sending.pop(batch)
        rest, found = (
            NotifierAnswer.parse(others),
            {it: NotifierAnswer.parse(verdict) for it, verdict in verdicts.items()},
        )
        pings = [(target, it, found.get(it, rest)) for target, ids in checks.items() for it in ids]
        commands: list[Command] = []
        for target, number, verdict in pings:
            if verdict.sent:
                self.troubles.end(target)
                self.troubles.end(receiver)
                commands += self._drop(target, [number])
        for target, number, verdict in pings:
            if number in found and not verdict.sent:
                commands += self._failed(target, target, number, verdict, wall)
        left = [] if rest.sent else [(target, number) for target, number, _ in pings if number not in found]
        if left:
            commands += self._failed(receiver, *left[0], rest, wall)
        return commands + [command for target in checks if target in self._waiting for command in self._prune(target)]

    def _failed(
        self, receiver: Target, target: Target, number: int, verdict: NotifierAnswer, wall: int
    ) -> list[Command]:
        notice = self._waiting[target][number]
        tried = self._waiting[target][number] = changed(notice, tries=notice.tries + 1, error=verdict.why)
        pause = verdict.pause or grown(_FIRST_PAUSE, self.troubles.times(receiver) + 1)
        commands: list[Command] = [SaveNotice(tried)]
        if self.troubles.note(receiver, target.shown, verdict, pause, wall):
            fields = {"target": target.shown, "reason": verdict.why, "waiting": len(self._waiting[target])}
            commands.append(Say("notice_failed", fields))
        return commands


_TOLD: dict[str, Callable[[Pings, Say, int], Sequence[Command]]] = {
    "run_started": Pings._started,
    "run_ended": Pings._ended,
}


def receiver_of(target: Target) -> Target:
    """Return the receiver of a check's pings: scheme, host and port of the URL.

    If this receiver is unreachable, all of the same user's checks at this receiver are unreachable.
    """
    scheme, _, rest = target.address.partition("://")
    return Target("receiver", f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}", target.owner)


def run_id(host: str, run: str) -> str:
    """Return the UUID (version 8) that links a run's pings."""
    drawn = sha256(f"{host}\0{run}".encode()).hexdigest()
    return f"{drawn[:8]}-{drawn[8:12]}-8{drawn[12:15]}-8{drawn[15:18]}-{drawn[18:30]}"


def _outcome(record: Record) -> tuple[str, str]:
    """Return a run's end event, and the suffix for the check's URL: "", the exit code, or /fail."""
    if record["state"] == "succeeded" and not has_failover(record):
        return "success", ""
    code = record["exit_code"]
    is_exit = record["state"] == "failed" and code is not None and 0 < code < 256
    return "failure", f"/{code}" if is_exit else "/fail"

"""The outbox: notices that wait to be sent, gathered for each target, and tried again until they are or get too old.

At least once: what was sent is forgotten after the answer, so a notice may be sent again, under the same id.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from jobqueued.child.tuples import NamedTuple
from jobqueued.commands import Command, ForgetNotice, SaveNotice, Say
from jobqueued.copies import changed
from jobqueued.model import DAY, MINUTE, SECOND
from jobqueued.notices.troubles import Numbers, Troubles, Verdict, grown
from jobqueued.notify import Policy, Target
from jobqueued.saved import Notice
from jobqueued.submission import is_numbered
from jobqueued.text import counted

SENDING = 2
"""Messages that are on their way at a time."""
MOST = 500
"""Notices that wait for one target; of further ones only their number is kept."""
SHOWN = 50
"""Notices that one message names."""
_NAMED = 3
_FIRST_PAUSE = MINUTE
_GIVE_UP, _TRIES = 3 * DAY, 10
_LONGEST_PERIOD, _MANY = DAY, 64


class Message(NamedTuple):
    """One message to a target: a notice, or several together.  `number` is unique for ever on this host."""

    number: int
    id: str
    target: Target
    about: dict[str, Any]
    job: str | None
    """The job of the first of them."""


class Outbox:
    """`policy` tells when a target takes notices, by the clock of `zone`."""

    def __init__(self, host: str, policy: Callable[[Target], Policy], zone: str, numbers: Numbers) -> None:
        self._host, self._policy, self._zone, self._numbers = host, policy, ZoneInfo(zone), numbers
        self._waiting: dict[Target, dict[int, Notice]] = {}
        self._sending: dict[int, tuple[Target, list[int]]] = {}
        self._sent: dict[Target, deque[int]] = {}
        self._many = _MANY
        """So many targets in `_sent` are looked through for those to which nothing was sent lately."""
        self._troubles = Troubles[Target]("notices to ")
        self._known: tuple[int, int | None] | None = None
        """When `next_at` was last found out, and what it was then; None: something has changed."""

    def __iter__(self) -> Iterator[Notice]:
        """All that wait, and are on their way."""
        return (notice for notices in self._waiting.values() for notice in notices.values())

    @property
    def troubles(self) -> list[str]:
        """The targets that can't be reached, for people."""
        return self._troubles.told

    def restore(self, notices: Iterable[Notice]) -> None:
        """Take over what an earlier scheduler kept."""
        for notice in sorted(notices, key=lambda notice: notice.id):
            self._waiting.setdefault(Target.parse(notice.target), {})[notice.id] = notice
            self._numbers.saw(notice.id)
        self._known = None

    def put(self, target: Target, about: dict[str, Any], wall: int) -> SaveNotice:
        """Take in a notice."""
        waiting = self._waiting.setdefault(target, {})
        if not waiting:
            self._known = None
        newest = waiting[next(reversed(waiting))] if len(waiting) >= MOST else None
        if newest is not None and newest.id not in self._on_way(target):
            notice = changed(newest, more=newest.more + 1)
        else:
            notice = Notice(self._numbers.next(wall), str(target), wall, about)
        waiting[notice.id] = notice
        return SaveNotice(notice)

    def try_again(self, target: Target) -> None:
        """Let the next message to a target go at once, though the last one did not: what was wrong may be mended."""
        self._troubles.try_again(target)
        self._known = None

    def first(self, target: Target) -> Notice:
        """The first notice that waits for a target: it has the number of tries, and what the last one came to."""
        waiting = self._waiting[target]
        return waiting[_oldest(waiting)]

    @property
    def is_idle(self) -> bool:
        """True if nothing waits, and nobody is in trouble."""
        return not (self._waiting or self._troubles)

    def of_submissions(self) -> set[Target]:
        """The targets for which something waits about submissions, which are in no file."""
        waiting = self._waiting.items()
        return {target for target, of in waiting if any(is_numbered(it.about["job"] or "") for it in of.values())}

    def retain(self, targets: Collection[Target]) -> list[Command]:
        """Let go what waits for others than these, but for what is on its way, and forget their troubles."""
        busy = {target for target, _ in self._sending.values()}
        gone = [target for target in self._waiting if target not in targets and target not in busy]
        self._troubles.retain(targets)
        self._known = None
        commands: list[Command] = []
        for target in gone:
            notices = list(self._waiting.pop(target).values())
            commands += [ForgetNotice(notice.id) for notice in notices]
            commands.append(Say("notice_given_up", {
                "target": target.shown, "count": len(notices), "reason": together(notices)["summary"],
                "after": "its receiver left all files",
            }))  # fmt: skip
        return commands

    def waits_for(self, target: str) -> bool:
        """Tell whether something waits for a target, by its str."""
        return Target.parse(target) in self._waiting

    # when

    def next_at(self, wall: int) -> int | None:
        """The instant (wall) at which `take` has something; None: only an answer or a notice changes anything."""
        if len(self._sending) >= SENDING:
            return None
        if self._known is not None:
            seen, at = self._known
            if at is None or seen <= wall < at:
                return at
        at = None
        for target in self._ready():
            opens = self._opens(target, wall)
            if opens <= wall:
                return wall
            at = opens if at is None else min(at, opens)
        self._known = wall, at
        return at

    def _on_way(self, target: Target) -> set[int]:
        return {number for busy, ids in self._sending.values() if busy == target for number in ids}

    def _ready(self) -> list[Target]:
        """Those to whom something could go; one place is kept from those who did not take the last message."""
        busy = {target for target, _ in self._sending.values()}
        found = [target for target, waiting in self._waiting.items() if waiting and target not in busy]
        return self._troubles.spared(found, busy)

    def _opens(self, target: Target, wall: int) -> int:
        """The instant from which a message may go; what was noted by a clock that was ahead of now holds up nothing."""
        policy, waiting = self._policy(target), self._waiting[target]
        marks = [(waiting[_oldest(waiting)].created, policy.digest)]
        marks += self._troubles.rest(target)
        most, period = policy.rate
        sent = self._sent.get(target, ())
        if len(sent) >= most:
            marks.append((sent[-most], period))
        opens = max([wall, *(since + pause for since, pause in marks if since <= wall)])
        return self._after_quiet(policy.quiet, opens)

    def _after_quiet(self, quiet: tuple[int, int] | None, instant: int) -> int:
        """The instant, or the end of the quiet part of the day in which it is."""
        if quiet is None:
            return instant
        local = datetime.fromtimestamp(instant // SECOND, self._zone)
        begin, end = quiet
        minute = local.hour * 60 + local.minute
        if not (begin <= minute < end if begin < end else minute >= begin or minute < end):
            return instant
        over = local.replace(hour=end // 60, minute=end % 60, second=0)
        if minute >= end:
            over += timedelta(days=1)
        return int(over.timestamp()) * SECOND

    # sending

    def take(self, wall: int) -> Iterator[Message]:
        """Yield the messages that are due; each is on its way until `answered`."""
        if (at := self.next_at(wall)) is None or at > wall:
            return
        ready = self._ready()
        for target in sorted(ready, key=lambda target: (target in self._troubles, _oldest(self._waiting[target]))):
            if len(self._sending) >= SENDING:
                return
            busy = {target for target, _ in self._sending.values()}
            if self._troubles.spared([target], busy) and self._opens(target, wall) <= wall:
                self._known = None
                notices = list(self._waiting[target].values())
                number = notices[0].id
                self._sending[number] = target, [notice.id for notice in notices]
                yield Message(
                    number,
                    f"{self._host}-{number}-{notices[-1].id}",
                    target,
                    together(notices),
                    notices[0].about["job"],
                )

    def answered(self, number: int, answer: str, wall: int) -> list[Command]:
        """Take the answer about a message: ``sent``, ``later SECONDS WHY`` or ``never WHY``."""
        if number not in self._sending:
            return []
        self._known = None
        target, ids = self._sending.pop(number)
        verdict = Verdict.parse(answer)
        if verdict.sent:
            return self._sent_all(target, ids, wall)
        return self._failed(target, ids, verdict, wall)

    def _sent_all(self, target: Target, ids: list[int], wall: int) -> list[Command]:
        waiting = self._waiting[target]
        notices = [waiting.pop(each) for each in ids]
        if not waiting:
            del self._waiting[target]
        self._sent.setdefault(target, deque(maxlen=1000)).append(wall)
        if len(self._sent) > self._many:  # each submission may name another one
            since = wall - _LONGEST_PERIOD
            self._sent = {other: marks for other, marks in self._sent.items() if since < marks[-1] <= wall}
            self._many = 2 * len(self._sent) + _MANY
        self._troubles.end(target)
        said = Say("notice_sent", {"target": target.shown, "summary": together(notices)["summary"]})
        return [*map(ForgetNotice, ids), said]

    def _failed(self, target: Target, ids: list[int], verdict: Verdict, wall: int) -> list[Command]:
        waiting, why = self._waiting[target], verdict.why
        first = changed(waiting[ids[0]], tries=waiting[ids[0]].tries + 1, error=why)
        waiting[first.id] = first
        pause = verdict.pause or grown(_FIRST_PAUSE, first.tries)
        commands: list[Command] = [SaveNotice(first)]
        if self._troubles.note(target, target.shown, why, pause, wall):
            told = Say("notice_failed", {"target": target.shown, "reason": why, "waiting": len(waiting)})
            commands.append(told)
        return commands + self._give_up(target, wall)

    def _give_up(self, target: Target, wall: int) -> list[Command]:
        """Let go what is too old, and was tried for long: the clock may have jumped since it was made."""
        waiting = self._waiting[target]
        if waiting[_oldest(waiting)].tries < _TRIES:
            return []
        old = [notice for notice in waiting.values() if notice.created + _GIVE_UP <= wall]
        for notice in old:
            del waiting[notice.id]
        if not old:
            return []
        if not waiting:
            del self._waiting[target]
        why = old[0].error or old[-1].error
        said = Say("notice_given_up", {"target": target.shown, "reason": why, "count": len(old), "after": "3 days"})
        return [*(ForgetNotice(notice.id) for notice in old), said]


def _oldest(waiting: dict[int, Notice]) -> int:
    """The id of the first notice that waits for a target: they are put in their order."""
    return next(iter(waiting))


def together(notices: list[Notice]) -> dict[str, Any]:
    """One document about all of them: the only one, or a digest that names them."""
    first, more = notices[0].about, sum(notice.more for notice in notices)
    if len(notices) == 1 and not more:
        return first
    names = ("event", "at", "job", "run", "summary")
    held = [{**{name: each.about[name] for name in names}, "count": 1} for each in notices]
    count = len(notices) + more
    named = "; ".join(it["summary"] for it in held[:_NAMED]) + "; …" * (count > _NAMED)
    summary = f"{counted(count, 'notice')}: {named}"
    return {
        **first, "event": "digest", "summary": summary, "job": None, "run": None, "user": None,
        "command": None, "incident": None, "record": None,
        "held_back": held[:SHOWN], "not_shown": count - len(held[:SHOWN]),
    }  # fmt: skip
